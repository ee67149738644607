"""A coverage snapshot of a running platform: who would be processed, found by the join that processing uses.

Promises: whom a campaign would process is asked of the very functions that its tables are made with, over a
copy of the consent book in which synthetic accounts are planted; the evidence is the same copy's. The
platform's own book is only read. The copy and the snapshot hold personal data: both are made in the directory
that is handed in, which the caller removes.

Not in it: deposits, whose mailboxes name nobody; so scores are not counted against them here.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from noren_core import canonical_json
from noren_core.ledger.entries import EntryKind
from noren_core.rights.consent.consent_validity import PolicyStatus
from noren_core.rights.coverage.coverage_report import FACTS, JOURNEYS, JudgedBy
from noren_core.rights.notices.policy import PolicyVersion, material_change
from noren_core.rights.notices.screen import ScreenVersion
from noren_core.rights.purposes import Purpose
from noren_core.season.plan import CampaignPlan
from noren_local.private_file import write_private
from noren_server.consents.consent_book import DATABASE_NAME, ConsentBook, ConsentedStudent
from noren_server.consents.consent_files import EVENTS_FILE, STUDENTS_FILE, export_tables
from noren_server.consents.latest_facts import LatestFacts
from noren_server.coverage.planted_accounts import Ground, PlantedAccount, old_policy, plant
from noren_server.coverage.runs import judged_by
from noren_server.coverage.snapshot_files import SCHEMAS, open_snapshot, write_table
from noren_server.platform_files import Platform
from noren_server.policies.policy_book import PolicyBook
from noren_server.policies.screen_register import ScreenRegister
from noren_server.rights.provision_records import ProvisionRecords
from noren_server.superlink import bundle_sha256

TRAINING, SCORING = "training", "scoring"
"""The phases of a campaign."""

_PHASES = {Purpose.TRAIN: TRAINING, Purpose.SCORE: SCORING, Purpose.LINK: SCORING}
_COPY = "copy"


@dataclass(frozen=True, slots=True)
class _Cohort:
    """Whom the join takes for one company, season and purpose."""

    company: str
    season: str
    purpose: Purpose
    phase: str
    students: tuple[ConsentedStudent, ...]


def export(platform: Platform, plan: CampaignPlan, directory: Path, *, now: int) -> Path:
    """Write the snapshot of a campaign as it is now; the directory of it, inside `directory`.

    1. Copy the consent book, and plant synthetic accounts in the copy.
    2. Ask the copy whom the campaign's tables would hold.
    3. Write population, evidence, what was provided in the campaign, and what all that is judged by.
    """
    out = directory / "snapshot"
    out.mkdir(mode=0o700, parents=True)
    with ExitStack() as stack:
        policies = stack.enter_context(closing(PolicyBook.open(platform.directory)))
        screens = stack.enter_context(closing(ScreenRegister.open(platform.directory)))
        book = stack.enter_context(_copied_book(platform, directory / _COPY, policies, screens))  # 1
        planted = list(_planted(platform, plan, policies, screens, now=now))
        for account in planted:
            book.record_all(account.events, now=now)
        cohorts = list(_cohorts(book, plan, now=now))  # 2
        export_tables(book, out)  # 3
        route_of = {item.sha256: item.place.route for item in screens.versions()}
        write_table(out, "population", _population(out, cohorts, planted, route_of))
        received = _write_provisions(platform, plan, out)
        _write_judges(platform, out, policies, screens, received=received)
    (out / STUDENTS_FILE).unlink()
    shutil.rmtree(directory / _COPY)
    return out


def current_judges(platform: Platform, directory: Path) -> JudgedBy:
    """What a report would be judged by now; without anybody's data. `directory` is one to write in."""
    with (
        closing(PolicyBook.open(platform.directory)) as policies,
        closing(ScreenRegister.open(platform.directory)) as screens,
    ):
        _write_judges(platform, directory, policies, screens, received=frozenset())
    for name in ("population", "consent_events"):
        write_table(directory, name, SCHEMAS[name].empty_table())
    with open_snapshot(directory) as snapshot:
        return judged_by(snapshot)


