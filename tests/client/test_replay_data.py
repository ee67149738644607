"""What a company keeps for replays: written whole, exported exactly, gone in time."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noren_client import campaign_files, cli, config, keystore, replay_data, worker_service
from noren_client.config import Addresses, CompanyConfig, Limits, parse_pins
from noren_client.opened_sums import OpenedSums
from noren_client.replay_data import ReplayData, ReplayRound
from noren_client.rights.custody import CustodyStore
from noren_client.training_set import TrainingSet
from noren_core import canonical_json
from noren_core.crypto.vault import is_sealed
from noren_core.errors import DataError, LocalProtocolError
from noren_core.ledger.note import VerifierKey
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_consents import RoundConsents
from noren_local import secret_files

DAY = 24 * 60 * 60
NOW = 1_800_000_000
CAMPAIGN = "spring-2026"
TRAINING_SET = TrainingSet(
    tags=(b"\x03" * 16, b"\x09" * 16),
    rows=np.array([[1, -2], [-32768, 32767]], dtype=np.int16),
    labels=np.array([1, 0], dtype=np.int8),
    table_id=b"t" * 16,
)
LISTED = RoundConsents(b"list", b"g" * 64, b"l" * 32)
DATA = ReplayData(
    campaign=CAMPAIGN,
    company="alpha",
    seed=b"s" * 32,
    row_salt=b"r" * 32,
    commitment_key=b"c" * 32,
    cohort=("alpha", "bravo"),
    material=TRAINING_SET,
    rounds=(
        ReplayRound(1, ("alpha", "bravo"), (5, -6, 7), (1, 2, 3, -4), LISTED),
        ReplayRound(2, ("bravo",), (-(2**60), 0, 1), (), RoundConsents(b"", b"", b"e" * 32)),
    ),
)


@pytest.fixture
def company_dir(tmp_path: Path, plan_body: dict[str, Any]) -> Path:
    """A configured company that accepted two campaigns."""
    pins = parse_pins("ab" * 32, VerifierKey("job-site/ledger", bytes(32)).to_text(), "cd" * 32)
    addresses = Addresses("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
    settings = CompanyConfig("alpha", "job-site", addresses, pins, Limits(dispute_days=30))
    (tmp_path / config.FILE_NAME).write_bytes(config.to_toml(settings))
    keystore.create_missing(tmp_path)
    for campaign in (CAMPAIGN, "autumn"):
        campaign_files.save_plan(tmp_path, CampaignPlan.from_body(plan_body | {"campaign": campaign}))
    return tmp_path


def kept(company_dir: Path, campaign: str = CAMPAIGN) -> Path:
    """Our share of the record's key: as long as it is there, so is what it opens."""
    return company_dir / "campaigns" / campaign / "custody" / "replay-row" / "replay.share"


def test_the_export_is_the_documents(company_dir: Path) -> None:
    """docs/protocol.md §4.6, field by field, in canonical JSON."""
    replay_data.save(company_dir, DATA, now=NOW)
    data = replay_data.export(company_dir, CAMPAIGN)
    assert json.loads(data) == {
        "format": "noren/v1/replay",
        "campaign": CAMPAIGN,
        "company": "alpha",
        "seed": (b"s" * 32).hex(),
        "row_salt": (b"r" * 32).hex(),
        "commitment_key": (b"c" * 32).hex(),
        "cohort": ["alpha", "bravo"],
        "dimensions": 2,
        "rows": [
            {"tag": "03" * 16, "row": [1, -2], "label": 1},
            {"tag": "09" * 16, "row": [-32768, 32767], "label": 0},
        ],
        "rounds": [
            {
                "round": 1,
                "survivors": ["alpha", "bravo"],
                "gradient": [5, -6, 7],
                "update": [1, 2, 3, -4],
                "revocations": b"list".hex(),
                "revocations_signature": (b"g" * 64).hex(),
                "consents_salt": (b"l" * 32).hex(),
            },
            {
                "round": 2,
                "survivors": ["bravo"],
                "gradient": [-(2**60), 0, 1],
                "update": [],
                "revocations": "",
                "revocations_signature": "",
                "consents_salt": (b"e" * 32).hex(),
            },
        ],
        "rows_erased": False,
    }
    assert canonical_json.encode(canonical_json.parse_object(data)) == data


