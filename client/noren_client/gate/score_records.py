"""The scores that a company keeps: one record per person, in custody, and the index that leads to it.

    campaigns/<campaign>/scored.json             secret: whose record is called what, and until when it stays
    campaigns/<campaign>/custody/score/…         a record each: the deposited score (`CustodyStore`)
    campaigns/<campaign>/custody/follow-up/…     a record for each follow-up action

docs/rights/gate-at-a-company.md §3. Promises: what is kept is a band, never a probability or a score; it is
kept only after the student has her copy; it goes when her row does not open any more, when she answered the
offer, when the offer was taken back, and when its time is over, which is a little different for everybody, so
that its end says nothing. Records have random names, and nothing here is ordered by what they hold.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from noren_client import campaign_files, keystore
from noren_client.rights.custody import CustodyStore, record_name
from noren_client.rights.mirror_deposit import DepositedScore
from noren_core import canonical_json
from noren_core.errors import LocalProtocolError, NorenError
from noren_core.rights import fields
from noren_core.rights.disclosure.mirror import MAILBOX_BYTES
from noren_core.rights.erasure.artefacts import ArtefactClass
from noren_core.rights.fields import read_fields
from noren_core.rights.gate.gate_file import HANDLE_BYTES
from noren_core.season.plan import CampaignPlan

INDEX_FILE = "scored.json"
TABLE_ID_BYTES = TAG_BYTES = 16
MAX_PEOPLE = 1 << 16
MAX_NOTES = 64
NOTE_SECONDS = 60 * 86_400
JITTER_PERCENT = 10
KEY_GONE = ("KEY_DESTROYED", "UNKNOWN_HANDLE")


@dataclass(frozen=True, slots=True)
class Note:
    """One follow-up action: what its record is called, and until when it stays, in Unix seconds."""

    handle: bytes
    expires_at: int

    def to_body(self) -> dict[str, Any]:
        """As it stands in the index."""
        return {"handle": self.handle.hex(), "expires_at": self.expires_at}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """The note that `to_body` gave; DataError for anything else."""
        return cls(**read_fields(body, _NOTE_FIELDS, "note"))


_NOTE_FIELDS = {"handle": fields.bytes_of(HANDLE_BYTES), "expires_at": fields.seconds}


@dataclass(frozen=True, slots=True)
class ScoredPerson:
    """One person with a record.

    Attributes:
        campaign: whose head the band is of: the index's, or another that was scored with it.
        identifier: normalised, as she was evaluated.
        handle: random, what her record is called.
        mailbox: hers at the platform.
        tag: of her row in the index's table.
        expires_at: Unix seconds; 0 as long as her copy is not deposited, when there is no record either.
        notes: follow-up actions.
    """

    campaign: str
    identifier: bytes = field(repr=False)
    handle: bytes
    mailbox: bytes = field(repr=False)
    tag: bytes = field(repr=False)
    expires_at: int
    notes: tuple[Note, ...] = ()

    @property
    def is_deposited(self) -> bool:
        """Whether there is a record."""
        return self.expires_at > 0

    def to_body(self) -> dict[str, Any]:
        """As it stands in the index."""
        return {
            "campaign": self.campaign,
            "identifier": self.identifier.hex(),
            "handle": self.handle.hex(),
            "mailbox": self.mailbox.hex(),
            "tag": self.tag.hex(),
            "expires_at": self.expires_at,
            "notes": [note.to_body() for note in self.notes],
        }

    @classmethod
    def from_body(cls, body: object) -> Self:
        """The person that `to_body` gave; DataError for anything else."""
        return cls(**read_fields(body, _PERSON_FIELDS, "scored person"))


_PERSON_FIELDS = {
    "campaign": fields.name,
    "identifier": fields.hex_bytes,
    "handle": fields.bytes_of(HANDLE_BYTES),
    "mailbox": fields.bytes_of(MAILBOX_BYTES),
    "tag": fields.bytes_of(TAG_BYTES),
    "expires_at": fields.seconds,
    "notes": fields.list_of(Note.from_body, most=MAX_NOTES),
}


@dataclass(frozen=True, slots=True)
class ScoreIndex:
    """Everybody with a record, and the table in which their rows are; 16 zero bytes before the first."""

    table_id: bytes
    people: tuple[ScoredPerson, ...] = field(repr=False)

    def find(self, identifier: bytes, campaign: str) -> ScoredPerson | None:
        """The person who was evaluated under this identifier, with the band of this campaign's head."""
        wanted = (identifier, campaign)
        return next((item for item in self.people if (item.identifier, item.campaign) == wanted), None)

    def to_bytes(self) -> bytes:
        """As it is kept."""
        people = sorted(self.people, key=lambda item: item.handle)
        return canonical_json.encode(
            {"table_id": self.table_id.hex(), "people": [item.to_body() for item in people]}
        )


