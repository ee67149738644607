"""`noren-company setup`: from the invitation to an enrolled company, in steps that can be taken again.

Promises: what has been done is found in the directory and not done twice; nothing is written before the
invitation, the answers and the way to the platform are known to be right, and nothing is sent before somebody
agreed to the very text that enrolling signs. The fingerprint is read out by a person, by phone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from noren_client import config, enrolment, inertness, keystore
from noren_client.config import CompanyConfig
from noren_client.outbound import NetworkSettings, authority_context
from noren_client.setup import doctor
from noren_client.setup.findings import Finding
from noren_core.crypto.identity import fingerprint
from noren_core.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from noren_core.ledger.entries import MAX_DECLARED_SIZE
from noren_core.rights.locales import Locale
from noren_core.season.participation import agreement_sha256, agreement_text
from noren_core.wire.refusal import Refusal
from noren_local.private_file import write_private


class SetupState(StrEnum):
    """How far the set-up is."""

    NEW = "new"
    WAITING = "waiting-for-approval"
    ENROLLED = "enrolled"


class Asking(Protocol):
    """Whoever answers what was not given: a person at a terminal, or nobody."""

    def text(self, option: str, question: str, default: str = "") -> str:
        """The answer to a question; `option` is how it could have been given."""

    def agrees(self, text: str) -> bool:
        """Whether she agrees, having been shown the whole text."""

    def say(self, sentence: str) -> None:
        """Tell her something."""


@dataclass(frozen=True, slots=True)
class Given:
    """What was given with the command; None for what was not.

    Attributes:
        agreement: SHA-256 of the text that was read and agreed to, in hex.
        network: how connections leave; None keeps what is configured.
        ignore_network: go on although a check of the network failed.
        language: of what is asked and said.
    """

    invitation: Path | None = None
    declared_size: int | None = None
    agreement: str = ""
    network: NetworkSettings | None = None
    wait_seconds: float = 0.0
    ignore_network: bool = False
    language: Locale = Locale.EN


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    company: str
    state: SetupState
    fingerprint: str
    findings: tuple[Finding, ...]


_WORDS: Mapping[str, tuple[str, str]] = {
    "--invitation": (
        "The invitation file that the platform handed over",
        "プラットフォームから受け取った招待ファイル",
    ),
    "--proxy": (
        "Proxy, http://host:port; nothing: as HTTPS_PROXY says; none: without one",
        "プロキシ(http://ホスト:ポート。空欄は HTTPS_PROXY に従う、none は使わない)",
    ),
    "--corporate-ca": (
        "File of your company's own certificate authority; nothing: none",
        "自社の認証局のファイル(なければ空欄)",
    ),
    "--declared-size": (
        "At most how many applicants with an offer in a season (public, for good)",
        "1 シーズンの内定者数の上限(公開され、後から変えられません)",
    ),
    "looking": ("Looking at the way to the platform …", "プラットフォームへの経路を確認しています…"),
    "fingerprint": (
        "Read this fingerprint out to the platform's operator by phone: {fingerprint}",
        "このフィンガープリントを電話でプラットフォームの担当者に読み上げてください: {fingerprint}",
    ),
}
"""What is asked and said, in English and Japanese."""


def state_of(company_dir: Path) -> SetupState:
    """How far it is, from the files; LocalProtocolError (HANDED_OVER) for a directory that was given away."""
    inertness.verify_active(company_dir)
    if not (company_dir / "platform" / enrolment.ENTRIES_FILE).exists():
        return SetupState.NEW
    is_enrolled = (keystore.directory(company_dir) / keystore.CERTIFICATE).exists()
    return SetupState.ENROLLED if is_enrolled else SetupState.WAITING


def set_up(
    company_dir: Path,
    given: Given,
    asking: Asking,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Go as far as it goes; called again, it goes on where it was.

    1. The invitation, and the network's settings: for a new directory both, later what is to change.
    2. The way to the platform: proxy, TLS, clock. What fails stops here.
    3. The agreement and the declared size.
    4. Write the configuration, make the keys, ask to enrol.
    5. The fingerprint, to be read out; then the certificate, as soon as the platform approved.

    Raises:
        ConfigurationError: with code SETUP_ANSWER_MISSING, naming the option; AGREEMENT_NOT_ACCEPTED; or
            NETWORK_NOT_READY, if step 2 failed.
    """
    state = state_of(company_dir)
    asks = state is SetupState.NEW or (state is SetupState.WAITING and given.invitation is not None)
    path = _path(given, asking) if asks else Path()  # 1
    invited = enrolment.read_invitation(path) if asks else None
    settings = config.load(company_dir) if invited is None else invited.config
    settings = replace(settings, network=_network(given, asking, settings, state))
    authority = invited.authority if invited else keystore.authority_path(company_dir).read_bytes()
    found = _examined(settings, authority, given, asking, clock)  # 2
    if invited is not None:
        _agree(given, asking)  # 3
        size = _declared_size(given, asking)
        _write_settings(company_dir, settings)  # 4
        enrolment.enrol(path, company_dir, size, sleep=sleep)
    elif given.network is not None:
        _write_settings(company_dir, settings)
    said = fingerprint(keystore.load(company_dir).signing.public_key)
    if state is not SetupState.ENROLLED:  # 5
        asking.say(_words("fingerprint", given).format(fingerprint=said))
        if not _collect(company_dir, given.wait_seconds, sleep):
            return Outcome(settings.company, SetupState.WAITING, said, found)
    return Outcome(settings.company, SetupState.ENROLLED, said, found)


