"""A bundle is its files to the byte: whoever changes anything in it, at any place, is found out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ledger_bundle import files, read_entries, write_bundle

from noren_audit.verification.findings import Code
from noren_audit.verification.trust import Trust
from noren_audit.verification.verify import Verdict, verify_bundle
from noren_core.crypto.identity import SigningKey
from noren_core.ledger.checkpoint import sign_checkpoint
from noren_server.ledger_store import LedgerStore

if TYPE_CHECKING:
    from conftest import SeasonLedger


def trust_in(ledger: SeasonLedger) -> Trust:
    return Trust(log_key=ledger.verifier_key, platform_key=ledger.platform_key.public_key)


def codes(verdict: Verdict) -> set[Code]:
    return {finding.code for finding in verdict.findings}


def test_what_the_platform_exports_is_verified(honest: SeasonLedger, tmp_path: Path) -> None:
    """The export of a real ledger file passes, and its checkpoint is reported."""
    origin = honest.verifier_key.name
    with LedgerStore(tmp_path / "ledger.db", origin=origin, log_key=honest.log_key) as store:
        store.append_many(honest.entries())
        store.export(tmp_path / "bundle")
    verdict = verify_bundle(tmp_path / "bundle", trust_in(honest))
    assert verdict.is_verified
    assert verdict.checkpoint is not None
    assert (verdict.checkpoint.origin, verdict.checkpoint.size) == (origin, len(honest.statements))


def test_no_byte_of_a_small_bundle_can_change(opening: SeasonLedger, tmp_path: Path) -> None:
    """At every place of every file, a flipped bit gives NOT VERIFIED, and never an error."""
    del opening.statements[3:]
    bundle, trust = opening.write(tmp_path / "bundle"), trust_in(opening)
    assert verify_bundle(bundle, trust).is_verified
    assert files(bundle) == ["checkpoint", "tile/0/000.p/3", "tile/entries/000.p/3"]
    for name in files(bundle):
        original = (bundle / name).read_bytes()
        for place in range(len(original)):
            changed = bytearray(original)
            changed[place] ^= 1 << (place % 8)
            (bundle / name).write_bytes(changed)
            assert not verify_bundle(bundle, trust).is_verified, (name, place)
        (bundle / name).write_bytes(original)
    assert verify_bundle(bundle, trust).is_verified


def test_no_byte_of_a_season_can_change(honest: SeasonLedger, tmp_path: Path) -> None:
    """In a complete season, flipped bits all over the entries give NOT VERIFIED."""
    bundle, trust = honest.write(tmp_path / "bundle"), trust_in(honest)
    name = next(name for name in files(bundle) if name.startswith("tile/entries/"))
    original = (bundle / name).read_bytes()
    for place in range(17, len(original), len(original) // 15):
        changed = bytearray(original)
        changed[place] ^= 1 << (place % 8)
        (bundle / name).write_bytes(changed)
        assert Code.CHECKPOINT_ROOT in codes(verify_bundle(bundle, trust)), place


def test_a_ledger_of_several_levels_is_checked_in_all_of_them(opening: SeasonLedger, tmp_path: Path) -> None:
    """With more than 256 entries, every tile of every level counts, and only those that the size asks for."""
    for number in range(300):
        opening.say("round-failed", "platform", {"campaign": "autumn", "round": number + 1, "reason": "X"})
    bundle, trust = opening.write(tmp_path / "bundle"), trust_in(opening)
    honest = codes(verify_bundle(bundle, trust))
    assert files(bundle) == [
        "checkpoint",
        "tile/0/000",
        "tile/0/001.p/54",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/54",
    ]
    assert not honest & {Code.BUNDLE_FILES, Code.BUNDLE_TILES, Code.CHECKPOINT_ROOT}
    for name in files(bundle)[1:4]:
        original = (bundle / name).read_bytes()
        for data in (original[:-1] + b"x", original[:-32], original + bytes(32)):
            (bundle / name).write_bytes(data)
            assert codes(verify_bundle(bundle, trust)) - honest <= {Code.BUNDLE_TILES, Code.BUNDLE_FRAMING}
            assert codes(verify_bundle(bundle, trust)) - honest
        (bundle / name).write_bytes(original)
    for name in ("tile/0/001", "tile/0/000.p/1", "tile/entries/001", "tile/2/000.p/1", "tile/entries/002"):
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_bytes(b"")
        assert Code.BUNDLE_FILES in codes(verify_bundle(bundle, trust)) - honest, name
        (bundle / name).unlink()


def test_a_damaged_part_does_not_hide_the_rest(opening: SeasonLedger, tmp_path: Path) -> None:
    """Entries behind a bundle that does not divide into entries are read under their own numbers."""
    for number in range(300):
        opening.say("round-failed", "platform", {"campaign": "autumn", "round": number + 1, "reason": "X"})
    entries = opening.entries()
    entries[280] = b"{}"
    bundle = opening.write(tmp_path / "bundle", entries)
    (bundle / "tile/entries/000").write_bytes(b"\xff\xff")
    found = {finding.code: finding for finding in verify_bundle(bundle, trust_in(opening)).findings}
    assert found[Code.BUNDLE_FRAMING].evidence == {"file": "tile/entries/000"}
    assert found[Code.ENTRY_MALFORMED].index == 280
    assert {Code.CHECKPOINT_SIZE, Code.CHECKPOINT_ROOT} <= found.keys()


ENTRIES = "tile/entries/000.p/10"


def append(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda bundle: (bundle / name).write_bytes((bundle / name).read_bytes() + data)


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda bundle: (bundle / name).write_bytes(change((bundle / name).read_bytes()))


def linked(name: str) -> Callable[[Path], object]:
    def link(bundle: Path) -> None:
        (bundle / name).rename(bundle.parent / "elsewhere")
        (bundle / name).symlink_to(bundle.parent / "elsewhere")

    return link


def too_deep(bundle: Path) -> None:
    """Directories within each other, whose path is longer than the system takes."""
    place = os.open(bundle, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=place)
        inner = os.open("x" * 250, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)


def a_pipe(bundle: Path) -> None:
    (bundle / "checkpoint").unlink()
    os.mkfifo(bundle / "checkpoint")


@pytest.mark.parametrize(
    ("code", "damage"),
    [
        (Code.BUNDLE_FILES, lambda bundle: (bundle / "README").write_text("trust me")),
        (Code.BUNDLE_FILES, lambda bundle: (bundle / "more").mkdir()),
        (Code.BUNDLE_FILES, lambda bundle: (bundle / "checkpoint").unlink()),
        (Code.BUNDLE_FILES, lambda bundle: (bundle / ENTRIES).unlink()),
        (Code.BUNDLE_FILES, lambda bundle: (bundle / "tile/0/000.p/10").unlink()),
        (Code.BUNDLE_FILES, lambda bundle: (bundle / "tile/x000").mkdir()),
        (Code.BUNDLE_FILES, too_deep),
        (Code.BUNDLE_FILES, linked(ENTRIES)),
        (Code.BUNDLE_FILES, linked("tile")),
        (Code.BUNDLE_FILES, a_pipe),
        (Code.CHECKPOINT_INVALID, rewrite("checkpoint", lambda data: b"")),
        (Code.CHECKPOINT_INVALID, append("checkpoint", b"\n")),
        (Code.CHECKPOINT_INVALID, append("checkpoint", "— noren.example/ledger AAAAAAA=\n".encode())),
        (Code.CHECKPOINT_INVALID, append("checkpoint", bytes(1 << 17))),
        (Code.BUNDLE_FRAMING, rewrite(ENTRIES, lambda data: b"")),
        (Code.BUNDLE_FRAMING, rewrite(ENTRIES, lambda data: data[:-1])),
        (Code.BUNDLE_FRAMING, append(ENTRIES, b"\0")),
        (Code.BUNDLE_FRAMING, append(ENTRIES, b"\0\2{}")),
        (Code.BUNDLE_TILES, append("tile/0/000.p/10", bytes(32))),
        (Code.BUNDLE_TILES, rewrite("tile/0/000.p/10", lambda data: data[:-1] + bytes([data[-1] ^ 1]))),
    ],
)
def test_damage_is_named(
    code: Code, damage: Callable[[Path], object], opening: SeasonLedger, tmp_path: Path
) -> None:
    """Missing, added, linked and badly framed content each has its code."""
    bundle = opening.write(tmp_path / "bundle")
    damage(bundle)
    assert code in codes(verify_bundle(bundle, trust_in(opening)))


def test_an_empty_ledger_is_not_verified(opening: SeasonLedger, tmp_path: Path) -> None:
    """A signed checkpoint over nothing proves nothing: not even the log's start is there."""
    bundle = opening.write(tmp_path / "bundle", [])
    assert Code.LOG_START in codes(verify_bundle(bundle, trust_in(opening)))


