"""What the doctor finds on this machine and on the way to the platform, and what it tells IT."""

from __future__ import annotations

import json
import os
import socket
import string
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from connect_proxy import CompanyAuthority, connect_proxy

from noren_client import config
from noren_client.outbound import NetworkSettings
from noren_client.setup import doctor, local_checks, network_checks
from noren_client.setup.findings import WORDS, Check, Finding, Result, State
from noren_client.setup.network_checks import Way
from noren_client.setup.service import UnitState
from noren_client.setup.systemd_units import DAILY, TIMER, WORKER, Scope
from noren_core import __version__
from noren_core.rights.locales import Locale

DAY = 86_400


def results(site: Any, **how: Any) -> dict[Check, Result]:
    return {finding.check: finding.result for finding in doctor.examine(site.directory, **how).findings}


def with_network(site: Any, **texts: str) -> None:
    """Change the network's settings on disk."""
    known = config.load(site.directory)
    changed = replace(known, network=NetworkSettings.from_texts(**texts))
    (site.directory / "config.toml").write_bytes(config.to_toml(changed))


def test_a_machine_that_is_well(enrolled: Any) -> None:
    """Everything is looked at; what cannot be right here (units, encryption) is a warning, and no failure."""
    examined = doctor.examine(enrolled.directory)
    found = {finding.check: finding.result for finding in examined.findings}
    assert list(found) == list(Check)
    assert found | {Check.SERVICE: Result.NOT_INSTALLED, Check.DISK: Result.ROOM} == {
        Check.CONFIGURATION: Result.CONFIGURED,
        Check.DIRECTORY: Result.PRIVATE,
        Check.DISK: Result.ROOM,
        Check.KEYS: Result.KEYS_PLAIN,
        Check.CERTIFICATE: Result.VALID,
        Check.LEDGER: Result.FRESH,
        Check.SERVICE: Result.NOT_INSTALLED,
        Check.PROXY: Result.STRAIGHT,
        Check.TLS: Result.PINNED,
        Check.CLOCK: Result.ON_TIME,
        Check.VERSION: Result.SAME_VERSION,
    }
    assert examined.exit_code == 0
    assert doctor.last(enrolled.directory) == examined


def test_a_directory_that_was_not_set_up(tmp_path: Path) -> None:
    """Exit code 3, and nothing is made."""
    examined = doctor.examine(tmp_path / "none")
    assert (examined.findings[0].result, examined.exit_code) == (Result.NOT_CONFIGURED, 3)
    assert not (tmp_path / "none").exists()


def test_through_a_proxy(enrolled: Any) -> None:
    """The proxy is named without its password, and all three ports are asked for through it."""
    with connect_proxy(account="taro:secret") as proxy:
        with_network(enrolled, proxy=proxy.url)
        examined = doctor.examine(enrolled.directory)
        addresses = config.load(enrolled.directory).addresses
        assert {addresses.enrolment, addresses.service, addresses.fleet} == set(proxy.asked)
    found = {finding.check: finding for finding in examined.findings}
    assert found[Check.PROXY].result is Result.THROUGH_PROXY
    assert found[Check.VERSION].result is Result.SAME_VERSION
    assert "secret" not in (enrolled.directory / "run" / "doctor.json").read_text()
    assert "secret" not in repr(examined)


@pytest.mark.parametrize(
    ("proxied", "expected"),
    [
        ({"account": "taro:secret"}, Result.PROXY_AUTHENTICATION),
        ({"refuses": True}, Result.PROXY_REFUSED),
    ],
)
def test_a_proxy_that_lets_nobody_through(enrolled: Any, proxied: dict[str, Any], expected: Result) -> None:
    """Exit code 4; the line for IT names proxy, host and port; what comes after is not asked."""
    with connect_proxy(**proxied) as proxy:
        with_network(enrolled, proxy=f"http://{proxy.address}")
        examined = doctor.examine(enrolled.directory)
        found = {finding.check: finding for finding in examined.findings}
        assert (found[Check.PROXY].result, examined.exit_code) == (expected, 4)
        for locale in Locale:
            line = found[Check.PROXY].line(locale)
            assert proxy.address in line
            assert config.load(enrolled.directory).addresses.enrolment.split(":")[1] in line
    assert {found[check].result for check in (Check.TLS, Check.CLOCK, Check.VERSION)} == {Result.NOT_ASKED}


