"""A bundle is its two files to the byte: whoever changes anything in it, at any place, is found out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from noren_audit.findings import Code
from noren_audit.trust import Trust
from noren_audit.verify import Verdict, verify_bundle
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
    """At every place of both files, a flipped bit gives NOT VERIFIED, and never an error."""
    del opening.statements[3:]
    bundle, trust = opening.write(tmp_path / "bundle"), trust_in(opening)
    assert verify_bundle(bundle, trust).is_verified
    for name in ("checkpoint", "entries.jsonl"):
        original = (bundle / name).read_bytes()
        for place in range(len(original)):
            changed = bytearray(original)
            changed[place] ^= 1 << (place % 8)
            (bundle / name).write_bytes(changed)
            assert not verify_bundle(bundle, trust).is_verified, (name, place)
        (bundle / name).write_bytes(original)
    assert verify_bundle(bundle, trust).is_verified


def test_no_byte_of_a_season_can_change(honest: SeasonLedger, tmp_path: Path) -> None:
    """In a complete season, flipped bits all over the file give NOT VERIFIED."""
    bundle, trust = honest.write(tmp_path / "bundle"), trust_in(honest)
    original = (bundle / "entries.jsonl").read_bytes()
    for place in range(17, len(original), len(original) // 15):
        changed = bytearray(original)
        changed[place] ^= 1 << (place % 8)
        (bundle / "entries.jsonl").write_bytes(changed)
        assert Code.CHECKPOINT_ROOT in codes(verify_bundle(bundle, trust)), place


def append(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda bundle: (bundle / name).write_bytes((bundle / name).read_bytes() + data)


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda bundle: (bundle / name).write_bytes(change((bundle / name).read_bytes()))


def linked(bundle: Path) -> None:
    (bundle / "entries.jsonl").rename(bundle.parent / "elsewhere")
    (bundle / "entries.jsonl").symlink_to(bundle.parent / "elsewhere")


def a_pipe(bundle: Path) -> None:
    (bundle / "checkpoint").unlink()
    os.mkfifo(bundle / "checkpoint")


@pytest.mark.parametrize(
    ("code", "damage"),
    [
        (Code.BUNDLE_FILES, lambda bundle: (bundle / "README").write_text("trust me")),
        (Code.BUNDLE_FILES, lambda bundle: (bundle / "more").mkdir()),
        (Code.BUNDLE_FILES, lambda bundle: (bundle / "checkpoint").unlink()),
        (Code.BUNDLE_FILES, lambda bundle: (bundle / "entries.jsonl").unlink()),
        (Code.BUNDLE_FILES, linked),
        (Code.BUNDLE_FILES, a_pipe),
        (Code.CHECKPOINT_INVALID, rewrite("checkpoint", lambda data: b"")),
        (Code.CHECKPOINT_INVALID, append("checkpoint", b"\n")),
        (Code.CHECKPOINT_INVALID, append("checkpoint", "— other AAAAAAA=\n".encode())),
        (Code.BUNDLE_FRAMING, rewrite("entries.jsonl", lambda data: b"")),
        (Code.BUNDLE_FRAMING, rewrite("entries.jsonl", lambda data: data[:-1])),
        (Code.ENTRY_MALFORMED, append("entries.jsonl", b"\n")),
        (Code.ENTRY_MALFORMED, append("entries.jsonl", b"{}\n")),
        (Code.ENTRY_MALFORMED, rewrite("entries.jsonl", lambda data: data.replace(b"\n", b"\r\n"))),
        (Code.ENTRY_MALFORMED, rewrite("entries.jsonl", lambda data: b"\xef\xbb\xbf" + data)),
        (Code.CHECKPOINT_SIZE, rewrite("entries.jsonl", lambda data: data + data.split(b"\n")[3] + b"\n")),
        (Code.CHECKPOINT_SIZE, rewrite("entries.jsonl", lambda data: data[: data[:-1].rindex(b"\n") + 1])),
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
    lines = (bundle / "entries.jsonl").read_bytes().splitlines(keepends=True)
    lines[3], lines[5] = lines[5], lines[3]
    (bundle / "entries.jsonl").write_bytes(b"".join(lines))
    assert Code.CHECKPOINT_ROOT in codes(verify_bundle(bundle, trust_in(opening)))


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
