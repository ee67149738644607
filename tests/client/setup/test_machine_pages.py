"""The pages about this machine: what they show, what they start, and what they need first."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from company_pages import AtDesk, words_of
from connect_proxy import connect_proxy

from noren_client import config, keystore
from noren_client.gate import staff as company_staff
from noren_client.setup import doctor, hand_over, wizard
from noren_client.setup.wizard import SetupState
from noren_core.crypto.identity import fingerprint
from noren_core.crypto.secret import SecretBytes
from noren_core.ledger.entries import CompanyKey
from noren_core.rights.gate.roles import Assignment, Role
from noren_local import staff

CODE = "correct horse battery"
PASSPHRASE = "a good passphrase"  # noqa: S105 (of archives that a test makes)


@pytest.fixture(autouse=True)
def cheap_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What guessing an access code costs is not tested here."""
    monkeypatch.setattr(staff, "_COST", 2)


def hire(directory: Path) -> None:
    """ada administrates, pia is the privacy contact, dan decides."""
    register = company_staff.register(directory)
    register.add("ada", [Assignment(Role.COMPANY_ADMIN)], SecretBytes(CODE.encode()))
    register.add("pia", [Assignment(Role.PRIVACY_CONTACT)], SecretBytes(CODE.encode()))
    register.add("dan", [Assignment(Role.DECIDER)], SecretBytes(CODE.encode()))


@pytest.fixture
def desk(enrolled: Any) -> AtDesk:
    """ada at the pages of a company that enrolled."""
    hire(enrolled.directory)
    desk = AtDesk(enrolled.directory, lambda: int(time.time()))
    desk.sign_in("ada")
    return desk


def job_of(desk: AtDesk, answer: Any) -> Any:
    """The job that a form started, ended."""
    assert answer.status_code == 303, words_of(answer)
    path = answer.headers["location"]
    assert path.startswith("/jobs/"), path
    job = desk.site.state.jobs.find(path.removeprefix("/jobs/"), owner="ada")
    job.wait()
    return job