@pytest.fixture
def corporate(tmp_path: Path) -> Iterator[tuple[CompanyAuthority, Any]]:
    """A middlebox that opens TLS with certificates of the company's own authority."""
    authority = CompanyAuthority()
    context = authority.server_context(tmp_path, "127.0.0.1")
    with connect_proxy(middlebox=context) as proxy:
        yield authority, proxy


def test_tls_inspection_is_told_from_the_platform(enrolled: Any, corporate: Any) -> None:
    """Exit code 9; who presents the certificate is named, and IT hears the one host and port to except."""
    _, proxy = corporate
    with_network(enrolled, proxy=proxy.url)
    examined = doctor.examine(enrolled.directory)
    found = next(finding for finding in examined.findings if finding.check is Check.TLS)
    assert (found.result, examined.exit_code) == (Result.INSPECTED, 9)
    assert "Example Corporate Root" in found.found(Locale.EN)
    assert "Example Corporate Root" in found.found(Locale.JA)
    pinned = found.values["pinned"]
    assert pinned in found.line(Locale.EN)
    assert pinned != found.values["seen"]


def test_ones_own_authority_is_recognised_and_not_trusted(
    enrolled: Any, corporate: Any, tmp_path: Path
) -> None:
    """With the corporate CA configured the finding says that it is one's own network; it still fails."""
    authority, proxy = corporate
    (tmp_path / "corporate.pem").write_bytes(authority.pem)
    with_network(enrolled, proxy=proxy.url, authority=str(tmp_path / "corporate.pem"))
    examined = doctor.examine(enrolled.directory)
    assert {f.result for f in examined.findings if f.check is Check.TLS} == {Result.INSPECTED_BY_OURS}
    assert examined.exit_code == 9


def test_a_platform_that_is_not_reached(enrolled: Any) -> None:
    """Exit code 4, with the port to open."""
    known = config.load(enrolled.directory)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{unused.getsockname()[1]}"
        changed = replace(known, addresses=replace(known.addresses, service=nowhere))
        (enrolled.directory / "config.toml").write_bytes(config.to_toml(changed))
        examined = doctor.examine(enrolled.directory)
    found = next(finding for finding in examined.findings if finding.check is Check.TLS)
    assert (found.result, examined.exit_code) == (Result.NOT_REACHED, 4)
    assert nowhere.split(":")[1] in found.line(Locale.JA)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, Result.ON_TIME), (120, Result.OFF), (-120, Result.OFF), (900, Result.FAR_OFF)],
)
def test_the_clock(enrolled: Any, seconds: int, expected: Result) -> None:
    """What is off by more than a minute is told, by more than five it fails: signatures are dated."""
    known = config.load(enrolled.directory)
    authority = (enrolled.directory / "platform" / "ca.pem").read_bytes()
    way = Way(known.addresses, authority, known.network)
    assert network_checks.time_of(way, clock=lambda: time.time() + seconds).result is expected


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ("0.1.0", "0.1.7", Result.SAME_VERSION),
        ("0.1.0", "0.2.0", Result.OLDER),
        ("0.10.0", "0.9.1", Result.NEWER),
        ("1.0.0", "2.0.0", Result.INCOMPATIBLE),
        ("0.1.0", "", Result.NO_VERSION),
    ],
)
def test_versions(ours: str, theirs: str, expected: Result) -> None:
    """Numbers are compared as numbers; another major version does not speak with us."""
    assert network_checks.compare_versions(ours, theirs).result is expected


def test_the_platform_says_its_release(enrolled: Any) -> None:
    """In the answer to a company that it knows."""
    found = doctor.examine(enrolled.directory).findings[-1]
    assert found.values == {"ours": __version__, "theirs": __version__}


def test_a_directory_that_others_can_reach(enrolled: Any) -> None:
    """Its mode is told, with the command that mends it; so is a key that others can read."""
    enrolled.directory.chmod(0o750)
    assert local_checks.directory(enrolled.directory).values["mode"] == "0750"
    assert local_checks.directory(enrolled.directory).state is State.FAIL
    (enrolled.directory / "keys" / "node.key").chmod(0o644)
    assert local_checks.keys(enrolled.directory).result is Result.KEYS_READABLE
    (enrolled.directory / "keys" / "node.key").unlink()
    assert local_checks.keys(enrolled.directory).result is Result.KEYS_MISSING


