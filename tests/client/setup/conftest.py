"""A platform to be set up with, one for all tests of a file; a company of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from enrolling_platform import EnrollingPlatform, enrolling_platform

from noren_client.setup import wizard
from noren_core.season.participation import agreement_sha256

_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Site:
    """A platform, and where a company's machine keeps its files."""

    platform: EnrollingPlatform
    root: Path
    company: str

    @property
    def directory(self) -> Path:
        return self.root / "company"

    def given(self, **changes: object) -> wizard.Given:
        """Everything that a script gives."""
        fields = {
            "invitation": self.platform.invitation(self.company, self.root),
            "declared_size": 40,
            "agreement": agreement_sha256(),
        }
        return wizard.Given(**{**fields, **changes})  # type: ignore[arg-type]

    def enrol(self) -> wizard.Outcome:
        """Set up to the end."""
        waiting = wizard.set_up(self.directory, self.given(), wizard.Nobody(), sleep=lambda _: None)
        self.platform.approve(self.company, waiting.fingerprint)
        return wizard.set_up(self.directory, wizard.Given(), wizard.Nobody(), sleep=lambda _: None)


@pytest.fixture(autouse=True)
def without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine's own environment says of proxies is not tested."""
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnrollingPlatform]:
    """Its services run for all tests of a file."""
    with enrolling_platform(tmp_path_factory.mktemp("platform") / "platform") as platform:
        yield platform


@pytest.fixture
def site(platform: EnrollingPlatform, tmp_path: Path) -> Site:
    """A company that has not enrolled yet."""
    return Site(platform, tmp_path, f"akane-{next(_NUMBERS)}")


@pytest.fixture
def enrolled(site: Site) -> Site:
    """The company has enrolled."""
    site.enrol()
    return site
