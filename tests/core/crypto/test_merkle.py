"""RFC 6962 Merkle trees: published vectors, every small tree against the RFC's recursion, forgeries."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.crypto import merkle
from noren_core.errors import DataError, VerificationError

# The reference inputs, roots and proofs of the Certificate Transparency project's own tests
# (certificate-transparency and transparency-dev/merkle, Apache-2.0).
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (index, size) -> audit path
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
# (old size, new size) -> proof
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}

LEAVES = [merkle.leaf_hash(data) for data in INPUTS]
small_trees = st.integers(1, 70).map(lambda n: [merkle.leaf_hash(str(i).encode()) for i in range(n)])


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962 §2.1.1, word by word."""
    if len(leaves) == 1:
        return []
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: list[bytes], complete: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962 §2.1.2, word by word."""
    if m == len(leaves):
        return [] if complete else [naive_root(leaves)]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if m <= k:
        return [*naive_subproof(m, leaves[:k], complete), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], False), naive_root(leaves[:k])]


def test_published_roots() -> None:
    """The roots of the eight reference trees, and of the empty one, are the published ones."""
    assert merkle.root_hash([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for size, root in enumerate(ROOTS, start=1):
        assert merkle.root_hash(LEAVES[:size]).hex() == root


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_published_inclusion_proofs(index: int, size: int) -> None:
    """The published audit paths are produced and accepted."""
    proof = merkle.inclusion_proof(LEAVES[:size], index)
    assert [item.hex() for item in proof] == INCLUSION[index, size]
    merkle.verify_inclusion(LEAVES[index], index, size, proof, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_published_consistency_proofs(old: int, new: int) -> None:
    """The published consistency proofs are produced and accepted."""
    proof = merkle.consistency_proof(LEAVES[:new], old)
    assert [item.hex() for item in proof] == CONSISTENCY[old, new]
    merkle.verify_consistency(old, bytes.fromhex(ROOTS[old - 1]), new, bytes.fromhex(ROOTS[new - 1]), proof)


def test_rfc6962_structure_of_the_seven_leaf_example() -> None:
    """The proofs of the RFC's own seven-leaf example (§2.1.3) have the nodes that it names."""
    a, b, c, d, e, f, j = (merkle.leaf_hash(name.encode()) for name in "abcdefj")
    g, h, i = merkle.node_hash(a, b), merkle.node_hash(c, d), merkle.node_hash(e, f)
    k = merkle.node_hash(g, h)
    tree = merkle.MerkleTree([a, b, c, d, e, f, j])
    assert tree.root() == merkle.node_hash(k, merkle.node_hash(i, j))
    assert tree.inclusion_proof(0) == [b, h, merkle.node_hash(i, j)]
    assert tree.inclusion_proof(6) == [i, k]
    assert tree.consistency_proof(3) == [c, d, g, merkle.node_hash(i, j)]
    assert tree.consistency_proof(4) == [merkle.node_hash(i, j)]
    assert tree.consistency_proof(6) == [i, j, k]


def test_every_small_tree_agrees_with_the_recursion_of_the_rfc() -> None:
    """For all sizes to 20, cached roots and proofs equal the RFC's definitions and verify."""
    leaves = [merkle.leaf_hash(bytes([i])) for i in range(20)]
    tree = merkle.MerkleTree(leaves)
    for size in range(21):
        root = naive_root(leaves[:size])
        assert tree.root(size) == root
        for index in range(size):
            proof = tree.inclusion_proof(index, size)
            assert proof == naive_path(index, leaves[:size])
            merkle.verify_inclusion(leaves[index], index, size, proof, root)
        for old in range(size + 1):
            proof = tree.consistency_proof(old, size)
            assert proof == (naive_subproof(old, leaves[:size], True) if old else [])
            merkle.verify_consistency(old, naive_root(leaves[:old]), size, root, proof)


@settings(max_examples=60)
@given(st.lists(st.binary(min_size=32, max_size=32), max_size=200))
def test_a_root_in_one_pass_is_the_trees_root(leaves: list[bytes]) -> None:
    """Read once from an iterator, any number of leaves gives the RFC's root and the growing tree's."""
    assert merkle.root_hash(iter(leaves)) == naive_root_of_hashes(leaves) == merkle.MerkleTree(leaves).root()