def _copied_book(
    platform: Platform, directory: Path, policies: PolicyBook, screens: ScreenRegister
) -> ConsentBook:
    directory.mkdir(mode=0o700, parents=True)
    path = directory / DATABASE_NAME
    path.touch(mode=0o600)
    source = platform.directory / DATABASE_NAME
    with (
        closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as original,
        closing(sqlite3.connect(path)) as copy,
    ):
        original.backup(copy)
    # As if the service ran: a suspension is lifted on what this report says.
    facts = LatestFacts(policies, screens, platform.ledger_store, lambda _: True)
    return ConsentBook(path, service_key=platform.consent_key.public_key, facts=facts.at)


def _planted(
    platform: Platform, plan: CampaignPlan, policies: PolicyBook, screens: ScreenRegister, *, now: int
) -> Iterator[PlantedAccount]:
    """Accounts for every purpose and season of the plan that a verified screen asks for."""
    for purpose, season in _uses(plan):
        policy = policies.active(season, at=now)
        if policy is None:
            continue
        verified = (
            item
            for item in screens.versions(policy.policy)
            if item.is_verified_at(now) and purpose in item.purposes and item.place.company in plan.companies
        )
        screen = min(verified, key=lambda item: item.place, default=None)
        first = min(
            _activated_at(policies, item) or now for item in policies.versions() if item.season == season
        )
        if screen is not None:
            yield from plant(Ground(purpose, season, screen, first, now), platform.consent_key)


def _uses(plan: CampaignPlan) -> Iterator[tuple[Purpose, str]]:
    for season in plan.train_seasons:
        yield Purpose.TRAIN, season
    yield Purpose.SCORE, plan.score_season


def _cohorts(book: ConsentBook, plan: CampaignPlan, *, now: int) -> Iterator[_Cohort]:
    """As `publication.prepare` and `publication.score_rows` ask. Scored is who is linked as well."""
    for company in plan.companies:
        for purpose, season in _uses(plan):
            live = book.live(company, season, purpose, now=now)
            yield _Cohort(company, season, purpose, _PHASES[purpose], live)
        scored = book.scorable(company, plan.score_season, now=now)
        yield _Cohort(company, plan.score_season, Purpose.LINK, SCORING, scored)


def _population(
    directory: Path,
    cohorts: Iterable[_Cohort],
    planted: Iterable[PlantedAccount],
    route_of: dict[str, str],
) -> pa.Table:
    """Everybody whom the join takes, and the planted accounts whether it takes them or not."""
    registered = _column_by(directory / STUDENTS_FILE, "student", "registered_at")
    screen_of = _column_by(directory / EVENTS_FILE, "seq", "screen")
    accounts = {account.student: account for account in planted}
    rows = [
        _row(
            _scope(item.student, cohort.company, item.position, cohort.season, cohort.purpose),
            cohort.phase,
            route=route_of.get(str(screen_of[item.seq]), ""),
            registered_at=registered[item.student],
            account=accounts.get(item.student),
        )
        for cohort in cohorts
        for item in cohort.students
    ]
    taken = {(row["student"], row["purpose"]) for row in rows}
    left = (item for item in accounts.values() if (item.student, item.purpose.value) not in taken)
    rows += [
        _row(
            _scope(item.student, item.company, item.position, item.season, item.purpose),
            _PHASES[item.purpose],
            route=item.route,
            registered_at=registered.get(item.student, 0),
            account=item,
            processed=False,
        )
        for item in left
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["population"])


def _row(
    scope: dict[str, str],
    phase: str,
    *,
    route: str,
    registered_at: Any,
    account: PlantedAccount | None,
    processed: bool = True,
) -> dict[str, Any]:
    return {
        **scope,
        "phase": phase,
        "route": route,
        "registered_at": registered_at,
        "processed": processed,
        "control": "" if account is None else account.control.value,
    }


def _scope(student: str, company: str, position: str, season: str, purpose: Purpose) -> dict[str, str]:
    return {
        "student": student,
        "company": company,
        "position": position,
        "season": season,
        "purpose": purpose.value,
    }


def _column_by(path: Path, key: str, value: str) -> dict[Any, Any]:
    table = pq.read_table(path, columns=[key, value])
    return dict(zip(table[key].to_pylist(), table[value].to_pylist(), strict=True))


