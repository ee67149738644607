"""What a company believes of a beacon."""

import hashlib
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from noren_core.crypto.identity import SigningKey
from noren_core.errors import VerificationError
from noren_core.ledger.checkpoint import Checkpoint, sign_checkpoint
from noren_core.ledger.cosignature import CosignerKey, cosign
from noren_core.ledger.entries import PLATFORM, EntryKind, SignedEntry
from noren_core.ledger.key_history import Anchors, KeyHistory
from noren_core.ledger.note import Note, NoteSignature, VerifierKey, parse_note
from noren_core.ledger.proofs import VerifiedEntry
from noren_core.season.beacon import beacon_value, verify_beacon
from noren_core.season.plan import CampaignPlan, Witnesses

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "noise_v1.json").read_text())
ORIGIN = "job-site/ledger"
LOG, PLATFORM_KEY = SigningKey.generate(), SigningKey.generate()
WITNESSES = {name: SigningKey.generate() for name in ("w1.example", "w2.example", "w3.example")}
KEYS = KeyHistory(Anchors(VerifierKey(ORIGIN, LOG.public_key), PLATFORM_KEY.public_key))
INDEX = 20


@pytest.fixture
def plan(plan_body):
    keys = sorted(CosignerKey(name, key.public_key).to_text() for name, key in WITNESSES.items())
    return CampaignPlan.from_body(plan_body | {"witnesses": {"keys": keys, "quorum": 2}})


def note(size=INDEX, *, log=LOG, origin=ORIGIN, witnesses=("w1.example", "w3.example"), times=(1, 2)):
    text = Checkpoint(origin, size, bytes(32)).to_text()
    signed = parse_note(sign_checkpoint(origin, size, bytes(32), log))
    lines = [
        cosign(text, name, WITNESSES[name], timestamp=t) for name, t in zip(witnesses, times, strict=True)
    ]
    return Note(signed.text, (*signed.signatures, *lines)).to_bytes().decode()


def beacon(checkpoint, *, campaign="spring-2026", index=INDEX, kind=EntryKind.BEACON):
    return VerifiedEntry(
        index, SignedEntry(kind, PLATFORM, {"campaign": campaign, "checkpoint": checkpoint}, b"")
    )


def test_the_value_is_the_hash_of_the_note_and_one_cosignature(plan):
    """Before the first witness has answered nobody knows it; another answer of it is another value."""
    text = note()
    lines = text.splitlines(keepends=True)
    cosigned = "".join(line for line in lines if not line.startswith((f"— {ORIGIN} ", "— w3.example ")))
    expected = hashlib.sha256(b"noren/v1/beacon\0" + cosigned.encode()).digest()
    assert verify_beacon(beacon(text), commitment=3, plan=plan, keys=KEYS) == expected
    assert beacon_value(text, plan.witnesses) == expected
    for other in (note(witnesses=("w3.example", "w2.example")), note(times=(3, 2)), note(19)):
        assert beacon_value(other, plan.witnesses) != expected


def test_there_are_no_more_values_than_answers_of_witnesses(plan):
    """Whatever a platform makes of four answers of each of three witnesses, for one checkpoint."""
    values = {
        verify_beacon(beacon(note(witnesses=names, times=times)), commitment=3, plan=plan, keys=KEYS)
        for count in (2, 3)
        for names in itertools.combinations(WITNESSES, count)
        for times in itertools.product(range(4), repeat=count)
    }
    assert len(values) <= 12


@pytest.mark.parametrize(("commitment", "size", "index"), [(0, 1, 1), (19, 20, 20), (3, 20, 21), (3, 4, 9)])
def test_the_checkpoint_covers_the_commitment_and_nothing_after_the_beacon(plan, commitment, size, index):
    """Sizes from just after the commitment to the beacon's own index are taken."""
    verify_beacon(beacon(note(size), index=index), commitment=commitment, plan=plan, keys=KEYS)


@pytest.mark.parametrize(("commitment", "size", "index"), [(20, 20, 20), (5, 5, 9), (3, 21, 20), (0, 0, 5)])
def test_another_size_is_refused(plan, commitment, size, index):
    """A checkpoint from before our commitment, or of a ledger that is larger than where the beacon stands."""
    with pytest.raises(VerificationError, match="another size"):
        verify_beacon(beacon(note(size), index=index), commitment=commitment, plan=plan, keys=KEYS)


def test_another_campaigns_beacon_and_other_entries_are_refused(plan):
    """One of another campaign, and an entry that is none."""
    for other in (beacon(note(), campaign="autumn"), beacon(note(), kind=EntryKind.CAMPAIGN_CLOSED)):
        with pytest.raises(VerificationError, match="this campaign"):
            verify_beacon(other, commitment=3, plan=plan, keys=KEYS)


