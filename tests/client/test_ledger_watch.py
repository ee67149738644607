"""What a company keeps of the ledger: forward only, one key per company, evidence of a split view."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from noren_client import config, keystore
from noren_client.cli import main
from noren_client.config import Addresses, CompanyConfig, Limits, Pins
from noren_client.ledger_watch import LedgerWatch
from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.crypto.merkle import MerkleTree, leaf_hash
from noren_core.errors import LocalProtocolError, VerificationError
from noren_core.ledger.checkpoint import sign_checkpoint
from noren_core.ledger.entries import CompanyKey, EntryKind, PlatformKey, countersign, sign_entry
from noren_core.ledger.key_history import sign_change
from noren_core.ledger.note import VerifierKey
from noren_core.ledger.proofs import EntryProof, LedgerProof, SplitViewError
from noren_core.privacy.events import GaussianEvent, NoisePlacement
from noren_local.private_file import write_private

ORIGIN = "job-site/ledger"


@dataclass
class Log:
    """A ledger in memory, with the keys of its platform."""

    log_key: SigningKey
    platform_key: SigningKey
    entries: list[bytes]

    def append(self, kind: EntryKind, author: str, body: dict[str, object], key: SigningKey) -> None:
        self.entries.append(countersign(sign_entry(kind, author, body, key), self.platform_key))

    def grow(self, reason: str = "TEST") -> None:
        body: dict[str, object] = {"campaign": "c", "reason": reason, "round": len(self.entries) + 1}
        self.append(EntryKind.ROUND_FAILED, "platform", body, self.platform_key)

    def enrol(self, company: str, key: SigningKey) -> None:
        body: dict[str, object] = {
            "company": company,
            "signing_key": key.public_key.hex(),
            "sealing_key": SealingKey.generate().public_key.hex(),
            "tls_key_sha256": hashlib.sha256(key.public_key + b"tls").hexdigest(),
            "node_key_sha256": hashlib.sha256(key.public_key + b"node").hexdigest(),
        }
        self.append(EntryKind.ENROLMENT, company, body, key)

    def prove(self, known_size: int, *indices: int) -> LedgerProof:
        tree = MerkleTree([leaf_hash(entry) for entry in self.entries])
        return LedgerProof(
            checkpoint=sign_checkpoint(ORIGIN, tree.size, tree.root(), self.log_key),
            consistency=tuple(tree.consistency_proof(known_size)),
            entries=tuple(
                EntryProof(index, self.entries[index], tuple(tree.inclusion_proof(index)))
                for index in indices
            ),
        )


@pytest.fixture
def log() -> Log:
    """A ledger with three entries."""
    made = Log(SigningKey.generate(), SigningKey.generate(), [])
    for _ in range(3):
        made.grow()
    return made


@pytest.fixture
def company_dir(tmp_path: Path, log: Log) -> Path:
    """A company that pins this ledger."""
    settings = CompanyConfig(
        company="alpha",
        platform="job-site",
        addresses=Addresses("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
        pins=Pins("ab" * 32, VerifierKey(ORIGIN, log.log_key.public_key), log.platform_key.public_key),
        limits=Limits(),
    )
    (tmp_path / "config.toml").write_bytes(config.to_toml(settings))
    keystore.create_missing(tmp_path)
    return tmp_path


def test_the_checkpoint_moves_forward_by_proof(company_dir: Path, log: Log) -> None:
    """Each verified proof becomes the newest checkpoint, also for a new process."""
    watch = LedgerWatch(company_dir)
    assert watch.known_tree_size == 0
    [entry] = watch.verify(log.prove(0, 1))
    assert (entry.kind, entry.body["round"]) == (EntryKind.ROUND_FAILED, 2)
    for size in range(4, 15):
        log.grow()
        watch.verify(log.prove(size - 1, size - 1))
        assert LedgerWatch(company_dir).known_tree_size == size
    assert len(list((company_dir / "platform" / "earlier").iterdir())) == 8


@pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")
def test_the_newest_checkpoint_can_be_handed_to_an_auditor(
    company_dir: Path, log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ledger checkpoint` writes the note as the log signed it; before the first one it says so."""
    arguments = ["--json", "--directory", str(company_dir), "ledger", "checkpoint", str(tmp_path / "seen")]
    assert main(arguments) != 0
    proof = log.prove(0)
    LedgerWatch(company_dir).verify(proof)
    capsys.readouterr()
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["size"] == len(log.entries)
    assert (tmp_path / "seen").read_bytes() == proof.checkpoint


