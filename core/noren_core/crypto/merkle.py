"""Merkle trees as RFC 6962 defines them: roots, inclusion proofs and consistency proofs.

A proof says that an entry is in the log, or that a log only grew. Leaves and inner nodes are hashed
under different prefixes, so one never passes for the other, and every verifier needs the tree sizes:
without them a proof of another shape could be accepted (RFC 9162 §2.1.3.2). The verifiers raise
VerificationError; they return nothing that could be ignored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from noren_core.errors import DataError, VerificationError

HASH_BYTES = 32
MAX_PROOF_HASHES = 64
"""Longer proofs are refused unread: 2^64 entries is beyond any tree size that we accept."""

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of one entry: SHA-256(0x00 ‖ data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """A growing tree that keeps the hash of every complete subtree.

    Appending costs one hash on average; a root or a proof for any size that the tree has had costs
    O(log² n) list look-ups and O(log n) hashes.
    """

    def __init__(self, leaf_hashes: Sequence[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaf_hashes:
            self.append(leaf)

    @property
    def size(self) -> int:
        """The number of leaves."""
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash at the end."""
        _check_leaf(leaf)
        self._levels[0].append(leaf)
        height, count = 0, self.size
        while count % 2 == 0:
            if height + 1 == len(self._levels):
                self._levels.append([])
            left, right = self._levels[height][-2:]
            self._levels[height + 1].append(node_hash(left, right))
            height, count = height + 1, count // 2

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` leaves (all of them if not given)."""
        size = self._check_size(size)
        return self._subtree(0, size) if size else EMPTY_ROOT

    def subtree_hashes(self, height: int, start: int, end: int) -> list[bytes]:
        """The hashes of the complete subtrees of 2^height leaves, number `start` up to before `end`."""
        level = self._levels[height] if height < len(self._levels) else []
        if not 0 <= start <= end <= len(level):
            raise DataError(f"merkle tree: expected at most {len(level)} subtrees of this height, got {end}")
        return level[start:end]

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """The audit path of leaf `index` in the tree of the first `size` leaves (RFC 6962 §2.1.1)."""
        size = self._check_size(size)
        if not 0 <= index < size:
            raise DataError(f"merkle tree: expected an index below the size {size}, got {index}")
        proof: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                proof.append(self._subtree(middle, end))
                end = middle
            else:
                proof.append(self._subtree(start, middle))
                start = middle
        return proof[::-1]

    def consistency_proof(self, old_size: int, size: int | None = None) -> list[bytes]:
        """The proof that the tree of `size` leaves extends that of `old_size` (RFC 6962 §2.1.2).

        Empty when there is nothing to prove: `old_size` is 0 or equals `size`.
        """
        size = self._check_size(size)
        if not 0 <= old_size <= size:
            raise DataError(f"merkle tree: expected an old size of at most {size}, got {old_size}")
        if old_size == 0:
            return []
        proof: list[bytes] = []
        start, end = 0, size
        while end != old_size:
            middle = start + _split(end - start)
            if old_size <= middle:
                proof.append(self._subtree(middle, end))
                end = middle
            else:
                proof.append(self._subtree(start, middle))
                start = middle
        if start:  # a left edge is the old root itself, or a node of its path: the verifier has it
            proof.append(self._subtree(start, end))
        return proof[::-1]

    def _check_size(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise DataError(f"merkle tree: expected a size of at most {self.size}, got {size}")
        return size

    def _subtree(self, start: int, end: int) -> bytes:
        """The hash over leaves start ≤ i < end, of a range that the RFC's recursion visits."""
        count = end - start
        if count & (count - 1) == 0:
            height = count.bit_length() - 1
            return self._levels[height][start >> height]
        middle = start + _split(count)
        return node_hash(self._subtree(start, middle), self._subtree(middle, end))


def _check_leaf(leaf: bytes) -> None:
    if len(leaf) != HASH_BYTES:
        raise DataError(f"merkle tree: expected leaf hashes of {HASH_BYTES} bytes, got {len(leaf)}")


def _split(count: int) -> int:
    """The largest power of two smaller than `count` (count ≥ 2)."""
    return 1 << ((count - 1).bit_length() - 1)


def root_hash(leaf_hashes: Iterable[bytes]) -> bytes:
    """The root over `leaf_hashes`, read once; SHA-256 of nothing for an empty tree.

    Keeps one hash per level: the roots of the complete subtrees so far, largest first. The binary digits of
    the number of leaves say how large they are.
    """
    peaks: list[bytes] = []
    for count, leaf in enumerate(leaf_hashes):
        _check_leaf(leaf)
        node = leaf
        for _ in range((count ^ (count + 1)).bit_length() - 1):  # once for each trailing one of count
            node = node_hash(peaks.pop(), node)
        peaks.append(node)
    if not peaks:
        return EMPTY_ROOT
    root = peaks.pop()
    while peaks:
        root = node_hash(peaks.pop(), root)
    return root


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf `index`, from the leaf upwards."""
    return MerkleTree(leaf_hashes).inclusion_proof(index)


def consistency_proof(leaf_hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """The proof that the tree over `leaf_hashes` extends the tree over the first `old_size` of them."""
    return MerkleTree(leaf_hashes).consistency_proof(old_size)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise VerificationError unless `proof` leads from leaf hash `leaf` at `index` to `root`.

    1. The index lies in the tree and every hash has 32 bytes.
    2. Fold the path into a root; its sides follow from index and size alone (RFC 9162 §2.1.3.2).
    3. The path has exactly the length that the size demands.
    4. The result is the expected root. Whether that root is to be believed is left to the caller.
    """
    # 1
    if not 0 <= index < size:
        raise VerificationError("inclusion proof: expected an index below the tree size, got another")
    _check_hashes([leaf, root, *proof])
    # 2
    node, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise VerificationError("inclusion proof: expected a shorter path for this tree size")
        if node % 2 or node == last:
            result = node_hash(sibling, result)
            while node and node % 2 == 0:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        node, last = node >> 1, last >> 1
    # 3
    if last:
        raise VerificationError("inclusion proof: expected a longer path for this tree size")
    # 4
    if result != root:
        raise VerificationError("inclusion proof: the path does not lead to the root")


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise VerificationError unless `proof` shows that the new tree begins with the old one.

    1. The sizes do not shrink and every hash has 32 bytes.
    2. Trees of equal size have equal roots, an empty one has the empty root; nothing is to be proved.
    3. Fold the proof into both roots; its sides follow from the sizes alone (RFC 9162 §2.1.4.2).
    4. The proof has exactly the length that the sizes demand.
    5. Both results are the expected roots. Whether those are to be believed is left to the caller.
    """
    # 1
    if not 0 <= old_size <= new_size:
        raise VerificationError("consistency proof: expected a log that grows, got a smaller one")
    _check_hashes([old_root, new_root, *proof])
    # 2
    if old_size in (0, new_size):
        expected = old_root if old_size else EMPTY_ROOT
        if proof or old_root != expected or (old_size == new_size and old_root != new_root):
            raise VerificationError("consistency proof: two roots of one size, or hashes that prove nothing")
        return
    # 3
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not path:
        raise VerificationError("consistency proof: expected hashes, got none")
    node, last = old_size - 1, new_size - 1
    while node % 2:
        node, last = node >> 1, last >> 1
    old_result = new_result = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise VerificationError("consistency proof: expected fewer hashes for these sizes")
        if node % 2 or node == last:
            old_result, new_result = node_hash(sibling, old_result), node_hash(sibling, new_result)
            while node and node % 2 == 0:
                node, last = node >> 1, last >> 1
        else:
            new_result = node_hash(new_result, sibling)
        node, last = node >> 1, last >> 1
    # 4
    if last:
        raise VerificationError("consistency proof: expected more hashes for these sizes")
    # 5
    if old_result != old_root or new_result != new_root:
        raise VerificationError("consistency proof: the hashes do not lead from the old root to the new one")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if len(hashes) > MAX_PROOF_HASHES + 2 or any(len(item) != HASH_BYTES for item in hashes):
        raise VerificationError(
            f"merkle proof: expected at most {MAX_PROOF_HASHES} hashes of {HASH_BYTES} bytes"
        )