def test_an_export_writes_to_stdout_and_nowhere_else(
    company_dir: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The command prints exactly the file, with or without --json, and leaves the directory as it was."""
    replay_data.save(company_dir, DATA, now=NOW)
    before = {path: path.read_bytes() for path in company_dir.rglob("*") if path.is_file()}
    expected = replay_data.export(company_dir, CAMPAIGN)
    for more in ((), ("--json",)):
        assert cli.main(["--directory", str(company_dir), *more, "replay", "export", CAMPAIGN]) == 0
        assert capfdbinary.readouterr().out == expected
    assert {path: path.read_bytes() for path in company_dir.rglob("*") if path.is_file()} == before


def test_what_is_kept_is_a_secret(
    company_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Mode 0600, sealed in a protected directory, and in no repr."""
    replay_data.save(company_dir, DATA, now=NOW)
    assert kept(company_dir).stat().st_mode & 0o777 == 0o600
    passphrase = tmp_path_factory.mktemp("passphrase") / "passphrase"
    passphrase.write_text("correct horse battery staple")
    passphrase.chmod(0o600)
    monkeypatch.setenv("NOREN_PASSPHRASE_FILE", str(passphrase))
    secret_files._unlocked.cache_clear()
    assert cli.main(["--directory", str(company_dir), "keys", "protect"]) == 0
    assert is_sealed(kept(company_dir).read_bytes())
    assert json.loads(replay_data.export(company_dir, CAMPAIGN))["company"] == "alpha"
    for shown in (repr(DATA), repr(DATA.rounds[0]), repr(TRAINING_SET)):
        assert "ssss" not in shown
        assert "-6" not in shown


def test_nothing_kept_is_said_and_forgetting_is_final(company_dir: Path) -> None:
    """Before the first round and after `forget` there is nothing to export; forgetting twice is no error."""
    with pytest.raises(LocalProtocolError, match="got none"):
        replay_data.export(company_dir, CAMPAIGN)
    replay_data.save(company_dir, DATA, now=NOW)
    for _ in range(2):
        assert cli.main(["--directory", str(company_dir), "replay", "forget", CAMPAIGN]) == 0
        assert not kept(company_dir).exists()
    with pytest.raises(LocalProtocolError, match="got none"):
        replay_data.export(company_dir, CAMPAIGN)


@pytest.mark.parametrize(
    ("days", "is_left"), [(0, True), (29.9, True), (30, True), (30.1, False), (999, False)]
)
def test_it_goes_after_the_dispute_window(company_dir: Path, days: float, is_left: bool) -> None:
    """30 days as configured, counted from what was added last; another campaign's stays."""
    replay_data.save(company_dir, DATA, now=NOW - 500 * DAY)
    replay_data.save(company_dir, DATA, now=NOW)  # a later round
    replay_data.save(company_dir, replace(DATA, campaign="autumn"), now=NOW + 2000 * DAY)
    replay_data.forget_expired(company_dir, now=NOW + days * DAY)
    assert kept(company_dir).exists() is is_left
    assert kept(company_dir, "autumn").exists()


def test_the_worker_forgets_at_its_start(company_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is past its time goes before the worker runs, by the clock that it is given."""
    started = []
    monkeypatch.setattr(keystore, "load", lambda _: None)
    monkeypatch.setattr(worker_service, "_run", lambda *_: started.append(kept(company_dir).exists()))
    replay_data.save(company_dir, DATA, now=NOW)
    for days in (29, 31):
        worker_service.run(company_dir, clock=lambda days=days: NOW + days * DAY)
    assert started == [True, False]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:3],
        lambda data: b"",
        lambda data: b"\xff" * 4 + data[4:],
        lambda data: data.replace(b'"kept_at":', b'"kept_in":'),
        lambda data: data.replace(b'"kept_at":1800000000', b'"kept_at":"1800000"'),
        lambda data: data.replace(b'"rows_erased":false', b'"rows_erased":"\x20\x20\x20"'),
    ],
    ids=["short", "no header", "empty", "length", "field", "type", "erased"],
)
def test_a_damaged_file_is_refused_and_named_and_can_be_forgotten(
    company_dir: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    """An export says so; the clean-up goes on, names the campaign, and leaves it to `forget`."""
    replay_data.save(company_dir, DATA, now=NOW)
    with CustodyStore(company_dir) as custody:
        name = replay_data.replay_record(CAMPAIGN)
        whole = custody.read(name)
        assert whole is not None
        assert damage(whole) != whole
        custody.write(name, damage(whole))
    with pytest.raises(LocalProtocolError, match="damaged"):
        replay_data.export(company_dir, CAMPAIGN)
    replay_data.save(company_dir, replace(DATA, campaign="autumn"), now=NOW)
    with caplog.at_level(logging.WARNING):
        replay_data.forget_expired(company_dir, now=NOW + 40 * DAY)
    assert CAMPAIGN in caplog.text
    assert kept(company_dir).exists()
    assert not kept(company_dir, "autumn").exists()
    replay_data.forget(company_dir, CAMPAIGN)
    assert not kept(company_dir).exists()


def test_an_export_is_bounded(company_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the format allows is not written."""
    monkeypatch.setattr(replay_data, "MAX_EXPORT_BYTES", 100)
    replay_data.save(company_dir, DATA, now=NOW)
    with pytest.raises(DataError, match="100 bytes"):
        replay_data.export(company_dir, CAMPAIGN)


# Erasing


def test_an_erased_row_is_gone_and_the_file_says_so(company_dir: Path) -> None:
    """The others, the rounds and the rest of the header stay; erasing what is not there changes nothing."""
    replay_data.save(company_dir, DATA, now=NOW)
    before = canonical_json.parse_object(replay_data.export(company_dir, CAMPAIGN))
    assert replay_data.erase_rows(company_dir, CAMPAIGN, {b"\x07" * 16}) is False
    assert canonical_json.parse_object(replay_data.export(company_dir, CAMPAIGN)) == before
    assert replay_data.erase_rows(company_dir, CAMPAIGN, {b"\x03" * 16, b"\x07" * 16}) is True
    after = canonical_json.parse_object(replay_data.export(company_dir, CAMPAIGN))
    assert after == {**before, "rows": before["rows"][1:], "rows_erased": True}
    assert b"\x03" * 16 not in kept(company_dir).read_bytes()
    assert replay_data.erase_rows(company_dir, "autumn", {b"\x03" * 16}) is False


def test_sums_have_no_row_to_erase(company_dir: Path) -> None:
    """With sealed statistics nobody's row is at the company."""
    replay_data.save(company_dir, replace(DATA, material=OpenedSums((1, -2))), now=NOW)
    before = kept(company_dir).read_bytes()
    assert replay_data.erase_rows(company_dir, CAMPAIGN, {b"\x03" * 16}) is False
    assert kept(company_dir).read_bytes() == before


# The training set


def test_rows_are_taken_out_by_tag() -> None:
    """Tags, rows and labels stay together, and tags that are no row's change nothing."""
    left = TRAINING_SET.without({b"\x03" * 16, b"\x07" * 16})
    assert (left.tags, left.rows.tolist(), left.labels.tolist()) == ((b"\x09" * 16,), [[-32768, 32767]], [0])
    assert left.table_id == TRAINING_SET.table_id
    assert TRAINING_SET.only({b"\x09" * 16, b"\x07" * 16}).to_bytes() == left.to_bytes()
    assert TRAINING_SET.without(set()).to_bytes() == TRAINING_SET.to_bytes()
    assert TRAINING_SET.only(set()).rows.shape == (0, 2)


def test_a_training_set_survives_its_bytes() -> None:
    """Tags, rows and labels, also of none."""
    none = TrainingSet((), np.zeros((0, 3), np.int16), np.zeros(0, np.int8), bytes(16))
    for given in (TRAINING_SET, none):
        found = TrainingSet.from_bytes(given.to_bytes())
        assert (found.tags, found.table_id) == (given.tags, given.table_id)
        assert found.rows.tolist() == given.rows.tolist()
        assert found.rows.shape == given.rows.shape
        assert found.labels.tolist() == given.labels.tolist()


@pytest.mark.parametrize(
    "changed",
    [
        replace(TRAINING_SET, tags=TRAINING_SET.tags[::-1]),
        replace(TRAINING_SET, tags=TRAINING_SET.tags[:1] * 2),
        replace(TRAINING_SET, tags=TRAINING_SET.tags[:1]),
        replace(TRAINING_SET, labels=np.array([1, 2], dtype=np.int8)),
        replace(TRAINING_SET, labels=np.array([1, -1], dtype=np.int8)),
        replace(TRAINING_SET, labels=np.array([1], dtype=np.int8)),
    ],
    ids=["order", "twice", "fewer tags", "label 2", "label -1", "fewer labels"],
)
def test_a_malformed_training_set_is_refused(changed: TrainingSet) -> None:
    """A tag twice, another order, another label, or another length."""
    with pytest.raises(DataError):
        TrainingSet.from_bytes(changed.to_bytes())
