"""Where a company stands, and the one thing to do next; training and daily work as compositions."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gated_company import CAMPAIGN, GatedCompany, make_company

from noren_client import alignment, campaign_files, follow_up, season_progress, worker_service
from noren_client.rights import daily_work, retention
from noren_client.season_progress import Stage
from noren_client.setup import daily, doctor, local_checks, open_campaign, service, status
from noren_client.setup.findings import Check, Finding, Result
from noren_client.setup.status import WORDS, NextStep
from noren_client.setup.systemd_units import Scope
from noren_core.errors import LocalProtocolError, RemoteProtocolError
from noren_core.rights.locales import Locale
from noren_local import staff


@pytest.fixture
def company(tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> GatedCompany:
    """It trained to the end, and its machine is well."""
    monkeypatch.setattr(staff, "_COST", 2)
    made = make_company(tmp_path / "company", plan_body, monkeypatch)
    (made.directory / "platform").mkdir(exist_ok=True)
    (made.directory / "platform" / "enrolment.json").write_text("{}")
    (made.directory / "keys" / "tls.pem").write_text("")
    monkeypatch.setattr(doctor, "local", lambda *_, **__: iter([Finding(Check.DISK, Result.ROOM)]))
    monkeypatch.setattr(service, "installed_scope", lambda: Scope.USER)
    return made


def step(company: GatedCompany) -> tuple[NextStep, str]:
    return status.next_step(company.directory)


def test_every_step_has_words_in_both_languages() -> None:
    """One sentence each."""
    assert WORDS.keys() == set(NextStep)
    for english, japanese in WORDS.values():
        assert ("{campaign}" in english) == ("{campaign}" in japanese)
        assert any(ord(letter) > 0x3000 for letter in japanese)


def test_the_next_step_follows_the_season(
    company: GatedCompany, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From an applicants' file to follow-up, each when the one before is done."""
    (company.directory / alignment.APPLICANTS_FILE).unlink(missing_ok=True)
    assert step(company) == (NextStep.IMPORT, "")
    company.apply("hanako,offer", "jun,offer")
    assert step(company) == (NextStep.SEAL_AND_SCORE, CAMPAIGN)
    company.consent("hanako", "jun")
    company.seal()
    company.score()
    assert step(company) == (NextStep.FOLLOW_UP, CAMPAIGN)
    head = company.directory / campaign_files.secret_name(CAMPAIGN, "head.json")
    monkeypatch.setattr(
        season_progress,
        "progress",
        lambda *_: season_progress.Progress(
            CAMPAIGN, ("2025",), "2026", Stage.PREPARED, 3, 0, 0, False, "", ()
        ),
    )
    assert head.exists()
    assert step(company) == (NextStep.TRAIN, CAMPAIGN)
    with worker_service.stopped(company.directory):  # as a worker holds it
        assert step(company) == (NextStep.KEEP_RUNNING, CAMPAIGN)