def test_an_entry_that_cannot_be_parsed_is_found_though_the_log_signed_it(
    opening: SeasonLedger, tmp_path: Path
) -> None:
    """The platform may sign a root over anything; entries must be entries."""
    for number, line in enumerate((b"", b"{}", b'"\\ud800"', b"[[[[[[[[[[[[]]]]]]]]]]]]", b"9" * 5000)):
        bundle = opening.write(tmp_path / f"bundle-{number}", [*opening.entries(), line])
        assert codes(verify_bundle(bundle, trust_in(opening))) == {Code.ENTRY_MALFORMED}


def test_reordered_and_dropped_entries_change_the_root(opening: SeasonLedger, tmp_path: Path) -> None:
    """Without the log's key, no other list of entries fits the checkpoint."""
    bundle = opening.write(tmp_path / "bundle")
    checkpoint, entries = (bundle / "checkpoint").read_bytes(), read_entries(bundle, 10)
    swapped = [*entries[:3], entries[4], entries[3], *entries[5:]]
    for number, changed in enumerate((swapped, entries[:-1], [*entries, entries[3]], entries[1:])):
        forged = write_bundle(tmp_path / f"forged-{number}", checkpoint, changed)
        found = codes(verify_bundle(forged, trust_in(opening)))
        assert Code.CHECKPOINT_ROOT in found
        assert (Code.CHECKPOINT_SIZE in found) == (len(changed) != 10)


def test_only_the_trusted_keys_count(opening: SeasonLedger, tmp_path: Path) -> None:
    """A ledger that is consistent in itself, under other keys or another origin, is not verified."""
    bundle = opening.write(tmp_path / "bundle")
    stranger = SigningKey.generate()
    trust = trust_in(opening)
    other_platform = Trust(log_key=trust.log_key, platform_key=stranger.public_key)
    assert {Code.COUNTERSIGNATURE, Code.LOG_START} <= codes(verify_bundle(bundle, other_platform))
    for origin, key in (("noren.example/other", opening.log_key), (trust.origin, stranger)):
        note = sign_checkpoint(origin, len(opening.statements), bytes(32), key)
        (bundle / "checkpoint").write_bytes(note)
        assert Code.CHECKPOINT_INVALID in codes(verify_bundle(bundle, trust))
