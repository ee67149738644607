"""Secrets at rest: the exact format, and everything that is refused."""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core import canonical_json
from noren_core.crypto import vault as module
from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.vault import Vault, VaultHeader, VaultState, parse_passphrase
from noren_core.errors import ConfigurationError, DataError, NorenError, VerificationError

VECTORS = Path(__file__).parents[2] / "vectors" / "vault_v1.json"
PASSPHRASE = b"correct horse battery staple"
NAME = "keys/signing.key"
SECRET = bytes(range(32))


# The reference: libsodium's Argon2id and ChaCha20-Poly1305, HKDF spelled out, none of the code under test.


def reference_vectors() -> dict[str, Any]:
    """A header and a sealed file from fixed randomness, as docs/protocol.md §0.2 describes them."""
    master, salt = hashlib.sha256(b"master").digest(), hashlib.sha256(b"salt").digest()[:16]
    nonce, file_nonce = (hashlib.sha256(label).digest()[:12] for label in (b"nonce", b"file nonce"))
    body: dict[str, Any] = {
        "format": "noren-vault-v1",
        "iterations": 3,
        "kdf": "argon2id",
        "lanes": 1,
        "memory_kib": 65536,
        "salt": salt.hex(),
        "state": "sealed",
    }
    wrapping = argon2id(PASSPHRASE, salt, iterations=3, memory_bytes=65536 << 10)
    body["wrapped_key"] = seal(wrapping, nonce, master, b"noren/v1/vault-key\0" + as_json(body)).hex()
    body["nonce"] = nonce.hex()
    body["checksum"] = hashlib.sha256(b"noren/v1/vault-header\0" + as_json(body)).hexdigest()
    file_key = hkdf(master, b"noren/v1/vault-file-key\0" + NAME.encode())
    sealed = seal(file_key, file_nonce, SECRET, b"noren/v1/vault-file\0" + NAME.encode())
    return {
        "passphrase": PASSPHRASE.decode(),
        "master_key": master.hex(),
        "header": as_json(body).decode(),
        "name": NAME,
        "secret": SECRET.hex(),
        "sealed": (b"noren-sealed-v1\n" + file_nonce + sealed).hex(),
    }


def as_json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def sodium() -> ctypes.CDLL:
    return ctypes.CDLL("libsodium.so.23")


def argon2id(passphrase: bytes, salt: bytes, *, iterations: int, memory_bytes: int) -> bytes:
    out = ctypes.create_string_buffer(32)
    size, work = ctypes.c_ulonglong, (ctypes.c_ulonglong(iterations), ctypes.c_size_t(memory_bytes))
    status = sodium().crypto_pwhash(out, size(32), passphrase, size(len(passphrase)), salt, *work, 2)
    assert status == 0
    return out.raw


def hkdf(key: bytes, info: bytes) -> bytes:
    extracted = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def seal(key: bytes, nonce: bytes, plaintext: bytes, data: bytes) -> bytes:
    out, size = ctypes.create_string_buffer(len(plaintext) + 16), ctypes.c_ulonglong
    inputs = (plaintext, size(len(plaintext)), data, size(len(data)), None, nonce, key)
    assert sodium().crypto_aead_chacha20poly1305_ietf_encrypt(out, None, *inputs) == 0
    return out.raw


@pytest.fixture(scope="module")
def vectors() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(VECTORS.read_text())
    return found


@pytest.fixture(scope="module")
def vault(vectors: dict[str, Any]) -> Vault:
    """The vault of the vectors."""
    return Vault.open(SecretBytes(PASSPHRASE), vectors["header"].encode())


def test_the_reference_agrees_with_the_frozen_file(vectors: dict[str, Any]) -> None:
    """The file is what the format says, not what the code happens to do."""
    assert reference_vectors() == vectors


def test_what_was_sealed_by_the_reference_opens(vault: Vault, vectors: dict[str, Any]) -> None:
    """Header and file are read exactly as specified."""
    assert vault.open_secret(NAME, bytes.fromhex(vectors["sealed"])).reveal() == SECRET