@pytest.mark.parametrize(
    ("free", "expected"),
    [(10 << 30, Result.ROOM), (1 << 30, Result.LITTLE_ROOM), (1 << 20, Result.NO_ROOM)],
)
def test_the_disk(tmp_path: Path, free: int, expected: Result) -> None:
    """Little room is a warning, none a failure; also where the directory is not made yet."""
    assert local_checks.disk(tmp_path / "a" / "b", free=lambda _: free).result is expected


@pytest.mark.parametrize(
    ("days", "expected"),
    [(0, Result.VALID), (360, Result.ENDS_SOON), (398, Result.ENDED), (-1, Result.ENDED)],
)
def test_the_certificate(enrolled: Any, days: int, expected: Result) -> None:
    """It is told 45 days before it ends: afterwards nobody is let in to renew it."""
    now = int(time.time()) + days * DAY
    assert local_checks.certificate(enrolled.directory, now=now).result is expected


def test_the_ledger(enrolled: Any) -> None:
    """A checkpoint of days ago is a warning; two that contradict each other are a failure of proof."""
    now = int(time.time())
    assert local_checks.ledger(enrolled.directory, now=now + 4 * DAY).result is Result.STALE
    evidence = enrolled.directory / "platform" / "evidence"
    evidence.mkdir()
    (evidence / "split-view-0123456789abcdef.json").write_text("{}")
    found = local_checks.ledger(enrolled.directory, now=now)
    assert (found.result, found.exit_code) == (Result.EVIDENCE, 9)


def units(**active: str) -> Any:
    names = {"worker": WORKER, "daily": DAILY, "timer": TIMER}
    return lambda _: [
        UnitState(unit, file=True, edited=active.get("edited") == name, active=active.get(name, "active"))
        for name, unit in names.items()
    ]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (units(), Result.RUNNING),
        (units(daily="inactive"), Result.RUNNING),  # it runs once a day
        (units(daily="failed"), Result.SERVICE_FAILED),
        (units(worker="inactive"), Result.NOT_RUNNING),
        (units(timer="inactive", worker="failed"), Result.SERVICE_FAILED),
        (units(edited="worker"), Result.EDITED),
    ],
)
def test_the_units(known: Any, expected: Result) -> None:
    """The worst is told."""
    for scope in Scope:
        found = local_checks.units(scope, is_systemd=True, ask=known)
        assert found.result is expected
        assert "{" not in found.line(Locale.EN) + found.line(Locale.JA)
    assert local_checks.units(None, is_systemd=True, ask=known).result is Result.NOT_INSTALLED
    assert local_checks.units(None, is_systemd=False, ask=known).result is Result.NO_SYSTEMD


def test_every_finding_has_words_in_both_languages() -> None:
    """The same blanks in both; a warning or failure has a line for IT, and nothing else has."""
    assert WORDS.keys() == set(Result)
    for result, words in WORDS.items():
        for english, japanese in ((words.found_en, words.found_ja), (words.line_en, words.line_ja)):
            blanks = [
                {name for _, name, _, _ in string.Formatter().parse(t) if name} for t in (english, japanese)
            ]
            assert blanks[0] == blanks[1], result
            assert bool(english) == bool(japanese)
        assert bool(words.line_en) == (words.state is not State.OK), result
        assert any(ord(letter) > 0x3000 for letter in words.found_ja), result


def test_a_damaged_last_result_is_none(tmp_path: Path) -> None:
    """Pages then say that nothing was looked at yet."""
    (tmp_path / "run").mkdir()
    for content in ("", "{}", '{"at":1,"findings":[{"check":"x","result":"y","values":{}}]}', "[]"):
        (tmp_path / "run" / "doctor.json").write_text(content)
        assert doctor.last(tmp_path) is None


def test_the_command(
    enrolled: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines for a person in her language, one object with --json, the exit code of the first failure."""
    from noren_client.cli import main

    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    enrolled.directory.chmod(0o755)
    assert main(["--directory", str(enrolled.directory), "doctor", "--language", "ja"]) == 3
    said = capsys.readouterr().out
    assert "chmod 700" in said
    assert "他の利用者" in said
    assert main(["--directory", str(enrolled.directory), "--json", "doctor"]) == 3
    body = json.loads(capsys.readouterr().out)
    assert body["success"] is False
    assert body["directory"]["state"] == "FAIL"
    assert body["tls"] == {
        "state": "OK",
        "result": "pinned",
        "found": Finding(Check.TLS, Result.PINNED, {"host": "127.0.0.1"}).found(Locale.EN),
        "line": "",
    }
    assert os.environ.get("HTTPS_PROXY") is None