def _words(what: str, given: Given) -> str:
    english, japanese = _WORDS[what]
    return japanese if given.language is Locale.JA else english


def _path(given: Given, asking: Asking) -> Path:
    if given.invitation is not None:
        return given.invitation
    return Path(asking.text("--invitation", _words("--invitation", given)))


def _network(given: Given, asking: Asking, settings: CompanyConfig, state: SetupState) -> NetworkSettings:
    """What was given, or answered, or is configured; checked as far as it can be without the network."""
    network = settings.network if given.network is None else given.network
    if given.network is None and state is SetupState.NEW:
        network = NetworkSettings.from_texts(
            proxy=asking.text("--proxy", _words("--proxy", given), " ").strip(),
            authority=asking.text("--corporate-ca", _words("--corporate-ca", given), " ").strip(),
        )
    authority_context(network)
    return network


def _examined(
    settings: CompanyConfig,
    authority: bytes,
    given: Given,
    asking: Asking,
    clock: Callable[[], float],
) -> tuple[Finding, ...]:
    asking.say(_words("looking", given))
    found = tuple(doctor.network(settings, authority, clock=clock))
    failed = [finding for finding in found if finding.exit_code]
    if failed and not given.ignore_network:
        for line in doctor.lines(failed, given.language):
            asking.say(line)
        raise ConfigurationError(
            f"setup: expected to reach the platform, the check of {failed[0].check.value} failed. "
            f"{failed[0].found(given.language)} IT: {failed[0].line(given.language)}",
            code="NETWORK_NOT_READY",
        )
    return found


def _agree(given: Given, asking: Asking) -> None:
    """Somebody saw this very text: its hash was given, or she agreed to it here."""
    if given.agreement:
        if given.agreement.strip().lower() != agreement_sha256():
            raise ConfigurationError(
                "--agree: expected the sha256 that noren-company agreement prints, got another",
                code="AGREEMENT_NOT_ACCEPTED",
            )
        return
    if not asking.agrees(agreement_text()):
        raise ConfigurationError(
            "setup: expected somebody who agrees to the participation agreement; nothing was written",
            code="AGREEMENT_NOT_ACCEPTED",
        )


def _declared_size(given: Given, asking: Asking) -> int:
    size = given.declared_size
    if size is None:
        text = asking.text("--declared-size", _words("--declared-size", given))
        size = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= size <= MAX_DECLARED_SIZE:
        raise ConfigurationError(f"--declared-size: expected a number from 1 to {MAX_DECLARED_SIZE}")
    return size


def _write_settings(company_dir: Path, settings: CompanyConfig) -> None:
    """Before enrolling, which keeps a configuration that is there."""
    path = company_dir / config.FILE_NAME
    if path.exists():
        known = config.load(company_dir)
        if (known.company, known.platform, known.pins) != (
            settings.company,
            settings.platform,
            settings.pins,
        ):
            raise LocalProtocolError("setup: expected an empty directory, got one of another enrolment")
        settings = replace(known, network=settings.network)
    company_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, config.to_toml(settings))


def _collect(company_dir: Path, wait_seconds: float, sleep: Callable[[float], None]) -> bool:
    """Whether the platform approved in time."""
    try:
        enrolment.collect(company_dir, wait_seconds=wait_seconds, sleep=sleep)
    except RemoteProtocolError as error:
        if error.code != Refusal.NOT_READY:
            raise
        return False
    return True


class Nobody:
    """Answers nothing: for scripts, where everything is given with the command."""

    def text(self, option: str, question: str, default: str = "") -> str:
        """The default, if there is one."""
        del question
        if default:
            return default
        raise ConfigurationError(
            f"{option}: expected it, since there is no terminal to ask at", code="SETUP_ANSWER_MISSING"
        )

    def agrees(self, text: str) -> bool:
        """Never: a person has to."""
        del text
        raise ConfigurationError(
            "--agree: expected the sha256 of the agreement that was read (noren-company agreement)",
            code="SETUP_ANSWER_MISSING",
        )

    def say(self, sentence: str) -> None:
        """To nobody: the result has it."""
