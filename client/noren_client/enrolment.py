"""How this company becomes a participant (docs/protocol.md §0).

`enrol` makes every key on this machine, signs the participation agreement and asks with the invitation's
one-time code; a person then compares the fingerprint with the platform's operator by phone; `collect` fetches
the certificate and the first proof from the ledger. Nothing is believed but what the invitation, handed over
out of band, pins.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noren_client import config, keystore
from noren_client.config import Addresses, CompanyConfig, Limits
from noren_client.ledger_watch import LedgerWatch
from noren_client.transport import EnrolmentClient
from noren_core import canonical_json
from noren_core.crypto.identity import fingerprint
from noren_core.errors import (
    ConfigurationError,
    DataError,
    LocalProtocolError,
    NorenError,
    RemoteProtocolError,
    VerificationError,
)
from noren_core.ids import parse_name
from noren_core.ledger.entries import EntryKind, parse_entry, sign_entry
from noren_core.ledger.proofs import LedgerProof
from noren_core.season.participation import COLLECT_LABEL, agreement_sha256
from noren_core.wire.refusal import Refusal
from noren_local.private_file import write_private

INVITATION_FORMAT = "noren/v1/invitation"
MAX_INVITATION_BYTES = 64 << 10
POLL_SECONDS = 2.0
ENTRIES_FILE = "enrolment.json"


@dataclass(frozen=True, slots=True)
class Invitation:
    """What the platform handed over out of band."""

    config: CompanyConfig
    authority: bytes
    code: str

    def __repr__(self) -> str:
        return f"<Invitation for {self.config.company}, code redacted>"


def read_invitation(path: Path) -> Invitation:
    """The invitation in the file.

    Raises:
        DataError: if it is malformed.
        ConfigurationError: with code AGREEMENT_MISMATCH, if it is about another text of the agreement than
            the one in this software, which people here have read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_INVITATION_BYTES + 1)
    except OSError as error:
        raise DataError("invitation: expected a readable file, got none") from error
    if len(data) > MAX_INVITATION_BYTES:
        raise DataError(f"invitation: expected at most {MAX_INVITATION_BYTES} bytes, got more")
    fields = canonical_json.parse_object(data)
    texts = {name: value for name, value in fields.items() if isinstance(value, str)}
    if fields.get("format") != INVITATION_FORMAT:
        raise DataError("invitation: expected an invitation file, got another file")
    try:
        return _invitation(texts)
    except KeyError as error:
        raise DataError(f"invitation: expected the field {error}, got none") from error


def enrol(
    invitation: Path, company_dir: Path, declared_size: int, *, sleep: Callable[[float], None] = time.sleep
) -> str:
    """Ask to enrol; the fingerprint to compare with the operator by phone.

    1. Read the invitation; the directory is empty or belongs to the same company and platform.
    2. Write configuration and pins, make the keys that are missing.
    3. Sign the enrolment and the agreement.
    4. Ask; the platform saw the very key that we made.
    After a lost answer the same call asks again, with the same keys and entries.

    Args:
        invitation: the file.
        company_dir: where everything of this company is kept.
        declared_size: upper bound of applicants per campaign; public, and what batches are padded to.
        sleep: how to wait between attempts.
    """
    invited = read_invitation(invitation)  # 1
    _check_directory(company_dir, invited.config)
    _write_configuration(company_dir, invited)  # 2
    keystore.create_missing(company_dir)
    entries = _signed_entries(company_dir, declared_size)  # 3
    node_key, _ = keystore.node_public_keys(company_dir)
    with EnrolmentClient(company_dir, sleep=sleep) as platform:
        seen = platform.request(  # 4
            code=invited.code,
            enrolment_entry=entries[0],
            agreement_entry=entries[1],
            tls_request=keystore.certificate_request(company_dir, invited.config.company),
            node_key=node_key,
        )
    ours = fingerprint(keystore.load(company_dir).signing.public_key)
    if seen != ours:
        raise VerificationError(
            "enrolment: expected the platform to see our key, it saw another", code="FINGERPRINT_MISMATCH"
        )
    return ours


