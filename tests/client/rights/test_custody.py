"""Custody records: unreadable without the custodian, and for good once a share is destroyed."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_custodian import NOW, Clock, RunningCustodian, make_company, running_custodian

from noren_client import config
from noren_client.rights.custodian_client import CustodianUnavailableError
from noren_client.rights.custody import CustodyStore, record_name
from noren_core.errors import (
    ConfigurationError,
    DataError,
    LocalProtocolError,
    RemoteProtocolError,
    VerificationError,
)
from noren_core.rights.erasure.artefacts import ArtefactClass

NAME = record_name("spring", ArtefactClass.SCORE, "aa" * 16)
OTHER = record_name("spring", ArtefactClass.TRAIN_ROW, "rows")
SECRET = b"band 3, because of nothing in particular"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def custodian(tmp_path: Path, clock: Clock) -> Iterator[RunningCustodian]:
    with running_custodian(tmp_path / "custodian", clock) as running:
        yield running


@pytest.fixture
def company_dir(tmp_path: Path, custodian: RunningCustodian) -> Path:
    company = make_company(tmp_path / "company")
    custodian.admit(company)
    return company


@pytest.fixture
def store(company_dir: Path, clock: Clock) -> Iterator[CustodyStore]:
    with CustodyStore(company_dir, clock=clock) as store:
        yield store


def records(company_dir: Path) -> list[Path]:
    return sorted(company_dir.rglob("*.sealed"))


def test_a_record_is_read_as_it_was_written(store: CustodyStore, company_dir: Path) -> None:
    """Written, written over and read; on disk it is a private file that says nothing."""
    assert store.read(NAME) is None
    store.write(NAME, b"first")
    store.write(NAME, SECRET)
    store.write(OTHER, b"")
    assert (store.read(NAME), store.read(OTHER)) == (SECRET, b"")
    assert store.names("spring") == [NAME, OTHER]
    assert store.names("spring", ArtefactClass.SCORE) == [NAME]
    assert store.names("autumn") == []
    assert store.is_custodian_held
    for path in company_dir.rglob("*"):
        if path.is_file():
            assert SECRET not in path.read_bytes()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600 or path.name == "config.toml"


def test_destroyed_is_gone_also_from_yesterdays_copy(
    store: CustodyStore, company_dir: Path, tmp_path: Path, clock: Clock
) -> None:
    """After destroy nothing is left here, and a backup from before cannot be read by anybody."""
    store.write(NAME, SECRET)
    shutil.copytree(company_dir, tmp_path / "backup")
    statement = store.destroy(NAME)
    assert statement is not None
    assert statement.destroyed_at == NOW
    assert store.read(NAME) is None
    assert store.destroy(NAME) is None
    assert records(company_dir) == []
    assert records(tmp_path / "backup") != []
    with CustodyStore(tmp_path / "backup", clock=clock) as restored:
        with pytest.raises(LocalProtocolError) as refused:
            restored.read(NAME)
        assert refused.value.code == "KEY_DESTROYED"
        with pytest.raises(LocalProtocolError) as refused:
            restored.write(NAME, b"again")
        assert refused.value.code == "KEY_DESTROYED"
        restored.replace(NAME, b"again")
        assert restored.read(NAME) == b"again"


def test_replacing_destroys_the_old_key_and_keeps_the_birth(
    store: CustodyStore, company_dir: Path, tmp_path: Path, clock: Clock
) -> None:
    """The new data is there, one record file is left, and the backup of the old one is unreadable."""
    store.write(NAME, SECRET)
    shutil.copytree(company_dir, tmp_path / "backup")
    clock.now += 100
    store.replace(NAME, b"without her")
    assert store.read(NAME) == b"without her"
    assert store.born_at(NAME) == NOW
    assert len(records(company_dir)) == 1
    with CustodyStore(tmp_path / "backup", clock=clock) as restored, pytest.raises(LocalProtocolError):
        restored.read(NAME)


def test_what_crashes_left_behind_is_settled(
    store: CustodyStore, company_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shares that were drawn for records that never came to count are destroyed, and their files removed."""
    store.write(NAME, SECRET)
    with monkeypatch.context() as patch:

        def crash(*_: object) -> None:
            raise OSError("crash")

        patch.setattr("noren_client.keystore.write_secret", crash)
        for _ in range(2):
            with pytest.raises(OSError, match="crash"):
                store.replace(NAME, b"newer")
    assert store.custodian is not None
    assert len(store.custodian.handles("spring")) == len(records(company_dir)) == 3
    store.settle("spring")
    assert len(store.custodian.handles("spring")) == len(records(company_dir)) == 1
    assert store.read(NAME) == SECRET


