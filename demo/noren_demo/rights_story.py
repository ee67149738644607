"""What happens to people's rights in the demo's season: each step is a command or request of one party.

A policy is put in force, students consent on their own devices, an auditor attests who would be processed,
decisions are sealed before anything is scored; one student withdraws while a model is trained and another
after she was scored, one asks what is held about her, and at the end the service is abolished. Every step
leaves a line that says what was seen.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noren_client.applicants import Decision, read_applicants
from noren_core.errors import NorenError
from noren_core.rights.consent.consent_event import Screen
from noren_core.rights.locales import Locale
from noren_core.rights.purposes import ForbiddenPurpose, Purpose
from noren_demo.parties import PLATFORM, Parties, secrets_at_hand
from noren_demo.people import POSITION, Choice, StudentChoice, read_choices
from noren_demo.students import StudentBrowser, Students
from noren_demo.summary import RightsStep
from noren_local.private_file import write_private

if TYPE_CHECKING:
    from noren_core.rights.notices.policy import PolicyVersion
    from noren_demo.season import Season
    from noren_server.platform_files import PlatformConfig

ADMIN, DECIDER, FOLLOW_UP, PRIVACY_CONTACT = "admin", "decider", "mentor", "privacy"
_APPROVERS = {"priya": "privacy", "sora": "student-viewpoint"}
_POLL_SECONDS = 0.2


@dataclass(slots=True)
class RightsStory:
    """The rights of one season's people."""

    season: Season
    parties: Parties
    steps: list[RightsStep] = field(default_factory=list)
    _students: Students | None = None
    _custodian_key: str = ""
    _custodian_url: str = ""

    # Before anything is processed

    def prepare_auditor(self) -> None:
        """The auditor's key, which the platform and the trust file name; the auditor's custodian."""
        places = self.season.places
        made = self.parties.auditor("key", "init", str(places.auditor_key))
        _append(
            places.platform / "config.toml",
            f'[[auditor]]\nname = "demo-auditor"\nkey = "{made["public_key"]}"\n',
        )
        _append(places.trust_file, f'auditor_keys = ["{made["public_key"]}"]\n')
        self._custodian_key = self.parties.auditor(
            "custodian", "init", str(places.custodian), "--name", "demo-custodian"
        )["key"]
        self._custodian_url = self.parties.start_custodian()

    def prepare_company(self, company: str) -> None:
        """A company's staff, each with a code of her own, and its custodian."""
        staff = self.parties.staff
        staff(company, ADMIN, "staff", "add", ADMIN, "--roles", "company-admin")
        season = self.season.data.score_seasons[0]
        for member, role in ((DECIDER, "decider"), (FOLLOW_UP, "follow-up")):
            staff(
                company, ADMIN, "staff", "add", member, "--roles", role, "--position", POSITION,
                "--season", season, "--as", ADMIN, adding=member,
            )  # fmt: skip
        staff(
            company, ADMIN, "staff", "add", PRIVACY_CONTACT, "--roles", "privacy-contact", "--as", ADMIN,
            adding=PRIVACY_CONTACT,
        )  # fmt: skip
        if not self.season.options.rights_story:
            return  # what a company keeps is looked at after the season, when no custodian answers
        directory = self.season.places.company(company)
        _append(
            directory / "config.toml",
            f'\n[custodian]\nurl = "{self._custodian_url}"\nkey = "{self._custodian_key}"\n',
        )

    def admit_to_custodian(self, companies: Sequence[str]) -> None:
        """The custodian answers these companies, by the keys that they enrolled."""
        with self._platform() as platform:
            keys = platform.signing_keys(companies)
        for company, key in keys.items():
            self.parties.auditor("custodian", "admit", str(self.season.places.custodian), company, key.hex())
            self.parties.platform("erasure", "custodian", company, self._custodian_key)

    def put_policy_in_force(self, companies: Sequence[str]) -> None:
        """Notices, the policy with two approvals, verified screens; then it is active."""
        from noren_core.rights.notices.notice_texts import packaged_policy

        root = self.season.places.root / "policy"
        root.mkdir(mode=0o700)
        season = self.season.data.score_seasons[0]
        version = packaged_policy(policy=f"policy-{season}", season=season, dpia="DPIA-DEMO")
        file = root / "policy.json"
        file.write_bytes(version.to_bytes())
        notices = root / "notices.toml"
        notices.write_text(_notices(companies), encoding="utf-8")
        platform = self.parties.platform
        platform("policy", "add", str(file))
        platform("policy", "notices", str(notices))
        for person, role in _APPROVERS.items():
            key, approval = root / f"{person}.key", root / f"{person}.json"
            made = platform("policy", "new-key", str(key))
            platform("policy", "add-staff", person, "--role", role, "--public-key", made["public_key"])
            platform(
                "policy", "sign", str(file), "--person", person, "--role", role, "--key", str(key),
                "--output", str(approval),
            )  # fmt: skip
            platform("policy", "approve", str(approval))
        seen = self._verify_screens(version)
        platform("policy", "activate", version.policy)
        self._tell("policy in force", f"two people approved it; {seen}")
        with self._platform() as opened:
            self._students = Students(
                tuple(c for c in read_choices(self.season.files.choices) if c.company in companies),
                version.policy,
                _screens_of(opened.directory, version.policy),
                opened.consent_key,
            )
        self._declare_journeys(companies)

    def _declare_journeys(self, companies: Sequence[str]) -> None:
        """Every way from the site to scoring: past a company's consent screen, and no other."""
        nodes = [_node("site", "entry"), _node("scoring", "scoring")]
        edges = []
        for company in companies:
            screen = self.students.screens(company, Purpose.SCORE)
            name = f"consent-{company}"[:40].rstrip("-")
            asked = [c for c in self.students.choices if (c.company, c.purpose) == (company, Purpose.SCORE)]
            nodes.append(_node(name, "consent", self.students.policy, screen.sha256))
            edges += [("site", name, len(asked)), (name, "scoring", len(asked))]
        graph = {
            "schema": "noren/journey/1",
            "nodes": nodes,
            "edges": [{"from": source, "to": target, "users": users} for source, target, users in edges],
        }
        write_private(self.season.places.platform / "journeys.json", json.dumps(graph, indent=1).encode())

    def _verify_screens(self, version: PolicyVersion) -> str:
        """Our consent pages as a browser shows them; without a browser, as their markup says."""
        if shutil.which("chromium") is not None:
            found = self.parties.platform("screens", "crawl", "--policy", version.policy)
            verified = self.parties.platform("screens", "verify")
            screens = max(int(found["verified"]), len(verified["verified"]))
            return f"a browser looked at its {screens} consent screens"
        from noren_server.policies import activation
        from noren_server.policies.policy_book import PolicyBook
        from noren_server.policies.screen_register import ScreenRegister

        directory = self.season.places.platform
        with closing(PolicyBook.open(directory)) as book, closing(ScreenRegister.open(directory)) as register:
            activation.register_own_screens(book, register, version, at=int(time.time()))
        return "no browser is installed, so its consent screens were read from their markup"

    def take_consents(self) -> None:
        """Everybody who is asked answers on her own device; the platform takes signed events over."""
        path = self.season.places.root / "consent-events.jsonl"
        self.students.write_consents(path)
        self._refuse_selection(path)
        taken = self.parties.platform("consents", "import", str(path))
        self.parties.platform("consents", "head")
        self._tell("consents", f"{taken['events']:,} events, each signed by the student's own key")

    def _refuse_selection(self, events: Path) -> None:
        """Somebody asks to use the data for passing and failing: such a purpose does not exist."""
        changed = events.with_name("selection.jsonl")
        text = events.read_text(encoding="utf-8")
        changed.write_text(
            text.replace(Purpose.TRAIN.value, ForbiddenPurpose.PASS_FAIL.value), encoding="utf-8"
        )
        code = _refusal(lambda: self.parties.platform("consents", "import", str(changed)))
        self._tell("pass or fail as a purpose", f"refused: {code}")

    def attest_coverage(self, campaign: str) -> None:
        """Who would be processed, all of them with a valid consent: the auditor signs it."""
        root = self.season.places.root
        run = self.parties.platform("coverage", "run", "--campaign", campaign)
        self.parties.platform("coverage", "review", "--campaign", campaign)
        attestation = root / f"attestation-{campaign}.json"
        self.parties.auditor(
            "coverage", "attest", str(Path(run["directory"]) / "report.json"),
            "--key", str(self.season.places.auditor_key), "--out", str(attestation),
        )  # fmt: skip
        self.parties.platform("coverage", "attest", str(attestation))

    def show_closed_launch_gate(self, campaign: str) -> None:
        """Without an attested report no table is made."""
        code = _refusal(lambda: self.parties.platform("campaign", "publish", campaign))
        self._tell("tables before coverage is attested", f"refused: {code}")

    def replay_2019(self) -> None:
        """The service of 2019 before our launch gate."""
        from noren_demo.replay_2019 import FOUND, MAIN, Replay

        directory = self.season.places.root / "replay-2019"
        directory.mkdir(mode=0o700)
        Replay().write(directory)
        found = []
        for phases in (MAIN, "all"):
            arguments = ("--campaign", "replay-2019", "--from", str(directory), "--phases", phases)
            run = self.parties.platform("coverage", "run", *arguments, "--as-of", str(FOUND))
            report = json.loads((Path(run["directory"]) / "report.json").read_bytes())
            found.append(_without_valid(report))
        self._tell(
            "the service of 2019, replayed",
            f"launch blocked: {found[0]:,} people without a valid consent on 5 August 2019, {found[1]:,} "
            "over all phases (totals as published; their split is made up)",
        )

    # Training

    @contextmanager
    def withdrawal_while_training(self, campaign: str, companies: Sequence[str]) -> Iterator[None]:
        """One student withdraws as soon as a round is over; the rounds that follow are without her."""
        choice = self._trained(companies)
        is_over, answers = threading.Event(), []

        def withdraw() -> None:
            while not is_over.is_set():
                if self._round(campaign) >= 2:
                    answers.append(self._withdraw(choice))
                    return
                is_over.wait(_POLL_SECONDS)

        thread = threading.Thread(target=withdraw, name="student")
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
        if not answers:
            answers.append(self._withdraw(choice))
        self._tell(
            "a withdrawal during training",
            f"taken in {answers[0] * 1000:.0f} ms; {choice.company}'s rounds after it are without her row, "
            "what was spent stays spent",
        )

    def _round(self, campaign: str) -> int:
        """Which round is being computed, by what the run tells the operator."""
        path = self.season.places.platform / "progress" / f"{campaign}.json"
        try:
            record = json.loads(path.read_bytes())
        except (OSError, json.JSONDecodeError):
            return 0
        return int(record.get("round", record.get("round_number", 0)))

    # Decisions and scores

    def seal_decisions(self, campaign: str, company: str) -> None:
        """Everybody's decision, refusals included, before anything is scored."""
        self.parties.staff(company, DECIDER, "decisions", "seal", campaign, POSITION, "--as", DECIDER)

    def acknowledge_offers(self, companies: Sequence[str]) -> None:
        """Companies tell whom they chose; whoever wants to be looked after says that she got the offer."""
        season = self.season.data.score_seasons[0]
        for company in companies:
            path = self.season.places.root / f"offers-{company}.jsonl"
            if self.students.write_acknowledgements(path, company, season):
                self.parties.platform("consents", "import", str(path))

    def look_at_one(self, campaign: str, companies: Sequence[str]) -> None:
        """One band, one person, to somebody who does not decide; and all the ways not to see one."""
        choice = self._scored(companies)
        self._show(campaign, choice, FOLLOW_UP)
        decider = _refusal(lambda: self._show(campaign, choice, DECIDER))
        never = self._never_asked(companies)
        unknown = _refusal(lambda: self._show(campaign, never, FOLLOW_UP))
        self._tell(
            "one band for one person",
            f"shown to who looks after offers; a decider gets {decider}; for somebody who was never asked, "
            f"{unknown}",
        )

    # After scoring

    def withdrawal_after_scoring(self, campaign: str, companies: Sequence[str]) -> None:
        """A scored student withdraws; the company erases, certifies, and sees what it sees for anybody."""
        choice = self._scored(companies, skip=1)
        before = self._shown_keys(campaign, choice)
        seconds = self._withdraw(choice)
        self.parties.platform("erasure", "issue", campaign)
        self.parties.company(choice.company, "rights", "erase", campaign)
        after = _refusal(lambda: self._show(campaign, choice, FOLLOW_UP))
        self._tell(
            "a withdrawal after scoring",
            f"taken in {seconds * 1000:.0f} ms; the company erased and certified, co-signed by the "
            f"custodian; where there was {before}, it now gets {after}",
        )

    def certify_all(self, campaign: str, companies: Sequence[str]) -> None:
        """The other companies answer the same order: who left cannot be told from it."""
        for company in companies:
            self.parties.company(company, "rights", "erase", campaign)

    def disclosure(self, campaign: str, companies: Sequence[str]) -> None:
        """A student opens her own copy, and asks the company for what else it holds."""
        choice = self._scored(companies, skip=2)
        with self._browser(choice.student) as browser:
            boxes = browser.get("/v1/mailboxes")["mailboxes"]
            mailbox = next(box["mailbox"] for box in boxes if box["company"] == choice.company)
            copies = browser.get(f"/v1/copies?mailbox={mailbox}&after=0")["copies"]
            scope = {
                "platform_data": True,
                "consent_history": True,
                "provision_records": True,
                "company": choice.company,
            }
            browser.post("/v1/disclosures", {"scope": scope, "disclosure_key": ""})
            self.parties.company(choice.company, "rights", "answer", campaign)
            answered = browser.get(f"/v1/copies?mailbox={mailbox}&after=0")["copies"]
            kinds = self._opened(choice, bytes.fromhex(mailbox), [copy["copy"] for copy in answered])
            for request in browser.get("/v1/disclosures")["requests"]:
                for item in request["items"]:
                    browser.post("/v1/disclosures/received", {"item": item["item"]})
            report = browser.text("/v1/report?lang=ja&format=markdown")
        (self.season.places.root / "student-report.md").write_text(report, encoding="utf-8")
        sizes = {len(copy["copy"]) // 2 for copy in answered}
        self._tell(
            "a disclosure",
            f"{len(copies)} sealed copy before anybody at the company looked, {len(answered) - len(copies)} "
            f"more after her request, all of {'/'.join(map(str, sorted(sizes)))} bytes; her device opened "
            f"{', '.join(kinds)}; her report in Japanese names every provision",
        )

    def _opened(self, choice: StudentChoice, mailbox: bytes, copies: Sequence[str]) -> list[str]:
        """What her device finds in her mailbox: every copy opens and verifies, or this raises."""
        from noren_core.errors import VerificationError
        from noren_core.ledger.entries import CompanyKey, EntryKind, SignedEntry
        from noren_core.rights.disclosure.mirror_copy import open_copy

        with self._platform() as platform:
            keys = platform.ledger.keys().keys_of(choice.company, CompanyKey.SIGNING)
            deposits: dict[int, SignedEntry] = {
                stored.index: stored.entry
                for stored in platform.ledger_store.entries(
                    kind=EntryKind.MIRROR_DEPOSIT, company=choice.company
                )
            }

        def deposit_at(index: int) -> SignedEntry:
            if index not in deposits:
                raise VerificationError("copy: expected a deposit of the ledger, got none")
            return deposits[index]

        key = self.students.device(choice.student).disclosure_key(choice.company)
        opened = [
            open_copy(
                bytes.fromhex(copy),
                key,
                company=choice.company,
                mailbox=mailbox,
                company_keys=frozenset(map(bytes.fromhex, keys)),
                deposit_at=deposit_at,
            )
            for copy in copies
        ]
        return sorted({item.copy.kind.value for item in opened})

    def check_decisions(self, campaign: str, company: str, bundle: Path) -> None:
        """The auditor on the company's premises: sealed decisions against the ledger."""
        found = self.parties.decisions_checked(company, campaign, bundle)
        self._tell(
            "decisions checked on the premises",
            f"{company}: {found['batches']} sealed batch, {len(found['findings'])} findings",
        )

    def abolish(self, campaigns: Sequence[str], companies: Sequence[str]) -> None:
        """The end: orders to all, certificates from all, then the state that nothing follows."""
        started = time.monotonic()
        self.parties.platform("service", "wind-down")
        refused = _refusal(lambda: self.parties.platform("campaign", "refresh", campaigns[0]))
        early = _refusal(lambda: self.parties.platform("service", "abolish", "--window-days", "0"))
        for campaign in campaigns:
            self.certify_all(campaign, companies)
        report = self.parties.platform("service", "abolish", "--window-days", "0")
        self._tell(
            "abolition",
            f"processing {refused} at once, too early {early}; {report['certificates']} certificates for "
            f"{report['orders']} orders, closed after {time.monotonic() - started:.0f} s",
        )

    # Students

    @property
    def students(self) -> Students:
        """Everybody who answers, once there is a policy to answer to."""
        if self._students is None:
            raise RuntimeError("expected a policy in force before students are asked")
        return self._students

    def _trained(self, companies: Sequence[str]) -> StudentChoice:
        """Somebody who consented to training at one company only, so that she trains there."""
        given = [c for c in self.students.choices if c.purpose is Purpose.TRAIN and c.choice is Choice.GIVES]
        times = {student: sum(c.student == student for c in given) for student in {c.student for c in given}}
        return next(c for c in given if c.company in companies and c.offered and times[c.student] == 1)

    def somebody_who(self, chose: Choice, companies: Sequence[str], *, skip: int = 0) -> StudentChoice:
        """Somebody with an offer who answered so when she was asked whether she may be scored."""
        found = [
            choice
            for choice in self.students.choices
            if choice.purpose is Purpose.SCORE
            and choice.offered
            and choice.choice is chose
            and choice.company in companies
        ]
        return found[skip]

    def _scored(self, companies: Sequence[str], *, skip: int = 0) -> StudentChoice:
        return self.somebody_who(Choice.GIVES, companies, skip=skip)

    def _never_asked(self, companies: Sequence[str]) -> StudentChoice:
        """Somebody with an offer who came by another way and was never asked for anything."""
        season = self.season.data.score_seasons[0]
        for company in companies:
            asked = {c.identifier for c in self.students.choices if c.company == company}
            for row in read_applicants(self.season.files.applicants(company)):
                offered = (row.season, row.decision) == (season, Decision.OFFER)
                if offered and row.identifier not in asked:
                    return StudentChoice(
                        "", company, season, Purpose.SCORE, row.identifier_kind, row.identifier,
                        Choice.GIVES, offered=True,
                    )  # fmt: skip
        raise RuntimeError("expected an applicant who was never asked, got none")

    def students_address(self) -> str:
        """Of the platform's pages and API for students."""
        config = self._platform_config()
        return f"https://{config.host}:{config.student_port}"

    def _platform_config(self) -> PlatformConfig:
        from noren_server.platform_files import Platform

        return Platform(self.season.places.platform).config

    def _withdraw(self, choice: StudentChoice) -> float:
        """She withdraws over the platform's API; how many seconds that took."""
        started = time.monotonic()
        event = self.students.withdrawal(choice).to_bytes().decode()
        with self._browser(choice.student) as browser:
            browser.post("/v1/withdrawals", {"withdrawals": [event]})
        return time.monotonic() - started

    @contextmanager
    def _browser(self, student: str) -> Iterator[StudentBrowser]:
        browser = StudentBrowser(
            self.students.device(student),
            origin=self.students_address(),
            platform=self._platform_config().origin,
            authority=self.season.places.platform / "ca" / "ca.pem",
        )
        with closing(browser):
            yield browser

    def _show(self, campaign: str, choice: StudentChoice, member: str) -> dict[str, Any]:
        file = self.season.places.root / "who"
        file.write_text(choice.identifier + "\n", encoding="utf-8")
        file.chmod(0o600)
        return self.parties.staff(
            choice.company, member, "show", campaign, POSITION, "--as", member,
            "--applicant-file", str(file), "--identifier-kind", choice.identifier_kind.value,
        )  # fmt: skip

    def _shown_keys(self, campaign: str, choice: StudentChoice) -> str:
        """What a look shows, without saying which band."""
        return "a band" if "band" in self._show(campaign, choice, FOLLOW_UP) else "nothing"

    @contextmanager
    def _platform(self) -> Iterator[Any]:
        from noren_server.platform_files import Platform

        with secrets_at_hand(self.season.places, PLATFORM, is_protected=not self.season.options.in_process):
            yield Platform(self.season.places.platform)

    def _tell(self, title: str, seen: str) -> None:
        self.steps.append(RightsStep(title, seen))
        self.season.say(f"  {title}: {seen}")


def _refusal(step: Callable[[], object]) -> str:
    """The code with which a step is refused; it must be."""
    try:
        step()
    except NorenError as error:
        return error.code
    raise RuntimeError("expected a refusal, got an answer")


def _screens_of(directory: Path, policy: str) -> Callable[[str, Purpose], Screen]:
    """The verified Japanese screen of each company and purpose."""
    from noren_server.policies.screen_register import ScreenRegister

    with closing(ScreenRegister.open(directory)) as register:
        found = {
            (item.place.company, purpose): Screen(item.sha256, tuple(sorted(item.clauses)))
            for item in register.versions(policy)
            if item.place.locale is Locale.JA and item.state.value == "VERIFIED"
            for purpose in item.purposes
        }
    return lambda company, purpose: found[company, purpose]


def _notices(companies: Sequence[str]) -> str:
    """What notices say about every company, in both languages."""
    lines = ["[common.ja]"]
    lines += [
        'platform_name = "デモ就活サイト"',
        'platform_address = "東京都千代田区1-1"',
        'platform_contact = "privacy@jobs.example"',
        'epsilon = "8"',
        'place = "日本"',
        'withdrawal_place = "設定 → 同意"',
        'auditor = "デモ監査"',
        'authority = "個人情報保護委員会"',
        "[common.en]",
        'platform_name = "The Demo Job Site"',
        'platform_address = "1-1 Chiyoda, Tokyo"',
        'platform_contact = "privacy@jobs.example"',
        'epsilon = "8"',
        'place = "Japan"',
        'withdrawal_place = "Settings → Consents"',
        'auditor = "Demo Audit"',
        'authority = "Personal Information Protection Commission"',
    ]
    for company in companies:
        lines += ["[[notice]]", f'company = "{company}"', f'position = "{POSITION}"']
        for locale, name, title in (
            ("ja", f"株式会社{company}", "総合職"),
            ("en", f"{company} Ltd", "Graduate"),
        ):
            lines += [
                f"[notice.{locale}]",
                f'company_name = "{name}"',
                'company_address = "大阪府大阪市2-2"' if locale == "ja" else 'company_address = "2-2 Osaka"',
                f'company_representative = "{"山田花子" if locale == "ja" else "Hanako Yamada"}"',
                f'company_contact = "privacy@{company}.example"',
                f'position_title = "{title}"',
            ]
    return "\n".join(lines) + "\n"


def _node(name: str, kind: str, policy: str = "", sha256: str = "") -> dict[str, str]:
    return {"name": name, "kind": kind, "policy": policy, "sha256": sha256}


def _without_valid(report: dict[str, Any]) -> int:
    """How many people a coverage report counts without a valid consent."""
    return int(report["would_process_without_valid"])


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