def test_another_history_is_refused_and_kept(company_dir: Path, log: Log) -> None:
    """A fork signed by the same key raises, leaves the checkpoint, and both sides are on disk."""
    watch = LedgerWatch(company_dir)
    watch.verify(log.prove(0))
    fork = Log(log.log_key, log.platform_key, [])
    for _ in range(5):
        fork.grow("FORK")
    for proof in (fork.prove(3), fork.prove(0)):
        with pytest.raises(SplitViewError):
            watch.verify(proof)
    assert watch.known_tree_size == 3
    assert len(list((company_dir / "platform" / "evidence").iterdir())) == 1  # one pair, kept once


def test_a_platform_cannot_fill_the_disk_with_evidence(company_dir: Path, log: Log) -> None:
    """Many forks are refused as one is; the first ones are kept, and prove as much."""
    watch = LedgerWatch(company_dir)
    watch.verify(log.prove(0))
    fork = Log(log.log_key, log.platform_key, [])
    for _ in range(100):
        fork.grow("FORK")
        with pytest.raises(SplitViewError):
            watch.verify(fork.prove(0))
    assert 1 <= len(list((company_dir / "platform" / "evidence").iterdir())) <= 16


def test_a_proof_from_an_earlier_checkpoint_accuses_nobody(company_dir: Path, log: Log) -> None:
    """When another process moved the checkpoint, the late proof is refused as stale, without evidence."""
    watch = LedgerWatch(company_dir)
    watch.verify(log.prove(0))
    log.grow()
    late = log.prove(3)
    log.grow()
    LedgerWatch(company_dir).verify(log.prove(3))
    log.grow()
    late_and_larger = log.prove(3)
    for proof in (late, late_and_larger):
        with pytest.raises(LocalProtocolError) as caught:
            watch.verify(proof)
        assert caught.value.code == "STALE_PROOF"
    assert not (company_dir / "platform" / "evidence").exists()
    assert watch.known_tree_size == 5


def test_a_second_key_for_a_company_is_refused_in_a_later_proof(company_dir: Path, log: Log) -> None:
    """Whose enrolment was proven once keeps that key, though the second entry is in the ledger too."""
    watch = LedgerWatch(company_dir)
    log.enrol("bravo", SigningKey.generate())
    watch.verify(log.prove(0, 3))
    log.enrol("bravo", SigningKey.generate())
    with pytest.raises(VerificationError):
        LedgerWatch(company_dir).verify(log.prove(4, 4))
    assert watch.known_tree_size == 4


def test_our_own_entries_need_our_own_key(company_dir: Path, log: Log) -> None:
    """A platform that enrols another key under our name is refused by us."""
    log.enrol("alpha", SigningKey.generate())
    with pytest.raises(VerificationError) as caught:
        LedgerWatch(company_dir).verify(log.prove(0, 3))
    assert caught.value.code == "NOT_OUR_KEY"


def rotation(log: Log, company: str, old: SigningKey, new: SigningKey) -> None:
    """The company's signing key is replaced, by whoever holds the old one."""
    change: dict[str, Any] = {"old": old.public_key.hex(), "new": new.public_key.hex()}
    role = CompanyKey.SIGNING
    possession = sign_change(new, party=company, role=role, endorses=False, **change)
    body = {"company": company, "key": role.value, **change, "possession": possession}
    log.append(EntryKind.KEY_ROTATION, company, body, old)