def test_opening_the_page_asks_no_network(
    enrolled: Any, desk: AtDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the button does; afterwards the page shows what was found, with the line for IT."""

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("asked the network")

    with monkeypatch.context() as offline:
        offline.setattr("socket.create_connection", never)
        first = desk.text("/machine")
    assert "Nobody has looked at the way" in first
    assert "noren-company keys protect" in first
    assert job_of(desk, desk.post("/machine", "/machine/check")).code == ""
    second = desk.text("/machine")
    assert "the platform's own certificate" in second
    assert doctor.last(enrolled.directory) is not None
    japanese = words_of(desk.get("/machine", **{"accept-language": "ja"}))
    assert "情報システム部門に伝える内容" in japanese


def test_who_may(desk: AtDesk) -> None:
    """A privacy contact sees the state and touches no key; a decider sees nothing of it."""
    desk.sign_in("pia")
    assert desk.get("/machine").status_code == 200
    assert desk.get("/machine/service").status_code == 200
    assert "/machine/keys" not in desk.get("/machine").text
    for path in ("/machine/keys", "/machine/hand-over"):
        assert desk.get(path).status_code == 403, path
        assert desk.post("/machine", path.replace("keys", "keys/rotate"), key="tls").status_code == 403
    desk.sign_in("dan")
    for path in ("/machine", "/machine/service", "/machine/keys", "/machine/hand-over"):
        assert desk.get(path).status_code == 403, path


def test_the_service_page_shows_the_units(enrolled: Any, desk: AtDesk) -> None:
    """As `service install` would write them, and the command for IT."""
    text = desk.text("/machine/service")
    assert "NoNewPrivileges=yes" in text
    assert f"noren-company --directory {enrolled.directory} service install" in text


def test_a_key_is_replaced(enrolled: Any, desk: AtDesk) -> None:
    """The connection key, in a job; another word is refused, and so is a sign-in of an hour ago."""
    before = keystore.tls_public_key(enrolled.directory)
    assert "Connection key" in desk.text("/machine/keys")
    assert desk.post("/machine/keys", "/machine/keys/rotate", key="all").status_code == 422
    job = job_of(desk, desk.post("/machine/keys", "/machine/keys/rotate", key=CompanyKey.TLS.value))
    assert (job.code, job.message) == ("", "")
    assert keystore.tls_public_key(enrolled.directory) != before


def test_a_key_needs_a_fresh_sign_in(enrolled: Any, desk: AtDesk) -> None:
    """Whoever left the desk open does not have her keys changed."""
    session = next(iter(desk.site.state.sessions._sessions.values()))
    for kept in desk.site.state.sessions._sessions.values():
        kept.signed_in_at -= 3600
    before = keystore.tls_public_key(enrolled.directory)
    answer = desk.post("/machine/keys", "/machine/keys/rotate", key="tls")
    assert answer.headers.get("location", "").startswith("/sign-in") or answer.status_code == 401
    assert keystore.tls_public_key(enrolled.directory) == before
    assert session is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"passphrase": "short", "passphrase_again": "short"},
        {"passphrase_again": "another passphrase"},
        {"confirmation": "another company"},
        {"confirmation": ""},
    ],
)
def test_a_hand_over_that_is_not_confirmed_does_nothing(
    enrolled: Any, desk: AtDesk, wrong: dict[str, str]
) -> None:
    """What is wrong is told beside its field; the passphrase does not come back in the page."""
    company = config.load(enrolled.directory).company
    given = {"passphrase": PASSPHRASE, "passphrase_again": PASSPHRASE, "confirmation": company, **wrong}
    answer = desk.post("/machine/hand-over", "/machine/hand-over", **given)
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text
    assert PASSPHRASE not in answer.text
    assert config.load(enrolled.directory)


def test_a_machine_is_handed_over(enrolled: Any, desk: AtDesk) -> None:
    """The archive is there and opens; the page says what to do with it, and the others that it is over."""
    company = config.load(enrolled.directory).company
    given = {"passphrase": PASSPHRASE, "passphrase_again": PASSPHRASE, "confirmation": company}
    job = job_of(desk, desk.post("/machine/hand-over", "/machine/hand-over", **given))
    assert (job.code, job.message) == ("", "")
    archive = hand_over.default_archive(enrolled.directory, company)
    assert hand_over.verify(archive, SecretBytes(PASSPHRASE.encode())).company == company
    text = desk.text("/machine/hand-over")
    assert f"hand-over import {archive}" in text
    assert "handed over to another machine" in desk.text("/machine")
    assert desk.get("/machine/service").status_code == 200
    for path in ("/machine/keys", "/machine/setup"):
        assert desk.get(path).status_code == 200, path
    assert desk.post("/machine/hand-over", "/sign-out").status_code == 303


@pytest.fixture
def new_desk(site: Any) -> AtDesk:
    """ada at a machine that was not set up."""
    site.directory.mkdir(mode=0o700)
    hire(site.directory)
    desk = AtDesk(site.directory, lambda: int(time.time()))
    desk.sign_in("ada")
    return desk


def test_a_machine_is_set_up_in_pages(site: Any, new_desk: AtDesk) -> None:
    """Invitation, agreement, the fingerprint for the phone, the certificate; then the proxy is changed."""
    desk, invitation = new_desk, site.platform.invitation(site.company, site.root).read_bytes()
    assert "signs" in desk.text("/machine/setup") or "agreement" in desk.text("/machine/setup")
    answer = desk.post(
        "/machine/setup",
        "/machine/setup",
        files={"invitation": ("akane.json", invitation)},
        declared_size="40",
        agree="yes",
    )
    job = job_of(desk, answer)
    assert (job.code, job.message) == ("", "")
    assert not list((site.directory / "run").glob("invitation-*"))
    said = fingerprint(keystore.load(site.directory).signing.public_key)
    assert said in desk.text("/machine/setup")
    assert job_of(desk, desk.post("/machine/setup", "/machine/setup/collect")).code == ""
    assert wizard.state_of(site.directory) is SetupState.WAITING  # nobody approved
    site.platform.approve(site.company, said)
    assert job_of(desk, desk.post("/machine/setup", "/machine/setup/collect")).code == ""
    assert wizard.state_of(site.directory) is SetupState.ENROLLED
    with connect_proxy(account="taro:secret") as proxy:
        given = {"proxy": proxy.url, "no_proxy": "a.example"}
        assert job_of(desk, desk.post("/machine/setup", "/machine/setup/network", **given)).code == ""
        shown = desk.get("/machine/setup").text
        assert proxy.address in shown
        assert "secret" not in shown
    assert config.load(site.directory).network.proxy == given["proxy"]
    job = job_of(desk, desk.post("/machine/setup", "/machine/setup/network", **given))
    assert job.code == "NETWORK_NOT_READY"  # the proxy is gone now


@pytest.mark.parametrize("missing", ["invitation", "declared_size", "agree"])
def test_a_set_up_that_lacks_something_writes_nothing(site: Any, new_desk: AtDesk, missing: str) -> None:
    """The field is named, and no configuration, key or invitation is left."""
    invitation = site.platform.invitation(site.company, site.root).read_bytes()
    fields: dict[str, Any] = {"declared_size": "40", "agree": "yes"}
    files = None if missing == "invitation" else {"invitation": ("akane.json", invitation)}
    fields.pop(missing, None)
    answer = new_desk.post("/machine/setup", "/machine/setup", files=files, **fields)
    assert answer.status_code == 422
    assert 'class="error"' in answer.text
    assert wizard.state_of(site.directory) is SetupState.NEW
    assert not (site.directory / "config.toml").exists()


def test_before_anything_is_set_up(tmp_path: Path) -> None:
    """Every page says so, and none fails."""
    directory = tmp_path / "new"
    directory.mkdir(mode=0o700)
    hire(directory)
    desk = AtDesk(directory, lambda: int(time.time()))
    desk.sign_in("ada")
    assert "noren-company setup" in desk.text("/machine")
    for path in ("/machine/setup", "/machine/service", "/machine/keys", "/machine/hand-over"):
        assert desk.get(path).status_code == 200, path