def test_the_same_randomness_gives_the_same_bytes(
    vectors: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Header and file are written exactly as specified."""
    header = json.loads(vectors["header"])
    nonce = vectors["sealed"][32:56]
    drawn: Iterator[str] = iter([vectors["master_key"], header["nonce"], header["salt"], nonce])
    monkeypatch.setattr(module.secrets, "token_bytes", lambda _: bytes.fromhex(next(drawn)))
    made = Vault.create()
    assert made.header(SecretBytes(PASSPHRASE), VaultState.SEALED) == vectors["header"].encode()
    assert made.seal(NAME, SECRET).hex() == vectors["sealed"]


def test_sealing_twice_gives_other_bytes(vault: Vault) -> None:
    """Nonces are fresh: nothing tells whether a secret changed."""
    assert vault.seal(NAME, SECRET) != vault.seal(NAME, SECRET)


@pytest.mark.parametrize("size", [0, 1, 32, 100_000])
def test_any_length_comes_back(vault: Vault, size: int) -> None:
    """Also none at all, and much."""
    assert vault.open_secret("a", vault.seal("a", b"x" * size)).reveal() == b"x" * size


def claiming(length: int, data: bytes) -> bytes:
    """Bytes that say they are longer, since the largest files would take gigabytes here."""
    return type("Claiming", (bytes,), {"__len__": lambda _: length})(data)


def test_what_would_take_too_much_memory_is_refused(vault: Vault) -> None:
    """A secret has at most 256 MiB, a sealed file 44 bytes more."""
    most, sealed = 256 * 2**20, vault.seal("a", b"x")
    assert vault.open_secret("a", vault.seal("a", claiming(most, b"x"))).reveal() == b"x"
    assert vault.open_secret("a", claiming(most + 44, sealed)).reveal() == b"x"
    with pytest.raises(DataError):
        vault.seal("a", claiming(most + 1, b"x"))
    with pytest.raises(VerificationError):
        vault.open_secret("a", claiming(most + 45, sealed))


def test_a_library_without_argon2id_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what is missing."""

    def unsupported(**_: Any) -> None:
        raise UnsupportedAlgorithm("argon2id")

    monkeypatch.setattr(module, "Argon2id", unsupported)
    with pytest.raises(ConfigurationError, match="Argon2id"):
        Vault.create().header(SecretBytes(PASSPHRASE), VaultState.SEALED)


def test_a_wrong_passphrase_is_told_as_such(vectors: dict[str, Any]) -> None:
    """One code for it, and no talk of damage."""
    for wrong in (PASSPHRASE + b" ", PASSPHRASE[:-1], PASSPHRASE.upper()):
        with pytest.raises(ConfigurationError) as caught:
            Vault.open(SecretBytes(wrong), vectors["header"].encode())
        assert caught.value.code == "WRONG_PASSPHRASE"
        assert wrong.decode() not in caught.value.message


def test_files_cannot_be_swapped(vault: Vault) -> None:
    """A file opens under its own name only, and in its own directory only."""
    sealed = vault.seal("keys/a.key", SECRET)
    for opener, name in ((vault, "keys/b.key"), (Vault.create(), "keys/a.key")):
        with pytest.raises(VerificationError):
            opener.open_secret(name, sealed)


def test_every_flipped_byte_of_a_sealed_file_is_noticed(vault: Vault) -> None:
    """Wherever it is: magic, nonce, ciphertext or tag."""
    sealed = vault.seal(NAME, SECRET)
    for place in range(len(sealed)):
        with pytest.raises(VerificationError):
            vault.open_secret(NAME, sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :])


@settings(max_examples=100)
@given(st.binary(max_size=200), st.integers(0, 200), st.booleans())
def test_no_bytes_open_by_chance(junk: bytes, cut: int, is_marked: bool) -> None:
    """Truncated, extended and foreign files are refused by our own error."""
    vault = Vault.create()
    sealed = vault.seal(NAME, SECRET)
    for data in (sealed[:cut], sealed + junk, (module.SEALED_MAGIC if is_marked else b"") + junk):
        if data != sealed:
            with pytest.raises(VerificationError):
                vault.open_secret(NAME, data)


def test_every_flipped_byte_of_a_header_is_noticed_without_the_passphrase(vectors: dict[str, Any]) -> None:
    """A damaged header is told apart from a wrong passphrase, before anything is derived."""
    header = vectors["header"].encode()
    for place in range(len(header)):
        with pytest.raises(DataError):
            VaultHeader.parse(header[:place] + bytes([header[place] ^ 1]) + header[place + 1 :])
    for cut in range(len(header)):
        with pytest.raises(DataError):
            VaultHeader.parse(header[:cut])


def with_checksum(header: str, **changes: Any) -> bytes:
    """A header that somebody made on purpose: the checksum is right."""
    body = {key: value for key, value in {**json.loads(header), **changes}.items() if value is not None}
    body.pop("checksum", None)
    body["checksum"] = module._checksum(body)
    return canonical_json.encode(body)


