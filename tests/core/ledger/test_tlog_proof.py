"""tlog-proofs and witness requests: they round-trip, and only what is exactly right is believed."""

from __future__ import annotations

import base64
import hashlib

import pytest

from noren_core.crypto.identity import SigningKey
from noren_core.crypto.merkle import MerkleTree, leaf_hash
from noren_core.errors import DataError, NorenError, VerificationError
from noren_core.ledger.add_checkpoint import (
    MAX_REQUEST_BYTES,
    AddCheckpoint,
    parse_add_checkpoint,
    parse_known_size,
)
from noren_core.ledger.checkpoint import Checkpoint, claimed_checkpoint, claimed_size, sign_checkpoint
from noren_core.ledger.cosignature import CosignerKey, cosign
from noren_core.ledger.note import VerifierKey, parse_note
from noren_core.ledger.tlog_proof import MAX_PROOF_BYTES, TlogProof, parse_tlog_proof, verify_tlog_proof

ORIGIN = "noren.example/ledger"
LOG, WITNESS = (SigningKey.from_bytes(bytes([number] * 32)) for number in (1, 2))
LOG_KEY = VerifierKey(ORIGIN, LOG.public_key)
COSIGNER = CosignerKey("witness.example/1", WITNESS.public_key)
ENTRIES = [b"entry %d" % number for number in range(9)]
TREE = MerkleTree([leaf_hash(entry) for entry in ENTRIES])


def proof_of(index: int, size: int = 9) -> TlogProof:
    checkpoint = sign_checkpoint(ORIGIN, size, TREE.root(size), LOG)
    line = cosign(parse_note(checkpoint).text, COSIGNER.name, WITNESS, timestamp=5).to_line().encode()
    return TlogProof(index, tuple(TREE.inclusion_proof(index, size)), checkpoint + line)


def verify(proof: TlogProof, entry: bytes, quorum: int = 1) -> Checkpoint:
    return verify_tlog_proof(proof, entry, log_key=LOG_KEY, witnesses=[COSIGNER], quorum=quorum)


def test_every_entry_of_every_small_ledger_is_proven() -> None:
    """Parsed from its own bytes, a proof shows its entry at its index and no other one."""
    for size in range(1, 10):
        for index in range(size):
            proof = parse_tlog_proof(proof_of(index, size).to_bytes())
            assert proof == proof_of(index, size)
            assert verify(proof, ENTRIES[index]) == Checkpoint(ORIGIN, size, TREE.root(size))
            with pytest.raises(VerificationError):
                verify(proof, ENTRIES[index] + b"x")


def test_the_text_is_that_of_the_specification() -> None:
    """Header, index, hashes from the leaf's sibling up, an empty line, the checkpoint verbatim."""
    proof = proof_of(5)
    lines = proof.to_bytes().decode().split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 5"]
    assert lines[2 : 2 + len(proof.inclusion)] == [
        base64.b64encode(item).decode() for item in proof.inclusion
    ]
    assert lines[2 + len(proof.inclusion)] == ""
    assert "\n".join(lines[3 + len(proof.inclusion) :]).encode() == proof.checkpoint


def test_extra_bytes_of_others_are_read_and_vouched_for_by_nobody() -> None:
    """The optional line comes back, and changes nothing about what is proven."""
    proof = proof_of(3)
    extra = TlogProof(proof.index, proof.inclusion, proof.checkpoint, b"anything")
    assert b"\nextra YW55dGhpbmc=\nindex 3\n" in extra.to_bytes()
    assert parse_tlog_proof(extra.to_bytes()) == extra
    assert verify(extra, ENTRIES[3]) == verify(proof, ENTRIES[3])


def test_no_byte_of_a_proof_can_change() -> None:
    """Any flipped bit is malformed or proves nothing."""
    data = proof_of(4).to_bytes()
    for place in range(len(data)):
        for bit in (1, 32):
            changed = bytearray(data)
            changed[place] ^= bit
            with pytest.raises(NorenError):
                verify(parse_tlog_proof(bytes(changed)), ENTRIES[4])


def test_log_and_witnesses_must_be_those_that_are_trusted() -> None:
    """Another log key, or fewer witnesses than asked for, proves nothing."""
    proof = proof_of(4)
    other = VerifierKey(ORIGIN, WITNESS.public_key)
    with pytest.raises(VerificationError):
        verify_tlog_proof(proof, ENTRIES[4], log_key=other, witnesses=[], quorum=0)
    with pytest.raises(VerificationError) as caught:
        verify(proof, ENTRIES[4], quorum=2)
    assert caught.value.code == "WITNESS_QUORUM"


HASH = "A" * 43 + "="