def _write_provisions(platform: Platform, plan: CampaignPlan, directory: Path) -> frozenset[str]:
    """What was provided in the campaign, and by which permits; the companies that got it."""
    with closing(ProvisionRecords.open(platform.directory)) as records:
        ours = [item for item in records.records() if item.campaign == plan.campaign]
    provisions = [
        {
            **_scope(item.student, item.company, item.position, item.season, item.purpose),
            "record": item.permit.hex(),
            "permit": item.permit.hex(),
            "time": item.at,
        }
        for item in ours
    ]
    permits = [
        {"permit": item.permit.hex(), "record": item.permit.hex(), "seq": item.consent_seq} for item in ours
    ]
    for name, rows in (("provisions", provisions), ("permits", permits)):
        write_table(directory, name, pa.Table.from_pylist(rows, schema=SCHEMAS[name]))
    return frozenset(item.company for item in ours)


def _write_judges(
    platform: Platform,
    directory: Path,
    policies: PolicyBook,
    screens: ScreenRegister,
    *,
    received: frozenset[str],
) -> None:
    tables = {
        "policies": list(_policies(policies)),
        "screens": [_screen(item) for item in screens.versions()],
        "agreements": list(_agreements(platform, received)),
    }
    for name, rows in tables.items():
        write_table(directory, name, pa.Table.from_pylist(rows, schema=SCHEMAS[name]))
    manifest = resources.files("noren_core.rights.notices").joinpath("flow_manifest.json").read_bytes()
    facts = {"flows": hashlib.sha256(manifest).hexdigest(), "build": bundle_sha256()}
    write_private(directory / FACTS, canonical_json.encode(facts))
    journeys = platform.directory / JOURNEYS
    if journeys.exists():
        write_private(directory / JOURNEYS, journeys.read_bytes())


def _policies(policies: PolicyBook) -> Iterator[dict[str, Any]]:
    """Every version that came into force; the first of a season changed everything: before it was nothing."""
    before: dict[str, PolicyVersion] = {}
    in_force = (
        (at, item) for item in policies.versions() if (at := _activated_at(policies, item)) is not None
    )
    for at, version in sorted(in_force, key=lambda pair: (pair[0], pair[1].policy)):
        old = before.get(version.season)
        if old is None:
            yield _policy(old_policy(version.season), version.season, at - 2, 0, ())
        material = [p for p in Purpose if old is None or material_change(old, version, p)]
        yield _policy(version.policy, version.season, at, _retired_at(policies, version), material)
        before[version.season] = version


def _policy(
    policy: str, season: str, activated_at: int, retired_at: int, material: Iterable[Purpose]
) -> dict[str, Any]:
    return {
        "policy": policy,
        "season": season,
        "activated_at": activated_at,
        "retired_at": retired_at,
        "material": sorted(purpose.value for purpose in material),
    }


def _activated_at(policies: PolicyBook, version: PolicyVersion) -> int | None:
    steps = policies.steps(version.policy)
    return next((step.at for step in steps if step.status is PolicyStatus.ACTIVE), None)


def _retired_at(policies: PolicyBook, version: PolicyVersion) -> int:
    """When it stops counting, or will; 0 if nobody said so. Of several ends the first one holds."""
    steps = policies.steps(version.policy)
    return next((step.at for step in steps if step.status is PolicyStatus.RETIRED), 0)


def _screen(version: ScreenVersion) -> dict[str, Any]:
    place = version.place
    return {
        "screen": version.sha256,
        "route": place.route,
        "build": f"{place.build}/{place.device}/{place.variant}",
        "locale": str(place.locale),
        "policy": place.policy,
        "company": place.company,
        "position": place.position,
        "purposes": sorted(version.purposes),
        "clauses": sorted(version.clauses),
        "verified_from": version.verified_from,
        "verified_until": version.verified_until,
        "state": version.state.value,
    }


def _agreements(platform: Platform, received: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Who agreed, by the ledger, which says no times: from always, and never for who was revoked since."""
    revoked = {item.entry.company for item in platform.ledger_store.entries(kind=EntryKind.REVOCATION)}
    agreed = {item.entry.company for item in platform.ledger_store.entries(kind=EntryKind.AGREEMENT)}
    for company in sorted(name for name in agreed if name is not None):
        yield {
            "company": company,
            "active_from": 0,
            "active_until": 1 if company in revoked else 0,
            "received_provision": company in received,
        }