def test_a_change_of_our_key_that_we_did_not_make_is_refused(company_dir: Path, log: Log) -> None:
    """Whoever stole our signing key and replaced it is found out by us; our own change is accepted."""
    ours = keystore.load(company_dir).signing
    log.enrol("alpha", ours)
    watch = LedgerWatch(company_dir)
    watch.verify(log.prove(0, 3))
    keystore.create_next(company_dir, CompanyKey.SIGNING)
    mine = Log(log.log_key, log.platform_key, list(log.entries))
    rotation(mine, "alpha", ours, keystore.following_signing_key(company_dir))
    rotation(log, "alpha", ours, SigningKey.generate())
    with pytest.raises(VerificationError) as caught:
        watch.verify(log.prove(4, 4))
    assert caught.value.code == "NOT_OUR_KEY"
    assert watch.known_tree_size == 4
    watch.verify(mine.prove(4, 4))
    assert watch.known_tree_size == 5


def replaced(log: Log, role: PlatformKey) -> SigningKey:
    """The platform replaces this key; the new one."""
    old, new = log.log_key if role is PlatformKey.LOG else log.platform_key, SigningKey.generate()
    keys = (old, new)
    texts = [
        VerifierKey(ORIGIN, k.public_key).to_text() if role is PlatformKey.LOG else k.public_key.hex()
        for k in keys
    ]
    change: dict[str, Any] = {"old": texts[0], "new": texts[1]}
    body = {"key": role.value, **change}
    body["possession"] = sign_change(new, party="platform", role=role, endorses=False, **change)
    if role is PlatformKey.LOG:
        body["endorsement"] = sign_change(old, party="platform", role=role, endorses=True, **change)
    log.append(EntryKind.PLATFORM_KEY_ROTATION, "platform", body, log.platform_key)
    return new


