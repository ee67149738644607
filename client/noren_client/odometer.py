"""The company's own record of privacy spent: reserve before computing, never refund (docs/protocol.md §4.9).

One append-only file, one signed line per event, each carrying the hash of the line before it. The
client asks this file, not the platform, whether another round may be computed, so that a lying platform
cannot buy more than the plan. The ledger's intents carry the hashes and the number of lines, so that a file
restored from an older copy is noticed. What counts is how many lines there are: no clock is read.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, Self

from noren_client import config, keystore
from noren_client.config import Limits
from noren_client.ledger_watch import LedgerWatch
from noren_client.lifetime import CampaignSpending, verify_room
from noren_core import canonical_json, ids
from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.errors import (
    BudgetExceededError,
    DataError,
    LocalProtocolError,
    NorenError,
    VerificationError,
)
from noren_core.ledger.entries import SignedEntry
from noren_core.privacy.events import GaussianEvent, format_decimal, parse_decimal
from noren_core.season.plan import MAX_ROUNDS, CampaignPlan
from noren_core.season.round_event import round_event
from noren_local.private_file import sync_directory

FILE_NAME = "odometer.jsonl"
MAX_BYTES = 64 << 20

_LABEL = b"noren/v1/odometer"
_GENESIS = hashlib.sha256(b"noren/v1/odometer-genesis").digest()
_HASH_HEX = re.compile(r"[0-9a-f]{64}\Z")
_MAX_SEASONS = 50


@dataclass(frozen=True, slots=True)
class Reservation:
    """One round's reservation, as its ledger intent publishes it.

    Attributes:
        round_number: of the campaign.
        previous: hash of the chain before the reservation.
        sequence: number of lines before the reservation.
    """

    round_number: int
    previous: bytes
    sequence: int


class LineKind(StrEnum):
    """What a line of the chain says: a round may be computed from now on, or its aggregate was applied."""

    RESERVE = "reserve"
    SETTLE = "settle"


@dataclass(frozen=True, slots=True)
class _Line:
    kind: LineKind
    campaign: str
    plan_sha256: str
    round_number: int
    previous: bytes
    plan: CampaignSpending | None  # of a reservation

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Self:
        """The line in a JSON object without its signature; DataError for anything that we do not write."""
        kind = LineKind(body["kind"])
        reserves = kind is LineKind.RESERVE
        if body.keys() != (_RESERVE_FIELDS if reserves else _SETTLE_FIELDS):
            raise DataError("odometer: expected exactly the fields of the line's kind, got others")
        if not _HASH_HEX.match(body["plan_sha256"]) or not _HASH_HEX.match(body["previous"]):
            raise DataError("odometer: expected hashes of 64 lower-case hex digits, got another text")
        ids.parse_name(body["campaign"], "odometer.campaign")
        round_number = _integer(body["round"], MAX_ROUNDS)
        plan = _planned(body) if reserves else None
        if plan is not None and round_number > plan.event.count:
            raise DataError("odometer: expected a round of the plan, got a later one")
        previous = bytes.fromhex(body["previous"])
        return cls(kind, body["campaign"], body["plan_sha256"], round_number, previous, plan)


_SETTLE_FIELDS = frozenset({"campaign", "kind", "plan_sha256", "previous", "round", "seq"})
_RESERVE_FIELDS = _SETTLE_FIELDS | {"delta", "event", "rounds", "train_seasons"}


@dataclass(slots=True)
class _Chain:
    """Every line, verified, and what they come to."""

    lines: list[_Line] = field(default_factory=list)
    head: bytes = _GENESIS
    campaigns: dict[str, CampaignSpending] = field(default_factory=dict)

    def add(self, line: _Line, data: bytes) -> None:
        """One more line; DataError if it does not follow from those before."""
        known = self.campaigns.get(line.campaign)
        spending = known if known is not None else line.plan
        if spending is None or spending.plan_sha256 != line.plan_sha256:
            raise DataError("odometer: expected a line of a campaign that was begun, under its plan")
        if line.kind is LineKind.RESERVE:
            if line.round_number != spending.reserved + 1:
                raise DataError("odometer: expected the next round, got another")
            spending = replace(spending, reserved=line.round_number)
        else:
            if not spending.settled < line.round_number <= spending.reserved:
                raise DataError("odometer: expected the settle of a reserved round, got another")
            spending = replace(spending, settled=line.round_number)
        self.campaigns[line.campaign] = spending
        self.lines.append(line)
        self.head = hashlib.sha256(data).digest()


class Odometer:
    """The chain in one file; every operation locks it, reads it whole and verifies it first."""

    def __init__(
        self, path: Path, key: SigningKey, *, earlier: Sequence[bytes] = (), limits: Limits | None = None
    ) -> None:
        """The chain of whoever signs with `key` and before signed with the `earlier` ones, in their order.

        Without `limits` those of a new company apply.
        """
        self._path = path
        self._key = key
        self._keys = (*earlier, key.public_key)
        self._limits = limits or Limits()

    @classmethod
    def open(cls, company_dir: Path) -> Self:
        """The odometer in the company's directory, which has everything that the ledger showed of it.

        Raises:
            VerificationError: with code ACCOUNTANT_RESET, if it is not an unbroken chain of our own
                signatures, or lacks a reservation that our newest proven intent states.
        """
        ours, watch = keystore.load(company_dir), LedgerWatch(company_dir)
        odometer = cls(
            company_dir / FILE_NAME,
            ours.signing,
            earlier=watch.earlier_signing_keys(),
            limits=config.load(company_dir).limits,
        )
        odometer.verify_holds(watch.newest_intent())
        return odometer

    def reserve(self, plan: CampaignPlan, round_number: int) -> Reservation:
        """Spend round `round_number` of `plan`: on disk before this returns, never given back.

        The first round takes the whole plan's budget.

        Raises:
            BudgetExceededError: if the round is beyond the plan, was reserved before, or would leave a
                gap, if the campaign was begun under another plan (code PLAN_MISMATCH), or if the whole
                plan does not fit the company's lifetime limits.
            VerificationError: with code ACCOUNTANT_RESET, if the file is not an unbroken chain of our own
                signatures.
            LocalProtocolError: with code STORAGE_FAILED, if the disk did not take it; nothing is spent.
        """
        planned = CampaignSpending.of_plan(plan)
        with self._locked() as descriptor:
            chain = self._read(descriptor)
            known = _known(chain, planned)
            if round_number > planned.event.count:
                raise BudgetExceededError(f"expected a round up to {planned.event.count}, got {round_number}")
            if round_number != known.reserved + 1:
                raise BudgetExceededError(f"expected round {known.reserved + 1} next, got {round_number}")
            if plan.campaign not in chain.campaigns:
                verify_room(chain.campaigns.values(), planned, self._limits)
            planning = {
                "delta": format_decimal(planned.delta),
                "event": round_event(plan).to_body(),
                "rounds": planned.event.count,
                "train_seasons": list(planned.seasons),
            }
            self._append(descriptor, chain, LineKind.RESERVE, planned, round_number, planning)
            return Reservation(round_number, chain.head, len(chain.lines))

    def settle(self, plan: CampaignPlan, round_number: int) -> None:
        """Note that the aggregate of a reserved round was applied; it gives nothing back.

        Nothing is written for a round that was settled, or that this company did not reserve and only learns
        the outcome of.

        Raises:
            BudgetExceededError: with code PLAN_MISMATCH, if the campaign was begun under another plan.
            LocalProtocolError, VerificationError: as `reserve`.
        """
        planned = CampaignSpending.of_plan(plan)
        with self._locked() as descriptor:
            chain = self._read(descriptor)
            known = _known(chain, planned)
            if known.settled < round_number <= known.reserved:
                self._append(descriptor, chain, LineKind.SETTLE, planned, round_number, {})

    def rounds_reserved(self, campaign: str) -> int:
        """How many rounds of a campaign are spent."""
        return next((known.reserved for known in self.spending() if known.campaign == campaign), 0)

    def spending(self) -> tuple[CampaignSpending, ...]:
        """Every campaign that was begun, in that order."""
        with self._locked() as descriptor:
            return tuple(self._read(descriptor).campaigns.values())

    def verify_holds(self, intent: SignedEntry | None) -> None:
        """Raise VerificationError (ACCOUNTANT_RESET) unless the reservation that our intent states is here.

        Every line carries the hash of the one before, so everything that came before that reservation is here
        as well. None, for a company without an intent in the ledger, asks for nothing.
        """
        if intent is None:
            return
        with self._locked() as descriptor:
            lines = self._read(descriptor).lines
        body = intent.body
        if len(lines) > body["sequence"]:
            line = lines[body["sequence"]]
            here = (line.kind, line.campaign, line.plan_sha256, line.round_number, line.previous.hex())
            if here == (
                LineKind.RESERVE,
                *(body[name] for name in ("campaign", "plan_sha256", "round", "previous")),
            ):
                return
        _reset("expected the reservation of our newest intent in the ledger, got an older or another file")

    @contextmanager
    def _locked(self) -> Iterator[int]:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _read(self, descriptor: int) -> _Chain:
        """The whole chain; a torn last line, never acknowledged, is cut off."""
        data = bytearray()
        while block := os.pread(descriptor, 1 << 20, len(data)):
            data += block
            if len(data) > MAX_BYTES:
                _reset(f"expected at most {MAX_BYTES} bytes, got more")
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) != len(data):
            os.ftruncate(descriptor, len(whole))
        chain = _Chain()
        keys: Sequence[bytes] = self._keys
        for line in bytes(whole).split(b"\n")[:-1]:
            keys = self._follow(chain, line, keys)
        return chain

    def _follow(self, chain: _Chain, data: bytes, keys: Sequence[bytes]) -> Sequence[bytes]:
        """Add a line; the keys that may sign the next one: its own and those that came later."""
        number = len(chain.lines) + 1
        try:
            body = canonical_json.parse_object(data)
            signature = bytes.fromhex(body.pop("signature"))
            place = _signer(keys, canonical_json.encode(body), signature)
            intact = body["seq"] == number - 1 and body["previous"] == chain.head.hex()
            if intact:
                chain.add(_Line.from_body(body), data)
        except (NorenError, KeyError, TypeError, ValueError) as error:
            raise VerificationError(
                f"odometer: line {number} is not one of ours", code="ACCOUNTANT_RESET"
            ) from error
        if not intact:
            _reset(f"line {number} breaks the chain")
        return keys[place:]

    def _append(
        self,
        descriptor: int,
        chain: _Chain,
        kind: LineKind,
        planned: CampaignSpending,
        round_number: int,
        planning: Mapping[str, object],
    ) -> None:
        """One more line, on disk before this returns, or the file as it was.

        1. Before the first line, the name of the file is made durable.
        2. Write the whole line, then sync it. Until that is done the line is not acknowledged: one that was
           torn is cut off by the next reader, one that was whole is spent for nothing.
        """
        if not chain.lines:  # 1
            sync_directory(self._path.parent)
        body: dict[str, object] = {
            "campaign": planned.campaign,
            "kind": kind.value,
            "plan_sha256": planned.plan_sha256,
            "previous": chain.head.hex(),
            "round": round_number,
            "seq": len(chain.lines),
            **planning,
        }
        signature = self._key.sign(_LABEL, canonical_json.encode(body)).hex()
        line = canonical_json.encode({**body, "signature": signature}) + b"\n"
        length = os.fstat(descriptor).st_size
        try:  # 2
            if os.write(descriptor, line) != len(line):
                raise OSError("a part of the line was written")  # noqa: TRY301 (as when nothing was)
            os.fsync(descriptor)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(descriptor, length)
            raise LocalProtocolError(
                "odometer: expected the disk to take the reservation, it did not; nothing is computed",
                code="STORAGE_FAILED",
            ) from error


def _known(chain: _Chain, planned: CampaignSpending) -> CampaignSpending:
    """What the plan's campaign has taken so far; BudgetExceededError if it was begun under another plan."""
    known = chain.campaigns.get(planned.campaign, planned)
    if known.plan_sha256 != planned.plan_sha256:
        raise BudgetExceededError("this campaign was begun under another plan", code="PLAN_MISMATCH")
    return known


