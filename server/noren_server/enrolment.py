"""How a company becomes a participant (docs/protocol.md §0).

    invite    the operator makes a one-time code and an invitation file, handed over out of band
    request   the company sends its public keys and two signed entries with the code
    approve   the operator compares the fingerprint by phone; certificate and ledger entries follow
    collect   the company fetches its certificate and the first proof from the ledger

Promises: a code works once, until it expires, for the company it was made for; nothing is certified or
enters the ledger before a person confirmed the fingerprint; wrong codes from one address are bounded.
Private keys never come here. Everything in a request is checked before the code is spent.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from noren_core import canonical_json
from noren_core.crypto.identity import fingerprint, verify_signature
from noren_core.errors import DataError, LocalProtocolError, RemoteProtocolError, VerificationError
from noren_core.ids import parse_name
from noren_core.ledger.entries import (
    PLATFORM,
    EntryKind,
    RevocationReason,
    SignedEntry,
    parse_entry,
    verify_author,
)
from noren_core.ledger.proofs import LedgerProof
from noren_core.season.participation import COLLECT_LABEL, agreement_sha256
from noren_core.wire.refusal import Refusal
from noren_server.certificates import (
    CertificateAuthority,
    certificate_sha256,
    key_sha256,
    node_key,
    request_key,
)
from noren_server.ledger_service import LedgerService
from noren_server.store import Company, CompanyState, EnrolmentRecord, Store, StoredInvitation

INVITATION_FORMAT = "noren/v1/invitation"
CODE_BYTES = 20
MAX_VALID_DAYS = 60
WRONG_CODES = 10
WRONG_CODES_SECONDS = 600.0
MAX_REMEMBERED_ADDRESSES = 10_000


@dataclass(frozen=True, slots=True)
class PlatformAddresses:
    """Where a company reaches the platform, as host:port."""

    enrolment: str
    service: str
    fleet: str


@dataclass(frozen=True, slots=True)
class PlatformFacts:
    """What every invitation states about this platform."""

    name: str
    addresses: PlatformAddresses
    log_key: str
    platform_key: bytes
    bundle_sha256: str


@dataclass(frozen=True, slots=True)
class Invitation:
    """What is handed to a company out of band; whoever holds the code can ask to enrol under its name."""

    company: str
    expires_at: int
    content: bytes


@dataclass(frozen=True, slots=True)
class CompanyRequest:
    """What a company sends with its code: two signed entries, a PKCS #10 request (DER), a node key (PEM)."""

    enrolment_entry: bytes
    agreement_entry: bytes
    tls_request: bytes
    node_key: bytes


@dataclass(frozen=True, slots=True)
class Certified:
    """What an approved company collects."""

    certificate: bytes
    proof: LedgerProof


