"""One encrypted file with everything, and an old machine that does nothing any more."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from noren_client import config, keystore, worker_service
from noren_client.setup import hand_over, status
from noren_client.setup.status import NextStep
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError, DataError, LocalProtocolError, NorenError, VerificationError

NOW = 1_800_000_000
PASSPHRASE = SecretBytes(b"a good passphrase")


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.relative_to(directory).parts[0] not in {"run", "flower"}
    }


@pytest.fixture
def company(site: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with keys, an odometer, a file of several blocks and an empty one."""
    monkeypatch.setattr(hand_over, "BLOCK_BYTES", 4096)
    site.enrol()
    (site.directory / "odometer.jsonl").write_text('{"line":1}\n')
    (site.directory / "campaigns" / "spring").mkdir(parents=True)
    (site.directory / "campaigns" / "spring" / "table.download").write_bytes(
        bytes(range(256)) * (2 * hand_over.BLOCK_BYTES // 256 + 3)
    )
    (site.directory / "campaigns" / "spring" / "empty").touch()
    (site.directory / "run").mkdir(exist_ok=True)
    (site.directory / "run" / "left").write_text("behind")
    return Path(site.directory)


def export(company: Path, archive: Path) -> hand_over.FileList:
    return hand_over.export(company, archive, PASSPHRASE, now=NOW)


def test_everything_arrives_and_the_old_machine_is_inert(company: Path, tmp_path: Path) -> None:
    """The successor has every file, private; here nothing loads, signs or spends any more."""
    before, ours = files_of(company), keystore.load(company).signing.public_key
    export(company, tmp_path / "a.archive")
    hand_over.take_over(tmp_path / "a.archive", tmp_path / "new", PASSPHRASE)
    assert files_of(tmp_path / "new") == before
    assert not (tmp_path / "new" / "run").exists()
    assert keystore.load(tmp_path / "new").signing.public_key == ours
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "new").rglob("*")}
    assert modes == {0o600, 0o700}
    for act in (config.load, keystore.load, worker_service.run):
        with pytest.raises(LocalProtocolError) as caught:
            act(company)
        assert caught.value.code == "HANDED_OVER"
    assert status.next_step(company)[0] is NextStep.USE_OTHER_MACHINE


def test_nothing_readable_is_in_the_archive(company: Path, tmp_path: Path) -> None:
    """Neither a key nor a name; only its owner can read the file."""
    archive = tmp_path / "a.archive"
    export(company, archive)
    content = archive.read_bytes()
    for secret in ((company / "keys" / "tls.key").read_bytes(), b"odometer.jsonl", b"signing.key"):
        assert secret not in content
    assert archive.stat().st_mode & 0o777 == 0o600


def test_a_wrong_passphrase_and_a_short_one(company: Path, tmp_path: Path) -> None:
    """A short one exports nothing and leaves the directory in use; a wrong one imports nothing."""
    with pytest.raises(ConfigurationError) as caught:
        hand_over.export(company, tmp_path / "a.archive", SecretBytes(b"short"), now=NOW)
    assert caught.value.code == "PASSPHRASE_TOO_SHORT"
    assert config.load(company)
    assert not list(tmp_path.glob("a.archive*"))
    export(company, tmp_path / "a.archive")
    with pytest.raises(ConfigurationError) as caught:
        hand_over.take_over(tmp_path / "a.archive", tmp_path / "new", SecretBytes(b"another passphrase"))
    assert caught.value.code == "WRONG_PASSPHRASE"
    assert not list(tmp_path.glob("new*"))


def changed(content: bytes, how: str) -> bytes:
    """An archive that somebody touched."""
    pieces, rest = [], content[len(hand_over.MAGIC) :]
    while rest:
        size = 4 + int.from_bytes(rest[:4], "big")
        pieces.append(rest[:size])
        rest = rest[size:]
    match how:
        case "a bit":
            return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]
        case "cut in a block":
            return content[:-7]
        case "the last block gone":
            pieces = pieces[:-1]
        case "two blocks swapped":
            pieces[-1], pieces[-2] = pieces[-2], pieces[-1]
        case "a block twice":
            pieces.append(pieces[-1])
        case "more bytes":
            return content + b"\0\0\0\1x"
        case "a length without bound":
            return content + b"\xff\xff\xff\xff"
        case "only a header":
            pieces = pieces[:1]
    return hand_over.MAGIC + b"".join(pieces)


@pytest.mark.parametrize(
    "how",
    [
        "a bit",
        "cut in a block",
        "the last block gone",
        "two blocks swapped",
        "a block twice",
        "more bytes",
        "a length without bound",
        "only a header",
    ],
)
def test_an_archive_that_was_touched_is_refused_whole(company: Path, tmp_path: Path, how: str) -> None:
    """Nothing of it is left on the new machine."""
    archive = tmp_path / "a.archive"
    export(company, archive)
    archive.write_bytes(changed(archive.read_bytes(), how))
    with pytest.raises(VerificationError):
        hand_over.take_over(archive, tmp_path / "new", PASSPHRASE)
    assert not list(tmp_path.glob("new*"))


@pytest.mark.parametrize("content", [b"", b"no archive", hand_over.MAGIC, hand_over.MAGIC + b"\0\0\0\5hello"])
def test_another_file_is_no_archive(tmp_path: Path, content: bytes) -> None:
    """Whatever it is, it ends in one of our errors."""
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(NorenError):
        hand_over.take_over(tmp_path / "x", tmp_path / "new", PASSPHRASE)
    with pytest.raises(DataError):
        hand_over.take_over(tmp_path / "missing", tmp_path / "new", PASSPHRASE)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a//b", "", "./a"])