_INDEX_FIELDS = {
    "table_id": fields.bytes_of(TABLE_ID_BYTES),
    "people": fields.list_of(ScoredPerson.from_body, most=MAX_PEOPLE),
}


@dataclass(frozen=True, slots=True)
class OpenedRow:
    """A row of the newest table.

    Attributes:
        identifier, tag, mailbox: whose it is, its tag, and what is in it.
        is_over: no record is made of it any more (`is_over`).
    """

    identifier: bytes = field(repr=False)
    tag: bytes = field(repr=False)
    mailbox: bytes = field(repr=False)
    is_over: bool


def load(company_dir: Path, campaign: str) -> ScoreIndex:
    """The index as it is; also for whoever erases or answers for what is kept."""
    data = keystore.read_secret(company_dir, campaign_files.secret_name(campaign, INDEX_FILE))
    if data is None:
        return ScoreIndex(bytes(TABLE_ID_BYTES), ())
    try:
        return ScoreIndex(**read_fields(canonical_json.parse_object(data), _INDEX_FIELDS, INDEX_FILE))
    except NorenError as error:
        raise LocalProtocolError(f"{INDEX_FILE}: expected the index that was kept, got another") from error


def iter_records(
    company_dir: Path, campaign: str, custody: CustodyStore
) -> Iterator[tuple[ScoredPerson, DepositedScore]]:
    """Every record with its person, one at a time, in the random order of their names.

    For erasure, retention and disclosure, which must find all of them; no command lists what it gives. One
    whose key is gone, in an older copy of these files, is none: nobody can read it.
    """
    for person in load(company_dir, campaign).people:
        name = score_name(campaign, person.handle)
        data = read_if_key_exists(custody, name) if person.is_deposited else None
        if data is not None:
            yield person, DepositedScore.from_body(canonical_json.parse_object(data))


def read_if_key_exists(custody: CustodyStore, name: str) -> bytes | None:
    """A custody record; None if there is none, or its key was destroyed."""
    try:
        return custody.read(name)
    except LocalProtocolError as error:
        if error.code not in KEY_GONE:
            raise
        return None


def read_record(custody: CustodyStore, campaign: str, person: ScoredPerson) -> DepositedScore | None:
    """One person's record; None if there is none any more."""
    if not person.is_deposited:
        return None
    data = custody.read(score_name(campaign, person.handle))
    return None if data is None else DepositedScore.from_body(canonical_json.parse_object(data))


def refresh(
    company_dir: Path,
    campaign: str,
    custody: CustodyStore,
    *,
    table_id: bytes,
    rows: Sequence[OpenedRow],
    heads: Sequence[str],
) -> ScoreIndex:
    """Let the index follow a table: whoever is not in it loses her records, whoever is new gets names.

    A person whose mailbox is another one now is new: what lay in the old one was not for this one.

    Args:
        company_dir: the company's directory.
        campaign: whose table it is.
        custody: where the records are.
        table_id: of the table.
        rows: of ours that opened, one for each identifier.
        heads: the campaigns of whose heads there are scores in a row.
    """
    with _locked(company_dir, campaign):
        index = load(company_dir, campaign)
        opened = {row.identifier: row for row in rows}
        kept: dict[tuple[bytes, str], ScoredPerson] = {}
        for person in index.people:
            row = opened.get(person.identifier)
            if row is None or row.mailbox != person.mailbox:
                _destroy(custody, campaign, person)
            else:
                kept[person.identifier, person.campaign] = replace(person, tag=row.tag)
        fresh = [
            ScoredPerson(head, row.identifier, secrets.token_bytes(HANDLE_BYTES), row.mailbox, row.tag, 0)
            for row in rows
            for head in heads
            if (row.identifier, head) not in kept and not row.is_over
        ]
        newest = ScoreIndex(table_id, (*kept.values(), *fresh))
        _keep(company_dir, campaign, newest)
        return newest


