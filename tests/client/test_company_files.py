"""The company's configuration and keys: what is written, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest

from noren_client import config, keystore
from noren_client.config import Addresses, CompanyConfig, Limits, parse_pins
from noren_core.crypto.identity import SigningKey
from noren_core.errors import ConfigurationError, LocalProtocolError
from noren_core.ledger.note import VerifierKey

LOG_KEY = VerifierKey("job-site/ledger", bytes(32)).to_text()


@pytest.fixture
def company_dir(tmp_path: Path) -> Path:
    """A configured company with keys and no certificate."""
    settings = CompanyConfig(
        company="alpha",
        platform="job-site",
        addresses=Addresses("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
        pins=parse_pins("ab" * 32, LOG_KEY, "cd" * 32),
        limits=Limits(max_epsilon=Fraction(3, 4)),
    )
    (tmp_path / "config.toml").write_bytes(config.to_toml(settings))
    keystore.create_missing(tmp_path)
    return tmp_path


def test_configuration_survives_writing_and_reading(company_dir: Path) -> None:
    """Every field comes back, limits as exact fractions."""
    settings = config.load(company_dir)
    assert settings.company == "alpha"
    assert settings.addresses.fleet == "127.0.0.1:3"
    assert settings.pins.log_key.to_text() == LOG_KEY
    assert settings.limits == Limits(max_epsilon=Fraction(3, 4))


@pytest.mark.parametrize(
    ("line", "replacement"),
    [
        ("company =", 'company = "Not A Name"'),
        ("log_key =", 'log_key = "job-site/ledger+00000000+AAAA"'),
        ("platform_key =", 'platform_key = "CD"'),
        ("max_epsilon =", 'max_epsilon = "0"'),
        ("max_epsilon =", 'max_epsilon = "inf"'),
        ("max_epsilon =", 'max_epsilon = "1e3"'),
        ("max_epsilon =", "max_epsilon = true"),
        ("max_rounds =", "max_rounds = 0"),
        ("max_rounds =", 'max_rounds = "3"'),
        ("minimum_cohort =", "minimum_cohort = true"),
        ("fleet =", 'elsewhere = "127.0.0.1:3"'),
        ("max_delta =", 'max_delta = "0.000001"\nmax_anything = 1'),
        ("[limits]", "[limits"),
    ],
)
def test_a_configuration_out_of_bounds_is_refused(company_dir: Path, line: str, replacement: str) -> None:
    """A typo in a limit or a pin stops the company's software; it does not become a default."""
    path = company_dir / "config.toml"
    lines = path.read_text().splitlines()
    assert sum(text.startswith(line) for text in lines) == 1
    path.write_text("\n".join(replacement if text.startswith(line) else text for text in lines))
    with pytest.raises(ConfigurationError):
        config.load(company_dir)


@pytest.mark.parametrize("removed", ["config.toml", "keys/signing.key", "keys/sealing.key"])
def test_what_is_missing_is_named(company_dir: Path, removed: str) -> None:
    """The error names the file and does not make a new one."""
    (company_dir / removed).unlink()
    with pytest.raises(ConfigurationError, match=removed):
        keystore.load(company_dir)
    assert not (company_dir / removed).exists()


def test_a_key_that_others_can_read_is_refused(company_dir: Path) -> None:
    """Group or world permissions on a key are an error, not a warning."""
    (company_dir / "keys" / "signing.key").chmod(0o640)
    with pytest.raises(ConfigurationError, match="0600"):
        keystore.load(company_dir)


def test_keys_are_made_once(company_dir: Path) -> None:
    """A second enrolment attempt uses the keys of the first, and keys do not show themselves."""
    before = {path.name: path.read_bytes() for path in (company_dir / "keys").iterdir()}
    keystore.create_missing(company_dir)
    assert {path.name: path.read_bytes() for path in (company_dir / "keys").iterdir()} == before
    keys = keystore.load(company_dir)
    assert SigningKey.from_bytes(before["signing.key"]).public_key == keys.signing.public_key
    assert before["signing.key"].hex() not in repr(keys)


def test_without_a_certificate_there_is_no_connection(company_dir: Path) -> None:
    """Before collecting, the error says what to do."""
    with pytest.raises(ConfigurationError, match="collect"):
        keystore.load_tls(company_dir, now=datetime.now(UTC))


def test_a_certificate_that_is_not_ours_is_not_kept(company_dir: Path) -> None:
    """Bytes that are no certificate are refused and leave no file."""
    (company_dir / "platform").mkdir()
    keystore.authority_path(company_dir).write_bytes(b"not a certificate")
    with pytest.raises(LocalProtocolError):
        keystore.save_certificate(company_dir, b"nor is this", company="alpha")
    assert not (company_dir / "keys" / "tls.pem").exists()


def test_an_authority_is_for_companies_alone(tmp_path: Path) -> None:
    """A mistyped directory is told, and nothing is made there."""
    with pytest.raises(ConfigurationError):
        keystore.replace_authority(tmp_path / "nowhere", tmp_path / "ca.pem", "ab" * 32)
    assert list(tmp_path.iterdir()) == []
