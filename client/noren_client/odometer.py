"""The company's own record of privacy spent: reserve before computing, never refund (docs/privacy.md §3).

One append-only file, one signed line per event, each carrying the hash of the line before it. The
client asks this file, not the platform, whether another round may be computed, so that a lying platform
cannot buy more than the plan. The ledger's intents carry the hashes, so that a file restored from an
older copy is noticed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.errors import BudgetExceededError, NorenError, VerificationError
from noren_core.season.plan import CampaignPlan

_LABEL = b"noren/v1/odometer"
_GENESIS = hashlib.sha256(b"noren/v1/odometer-genesis").digest()


@dataclass(frozen=True, slots=True)
class Reservation:
    """One round's reservation: the hash of the chain before it, which its ledger intent publishes."""

    round_number: int
    previous: bytes


class Odometer:
    """The chain in one file; every operation locks it, reads it whole and verifies it first."""

    def __init__(self, path: Path, key: SigningKey, *, earlier: Sequence[bytes] = ()) -> None:
        """The chain of whoever signs with `key` and before signed with the `earlier` ones, in their order."""
        self._path = path
        self._key = key
        self._keys = (*earlier, key.public_key)

    def reserve(self, plan: CampaignPlan, round_number: int) -> Reservation:
        """Spend round `round_number` of `plan`: on disk before this returns, never given back.

        Raises:
            BudgetExceededError: if the round is beyond the plan, was reserved before, or would leave a
                gap, or if the campaign was begun under another plan.
            VerificationError: if the file is not an unbroken chain of our own signatures.
        """
        with self._locked() as descriptor:
            entries, head = self._read(descriptor)
            _check_reservation(entries, plan, round_number)
            self._append(
                descriptor,
                {
                    "campaign": plan.campaign,
                    "kind": "reserve",
                    "plan_sha256": plan.digest().hex(),
                    "previous": head.hex(),
                    "round": round_number,
                    "seq": len(entries),
                },
            )
            return Reservation(round_number, head)

    def rounds_reserved(self, campaign: str) -> int:
        """How many rounds of a campaign are spent."""
        with self._locked() as descriptor:
            entries, _ = self._read(descriptor)
        return sum(entry["campaign"] == campaign for entry in entries)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _read(self, descriptor: int) -> tuple[list[dict[str, Any]], bytes]:
        """Every entry and the last line's hash; a torn last line, never acknowledged, is cut off."""
        data = b""
        while block := os.pread(descriptor, 1 << 20, len(data)):
            data += block
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) != len(data):
            os.ftruncate(descriptor, len(whole))
        entries: list[dict[str, Any]] = []
        head = _GENESIS
        keys: Sequence[bytes] = self._keys
        for line in whole.splitlines():
            entry, keys = self._verified(line, len(entries), head, keys)
            entries.append(entry)
            head = hashlib.sha256(line).digest()
        return entries, head

    def _verified(
        self, line: bytes, seq: int, head: bytes, keys: Sequence[bytes]
    ) -> tuple[dict[str, Any], Sequence[bytes]]:
        """The line's entry, and the keys that may sign the next one: its own and those that came later."""
        try:
            entry = canonical_json.parse_object(line)
            signature = bytes.fromhex(entry.pop("signature"))
            place = _signer(keys, canonical_json.encode(entry), signature)
            intact = entry["seq"] == seq and entry["previous"] == head.hex()
        except (NorenError, KeyError, TypeError, ValueError) as error:
            raise VerificationError(
                f"odometer: line {seq + 1} is not one of ours", code="ACCOUNTANT_RESET"
            ) from error
        if not intact:
            raise VerificationError(f"odometer: line {seq + 1} breaks the chain", code="ACCOUNTANT_RESET")
        return entry, keys[place:]

    def _append(self, descriptor: int, entry: dict[str, Any]) -> None:
        entry["signature"] = self._key.sign(_LABEL, canonical_json.encode(entry)).hex()
        line = canonical_json.encode(entry) + b"\n"
        if os.write(descriptor, line) != len(line):
            raise BudgetExceededError("odometer: the disk did not take the reservation, nothing is computed")
        os.fsync(descriptor)


def _signer(keys: Sequence[bytes], message: bytes, signature: bytes) -> int:
    """Which of these keys signed; VerificationError if none did."""
    for place, key in enumerate(keys):
        try:
            verify_signature(key, _LABEL, message, signature)
        except VerificationError:
            continue
        return place
    raise VerificationError("odometer: expected a signature of ours, got another")


def _check_reservation(entries: list[dict[str, Any]], plan: CampaignPlan, round_number: int) -> None:
    mine = [entry for entry in entries if entry["campaign"] == plan.campaign]
    if any(entry["plan_sha256"] != plan.digest().hex() for entry in mine):
        raise BudgetExceededError("this campaign was begun under another plan", code="PLAN_MISMATCH")
    if round_number > plan.training.rounds:
        raise BudgetExceededError(f"expected a round up to {plan.training.rounds}, got {round_number}")
    if round_number != len(mine) + 1:
        raise BudgetExceededError(f"expected round {len(mine) + 1} next, got {round_number}")