def test_the_platforms_new_keys_are_learnt_with_the_proof(company_dir: Path, log: Log) -> None:
    """With the rotations a proof sealed by the new keys is believed, for good; without them it is not."""
    watch = LedgerWatch(company_dir)
    watch.verify(log.prove(0))
    log.log_key = replaced(log, PlatformKey.LOG)
    log.platform_key = replaced(log, PlatformKey.PLATFORM)
    log.grow()
    with pytest.raises(VerificationError):
        watch.verify(log.prove(3, 5))
    assert watch.known_tree_size == 3
    watch.verify(log.prove(3, 3, 4, 5))
    log.grow()
    again = LedgerWatch(company_dir)
    assert again.known_tree_size == 6
    again.verify(log.prove(6, 6))
    assert again.known_tree_size == 7


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_crash_between_keys_and_checkpoint_loses_nothing(
    done: int, company_dir: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys are on disk before the checkpoint that needs them: after any write the watch goes on."""
    watch = LedgerWatch(company_dir)
    watch.verify(log.prove(0))
    log.log_key = replaced(log, PlatformKey.LOG)
    written: list[Path] = []

    def write_then_crash(path: Path, data: bytes) -> None:
        write_private(path, data)
        written.append(path)
        if len(written) == done:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("noren_client.ledger_watch.write_private", write_then_crash)
        with pytest.raises(KeyboardInterrupt):
            watch.verify(log.prove(3, 3))
    assert LedgerWatch(company_dir).known_tree_size == (4 if done == 3 else 3)
    LedgerWatch(company_dir).verify(log.prove(LedgerWatch(company_dir).known_tree_size, 3))
    assert LedgerWatch(company_dir).known_tree_size == 4


def test_changed_keys_on_our_disk_are_noticed(company_dir: Path, log: Log) -> None:
    """Whoever edits the kept entries makes them fail, not us believe them."""
    watch = LedgerWatch(company_dir)
    log.enrol("bravo", SigningKey.generate())
    watch.verify(log.prove(0, 3))
    path = company_dir / "platform" / "key-entries.json"
    path.write_bytes(path.read_bytes().replace(b"bravo", b"brave"))
    with pytest.raises(VerificationError):
        LedgerWatch(company_dir).keys()


def test_an_entry_that_is_not_included_is_refused(company_dir: Path, log: Log) -> None:
    """An entry with another's inclusion proof, or changed by a byte, moves nothing."""
    watch = LedgerWatch(company_dir)
    honest = log.prove(0, 0, 1)
    first, second = honest.entries
    swapped = replace(honest, entries=(replace(first, inclusion=second.inclusion),))
    changed = replace(honest, entries=(replace(first, entry=first.entry.replace(b"TEST", b"BEST")),))
    for proof in (swapped, changed):
        with pytest.raises(VerificationError):
            watch.verify(proof)
    assert watch.known_tree_size == 0


def test_another_logs_checkpoint_is_refused(company_dir: Path, log: Log) -> None:
    """A checkpoint of another key is no evidence against ours, it is just not ours."""
    other = Log(SigningKey.generate(), log.platform_key, list(log.entries))
    with pytest.raises(VerificationError) as caught:
        LedgerWatch(company_dir).verify(other.prove(0))
    assert not isinstance(caught.value, SplitViewError)


def append_intent(log: Log, company: str, key: SigningKey, sequence: int, campaign: str = "spring") -> int:
    """A well-formed intent; its index."""
    event = GaussianEvent(
        noise_multiplier=Fraction(10),
        clipping_norm=Fraction(2),
        grid=2**16,
        count=1,
        placement=NoisePlacement.DISTRIBUTED,
        tolerated=1,
    )
    body: dict[str, object] = {
        "campaign": campaign,
        "company": company,
        "event": event.to_body(),
        "plan_sha256": "00" * 32,
        "previous": hashlib.sha256(str(sequence).encode()).hexdigest(),
        "round": 1,
        "sequence": sequence,
    }
    log.append(EntryKind.INTENT, company, body, key)
    return len(log.entries) - 1


def test_our_newest_intent_is_kept(company_dir: Path, log: Log) -> None:
    """The one furthest in the ledger, whatever is shown later; others' are not ours."""
    watch = LedgerWatch(company_dir)
    assert watch.newest_intent() is None
    ours, other = keystore.load(company_dir), SigningKey.generate()
    log.enrol("alpha", ours.signing)
    log.enrol("bravo", other)
    first = append_intent(log, "alpha", ours.signing, 3)
    newest = append_intent(log, "alpha", ours.signing, 7, "autumn")
    watch.verify(log.prove(0, 3, 4, first, newest, append_intent(log, "bravo", other, 9)))
    for shown in ([first], [], [newest]):
        kept = LedgerWatch(company_dir).newest_intent()
        assert kept is not None
        assert (kept.author, kept.body["sequence"]) == ("alpha", 7)
        watch.verify(log.prove(len(log.entries), *shown))


def test_an_intent_is_kept_before_the_checkpoint(
    company_dir: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash in between, the proof is asked for from the old checkpoint, and nothing is forgotten."""
    ours = keystore.load(company_dir)
    log.enrol("alpha", ours.signing)
    index = append_intent(log, "alpha", ours.signing, 3)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LedgerWatch, "_keep", crash)
        with pytest.raises(KeyboardInterrupt):
            LedgerWatch(company_dir).verify(log.prove(0, 3, index))
    watch = LedgerWatch(company_dir)
    assert watch.known_tree_size == 0
    assert watch.newest_intent() is not None


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"entry":"x","index":1}', b'{"entry":1,"index":1}'])
def test_a_damaged_intent_is_not_taken_for_none(company_dir: Path, damage: bytes) -> None:
    """Who damages the file does not make the company forget that it had one."""
    (company_dir / "platform").mkdir(exist_ok=True)
    (company_dir / "platform" / "newest-intent.json").write_bytes(damage)
    with pytest.raises(VerificationError, match="newest-intent"):
        LedgerWatch(company_dir).newest_intent()
