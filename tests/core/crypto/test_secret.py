"""Nothing that is a secret shows itself, and what can be overwritten is."""

from __future__ import annotations

import copy
import importlib
import pickle
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import noren_client
import noren_core
import noren_server
from noren_core.crypto.head_encryption import HeadSecret
from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.crypto.oprf import OprfPrivateKey
from noren_core.crypto.secret import Secret, SecretBytes
from noren_core.crypto.vault import Vault
from noren_core.privacy.discrete_gaussian import NoiseStream
from noren_core.season.cohort_key import CohortKey
from noren_server.certificates import CertificateAuthority

RAW = b"\x11" * 31 + b"\x01"  # a private key of every kind
SECRETS: dict[str, Callable[[], Any]] = {
    "SecretBytes": lambda: SecretBytes(RAW),
    "memory": lambda: SecretBytes(RAW).buffer,
    "SigningKey": lambda: SigningKey.from_bytes(RAW),
    "SealingKey": lambda: SealingKey.from_bytes(RAW),
    "OprfPrivateKey": lambda: OprfPrivateKey.from_bytes(RAW),
    "HeadSecret": lambda: HeadSecret.from_bytes(RAW),
    "CohortKey": lambda: CohortKey(SecretBytes(RAW), session=bytes(32)),
    "NoiseStream": lambda: NoiseStream(RAW),
    "Vault": lambda: Vault(SecretBytes(RAW)),
    "CertificateAuthority": lambda: CertificateAuthority.create(name="jobs", now=datetime.now(UTC)),
}


def subclasses(cls: type[Secret] = Secret) -> Iterator[type[Secret]]:
    for found in cls.__subclasses__():
        yield found
        yield from subclasses(found)


def import_all_that_define_secrets() -> None:
    for package in (noren_core, noren_client, noren_server):
        for source in Path(package.__path__[0]).rglob("*.py"):
            if "Secret)" in source.read_text():
                place = source.relative_to(Path(package.__path__[0]).parent).with_suffix("")
                importlib.import_module(".".join(place.parts))


def test_every_secret_type_is_redacted_and_stays_in_this_process() -> None:
    """No subclass, present or future, replaces the redaction or the refusal to be pickled or copied."""
    import_all_that_define_secrets()
    found = set(subclasses())
    assert {"SigningKey", "Vault", "HeadSecret", "CohortKey", "NoiseStream"} <= {c.__name__ for c in found}
    for cls in found:
        for method in ("__repr__", "__str__", "__format__", "__reduce_ex__"):
            assert getattr(cls, method) is getattr(Secret, method), (cls, method)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_does_not_show_itself(name: str) -> None:
    """Neither alone, nor inside a container or an f-string, nor to a tool that prints the fields it finds."""
    secret = SECRETS[name]()
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>60}", repr([secret]), str({1: secret})]
    assert all("redacted" in text for text in shown)
    slots = [slot for cls in type(secret).__mro__ for slot in getattr(cls, "__slots__", ())]
    fields = {slot: getattr(secret, slot) for slot in slots} | getattr(secret, "__dict__", {})
    for text in (*shown, repr(fields)):
        assert "\\x11" not in text
        assert RAW.hex() not in text


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_not_copied(name: str) -> None:
    """Pickling and both ways of copying are refused."""
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="secret"):
            copied(SECRETS[name]())


def test_wiped_bytes_are_gone() -> None:
    """Wiping leaves zeros of the same length."""
    secret = SecretBytes(b"0123")
    secret.wipe()
    assert secret.reveal() == bytes(4)


def test_memory_is_overwritten_with_its_last_reference() -> None:
    """Not before: a buffer outlives the object it came from; afterwards a view of it sees zeros."""
    buffer = SecretBytes(b"0123").buffer
    assert bytes(buffer) == b"0123"
    view = memoryview(buffer)
    buffer.__del__()  # type: ignore[attr-defined]  # the view keeps it from being collected
    assert bytes(view) == bytes(4)


def test_equal_secrets_are_equal_and_have_no_hash() -> None:
    """Comparison is by content; a secret is no key of a dictionary."""
    assert SecretBytes(b"a") == SecretBytes(b"a")
    assert SecretBytes(b"a") != SecretBytes(b"b")
    assert SecretBytes(b"a") != b"a"
    with pytest.raises(TypeError):
        hash(SecretBytes(b"a"))
