"""Believing the ledger: a company accepts what is included, signed and consistent, and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import pytest

from noren_core.crypto.identity import SigningKey
from noren_core.crypto.merkle import MerkleTree, leaf_hash
from noren_core.errors import VerificationError
from noren_core.ledger.checkpoint import sign_checkpoint
from noren_core.ledger.entries import PLATFORM, countersign, sign_entry
from noren_core.ledger.key_history import Anchors, KeyHistory
from noren_core.ledger.note import VerifierKey
from noren_core.ledger.proofs import (
    EntryProof,
    LedgerProof,
    SplitViewError,
    verify_growth,
    verify_ledger_proof,
)

ORIGIN = "noren.example/log"
LOG, PLATFORM_KEY, ALPHA, BETA = (SigningKey.from_bytes(bytes([i] * 32)) for i in range(1, 5))
KEYS = KeyHistory(Anchors(VerifierKey(ORIGIN, LOG.public_key), PLATFORM_KEY.public_key))


def hash_of(*words: str) -> str:
    """A distinct hash for every list of words."""
    return hashlib.sha256(repr(words).encode()).hexdigest()


def company_entry(company: str, key: SigningKey, *, enrolled: SigningKey | None = None) -> bytes:
    body = {
        "company": company,
        "signing_key": (enrolled or key).public_key.hex(),
        **{field: hash_of(company, field) for field in ("sealing_key", "tls_key_sha256", "node_key_sha256")},
    }
    return countersign(sign_entry("enrolment", company, body, key), PLATFORM_KEY)


def agreement(company: str, key: SigningKey, size: int = 1) -> bytes:
    body = {"company": company, "agreement_sha256": "00" * 32, "declared_size": size}
    return countersign(sign_entry("agreement", company, body, key), PLATFORM_KEY)


def failure(round_number: int, *, countersigner: SigningKey = PLATFORM_KEY) -> bytes:
    body = {"campaign": "autumn", "round": round_number, "reason": "TOO_FEW"}
    return countersign(sign_entry("round-failed", PLATFORM, body, PLATFORM_KEY), countersigner)


@dataclass(frozen=True)
class Log:
    """A log of these entries, as an honest or dishonest platform would show it."""

    entries: tuple[bytes, ...]

    def checkpoint(self, size: int | None = None) -> bytes:
        tree = MerkleTree([leaf_hash(entry) for entry in self.entries])
        return sign_checkpoint(ORIGIN, tree.size if size is None else size, tree.root(size), LOG)

    def proof(self, known_size: int, indices: list[int]) -> LedgerProof:
        tree = MerkleTree([leaf_hash(entry) for entry in self.entries])
        items = tuple(EntryProof(i, self.entries[i], tuple(tree.inclusion_proof(i))) for i in indices)
        return LedgerProof(self.checkpoint(), tuple(tree.consistency_proof(known_size)), items)


HONEST = Log(
    (
        failure(1),
        company_entry("alpha", ALPHA),
        company_entry("beta", BETA),
        agreement("alpha", ALPHA),
        agreement("beta", BETA),
        failure(2),
    )
)


def test_an_honest_ledger_is_believed() -> None:
    """On first contact and after growth, the entries come back in ledger order with their values."""
    first = Log(HONEST.entries[:4])
    shown = verify_ledger_proof(first.proof(0, [3, 1]), known=None, keys=KEYS)
    assert [(item.index, item.entry.kind) for item in shown.entries] == [(1, "enrolment"), (3, "agreement")]
    grown = verify_ledger_proof(HONEST.proof(4, [5]), known=first.checkpoint(), keys=KEYS)
    assert grown.checkpoint == KEYS.open_checkpoint(HONEST.checkpoint())
    assert grown.checkpoint.size == 6


def test_the_author_must_be_enrolled_with_that_key() -> None:
    """A company's entry needs its enrolment: known before, or earlier in the proof; and only one key."""
    proof = HONEST.proof(0, [3])
    shown = verify_ledger_proof(HONEST.proof(0, [1]), known=None, keys=KEYS)
    verify_ledger_proof(proof, known=None, keys=shown.keys)
    with pytest.raises(VerificationError):
        verify_ledger_proof(proof, known=None, keys=KEYS)
    other = Log((company_entry("alpha", BETA),))
    of_another = verify_ledger_proof(other.proof(0, [0]), known=None, keys=KEYS)
    with pytest.raises(VerificationError):
        verify_ledger_proof(proof, known=None, keys=of_another.keys)
    late = Log((agreement("alpha", ALPHA), company_entry("alpha", ALPHA)))
    with pytest.raises(VerificationError):
        verify_ledger_proof(late.proof(0, [0, 1]), known=None, keys=KEYS)
    second = Log((company_entry("alpha", ALPHA), company_entry("alpha", BETA)))
    with pytest.raises(VerificationError):
        verify_ledger_proof(second.proof(0, [0, 1]), known=None, keys=KEYS)
    replaced = Log((company_entry("alpha", ALPHA), company_entry("alpha", ALPHA, enrolled=BETA)))
    with pytest.raises(VerificationError):
        verify_ledger_proof(replaced.proof(0, [0, 1]), known=None, keys=KEYS)
    stolen = Log((company_entry("alpha", BETA, enrolled=ALPHA),))
    with pytest.raises(VerificationError):
        verify_ledger_proof(stolen.proof(0, [0]), known=None, keys=KEYS)


