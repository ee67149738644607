"""A consent book with students, under facts that a test may change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from consenting_students import ConsentingStudents, PermissiveFacts

from noren_server.consents.consent_book import ConsentBook


@pytest.fixture
def students() -> ConsentingStudents:
    return ConsentingStudents()


@pytest.fixture
def facts() -> PermissiveFacts:
    return PermissiveFacts()


@pytest.fixture
def book(tmp_path: Path, students: ConsentingStudents, facts: PermissiveFacts) -> Iterator[ConsentBook]:
    with ConsentBook(tmp_path / "consents.db", service_key=students.public_key, facts=facts.at) as book:
        yield book
