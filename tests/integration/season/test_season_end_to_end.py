"""The season as `scripts/demo` runs it, every party in processes of its own, on very little data."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from noren_client import campaign_files
from noren_client.company_secrets import stored_in
from noren_core.crypto.vault import is_sealed
from noren_demo import generator
from noren_demo.generator import GeneratorOptions, generate_season
from noren_demo.parties import Places
from noren_demo.resources import ResourceMonitor
from noren_demo.season import Options, Season
from noren_demo.season_data import SeasonFiles
from noren_local import passphrase
from noren_server.platform_secrets import PlatformFiles

if TYPE_CHECKING:
    from noren_demo.summary import SeasonSummary

CAMPAIGN = "decline"
COMPANIES = ("akane", "benten", "chidori")
CARELESS = "daigo"  # its file has a column too few


@pytest.mark.end_to_end
def test_a_season_of_separate_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three companies train and score over the network, a fourth drops out, the auditor says VERIFIED."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(generator, "COMPANIES", dict.fromkeys((*COMPANIES, CARELESS), 40))
    season = make_season(tmp_path)
    summary = season.run()
    check_the_result(season, summary)
    check_every_party_had_its_own_processes(summary)
    check_files_are_private(season.places)
    check_secrets_are_sealed(season.places)
    check_the_platform_holds_no_head(season.places)
    wait_until_no_process_is_left(tmp_path)


def make_season(root: Path) -> Season:
    files = SeasonFiles(root / "data")
    data = generate_season(files.root, GeneratorOptions(seed=5, unconsented=0.1))
    careless = files.applicants(CARELESS)
    rows = [line.rsplit(",", 1)[0] for line in careless.read_text().splitlines()]
    careless.write_text("\n".join(rows) + "\n")
    return Season(
        data=data,
        files=files,
        places=Places(root / "season"),
        options=Options(rounds=2, rights_story=False),
        monitor=ResourceMonitor(),
        say=lambda _: None,
    )


def released_head(places: Places, company: str) -> tuple[int, ...]:
    """As the company reads it, with its passphrase."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(passphrase.FILE_VARIABLE, str(places.passphrase(company)))
        return campaign_files.load_head(places.company(company), CAMPAIGN)


def check_the_result(season: Season, summary: SeasonSummary) -> None:
    heads = {released_head(season.places, company) for company in COMPANIES}
    assert len(heads) == 1
    (task,) = summary.tasks
    assert (task.trained_companies, task.rounds, len(task.round_seconds)) == (3, 2, 2)
    assert 0.9 < task.epsilon <= 1
    assert task.scored > 50
    assert sum(task.bands.values()) == task.scored
    assert (summary.verification.verdict, summary.verification.tampered_verdict) == (
        "VERIFIED",
        "NOT VERIFIED",
    )
    (note,) = summary.notes
    assert note.startswith(f"{CARELESS} left at enrol: BAD_DATA:")
    assert "column outcome: expected once, got 0" in note
    assert not (season.places.company(CARELESS) / "applicants.csv").exists()
    traffic = {item.company: item for item in summary.traffic}
    assert all(traffic[company].sent > 10_000 < traffic[company].received for company in COMPANIES)


def check_every_party_had_its_own_processes(summary: SeasonSummary) -> None:
    found = {(use.party, use.process) for use in summary.processes}
    assert {(company, "noren-company run") for company in COMPANIES} <= found
    assert {(company, "flower-supernode") for company in COMPANIES} <= found
    assert ("platform", "noren-platform serve") in found
    assert {"flower-superlink", "flower-superexec"} <= {name for party, name in found if party == "platform"}


def check_files_are_private(places: Places) -> None:
    """Nobody else enters a party's directory; what is in it is 0600 all the same."""
    parties = (places.platform, *map(places.company, COMPANIES))
    for directory in (*parties, *(party / "flower" for party in parties), places.root / "logs"):
        assert directory.stat().st_mode & 0o777 == 0o700, directory
    readable = {
        str(path.relative_to(party))
        for party in parties
        for path in party.rglob("*")
        if path.is_file() and path.stat().st_mode & 0o077
    }
    unimportant = {name for name in readable if name.startswith(("flower/", "progress/"))}
    assert readable - unimportant == set()


def check_secrets_are_sealed(places: Places) -> None:
    """Everything that protecting would seal was sealed from the start, at every party."""
    files = [PlatformFiles(places.platform), *(stored_in(places.company(c)) for c in COMPANIES)]
    stored = {name: party.read(name) for party in files for name in party.names()}
    assert {"keys/signing.key", "keys/platform.key", f"campaigns/{CAMPAIGN}/head.json"} <= stored.keys()
    assert f"platform.db/oprf_keys/{CAMPAIGN}/akane/train/key" in stored
    assert [name for name, data in stored.items() if data is None or not is_sealed(data)] == []


def check_the_platform_holds_no_head(places: Places) -> None:
    """Not in its tables or ledger, nor in Flower's state and logs."""
    released = released_head(places, "akane")
    head = [weight for weight in released if abs(weight) > 10**6]  # fewer digits may be anywhere
    assert head
    forms = [str(weight).encode() for weight in head]
    forms += [struct.pack("<q", weight) for weight in head]
    forms += [struct.pack("<d", weight / 2**32) for weight in head]
    for directory in (places.platform, places.root / "logs"):
        for path in directory.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert not any(form in data for form in forms), path


def wait_until_no_process_is_left(root: Path) -> None:
    end = time.monotonic() + 10
    while left := processes_of(root):
        assert time.monotonic() < end, left
        time.sleep(0.05)


def processes_of(directory: Path) -> list[str]:
    """The command lines that mention a file of the season."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in command:
            found.append(command)
    return found