def test_a_list_that_leaves_the_directory_is_refused(name: str) -> None:
    """Whoever made the archive knows the passphrase, and may still be somebody else."""
    body = {
        "hand_over": "00" * 16,
        "company": "akane",
        "handed_over_at": NOW,
        "files": [{"name": name, "size": 0, "sha256": "00"}],
    }
    with pytest.raises(VerificationError):
        hand_over._parsed(json.dumps(body, separators=(",", ":"), sort_keys=True).encode())


def test_nothing_is_exported_while_the_worker_runs(company: Path, tmp_path: Path) -> None:
    """Two machines would answer for one company."""
    with worker_service.stopped(company), pytest.raises(LocalProtocolError) as caught:
        export(company, tmp_path / "a.archive")
    assert caught.value.code == "WORKER_RUNNING"
    assert config.load(company)


def test_a_file_in_the_way_is_kept(company: Path, tmp_path: Path) -> None:
    """Neither an archive nor a directory with files is overwritten."""
    (tmp_path / "a.archive").write_text("mine")
    with pytest.raises(LocalProtocolError):
        export(company, tmp_path / "a.archive")
    with pytest.raises(LocalProtocolError):
        export(company, company / "inside.archive")
    assert (tmp_path / "a.archive").read_text() == "mine"
    export(company, tmp_path / "b.archive")
    with pytest.raises(LocalProtocolError):
        hand_over.take_over(tmp_path / "b.archive", company, PASSPHRASE)


def test_an_export_that_was_interrupted_is_completed(
    company: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash between mark and name the same call makes the archive of the same hand-over."""
    with monkeypatch.context() as crashing:

        def crash(*_: object) -> None:
            raise KeyboardInterrupt

        crashing.setattr(hand_over, "sync_directory", crash)
        with pytest.raises(KeyboardInterrupt):
            export(company, tmp_path / "a.archive")
    said = hand_over.read_state(company)
    assert said is not None
    (tmp_path / "a.archive").unlink(missing_ok=True)
    assert export(company, tmp_path / "a.archive").hand_over == said.hand_over


def test_it_can_be_taken_back_with_its_own_archive(company: Path, tmp_path: Path) -> None:
    """The archive is deleted and the directory used again; another directory's archive does nothing."""
    export(company, tmp_path / "a.archive")
    hand_over.take_over(tmp_path / "a.archive", tmp_path / "new", PASSPHRASE)
    export(tmp_path / "new", tmp_path / "b.archive")
    with pytest.raises(LocalProtocolError):
        hand_over.take_back(company, tmp_path / "b.archive", PASSPHRASE)
    hand_over.take_back(company, tmp_path / "a.archive", PASSPHRASE)
    assert config.load(company)
    assert not (tmp_path / "a.archive").exists()


def test_a_damaged_mark_keeps_the_directory_inert(company: Path, tmp_path: Path) -> None:
    """Whoever breaks the file does not bring the old machine back."""
    export(company, tmp_path / "a.archive")
    (company / "handed-over.json").write_text("{}")
    with pytest.raises(LocalProtocolError):
        hand_over.read_state(company)
    with pytest.raises(LocalProtocolError):
        config.load(company)


def test_one_worker_of_a_directory(tmp_path: Path) -> None:
    """The second is refused; whoever looks sees the first, also from another thread."""
    with worker_service.stopped(tmp_path):
        assert worker_service.is_running(tmp_path)
        seen: list[bool] = []
        thread = threading.Thread(target=lambda: seen.append(worker_service.is_running(tmp_path)))
        thread.start()
        thread.join()
        assert seen == [True]
    assert not worker_service.is_running(tmp_path)


def test_who_only_asks_keeps_no_worker_from_starting(tmp_path: Path) -> None:
    """A worker that starts while somebody looks whether one runs waits for a moment."""
    asking, is_held = threading.Event(), threading.Event()

    def ask() -> None:
        with worker_service.stopped(tmp_path):
            is_held.set()
            asking.wait(20)

    thread = threading.Thread(target=ask)
    thread.start()
    assert is_held.wait(20)
    threading.Timer(0.1, asking.set).start()
    with worker_service.stopped(tmp_path, patience_seconds=20):
        assert asking.is_set()
    thread.join()


def test_the_commands(
    company: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Export asks for the company's name; import says what to do next; the passphrase is in no argument."""
    from noren_client.cli import main

    (tmp_path / "pass").write_text("a good passphrase\n")
    (tmp_path / "pass").chmod(0o600)
    monkeypatch.setenv("NOREN_HAND_OVER_PASSPHRASE_FILE", str(tmp_path / "pass"))
    name, archive = config.load(company).company, str(tmp_path / "a.archive")
    assert main(["--directory", str(company), "hand-over", "export", archive, "--confirm", "x"]) == 3
    assert config.load(company)
    assert main(["--directory", str(company), "hand-over", "export", archive, "--confirm", name]) == 0
    assert main(["--directory", str(tmp_path / "new"), "--json", "hand-over", "import", archive]) == 0
    body = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert (body["company"], body["state"]) == (name, "taken-over")
    assert "rotate all" in body["next"]
