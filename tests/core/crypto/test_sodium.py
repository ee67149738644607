"""The libsodium binding: group laws, the refusals that guard C, and a helpful error where it is missing."""

import ctypes

import pytest

from noren_core.crypto import sodium
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError, DataError

ONE, TWO, THREE = (number.to_bytes(32, "little") for number in (1, 2, 3))


def test_group_and_scalar_laws():
    """Scalars and points obey the laws that the protocol relies on."""
    k, m, point = sodium.random_scalar(), sodium.random_scalar(), sodium.hash_to_point(bytes(range(64)))
    assert sodium.multiply(sodium.multiply_scalars(k, m), point) == sodium.multiply(
        k, sodium.multiply(m, point)
    )
    assert sodium.multiply(sodium.invert_scalar(k), sodium.multiply(k, point)) == point
    assert sodium.multiply_base(THREE) == sodium.add(sodium.multiply_base(TWO), sodium.multiply_base(ONE))
    assert sodium.subtract_scalars(THREE, TWO) == ONE
    assert sodium.reduce_scalar(k.reveal() + bytes(32)) == k.reveal()


def test_generator_multiples():
    """The first multiples of the generator are those of RFC 9496, appendix A.1."""
    assert [sodium.multiply_base(scalar).hex() for scalar in (ONE, TWO)] == [
        "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
        "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
    ]


BASE = sodium.multiply_base(ONE)
TOP_BIT = BASE[:31] + bytes([BASE[31] | 0x80])
# Cut by one byte, C would read it whole: Python puts a zero after the bytes.
ENDS_IN_ZERO = next(
    point for k in range(1, 5000) if (point := sodium.multiply_base(k.to_bytes(32, "little")))[31] == 0
)


@pytest.mark.parametrize("encoding", [bytes(32), b"", bytes(31), b"\xff" * 32, b"\x01" + bytes(31), TOP_BIT])
def test_invalid_points(encoding):
    """The identity, other lengths, values beyond the field, negative ones: not valid points."""
    assert not sodium.is_valid_point(encoding)


def test_an_element_has_one_encoding():
    """The top bit, which libsodium 1.0.18 does not look at, is refused wherever a point is taken."""
    for call in (
        lambda: sodium.multiply(ONE, TOP_BIT),
        lambda: sodium.add(TOP_BIT, BASE),
        lambda: sodium.add(BASE, TOP_BIT),
    ):
        with pytest.raises(DataError):
            call()


def test_a_scalar_has_one_encoding():
    """Numbers below the group order are canonical, as bytes and as a secret; the order and beyond are not."""
    order = 2**252 + 27742317777372353535851937790883648493
    for number, expected in ((0, True), (order - 1, True), (order, False), (2**256 - 1, False)):
        scalar = number.to_bytes(32, "little")
        assert sodium.is_canonical_scalar(scalar) is expected
        assert sodium.is_canonical_scalar(SecretBytes(scalar)) is expected
    for length in (0, 31, 33):
        assert not sodium.is_canonical_scalar(bytes(length))


@pytest.mark.parametrize(
    "call",
    [
        lambda: sodium.multiply(ONE[:31], sodium.multiply_base(ONE)),
        lambda: sodium.multiply(ONE, bytes(31)),
        lambda: sodium.hash_to_point(bytes(63)),
        lambda: sodium.reduce_scalar(bytes(32)),
        lambda: sodium.multiply_base(bytes(32)),
        lambda: sodium.invert_scalar(SecretBytes(bytes(32))),
        lambda: sodium.invert_scalar(SecretBytes(bytes(31))),
        lambda: sodium.multiply_scalars(ONE, ONE[:31]),
        lambda: sodium.subtract_scalars(ONE + b"\0", ONE),
        lambda: sodium.add(ENDS_IN_ZERO[:31], BASE),
        lambda: sodium.add(BASE, BASE + b"\0"),
        lambda: sodium.add(BASE, ONE),
        lambda: sodium.multiply(ONE, bytes(32)),
    ],
)
def test_refuses_before_or_instead_of_garbage(call):
    """A length that C would read past, or a result that is the identity, is an error and not a value."""
    with pytest.raises(DataError):
        call()


class OtherLibrary:
    """A libsodium that does not start, or lacks a function that we call."""

    def __init__(self, *, starts: bool) -> None:
        self.sodium_init = lambda: 0 if starts else -1
        self.crypto_core_ristretto255_add = None
        if not starts:
            for name, _, _ in sodium._SIGNATURES.values():
                setattr(self, name, None)


def test_every_name_of_the_library_is_tried(monkeypatch):
    """A name that is not there, a library that does not start and an old one are passed over."""
    libraries = {
        "libsodium.so": OtherLibrary(starts=True),
        "libsodium.dylib": (right := sodium.open_library()),
    }

    def found(name: str) -> object:
        if name not in libraries:
            raise OSError(name)
        return libraries[name]

    monkeypatch.setattr(ctypes, "CDLL", found)
    assert sodium.open_library() is right
    libraries["libsodium.so"] = OtherLibrary(starts=False)
    assert sodium.open_library() is right


def test_missing_library_names_the_command(monkeypatch):
    """Without libsodium the error says which one command installs it."""

    def no_library(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    with pytest.raises(ConfigurationError, match="apt-get install libsodium23"):
        sodium.open_library()
