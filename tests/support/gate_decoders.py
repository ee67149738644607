"""Decoders of the gate at a company, for `decoders.DECODERS`: the fields of each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hostile_input as shapes
from mirrored_scores import CAMPAIGN, COMPANY

from noren_client.gate import access_log, decisions, score_records, viewing
from noren_core import ids
from noren_core.crypto import oprf
from noren_core.ids import IdentifierKind
from noren_core.rights.gate import followup, gate_file, roles
from noren_core.rights.gate.decider_statement import DeciderStatement
from noren_core.rights.gate.decision_batch import Decision, SealedBatch, seal_batch
from noren_local import staff


def _calls(function: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda value, _: function(value)


def _reads(function: Callable[[Path], Any], path: str) -> Callable[[bytes, Any], Any]:
    def decode(data: bytes, place: Any) -> Any:
        (place.directory / path).write_bytes(data)
        return function(place.directory)

    return decode


def _key(name: str) -> bytes:
    return ids.normalise_identifier(IdentifierKind.EMAIL, f"{name}@example.org", "clerk")


@functools.cache
def _batch() -> SealedBatch:
    return seal_batch(
        {_key("a"): Decision.PASS, _key("b"): Decision.FAIL},
        position="clerk",
        season="2026",
        padded_batch=4,
        minimum_batch=1,
    )


_BLINDING = oprf.blind([_key("a"), ids.DUMMY_LABEL + bytes(ids.DUMMY_BYTES)]).to_bytes()

_ASSIGNMENT = roles.Assignment(roles.Role.DECIDER, "clerk", "2026")
_FOLLOW_UP = followup.FollowUpAction(followup.FollowUpKind.VISIT, followup.FollowUpState.PLANNED, "fay", 1, 1)
_DECIDERS = DeciderStatement(("dan", "dora"), "clerk", "2026", bytes(32))
_ACCESS = gate_file.Access(80, "fay", "view-score", "clerk", bytes(16), gate_file.ACCESS_SHOWN)
_MEMBER = staff.Member("dan", (_ASSIGNMENT,), bytes(16), bytes(32), 2, 1_800_000_000)
_NOTE = score_records.Note(bytes(16), 1_800_000_000)
_SCORED = score_records.ScoredPerson(
    CAMPAIGN, b"email\0clerk\0a", bytes(16), bytes(16), bytes(16), 1_800_000_000, (_NOTE,)
)


def _reversal() -> gate_file.Reversal:
    [first, *_] = sorted(_batch().passed)
    return gate_file.Reversal(first, gate_file.ReversalReason.POSITION_WITHDRAWN, "dan", 90, 80)


def _sealed_decisions() -> decisions.KeptBatch:
    batch = _DECIDERS.sealed_in(_batch())
    blinding = _BLINDING
    return decisions.KeptBatch(1, 50, batch, _DECIDERS, blinding, 7, 9, 60, (_reversal(),))


def _gate_file(_: Any) -> list[bytes]:
    batch = _sealed_decisions()
    shown = gate_file.GateFile(
        CAMPAIGN, COMPANY, "2026", {"clerk": batch.batch.identifiers}, (batch.shown(),), (_ACCESS,)
    )
    return [b"".join(shown.lines())]


def _access_lines(place: Any) -> list[bytes]:
    for _ in range(2):
        access_log.append(place.directory, access_log.LoggedAccess(CAMPAIGN, "2026", _ACCESS))
    return [(place.directory / access_log.FILE_NAME).read_bytes()]


FIELDS: Sequence[dict[str, Any]] = (
    {
        "name": "noren_core.rights.gate.roles.Assignment.from_body",
        "shape": shapes.JsonValue(),
        "valid": lambda _: [_ASSIGNMENT.to_body()],
        "decode": _calls(roles.Assignment.from_body),
        "encode": roles.Assignment.to_body,
    },
    {
        "name": "noren_core.rights.gate.roles.parse_role",
        "shape": shapes.Text(),
        "valid": lambda _: list(roles.Role),
        "decode": _calls(roles.parse_role),
    },
    {
        "name": "noren_core.rights.gate.followup.FollowUpAction.from_bytes",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [_FOLLOW_UP.to_bytes()],
        "decode": _calls(followup.FollowUpAction.from_bytes),
        "encode": followup.FollowUpAction.to_bytes,
    },
    {
        "name": "noren_core.rights.gate.followup.parse_follow_up",
        "shape": shapes.Text(),
        "valid": lambda _: list(followup.FollowUpKind),
        "decode": _calls(followup.parse_follow_up),
    },
    {
        "name": "noren_core.rights.gate.decider_statement.DeciderStatement.from_body",
        "shape": shapes.JsonValue(),
        "valid": lambda _: [_DECIDERS.to_body()],
        "decode": _calls(DeciderStatement.from_body),
        "encode": DeciderStatement.to_body,
    },
    {
        "name": "noren_core.rights.gate.gate_file.Reversal.from_body",
        "shape": shapes.JsonValue(),
        "valid": lambda _: [_reversal().to_body()],
        "decode": _calls(gate_file.Reversal.from_body),
        "encode": gate_file.Reversal.to_body,
    },
    {
        "name": "noren_core.rights.gate.gate_file.parse_gate_file",
        "shape": shapes.JsonLines(),
        "valid": _gate_file,
        "decode": _calls(gate_file.parse_gate_file),
        "encode": lambda shown: b"".join(shown.lines()),
    },
    {
        "name": "noren_local.staff.Member.from_body",
        "shape": shapes.JsonValue(),
        "valid": lambda _: [_MEMBER.to_body()],
        "decode": _calls(staff.Member.from_body),
        "encode": staff.Member.to_body,
    },
    {
        "name": "noren_client.gate.access_log.read",
        "shape": shapes.JsonLines(),
        "valid": _access_lines,
        "decode": _reads(access_log.read, access_log.FILE_NAME),
    },
    {
        "name": "noren_client.gate.decisions.KeptBatch.from_bytes",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [_sealed_decisions().to_bytes()],
        "decode": _calls(decisions.KeptBatch.from_bytes),
        "encode": decisions.KeptBatch.to_bytes,
    },
    {
        "name": "noren_client.gate.score_records.Note.from_body",
        "shape": shapes.JsonValue(),
        "valid": lambda _: [_NOTE.to_body()],
        "decode": _calls(score_records.Note.from_body),
        "encode": score_records.Note.to_body,
    },
    {
        "name": "noren_client.gate.score_records.ScoredPerson.from_body",
        "shape": shapes.JsonValue(),
        "valid": lambda _: [_SCORED.to_body()],
        "decode": _calls(score_records.ScoredPerson.from_body),
        "encode": score_records.ScoredPerson.to_body,
    },
    {
        "name": "noren_client.gate.viewing.parse_subject",
        "shape": shapes.Bytes(),
        "valid": lambda _: [b"XY-12\n", "ｱｲｳ\r\n".encode()],
        "decode": _calls(lambda data: viewing.parse_subject(data, ids.IdentifierKind.CONSENT_CODE, "clerk")),
    },
)

EXEMPT = {
    "noren_client.gate.score_records.load": "a secret of ours; its people go through ScoredPerson.from_body",
    "noren_client.gate.score_records.read_record": "CustodyStore.read, then DepositedScore.from_body",
    "noren_client.gate.staff.Authorised.verify": "compares names with a value of our own",
    "noren_client.gate.viewing.open_record": "a conversation; what comes back goes through decoders here",
}
"""Public functions with a decoder's name that need no fuzzing, and why."""
