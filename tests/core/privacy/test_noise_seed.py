"""A seed that is committed to, and the noise that follows from it."""

import hashlib
import hmac
import json
import pickle
from fractions import Fraction
from pathlib import Path

import pytest

from noren_core.errors import DataError, LocalProtocolError
from noren_core.privacy.discrete_gaussian import NoiseStream, sample
from noren_core.privacy.noise_seed import NoiseSeed

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "noise_v1.json").read_text())
BEACON = bytes.fromhex(VECTORS["beacon_value"])
SEED = bytes.fromhex(VECTORS["seed"])
ABOUT = {"company": VECTORS["company"], "campaign": VECTORS["campaign"]}


def words(stream, count=4):
    return [stream.next_word() for _ in range(count)]


def stream_of(seed=SEED, beacon=BEACON, campaign=VECTORS["campaign"], round_number=1):
    return NoiseSeed(seed).round_stream(beacon=beacon, campaign=campaign, round_number=round_number)


def test_the_commitment_is_the_documents():
    """docs/protocol.md §4.2.1, as the second client reads it."""
    assert NoiseSeed(SEED).commitment(**ABOUT).hex() == VECTORS["seed_commitment"]


@pytest.mark.parametrize("vector", VECTORS["rounds"], ids=lambda vector: str(vector["round"]))
def test_a_rounds_noise_is_the_documents(vector):
    """Key and samples of a round are those of the second client's own derivation and sampler."""
    stream = stream_of(round_number=vector["round"])
    assert words(stream) == words(NoiseStream(bytes.fromhex(vector["key"])))
    numerator, denominator = map(int, vector["variance"])
    found = sample(
        len(vector["samples"]),
        variance=Fraction(numerator, denominator),
        stream=stream_of(round_number=vector["round"]),
    )
    assert found.tolist() == vector["samples"]


def test_the_round_key_is_hmac_over_fields_with_their_lengths():
    """HMAC-SHA256(seed, label ‖ 0 ‖ beacon, campaign and round, each after its length in 4 bytes)."""
    name = VECTORS["campaign"].encode()
    said = b"noren/v1/noise-round\0" + b"\0\0\0\x20" + BEACON
    said += len(name).to_bytes(4) + name + b"\0\0\0\x0217"
    key = hmac.new(SEED, said, hashlib.sha256).digest()
    assert words(stream_of(round_number=17)) == words(NoiseStream(key))


def test_nothing_else_gives_the_same_noise():
    """Another seed, beacon, campaign or round is another stream, also where name and number run together."""
    streams = [
        stream_of(),
        stream_of(seed=bytes(32)),
        stream_of(beacon=bytes(32)),
        stream_of(round_number=2),
        stream_of(campaign="spring-202", round_number=61),
        stream_of(campaign="spring-2026", round_number=11),
        stream_of(campaign="spring-20261", round_number=1),
    ]
    assert len({tuple(words(stream)) for stream in streams}) == len(streams)
    assert words(stream_of()) == words(stream_of())


def test_a_commitment_binds_company_and_campaign():
    """The same seed of another company or campaign is another commitment; names do not run together."""
    seed = NoiseSeed(SEED)
    others = [("akane", "spring-2026"), ("akanes", "pring-2026"), ("benten", "spring-2026"), ("akane", "x")]
    said = {seed.commitment(company=company, campaign=campaign) for company, campaign in others}
    assert len(said) == len(others)


def test_a_seed_is_fresh_and_does_not_show():
    """Two are never the same; neither repr nor pickle has it; wiped, it is zeros."""
    one, other = NoiseSeed.generate(), NoiseSeed.generate()
    assert one.to_bytes() != other.to_bytes()
    assert one.to_bytes().hex() not in repr(one) + str(one) + f"{one}"
    with pytest.raises(TypeError):
        pickle.dumps(one)
    one.wipe()
    assert one.to_bytes() == bytes(32)


def test_a_seed_that_was_wiped_makes_no_noise():
    """Noise of zeros is noise that everybody knows."""
    seed = NoiseSeed(SEED)
    seed.wipe()
    with pytest.raises(LocalProtocolError, match="wiped"):
        seed.round_stream(beacon=BEACON, campaign="spring-2026", round_number=1)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_other_lengths_are_refused(length):
    """A seed and a beacon have 32 bytes."""
    with pytest.raises(DataError, match="32 bytes"):
        NoiseSeed(bytes(length))
    with pytest.raises(DataError, match="32 bytes"):
        stream_of(beacon=bytes(length))