def collect(
    company_dir: Path,
    *,
    wait_seconds: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Fetch the certificate, waiting up to `wait_seconds` for the operator's approval.

    1. Prove with our signing key that we are the applicant.
    2. The ledger holds exactly the two entries that we signed; keep its checkpoint.
    3. The certificate is for our key and name; keep it.

    Raises:
        RemoteProtocolError: with code NOT_READY, if nobody approved in time.
    """
    keys = keystore.load(company_dir)
    signature = keys.signing.sign(COLLECT_LABEL, keys.signing.public_key)  # 1
    deadline = clock() + wait_seconds
    with EnrolmentClient(company_dir, sleep=sleep) as platform:
        while (collected := platform.collect(keys.signing.public_key, signature)) is None:
            if clock() >= deadline:
                raise RemoteProtocolError("collect: expected an approval by now", code=Refusal.NOT_READY)
            sleep(min(POLL_SECONDS, max(deadline - clock(), 0.0)))
    certificate, proof = collected
    _verify_enrolment(company_dir, proof)  # 2
    keystore.save_certificate(company_dir, certificate, company=keys.company)  # 3


def _verify_enrolment(company_dir: Path, proof: LedgerProof) -> None:
    proven = {entry.signature for entry in LedgerWatch(company_dir).verify(proof)}
    expected = {parse_entry(entry).signature for entry in _load_entries(company_dir)}
    if not expected <= proven:
        raise VerificationError("enrolment: expected both entries that we signed in the ledger, got others")


def _invitation(fields: dict[str, str]) -> Invitation:
    if fields["agreement_sha256"] != agreement_sha256():
        raise ConfigurationError(
            "invitation: expected the participation agreement of this version, got another",
            code="AGREEMENT_MISMATCH",
        )
    addresses = Addresses(
        enrolment=_address(fields["enrolment_address"]),
        service=_address(fields["service_address"]),
        fleet=_address(fields["fleet_address"]),
    )
    pins = config.parse_pins(fields["bundle_sha256"], fields["log_key"], fields["platform_key"])
    company, platform = parse_name(fields["company"], "company"), parse_name(fields["platform"], "platform")
    return Invitation(
        config=CompanyConfig(company, platform, addresses, pins, Limits()),
        authority=fields["ca_pem"].encode(),
        code=fields["code"],
    )


def _address(text: str) -> str:
    host, separator, port = text.rpartition(":")
    if not (separator and host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise DataError("invitation: expected addresses as host:port, got another text")
    return text


def _check_directory(company_dir: Path, invited: CompanyConfig) -> None:
    if not (company_dir / config.FILE_NAME).exists():
        return
    known = config.load(company_dir)
    if (known.company, known.platform, known.pins) != (invited.company, invited.platform, invited.pins):
        raise LocalProtocolError("enrol: expected an empty directory, got one of another enrolment")


def _write_configuration(company_dir: Path, invited: Invitation) -> None:
    company_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(keystore.authority_path(company_dir), invited.authority)
    if not (company_dir / config.FILE_NAME).exists():  # limits edited by hand stay
        write_private(company_dir / config.FILE_NAME, config.to_toml(invited.config))


def _signed_entries(company_dir: Path, declared_size: int) -> tuple[bytes, bytes]:
    """The enrolment and the agreement, signed; kept to be compared with the ledger later."""
    keys = keystore.load(company_dir)
    _, node_key = keystore.node_public_keys(company_dir)
    enrolment = {
        "company": keys.company,
        "signing_key": keys.signing.public_key.hex(),
        "sealing_key": keys.sealing.public_key.hex(),
        "tls_key_sha256": hashlib.sha256(keystore.tls_public_key(company_dir)).hexdigest(),
        "node_key_sha256": hashlib.sha256(node_key).hexdigest(),
    }
    agreement = {
        "company": keys.company,
        "agreement_sha256": agreement_sha256(),
        "declared_size": declared_size,
    }
    entries = (
        sign_entry(EntryKind.ENROLMENT, keys.company, enrolment, keys.signing),
        sign_entry(EntryKind.AGREEMENT, keys.company, agreement, keys.signing),
    )
    body: dict[str, Any] = {"enrolment": entries[0].decode(), "agreement": entries[1].decode()}
    write_private(company_dir / "platform" / ENTRIES_FILE, canonical_json.encode(body))
    return entries


def _load_entries(company_dir: Path) -> tuple[bytes, bytes]:
    try:
        body = canonical_json.parse_object((company_dir / "platform" / ENTRIES_FILE).read_bytes())
        return body["enrolment"].encode(), body["agreement"].encode()
    except (OSError, KeyError, AttributeError, NorenError) as error:
        raise LocalProtocolError("collect: expected a company that asked to enrol: enrol first") from error
