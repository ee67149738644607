"""What a company shows an auditor of its gate: read as written, and nothing malformed is read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_core import canonical_json
from noren_core.crypto import oprf
from noren_core.errors import DataError, NorenError, VerificationError
from noren_core.ids import DUMMY_BYTES, DUMMY_LABEL, IdentifierKind, normalise_identifier
from noren_core.rights.gate.decider_statement import SALT_BYTES, DeciderStatement
from noren_core.rights.gate.decision_batch import Decision, seal_batch
from noren_core.rights.gate.gate_detectors import ReversalTimes, histories
from noren_core.rights.gate.gate_file import (
    ACCESS_SHOWN,
    MAX_LINES,
    Access,
    GateFile,
    Reversal,
    ReversalReason,
    ShownBatch,
    parse_gate_file,
)

POSITION, SEASON = "engineer", "2026"


def key(name: str) -> bytes:
    return normalise_identifier(IdentifierKind.CONSENT_CODE, name, POSITION)


STATEMENT = DeciderStatement(("dan", "dora"), POSITION, SEASON, b"\x01" * SALT_BYTES)
BATCH = STATEMENT.sealed_in(
    seal_batch(
        {key("a"): Decision.PASS, key("b"): Decision.FAIL},
        position=POSITION,
        season=SEASON,
        padded_batch=8,
        minimum_batch=1,
    )
)
BLINDING = oprf.blind([key("a"), DUMMY_LABEL + bytes(DUMMY_BYTES)]).to_bytes()
REVERSAL = Reversal(key("a"), ReversalReason.POSITION_WITHDRAWN, "dan", 90, 80)
SHOWN = ShownBatch(7, 50, BATCH, STATEMENT, BLINDING, (REVERSAL,))
ACCESSES = (
    Access(80, "fay", "view-score", POSITION, b"\x02" * 16, ACCESS_SHOWN),
    Access(81, "fay", "view-score", POSITION, b"", "NOT_AVAILABLE"),
)
FILE = GateFile(
    "spring", "alpha", SEASON, {POSITION: BATCH.identifiers, "sales": frozenset()}, (SHOWN,), ACCESSES
)
DATA = b"".join(FILE.lines())
LINES = DATA.split(b"\n")[:-1]


def rewritten(number: int, **changes: object) -> bytes:
    """The file with other fields in one line."""
    lines = list(LINES)
    lines[number] = canonical_json.encode(canonical_json.parse_object(lines[number]) | changes)
    return b"\n".join([*lines, b""])


def test_a_file_is_read_as_it_was_written() -> None:
    """Batches, applicants, deciders, blinds, reversals and accesses come back."""
    found = parse_gate_file(DATA)
    assert b"".join(found.lines()) == DATA
    assert (found.campaign, found.company, found.season) == ("spring", "alpha", SEASON)
    assert found.applicants == FILE.applicants
    assert found.accesses == ACCESSES
    [shown] = found.batches
    assert (shown.index, shown.batch.root, shown.blinding) == (7, BATCH.root, BLINDING)
    assert shown.statement.deciders == ("dan", "dora")
    assert (shown.reversals[0].reason, shown.reversals[0].viewed_at) == (REVERSAL.reason, 80)


def test_it_shows_nobody_in_a_repr() -> None:
    """Identifiers, decisions and salts are in no repr."""
    shown = repr(parse_gate_file(DATA)) + repr(SHOWN) + repr(REVERSAL) + repr(STATEMENT)
    assert "consent-code" not in shown
    assert key("a").hex() not in shown


def test_history_is_made_of_it() -> None:
    """Offers, looks and reversals of a position, as the detectors take them."""
    history = histories(FILE)[POSITION]
    assert (history.offers, history.viewed, history.first_view_at) == (1, 1, 80)
    assert history.reversals == (ReversalTimes(reversed_at=90, viewed_at=80),)
    assert [item.decisions for item in history.batches] == [2]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        DATA[:-1],
        b"\n".join([*LINES[1:], b""]),
        b"\n".join([LINES[0], *LINES, b""]),
        b"\n".join([*LINES, LINES[1], b""]),
        b"\n".join([*LINES, LINES[3], b""]),
        rewritten(0, format="noren/v2/gate-file"),
        rewritten(0, season="2027"),
        rewritten(0, batch={}),
        rewritten(1, position="other"),
        rewritten(1, applicants=["zz"]),
        rewritten(1, applicants=[key("b").hex(), key("a").hex()]),
        rewritten(1, applicants=[1]),
        rewritten(3, index=-1),
        rewritten(3, batch=[]),
        rewritten(3, statement={}),
        rewritten(3, statement=STATEMENT.to_body() | {"deciders": ["dora", "dan"]}),
        rewritten(3, statement=STATEMENT.to_body() | {"deciders": []}),
        rewritten(3, statement=STATEMENT.to_body() | {"salt": "00"}),
        rewritten(3, blinding="0"),
        rewritten(3, reversals=[REVERSAL.to_body(), REVERSAL.to_body()]),
        rewritten(3, reversals=[REVERSAL.to_body() | {"identifier": key("b").hex()}]),
        rewritten(3, reversals=[REVERSAL.to_body() | {"reason": "high score"}]),
        rewritten(4, outcome="band 3"),
        rewritten(4, handle="02"),
        rewritten(4, identifier=key("a").hex()),
        rewritten(4, statement={}),
    ],
)
def test_a_malformed_file_is_refused(data: bytes) -> None:
    """Lines missing, twice, of another kind, out of range or about nobody listed: a DataError."""
    with pytest.raises(DataError):
        parse_gate_file(data)


@given(st.integers(0, len(DATA) - 1), st.integers(0, 255))
def test_a_changed_byte_is_another_file_or_none(place: int, value: int) -> None:
    """Whatever byte changes, what is read says so, or nothing is read."""
    changed = DATA[:place] + bytes([value]) + DATA[place + 1 :]
    try:
        found = parse_gate_file(changed)
    except NorenError:
        return
    assert b"".join(found.lines()) == changed


def test_too_many_lines_are_refused_before_they_are_parted() -> None:
    """A file of line ends would otherwise take nine times its size of memory."""
    with pytest.raises(DataError, match="lines"):
        parse_gate_file(b"\n" * (MAX_LINES + 1))


def test_who_decided_is_sealed_with_the_batch() -> None:
    """Another name, position, season or salt is not the leaf that was sealed; the root has it."""
    STATEMENT.verify_sealed(BATCH)
    for other in (
        replace(STATEMENT, deciders=("dan",)),
        replace(STATEMENT, salt=b"\x03" * SALT_BYTES),
        replace(STATEMENT, position="sales"),
        replace(STATEMENT, season="2027"),
    ):
        with pytest.raises(VerificationError):
            other.verify_sealed(BATCH)
    without = seal_batch(
        {key("a"): Decision.PASS}, position=POSITION, season=SEASON, padded_batch=8, minimum_batch=1
    )
    assert STATEMENT.sealed_in(without).root != without.root
    with pytest.raises(DataError, match="leaf to spare"):
        STATEMENT.sealed_in(replace(without, padding=()))