def keep_deposited(
    company_dir: Path,
    campaign: str,
    custody: CustodyStore,
    deposited: Collection[DepositedScore],
    *,
    heads: Mapping[bytes, str],
) -> None:
    """Keep what may be shown from now on, each in its person's record; the same again changes nothing.

    Whose row did not open any more meanwhile has no entry: hers is not kept. `heads` are the campaigns by the
    digests of their models.
    """
    with _locked(company_dir, campaign):
        index = load(company_dir, campaign)
        people = {(item.mailbox, position_of(item.identifier), item.campaign): item for item in index.people}
        for score in deposited:
            record = score.score.committed.record
            place = (record.mailbox, record.position, heads.get(record.model_sha256, ""))
            if place in people:
                name = score_name(campaign, people[place].handle)
                custody.write(name, canonical_json.encode(score.to_body()))
                people[place] = replace(people[place], expires_at=record.expires_at)
        _keep(company_dir, campaign, replace(index, people=tuple(people.values())))


def expire(company_dir: Path, campaign: str, custody: CustodyStore, *, now: int) -> None:
    """Destroy every record and every follow-up note whose time is over."""
    with _locked(company_dir, campaign):
        index = load(company_dir, campaign)
        left = []
        for person in index.people:
            if person.is_deposited and now >= person.expires_at:
                _destroy(custody, campaign, person)
                continue
            for note in person.notes:
                if now >= note.expires_at:
                    custody.destroy(note_name(campaign, note.handle))
            notes = tuple(note for note in person.notes if now < note.expires_at)
            left.append(replace(person, notes=notes))
        if tuple(left) != index.people:
            _keep(company_dir, campaign, replace(index, people=tuple(left)))


def destroy(
    company_dir: Path, campaign: str, custody: CustodyStore, is_to_go: Callable[[ScoredPerson], bool]
) -> None:
    """Destroy the records of everybody of whom `is_to_go` says so, with her follow-up notes."""
    with _locked(company_dir, campaign):
        index = load(company_dir, campaign)
        going = [person for person in index.people if is_to_go(person)]
        for person in going:
            _destroy(custody, campaign, person)
        if going:
            left = tuple(person for person in index.people if person not in going)
            _keep(company_dir, campaign, replace(index, people=left))


def keep_only(
    company_dir: Path, campaign: str, custody: CustodyStore, identifiers: Collection[bytes]
) -> None:
    """Destroy the records of everybody but these."""
    destroy(company_dir, campaign, custody, lambda person: person.identifier not in identifiers)


def set_notes(company_dir: Path, campaign: str, handle: bytes, notes: tuple[Note, ...]) -> None:
    """Replace the follow-up notes of one person; LocalProtocolError if she has no record any more."""
    with _locked(company_dir, campaign):
        index = load(company_dir, campaign)
        if not any(person.handle == handle for person in index.people):
            raise LocalProtocolError("follow-up: expected a person with a record, got none")
        people = tuple(
            replace(person, notes=notes) if person.handle == handle else person for person in index.people
        )
        _keep(company_dir, campaign, replace(index, people=people))


def expiry(plan: CampaignPlan, *, opened_at: int) -> int:
    """Until when a record of this gate may stay: the plan's time from the opening on, less a random part.

    Up to a tenth is taken off. What would begin in that tenth is not begun (`is_over`), so that a record that
    ended is not made again.
    """
    span = plan.gate.score_seconds
    return opened_at + span - secrets.randbelow(span * JITTER_PERCENT // 100 + 1)


def is_over(plan: CampaignPlan, *, opened_at: int, now: int) -> bool:
    """Whether no record of this gate is made any more."""
    span = plan.gate.score_seconds
    return now >= opened_at + span - span * JITTER_PERCENT // 100


def score_name(campaign: str, handle: bytes) -> str:
    """What a score's custody record is called."""
    return record_name(campaign, ArtefactClass.SCORE, handle.hex())


def note_name(campaign: str, handle: bytes) -> str:
    """What a follow-up note's custody record is called."""
    return record_name(campaign, ArtefactClass.FOLLOW_UP, handle.hex())


def position_of(identifier: bytes) -> str:
    """The position in a normalised identifier."""
    return identifier.split(b"\0", 2)[1].decode()


def _destroy(custody: CustodyStore, campaign: str, person: ScoredPerson) -> None:
    for note in person.notes:
        custody.destroy(note_name(campaign, note.handle))
    custody.destroy(score_name(campaign, person.handle))


def _keep(company_dir: Path, campaign: str, index: ScoreIndex) -> None:
    keystore.write_secret(company_dir, campaign_files.secret_name(campaign, INDEX_FILE), index.to_bytes())


@contextmanager
def _locked(company_dir: Path, campaign: str) -> Iterator[None]:
    path = campaign_files.directory(company_dir, campaign) / "scored.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
