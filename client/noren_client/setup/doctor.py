"""`noren-company doctor`: everything that must be right on this machine, and what to tell IT where it is not.

Promises: it changes nothing but its own last result, `run/doctor.json`, which pages show; it sends nothing
about anybody. The exit code is that of the first check that failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from noren_client import keystore, transport
from noren_client.config import CompanyConfig
from noren_client.setup import local_checks, network_checks, service
from noren_client.setup.findings import ASKS_NETWORK, Check, Finding, Result
from noren_client.setup.network_checks import Way
from noren_core import __version__, canonical_json
from noren_core.errors import NorenError
from noren_core.rights.locales import Locale
from noren_local.private_file import write_private

_KEPT = Path("run", "doctor.json")


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found, and when (Unix seconds)."""

    at: int
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """Of the first check that failed; 0 if none did."""
        return next((finding.exit_code for finding in self.findings if finding.exit_code), 0)


def examine(
    company_dir: Path,
    *,
    clock: Callable[[], float] = time.time,
    progress: Callable[[Check], None] = lambda _: None,
) -> Examination:
    """Look at everything; what was found is kept for pages if there is a directory to keep it in."""
    findings = []
    for finding in _findings(company_dir, clock):
        progress(finding.check)
        findings.append(finding)
    examined = Examination(int(clock()), tuple(findings))
    if findings[0].result in {Result.CONFIGURED, Result.BAD_CONFIGURATION}:
        _keep(company_dir, examined)
    return examined


def local(company_dir: Path, *, clock: Callable[[], float] = time.time) -> Iterator[Finding]:
    """The checks that ask nobody, in milliseconds."""
    now = int(clock())
    configured, settings = local_checks.configuration(company_dir)
    yield configured
    yield local_checks.directory(company_dir)
    yield local_checks.disk(company_dir)
    if settings is not None:
        yield local_checks.keys(company_dir)
        yield local_checks.certificate(company_dir, now=now)
        yield _of_ledger(company_dir, now)
        yield _of_service()


def last(company_dir: Path) -> Examination | None:
    """What the last examination found, if one was kept that this release can read."""
    try:
        body = canonical_json.parse_object((company_dir / _KEPT).read_bytes())
        findings = tuple(
            Finding(Check(item["check"]), Result(item["result"]), dict(item["values"]))
            for item in body["findings"]
        )
        return Examination(int(body["at"]), findings)
    except (OSError, NorenError, KeyError, TypeError, ValueError):
        return None


def lines(findings: Sequence[Finding], locale: Locale) -> Iterator[str]:
    """For a terminal: one line for each check, and below it what to give to IT."""
    for finding in findings:
        yield f"{finding.state.value:4}  {finding.check.value:13}  {finding.found(locale)}"
        if line := finding.line(locale):
            yield f"      {'':13}  → {line}"


def network(settings: CompanyConfig, authority: bytes, *, clock: Callable[[], float]) -> Iterator[Finding]:
    """The checks of the way to the platform, before there is a certificate of ours."""
    way = Way(settings.addresses, authority, settings.network)
    yield from network_checks.all_checks(
        way, clock=clock, version=lambda: Finding(Check.VERSION, Result.NOT_ASKED)
    )


def _findings(company_dir: Path, clock: Callable[[], float]) -> Iterator[Finding]:
    found = list(local(company_dir, clock=clock))
    yield from found
    _, settings = local_checks.configuration(company_dir)
    authority = keystore.authority_path(company_dir)
    if settings is None or not authority.exists():
        yield from (Finding(check, Result.NOT_ASKED) for check in Check if check in ASKS_NETWORK)
        return
    way = Way(settings.addresses, authority.read_bytes(), settings.network)
    yield from network_checks.all_checks(way, clock=clock, version=lambda: _of_version(company_dir))


def _of_version(company_dir: Path) -> Finding:
    try:
        theirs = transport.platform_version(company_dir)
    except NorenError:
        return Finding(Check.VERSION, Result.NOT_ASKED)
    return network_checks.compare_versions(__version__, theirs)


def _of_ledger(company_dir: Path, now: int) -> Finding:
    try:
        return local_checks.ledger(company_dir, now=now)
    except NorenError:
        return Finding(Check.LEDGER, Result.NO_CHECKPOINT)


def _of_service() -> Finding:
    try:
        return local_checks.units(
            service.installed_scope(),
            is_systemd=service.is_systemd_running(),
            ask=lambda scope: service.states(service.folder_of(scope), service.systemctl(scope)),
        )
    except NorenError:
        return Finding(Check.SERVICE, Result.NO_SYSTEMD)


def _keep(company_dir: Path, examined: Examination) -> None:
    body = {
        "at": examined.at,
        "findings": [
            {"check": f.check.value, "result": f.result.value, "values": dict(f.values)}
            for f in examined.findings
        ],
    }
    write_private(company_dir / _KEPT, canonical_json.encode(body))
