"""A company that trained to the end, at its pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from company_pages import AtDesk
from gated_company import GatedCompany, MemoryPlatform, make_company

from noren_client import season_progress
from noren_core.rights.gate.roles import Assignment, Role
from noren_local import staff


@pytest.fixture(autouse=True)
def cheap_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What guessing an access code costs is not tested here."""
    monkeypatch.setattr(staff, "_COST", 2)


@pytest.fixture
def company(tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> GatedCompany:
    """ada administrates, dan decides, fay follows up, olga operates, pia is the privacy contact."""
    made = make_company(tmp_path / "company", plan_body, monkeypatch)
    (made.directory / "keys" / "tls.pem").write_bytes(b"")

    @contextmanager
    def connected(_directory: Path) -> Iterator[MemoryPlatform]:
        yield made.platform

    monkeypatch.setattr(season_progress, "PlatformClient", connected)
    made.hire("olga", Assignment(Role.COMPANY_ML_OPERATOR))
    made.hire("pia", Assignment(Role.PRIVACY_CONTACT))
    return made


@pytest.fixture
def scored(company: GatedCompany) -> GatedCompany:
    """hanako and jun have bands, beth has none, carol was not offered a place."""
    company.apply("hanako,offer", "beth,offer", "carol,no-offer", "jun,offer")
    company.consent("hanako", "jun")
    company.seal()
    company.score()
    return company


@pytest.fixture
def desk(company: GatedCompany) -> AtDesk:
    """A browser that nobody came in with yet."""
    return AtDesk(company.directory, lambda: company.clock.now)