def naive_root_of_hashes(leaves: list[bytes]) -> bytes:
    """The recursion of RFC 6962 §2.1, over hashes."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256().digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    halves = naive_root_of_hashes(leaves[:k]) + naive_root_of_hashes(leaves[k:])
    return hashlib.sha256(b"\1" + halves).digest()


def test_a_root_of_other_lengths_is_refused() -> None:
    """What is no hash of 32 bytes is no leaf."""
    with pytest.raises(DataError):
        merkle.root_hash([bytes(32), bytes(31)])


@settings(max_examples=40, deadline=None)
@given(leaves=small_trees, data=st.data())
def test_an_inclusion_proof_holds_for_its_own_place_only(leaves: list[bytes], data: st.DataObject) -> None:
    """A valid path is refused for another leaf, index, size or root, and with any hash changed."""
    size, root = len(leaves), merkle.root_hash(leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(leaves, index)
    merkle.verify_inclusion(leaves[index], index, size, proof, root)
    other = data.draw(st.integers(-1, size + 1).filter(lambda i: i != index))
    wrong: list[tuple[bytes, int, int, list[bytes], bytes]] = [
        (merkle.leaf_hash(b"another"), index, size, proof, root),
        (leaves[index], other, size, proof, root),
        (leaves[index], index, size, proof, merkle.leaf_hash(b"another")),
        (leaves[index], index, size, [*proof, root], root),
        (leaves[index], index, size, [item[:31] for item in [*proof, root]], root),
    ]
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        wrong.append((leaves[index], index, size, proof[:place] + proof[place + 1 :], root))
        wrong.append((leaves[index], index, size, [*proof[:place], root, *proof[place + 1 :]], root))
    for case in wrong:
        with pytest.raises(VerificationError):
            merkle.verify_inclusion(*case)


@settings(max_examples=40, deadline=None)
@given(leaves=small_trees, data=st.data())
def test_a_consistency_proof_is_refused_for_a_rewritten_log(leaves: list[bytes], data: st.DataObject) -> None:
    """Whoever changed, dropped or reordered an old entry has no proof from the old root."""
    old = data.draw(st.integers(1, len(leaves)))
    old_root = merkle.root_hash(leaves[:old])
    place = data.draw(st.integers(0, old - 1))
    rewritten = [*leaves[:place], merkle.leaf_hash(b"another"), *leaves[place + 1 :]]
    with pytest.raises(VerificationError):
        merkle.verify_consistency(
            old,
            old_root,
            len(rewritten),
            merkle.root_hash(rewritten),
            merkle.consistency_proof(rewritten, old),
        )


@settings(max_examples=40, deadline=None)
@given(leaves=small_trees, data=st.data())
def test_a_broken_consistency_proof_is_refused(leaves: list[bytes], data: st.DataObject) -> None:
    """A missing, additional or changed hash, and sizes that shrink, are refused."""
    old = data.draw(st.integers(1, len(leaves)))
    old_root, root = merkle.root_hash(leaves[:old]), merkle.root_hash(leaves)
    proof = merkle.consistency_proof(leaves, old)
    broken = [[*proof, root]]
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        broken.append(proof[:place] + proof[place + 1 :])
        broken.append([*proof[:place], merkle.leaf_hash(b"another"), *proof[place + 1 :]])
    for hashes in broken:
        with pytest.raises(VerificationError):
            merkle.verify_consistency(old, old_root, len(leaves), root, hashes)
    with pytest.raises(VerificationError):
        merkle.verify_consistency(len(leaves) + 1, old_root, len(leaves), root, proof)


def test_a_proof_has_the_length_that_the_sizes_demand() -> None:
    """Hashes that lead to the given root are refused if the tree of that size has another shape."""
    a, b, c, d = LEAVES[:4]
    left, right = merkle.node_hash(a, b), merkle.node_hash(c, d)
    root = merkle.node_hash(left, right)
    merkle.verify_inclusion(a, 0, 4, [b, right], root)
    for leaf, index, size, proof, claimed in (
        (a, 0, 4, [b], left),  # an inner node passed off as the root
        (a, 0, 2, [b, right], merkle.node_hash(right, left)),  # more levels than two leaves have
        (left, 0, 4, [right], root),  # an inner node passed off as a leaf
    ):
        with pytest.raises(VerificationError):
            merkle.verify_inclusion(leaf, index, size, proof, claimed)
    merkle.verify_consistency(2, left, 4, root, [right])
    x, three = merkle.leaf_hash(b"x"), merkle.root_hash(LEAVES[:3])
    longer = [*merkle.consistency_proof(LEAVES[:4], 3), x]
    for old, old_root, new, new_root, proof in (
        (2, left, 4, left, []),  # nothing appended, yet larger
        (3, merkle.node_hash(x, three), 4, merkle.node_hash(x, root), longer),
        (3, three, 4, root, []),
        (2, left[:31], 4, root, [right]),
        (2, left, 4, root, [right] * 70),
    ):
        with pytest.raises(VerificationError):
            merkle.verify_consistency(old, old_root, new, new_root, proof)


@pytest.mark.parametrize("length", [31, 33])
def test_hashes_of_other_lengths_are_refused_where_they_would_lead_to_the_root(length: int) -> None:
    """A hash that is cut or extended is no hash, even if the root was computed from it."""
    wrong, right = bytes(length), bytes(32)
    with pytest.raises(VerificationError, match="32 bytes"):
        merkle.verify_inclusion(wrong, 0, 2, [right], merkle.node_hash(wrong, right))
    with pytest.raises(VerificationError, match="32 bytes"):
        merkle.verify_consistency(2, wrong, 4, merkle.node_hash(wrong, right), [right])


def test_a_proof_has_at_most_64_hashes() -> None:
    """The longest path, that of 2^64 leaves, verifies; one hash more is refused before any is used."""
    leaf, siblings = bytes(32), [bytes([place]) * 32 for place in range(65)]
    roots = [leaf]
    for sibling in siblings:
        roots.append(merkle.node_hash(roots[-1], sibling))
    merkle.verify_inclusion(leaf, 0, 2**64, siblings[:64], roots[64])
    with pytest.raises(VerificationError, match="at most 64"):
        merkle.verify_inclusion(leaf, 0, 2**65, siblings, roots[65])


def test_there_is_nothing_before_the_first_entry() -> None:
    """A negative index or size is refused, also where the hashes would fit."""
    with pytest.raises(VerificationError):
        merkle.verify_inclusion(LEAVES[0], -1, 1, [], LEAVES[0])
    with pytest.raises(VerificationError):
        merkle.verify_consistency(-1, LEAVES[0], 1, LEAVES[0], [LEAVES[0]])


def test_two_roots_of_one_size_are_a_split_view() -> None:
    """Equal sizes with different roots, and an empty tree with another root, are refused."""
    with pytest.raises(VerificationError):
        merkle.verify_consistency(3, merkle.root_hash(LEAVES[:3]), 3, merkle.root_hash(LEAVES[1:4]), [])
    for no_root in (bytes(32), b"\xff" * 32):
        with pytest.raises(VerificationError):
            merkle.verify_consistency(0, no_root, 3, merkle.root_hash(LEAVES[:3]), [])
    merkle.verify_consistency(0, merkle.EMPTY_ROOT, 3, merkle.root_hash(LEAVES[:3]), [])


def test_a_proof_cannot_be_asked_for_outside_the_tree() -> None:
    """Indices, old sizes and sizes outside the tree, and leaves of another length, are bad data."""
    tree = merkle.MerkleTree(LEAVES)
    for call in (
        lambda: tree.inclusion_proof(8),
        lambda: tree.inclusion_proof(-1),
        lambda: tree.inclusion_proof(3, 3),
        lambda: tree.consistency_proof(9),
        lambda: tree.consistency_proof(-1),
        lambda: tree.root(9),
        lambda: tree.root(-1),
        lambda: tree.append(b"short"),
        lambda: tree.append(bytes(33)),
    ):
        with pytest.raises(DataError):
            call()
    assert tree.size == 8


def test_complete_subtrees_can_be_read_by_height() -> None:
    """Number i of height h is the root over leaves i 2^h to (i + 1) 2^h - 1; only complete ones exist."""
    hashes = [merkle.leaf_hash(bytes([number])) for number in range(13)]
    tree = merkle.MerkleTree(hashes)
    for height in range(6):
        count = 13 >> height
        expected = [merkle.root_hash(hashes[i << height : (i + 1) << height]) for i in range(count)]
        assert tree.subtree_hashes(height, 0, count) == expected
        assert tree.subtree_hashes(height, count // 2, count) == expected[count // 2 :]
        assert tree.subtree_hashes(height, 0, 0) == []
        for start, end in ((0, count + 1), (-1, count), (1, 0)):
            with pytest.raises(DataError):
                tree.subtree_hashes(height, start, end)
    assert merkle.MerkleTree().subtree_hashes(0, 0, 0) == []
