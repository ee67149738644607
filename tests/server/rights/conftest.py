"""A platform whose students speak to its API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from student_http import StudentsPlatform, students_platform


@pytest.fixture
def students(tmp_path: Path) -> Iterator[StudentsPlatform]:
    with students_platform(tmp_path) as made:
        yield made