class EnrolmentDesk:
    """Invitations, requests and approvals of one platform."""

    def __init__(
        self,
        store: Store,
        ledger: LedgerService,
        authority: CertificateAuthority,
        facts: PlatformFacts,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._authority = authority
        self._facts = facts
        self._clock = clock
        self._wrong_codes = WrongCodes()

    def invite(self, company: str, *, valid_days: int = 14) -> Invitation:
        """Make an invitation; an unused one for the same company stops working.

        Raises:
            DataError: if the name or the number of days is out of bounds.
            LocalProtocolError: if the company has asked to enrol, or has enrolled, before.
        """
        if parse_name(company, "company") == PLATFORM:
            raise DataError("company: expected a name other than the platform's in the ledger")
        if not 1 <= valid_days <= MAX_VALID_DAYS:
            raise DataError(f"invitation: expected 1 to {MAX_VALID_DAYS} days, got {valid_days}")
        code = secrets.token_hex(CODE_BYTES)
        expires_at = int(self._clock().timestamp()) + valid_days * 86_400
        with self._store.transaction() as transaction:
            if transaction.company(company) is not None:
                raise LocalProtocolError(
                    "invitation: expected a company that has not enrolled", code=Refusal.ALREADY_ENROLLED
                )
            transaction.put_invitation(company, code_sha256=_code_hash(code), expires_at=expires_at)
        return Invitation(company, expires_at, self._invitation_file(company, code, expires_at))

    def request(self, code: str, request: CompanyRequest, *, address: str) -> str:
        """Take a company's request; the fingerprint of the signing key, to be compared by phone.

        1. The address has not sent too many wrong codes.
        2. The code is one of ours; only then is its sender told whether it expired or was used.
        3. The request is complete, consistent and the invited company's own.
        4. In one transaction: the request is kept and the code is spent.
        Sending the same request again after a lost answer gives the same answer.
        """
        now = self._clock().timestamp()
        self._wrong_codes.check(address, now)  # 1
        with self._store.transaction() as transaction:
            invitation = _find_invitation(transaction.invitations(), code)  # 2
            if invitation is None:
                self._wrong_codes.add(address, now)
                raise _refused(Refusal.INVITATION_UNKNOWN)
            if now > invitation.expires_at:
                raise _refused(Refusal.INVITATION_EXPIRED)
            record = _verified_record(invitation.company, request)  # 3
            if invitation.used:
                _check_repeated(transaction.company(invitation.company), record)
            else:  # 4
                transaction.add_company(record)
                transaction.use_invitation(invitation.company)
        return fingerprint(record.signing_key)

    def approve(self, company: str, expected_fingerprint: str) -> Company:
        """Certify a pending company whose fingerprint the operator compared by phone.

        1. The fingerprint is the one of the key that asked, compared without spaces and case.
        2. Both entries enter the ledger, countersigned.
        3. The certificate is issued and kept; from now on the company is let in.

        Returns:
            The approved company, whose `node_key` is registered with Flower next.

        Raises:
            LocalProtocolError: if there is no such pending company.
            VerificationError: if the fingerprint is another; nothing was changed.
        """
        with self._store.transaction() as transaction:
            pending = transaction.company(company)
            if pending is None or pending.state is not CompanyState.PENDING:
                raise LocalProtocolError("approve: expected a company that waits for approval, got none")
            if not _same_fingerprint(fingerprint(pending.signing_key), expected_fingerprint):  # 1
                raise VerificationError(
                    "approve: expected the fingerprint of the key that asked, got another",
                    code="FINGERPRINT_MISMATCH",
                )
            for entry in (pending.enrolment_entry, pending.agreement_entry):  # 2
                self._ledger.append_company_entry(parse_entry(entry))
            certificate = self._authority.issue_client(pending.tls_request, company, now=self._clock())  # 3
            sha256 = certificate_sha256(certificate)
            transaction.approve_company(company, certificate=certificate, sha256=sha256)
        return replace(
            pending, state=CompanyState.APPROVED, certificate=certificate, certificate_sha256=sha256
        )

    def reject(self, company: str) -> None:
        """Forget a request whose fingerprint was wrong; the company can then be invited again."""
        with self._store.transaction() as transaction:
            if not transaction.remove_pending(company):
                raise LocalProtocolError("reject: expected a company that waits for approval, got none")

    def revoke(self, company: str, reason: RevocationReason) -> None:
        """End a company's participation, for good: its name and its keys are not enrolled again.

        What it said before stays valid; from the ledger's entry on it says nothing more, and is not let in
        from its next call on. After a crash in between the same call completes it.

        Raises:
            LocalProtocolError: if there is no approved company of that name.
        """
        with self._store.transaction() as transaction:
            transaction.revoke_company(company)
            if not self._ledger.store.entries(kind=EntryKind.REVOCATION, company=company):
                body = {"company": company, "reason": reason.value}
                self._ledger.append_platform_entry(EntryKind.REVOCATION, body)

    def collect(self, signing_key: bytes, signature: bytes) -> Certified | None:
        """The certificate of the company with this key, or None as long as it is not approved.

        Raises:
            VerificationError: if the signature is not of the key, whether or not we know the key.
        """
        verify_signature(signing_key, COLLECT_LABEL, signing_key, signature)
        with self._store.transaction() as transaction:
            company = transaction.company_with_key(signing_key)
        if company is None or company.state is not CompanyState.APPROVED or company.certificate is None:
            return None
        indices = [
            stored.index
            for kind in (EntryKind.ENROLMENT, EntryKind.AGREEMENT)
            for stored in self._ledger.store.entries(kind=kind, company=company.name)
        ]
        proof = self._ledger.prove(known_tree_size=0, indices=indices)
        return Certified(company.certificate, proof)

    def _invitation_file(self, company: str, code: str, expires_at: int) -> bytes:
        addresses = self._facts.addresses
        return canonical_json.encode(
            {
                "format": INVITATION_FORMAT,
                "company": company,
                "platform": self._facts.name,
                "enrolment_address": addresses.enrolment,
                "service_address": addresses.service,
                "fleet_address": addresses.fleet,
                "ca_pem": self._authority.certificate_pem.decode(),
                "log_key": self._facts.log_key,
                "platform_key": self._facts.platform_key.hex(),
                "bundle_sha256": self._facts.bundle_sha256,
                "agreement_sha256": agreement_sha256(),
                "code": code,
                "expires_at": expires_at,
            }
        )


class WrongCodes:
    """How many wrong codes each address sent lately; remembers a bounded number of addresses."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, address: str, now: float) -> None:
        """Refuse an address with too many wrong codes within the window."""
        recent = [time for time in self._times.get(address, []) if now - time < WRONG_CODES_SECONDS]
        if len(recent) >= WRONG_CODES:
            raise _refused(Refusal.TOO_MANY_ATTEMPTS)

    def add(self, address: str, now: float) -> None:
        """Count one wrong code."""
        recent = [time for time in self._times.pop(address, []) if now - time < WRONG_CODES_SECONDS]
        self._times[address] = [*recent, now][-WRONG_CODES:]
        while len(self._times) > MAX_REMEMBERED_ADDRESSES:
            self._times.popitem(last=False)


def utc_now() -> datetime:
    """The clock that deployments hand in."""
    return datetime.now(UTC)


def _find_invitation(invitations: list[StoredInvitation], code: str) -> StoredInvitation | None:
    """The invitation with this code; every one is compared, each in constant time."""
    wanted = _code_hash(code)
    matches = [item for item in invitations if hmac.compare_digest(item.code_sha256, wanted)]
    return matches[0] if matches else None


def _code_hash(code: str) -> bytes:
    # The code has 160 random bits, so a plain hash of it cannot be searched.
    return hashlib.sha256(b"noren/v1/invitation\0" + code.encode()).digest()


def _verified_record(company: str, request: CompanyRequest) -> EnrolmentRecord:
    """The request as it is kept.

    1. Both entries are of the right kinds, about the invited company, not countersigned.
    2. Both are signed by the key that is enrolled.
    3. The agreement is the current text.
    4. The certificate request and the node key are the ones that the enrolment entry names.
    """
    enrolment, agreement = parse_entry(request.enrolment_entry), parse_entry(request.agreement_entry)
    _check_entry(enrolment, EntryKind.ENROLMENT, company)  # 1
    _check_entry(agreement, EntryKind.AGREEMENT, company)
    signing_key = bytes.fromhex(enrolment.body["signing_key"])
    verify_author(enrolment, signing_key)  # 2
    verify_author(agreement, signing_key)
    if agreement.body["agreement_sha256"] != agreement_sha256():  # 3
        raise DataError("agreement: expected the hash of the current participation agreement, got another")
    _check_keys(enrolment, request)  # 4
    return EnrolmentRecord(
        name=company,
        signing_key=signing_key,
        sealing_key=bytes.fromhex(enrolment.body["sealing_key"]),
        declared_size=agreement.body["declared_size"],
        tls_request=request.tls_request,
        node_key=request.node_key,
        enrolment_entry=request.enrolment_entry,
        agreement_entry=request.agreement_entry,
    )


def _check_entry(entry: SignedEntry, kind: EntryKind, company: str) -> None:
    if entry.kind is not kind or entry.author != company or entry.body["company"] != company:
        raise DataError(f"enrolment: expected the {kind} entry of the invited company, got another")
    if entry.countersignature is not None:
        raise DataError("enrolment: expected an entry without countersignature, got one with it")


def _check_keys(enrolment: SignedEntry, request: CompanyRequest) -> None:
    if key_sha256(request_key(request.tls_request)) != enrolment.body["tls_key_sha256"]:
        raise DataError("enrolment: expected the certificate request of the key in the entry, got another")
    if key_sha256(node_key(request.node_key)) != enrolment.body["node_key_sha256"]:
        raise DataError("enrolment: expected the node key in the entry, got another")


def _check_repeated(known: Company | None, record: EnrolmentRecord) -> None:
    """A used code gives the same answer to the very same request, and is refused for any other."""
    if known is None or known.enrolment_entry != record.enrolment_entry:
        raise _refused(Refusal.INVITATION_USED)


def _same_fingerprint(ours: str, typed: str) -> bool:
    return hmac.compare_digest(ours.replace(" ", ""), "".join(typed.split()).lower())


def _refused(refusal: Refusal) -> RemoteProtocolError:
    return RemoteProtocolError(refusal.sentence, code=refusal)
