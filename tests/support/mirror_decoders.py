"""Decoders of copies, disclosure, students' requests and reports, for `decoders.DECODERS`: fields of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import hostile_input as shapes
from mirrored_scores import CAMPAIGN, COMPANY, MAILBOX, NOW, POSITION, answer, record

from noren_client.rights import disclosure_answers, mirror_deposit
from noren_core import canonical_json
from noren_core.crypto.identity import SealingKey, SigningKey, seal_to
from noren_core.errors import NorenError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, SignedEntry, parse_entry, sign_entry
from noren_core.rights import fields, student_request
from noren_core.rights.consent import link_offer
from noren_core.rights.consent.consent_record import ConsentState
from noren_core.rights.disclosure import mirror, mirror_copy
from noren_core.rights.disclosure import requests as disclosure
from noren_core.rights.disclosure.mirror import CommittedRecord, MirrorRecord
from noren_core.rights.disclosure.mirror_copy import Access, AccessCopy, AnswerCopy, ScoreCopy
from noren_core.rights.disclosure.requests import (
    InboxItem,
    KeyChange,
    Scope,
)
from noren_core.rights.disclosure.student_report import BudgetLine, ConsentLine, ProvisionLine, StudentReport
from noren_core.rights.purposes import Purpose

_SIGNING = SigningKey.from_bytes(hashlib.sha256(b"company").digest())
_SEALING = SealingKey.from_bytes(hashlib.sha256(b"student").digest())


def _stretched(length: int) -> bytes:
    return hashlib.shake_256(b"the same in every run").digest(length)


_ROOT, (_COMMITTED,) = mirror.commit([record()], size=4, random_bytes=_stretched)
_SCORE = ScoreCopy(deposit_index=7, committed=_COMMITTED)
_ACCESSES = AccessCopy(
    company=COMPANY,
    campaign=CAMPAIGN,
    position=POSITION,
    mailbox=MAILBOX,
    accesses=(Access(role="follow-up", action="view-score", at=NOW),),
    at=NOW,
)
_CHANGE = KeyChange.sign(_SIGNING, mailbox=MAILBOX, replaced=bytes(32), disclosure_key=b"n" * 32, at=NOW)
_ITEM = InboxItem(
    request=bytes(16),
    campaign=CAMPAIGN,
    position=POSITION,
    mailbox=MAILBOX,
    disclosure_key=b"n" * 32,
    change=_CHANGE,
    due_at=NOW,
)
_SCOPE = Scope(platform_data=True, consent_history=False, provision_records=True, company=COMPANY)
_DEPOSITED = mirror_deposit.DepositedScore(_SCORE, bytes(32), bytes(4096), bytes(64))
_ENTRY = sign_entry(
    EntryKind.MIRROR_DEPOSIT,
    COMPANY,
    {"campaign": CAMPAIGN, "company": COMPANY, "root": _ROOT.hex(), "deposited_at": NOW},
    _SIGNING,
)
_CONSENT = ConsentLine(
    company=COMPANY,
    position=POSITION,
    season="2027",
    purpose=Purpose.SCORE,
    policy="policy-1",
    state=ConsentState.GIVEN,
    changed_at=NOW,
)
_PROVISION = ProvisionLine(
    company=COMPANY, campaign=CAMPAIGN, position=POSITION, kind=TableKind.SCORE, at=NOW, record="ab" * 16
)
_BUDGET = BudgetLine(campaigns=(CAMPAIGN,), epsilon="1.000", delta="0.000001")
_REPORT = StudentReport(
    at=NOW, behaviour_logged=True, consents=(_CONSENT,), provisions=(_PROVISION,), budget=_BUDGET
)
_OFFER = link_offer.LinkOffer(
    company=COMPANY, position=POSITION, season="2027", nonce=bytes(16), expires_at=NOW
)
_REQUEST = student_request.sign_request(
    _SIGNING,
    student="s1",
    platform="job-site/ledger",
    method="GET",
    target="/",
    body=b"",
    time=NOW,
    nonce=bytes(16),
)


def _signed(copy: mirror_copy.Copy) -> bytes:
    """Signature and statement, as they lie in a sealed copy."""
    plain = _SEALING.open(
        mirror_copy.seal_copy(copy, signing=_SIGNING, disclosure_key=_SEALING.public_key),
        info=mirror_copy._info(COMPANY, MAILBOX),
    )
    return plain[4 : 4 + int.from_bytes(plain[:4], "big")]


def _deposit_at(index: int) -> SignedEntry:
    del index
    return parse_entry(_ENTRY)


def _open_copy(statement: bytes, _: Any) -> Any:
    """Whatever the company says, signed and sealed as it should be."""
    content = _SIGNING.sign(mirror_copy._STATEMENT_LABEL, statement) + statement
    plain = (len(content).to_bytes(4, "big") + content)[: mirror_copy.PLAINTEXT_BYTES]
    padded = plain.ljust(mirror_copy.PLAINTEXT_BYTES, b"\0")
    info = mirror_copy._info(COMPANY, MAILBOX)
    return mirror_copy.open_copy(
        seal_to(_SEALING.public_key, padded, info=info),
        _SEALING,
        company=COMPANY,
        mailbox=MAILBOX,
        company_keys=[_SIGNING.public_key],
        deposit_at=_deposit_at,
    )


def _parse_evidence(statement: bytes, _: Any) -> Any:
    evidence = _SIGNING.sign(mirror_copy._STATEMENT_LABEL, statement) + statement
    return mirror_copy.parse_evidence(evidence, company=COMPANY, company_keys=[_SIGNING.public_key])


def _open_item(content: bytes, _: Any) -> Any:
    """Whatever the platform says, sealed as it should be."""
    plain = (len(content).to_bytes(2, "big") + content)[: disclosure._ITEM_PLAINTEXT]
    info = disclosure._ITEM_INFO + COMPANY.encode()
    padded = plain.ljust(disclosure._ITEM_PLAINTEXT, b"\0")
    return disclosure.open_item(seal_to(_SEALING.public_key, padded, info=info), _SEALING, company=COMPANY)


def _from_headers(text: str, _: Any) -> Any:
    try:
        headers = canonical_json.parse(text.encode(errors="surrogatepass"))
    except NorenError:
        headers = {student_request.STUDENT_HEADER: text}
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        return None
    return student_request.StudentRequest.from_headers(headers, method="GET", target="/", body=b"")


def _body(
    kind: Any, *valid: Any, encode: Callable[[Any], Any] | None = None, method: str = "from_body"
) -> Mapping[str, Any]:
    decode = getattr(kind, method)
    is_body = method == "from_body"
    encode = encode or (kind.to_body if is_body else kind.to_bytes)
    return {
        "name": f"{kind.__module__}.{kind.__name__}.{method}",
        "shape": shapes.JsonValue() if is_body else shapes.JsonBytes(),
        "valid": lambda _: [encode(value) for value in valid],
        "decode": lambda value, _: decode(value),
        "encode": encode,
    }


def _bytes(
    name: str, decode: Callable[[Any, Any], Any], valid: Sequence[bytes], *, has_own_fields: bool = False
) -> Mapping[str, Any]:
    return {
        "name": name,
        "shape": shapes.JsonBytes(),
        "valid": lambda _: list(valid),
        "decode": decode,
        "has_own_fields": has_own_fields,
    }


_STATEMENTS = [_signed(copy)[64:] for copy in (_SCORE, _ACCESSES, answer(), answer(_SCORE))]
_PENDING = mirror_deposit._Pending(
    entry=_ENTRY,
    committed=(_COMMITTED,),
    disclosure_keys=(bytes(32),),
    deposit_index=7,
    sealed_copies=(bytes(4096),),
)
_TOLD = disclosure_answers._Told({bytes(16): NOW}, NOW, (_ITEM,))

FIELDS: tuple[Mapping[str, Any], ...] = (
    _body(MirrorRecord, record()),
    _body(CommittedRecord, _COMMITTED),
    _body(ScoreCopy, _SCORE),
    _body(Access, _ACCESSES.accesses[0]),
    _body(AccessCopy, _ACCESSES),
    _body(AnswerCopy, answer(), answer(_SCORE)),
    _body(Scope, _SCOPE),
    _body(KeyChange, _CHANGE),
    _body(InboxItem, _ITEM, method="from_bytes"),
    _body(ConsentLine, _CONSENT),
    _body(ProvisionLine, _PROVISION),
    _body(BudgetLine, _BUDGET),
    _body(StudentReport, _REPORT, method="from_bytes"),
    _body(mirror_deposit.DepositedScore, _DEPOSITED),
    _body(mirror_deposit._Pending, _PENDING, method="from_bytes"),
    _body(disclosure_answers._Told, _TOLD, method="from_bytes"),
    _bytes("noren_core.rights.disclosure.mirror_copy.open_copy", _open_copy, _STATEMENTS),
    _bytes("noren_core.rights.disclosure.mirror_copy.parse_evidence", _parse_evidence, _STATEMENTS[2:3]),
    _bytes("noren_core.rights.disclosure.requests.open_item", _open_item, [_ITEM.to_bytes()]),
    {
        "name": "noren_core.rights.fields.read_fields",
        "shape": shapes.JsonValue(),
        "valid": lambda _: [{"name": "akane", "at": NOW, "keys": ["ab"]}],
        "decode": lambda value, _: fields.read_fields(
            value,
            {"name": fields.name, "at": fields.seconds, "keys": fields.list_of(fields.hex_bytes)},
            "test",
        ),
        "encode": lambda read: {**read, "keys": [key.hex() for key in read["keys"]]},
    },
    {
        "name": "noren_core.rights.consent.link_offer.SignedLinkOffer.from_token",
        "shape": shapes.Text(),
        "valid": lambda _: [_OFFER.to_token(_SIGNING)],
        "decode": lambda text, _: link_offer.SignedLinkOffer.from_token(text),
    },
    {
        "name": "noren_core.rights.student_request.StudentRequest.from_headers",
        "shape": shapes.Text(),
        "valid": lambda _: [canonical_json.encode(_REQUEST.headers()).decode()],
        "decode": _from_headers,
    },
)
"""One `Decoder` each."""

EXEMPT = {
    "noren_core.rights.disclosure.requests.KeyChange.verify": (
        "a value of our own; identity.verify_signature is here"
    ),
    "noren_core.rights.consent.link_offer.SignedLinkOffer.verify": "as KeyChange.verify",
    "noren_core.rights.disclosure.mirror.CommittedRecord.verify": (
        "a value of our own; merkle.verify_inclusion is here"
    ),
    "noren_core.rights.disclosure.mirror.verify_receipt": (
        "identity.verify_signature over bytes of checked length"
    ),
    "noren_core.rights.disclosure.mirror_copy.verify_disclosure_key": "compares bytes",
    "noren_core.rights.student_request.StudentRequest.verify": "as KeyChange.verify",
    "noren_server.rights.disclosure.DisclosureDesk.open": "values that Scope.from_body parsed",
    "noren_server.rights.inquiries.InquiryDesk.open": "bounds a text; parse_evidence is here",
    "noren_server.rights.link_offers.LinkOffers.open": "SignedLinkOffer.from_token, then the ledger's keys",
    "noren_server.rights.link_offers.verify_subject": "compares two texts",
    "noren_server.rights.mailbox.Mailboxes.open": "SQLite reads it, as Store.open",
    "noren_server.rights.rights_file.open_rights_file": "SQLite reads it, as Store.open",
    "noren_server.rights.student_auth.AccountCodes.verify": "looks a hash up in our own database",
}
"""Public functions with a decoder's name that need no fuzzing, and why."""
