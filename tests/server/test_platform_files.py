"""Making a platform's directory and opening it again."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from noren_audit.cli import main as audit_main
from noren_audit.verification.trust import load_trust
from noren_core.crypto.identity import SigningKey
from noren_core.errors import ConfigurationError, DataError, LocalProtocolError
from noren_core.ledger.cosignature import CosignerKey
from noren_core.ledger.entries import verify_author, verify_countersignature
from noren_core.season.plan import Witnesses
from noren_server.cli import main
from noren_server.platform_files import Platform, initialise, trust_file

PORTS = (4001, 4002, 4003, 4004)
WITNESSES = [
    CosignerKey(f"w{number}.example", SigningKey.from_bytes(bytes([number] * 32)).public_key)
    for number in (1, 2)
]


def make(directory: Path, *, name: str = "jobs", ports: tuple[int, int, int, int] = PORTS) -> Platform:
    return initialise(directory, name=name, host="127.0.0.1", ports=ports)


def content(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_an_existing_platform_is_never_overwritten(tmp_path: Path) -> None:
    """A second init is refused and changes no byte of the first."""
    make(tmp_path / "p")
    before = content(tmp_path)
    with pytest.raises(LocalProtocolError, match="without a platform"):
        make(tmp_path / "p", name="other")
    assert content(tmp_path) == before


def test_nothing_is_made_under_a_bad_name(tmp_path: Path) -> None:
    """A name that is none is refused before anything is on disk."""
    for name in ("Jobs", "a/b", 'a"', ""):
        with pytest.raises(DataError, match="platform name"):
            make(tmp_path / "p", name=name)
    assert not (tmp_path / "p").exists()


def test_secrets_are_for_the_platforms_account_alone(tmp_path: Path) -> None:
    """Every key file has mode 0600, whatever the umask, and the directory is closed."""
    directory = tmp_path / "p"
    make(directory)
    keys = [path for path in directory.rglob("*.key") if path.is_file()]
    assert {path.name for path in keys} >= {"platform.key", "log.key", "assignment.key", "server.key"}
    private = [path for path in content(directory) if b"PRIVATE KEY" in path.read_bytes()]
    assert len(private) >= 2
    for path in (*keys, *private, directory / "config.toml"):
        assert path.stat().st_mode & 0o777 == 0o600, path
    for folder in (directory, directory / "keys"):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not list(directory.rglob("*.part"))


def test_every_key_is_another(tmp_path: Path) -> None:
    """The three secrets differ from each other and from those of another platform."""
    secrets = set()
    for name in ("p", "q"):
        make(tmp_path / name)
        for key in ("platform.key", "log.key", "assignment.key"):
            secrets.add((tmp_path / name / "keys" / key).read_bytes())
    assert len(secrets) == 6
    assert {len(secret) for secret in secrets} == {32}


def test_a_platform_is_opened_as_it_was_made(tmp_path: Path) -> None:
    """Name, origin, addresses and keys are the same when the directory is opened again."""
    made, opened = make(tmp_path), Platform(tmp_path)
    assert opened.config == made.config
    assert (opened.config.name, opened.config.origin) == ("jobs", "jobs/ledger")
    addresses = opened.config.addresses
    assert (addresses.enrolment, addresses.service, addresses.fleet) == tuple(
        f"127.0.0.1:{port}" for port in PORTS[:3]
    )
    assert opened.signing_key.public_key == made.signing_key.public_key
    assert opened.assignment_key == made.assignment_key


def test_port_zero_takes_free_ones(tmp_path: Path) -> None:
    """Ports that are left to the platform are chosen once, kept and different from each other."""
    make(tmp_path, ports=(0, 0, 4003, 0))
    config = Platform(tmp_path).config
    assert 0 < config.enrolment_port != config.service_port > 0
    assert config.fleet_port == 4003


def test_the_ledger_begins_with_its_keys(tmp_path: Path) -> None:
    """The first and only entry states origin and both public keys, signed and countersigned."""
    platform = make(tmp_path)
    assert platform.ledger_store.size == 1
    [stored] = platform.ledger_store.entries()
    parsed = stored.entry
    assert (parsed.kind, parsed.author) == ("log-start", "platform")
    assert parsed.body == {
        "origin": "jobs/ledger",
        "platform_key": platform.signing_key.public_key.hex(),
        "log_key": platform.log_verifier_key.to_text(),
    }
    verify_author(parsed, platform.signing_key.public_key)
    verify_countersignature(parsed, platform.signing_key.public_key)


def test_the_auditor_can_read_the_trust_file(tmp_path: Path) -> None:
    """What the operator hands out is what `noren-audit` takes: the two public keys and nothing secret."""
    platform = make(tmp_path / "p")
    (tmp_path / "trust.toml").write_text(trust_file(platform))
    trust = load_trust(tmp_path / "trust.toml")
    assert trust.origin == "jobs/ledger"
    assert trust.log_key == platform.log_verifier_key
    assert trust.platform_key == platform.signing_key.public_key
    assert set(tomllib.loads(trust_file(platform))) == {"origin", "log_key", "platform_key"}


@pytest.mark.parametrize("text", ["", "name =", 'name = "jobs"', "\x00"])
def test_a_config_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """Missing or unknown fields and other formats name what is expected."""
    make(tmp_path)
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"config\.toml: expected"):
        Platform(tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """No directory says which command makes one; a lost key is named; an unknown campaign is refused."""
    with pytest.raises(ConfigurationError, match="noren-platform init"):
        Platform(tmp_path / "nowhere")
    platform = make(tmp_path)
    (tmp_path / "keys" / "assignment.key").unlink()
    with pytest.raises(ConfigurationError, match=r"keys/assignment\.key"):
        _ = platform.assignment_key
    with pytest.raises(LocalProtocolError, match="published campaign"):
        platform.plan("spring")
    for path in ("../escape", "a/b"):
        with pytest.raises(DataError):
            platform.progress_path(path)
    platform.store.close()


def with_witnesses(directory: Path, text: str) -> Platform:
    make(directory)
    config = directory / "config.toml"
    config.write_text(config.read_text() + text)
    return Platform(directory)


def test_witnesses_are_configured_beside_the_addresses(tmp_path: Path) -> None:
    """Where each listens, its key, and how many are enough; without them there are none."""
    assert make(tmp_path / "none").ledger.witnesses == Witnesses((), 0)
    tables = "".join(
        f'[[witness]]\nurl = "https://{key.name}"\nkey = "{key.to_text()}"\n' for key in WITNESSES
    )
    platform = with_witnesses(tmp_path / "two", f"witness_quorum = 2\n{tables}")
    assert platform.ledger.witnesses == Witnesses(tuple(sorted(key.to_text() for key in WITNESSES)), 2)
    assert [address.url for address in platform.config.witnesses] == [
        "https://w1.example",
        "https://w2.example",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "witness_quorum = 1\n",
        "witness = 1\n",
        "witness = []\nwitness_quorum = true\n",
        f'[[witness]]\nurl = "https://w.example"\nkey = "{WITNESSES[0].to_text()}"\n',
        f'witness_quorum = 2\n[[witness]]\nurl = "https://w.example"\nkey = "{WITNESSES[0].to_text()}"\n',
        f'witness_quorum = 1\n[[witness]]\nurl = "w.example"\nkey = "{WITNESSES[0].to_text()}"\n',
        'witness_quorum = 1\n[[witness]]\nurl = "https://w.example"\nkey = "x"\n',
        'witness_quorum = 1\n[[witness]]\nurl = "https://w.example"\n',
        f'witness_quorum = 1\n[[witness]]\nurl = "https://w"\nkey = "{WITNESSES[0].to_text()}"\nmore = 1\n',
    ],
)
def test_witnesses_that_cannot_be_asked_are_refused(tmp_path: Path, text: str) -> None:
    """A table that is not exactly an address and a key, or a quorum that does not fit, is said at once."""
    with pytest.raises(ConfigurationError):
        assert with_witnesses(tmp_path / "p", text).ledger


@pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")
def test_an_entry_can_be_handed_out_with_its_proof(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ledger prove` writes both files; `noren-audit proof` believes them by the trust file alone."""
    make(tmp_path / "p")
    entry, trust = tmp_path / "entry.json", tmp_path / "trust.toml"
    for arguments in (("prove", "0", str(entry)), ("trust", str(trust))):
        assert main(["--directory", str(tmp_path / "p"), "ledger", *arguments]) == 0
    proof = entry.with_name("entry.json.tlog-proof")
    assert audit_main(["proof", str(entry), str(proof), "--trust", str(trust)]) == 0
    assert "kind: log-start" in capsys.readouterr().out
    assert main(["--directory", str(tmp_path / "p"), "ledger", "prove", "1", str(entry)]) != 0
