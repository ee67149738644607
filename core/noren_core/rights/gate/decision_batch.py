"""A decision batch: every decision about a position, sealed before anything about anybody is evaluated.

docs/protocol.md §10.1. Promises: the root in the ledger commits to each applicant's decision, failures
included, and says nothing about any of them, nor how many they are; the company opens a decision or the whole
batch, and nobody can open one to another decision; what was evaluated for a batch is shown to an auditor to
be offers of that batch and dummies, and nothing else.

Refuses: a batch with a decision that is not made yet (BATCH_HAS_UNRESOLVED), since a score could then steer
who is promoted from a waiting list; one with too few decisions (BATCH_TOO_SMALL); one that leaves out an
applicant (BATCH_INCOMPLETE); a second decision about somebody (DECISION_IMMUTABLE).
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from noren_core import canonical_json, ids
from noren_core.crypto import merkle
from noren_core.crypto.oprf import Blinding, Mode
from noren_core.crypto.secret import Secret
from noren_core.errors import DataError, VerificationError

SALT_BYTES = 32
LEAF_BYTES = 32
MAX_LEAVES = 1 << 16
MAX_BATCH_BYTES = 128 << 20
FORMAT = "noren/v1/decision-batch"

_LEAF_LABEL = b"noren/v1/decision-leaf\0"
_SALT_HEX = re.compile(r"[0-9a-f]{64}\Z")
_IDENTIFIER_HEX = re.compile(r"(?:[0-9a-f]{2}){1,1024}\Z")

RandomBytes = Callable[[int], bytes]


class Decision(StrEnum):
    """What a company decided about one applicant; a hold is no decision and is never sealed."""

    PASS = "pass"  # noqa: S105 (an outcome, no password)
    FAIL = "fail"
    HOLD = "hold"


@dataclass(frozen=True, slots=True, repr=False)
class DecisionOpening(Secret):
    """What opens one leaf: whom the decision is about, what it is, and the salt that hides both.

    Attributes:
        identifier: normalised (`noren_core.ids.normalise_identifier`), as it is aligned.
        position: the one that she applied for.
        season: the one that is scored.
        decision: pass or fail.
        salt: 32 random bytes.
    """

    identifier: bytes
    position: str
    season: str
    decision: Decision
    salt: bytes

    @property
    def leaf(self) -> bytes:
        """The commitment, 32 bytes: SHA-256(label ‖ 0 ‖ salt ‖ canonical JSON of the decision)."""
        said = canonical_json.encode(
            {
                "identifier": self.identifier.hex(),
                "position": self.position,
                "season": self.season,
                "decision": self.decision.value,
            }
        )
        return hashlib.sha256(_LEAF_LABEL + self.salt + said).digest()


@dataclass(frozen=True, slots=True, repr=False)
class OpenedDecision(Secret):
    """One decision with the way from its leaf to the root: `verify_opened` needs no more of the batch."""

    opening: DecisionOpening
    index: int
    leaves: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, repr=False)
class SealedBatch(Secret):
    """A whole batch with all that opens it: a secret of the company, and what it shows an auditor.

    Attributes:
        position: that all decisions are about.
        season: that is scored.
        openings: one for each applicant, by identifier.
        padding: random leaves, so that neither a path nor a tree's size tells the number of applicants.
    """

    position: str
    season: str
    openings: tuple[DecisionOpening, ...]
    padding: tuple[bytes, ...]

    @property
    def root(self) -> bytes:
        """The RFC 6962 root over the sorted leaves; it stands in the `decision-batch` entry."""
        return merkle.root_hash(merkle.leaf_hash(leaf) for leaf in self._leaves())

    @property
    def identifiers(self) -> frozenset[bytes]:
        """Everybody who was decided about."""
        return frozenset(opening.identifier for opening in self.openings)

    @property
    def passed(self) -> frozenset[bytes]:
        """Everybody with an offer: the only identifiers that may be evaluated for this batch."""
        return frozenset(item.identifier for item in self.openings if item.decision is Decision.PASS)

    def decision(self, identifier: bytes) -> Decision | None:
        """What was decided about this applicant; None if the batch says nothing about her."""
        opening = self._opening(identifier)
        return None if opening is None else opening.decision

    def opened(self, identifier: bytes) -> OpenedDecision:
        """The decision about one applicant, for somebody who knows the root only.

        Raises:
            DataError: with code APPLICANT_NOT_OFFERED, if the batch says nothing about her.
        """
        opening = self._opening(identifier)
        if opening is None:
            raise DataError(
                "decision batch: expected an applicant of this batch", code="APPLICANT_NOT_OFFERED"
            )
        leaves = self._leaves()
        index = leaves.index(opening.leaf)
        path = merkle.inclusion_proof([merkle.leaf_hash(leaf) for leaf in leaves], index)
        return OpenedDecision(opening, index, len(leaves), tuple(path))

    def to_bytes(self) -> bytes:
        """Canonical JSON, for a secret file and for an auditor on the premises."""
        return canonical_json.encode(
            {
                "format": FORMAT,
                "position": self.position,
                "season": self.season,
                "openings": [
                    {
                        "identifier": item.identifier.hex(),
                        "decision": item.decision.value,
                        "salt": item.salt.hex(),
                    }
                    for item in self.openings
                ],
                "padding": [leaf.hex() for leaf in self.padding],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The batch that `to_bytes` wrote.

        Raises:
            DataError: for any other bytes, a decision that is a hold, an identifier twice or of another
                position, or a number of leaves that is no power of two.
        """
        if len(data) > MAX_BATCH_BYTES:
            raise DataError(f"decision batch: expected at most {MAX_BATCH_BYTES} bytes, got more")
        body = canonical_json.parse_object(data)
        if body.keys() != {"format", "position", "season", "openings", "padding"} or body["format"] != FORMAT:
            raise DataError("decision batch: expected one that was written here, got other fields")
        position = ids.parse_name(body["position"], "decision batch.position")
        season = ids.parse_name(body["season"], "decision batch.season")
        openings = tuple(
            _opening(item, position, season) for item in _items(body["openings"], "decision batch.openings")
        )
        padding = tuple(
            _bytes(item, _SALT_HEX, "decision batch.padding")
            for item in _items(body["padding"], "decision batch.padding")
        )
        batch = cls(position, season, openings, padding)
        batch._verify_shape()
        return batch

    def _opening(self, identifier: bytes) -> DecisionOpening | None:
        """The opening about one applicant; they are in order, and everybody is asked about."""
        place = bisect.bisect_left(self.openings, identifier, key=lambda item: item.identifier)
        found = self.openings[place : place + 1]
        return found[0] if found and found[0].identifier == identifier else None

    def _leaves(self) -> list[bytes]:
        return sorted([*(opening.leaf for opening in self.openings), *self.padding])

    def _verify_shape(self) -> None:
        leaves = len(self.openings) + len(self.padding)
        if not 1 <= leaves <= MAX_LEAVES or leaves & (leaves - 1):
            raise DataError("decision batch: expected a power of two of leaves, got another number")
        ordered = [item.identifier for item in self.openings]
        if any(first >= second for first, second in itertools.pairwise(ordered)):
            raise DataError("decision batch: expected each applicant once and in order, got another list")


