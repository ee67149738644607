"""One season from raw logs to a verified ledger, and what came of it.

The order is the one in ARCHITECTURE.md. Each step is a command that one party would give; the only
thing done here that no party could do is the evaluation at the end, with the truth of both sides.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noren_core import toml_text
from noren_core.errors import NorenError
from noren_core.season.plan import TrainingMode
from noren_demo.parties import (
    COMMAND_SECONDS,
    InOrder,
    InProcess,
    Parties,
    Places,
    SeparateProcesses,
    stopping,
)
from noren_demo.resources import ResourceMonitor
from noren_demo.rights_story import RightsStory
from noren_demo.season_data import OutcomeClass, SeasonData, SeasonFiles, Task
from noren_demo.summary import RightsStep, SeasonSummary, Traffic, Verification

Say = Callable[[str], None]


class SeasonFailedError(NorenError):
    """The season could not go on; carries which step and why."""

    code = "SEASON_FAILED"


@dataclass(frozen=True, slots=True)
class Options:
    """How the season is run; data were prepared before.

    Without `rights_story` nobody withdraws or asks, and the service goes on: for whoever measures the model.
    """

    mode: TrainingMode = TrainingMode.NOISED_ROWS
    rounds: int | None = None
    epsilon: str | None = None
    in_process: bool = False
    rights_story: bool = True


@dataclass(slots=True)
class Season:
    """One season in progress."""

    data: SeasonData
    files: SeasonFiles
    places: Places
    options: Options
    monitor: ResourceMonitor
    say: Say
    notes: list[str] = field(default_factory=list)
    progress: dict[str, dict[str, Any]] = field(default_factory=dict)
    joined: dict[str, list[str]] = field(default_factory=dict)
    traffic: tuple[Traffic, ...] = ()
    sent_with: dict[str, str] = field(default_factory=dict)
    story: RightsStory = field(init=False)

    def run(self) -> SeasonSummary:
        """Everything, in order; whatever was started is ended."""
        from noren_demo import evaluation_of_season

        parties = self._parties()
        with stopping(parties):
            ready, scored = self._until_scored(parties)
            with self.monitor.phase("export and audit the ledger"):
                verification, report = self._audit(parties)
            with self.monitor.phase("evaluate against reference models"):
                results = evaluation_of_season.results(self, report)
            if self.options.rights_story:
                self._rights(parties, ready, scored)
            self.traffic = self.traffic or _traffic(parties)
        self.monitor.close()
        return evaluation_of_season.summarise(self, results, verification)

    def run_until_scored(self, then: Callable[[Parties, list[str]], None]) -> None:
        """The season as far as its bands; `then` gets the parties, running, and who could score."""
        parties = self._parties()
        with stopping(parties):
            _, scored = self._until_scored(parties)
            then(parties, scored)

    def _parties(self) -> Parties:
        parties: Parties = (
            InProcess(self.places)
            if self.options.in_process
            else SeparateProcesses(self.places, self.monitor)
        )
        self.story = RightsStory(self, parties)
        return parties

    def _until_scored(self, parties: Parties) -> tuple[dict[str, list[str]], list[str]]:
        """Who took part in which campaign, and who could score."""
        story = self.story
        with self.monitor.phase("start and enrol"):
            self._start(parties)
            companies = self._enrol(parties)
        with self.monitor.phase("ingest logs; policy, screens, consents"):
            self._ingest(parties)
            story.put_policy_in_force(companies)
            story.take_consents()
            if self.options.rights_story:
                story.replay_2019()
        ready = {campaign_name(task): self._campaign(parties, task, companies) for task in self.data.tasks}
        with self.monitor.phase("decisions, sealed scoring, copies"):
            scored = self._score(parties, ready)
        return ready, scored

    def _rights(self, parties: Parties, ready: Mapping[str, list[str]], scored: list[str]) -> None:
        """What students ask for once they are scored, and the end of the service."""
        story, first = self.story, campaign_name(self.data.tasks[0])
        with self.monitor.phase("rights after scoring"):
            story.look_at_one(first, scored)
            story.disclosure(first, scored)
            story.withdrawal_after_scoring(first, scored)
            story.check_decisions(first, scored[0], self.places.auditor / "ledger")
        self.traffic = _traffic(parties)
        with self.monitor.phase("abolition"):
            story.abolish(list(ready), sorted({name for names in ready.values() for name in names}))
            self._audit_again(parties)

    def _start(self, parties: Parties) -> None:
        self.say("Platform: making keys, ledger and certificates; starting its services")
        parties.platform("init", "--name", "demo-platform")
        self._start_witness(parties)
        self.story.prepare_auditor()
        parties.serve()

    def _start_witness(self, parties: Parties) -> None:
        """The auditor's, from the first day on: the platform asks it, and the trust file names it."""
        self.say("Auditor: starting a witness that cosigns every checkpoint of the ledger")
        trust = self.places.trust_file
        trust.parent.mkdir(mode=0o700)
        parties.platform("ledger", "trust", str(trust))
        log_key = toml_text.parse(trust.read_bytes())["log_key"]
        made = parties.auditor(
            "witness", "init", str(self.places.witness), "--name", "demo-auditor/witness", "--log", log_key
        )
        asked = f'witness_quorum = 1\n[[witness]]\nurl = "{parties.start_witness()}"\nkey = "{made["key"]}"\n'
        _append(self.places.platform / "config.toml", asked)
        _append(trust, f'witnesses = ["{made["key"]}"]\nwitness_quorum = 1\n')

    def _enrol(self, parties: Parties) -> list[str]:
        names = [company.name for company in self.data.companies]
        self.say(f"Companies: enrolling {len(names)} (own keys, one-time code, fingerprint, agreement)")
        enrolled = self._each(parties, names, lambda name: self._enrol_one(parties, name), "enrol")
        self.story.admit_to_custodian(enrolled)
        self.say(f"Companies: starting {len(enrolled)} SuperNodes and workers")
        parties.start_companies(enrolled)
        return enrolled

    def _enrol_one(self, parties: Parties, name: str) -> None:
        """Invitation, request, comparison of fingerprints, approval, certificate, applicant file."""
        directory = self.places.company(name)
        directory.mkdir(parents=True, mode=0o700)
        invitation = directory / "invitation.json"
        parties.platform("invite", name, "--output", str(invitation))
        size = next(c.declared_size for c in self.data.companies if c.name == name)
        asked = parties.company(name, "enrol", str(invitation), "--declared-size", str(size))
        parties.platform("approve", name, "--fingerprint", asked["fingerprint"])
        parties.company(name, "collect")
        parties.company(name, "import", str(self.files.applicants(name)))
        self.story.prepare_company(name)
        if self.options.epsilon is not None:
            _allow_epsilon(directory / "config.toml", self.options.epsilon)

    def _ingest(self, parties: Parties) -> None:
        self.say("Platform: reading behaviour logs and seasons")
        parties.platform(
            "ingest", "--events", str(self.files.events), "--seasons", str(self.files.description)
        )

    def _campaign(self, parties: Parties, task: Task, companies: list[str]) -> list[str]:
        """Plan, tables and rounds of one task; the companies that took part."""
        campaign = campaign_name(task)
        with self.monitor.phase(f"{campaign}: features, encoder, training tables"):
            self.say(f"Platform: plan of {campaign}; features, encoder and sealed training tables")
            parties.platform(
                "campaign", "create", str(self._campaign_file(task)), "--companies", ",".join(companies)
            )
            if task is self.data.tasks[0]:
                self.story.show_closed_launch_gate(campaign)
            self.story.attest_coverage(campaign)
            parties.platform("campaign", "publish", campaign)
        with self.monitor.phase(f"{campaign}: alignment"):
            opened = "rows" if self.options.mode is TrainingMode.NOISED_ROWS else "sums of rows"
            self.say(f"Companies: accept the plan, align by VOPRF, open their own {opened}")
            ready = self._each(
                parties, companies, lambda name: self._prepare(parties, name, campaign), "prepare"
            )
        with self.monitor.phase(f"{campaign}: training rounds"):
            self.say(f"Training: {len(ready)} companies, secure aggregation, differential privacy")
            if self.options.rights_story and task is self.data.tasks[0]:
                with self.story.withdrawal_while_training(campaign, ready):
                    self.progress[campaign] = parties.train(campaign)
            else:
                self.progress[campaign] = parties.train(campaign)
        return ready

    def _score(self, parties: Parties, ready: Mapping[str, list[str]]) -> list[str]:
        """One message of heads per company: a season is scored once, whatever the number of tasks.

        Decisions are sealed first; then students say that they got their offers; coverage is attested again,
        since now others would be processed; only then is anything evaluated.
        """
        mine: dict[str, list[str]] = {}
        for campaign, names in ready.items():
            for name in names:
                mine.setdefault(name, []).append(campaign)
        self.sent_with = {name: campaigns[0] for name, campaigns in mine.items()}
        self.say("Companies: seal every decision; students: acknowledge offers; auditor: coverage again")
        self._each(parties, list(mine), lambda n: self.story.seal_decisions(mine[n][0], n), "decide")
        self.story.acknowledge_offers(list(mine))
        for campaign in ready:
            self.story.attest_coverage(campaign)
        self.say("Companies: encrypt the heads; platform: ciphertexts for whoever may be scored; then bands")
        scored = self._each(
            parties,
            list(mine),
            lambda name: parties.company(name, "score", mine[name][0], "--also", ",".join(mine[name][1:])),
            "score",
        )
        for campaign, names in ready.items():
            self.joined[campaign] = [name for name in names if name in scored]
        return scored

    def _prepare(self, parties: Parties, name: str, campaign: str) -> None:
        parties.company(name, "accept", campaign)
        parties.company(name, "prepare", campaign)

    def _campaign_file(self, task: Task) -> Path:
        """The operator's few choices, as a campaign file."""
        path = self.places.root / f"{campaign_name(task)}.toml"
        lines = [f'campaign = "{campaign_name(task)}"']
        lines.append(f'mode = "{self.options.mode}"')
        lines.append(f"train_seasons = {json.dumps(list(self.data.train_seasons))}")
        lines.append(f'score_season = "{self.data.score_seasons[0]}"')
        lines.append(f"heads = {len(self.data.tasks)}")
        lines.append(f"index_direction = {task.index_direction}")
        lines.append(f'expected_rate = "{task.expected_rate}"')
        lines.append("cooling_seconds = 0")  # a season of the demo takes minutes; the default is a day
        if self.options.rounds is not None:
            lines.append(f"rounds = {self.options.rounds}")
        if self.options.epsilon is not None:
            lines.append(f'epsilon = "{self.options.epsilon}"')
        lines += ["[task]", f'name = "{task.name}"']
        for kind in OutcomeClass:
            lines.append(f"{kind.value} = {json.dumps([w for w, k in task.outcomes.items() if k is kind])}")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def _each(self, parties: Parties, names: list[str], step: Callable[[str], Any], what: str) -> list[str]:
        """The companies for which the step went well; the others are noted and the season goes on."""
        # Output of a command is captured per process, so commands in this process run one by one.
        in_order = InOrder(1 if isinstance(parties, InProcess) else 2)
        results = in_order.each(names, step)
        for name, result in results.items():
            if isinstance(result, NorenError):
                self.notes.append(f"{name} left at {what}: {result.code}: {result.message}")
                self.say(f"  {name} goes no further: {result.code}")
        kept = [name for name, result in results.items() if not isinstance(result, NorenError)]
        if not kept:
            raise SeasonFailedError(f"expected at least one company after {what}, got none: {self.notes[-1]}")
        return kept

    def _audit(self, parties: Parties) -> tuple[Verification, dict[str, Any]]:
        """Export, verify from the ledger and public keys alone, then change one byte and verify again."""
        self.say("Auditor: verifying the exported ledger, then a copy with one byte changed")
        auditor, trust = self.places.auditor, self.places.trust_file
        bundle = auditor / "ledger"
        parties.platform("ledger", "export", str(bundle))
        report = _verify(bundle, trust)
        changed = auditor / "ledger-changed"
        shutil.copytree(bundle, changed)
        _change_one_byte(next(path for path in (changed / "tile" / "entries").rglob("*") if path.is_file()))
        tampered = _verify(changed, trust)
        return (
            Verification(
                verdict=str(report["verdict"]),
                entries=int(report["entries"]),
                tampered_verdict=str(tampered["verdict"]),
                tampered_reason=_first_finding(tampered),
            ),
            report,
        )

    def _audit_again(self, parties: Parties) -> None:
        """The ledger at its end, after a withdrawal, an erasure and the abolition."""
        bundle = self.places.auditor / "ledger-at-the-end"
        parties.platform("ledger", "export", str(bundle))
        verdict = str(_verify(bundle, self.places.trust_file)["verdict"])
        self.story.steps.append(RightsStep("the ledger after all that", verdict))


def campaign_name(task: Task) -> str:
    """A task's campaign."""
    return task.name.lower()


def _allow_epsilon(config: Path, epsilon: str) -> None:
    """What a company does that agrees to another epsilon than 1: edit its own limit."""
    text = config.read_text(encoding="utf-8")
    config.write_text(
        re.sub(r'(?m)^max_epsilon = ".*"$', f'max_epsilon = "{epsilon}"', text), encoding="utf-8"
    )


def _traffic(parties: Parties) -> tuple[Traffic, ...]:
    counted = parties.platform("traffic")["companies"]
    return tuple(Traffic(company, item["sent"], item["received"]) for company, item in counted.items())


def _verify(bundle: Path, trust: Path) -> dict[str, Any]:
    """The auditor's verdict as JSON, whichever way it went."""
    program = str(Path(sys.executable).with_name("noren-audit"))
    command = [program, "verify", str(bundle), "--trust", str(trust), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise SeasonFailedError(f"noren-audit: exit code {done.returncode} and no report") from error
    return report


def _first_finding(report: Mapping[str, Any]) -> str:
    return str(report["findings"][0]["code"]) if report["findings"] else ""


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _change_one_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
