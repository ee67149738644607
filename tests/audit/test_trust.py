"""The trust file: exact fields, exact decimals, and a clear word on what is wrong with it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from noren_audit.verification.trust import BadTrustFileError, load_trust
from noren_core.crypto.identity import SigningKey
from noren_core.ledger.cosignature import CosignerKey

if TYPE_CHECKING:
    from conftest import SeasonLedger


def test_a_trust_file_is_read_exactly(opening: SeasonLedger, tmp_path: Path) -> None:
    """Keys come back as written; limits are exact, whether written as numbers or texts."""
    path = tmp_path / "trust.toml"
    path.write_text(opening.trust_text("max_epsilon = 0.1", 'max_row_epsilon = "8"', "max_delta = 1e-6"))
    trust = load_trust(path)
    assert (trust.log_key, trust.origin) == (opening.verifier_key, opening.verifier_key.name)
    assert trust.platform_key == opening.platform_key.public_key
    assert (trust.max_epsilon, trust.max_row_epsilon) == (Fraction(1, 10), 8)
    assert trust.max_delta == Fraction(1, 10**6)


def test_limits_are_optional(opening: SeasonLedger, tmp_path: Path) -> None:
    """Without limits, the plans' own apply alone."""
    path = tmp_path / "trust.toml"
    path.write_text(opening.trust_text())
    assert load_trust(path).max_epsilon is None


def witness_key(number: int) -> str:
    return CosignerKey(f"w{number}.example", SigningKey.from_bytes(bytes([number] * 32)).public_key).to_text()


def test_witnesses_are_optional(opening: SeasonLedger, tmp_path: Path) -> None:
    """Named with how many of them are enough; without them none are asked for."""
    path = tmp_path / "trust.toml"
    path.write_text(opening.trust_text())
    assert (load_trust(path).witnesses, load_trust(path).witness_quorum) == ((), 0)
    keys = [witness_key(1), witness_key(2)]
    path.write_text(opening.trust_text(f"witnesses = {keys}", "witness_quorum = 2"))
    trust = load_trust(path)
    assert ([key.to_text() for key in trust.witnesses], trust.witness_quorum) == (keys, 2)


@pytest.mark.parametrize(
    "lines",
    [
        ["witness_quorum = 1"],
        [f"witnesses = ['{witness_key(1)}']"],
        [f"witnesses = ['{witness_key(1)}']", "witness_quorum = 0"],
        [f"witnesses = ['{witness_key(1)}']", "witness_quorum = 2"],
        [f"witnesses = ['{witness_key(1)}']", "witness_quorum = true"],
        [f"witnesses = ['{witness_key(1)}']", 'witness_quorum = "1"'],
        [f"witnesses = '{witness_key(1)}'", "witness_quorum = 1"],
        ["witnesses = [1]", "witness_quorum = 1"],
        ["witnesses = ['w.example+00000000+AAAA']", "witness_quorum = 1"],
        [f"witnesses = {[witness_key(1), witness_key(1)]}", "witness_quorum = 1"],
        [f"witnesses = {[witness_key(number) for number in range(17)]}", "witness_quorum = 1"],
    ],
)
def test_witnesses_that_cannot_be_meant_are_refused(
    lines: list[str], opening: SeasonLedger, tmp_path: Path
) -> None:
    """No quorum without witnesses, none of nobody, none that cannot be met, no key twice, at most 16."""
    path = tmp_path / "trust.toml"
    path.write_text(opening.trust_text(*lines))
    with pytest.raises(BadTrustFileError):
        load_trust(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('origin = "noren.example/ledger"\n', ""),
        ('origin = "noren.example/ledger"', 'origin = "noren.example/other"'),
        ('origin = "noren.example/ledger"', "origin = 7"),
        ('log_key = "noren', 'log_key = "moren'),
        ('log_key = "', 'log_key = 7 # "'),
        ('platform_key = "', 'platform_key = "0'),
        ('platform_key = "', 'platform_key = 7 # "'),
        ("max_epsilon = 1\n", "max_epsilon = -1\n"),
        ("max_epsilon = 1\n", "max_epsilon = 0\n"),
        ("max_epsilon = 1\n", "max_epsilon = nan\n"),
        ("max_epsilon = 1\n", "max_epsilon = true\n"),
        ("max_epsilon = 1\n", 'max_epsilon = "one"\n'),
        ("max_epsilon = 1\n", "max_epsilon = [1]\n"),
        ("max_epsilon = 1\n", "maximum_epsilon = 1\n"),
        ("max_epsilon = 1\n", "max_epsilon = \n"),
    ],
)
def test_a_bad_trust_file_is_refused(old: str, new: str, opening: SeasonLedger, tmp_path: Path) -> None:
    """Missing, unknown and malformed fields are refused: nothing is believed by default."""
    text = opening.trust_text("max_epsilon = 1")
    assert old in text
    (tmp_path / "trust.toml").write_text(text.replace(old, new))
    with pytest.raises(BadTrustFileError) as caught:
        load_trust(tmp_path / "trust.toml")
    assert caught.value.code == "BAD_TRUST_FILE"


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Missing files, directories and bytes that are no text are refused alike."""
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "missing.toml", tmp_path, tmp_path / "bytes.toml"):
        with pytest.raises(BadTrustFileError):
            load_trust(path)
