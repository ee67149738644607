"""A company at the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gated_company import GatedCompany, make_company

from noren_local import staff


@pytest.fixture(autouse=True)
def cheap_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What guessing an access code costs is not tested here."""
    monkeypatch.setattr(staff, "_COST", 2)


@pytest.fixture
def company(tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> GatedCompany:
    """Trained to the end, with staff, a platform in memory, and nobody who applied yet."""
    return make_company(tmp_path / "company", plan_body, monkeypatch)
