"""Both parties' secrets at rest: what commands do to them, what is refused, what is left on disk."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import noren_client.cli
import noren_server.cli
from noren_client import company_secrets, config, keystore
from noren_client.campaign_files import save_head
from noren_client.config import Addresses, CompanyConfig, Limits, parse_pins
from noren_core.crypto import vault
from noren_core.crypto.oprf import generate_key_pair
from noren_core.crypto.sealed_files import SealedFiles
from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.vault import VaultHeader, is_sealed
from noren_core.errors import ConfigurationError, LocalProtocolError
from noren_core.ids import TableKind
from noren_core.ledger.note import VerifierKey
from noren_core.season.plan import CampaignPlan
from noren_local import secret_files
from noren_local.secret_files import SecretFiles
from noren_server import platform_secrets
from noren_server.platform_files import Platform, initialise
from noren_server.platform_secrets import PlatformFiles
from noren_server.processes import dies_with_parent, executable
from noren_server.store import EnrolmentRecord

PASSPHRASE = "correct horse battery staple"  # noqa: S105
ANOTHER = "another horse battery staple"


@dataclass(frozen=True)
class Side:
    """One party's program and its directory."""

    name: str
    directory: Path
    main: Callable[[list[str]], int]
    files: Callable[[Path], SecretFiles]
    secrets_of: Callable[[Path], SealedFiles]
    a_key: str

    def run(self, *arguments: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, JSON result and what went to stderr."""
        out = in_process(self.main, "--directory", str(self.directory), "--json", *arguments)
        secret_files._unlocked.cache_clear()  # every command is a process of its own
        return out

    def make(self, plan_body: dict[str, Any]) -> None:
        """A party with secrets of every kind."""
        if self.name == "company":
            make_company(self.directory)
        else:
            make_platform(self.directory, plan_body)

    def stored(self) -> dict[str, bytes]:
        """Every secret as it is stored."""
        files = self.files(self.directory)
        return {name: files.read(name) or b"" for name in files.names()}


def in_process(main: Callable[[list[str]], int], *arguments: str) -> tuple[int, dict[str, Any], str]:
    import io

    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = main(list(arguments))
    return code, json.loads(stdout.getvalue()), stderr.getvalue()


def make_company(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    settings = CompanyConfig(
        company="alpha",
        platform="job-site",
        addresses=Addresses("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
        pins=parse_pins("ab" * 32, VerifierKey("job-site/ledger", bytes(32)).to_text(), "cd" * 32),
        limits=Limits(),
    )
    (directory / "config.toml").write_bytes(config.to_toml(settings))
    keystore.create_missing(directory)
    for name in ("oprf-train.json", "oprf-score.json", "blinding.json", "encrypted-head.json", "scored.json"):
        keystore.write_secret(directory, f"campaigns/spring/{name}", os.urandom(64).hex().encode())
    save_head(directory, "spring", [1234567891234567, 7654321987654321])


def make_platform(directory: Path, plan_body: dict[str, Any]) -> None:
    platform = initialise(directory, name="jobs", host="127.0.0.1", ports=(0, 0, 0, 0))
    plan = CampaignPlan.from_body(plan_body)
    with platform.store.transaction() as transaction:
        transaction.add_campaign(plan)
        for number in range(30):  # enough for pages that are split and left when the rows grow
            transaction.add_company(record(f"company-{number}"))
            transaction.add_oprf_key(plan.campaign, f"company-{number}", TableKind.TRAIN, generate_key_pair())
    platform.store.close()
    platform.ledger_store.close()


def record(company: str) -> EnrolmentRecord:
    return EnrolmentRecord(company, company.encode(), b"", 40, b"", b"", b"", b"")


@pytest.fixture(params=["company", "platform"])
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Side:
    """The same for both parties."""
    if request.param == "company":
        client = (noren_client.cli.main, company_secrets.stored_in, company_secrets.secrets_of)
        return Side("company", tmp_path / "company", *client, "keys/signing.key")
    server = (noren_server.cli.main, PlatformFiles, platform_secrets.secrets_of)
    return Side("platform", tmp_path / "platform", *server, "keys/platform.key")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No passphrase of whoever runs the tests, nothing remembered, and a derivation that costs nothing."""

    def derive(passphrase: SecretBytes, header: VaultHeader) -> SecretBytes:
        return SecretBytes(hashlib.sha256(header.salt + passphrase.reveal()).digest())

    monkeypatch.setattr(vault, "_derive", derive)
    for name in ("NOREN_PASSPHRASE_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    yield
    secret_files._unlocked.cache_clear()


def passphrase_file(directory: Path, text: str = PASSPHRASE, *, mode: int = 0o600) -> Path:
    path = directory / f"passphrase-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    path.write_text(text + "\n")
    path.chmod(mode)
    return path


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A passphrase file that the environment names."""
    path = passphrase_file(tmp_path)
    monkeypatch.setenv("NOREN_PASSPHRASE_FILE", str(path))
    return path


def test_a_new_directory_is_protected_if_there_is_a_passphrase(
    side: Side, given: Path, plan_body: dict[str, Any]
) -> None:
    """From the first key on; it opens with the passphrase and not without."""
    side.make(plan_body)
    assert all(is_sealed(data) for data in side.stored().values())
    secrets = side.secrets_of(side.directory)
    assert len(secrets.read(side.a_key)) == 32
    secret_files._unlocked.cache_clear()
    given.unlink()
    with pytest.raises(ConfigurationError):
        secrets.read(side.a_key)


def test_a_new_directory_without_a_passphrase_is_warned_about(
    side: Side, plan_body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """One line."""
    side.make(plan_body)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_directory_that_lost_its_vault_is_refused(
    side: Side, given: Path, plan_body: dict[str, Any]
) -> None:
    """Somebody removed the header and planted plain keys: with a passphrase configured nobody reads them."""
    side.make(plan_body)
    (side.directory / "keys" / "vault.json").unlink()
    (side.directory / side.a_key).write_bytes(bytes(32))
    with pytest.raises(ConfigurationError) as caught:
        side.secrets_of(side.directory).read(side.a_key)
    assert caught.value.code == "NOT_PROTECTED"


def test_commands_convert_a_directory_there_and_back(
    side: Side, tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status, protect, change of passphrase, unprotect; every secret is the same at the end."""
    side.make(plan_body)
    before = side.stored()
    first, second = passphrase_file(tmp_path), passphrase_file(tmp_path, ANOTHER)
    assert side.run("keys", "status")[1] == {"success": True, "protection": "none"}
    code, result, said = side.run("keys", "protect", "--new-passphrase-file", str(first))
    assert (code, result["protection"], result["secrets"]) == (0, "sealed", len(before))
    assert all(is_sealed(data) for data in side.stored().values())
    assert side.run("keys", "status")[1] == {"success": True, "protection": "sealed"}
    monkeypatch.setenv("NOREN_PASSPHRASE_FILE", str(first))
    code, result, said = side.run("keys", "change-passphrase", "--new-passphrase-file", str(second))
    assert (code, said) == (0, "")
    code, result, _ = side.run("keys", "unprotect")
    assert (code, result["code"]) == (5, "WRONG_PASSPHRASE")
    monkeypatch.setenv("NOREN_PASSPHRASE_FILE", str(second))
    assert side.run("keys", "unprotect")[0] == 0
    assert side.stored() == before
    assert not (side.directory / "keys" / "vault.json").exists()


def test_nothing_of_a_secret_is_left_on_disk_in_plain(
    side: Side, given: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After protecting: in no file below the directory, raw, hexadecimal or base64; nor half-written."""
    monkeypatch.delenv("NOREN_PASSPHRASE_FILE")
    side.make(plan_body)
    (side.directory / side.a_key).with_name("signing.key.part").write_bytes(os.urandom(32))
    plain = side.stored()
    assert search(side.directory, plain)  # the search finds what is there
    monkeypatch.setenv("NOREN_PASSPHRASE_FILE", str(given))
    assert side.run("keys", "protect")[0] == 0
    assert search(side.directory, plain) == []
    assert list(side.directory.rglob("*.part")) == []
    assert search(side.directory, {"passphrase": PASSPHRASE.encode()}) == []


def search(directory: Path, secrets: dict[str, bytes]) -> list[str]:
    """Which secrets are somewhere below the directory; of a PEM, its longest line."""
    needles = {}
    for name, secret in secrets.items():
        core = max(secret.splitlines(), key=len) if b"PRIVATE KEY" in secret else secret
        needles[name] = (core, core.hex().encode(), base64.b64encode(core))
    contents = [path.read_bytes() for path in directory.rglob("*") if path.is_file()]
    return [name for name, forms in needles.items() if any(f in data for f in forms for data in contents)]


def test_commands_show_no_secret(
    side: Side, given: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither keys nor the passphrase, in results, errors and warnings; not even where it lies."""
    monkeypatch.delenv("NOREN_PASSPHRASE_FILE")
    side.make(plan_body)
    plain = side.stored()
    said = [side.run("keys", "protect", "--new-passphrase-file", str(given)), side.run("keys", "unprotect")]
    monkeypatch.setenv("NOREN_PASSPHRASE_FILE", str(given))
    said += [side.run("keys", command) for command in ("status", "protect", "unprotect")]
    text = json.dumps([list(item) for item in said])
    assert len(text) > 300
    for secret in (*plain.values(), PASSPHRASE.encode()):
        assert secret.hex() not in text
        assert secret.decode(errors="ignore")[:20] not in text or len(secret) == 32
    assert str(given) not in text


def test_a_directory_in_use_is_not_converted(side: Side, given: Path, plan_body: dict[str, Any]) -> None:
    """While services run, the command refuses and changes nothing."""
    side.make(plan_body)
    before = side.stored()
    with side.secrets_of(side.directory).held():
        code, result, _ = side.run("keys", "unprotect")
    assert (code, result["code"]) == (1, "DIRECTORY_IN_USE")
    assert side.stored() == before


# What the platform does with its own


def test_former_values_of_the_database_are_gone_too(
    tmp_path: Path, given: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was deleted before protecting, by an SQLite that does not overwrite, is overwritten by it."""
    monkeypatch.delenv("NOREN_PASSPHRASE_FILE")
    make_platform(tmp_path / "p", plan_body)
    former = os.urandom(3000)
    with contextlib.closing(sqlite3.connect(tmp_path / "p" / "platform.db")) as database, database:
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("CREATE TABLE former (value BLOB)")
        database.execute("INSERT INTO former VALUES (?)", (former,))
        database.execute("DROP TABLE former")
    assert search(tmp_path / "p", {"former": former})
    monkeypatch.setenv("NOREN_PASSPHRASE_FILE", str(given))
    in_process(noren_server.cli.main, "--directory", str(tmp_path / "p"), "--json", "keys", "protect")
    assert search(tmp_path / "p", {"former": former}) == []


def test_sealed_values_of_the_database_read_as_before(
    tmp_path: Path, given: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPRF keys that were there before protecting, and those that came after."""
    monkeypatch.delenv("NOREN_PASSPHRASE_FILE")
    make_platform(tmp_path / "p", plan_body)
    before, after = key_of(tmp_path / "p"), generate_key_pair()
    monkeypatch.setenv("NOREN_PASSPHRASE_FILE", str(given))
    in_process(noren_server.cli.main, "--directory", str(tmp_path / "p"), "--json", "keys", "protect")
    assert key_of(tmp_path / "p") == before
    store = Platform(tmp_path / "p").store
    with store.transaction() as transaction:
        transaction.add_company(record("company-30"))
        transaction.add_oprf_key("spring-2026", "company-30", TableKind.TRAIN, after)
    store.close()
    assert key_of(tmp_path / "p", "company-30") == after.to_bytes()
    stored = PlatformFiles(tmp_path / "p").read("platform.db/oprf_keys/spring-2026/company-30/train/key")
    assert stored is not None
    assert is_sealed(stored)


def key_of(directory: Path, company: str = "company-1") -> bytes:
    store = Platform(directory).store
    with store.transaction() as transaction:
        stored = transaction.oprf_key("spring-2026", company, TableKind.TRAIN)
    store.close()
    assert stored is not None
    return stored.key.to_bytes()


def test_an_open_transaction_keeps_conversions_away(
    tmp_path: Path, given: Path, plan_body: dict[str, Any]
) -> None:
    """A row is never sealed for a directory that stopped being protected meanwhile."""
    make_platform(tmp_path / "p", plan_body)
    platform = Platform(tmp_path / "p")
    with platform.store.transaction(), pytest.raises(LocalProtocolError):
        platform_secrets.secrets_of(tmp_path / "p").unprotect(SecretBytes(PASSPHRASE.encode()))
    platform.store.close()


@pytest.mark.end_to_end
def test_services_start_on_a_protected_directory(
    tmp_path: Path, given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, with the real derivation; and while they run, nobody converts the directory."""
    monkeypatch.undo()
    environment = {**os.environ, "NOREN_PASSPHRASE_FILE": str(given), "OMP_NUM_THREADS": "1"}
    platform = [executable("noren-platform"), "--directory", str(tmp_path / "p"), "--json"]
    subprocess.run([*platform, "init", "--name", "jobs"], env=environment, check=True, capture_output=True)
    assert is_sealed((tmp_path / "p" / "tls" / "server.key").read_bytes())
    serving = subprocess.Popen(
        dies_with_parent((*platform, "serve")), env=environment, stdout=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 60
        while not (tmp_path / "p" / "run" / "ready").exists():
            assert serving.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        refused = subprocess.run(
            [*platform, "keys", "unprotect"], env=environment, stdout=subprocess.PIPE, check=False
        )
        assert json.loads(refused.stdout)["code"] == "DIRECTORY_IN_USE"
    finally:
        serving.terminate()
        serving.wait(30)
    assert serving.returncode == 0
