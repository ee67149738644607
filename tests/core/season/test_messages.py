import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_core.crypto.identity import SigningKey
from noren_core.errors import RemoteProtocolError, VerificationError
from noren_core.ledger.proofs import EntryProof, LedgerProof
from noren_core.season import messages as m
from noren_core.season.round_consents import RoundConsents
from noren_core.secagg.messages import Advertisement, PeerShare, Unmasking
from noren_core.wire.v1 import training_pb2 as wire

ADVERTISEMENT = Advertisement(b"k" * 32, (b"1" * 32, b"2" * 32), (b"3" * 32, b"4" * 32), b"c" * 32, b"s" * 64)
AGGREGATE = m.Aggregate(1, ("a", "b"), np.array([1, -(2**62)], dtype=np.int64))
KEY = SigningKey.generate()
PROOF = LedgerProof(b"note", (b"h" * 32,), (EntryProof(7, b"{}", (b"i" * 32,)),))

CONSENTS = RoundConsents(b"list", b"s" * 64, b"r" * 32)

REQUESTS = [
    m.AdvertiseRequest("spring"),
    m.ShareRequest("spring", {"a": ADVERTISEMENT}),
    m.MaskedInputRequest("spring", 2, PROOF, {"a": b"sealed"}, (AGGREGATE,), CONSENTS),
    m.UnmaskRequest("spring", 2, ("a", "b"), {"a": b"x" * 64}),
    m.FinishRequest("spring", (AGGREGATE,), {"a": b"sealed"}, {"b": b"y" * 64}),
]
REPLIES = [
    m.AdvertiseReply(ADVERTISEMENT, b"commitment"),
    m.ShareReply({"a": b"1"}, b"intent"),
    m.MaskedInputReply(np.array([2**64 - 1, 0], dtype=np.uint64), (b"settle",), b"z" * 64),
    m.UnmaskReply(Unmasking((PeerShare("a", True, b"x" * 66),), b"s" * 64), b"intent"),
    m.FinishReply((b"settle",)),
]


def _equal(one, two):
    if isinstance(one, np.ndarray):
        return np.array_equal(one, two)
    if isinstance(one, tuple):
        return len(one) == len(two) and all(map(_equal, one, two))
    slots = getattr(type(one), "__dataclass_fields__", None)
    if slots is None:
        return one == two
    return type(one) is type(two) and all(_equal(getattr(one, n), getattr(two, n)) for n in slots)


@pytest.mark.parametrize("request_value", REQUESTS, ids=lambda r: type(r).__name__)
def test_requests_survive_the_wire(request_value):
    """What a company parses is what the platform said."""
    assert _equal(m.parse_request(m.encode_request(request_value)), request_value)


@pytest.mark.parametrize("reply", REPLIES, ids=lambda r: type(r).__name__)
def test_answers_survive_the_wire(reply):
    """What the platform parses is what a company said and signed."""
    signed = m.sign_answer(m.Answer(reply, 42), company="a", request=b"asked", key=KEY)
    opened = m.open_answer(signed, company="a", request=b"asked", public_key=KEY.public_key)
    assert _equal(opened, m.Answer(reply, 42))


@pytest.mark.parametrize(
    "other",
    [
        {"company": "b"},
        {"request": b"asked something else"},
        {"public_key": SigningKey.generate().public_key},
    ],
    ids=["company", "request", "key"],
)
def test_an_answer_is_good_for_one_company_and_request(other):
    """Nobody answers in another's name, and an answer cannot be replayed to another request."""
    signed = m.sign_answer(m.Answer(m.FinishReply(()), 1), company="a", request=b"asked", key=KEY)
    with pytest.raises(VerificationError):
        m.open_answer(signed, **({"company": "a", "request": b"asked", "public_key": KEY.public_key} | other))


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\xff\xff\xff",
        m.encode_request(m.UnmaskRequest("Not A Name", 1, (), {})),
        m.encode_request(m.UnmaskRequest("spring", 0, (), {})),
        m.encode_request(m.UnmaskRequest("spring", 101, (), {})),
        m.encode_request(m.UnmaskRequest("spring", 1, tuple(f"c{i}" for i in range(201)), {})),
        m.encode_request(
            m.FinishRequest("spring", (m.Aggregate(1, ("a",), np.zeros(200, dtype=np.int64)),), {}, {})
        ),
        m.encode_request(
            m.FinishRequest("spring", (), dict.fromkeys((f"c{i}" for i in range(201)), b""), {})
        ),
        b"\x00" * (m.MAX_MESSAGE_BYTES + 1),
    ],
    ids=[
        "empty",
        "garbage",
        "name",
        "round-0",
        "round-101",
        "too-many-names",
        "long-vector",
        "too-many-shares",
        "too-long",
    ],
)
def test_a_request_out_of_bounds_is_refused(broken):
    """Malformed and oversized messages raise the protocol's error and nothing else."""
    with pytest.raises(RemoteProtocolError):
        m.parse_request(broken)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("consents_salt", b""),
        ("consents_salt", bytes(31)),
        ("revocations_signature", bytes(63)),
        ("revocations_signature", b""),
        ("revocations", b""),
    ],
)
def test_a_round_is_asked_for_with_a_signed_list_and_a_salt(field, value):
    """Without its salt, with half a signature, or with one of the two alone the message is refused."""
    message = wire.TrainingRequest.FromString(m.encode_request(REQUESTS[2]))
    setattr(message.masked_input, field, value)
    with pytest.raises(RemoteProtocolError, match="round consents"):
        m.parse_request(message.SerializeToString())


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_parsers(data):
    """Whatever arrives either parses or is refused with the protocol's own error."""
    for parse in (m.parse_request, m.parse_answer):
        with contextlib.suppress(RemoteProtocolError):
            parse(data)
