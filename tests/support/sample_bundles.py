"""Makes the sample ledgers of docs/auditing.md: an honest one, and others named for what is broken in them.

    scripts/sample_bundles            write them anew to tests/audit/sample_bundles

Keys and noise are the same in every run, and so is every byte. A broken ledger is signed with everybody's own
keys, as by parties who break their word; only `altered-entry` is changed by somebody who has none.
"""

from __future__ import annotations

import copy
import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ledger_bundle import read_entries, write_bundle

from noren_audit.verification.findings import Code
from noren_core.crypto.merkle import leaf_hash, root_hash
from noren_core.ledger.checkpoint import sign_checkpoint
from noren_core.ledger.cosignature import cosign
from noren_core.ledger.note import Note, parse_note

TESTS = Path(__file__).parents[1]
DIRECTORY = TESTS / "audit" / "sample_bundles"
TRUST_FILE = "trust.toml"
_SENTINELS = 24
_TIME = 1_767_225_600  # of every cosignature

Ledger = Any  # tests/audit/conftest.py: SeasonLedger


@dataclass(frozen=True)
class Sample:
    """One sample.

    Attributes:
        name: of its directory: what is broken.
        codes: what verify finds in it; nothing in the honest one.
        breaks: changes the honest statements before they are signed.
        is_altered: whether a byte is changed after everything was signed.
        has_seen: whether somebody was shown another ledger, whose checkpoint lies beside the bundle.
    """

    name: str
    codes: frozenset[Code]
    breaks: Callable[[Ledger], None]
    is_altered: bool = False
    has_seen: bool = False


def _keep(ledger: Ledger) -> None:
    del ledger


def _missing_round(ledger: Ledger) -> None:
    """The platform leaves out that beta reserved round 2: beta seems to have spent less."""
    ledger.drop(ledger.find("intent", company="beta", campaign="autumn", round=2))