def test_what_fails_comes_first(company: GatedCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is not well, an order that waits, and nobody in the register of staff."""
    company.apply("hanako,offer")
    (company.directory / "staff" / "register.json").unlink()
    assert step(company) == (NextStep.ADD_STAFF, "")
    (company.directory / "campaigns" / CAMPAIGN / "erasure.json").write_text('{"7":"received"}')
    assert step(company) == (NextStep.ERASE, "")
    monkeypatch.setattr(doctor, "local", lambda *_, **__: iter([Finding(Check.DISK, Result.NO_ROOM)]))
    assert step(company) == (NextStep.MEND, "")


def test_a_new_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how to begin, with exit code 0, in both languages."""
    from noren_client.cli import main

    for language in Locale:
        arguments = ["--directory", str(tmp_path / "none"), "--json", "status", "--language", language.value]
        assert main(arguments) == 0
        body = json.loads(capsys.readouterr().out)
        assert (body["state"], body["next_step"]) == ("new", "set-up")
        assert body["next"] == status.sentence(NextStep.SET_UP, language)


def test_the_report_counts_nobody(company: GatedCompany) -> None:
    """It has campaigns, budget and ledger; no number of applicants or bands."""
    company.apply("hanako,offer", "jun,offer")
    found = status.report(company.directory, locale=Locale.EN)
    assert found["campaigns"][CAMPAIGN]["stage"] == Stage.TRAINED.value
    assert found["orders_waiting"] == []
    assert found["worker"] == "not running"
    assert "applicants" not in json.dumps(found).replace("applicants (noren", "").replace("'s applicants", "")


def at(stages: list[Stage]) -> Callable[..., season_progress.Progress]:
    """Progress that goes on each time somebody looks."""

    def look(_: Path, campaign: str) -> season_progress.Progress:
        stage = stages.pop(0) if len(stages) > 1 else stages[0]
        return season_progress.Progress(campaign, ("2025",), "2026", stage, 3, 1, 0, False, "", ())

    return look


def test_training_prepares_answers_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It prepares what is not prepared, works until the head is here, and says each stage once."""
    stages = [Stage.ACCEPTED, Stage.PREPARED, Stage.TRAINING, Stage.TRAINED]
    monkeypatch.setattr(season_progress, "progress", at(stages))
    monkeypatch.setattr(open_campaign, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(open_campaign, "FAREWELL_SECONDS", 0.0)
    prepared: list[str] = []
    monkeypatch.setattr(alignment, "prepare", lambda _, campaign: prepared.append(campaign))
    said: list[Stage] = []
    worked: list[bool] = []

    def work(_: Path, stop: threading.Event) -> None:
        worked.append(stop.wait(20))

    done = open_campaign.train(tmp_path, "spring", say=lambda found: said.append(found.stage), work=work)
    assert (done.stage, prepared, worked) == (Stage.TRAINED, ["spring"], [True])
    assert said == [Stage.ACCEPTED, Stage.PREPARED, Stage.TRAINING, Stage.TRAINED]


def test_training_that_takes_too_long_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit, whatever was reached; a trained campaign is not worked on at all."""
    monkeypatch.setattr(season_progress, "progress", at([Stage.PREPARED]))
    monkeypatch.setattr(open_campaign, "POLL_SECONDS", 0.01)
    done = open_campaign.train(
        tmp_path, "spring", limit_seconds=0.02, work=lambda _, stop: bool(stop.wait(20))
    )  # type: ignore[arg-type,return-value]
    assert done.stage is Stage.PREPARED
    monkeypatch.setattr(season_progress, "progress", at([Stage.TRAINED]))

    def never(*_: object) -> None:
        raise AssertionError

    assert open_campaign.train(tmp_path, "spring", work=never).stage is Stage.TRAINED


def test_which_campaign_is_meant(company: GatedCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only open one; with none or several a name is asked for."""
    with pytest.raises(LocalProtocolError, match="accept"):
        open_campaign.chosen(company.directory, "")
    monkeypatch.setattr(season_progress, "progress", at([Stage.ACCEPTED]))
    assert open_campaign.chosen(company.directory, "") == CAMPAIGN
    with pytest.raises(LocalProtocolError):
        open_campaign.chosen(company.directory, "another")


def test_daily_work_goes_on_after_a_failure(
    company: GatedCompany, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every step is tried; the exit code is that of the first that failed."""
    done: list[str] = []

    def offline(*_: object) -> None:
        done.append("ledger")
        raise RemoteProtocolError("expected an answer", code="PLATFORM_UNAVAILABLE")

    monkeypatch.setattr(season_progress, "ask_ledger", offline)
    monkeypatch.setattr(daily_work, "answer_students", lambda *_, **__: done.append("answer"))
    monkeypatch.setattr(daily_work, "carry_out_orders", lambda *_: done.append("erase"))
    monkeypatch.setattr(retention, "run", lambda *_, **__: done.append("retention"))
    found = daily.run(company.directory)
    assert done == ["ledger", "answer", "erase", "retention"]
    assert [step.code for step in found] == ["PLATFORM_UNAVAILABLE", *[""] * (len(found) - 1)]
    assert daily.exit_code(found) == 4

    from noren_client.cli import main

    assert main(["--directory", str(company.directory), "--json", "daily"]) == 4
    body = json.loads(capsys.readouterr().out)
    assert body["steps"][f"ledger {CAMPAIGN}"] == "PLATFORM_UNAVAILABLE"
    assert body["steps"]["retention"] == "done"


def test_daily_work_scores_what_was_scored_before(
    company: GatedCompany, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head that nobody sent is not sent by a timer; one that was sent is scored again."""
    monkeypatch.setattr(season_progress, "ask_ledger", lambda *_: None)
    for name in ("answer_students", "carry_out_orders"):
        monkeypatch.setattr(daily_work, name, lambda *_, **__: None)
    company.apply("hanako,offer")
    company.consent("hanako")
    assert not [step for step in daily.run(company.directory) if step.name.startswith("score")]
    company.seal()
    company.score()
    scored: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr(
        follow_up, "score", lambda _, campaign, *, others: scored.append((campaign, tuple(others)))
    )
    daily.run(company.directory)
    assert scored == [(CAMPAIGN, ())]


def test_comparison_files_are_compared(company: GatedCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file of the platform's that was put there; one without its table is told."""
    monkeypatch.setattr(season_progress, "ask_ledger", lambda *_: None)
    for name in ("answer_students", "carry_out_orders"):
        monkeypatch.setattr(daily_work, name, lambda *_, **__: None)
    folder = company.directory / daily.COMPARISONS
    folder.mkdir(parents=True)
    (folder / f"{'ab' * 16}.json").write_text("{}")
    (folder / "notes.json").write_text("{}")
    found = {step.name: step.code for step in daily.run(company.directory)}
    assert found[f"compare {'ab' * 16}"] == "ILLEGAL_STATE"
    assert found["compare notes"] == ""


def test_no_certificate_is_told(tmp_path: Path) -> None:
    """A machine that was not approved yet."""
    assert local_checks.certificate(tmp_path, now=1).result is Result.NOT_COLLECTED