def seal_batch(
    decisions: Mapping[bytes, Decision],
    *,
    position: str,
    season: str,
    padded_batch: int,
    minimum_batch: int,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> SealedBatch:
    """The batch of these decisions, with fresh salts and padding.

    1. Names, identifiers of this very position, and every decision made.
    2. As many decisions as the plan asks for at least.
    3. Salts, and random leaves, at least one, up to a power of two that is at least the padded batch.
    That nobody was left out, or decided about before, is `verify_complete`, with the company's own records.

    Args:
        decisions: by normalised identifier; failures are in it like offers.
        position: the one that all of them are about.
        season: the plan's `score_season`.
        padded_batch: the plan's, for this company.
        minimum_batch: the plan's `gate.minimum_batch`.
        random_bytes: a cryptographic generator.

    Raises:
        DataError: with code BATCH_HAS_UNRESOLVED, BATCH_TOO_SMALL or MORE_THAN_DECLARED; BAD_DATA for an
            identifier of another position.
    """
    # 1
    ids.parse_name(position, "decision batch.position")
    ids.parse_name(season, "decision batch.season")
    for identifier in decisions:
        _verify_position(identifier, position)
    if Decision.HOLD in decisions.values():
        raise DataError(
            "decision batch: expected every decision made, got one on hold", code="BATCH_HAS_UNRESOLVED"
        )
    # 2
    if len(decisions) < max(minimum_batch, 1):
        raise DataError(
            "decision batch: expected as many decisions as the plan asks for, got fewer",
            code="BATCH_TOO_SMALL",
        )
    # 3
    leaves = 1 << (max(len(decisions) + 1, padded_batch) - 1).bit_length()
    if leaves > MAX_LEAVES:
        raise DataError(
            f"decision batch: expected at most {MAX_LEAVES} leaves, got more", code="MORE_THAN_DECLARED"
        )
    openings = tuple(
        DecisionOpening(identifier, position, season, decisions[identifier], random_bytes(SALT_BYTES))
        for identifier in sorted(decisions)
    )
    padding = tuple(random_bytes(LEAF_BYTES) for _ in range(leaves - len(openings)))
    return SealedBatch(position, season, openings, padding)


def evaluation_sha256(blinded_elements: Sequence[bytes]) -> bytes:
    """What a `decision-batch` entry says of the elements: SHA-256 of all of them in the order of sending."""
    return hashlib.sha256(b"".join(blinded_elements)).digest()


def verify_complete(batches: Sequence[SealedBatch], applicants: Collection[bytes]) -> None:
    """Raise DataError unless `batches` decide about each of `applicants` once, and about nobody else.

    Args:
        batches: all of one position and season, sealed so far and the one that is to be sealed.
        applicants: normalised identifiers of everybody who applied for it, from the company's own records.

    Raises:
        DataError: with code DECISION_IMMUTABLE for a second decision about somebody, with BATCH_INCOMPLETE
            for an applicant without one or a decision about somebody who did not apply.
    """
    decided: set[bytes] = set()
    for batch in batches:
        if decided & batch.identifiers:
            raise DataError(
                "decision batch: expected one decision about each applicant, got a second",
                code="DECISION_IMMUTABLE",
            )
        decided |= batch.identifiers
    if decided != set(applicants):
        raise DataError(
            "decision batch: expected a decision about each applicant of the position and nobody else",
            code="BATCH_INCOMPLETE",
        )


def verify_opened(opened: OpenedDecision, root: bytes) -> None:
    """Raise VerificationError unless this decision is in the batch with this root, and is about its position.

    That the root stands in a `decision-batch` entry of the company is left to the caller.
    """
    opening = opened.opening
    try:
        _verify_position(opening.identifier, opening.position)
    except DataError as error:
        raise VerificationError("decision: expected an identifier of its position, got another") from error
    leaf = merkle.leaf_hash(opening.leaf)
    merkle.verify_inclusion(leaf, opened.index, opened.leaves, opened.path, root)


def verify_evaluation(blinding: bytes, batch: SealedBatch, *, evaluation: bytes) -> None:
    """What an auditor on the premises runs: what was evaluated for `batch` was its offers and dummies.

    1. The opened blinds and inputs give again the elements whose hash is in the entry. Nobody can open an
       element to another input: that takes the discrete logarithm between two hashes to the group.
    2. No input twice.
    3. Every input is a dummy, or the identifier of a pass leaf.
    That `batch.root` and `evaluation` are those of one `decision-batch` entry is left to the caller, and that
    it decides about all applicants is `verify_complete`.

    Args:
        blinding: what the company kept of the evaluation (`Blinding.to_bytes`).
        batch: opened as a whole.
        evaluation: `evaluation_sha256` of the entry, 32 bytes.

    Raises:
        DataError: if `blinding` is not one.
        VerificationError: with code NOT_VERIFIED if step 1 fails, EVALUATION_NOT_OFFERED for the others.
    """
    # 1
    opened = Blinding.from_bytes(blinding)
    if opened.mode is not Mode.VOPRF or evaluation_sha256(opened.blinded_elements) != evaluation:
        raise VerificationError("evaluation: expected the elements that the entry commits to, got others")
    # 2
    if len(set(opened.inputs)) != len(opened.inputs):
        raise VerificationError(
            "evaluation: expected each input once, got a repeated one", code="EVALUATION_NOT_OFFERED"
        )
    # 3
    passed = batch.passed
    if any(not ids.is_dummy(value) and value not in passed for value in opened.inputs):
        raise VerificationError(
            "evaluation: expected offers of the batch and dummies, got another input",
            code="EVALUATION_NOT_OFFERED",
        )


def _verify_position(identifier: bytes, position: str) -> None:
    kind, _, rest = identifier.partition(b"\0")
    if kind not in {item.value.encode() for item in ids.IdentifierKind} or not rest.startswith(
        position.encode() + b"\0"
    ):
        raise DataError("decision batch: expected identifiers of its position, got another")


def _opening(item: Any, position: str, season: str) -> DecisionOpening:
    if not isinstance(item, dict) or item.keys() != {"identifier", "decision", "salt"}:
        raise DataError("decision batch.openings: expected objects of three fields, got others")
    if item["decision"] not in (Decision.PASS, Decision.FAIL):
        raise DataError("decision batch.openings.decision: expected pass or fail, got another value")
    identifier = _bytes(item["identifier"], _IDENTIFIER_HEX, "decision batch.openings.identifier")
    _verify_position(identifier, position)
    salt = _bytes(item["salt"], _SALT_HEX, "decision batch.openings.salt")
    return DecisionOpening(identifier, position, season, Decision(item["decision"]), salt)


def _items(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_LEAVES:
        raise DataError(f"{what}: expected a list of at most {MAX_LEAVES}, got another value")
    return value


def _bytes(value: Any, form: re.Pattern[str], what: str) -> bytes:
    if not isinstance(value, str) or not form.match(value):
        raise DataError(f"{what}: expected lower-case hex digits, got another value")
    return bytes.fromhex(value)
