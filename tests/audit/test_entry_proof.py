"""`noren-audit proof` and `--seen`: what an auditor does with one entry, and with what a company kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from noren_audit.cli import main
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.merkle import MerkleTree, leaf_hash
from noren_core.ledger.checkpoint import sign_checkpoint
from noren_core.ledger.cosignature import CosignerKey, cosign
from noren_core.ledger.note import parse_note
from noren_core.ledger.tlog_proof import TlogProof

if TYPE_CHECKING:
    from conftest import SeasonLedger

pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")
WITNESS = SigningKey.from_bytes(bytes([21] * 32))
KEY = CosignerKey("witness.example/1", WITNESS.public_key)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    exit_code = main(["--json", *map(str, arguments)])
    return exit_code, json.loads(capsys.readouterr().out)


def write_proof(ledger: SeasonLedger, place: Path, index: int) -> tuple[Path, Path]:
    """What `noren-platform ledger prove` writes."""
    entries = ledger.entries()
    tree = MerkleTree([leaf_hash(entry) for entry in entries])
    checkpoint = sign_checkpoint(ledger.verifier_key.name, tree.size, tree.root(), ledger.log_key)
    line = cosign(parse_note(checkpoint).text, KEY.name, WITNESS, timestamp=5).to_line().encode()
    proof = TlogProof(index, tuple(tree.inclusion_proof(index)), checkpoint + line)
    (place / "entry").write_bytes(entries[index])
    (place / "entry.tlog-proof").write_bytes(proof.to_bytes())
    return place / "entry", place / "entry.tlog-proof"


def write_trust(ledger: SeasonLedger, place: Path, *more: str) -> Path:
    (place / "trust.toml").write_text(ledger.trust_text(*more))
    return place / "trust.toml"


def test_one_entry_is_shown_to_be_in_the_ledger(
    opening: SeasonLedger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0, where it stands and what it is, and what this does not show; witnesses count if named."""
    entry, proof = write_proof(opening, tmp_path, 4)
    for more in ((), (f'witnesses = ["{KEY.to_text()}"]', "witness_quorum = 1")):
        exit_code, said = run(capsys, "proof", entry, proof, "--trust", write_trust(opening, tmp_path, *more))
        assert exit_code == 0
        assert (said["index"], said["kind"], said["author"]) == (4, "enrolment", "beta")
        assert (said["ledger_size"], "signatures" in said["not_checked"]) == (10, True)


def test_another_entry_log_or_witness_is_not_shown(
    opening: SeasonLedger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 9 for an entry, a log key or a quorum that the proof does not fit; 6 for what is none."""
    entry, proof = write_proof(opening, tmp_path, 3)
    trust = write_trust(opening, tmp_path)
    entry.write_bytes(opening.entries()[4])
    assert run(capsys, "proof", entry, proof, "--trust", trust)[0] == 9
    entry.write_bytes(opening.entries()[3])
    other = CosignerKey("witness.example/2", SigningKey.generate().public_key).to_text()
    for lines, key in (
        ((f'witnesses = ["{other}"]', "witness_quorum = 1"), None),
        ((), SigningKey.generate()),
    ):
        trust.write_text(opening.trust_text(*lines, log_key=key))
        assert run(capsys, "proof", entry, proof, "--trust", trust)[0] == 9
    write_trust(opening, tmp_path)
    for path, data in ((entry, b"{}"), (entry, bytes(70_000)), (proof, b""), (proof, bytes(90_000))):
        kept = path.read_bytes()
        path.write_bytes(data)
        assert run(capsys, "proof", entry, proof, "--trust", trust)[0] == 6
        path.write_bytes(kept)


def test_a_company_s_checkpoint_can_be_given_to_verify(
    opening: SeasonLedger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--seen, as often as there are files; a contradiction is NOT VERIFIED and leaves an evidence file."""
    bundle, trust = opening.write(tmp_path / "bundle"), write_trust(opening, tmp_path)
    same = (bundle / "checkpoint").read_bytes()
    forged = sign_checkpoint(opening.verifier_key.name, 5, bytes(32), opening.log_key)
    (tmp_path / "one").write_bytes(same)
    (tmp_path / "two").write_bytes(forged)
    evidence = tmp_path / "evidence"
    arguments = ("verify", bundle, "--trust", trust, "--evidence", evidence, "--seen", tmp_path / "one")
    assert run(capsys, *arguments)[0] == 0
    assert not evidence.exists()
    exit_code, said = run(capsys, *arguments, "--seen", tmp_path / "two")
    assert exit_code == 9
    assert [finding["code"] for finding in said["findings"]] == ["SPLIT_VIEW"]
    (file,) = evidence.iterdir()
    assert json.loads(file.read_bytes()) == {"known": forged.decode(), "presented": same.decode()}
