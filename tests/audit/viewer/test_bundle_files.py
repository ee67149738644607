"""Bundles that are handed in: written inside their directory and within bounds, or refused."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from noren_audit.viewer import bundle_files
from noren_audit.viewer.bundle_files import BundleFiles
from noren_core.errors import DataError

Write = Callable[[zipfile.ZipFile], None]


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    directory = tmp_path / "private" / "bundle"
    directory.mkdir(parents=True)
    return directory


def archive(tmp_path: Path, write: Write) -> Path:
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        write(opened)
    return path


def files_under(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def refused(work: Callable[[], None]) -> str:
    with pytest.raises(DataError) as error:
        work()
    assert error.value.code == "BUNDLE_REFUSED"
    return error.value.message


def test_an_archive_becomes_its_files(tmp_path: Path, inside: Path) -> None:
    """Every file with its bytes, readable by our own account alone; the packed directory is the root."""

    def write(opened: zipfile.ZipFile) -> None:
        opened.writestr("ledger/checkpoint", b"note")
        opened.writestr("ledger/tile/entries/000.p/3", b"entries")

    bundle = BundleFiles(inside)
    bundle.add_archive(archive(tmp_path, write))
    assert files_under(bundle.root()) == {"checkpoint": b"note", "tile/entries/000.p/3": b"entries"}
    assert bundle.root() == inside / "ledger"
    assert stat.S_IMODE((inside / "ledger" / "checkpoint").stat().st_mode) == 0o600


def test_without_an_outer_directory_the_root_is_where_the_checkpoint_is(inside: Path) -> None:
    """Also if a bundle has nothing but files; a bundle without a checkpoint is verified as it is."""
    bundle = BundleFiles(inside)
    bundle.add("checkpoint", [b"note"])
    assert bundle.root() == inside
    assert refused(lambda: print(BundleFiles(inside).root()))


@pytest.mark.parametrize(
    "name",
    [
        "../checkpoint",
        "ledger/../../checkpoint",
        "/etc/passwd",
        "ledger//checkpoint",
        "./checkpoint",
        "",
        "ledger\\..\\checkpoint",
        "C:/checkpoint",
        "tile/\0",
        "tile/\u202egnp.x",
        "/".join("a" * 20),
        "a" * 121,
    ],
)
def test_no_name_leads_elsewhere(tmp_path: Path, inside: Path, name: str) -> None:
    """Names that climb, begin at the root, hide something or are too long are refused and write nothing."""
    before = files_under(tmp_path)
    assert "name" in refused(lambda: BundleFiles(inside).add(name, [b"x"]))
    assert files_under(tmp_path) == before


def test_an_archive_that_climbs_is_refused(tmp_path: Path, inside: Path) -> None:
    """As a single name is."""
    path = archive(tmp_path, lambda opened: opened.writestr("../../outside", b"x"))
    refused(lambda: BundleFiles(inside).add_archive(path))
    assert not (tmp_path / "outside").exists()


def _link(opened: zipfile.ZipFile) -> None:
    member = zipfile.ZipInfo("checkpoint")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    opened.writestr(member, "/etc/passwd")


def _twice(opened: zipfile.ZipFile) -> None:
    opened.writestr("a/b", b"x")
    opened.writestr("a", b"x")


def _compressed_otherwise(opened: zipfile.ZipFile) -> None:
    opened.writestr("checkpoint", b"x", compress_type=zipfile.ZIP_LZMA)


@pytest.mark.parametrize(
    ("write", "what"), [(_link, "link"), (_twice, "once"), (_compressed_otherwise, "compression")]
)
def test_only_plain_files_each_once(tmp_path: Path, inside: Path, write: Write, what: str) -> None:
    """No links, no file where a directory is, no compression that costs more than it says."""
    path = archive(tmp_path, write)
    assert what in refused(lambda: BundleFiles(inside).add_archive(path))


def test_an_encrypted_member_is_refused(tmp_path: Path, inside: Path) -> None:
    """There is nobody to ask for its password."""
    path = archive(tmp_path, lambda opened: opened.writestr("checkpoint", b"x"))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in refused(lambda: BundleFiles(inside).add_archive(path))


def test_a_bomb_is_stopped_by_what_comes_out(
    tmp_path: Path, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small as it is, and whatever size it names."""
    monkeypatch.setattr(bundle_files, "MAX_BUNDLE_BYTES", 1 << 20)
    path = archive(tmp_path, lambda opened: opened.writestr("checkpoint", bytes(3 << 20)))
    assert path.stat().st_size < 10_000
    assert "MiB" in refused(lambda: BundleFiles(inside).add_archive(path))
    assert sum(map(len, files_under(inside).values())) <= 1 << 20


def test_too_many_files_are_refused(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if they are empty."""
    monkeypatch.setattr(bundle_files, "MAX_FILES", 2)
    bundle = BundleFiles(inside)
    for number in range(2):
        bundle.add(f"tile/{number}", [])
    assert "at most 2 files" in refused(lambda: bundle.add("tile/2", []))


def test_a_list_of_names_that_would_fill_the_memory_is_not_read(
    tmp_path: Path, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size stands at the archive's end and is looked at before the list."""

    def write(opened: zipfile.ZipFile) -> None:
        for number in range(9):
            opened.writestr(f"tile/{number}", b"")

    path = archive(tmp_path, write)
    monkeypatch.setattr(bundle_files, "_MAX_DIRECTORY_BYTES", 100)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # it would fail, if it were asked
    assert "files, got more" in refused(lambda: BundleFiles(inside).add_archive(path))


def _commented(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as opened:
        opened.comment = b"x"


def _zip64(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-22] + b"PK\x06\x07" + bytes(16) + data[-22:])


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[45] ^= 0xFF
    path.write_bytes(data)


def _other(path: Path) -> None:
    path.write_bytes(b"not an archive")


@pytest.mark.parametrize("change", [_commented, _zip64, _cut, _damaged, _other])
def test_what_is_no_plain_archive_is_refused(
    tmp_path: Path, inside: Path, change: Callable[[Path], None]
) -> None:
    """A comment that could hide another end, ZIP64, and damaged bytes."""
    path = archive(tmp_path, lambda opened: opened.writestr("checkpoint", b"note" * 100))
    change(path)
    refused(lambda: BundleFiles(inside).add_archive(path))


def test_what_operating_systems_add_is_left_out_and_counted(inside: Path) -> None:
    """A Mac's hidden files would make every bundle that it packs NOT VERIFIED; others are written."""
    read: list[str] = []

    def content(name: str) -> Iterator[bytes]:
        read.append(name)
        yield b"x"

    bundle = BundleFiles(inside)
    for name in ("ledger/checkpoint", "ledger/.DS_Store", "__MACOSX/ledger/._checkpoint", "ledger/extra"):
        bundle.add(name, content(name))
    assert (bundle.left_out, bundle.written, len(read)) == (2, 2, 4)
    assert files_under(bundle.root()) == {"checkpoint": b"x", "extra": b"x"}
