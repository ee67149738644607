"""Go's unmodified sumdb packages read our ledger: notes, tiles, proofs; and refuse what was altered."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from ledger_bundle import files

from noren_core.crypto.identity import SigningKey
from noren_core.ledger.add_checkpoint import AddCheckpoint
from noren_core.ledger.cosignature import CosignerKey, cosign
from noren_core.ledger.entries import PLATFORM, countersign, sign_entry
from noren_core.ledger.note import VerifierKey, parse_note
from noren_core.ledger.tlog_proof import TlogProof
from noren_server.ledger_store import LedgerStore

GO_PATH = Path("/usr/share/gocode")
SUMDB = GO_PATH / "src/golang.org/x/mod/sumdb"
INSTALL = "sudo apt-get install -y --no-install-recommends golang-go golang-golang-x-mod-dev"
ORIGIN, ENTRIES, OLD_SIZE, PROVEN = "noren.example/log", 700, 300, 555
LOG_KEY, PLATFORM_KEY, WITNESS_KEY = (SigningKey.from_bytes(bytes([number] * 32)) for number in (1, 2, 3))
COSIGNER = CosignerKey("witness.example/1", WITNESS_KEY.public_key)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our Go program with Debian's packages, built without network."""
    go = shutil.which("go")
    assert go is not None, f"Go is needed for this test: {INSTALL}"
    assert SUMDB.is_dir(), f"Go's sumdb packages are needed for this test: {INSTALL}"
    place = tmp_path_factory.mktemp("go")
    settings = {
        "GO111MODULE": "off",
        "GOPATH": str(GO_PATH),
        "GOPROXY": "off",
        "GOFLAGS": "",
        "CGO_ENABLED": "0",
    }
    subprocess.run(
        [go, "build", "-o", str(place / "main"), str(Path(__file__).parent / "go" / "main.go")],
        env={**os.environ, **settings, "GOCACHE": str(place / "cache"), "GOTELEMETRY": "off"},
        check=True,
        timeout=300,
    )
    return place / "main"


@dataclass(frozen=True)
class Exported:
    """What a platform hands out: the bundle, one entry with its proof, and a request to a witness."""

    bundle: Path
    entry: Path
    proof: Path
    request: Path

    def read_by(self, program: Path) -> subprocess.CompletedProcess[str]:
        keys = VerifierKey(ORIGIN, LOG_KEY.public_key).to_text(), COSIGNER.to_text()
        return subprocess.run(
            [program, self.bundle, *keys, self.entry, self.proof, self.request],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def exported(tmp_path: Path) -> Exported:
    with LedgerStore(tmp_path / "ledger.db", origin=ORIGIN, log_key=LOG_KEY) as store:
        bodies = [
            {"campaign": "autumn", "round": number + 1, "reason": "TOO_FEW"} for number in range(ENTRIES)
        ]
        signed = [sign_entry("round-failed", PLATFORM, body, PLATFORM_KEY) for body in bodies]
        store.append_many([countersign(data, PLATFORM_KEY) for data in signed])
        plain = store.checkpoint()
        line = cosign(parse_note(plain).text, COSIGNER.name, WITNESS_KEY, timestamp=1_700_000_000)
        checkpoint = plain + line.to_line().encode()
        store.export(tmp_path / "bundle", checkpoint)
        proven = store.prove_entry(PROVEN, ENTRIES)
        growth = tuple(store.prove_growth(OLD_SIZE, ENTRIES))
    found = Exported(
        tmp_path / "bundle", tmp_path / "entry", tmp_path / "entry.tlog-proof", tmp_path / "request"
    )
    found.entry.write_bytes(proven.entry)
    found.proof.write_bytes(TlogProof(PROVEN, proven.inclusion, checkpoint).to_bytes())
    found.request.write_bytes(AddCheckpoint(OLD_SIZE, growth, plain).to_bytes())
    return found


def test_go_reads_what_we_export(program: Path, exported: Exported) -> None:
    """Note and cosignature open, every entry is included, earlier sizes are consistent, proofs verify."""
    done = exported.read_by(program)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ok {ENTRIES}\n", "")


def test_go_refuses_what_was_altered(program: Path, exported: Exported) -> None:
    """One bit in any file of the bundle, in the entry, its proof or the request: no longer accepted."""
    places = [exported.bundle / name for name in files(exported.bundle)]
    for path in (*places, exported.entry, exported.proof, exported.request):
        data = path.read_bytes()
        changed = bytearray(data)
        changed[len(data) // 3] ^= 1
        path.write_bytes(changed)
        assert exported.read_by(program).returncode == 1, path
        path.write_bytes(data)
    assert exported.read_by(program).returncode == 0