@pytest.mark.parametrize(
    "text",
    [
        note(log=SigningKey.generate()),
        note(origin="other/ledger"),
        note().replace(ORIGIN + "\n20", ORIGIN + "\n19"),
    ],
    ids=["key", "origin", "changed"],
)
def test_a_checkpoint_that_the_log_did_not_sign_is_refused(plan, text):
    """Another key, another log, or a changed size."""
    with pytest.raises(VerificationError):
        verify_beacon(beacon(text), commitment=3, plan=plan, keys=KEYS)


def test_too_few_witnesses_are_refused(plan):
    """One of two, the same one twice, and one that the plan does not name."""
    stranger = SigningKey.generate()
    text = note(witnesses=("w1.example",), times=(1,))
    parsed = parse_note(text.encode())
    line = cosign(parsed.text, "w2.example", stranger, timestamp=5)
    strange = Note(parsed.text, (*parsed.signatures, line)).to_bytes().decode()
    twice = note(witnesses=("w1.example", "w1.example"), times=(1, 2))
    for bad in (text, twice, strange):
        with pytest.raises(VerificationError) as refused:
            verify_beacon(beacon(bad), commitment=3, plan=plan, keys=KEYS)
        assert refused.value.code == "WITNESS_QUORUM"


def test_a_cosignature_that_does_not_verify_refuses_the_note(plan):
    """Although there would be enough others."""
    text = note(witnesses=("w1.example", "w3.example", "w2.example"), times=(1, 2, 3))
    parsed = parse_note(text.encode())
    last = parsed.signatures[-1]
    broken = replace(last, signature=bytes(8) + last.signature[8:])
    bad = Note(parsed.text, (*parsed.signatures[:-1], broken)).to_bytes().decode()
    with pytest.raises(VerificationError):
        verify_beacon(beacon(bad), commitment=3, plan=plan, keys=KEYS)


def test_a_plan_without_witnesses_needs_none(plan_body):
    """Quorum 0: the log's own signature is enough."""
    plan = CampaignPlan.from_body(plan_body)
    verify_beacon(beacon(note(witnesses=(), times=())), commitment=3, plan=plan, keys=KEYS)


def test_a_plan_with_a_cosigner_key_of_another_form_is_not_verified(plan_body):
    """A key that a plan can hold and nobody can read verifies nothing; it does not crash."""
    key = "w1.example+00000000+" + "A" * 44
    plan = CampaignPlan.from_body(plan_body | {"witnesses": {"keys": [key], "quorum": 1}})
    with pytest.raises(VerificationError):
        verify_beacon(beacon(note()), commitment=3, plan=plan, keys=KEYS)


def with_line(text, line):
    """The note with one more signature line, which nobody but its author wanted."""
    parsed = parse_note(text.encode())
    return Note(parsed.text, (*parsed.signatures, line)).to_bytes().decode()


def test_nobody_but_the_plans_witnesses_has_a_say_in_the_value(plan):
    """Lines that cost nothing would be as many values to choose from: a stranger's, or the log's own."""
    text = note()
    stranger = cosign(parse_note(text.encode()).text, "stranger.example", SigningKey.generate(), timestamp=9)
    log_again = NoteSignature("other/log", bytes(4), bytes(64))
    expected = verify_beacon(beacon(text), commitment=3, plan=plan, keys=KEYS)
    for line in (stranger, log_again):
        longer = with_line(text, line)
        assert verify_beacon(beacon(longer), commitment=3, plan=plan, keys=KEYS) == expected
    backwards = parse_note(text.encode())
    turned = Note(backwards.text, backwards.signatures[::-1]).to_bytes().decode()
    assert verify_beacon(beacon(turned), commitment=3, plan=plan, keys=KEYS) == expected


def test_a_witness_that_stands_there_twice_is_refused(plan):
    """Which of its answers counts would be the platform's choice."""
    twice = note(witnesses=("w1.example", "w3.example", "w1.example"), times=(1, 2, 3))
    with pytest.raises(VerificationError, match="got two"):
        verify_beacon(beacon(twice), commitment=3, plan=plan, keys=KEYS)


def test_the_value_of_the_published_vector():
    """The file's note, under the cosigners that it names."""
    witnesses = Witnesses(tuple(VECTORS["witnesses"]), len(VECTORS["witnesses"]))
    assert beacon_value(VECTORS["note"], witnesses).hex() == VECTORS["beacon_value"]
