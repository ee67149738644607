"""What a company keeps of the ledger: forward only, one key per company, evidence of a split view."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from noren_client import config, keystore
from noren_client.config import Addresses, CompanyConfig, Limits, Pins
from noren_client.ledger_watch import LedgerWatch
from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.crypto.merkle import MerkleTree, leaf_hash
from noren_core.errors import LocalProtocolError, VerificationError
from noren_core.ledger.checkpoint import sign_checkpoint
from noren_core.ledger.entries import EntryKind, countersign, sign_entry
from noren_core.ledger.note import VerifierKey
from noren_core.ledger.proofs import EntryProof, LedgerProof, SplitViewError

ORIGIN = "job-site/ledger"


@dataclass
class Log:
    """A ledger in memory, with the keys of its platform."""

    log_key: SigningKey
    platform_key: SigningKey
    entries: list[bytes]

    def append(self, kind: EntryKind, author: str, body: dict[str, object], key: SigningKey) -> None:
        self.entries.append(countersign(sign_entry(kind, author, body, key), self.platform_key))

    def grow(self, reason: str = "TEST") -> None:
        body: dict[str, object] = {"campaign": "c", "reason": reason, "round": len(self.entries) + 1}
        self.append(EntryKind.ROUND_FAILED, "platform", body, self.platform_key)

    def enrol(self, company: str, key: SigningKey) -> None:
        body: dict[str, object] = {
            "company": company,
            "signing_key": key.public_key.hex(),
            "sealing_key": SealingKey.generate().public_key.hex(),
            "tls_key_sha256": "00" * 32,
            "node_key_sha256": "00" * 32,
        }
        self.append(EntryKind.ENROLMENT, company, body, key)

    def prove(self, known_size: int, *indices: int) -> LedgerProof:
        tree = MerkleTree([leaf_hash(entry) for entry in self.entries])
        return LedgerProof(
            checkpoint=sign_checkpoint(ORIGIN, tree.size, tree.root(), self.log_key),
            consistency=tuple(tree.consistency_proof(known_size)),
            entries=tuple(
                EntryProof(index, self.entries[index], tuple(tree.inclusion_proof(index)))
                for index in indices
            ),
        )


@pytest.fixture
def log() -> Log:
    """A ledger with three entries."""
    made = Log(SigningKey.generate(), SigningKey.generate(), [])
    for _ in range(3):
        made.grow()
    return made


@pytest.fixture
def company_dir(tmp_path: Path, log: Log) -> Path:
    """A company that pins this ledger."""
    settings = CompanyConfig(
        company="alpha",
        platform="job-site",
        addresses=Addresses("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
        pins=Pins("ab" * 32, VerifierKey(ORIGIN, log.log_key.public_key), log.platform_key.public_key),
        limits=Limits(),
    )
    (tmp_path / "config.toml").write_bytes(config.to_toml(settings))
    keystore.create_missing(tmp_path)
    return tmp_path


def test_the_checkpoint_moves_forward_by_proof(company_dir: Path, log: Log) -> None:
    """Each verified proof becomes the newest checkpoint, also for a new process."""
    watch = LedgerWatch(company_dir)
    assert watch.known_tree_size == 0
    [entry] = watch.verify(log.prove(0, 1))
    assert (entry.kind, entry.body["round"]) == (EntryKind.ROUND_FAILED, 2)
    for size in range(4, 15):
        log.grow()
        watch.verify(log.prove(size - 1, size - 1))
        assert LedgerWatch(company_dir).known_tree_size == size
    assert len(list((company_dir / "platform" / "earlier").iterdir())) == 8


def test_another_history_is_refused_and_kept(company_dir: Path, log: Log) -> None:
    """A fork signed by the same key raises, leaves the checkpoint, and both sides are on disk."""
    watch = LedgerWatch(company_dir)
    watch.verify(log.prove(0))
    fork = Log(log.log_key, log.platform_key, [])
    for _ in range(5):
        fork.grow("FORK")
    for proof in (fork.prove(3), fork.prove(0)):
        with pytest.raises(SplitViewError):
            watch.verify(proof)
    assert watch.known_tree_size == 3
    assert len(list((company_dir / "platform" / "evidence").iterdir())) == 1  # one pair, kept once


def test_a_proof_from_an_earlier_checkpoint_accuses_nobody(company_dir: Path, log: Log) -> None:
    """When another process moved the checkpoint, the late proof is refused as stale, without evidence."""
    watch = LedgerWatch(company_dir)
    watch.verify(log.prove(0))
    log.grow()
    late = log.prove(3)
    log.grow()
    LedgerWatch(company_dir).verify(log.prove(3))
    log.grow()
    late_and_larger = log.prove(3)
    for proof in (late, late_and_larger):
        with pytest.raises(LocalProtocolError) as caught:
            watch.verify(proof)
        assert caught.value.code == "STALE_PROOF"
    assert not (company_dir / "platform" / "evidence").exists()
    assert watch.known_tree_size == 5


def test_a_second_key_for_a_company_is_refused_in_a_later_proof(company_dir: Path, log: Log) -> None:
    """Whose enrolment was proven once keeps that key, though the second entry is in the ledger too."""
    watch = LedgerWatch(company_dir)
    log.enrol("bravo", SigningKey.generate())
    watch.verify(log.prove(0, 3))
    log.enrol("bravo", SigningKey.generate())
    with pytest.raises(VerificationError):
        LedgerWatch(company_dir).verify(log.prove(4, 4))
    assert watch.known_tree_size == 4


def test_our_own_entries_need_our_own_key(company_dir: Path, log: Log) -> None:
    """A platform that enrols another key under our name is refused by us."""
    log.enrol("alpha", SigningKey.generate())
    with pytest.raises(VerificationError):
        LedgerWatch(company_dir).verify(log.prove(0, 3))


def test_an_entry_that_is_not_included_is_refused(company_dir: Path, log: Log) -> None:
    """An entry with another's inclusion proof, or changed by a byte, moves nothing."""
    watch = LedgerWatch(company_dir)
    honest = log.prove(0, 0, 1)
    first, second = honest.entries
    swapped = replace(honest, entries=(replace(first, inclusion=second.inclusion),))
    changed = replace(honest, entries=(replace(first, entry=first.entry.replace(b"TEST", b"BEST")),))
    for proof in (swapped, changed):
        with pytest.raises(VerificationError):
            watch.verify(proof)
    assert watch.known_tree_size == 0


def test_another_logs_checkpoint_is_refused(company_dir: Path, log: Log) -> None:
    """A checkpoint of another key is no evidence against ours, it is just not ours."""
    other = Log(SigningKey.generate(), log.platform_key, list(log.entries))
    with pytest.raises(VerificationError) as caught:
        LedgerWatch(company_dir).verify(other.prove(0))
    assert not isinstance(caught.value, SplitViewError)