@pytest.mark.parametrize(
    "head",
    [
        "",
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v2\nindex 0",
        "c2sp.org/tlog-proof@v1\nindex 00",
        "c2sp.org/tlog-proof@v1\nindex -1",
        "c2sp.org/tlog-proof@v1\nindex 1 ",
        "c2sp.org/tlog-proof@v1\nindex ١",
        "c2sp.org/tlog-proof@v1\nindex 9223372036854775808",
        "c2sp.org/tlog-proof@v1\nIndex 0",
        "c2sp.org/tlog-proof@v1\nextra !\nindex 0",
        "c2sp.org/tlog-proof@v1\nextra AB==\nindex 0",
        "c2sp.org/tlog-proof@v1\nextra AA==\nextra AA==\nindex 0",
        "c2sp.org/tlog-proof@v1\nextra AA==",
        "c2sp.org/tlog-proof@v1\nindex 0\nAA==",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH} ",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{'A' * 42}B=",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{'A' * 44}",
        "c2sp.org/tlog-proof@v1\nextra z=A=\nindex 0",
        "c2sp.org/tlog-proof@v1\nindex 0\n" + "\n".join([HASH] * 64),
        "c2sp.org/tlog-proof@v1\r\nindex 0",
    ],
)
def test_malformed_proofs_are_refused(head: str) -> None:
    """Only the exact header, one spelling of numbers and hashes, and at most 63 of them."""
    with pytest.raises(DataError):
        parse_tlog_proof(head.encode() + b"\n\n" + proof_of(0).checkpoint)
    with pytest.raises(DataError):
        parse_tlog_proof(b"\xff" + proof_of(0).to_bytes())
    with pytest.raises(DataError):
        parse_tlog_proof(proof_of(0).to_bytes() + bytes(1 << 17))


def test_limits_are_exact() -> None:
    """A proof has at most 73,728 bytes, its index 63 bits, and its checkpoint is a note."""
    proof = proof_of(1)
    checkpoint = b"t" * (65_535 - len(proof.checkpoint)) + b"\n" + proof.checkpoint
    full = TlogProof(2**63 - 1, proof.inclusion, checkpoint, b"")
    full = TlogProof(
        2**63 - 1, proof.inclusion, checkpoint, bytes((MAX_PROOF_BYTES - len(full.to_bytes())) // 4 * 3)
    )
    assert MAX_PROOF_BYTES == 73_728
    assert parse_tlog_proof(full.to_bytes()) == full
    assert MAX_PROOF_BYTES - len(full.to_bytes()) < 4
    filled = full.to_bytes().replace(b"index 9223372036854775807", b"index 9223372036854775808")
    for data in (filled, b"c2sp.org/tlog-proof@v1\nindex 0\n\nno note"):
        with pytest.raises(DataError):
            parse_tlog_proof(data)
    with pytest.raises(DataError, match="at most 73728 bytes"):
        parse_tlog_proof(full.to_bytes() + b"xxxx")


# What a witness is asked


def test_a_request_has_the_layout_of_the_specification() -> None:
    """Old size, hashes, an empty line and the checkpoint; it comes back from its own bytes."""
    hashes = tuple(hashlib.sha256(bytes([number])).digest() for number in range(63))
    for proof in ((), hashes[:3], hashes):
        request = AddCheckpoint(20852014, proof, proof_of(0).checkpoint)
        assert request.to_bytes().startswith(b"old 20852014\n")
        assert request.to_bytes().endswith(b"\n\n" + request.checkpoint)
        assert request.to_bytes().count(b"\n", 0, request.to_bytes().index(b"\n\n")) == len(proof)
        assert parse_add_checkpoint(request.to_bytes()) == request
    with pytest.raises(DataError):
        parse_add_checkpoint(AddCheckpoint(1, (*hashes, hashes[0]), proof_of(0).checkpoint).to_bytes())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"old 1\n",
        b"old 1\n\n",
        b"old 01\n\nx",
        b"old 1\nx\n\n",
        b"new 1\n\nx\n\n- x\n",
        b"\xff\n\n",
        bytes(70_000),
    ],
)
def test_malformed_requests_are_refused(data: bytes) -> None:
    """Nothing of it is guessed."""
    with pytest.raises(DataError):
        parse_add_checkpoint(data)


def test_a_known_size_is_a_number_and_a_newline() -> None:
    """And nothing else."""
    assert [parse_known_size(data) for data in (b"0\n", b"20852163\n")] == [0, 20852163]
    assert parse_known_size(b"9223372036854775807\n") == 2**63 - 1
    assert MAX_REQUEST_BYTES == 69_632
    with pytest.raises(DataError, match="a tree size and a newline"):
        parse_known_size(b"0" * 19 + b"1\n")
    for data in (
        b"",
        b"\n",
        b"1",
        b"01\n",
        b"-1\n",
        b"1\n\n",
        b" 1\n",
        b"9" * 30 + b"\n",
        b"1 \n",
        "١\n".encode(),
    ):
        with pytest.raises(DataError):
            parse_known_size(data)


def test_what_a_checkpoint_claims_can_be_read_before_it_is_believed() -> None:
    """Origin, size and root of an unverified note; anything else is refused as not verified."""
    data = proof_of(0).checkpoint
    assert claimed_checkpoint(data) == Checkpoint(ORIGIN, 9, TREE.root())
    assert claimed_size(data) == 9
    with pytest.raises(VerificationError):
        claimed_checkpoint(b"no note")
