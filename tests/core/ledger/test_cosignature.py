"""Cosignatures: the published framing, a quorum that counts witnesses, and no changed byte."""

from __future__ import annotations

import pytest

from noren_core.crypto.identity import SigningKey, verify_raw_signature
from noren_core.errors import DataError, NorenError, VerificationError
from noren_core.ledger.cosignature import (
    MAX_TIMESTAMP,
    CosignerKey,
    cosign,
    verify_cosignature,
    verify_quorum,
)
from noren_core.ledger.note import Note, NoteSignature, VerifierKey, parse_note, sign_note

# The example of the specification (https://c2sp.org/tlog-cosignature), which publishes no keys for it.
EXAMPLE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
EXAMPLE_TIME = 1679315147
EXAMPLE_MESSAGE = (
    b"cosignature/v1\ntime 1679315147\n"
    b"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
)

LOG, ONE, TWO = (SigningKey.from_bytes(bytes([number] * 32)) for number in (1, 2, 3))
FIRST = CosignerKey("witness.example/1", ONE.public_key)
SECOND = CosignerKey("witness.example/2", TWO.public_key)
TEXT = parse_note(EXAMPLE.encode()).text


def cosigned(*lines: NoteSignature) -> Note:
    note = parse_note(sign_note(TEXT, "example.com/behind-the-sofa", LOG))
    return parse_note(Note(note.text, (*note.signatures, *lines)).to_bytes())


def test_a_line_is_framed_as_the_specification_shows() -> None:
    """Key id, time in eight bytes, signature; over header, time and text. A note comes back byte for byte."""
    note = parse_note(EXAMPLE.encode())
    assert note.to_bytes() == EXAMPLE.encode()
    published = note.signatures[1]
    assert (published.name, published.key_id.hex()) == ("witness.example.com/w1", "8d66cf3f")
    ours = cosign(TEXT, "witness.example.com/w1", ONE, timestamp=EXAMPLE_TIME)
    assert ours.signature[:8] == published.signature[:8] == EXAMPLE_TIME.to_bytes(8, "big")
    assert len(ours.signature) == len(published.signature) == 72
    verify_raw_signature(ONE.public_key, EXAMPLE_MESSAGE, ours.signature[8:])


def test_a_cosignature_says_when() -> None:
    """It verifies under its key for every time of 63 bits; of several the newest is told."""
    assert MAX_TIMESTAMP == 2**63 - 1
    for timestamp in (0, 1, EXAMPLE_TIME, MAX_TIMESTAMP):
        note = cosigned(cosign(TEXT, FIRST.name, ONE, timestamp=timestamp))
        assert verify_cosignature(note, FIRST) == timestamp
    note = cosigned(*(cosign(TEXT, FIRST.name, ONE, timestamp=timestamp) for timestamp in (7, 9, 8)))
    assert verify_cosignature(note, FIRST) == 9
    for timestamp in (-1, MAX_TIMESTAMP + 1):
        with pytest.raises(ValueError, match="63 bits"):
            cosign(TEXT, FIRST.name, ONE, timestamp=timestamp)


def test_a_key_has_a_text_of_its_own_kind() -> None:
    """Cosigner keys and log keys are told apart by their algorithm, in text and in key id."""
    assert CosignerKey.from_text(FIRST.to_text()) == FIRST
    same = VerifierKey(FIRST.name, FIRST.public_key)
    assert same.key_id != FIRST.key_id
    for kind, other in ((CosignerKey, same), (VerifierKey, FIRST)):
        with pytest.raises(DataError):
            kind.from_text(other.to_text())


def test_a_logs_signature_is_no_cosignature_and_the_other_way_round() -> None:
    """The same key and name in the other role says nothing."""
    note = parse_note(sign_note(TEXT, FIRST.name, ONE))
    with pytest.raises(VerificationError):
        verify_cosignature(note, FIRST)
    note = cosigned(cosign(TEXT, FIRST.name, ONE, timestamp=1))
    with pytest.raises(VerificationError):
        note.verify(VerifierKey(FIRST.name, ONE.public_key))


def test_no_byte_of_a_cosignature_can_change() -> None:
    """Any flipped bit in a witness's line is malformed, not its line any more, or does not verify."""
    data = cosigned(cosign(TEXT, FIRST.name, ONE, timestamp=EXAMPLE_TIME)).to_bytes()
    start = data.index("— witness".encode())
    for place in range(start, len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(NorenError):
            verify_cosignature(parse_note(bytes(changed)), FIRST)


def test_a_time_beyond_63_bits_is_refused_though_signed() -> None:
    """The specification forbids it, whoever signed it."""
    time = 1 << 63
    signature = ONE.sign_raw(f"cosignature/v1\ntime {time}\n{TEXT}".encode())
    note = cosigned(NoteSignature(FIRST.name, FIRST.key_id, time.to_bytes(8, "big") + signature))
    with pytest.raises(VerificationError):
        verify_cosignature(note, FIRST)


def test_a_quorum_counts_witnesses_that_were_named() -> None:
    """Enough named witnesses suffice; strangers, repetitions and second names of one key do not count."""
    lines = [cosign(TEXT, key.name, signer, timestamp=5) for key, signer in ((FIRST, ONE), (SECOND, TWO))]
    verify_quorum(cosigned(*lines), [FIRST, SECOND], 2)
    verify_quorum(cosigned(lines[1]), [FIRST, SECOND], 1)
    verify_quorum(cosigned(), [], 0)
    alias = CosignerKey("witness.example/alias", ONE.public_key)
    again = cosign(TEXT, alias.name, ONE, timestamp=6)
    for present, named, quorum in (
        ((lines[0],), [FIRST, SECOND], 2),
        ((lines[0], lines[0]), [FIRST, SECOND], 2),
        ((lines[0], again), [FIRST, alias], 2),
        ((lines[0], lines[1]), [FIRST], 2),
        ((), [FIRST], 1),
    ):
        with pytest.raises(VerificationError) as caught:
            verify_quorum(cosigned(*present), named, quorum)
        assert caught.value.code == "WITNESS_QUORUM"


def test_a_false_line_of_a_named_witness_is_not_passed_over() -> None:
    """Beside enough good ones, a line in a named witness's name that does not verify refuses the note."""
    good = cosign(TEXT, FIRST.name, ONE, timestamp=5)
    false = NoteSignature(SECOND.name, SECOND.key_id, bytes(72))
    verify_quorum(cosigned(good, false), [FIRST], 1)
    with pytest.raises(VerificationError):
        verify_quorum(cosigned(good, false), [FIRST, SECOND], 1)