def _noise_halved(ledger: Ledger) -> None:
    """In autumn the companies together add half of the noise that the plan promises."""
    for statement in ledger.statements:
        if statement.kind == "settle" and statement.body["campaign"] == "autumn":
            statement.body["sentinels"] = [value // 2 for value in statement.body["sentinels"]]


def _overspent(ledger: Ledger) -> None:
    """Delta reserves a fourth round of three."""
    third = ledger.find("intent", company="delta", campaign="autumn", round=3)
    fourth = ledger.repeat(third, round=4, previous="44" * 32, sequence=third.body["sequence"] + 1)
    ledger.move(fourth, before=ledger.statements[ledger.statements.index(third) + 1])
    for statement in ledger.statements:
        own = statement.kind == "intent" and statement.body["company"] == "delta" and statement is not fourth
        if own and statement.body["sequence"] > third.body["sequence"]:
            statement.body["sequence"] += 1


def _rolled_back_odometer(ledger: Ledger) -> None:
    """Alpha restores its odometer from a copy of autumn and spends the same lines again in spring."""
    for number in (1, 2, 3):
        autumn = ledger.find("intent", company="alpha", campaign="autumn", round=number).body
        spring = ledger.find("intent", company="alpha", campaign="spring", round=number).body
        spring.update({name: autumn[name] for name in ("previous", "sequence")})


def _forged_consent_epoch(ledger: Ledger) -> None:
    """Gamma's training table says that it was made from the consents to be scored by gamma."""
    training = ledger.find("consent-epoch", company="gamma", campaign="spring", kind="train")
    training.body["kind"] = "score"


SAMPLES = (
    Sample("honest", frozenset(), _keep),
    Sample(
        "altered-entry",
        frozenset({Code.BUNDLE_TILES, Code.CHECKPOINT_ROOT, Code.COUNTERSIGNATURE}),
        _keep,
        is_altered=True,
    ),
    Sample(
        "missing-round",
        frozenset({Code.INTENT_ROUND_ORDER, Code.SETTLE_WITHOUT_INTENT}),
        _missing_round,
    ),
    Sample("noise-halved", frozenset({Code.SENTINELS_TOO_SMALL}), _noise_halved),
    Sample("overspent", frozenset({Code.INTENT_BEYOND_PLAN, Code.EPSILON_EXCEEDED}), _overspent),
    Sample(
        "rolled-back-odometer",
        frozenset({Code.ODOMETER_REPEATED, Code.ODOMETER_ROLLED_BACK}),
        _rolled_back_odometer,
    ),
    Sample("forged-consent-epoch", frozenset({Code.CONSENT_EPOCH_MISSING}), _forged_consent_epoch),
    Sample("split-view", frozenset({Code.SPLIT_VIEW}), _keep, has_seen=True),
)


def write_samples(directory: Path) -> None:
    """Write every sample and the trust file that goes with all of them; `directory` is made."""
    story = _story()
    directory.mkdir(parents=True)
    for sample in SAMPLES:
        ledger = _honest(story)
        sample.breaks(ledger)
        entries = ledger.entries()
        write_bundle(directory / sample.name, _cosigned(story, ledger, entries), entries)
        if sample.is_altered:
            _alter(directory / sample.name, len(entries))
        if sample.has_seen:
            other = _honest(story)
            other.find("agreement", company="beta").body["declared_size"] = 51
            seen_file(directory, sample).write_bytes(_cosigned(story, other, other.entries()))
    witnesses = ", ".join(f'"{story.witness_key(name)}"' for name in story.WITNESSES)
    more = (f"witnesses = [{witnesses}]", "witness_quorum = 1", "max_epsilon = 1", "max_row_epsilon = 8")
    (directory / TRUST_FILE).write_text(_honest(story).trust_text(*more), encoding="utf-8")


def seen_file(directory: Path, sample: Sample) -> Path:
    """The checkpoint that somebody else was shown."""
    return directory / f"{sample.name}.seen-checkpoint"


def _story() -> ModuleType:
    """The builder of the auditor's tests."""
    path = TESTS / "audit" / "conftest.py"
    spec = importlib.util.spec_from_file_location("sample_story", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sample_story"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _plan_body() -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("sample_plan", TESTS / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    body: dict[str, Any] = copy.deepcopy(vars(module)["_PLAN"])
    return body


def _honest(story: ModuleType) -> Ledger:
    """Two complete campaigns of four companies; in spring delta drops out after the first round.

    There are sentinels enough to see half of the noise.
    """

    class SampleLedger(story.SeasonLedger):  # type: ignore[misc, name-defined]
        def say(self, kind: str, author: str, body: dict[str, Any], epoch: Any = None) -> Any:
            if kind == "plan":
                body["training"]["sentinels"] = _SENTINELS
            return super().say(kind, author, body, epoch)

    ledger = SampleLedger(_plan_body())
    ledger.start()
    for company in story.COMPANIES:
        ledger.enrol(company)
    vars(story)["_autumn"](ledger)
    vars(story)["_spring"](ledger)
    return ledger


def _cosigned(story: ModuleType, ledger: Ledger, entries: list[bytes]) -> bytes:
    """The checkpoint, signed by the log and by both witnesses."""
    root = root_hash([leaf_hash(entry) for entry in entries])
    note = parse_note(sign_checkpoint(story.ORIGIN, len(entries), root, ledger.log_key))
    seen = [cosign(note.text, name, ledger.key(name), timestamp=_TIME) for name in story.WITNESSES]
    return Note(note.text, (*note.signatures, *seen)).to_bytes()


def _alter(bundle: Path, size: int) -> None:
    """One digit of the last table's root, in place."""
    last = [entry for entry in read_entries(bundle, size) if b'"kind":"table"' in entry][-1]
    changed = last.replace(b'"root":"0', b'"root":"1')
    [file] = [path for path in (bundle / "tile" / "entries").rglob("*") if _holds(path, last)]
    file.write_bytes(file.read_bytes().replace(last, changed))


def _holds(path: Path, entry: bytes) -> bool:
    return path.is_file() and entry in path.read_bytes()


if __name__ == "__main__":
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    write_samples(DIRECTORY)
