"""What others saw of the ledger counts: witnesses' cosignatures, and checkpoints that somebody kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from noren_audit.verification.findings import Code
from noren_audit.verification.seen_checkpoints import read_seen, write_evidence
from noren_audit.verification.trust import Trust
from noren_audit.verification.verify import verify_bundle
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.merkle import leaf_hash, root_hash
from noren_core.errors import DataError
from noren_core.ledger.checkpoint import sign_checkpoint
from noren_core.ledger.cosignature import CosignerKey, cosign
from noren_core.ledger.note import parse_note

if TYPE_CHECKING:
    from conftest import SeasonLedger

WITNESSES = [SigningKey.from_bytes(bytes([number] * 32)) for number in (21, 22, 23)]
KEYS = tuple(CosignerKey(f"witness.example/{n}", key.public_key) for n, key in enumerate(WITNESSES))


def trust_in(ledger: SeasonLedger, quorum: int = 0) -> Trust:
    named = KEYS if quorum else ()
    return Trust(
        log_key=ledger.verifier_key,
        platform_key=ledger.platform_key.public_key,
        witnesses=named,
        witness_quorum=quorum,
    )


def cosign_with(bundle: Path, *numbers: int) -> None:
    """Add these witnesses' lines to the bundle's checkpoint."""
    path = bundle / "checkpoint"
    text = parse_note(path.read_bytes()).text
    lines = [cosign(text, KEYS[n].name, WITNESSES[n], timestamp=5).to_line().encode() for n in numbers]
    path.write_bytes(path.read_bytes() + b"".join(lines))


def seen_at(ledger: SeasonLedger, size: int, *, other: bool = False, key: SigningKey | None = None) -> bytes:
    """The checkpoint that somebody got when the ledger had `size` entries; or one of another ledger."""
    leaves = [leaf_hash(entry) for entry in ledger.entries()[:size]]
    if other:
        leaves[-1] = leaf_hash(b"something else")
    return sign_checkpoint(ledger.verifier_key.name, size, root_hash(leaves), key or ledger.log_key)


def test_a_quorum_of_named_witnesses_is_asked_for(opening: SeasonLedger, tmp_path: Path) -> None:
    """Enough of those whom the trust file names must have cosigned; the log's own signature is not one."""
    for number, (present, quorum, found) in enumerate(
        (
            ((), 0, set()),
            ((0, 1), 0, set()),  # of witnesses that are not named, nothing is concluded
            ((0, 1), 2, set()),
            ((0, 1, 2), 2, set()),
            ((0,), 2, {Code.WITNESS_QUORUM}),
            ((0, 0), 2, {Code.WITNESS_QUORUM}),
            ((), 1, {Code.WITNESS_QUORUM}),
        )
    ):
        bundle = opening.write(tmp_path / f"bundle-{number}")
        cosign_with(bundle, *present)
        findings = verify_bundle(bundle, trust_in(opening, quorum)).findings
        assert {finding.code for finding in findings} == found, (present, quorum)


def test_a_false_cosignature_of_a_named_witness_is_found(opening: SeasonLedger, tmp_path: Path) -> None:
    """Each bit of a line that counts is checked, also when there are enough others."""
    bundle = opening.write(tmp_path / "bundle")
    cosign_with(bundle, 0, 1)
    data = (bundle / "checkpoint").read_bytes()
    for place in range(data.index(b"witness.example/1"), len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        (bundle / "checkpoint").write_bytes(changed)
        assert not verify_bundle(bundle, trust_in(opening, 2)).is_verified


def test_a_quorum_says_nothing_for_a_log_that_is_not_trusted(opening: SeasonLedger, tmp_path: Path) -> None:
    """Cosignatures under a checkpoint that the trusted log did not sign are not counted at all."""
    bundle = opening.write(tmp_path / "bundle", log_keys=[SigningKey.generate()])
    cosign_with(bundle, 0, 1)
    codes = {finding.code for finding in verify_bundle(bundle, trust_in(opening, 2)).findings}
    assert Code.CHECKPOINT_INVALID in codes
    assert Code.WITNESS_QUORUM not in codes


def test_what_others_saw_of_this_ledger_changes_nothing(opening: SeasonLedger, tmp_path: Path) -> None:
    """Every earlier checkpoint of the same ledger agrees with it."""
    bundle = opening.write(tmp_path / "bundle")
    seen = [seen_at(opening, size) for size in range(1, len(opening.statements) + 1)]
    assert verify_bundle(bundle, trust_in(opening), seen).is_verified


def test_another_ledger_that_somebody_saw_is_a_split_view(opening: SeasonLedger, tmp_path: Path) -> None:
    """A checkpoint with another root is a finding with both notes, and a file that anybody can verify."""
    bundle = opening.write(tmp_path / "bundle")
    for size in (2, len(opening.statements)):
        seen = seen_at(opening, size, other=True)
        verdict = verify_bundle(bundle, trust_in(opening), [seen_at(opening, 1), seen])
        (finding,) = verdict.findings
        assert (finding.code, finding.evidence["seen"]) == (Code.SPLIT_VIEW, 2)
        place = tmp_path / f"evidence-{size}" / "deeper"
        write_evidence(verdict.findings, place)
        (file,) = place.iterdir()
        notes = json.loads(file.read_bytes())
        assert notes == {"known": seen.decode(), "presented": (bundle / "checkpoint").read_text()}
        for note in notes.values():
            parse_note(note.encode()).verify(opening.verifier_key)


def test_a_checkpoint_that_cannot_be_compared_is_said(opening: SeasonLedger, tmp_path: Path) -> None:
    """Beyond the bundle, by another log, or no checkpoint: no silence, and no accusation either."""
    bundle, size = opening.write(tmp_path / "bundle"), len(opening.statements)
    beyond = sign_checkpoint(opening.verifier_key.name, size + 1, bytes(32), opening.log_key)
    for seen in (
        beyond,
        seen_at(opening, size, key=SigningKey.generate()),
        b"",
        b"\xff" * 20,
        bytes(1 << 17),
    ):
        (finding,) = verify_bundle(bundle, trust_in(opening), [seen]).findings
        assert finding.code is Code.SEEN_UNUSABLE
        assert finding.evidence["seen"] == 1


def test_seen_checkpoints_are_read_from_files(tmp_path: Path) -> None:
    """As they are, bounded; a file that cannot be read is an error, and no evidence is no file."""
    (tmp_path / "one").write_bytes(b"note")
    (tmp_path / "long").write_bytes(bytes(1 << 20))
    assert read_seen([tmp_path / "one"]) == [b"note"]
    assert len(read_seen([tmp_path / "long"])[0]) == (64 << 10) + 1
    with pytest.raises(DataError):
        read_seen([tmp_path / "none"])
    write_evidence((), tmp_path / "evidence")
    assert not (tmp_path / "evidence").exists()