def test_a_destruction_that_was_interrupted_is_repeated(
    store: CustodyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The share gone and the local one still there: reading says so, destroying again finishes."""
    store.write(NAME, SECRET)
    with monkeypatch.context() as patch:

        def crash(*_: object) -> None:
            raise OSError("crash")

        patch.setattr("noren_client.keystore.remove_secret", crash)
        with pytest.raises(OSError, match="crash"):
            store.destroy(NAME)
    with pytest.raises(LocalProtocolError):
        store.read(NAME)
    assert store.destroy(NAME) is not None
    assert store.read(NAME) is None


def test_another_record_of_the_same_place_does_not_open(store: CustodyStore, company_dir: Path) -> None:
    """A record belongs to its name and key: exchanged or changed files are refused."""
    store.write(NAME, SECRET)
    (path,) = records(company_dir)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationError):
        store.read(NAME)
    path.unlink()
    with pytest.raises(LocalProtocolError):
        store.read(NAME)


@pytest.mark.parametrize(
    "name", ["spring/score", "spring/link/x", "Spring/score/x", "spring/score/../x", "a/b/c/d"]
)
def test_only_names_of_records_are_names(store: CustodyStore, name: str) -> None:
    """A class that is not kept in custody, a path, or half a name is refused."""
    with pytest.raises(DataError):
        store.write(name, b"")


def test_without_a_custodian_it_says_so(tmp_path: Path, clock: Clock) -> None:
    """Records work with our share alone, nothing claims to be held, and nobody states a destruction."""
    with CustodyStore(make_company(tmp_path / "company"), clock=clock) as store:
        assert not store.is_custodian_held
        store.write(NAME, SECRET)
        assert store.read(NAME) == SECRET
        store.replace(NAME, b"other")
        store.settle("spring")
        assert store.read(NAME) == b"other"
        assert store.destroy(NAME) is None
        assert store.read(NAME) is None


def test_a_custodian_that_is_not_there_is_an_error_and_changes_nothing(
    company_dir: Path, clock: Clock, tmp_path: Path, custodian: RunningCustodian
) -> None:
    """Not admitted any more, replaced by another, gone: each refused, and no record appears."""
    with CustodyStore(company_dir, clock=clock) as store:
        store.write(NAME, SECRET)
    (custodian.directory / "companies.json").write_bytes(b"{}")
    with CustodyStore(company_dir, clock=clock) as store, pytest.raises(RemoteProtocolError):
        store.read(NAME)
    with running_custodian(tmp_path / "another", clock) as another:
        another.admit(company_dir)
        text = (company_dir / config.FILE_NAME).read_text()
        (company_dir / config.FILE_NAME).write_text(
            text.replace(another.address.key.hex(), custodian.address.key.hex())
        )
        with CustodyStore(company_dir, clock=clock) as store, pytest.raises(VerificationError):
            store.write(OTHER, b"")
    with CustodyStore(company_dir, clock=clock) as store, pytest.raises(CustodianUnavailableError):
        store.write(OTHER, b"")
    assert len(records(company_dir)) == 1


@pytest.mark.parametrize(
    "line",
    [
        'url = "x"',
        'url = "http://h:1"\nkey = "AB"',
        'url = "http://h:1"\nkey = "' + "ab" * 32 + '"\nmore = 1',
    ],
)
def test_a_wrong_custodian_table_is_refused(tmp_path: Path, line: str) -> None:
    """Missing, misspelt and further fields stop the program."""
    company = make_company(tmp_path / "company")
    path = company / config.FILE_NAME
    path.write_text(f"{path.read_text()}\n[custodian]\n{line}\n")
    with pytest.raises(ConfigurationError):
        config.load(company)
