"""What a platform that keeps everybody's copies has of them: nothing.

One platform process gets the copies of a thousand students, serves one of them over TLS, and is then
searched: its files, its log, its memory, and every byte sent to it. A search that found nothing in an empty
place would prove nothing: the copies themselves, which the platform does have, are found in the same places.
"""

from __future__ import annotations

import os
import secrets
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from mirrored_scores import record
from student_http import COMPANY, LINK, SCORE, students_platform

from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.ledger.entries import EntryKind, SignedEntry, parse_entry, sign_entry
from noren_core.rights.disclosure.mirror import SALT_BYTES, MirrorRecord, commit, verify_receipt
from noren_core.rights.disclosure.mirror_copy import ScoreCopy, open_copy, seal_copy
from noren_core.rights.student_device import StudentDevice
from noren_core.rights.student_request import sign_request
from noren_server.platform_files import AUTHORITY

STUDENTS = 1000
SALT_CANARY = secrets.token_bytes(16)
RECORD_CANARY = f"https://canary-{secrets.token_hex(12)}.example"
SUPPORT = Path(__file__).parents[2] / "support"


@dataclass
class Deposited:
    """What the company made, and what reached the platform."""

    signing: SigningKey
    entry: SignedEntry
    copies: list[ScoreCopy] = field(default_factory=list)
    wire: bytearray = field(default_factory=bytearray)


def hidden() -> dict[str, bytes]:
    """What must be nowhere, by what it is: it begins every salt, is in every record, or states every band."""
    return {
        "a salt": SALT_CANARY,
        "a salt in hex": SALT_CANARY.hex().encode(),
        "a record": RECORD_CANARY.encode(),
        **{f"band {band}": b'"band":%d,"band_edges"' % band for band in range(3)},
    }


def random_bytes(length: int) -> bytes:
    """Unpredictable behind a beginning that can be searched for."""
    beginning = SALT_CANARY if length == SALT_BYTES else b""
    return beginning + secrets.token_bytes(length - len(beginning))


def made(mailbox: bytes) -> MirrorRecord:
    """A record with the canary in it."""
    return record(mailbox=mailbox, band=secrets.randbelow(3), contest=RECORD_CANARY)


def deposit(process: subprocess.Popen[bytes], mailboxes: list[bytes], keys: list[SealingKey]) -> Deposited:
    """Commit, seal and hand over, as a company does."""
    signing = SigningKey.generate()
    root, committed = commit([made(box) for box in mailboxes], size=1024, random_bytes=random_bytes)
    body = {"campaign": "spring-2026", "company": COMPANY, "root": root.hex(), "deposited_at": 1}
    entry = parse_entry(sign_entry(EntryKind.MIRROR_DEPOSIT, COMPANY, body, signing))
    deposited = Deposited(signing, entry)
    assert process.stdin is not None
    assert process.stdout is not None
    for item, key in zip(committed, keys, strict=True):
        copy = ScoreCopy(deposit_index=0, committed=item)
        sealed = seal_copy(copy, signing=signing, disclosure_key=key.public_key)
        process.stdin.write(item.record.mailbox + sealed)
        process.stdin.flush()
        receipt = process.stdout.read(64)
        assert len(receipt) == 64
        deposited.copies.append(copy)
        deposited.wire += item.record.mailbox + sealed
        if len(deposited.copies) == 1:
            verify_receipt(PLATFORM_KEYS[0], receipt, mailbox=item.record.mailbox, sealed_copy=sealed)
    return deposited


PLATFORM_KEYS: list[bytes] = []


def memory_of(process: int) -> Iterator[bytes]:
    """Every region of the process's memory that can be read, in overlapping pieces."""
    regions = []
    for line in Path(f"/proc/{process}/maps").read_text().splitlines():
        bounds, rights, *_ = line.split()
        if rights.startswith("rw"):
            low, high = (int(bound, 16) for bound in bounds.split("-"))
            regions.append((low, high))
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        for low, high in regions:
            for start in range(low, high, 32 << 20):
                try:
                    yield os.pread(memory.fileno(), min((32 << 20) + 4096, high - start), start)
                except OSError:
                    continue


def found_in(haystack: bytes | bytearray, wanted: dict[str, bytes]) -> set[str]:
    return {name for name, value in wanted.items() if value in haystack}


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read through /proc")
def test_a_platform_with_a_thousand_copies_has_no_band_and_no_salt(tmp_path: Path) -> None:
    """Neither on disk, nor in its log, nor on the wire, nor in memory; the student reads hers.

    Slow on purpose: a thousand durable writes and a search of a whole process.
    """
    with students_platform(tmp_path) as students:
        aiko = students.registered("aiko")
        for purpose in (LINK, SCORE):
            aiko.gives(purpose, "consent-score")
        own = bytes.fromhex(aiko.get("/v1/mailboxes")["mailboxes"][0]["mailbox"])
        PLATFORM_KEYS[:] = [students.platform.signing_key.public_key]
        origin = students.platform.config.origin
    directory = tmp_path / "platform"
    mailboxes = [own, *(secrets.token_bytes(16) for _ in range(STUDENTS - 1))]
    keys = [aiko.device.disclosure_key(COMPANY), *(SealingKey.generate() for _ in range(STUDENTS - 1))]
    log = tmp_path / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, str(SUPPORT / "curious_platform.py"), str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        ) as process,
    ):
        assert process.stdout is not None
        port = int(process.stdout.readline())
        deposited = deposit(process, mailboxes, keys)
        seen = fetch(port, directory, aiko.device, origin, own)
        opened = open_copy(
            seen,
            keys[0],
            company=COMPANY,
            mailbox=own,
            company_keys=[deposited.signing.public_key],
            deposit_at=lambda _: deposited.entry,
        )
        assert opened.copy == deposited.copies[0]
        known = {"a copy": seen[:64], "a handle": own}
        leaked, control = set(), set()
        for piece in memory_of(process.pid):
            leaked |= found_in(piece, hidden())
            control |= found_in(piece, known)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=30) == 0
    assert leaked == set()
    assert control == set(known)
    files = [path for path in directory.rglob("*") if path.is_file()]
    stored = b"".join(path.read_bytes() for path in files)
    assert found_in(stored, hidden()) == set()
    assert found_in(stored, known) == set(known)
    assert found_in(log.read_bytes(), hidden()) == set()
    assert b"aiko" not in log.read_bytes()
    assert found_in(deposited.wire, hidden()) == set()
    assert found_in(deposited.wire, known) == set(known)


def fetch(port: int, directory: Path, device: StudentDevice, origin: str, mailbox: bytes) -> bytes:
    """Her copy, over TLS with the platform's own certificate."""
    target = f"/v1/copies?mailbox={mailbox.hex()}"
    request = sign_request(
        device.signing_key,
        student=device.student,
        platform=origin,
        method="GET",
        target=target,
        body=b"",
        time=int(time.time()),
        nonce=secrets.token_bytes(16),
    )
    context = ssl.create_default_context(cafile=str(directory / AUTHORITY))
    with httpx.Client(verify=context, trust_env=False) as client:
        answer = client.get(f"https://127.0.0.1:{port}{target}", headers=request.headers())
    assert answer.status_code == 200, answer.text
    [copy] = answer.json()["copies"]
    return bytes.fromhex(copy["copy"])