@pytest.mark.parametrize(
    "changes",
    [
        {"memory_kib": 65535},
        {"memory_kib": 262145},
        {"memory_kib": 2**32},
        {"memory_kib": 0},
        {"memory_kib": -65536},
        {"memory_kib": "65536"},
        {"memory_kib": True},
        {"iterations": 2},
        {"iterations": 17},
        {"iterations": True},
        {"lanes": 0},
        {"lanes": 2},
        {"lanes": 2**24},
        {"salt": "00" * 15},
        {"salt": "00" * 17},
        {"salt": "0G" * 16},
        {"salt": "AA" * 16},
        {"salt": 0},
        {"nonce": "00" * 11},
        {"nonce": "00" * 13},
        {"wrapped_key": "00" * 47},
        {"wrapped_key": "00" * 49},
        {"wrapped_key": ["00"]},
        {"state": "open"},
        {"state": ["sealed"]},
        {"kdf": "scrypt"},
        {"format": "noren-vault-v2"},
        {"comment": "hello"},
        {"salt": None},
    ],
    ids=str,
)
def test_hostile_parameters_are_refused_before_they_are_used(
    vectors: dict[str, Any], changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No header makes the derivation cheap, or costs memory and time without bound."""
    monkeypatch.setattr(module, "Argon2id", None)
    with pytest.raises(DataError):
        Vault.open(SecretBytes(PASSPHRASE), with_checksum(vectors["header"], **changes))


def test_the_most_that_a_header_may_ask_for(vectors: dict[str, Any]) -> None:
    """256 MiB and sixteen passes are within the bounds; what is longer than 1 KiB is not even parsed."""
    parsed = VaultHeader.parse(with_checksum(vectors["header"], memory_kib=262144, iterations=16))
    assert (parsed.memory_kib, parsed.iterations, parsed.lanes) == (262144, 16, 1)
    with pytest.raises(DataError, match="at most 1024 bytes, got 1025"):
        VaultHeader.parse(b"x" * 1025)
    with pytest.raises(DataError, match="canonical"):
        VaultHeader.parse(b"x" * 1024)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_master_key_has_32_bytes(size: int) -> None:
    """Nothing else makes a vault."""
    with pytest.raises(DataError, match=f"32 bytes, got {size}"):
        Vault(SecretBytes(bytes(size)))


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "converting"},
        {"memory_kib": 65537},
        {"iterations": 4},
        {"nonce": "00" * 12},
        {"salt": "00" * 16},
    ],
    ids=str,
)
def test_what_a_header_says_is_bound_to_the_key(vectors: dict[str, Any], changes: dict[str, Any]) -> None:
    """Without the passphrase nobody turns a sealed directory into one under conversion."""
    with pytest.raises(ConfigurationError) as caught:
        Vault.open(SecretBytes(PASSPHRASE), with_checksum(vectors["header"], **changes))
    assert caught.value.code == "WRONG_PASSPHRASE"


@settings(max_examples=100)
@given(
    st.recursive(
        st.integers() | st.text() | st.booleans(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
    | st.binary(max_size=60)
)
def test_no_header_raises_anything_but_our_errors(value: Any) -> None:
    """Whatever the file holds, as JSON or not, and whatever stands in place of a field."""
    header = json.loads(VECTORS.read_text())["header"]
    files = [value] if isinstance(value, bytes) else [json.dumps(value).encode()]
    if not isinstance(value, bytes):
        for field in json.loads(header):
            try:
                files.append(with_checksum(header, **{field: value}))
            except DataError:  # not canonical JSON at all
                continue
    for data in files:
        with suppress(NorenError):
            VaultHeader.parse(data)


def test_a_passphrase_that_is_too_short_is_refused() -> None:
    """Eleven bytes are, twelve are not."""
    made = Vault.create()
    with pytest.raises(ConfigurationError) as caught:
        made.header(SecretBytes(b"x" * 11), VaultState.SEALED)
    assert caught.value.code == "PASSPHRASE_TOO_SHORT"
    made.header(SecretBytes(b"x" * 12), VaultState.SEALED)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_one_line_end_is_not_part_of_a_passphrase(end: bytes) -> None:
    """A file made by an editor and one made without are the same; other spaces count."""
    assert parse_passphrase(b" correct horse " + end).reveal() == b" correct horse "
    for length in (1, 1024):
        assert parse_passphrase(b"x" * length + end).reveal() == b"x" * length


@pytest.mark.parametrize("text", [b"", b"\n", b"one\ntwo", b"one\n\n", b"a\0b", b"x" * 1025])
def test_a_file_without_a_passphrase_is_refused(text: bytes) -> None:
    """Empty, several lines, zero bytes, a key file by mistake."""
    with pytest.raises(ConfigurationError):
        parse_passphrase(text)


def test_names_are_bounded(vault: Vault) -> None:
    """A name is text of 1 to 512 bytes."""
    for name in ("", "x" * 513, "é" * 257):
        with pytest.raises(DataError):
            vault.seal(name, SECRET)
    for name in ("x", "x" * 512):
        assert vault.open_secret(name, vault.seal(name, SECRET)).reveal() == SECRET


def test_a_wiped_vault_opens_nothing(vectors: dict[str, Any]) -> None:
    """The master key is gone."""
    opened = Vault.open(SecretBytes(PASSPHRASE), vectors["header"].encode())
    opened.wipe()
    with pytest.raises(VerificationError):
        opened.open_secret(NAME, bytes.fromhex(vectors["sealed"]))


def test_a_new_header_opens_the_same_vault(vault: Vault) -> None:
    """Under another passphrase, with other parameters drawn; the old passphrase does not open it."""
    header = vault.header(SecretBytes(b"another passphrase"), VaultState.CONVERTING)
    sealed = vault.seal(NAME, SECRET)
    assert Vault.open(SecretBytes(b"another passphrase"), header).open_secret(NAME, sealed).reveal() == SECRET
    assert VaultHeader.parse(header).state is VaultState.CONVERTING
    with pytest.raises(ConfigurationError):
        Vault.open(SecretBytes(PASSPHRASE), header)
