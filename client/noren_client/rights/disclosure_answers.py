"""Answering students without asking anybody: the inbox, and who looked at what.

docs/rights/mirror-and-disclosure.md §4 and §5. Promises: every item is answered by the program itself, with
copies of the one size, as many as the plan has heads, whether something is held or not; no member of staff
hears of it; an answer about a score goes to the key that came with her row, or to one for which the platform
signed that she lost it. Once a day every student with a score gets a statement of who looked at it, also if
nobody did, so that the platform cannot tell a look from none.

    campaigns/<campaign>/mirror-told.json    what was answered, until when accesses were told, and the
                                             platform's signed words about changed keys
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

from noren_client import campaign_files, keystore
from noren_client.gate import access_log, score_records
from noren_client.gate.score_records import ScoredPerson
from noren_client.ledger_watch import LedgerWatch
from noren_client.rights.custody import CustodyStore
from noren_client.rights.mirror_deposit import CopyTransport, DepositedScore
from noren_core import canonical_json
from noren_core.errors import LocalProtocolError, NorenError, RemoteProtocolError, VerificationError
from noren_core.ledger.entries import PLATFORM, PlatformKey
from noren_core.rights import fields
from noren_core.rights.disclosure.mirror import verify_receipt
from noren_core.rights.disclosure.mirror_copy import (
    MAX_ACCESSES,
    Access,
    AccessCopy,
    AnswerCopy,
    Copy,
    Holding,
    seal_copy,
)
from noren_core.rights.disclosure.requests import InboxItem, key_to_seal_to, open_item
from noren_core.rights.fields import read_fields
from noren_core.rights.gate.followup import FollowUpAction
from noren_core.rights.gate.gate_file import ACCESS_SHOWN
from noren_core.rights.gate.roles import Role
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal

TOLD_FILE = "mirror-told.json"
TELL_SECONDS = 86_400
_MAX_PAGES = 256
_MAX_ANSWERED = 1 << 16
_MAX_CHANGES = 1 << 12


class InboxTransport(CopyTransport, Protocol):
    """How students' questions and our answers travel (`noren_client.rights.transport.RightsClient`)."""

    def fetch_inbox(self, campaign: str) -> Sequence[bytes]:
        """Sealed items; most are dummies."""


class DisclosureAnswers:
    """The answers of one company in one campaign."""

    def __init__(
        self, company_dir: Path, plan: CampaignPlan, *, transport: InboxTransport, custody: CustodyStore
    ) -> None:
        self._company_dir = company_dir
        self._plan = plan
        self._transport = transport
        self._custody = custody
        self._keys = keystore.load(company_dir)
        watch = LedgerWatch(company_dir)
        platform_key = watch.keys().key_at(PLATFORM, PlatformKey.PLATFORM, watch.known_tree_size)
        self._platform_key = bytes.fromhex(platform_key)
        self._name = campaign_files.secret_name(plan.campaign, TOLD_FILE)

    def answer(self, *, now: int) -> bool:
        """Answer everything in the inbox that was not answered before; whether nothing is left.

        1. Open the items, sixteen at a time until none of them is new; dummies, and what was answered, are
           passed over.
        2. What we hold about each; nothing is an answer too.
        3. The key that is sealed to. If the platform names another one than came with her row, and did not
           sign that she lost it, the answer goes to the one from her row.
        4. Send as many copies as the plan has heads; keep that it was answered, with the signed change.

        Raises:
            VerificationError: with code DISCLOSURE_KEY_MISMATCH, after everything was answered, if step 3
                found another key.
            LocalProtocolError: with code TOO_MANY_REQUESTS, if more was asked within thirty days than fits.
        """
        told = self._told(now)
        mismatch: VerificationError | None = None
        for _ in range(_MAX_PAGES):
            new = [item for item in self._asked() if item.request not in told.answered]  # 1
            if not new:
                break
            records = list(self._records())
            for item in new:
                told.verify_room()
                held = [(person, score) for person, score in records if _is_about(item, score)]  # 2
                key = item.disclosure_key
                if held:
                    known = held[0][1].disclosure_key
                    try:  # 3
                        key = key_to_seal_to(item, known_key=known, platform_key=self._platform_key)
                    except VerificationError as error:
                        key, mismatch = known, error
                self._send_answer(item, held, key, now)  # 4
                told = told.with_answer(item)
                self._keep(told)
        else:
            return False
        if mismatch is not None:
            raise mismatch
        return True

    def tell_accesses(self, *, now: int) -> None:
        """Once a day, tell every student with a score who looked at it since the last time.

        A mailbox that takes no more keeps nobody else from being told, today or tomorrow.

        Raises:
            RemoteProtocolError: after everybody else was told, if a mailbox took no copy.
        """
        told = self._told(now)
        if now < told.until + TELL_SECONDS:
            return
        full: RemoteProtocolError | None = None
        for person, score in self._records():
            accesses = self._accesses(person, since=told.until, until=now)
            for copy in _access_copies(score, accesses, now):
                try:
                    self._deposit(copy, score.disclosure_key)
                except RemoteProtocolError as error:
                    if error.code != Refusal.PROTOCOL_VIOLATION:
                        raise
                    full = error
        self._keep(replace(told, until=now))
        if full is not None:
            raise full

    def _asked(self) -> list[InboxItem]:
        """What stands in sixteen items of the inbox, about this campaign."""
        sealed = self._transport.fetch_inbox(self._plan.campaign)
        items = [open_item(each, self._keys.sealing, company=self._keys.company) for each in sealed]
        return [item for item in items if item is not None and item.campaign == self._plan.campaign]

    def _records(self) -> Iterator[tuple[ScoredPerson, DepositedScore]]:
        return score_records.iter_records(self._company_dir, self._plan.campaign, self._custody)

    def _send_answer(
        self, item: InboxItem, held: Sequence[tuple[ScoredPerson, DepositedScore]], key: bytes, now: int
    ) -> None:
        """One copy for each head of the plan: the scores first, then copies that say nothing."""
        scores = sorted((score for _, score in held), key=lambda score: score.score.committed.place)
        has_notes = any(person.notes for person, _ in held)
        for part in range(1, self._plan.scoring.heads + 1):
            score = scores[part - 1].score if part <= len(scores) else None
            holdings = [Holding.SCORE] if score is not None else []
            holdings += [Holding.FOLLOW_UP_NOTE] if has_notes and part == 1 else []
            self._deposit(
                AnswerCopy(
                    company=self._keys.company,
                    campaign=item.campaign,
                    position=item.position,
                    mailbox=item.mailbox,
                    request=item.request,
                    part=part,
                    parts=self._plan.scoring.heads,
                    holdings=tuple(holdings),
                    score=score,
                    at=now,
                ),
                key,
            )

    def _deposit(self, copy: Copy, key: bytes) -> None:
        sealed = seal_copy(copy, signing=self._keys.signing, disclosure_key=key)
        receipt = self._transport.deposit_copy(self._plan.campaign, copy.mailbox, sealed)
        verify_receipt(self._platform_key, receipt, mailbox=copy.mailbox, sealed_copy=sealed)

    def _accesses(self, person: ScoredPerson, *, since: int, until: int) -> list[Access]:
        """Who looked, by role, and what was done for her, oldest first."""
        found = [
            Access(role=Role.FOLLOW_UP.value, action=entry.action, at=entry.at)
            for entry in access_log.of_record(self._company_dir, person.handle)
            if entry.outcome in (ACCESS_SHOWN, access_log.RECORDED)
        ]
        for note in person.notes:
            name = score_records.note_name(self._plan.campaign, note.handle)
            data = score_records.read_if_key_exists(self._custody, name)
            if data is not None:
                action = FollowUpAction.from_bytes(data)
                said = f"{action.kind.value}-{action.state.value}"
                found.append(Access(role=Role.FOLLOW_UP.value, action=said, at=action.changed_at))
        return sorted((item for item in found if since < item.at <= until), key=lambda item: item.at)

    def _told(self, now: int) -> _Told:
        data = keystore.read_secret(self._company_dir, self._name)
        if data is None:
            return _Told({}, 0, ())
        try:
            return _Told.from_bytes(data).without_over(now)
        except NorenError as error:
            raise LocalProtocolError(f"{TOLD_FILE}: expected what was told, got another file") from error

    def _keep(self, told: _Told) -> None:
        keystore.write_secret(self._company_dir, self._name, told.to_bytes())