def _planned(body: Mapping[str, Any]) -> CampaignSpending:
    """What a reservation says of its plan."""
    seasons = body["train_seasons"]
    if not isinstance(seasons, list) or not 1 <= len(seasons) <= _MAX_SEASONS:
        raise DataError(f"odometer: expected 1 to {_MAX_SEASONS} seasons, got another value")
    event = GaussianEvent.from_body(body["event"])
    if event.count != 1:
        raise DataError("odometer: expected the event of one round, got another")
    return CampaignSpending(
        campaign=body["campaign"],
        plan_sha256=body["plan_sha256"],
        seasons=tuple(ids.parse_name(season, "odometer.train_seasons") for season in seasons),
        event=replace(event, count=_integer(body["rounds"], MAX_ROUNDS)),
        delta=parse_decimal(body["delta"], "odometer.delta"),
        reserved=0,
        settled=0,
    )


def _integer(value: Any, high: int) -> int:
    if type(value) is not int or not 1 <= value <= high:
        raise DataError(f"odometer: expected an integer from 1 to {high}, got another value")
    return value


def _signer(keys: Sequence[bytes], message: bytes, signature: bytes) -> int:
    """Which of these keys signed; VerificationError if none did."""
    for place, key in enumerate(keys):
        try:
            verify_signature(key, _LABEL, message, signature)
        except VerificationError:
            continue
        return place
    raise VerificationError("odometer: expected a signature of ours, got another")


def _reset(sentence: str) -> NoReturn:
    raise VerificationError(f"odometer: {sentence}", code="ACCOUNTANT_RESET")