def test_a_rewritten_ledger_is_a_split_view_with_evidence() -> None:
    """A ledger that dropped an entry has no proof; both checkpoints come back as evidence."""
    known = HONEST.checkpoint()
    rewritten = Log((*HONEST.entries[:2], *HONEST.entries[3:], failure(3), failure(4)))
    with pytest.raises(SplitViewError) as caught:
        verify_ledger_proof(rewritten.proof(6, [0]), known=known, keys=KEYS)
    assert (caught.value.known, caught.value.presented) == (known, rewritten.checkpoint())
    assert caught.value.code == "SPLIT_VIEW"


def test_two_ledgers_of_one_size_are_a_split_view() -> None:
    """Same size, other entries: no proof can be asked for, the roots alone convict."""
    other = Log((*HONEST.entries[:5], failure(9)))
    with pytest.raises(SplitViewError):
        verify_growth(known=HONEST.checkpoint(), presented=other.checkpoint(), consistency=(), keys=KEYS)


def test_an_older_checkpoint_is_not_accepted() -> None:
    """A company that knows six entries refuses a signed ledger of four."""
    with pytest.raises(SplitViewError):
        verify_growth(known=HONEST.checkpoint(), presented=HONEST.checkpoint(4), consistency=(), keys=KEYS)


def test_nothing_in_a_proof_can_be_exchanged() -> None:
    """Another index, entry, path, consistency hash, log or countersigner is refused."""
    proof = HONEST.proof(4, [0, 5])
    known = HONEST.checkpoint(4)
    verify_ledger_proof(proof, known=known, keys=KEYS)
    item = proof.entries[1]
    forged = Log((failure(1, countersigner=BETA),))
    bad_items = [
        replace(item, index=4),
        replace(item, index=-1),
        replace(item, entry=failure(3)),
        replace(item, entry=b"{}"),
        replace(item, inclusion=item.inclusion[1:]),
        replace(item, inclusion=tuple(reversed(item.inclusion))),
    ]
    bad_proofs = [replace(proof, entries=(proof.entries[0], bad)) for bad in bad_items]
    bad_proofs.append(replace(proof, consistency=proof.consistency[1:]))
    bad_proofs.append(replace(proof, checkpoint=sign_checkpoint(ORIGIN, 6, bytes(32), LOG)))
    bad_proofs.append(replace(proof, checkpoint=sign_checkpoint(ORIGIN, 6, bytes(32), BETA)))
    for bad in bad_proofs:
        with pytest.raises(VerificationError):
            verify_ledger_proof(bad, known=known, keys=KEYS)
    with pytest.raises(VerificationError):
        verify_ledger_proof(forged.proof(0, [0]), known=None, keys=KEYS)


def test_a_malformed_entry_in_the_tree_is_refused() -> None:
    """Inclusion does not make bytes an entry."""
    with pytest.raises(VerificationError):
        verify_ledger_proof(Log((b"no entry",)).proof(0, [0]), known=None, keys=KEYS)