@dataclass(frozen=True, slots=True)
class _Told:
    """`mirror-told.json`: by answered item, when it is over; until when accesses were told; key changes."""

    answered: Mapping[bytes, int]
    until: int
    changes: tuple[InboxItem, ...] = field(repr=False)

    def with_answer(self, item: InboxItem) -> Self:
        is_known = any((item.mailbox, item.change) == (kept.mailbox, kept.change) for kept in self.changes)
        changes = self.changes if item.change is None or is_known else (*self.changes, item)
        return replace(self, answered={**self.answered, item.request: item.due_at}, changes=changes)

    def verify_room(self) -> None:
        """Raise LocalProtocolError (TOO_MANY_REQUESTS) if another answer would not fit in the file."""
        if len(self.answered) >= _MAX_ANSWERED or len(self.changes) >= _MAX_CHANGES:
            raise LocalProtocolError(
                "disclosure: expected fewer requests within thirty days, got very many",
                code="TOO_MANY_REQUESTS",
            )

    def without_over(self, now: int) -> Self:
        """The platform does not serve an item that is over; a signed change of a key is kept for good."""
        answered = {request: due_at for request, due_at in self.answered.items() if now < due_at}
        return replace(self, answered=answered)

    def to_bytes(self) -> bytes:
        answered = [
            {"request": request.hex(), "due_at": due_at} for request, due_at in sorted(self.answered.items())
        ]
        changes = [item.to_bytes().decode() for item in self.changes]
        return canonical_json.encode({"answered": answered, "until": self.until, "changes": changes})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        said = read_fields(canonical_json.parse(data), _TOLD_FIELDS, TOLD_FILE)
        answered = {item["request"]: item["due_at"] for item in said["answered"]}
        return cls(answered, said["until"], said["changes"])


def _answered_item(value: object) -> dict[str, Any]:
    return read_fields(value, {"request": fields.hex_bytes, "due_at": fields.integer}, "answered")


_TOLD_FIELDS = {
    "answered": fields.list_of(_answered_item, most=_MAX_ANSWERED),
    "until": fields.integer,
    "changes": fields.list_of(
        lambda value: InboxItem.from_bytes(fields.text(value).encode()), most=_MAX_CHANGES
    ),
}


def _is_about(item: InboxItem, score: DepositedScore) -> bool:
    record = score.score.committed.record
    return (record.mailbox, record.position) == (item.mailbox, item.position)


def _access_copies(score: DepositedScore, accesses: Sequence[Access], now: int) -> list[AccessCopy]:
    """One statement, or several for more accesses than fit in one."""
    record = score.score.committed.record
    parts = [accesses[first : first + MAX_ACCESSES] for first in range(0, len(accesses), MAX_ACCESSES)]
    return [
        AccessCopy(
            company=record.company,
            campaign=record.campaign,
            position=record.position,
            mailbox=record.mailbox,
            accesses=tuple(part),
            at=now,
        )
        for part in parts or [()]
    ]
