"""Enrolment, alignment, sealed tables and sealed scoring over real gRPC on loopback."""

from __future__ import annotations

import itertools
import json
import logging
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from platform_services import rights_parts

from noren_client import (
    alignment,
    budget,
    calibration,
    campaign_files,
    config,
    enrolment,
    follow_up,
    keystore,
    scoring,
    transport,
)
from noren_client.gate import decisions, staff
from noren_client.ledger_watch import LedgerWatch
from noren_client.odometer import Odometer
from noren_client.training import clipped_gradient_sum
from noren_core.crypto import oprf
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.revocation_list import RevocationList
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import (
    BudgetExceededError,
    ConfigurationError,
    DataError,
    LocalProtocolError,
    NorenError,
    RemoteProtocolError,
    VerificationError,
)
from noren_core.ids import IdentifierKind, TableKind, normalise_identifier
from noren_core.ledger.entries import EntryKind, RevocationReason, parse_entry, sign_entry
from noren_core.ledger.proofs import SplitViewError
from noren_core.rights.gate.roles import Action, Assignment, Role
from noren_core.season import messages
from noren_core.season.head_message import commitment_body
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import round_event
from noren_core.season.score_payload import ADDRESS_BYTES
from noren_core.wire.refusal import METADATA_KEY, Refusal
from noren_core.wire.v1 import platform_pb2 as wire
from noren_core.wire.v1 import platform_pb2_grpc as services
from noren_server import platform_files
from noren_server.alignment import evaluate_batch
from noren_server.company_keys import KeyDesk
from noren_server.enrolment import EnrolmentDesk
from noren_server.gate import Gate
from noren_server.grpc_service import PlatformParts, RunningService, serve
from noren_server.ledger_service import LedgerService
from noren_server.ledger_store import LedgerStore
from noren_server.released_records import ReleasedRecords
from noren_server.revocation import Revocations
from noren_server.sealed_scoring import ScoreRows, SealedScoring
from noren_server.sealed_statistics import SealedStatistics
from noren_server.store import CompanyState
from noren_server.tables import TablePublisher

CAMPAIGN, POSITION = "spring-2026", "engineer"
COMPANIES = ("alpha", "bravo", "charlie")
CHUNK_ROWS = 8  # eight chunks for the smallest table


def no_pause(_: float) -> None:
    """Tests never wait between attempts."""


def identifier(number: int) -> bytes:
    return normalise_identifier(IdentifierKind.CONSENT_CODE, code(number), POSITION)


def code(number: int) -> str:
    return f"secret-code-{number:04d}"


def features_of(number: int) -> np.ndarray:
    """Distinct features, with both extremes."""
    values = [(37 * number + 101 * j) % 256 - 128 for j in range(4)]
    return np.array(values, dtype=np.int8)


def row_of(number: int) -> bytes:
    return np.array([number, -number, 1000 + number, 7], dtype="<i2").tobytes()


@dataclass(frozen=True)
class Serving:
    """A platform's services, running."""

    running: RunningService
    scoring: SealedScoring
    rights: ExitStack

    def stop(self) -> None:
        self.running.stop(grace_seconds=0)
        self.rights.close()


@dataclass
class Season:
    """A platform with its services running, and the directories of its companies."""

    root: Path
    platform: platform_files.Platform
    serving: Serving
    consenting: dict[str, list[int]]
    withdrawn: dict[tuple[str, TableKind], list[int]] = field(default_factory=dict)
    suspended: set[str] = field(default_factory=set)

    def company(self, name: str) -> Path:
        return self.root / name

    def training_rows(self) -> dict[bytes, bytes]:
        """What alpha opens of its training table, with nothing joined or kept."""
        directory = self.company("alpha")
        plan = campaign_files.load_plan(directory, CAMPAIGN)
        with transport.PlatformClient(directory, sleep=no_pause) as platform:
            aligner = alignment.Aligner(directory, plan, platform, sleep=no_pause)
            wanted = [identifier(n) for n in range(30)]
            opened = aligner.open_rows(TableKind.TRAIN, wanted, payload_bytes=8)
            return {key: row.payload for key, row in opened.items()}

    @property
    def publisher(self) -> TablePublisher:
        return TablePublisher(
            self.platform.store,
            self.platform.ledger,
            self.root / "platform" / "tables",
            chunk_rows=CHUNK_ROWS,
        )

    def restart(self) -> None:
        """Stop the services and start them again on what is on disk."""
        self.serving.stop()
        self.platform.store.close()
        self.platform.ledger_store.close()
        self.platform = platform_files.Platform(self.root / "platform")
        self.serving = start(self.platform, self.consenting, self.withdrawn, self.suspended)

    def enrol(self, name: str, *, declared_size: int = 40) -> None:
        """The whole enrolment of one company."""
        invitation = self.root / f"{name}.invitation"
        invitation.write_bytes(self.platform.enrolment.invite(name).content)
        fingerprint = enrolment.enrol(invitation, self.company(name), declared_size, sleep=no_pause)
        self.platform.enrolment.approve(name, fingerprint)
        enrolment.collect(self.company(name), sleep=no_pause)

    def publish(self, plan: CampaignPlan) -> None:
        self.platform.ledger.append_platform_entry(EntryKind.PLAN, plan.to_body())
        with self.platform.store.transaction() as transaction:
            transaction.add_campaign(plan)

    def stub(self, name: str) -> tuple[grpc.Channel, services.PlatformStub]:
        """A bare connection with a company's certificate, for requests that our client never makes."""
        keys = self.company(name) / "keys"
        return self.stub_with((keys / "tls.key").read_bytes(), (keys / "tls.pem").read_bytes())

    def stub_with(
        self, key: bytes | None, certificate: bytes | None
    ) -> tuple[grpc.Channel, services.PlatformStub]:
        credentials = grpc.ssl_channel_credentials(
            self.platform.authority.certificate_pem, private_key=key, certificate_chain=certificate
        )
        channel = grpc.secure_channel(self.platform.config.addresses.service, credentials)
        return channel, services.PlatformStub(channel)


def start(
    platform: platform_files.Platform,
    consenting: dict[str, list[int]],
    withdrawn: dict[tuple[str, TableKind], list[int]],
    suspended: set[str],
) -> Serving:
    def rows(_: CampaignPlan, company: str) -> ScoreRows:
        numbers = consenting.get(company, [])
        values = [features_of(number) for number in numbers]
        return ScoreRows(
            [identifier(n) for n in numbers],
            np.array(values, dtype=np.int8).reshape(-1, 4),
            [bytes([n]) * ADDRESS_BYTES for n in numbers],
        )

    tables = platform.directory / "tables"
    publisher = TablePublisher(platform.store, platform.ledger, tables, chunk_rows=CHUNK_ROWS)
    scoring_service = SealedScoring(platform.store, platform.ledger, publisher, rows)
    revocations = Revocations(
        platform.store,
        publisher,
        platform.signing_key,
        lambda _, company, kind: [identifier(n) for n in withdrawn.get((company, kind), [])],
    )
    statistics = SealedStatistics(
        platform.store, platform.ledger, publisher, rows, platform.directory / "statistics"
    )
    gate = Gate(
        platform.store,
        platform.ledger,
        clock=lambda: int(datetime.now(UTC).timestamp()),
        is_running=lambda company, _: company not in suspended,
        is_covered=lambda _: True,
    )
    keys = KeyDesk(
        platform.store,
        platform.ledger,
        platform.authority,
        clock=lambda: datetime.now(UTC),
        register_node=lambda company, key: None,
    )
    rights = ExitStack()
    running = serve(
        platform.enrolment,
        PlatformParts(
            store=platform.store,
            gate=gate,
            ledger=platform.ledger,
            publisher=publisher,
            scoring=scoring_service,
            statistics=statistics,
            revocations=revocations,
            keys=keys,
        ),
        platform.server_tls,
        rights=rights.enter_context(rights_parts(platform)),
        enrolment_address=platform.config.addresses.enrolment,
        service_address=platform.config.addresses.service,
        clock=lambda: datetime.now(UTC),
    )
    return Serving(running, scoring_service, rights)


@contextmanager
def opened(root: Path, consenting: dict[str, list[int]]) -> Iterator[Season]:
    """The season in a directory, its services running."""
    platform = platform_files.Platform(root / "platform")
    withdrawn: dict[tuple[str, TableKind], list[int]] = {}
    suspended: set[str] = set()
    serving = start(platform, consenting, withdrawn, suspended)
    season = Season(root, platform, serving, consenting, withdrawn, suspended)
    try:
        yield season
    finally:
        season.serving.stop()
        season.platform.store.close()
        season.platform.ledger_store.close()


def initialise(root: Path) -> None:
    platform_files.initialise(root / "platform", name="job-site", host="127.0.0.1", ports=(0, 0, 0, 0))


@pytest.fixture
def empty_season(tmp_path: Path) -> Iterator[Season]:
    """A platform that nobody has enrolled at."""
    initialise(tmp_path)
    with opened(tmp_path, {}) as season:
        yield season


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the season that tests start from is made, once."""
    return tmp_path_factory.mktemp("template")


@pytest.fixture
def plan(plan_body: dict[str, Any]) -> CampaignPlan:
    """A plan for three companies with the bundle that invitations pin."""
    plan_body["cohort"] = [{"company": c, "padded_batch": 64, "evaluations": 128} for c in COMPANIES]
    plan_body |= {"minimum_cohort": 3, "threshold": 3, "bundle_sha256": platform_files.bundle_sha256()}
    return CampaignPlan.from_body(plan_body)


@pytest.fixture
def season(template: Path, tmp_path: Path, plan: CampaignPlan) -> Iterator[Season]:
    """Three enrolled companies, a published plan and training tables; alpha has accepted the plan.

    Students 0 to 9 consented to alpha, 10 to 14 to bravo; 20 to 29 applied to alpha and did not consent.
    """
    consenting = {"alpha": list(range(10)), "bravo": list(range(10, 15))}
    if not (template / "platform").exists():
        initialise(template)
        with opened(template, consenting) as made:
            make_season(made, plan)
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    with opened(tmp_path, consenting) as copied:
        yield copied


def make_season(season: Season, plan: CampaignPlan) -> None:
    for company in COMPANIES:
        season.enrol(company)
    season.publish(plan)
    rows = {c: [(identifier(n), row_of(n)) for n in season.consenting.get(c, [])] for c in COMPANIES}
    season.publisher.publish_training_tables(plan, rows)
    alignment.accept_plan(season.company("alpha"), CAMPAIGN, sleep=no_pause)
    write_applicants(
        season.company("alpha"), train=[*range(10), *range(20, 30)], score=[0, 1, 2, 25], failed=[3, 26]
    )


def write_applicants(
    company_dir: Path, *, train: Sequence[int], score: Sequence[int] = (), failed: Sequence[int] = ()
) -> None:
    lines = ["season,position,identifier_kind,identifier,decision,outcome"]
    answers = [(n, "declined" if n % 3 else "accepted") for n in train]
    lines += [f"2025,{POSITION},consent-code,{code(n)},offer,{answer}" for n, answer in answers]
    lines += [f"2026,{POSITION},consent-code,{code(n)},offer," for n in score]
    lines += [f"2026,{POSITION},consent-code,{code(n)},no-offer," for n in failed]
    (company_dir / "applicants.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def status_of(call: Callable[[], object]) -> tuple[grpc.StatusCode, str | None, str]:
    """How a bare call was refused: status, code in the metadata, text."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = caught.value
    codes = dict(error.trailing_metadata() or ())
    return error.code(), codes.get(METADATA_KEY), error.details()


# Enrolment


def test_enrolment_happy_path(empty_season: Season) -> None:
    """An invited company makes its keys, is approved by fingerprint and collects its certificate."""
    empty_season.enrol("alpha", declared_size=40)
    directory = empty_season.company("alpha")
    with empty_season.platform.store.transaction() as transaction:
        company = transaction.company("alpha")
    assert company is not None
    assert company.state is CompanyState.APPROVED
    assert company.declared_size == 40
    assert company.signing_key == keystore.load(directory).signing.public_key
    kinds = [stored.entry.kind for stored in empty_season.platform.ledger_store.entries(company="alpha")]
    assert kinds == [EntryKind.ENROLMENT, EntryKind.AGREEMENT]
    assert LedgerWatch(directory).known_tree_size == 3
    assert config.load(directory).pins.platform_key == empty_season.platform.signing_key.public_key
    for path in (directory / "keys").iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_a_request_repeated_after_a_lost_answer_changes_nothing(empty_season: Season) -> None:
    """The same request with the same code is answered again; the code stays spent for anybody else."""
    invitation = empty_season.root / "alpha.invitation"
    invitation.write_bytes(empty_season.platform.enrolment.invite("alpha").content)
    first = enrolment.enrol(invitation, empty_season.company("alpha"), 40, sleep=no_pause)
    assert enrolment.enrol(invitation, empty_season.company("alpha"), 40, sleep=no_pause) == first
    with pytest.raises(RemoteProtocolError) as caught:
        enrolment.enrol(invitation, empty_season.company("thief"), 40, sleep=no_pause)
    assert caught.value.code == Refusal.INVITATION_USED


def test_a_wrong_code_is_refused_and_bounded(empty_season: Season) -> None:
    """A code that is not ours is refused, and after ten of them the address has to wait."""
    invitation = empty_season.root / "alpha.invitation"
    fields = json.loads(empty_season.platform.enrolment.invite("alpha").content)
    right = invitation_bytes(fields)
    invitation.write_bytes(invitation_bytes({**fields, "code": "0" * 40}))
    codes = []
    for _ in range(11):
        with pytest.raises(RemoteProtocolError) as caught:
            enrolment.enrol(invitation, empty_season.company("alpha"), 40, sleep=no_pause)
        codes.append(caught.value.code)
    assert codes == [Refusal.INVITATION_UNKNOWN] * 10 + [Refusal.TOO_MANY_ATTEMPTS]
    invitation.write_bytes(right)
    with pytest.raises(RemoteProtocolError) as caught:
        enrolment.enrol(invitation, empty_season.company("alpha"), 40, sleep=no_pause)
    assert caught.value.code == Refusal.TOO_MANY_ATTEMPTS


def test_an_expired_code_is_refused(empty_season: Season) -> None:
    """A code that was made fifteen days ago for fourteen is refused as expired."""
    platform = empty_season.platform
    past = EnrolmentDesk(
        platform.store,
        platform.ledger,
        platform.authority,
        platform.facts,
        clock=lambda: datetime.now(UTC) - timedelta(days=15),
    )
    invitation = empty_season.root / "alpha.invitation"
    invitation.write_bytes(past.invite("alpha", valid_days=14).content)
    with pytest.raises(RemoteProtocolError) as caught:
        enrolment.enrol(invitation, empty_season.company("alpha"), 40, sleep=no_pause)
    assert caught.value.code == Refusal.INVITATION_EXPIRED


def test_a_wrong_fingerprint_certifies_nobody(empty_season: Season) -> None:
    """An operator who types another fingerprint changes nothing, and can reject and invite again."""
    invitation = empty_season.root / "alpha.invitation"
    invitation.write_bytes(empty_season.platform.enrolment.invite("alpha").content)
    shown = enrolment.enrol(invitation, empty_season.company("alpha"), 40, sleep=no_pause)
    wrong = ("0" if shown[0] != "0" else "1") + shown[1:]
    size = empty_season.platform.ledger_store.size
    with pytest.raises(VerificationError) as caught:
        empty_season.platform.enrolment.approve("alpha", wrong)
    assert caught.value.code == "FINGERPRINT_MISMATCH"
    assert empty_season.platform.ledger_store.size == size
    with pytest.raises(RemoteProtocolError) as waiting:
        enrolment.collect(empty_season.company("alpha"), sleep=no_pause)
    assert waiting.value.code == Refusal.NOT_READY
    empty_season.platform.enrolment.reject("alpha")
    empty_season.platform.enrolment.invite("alpha")


def test_an_invitation_for_another_agreement_is_refused(empty_season: Season) -> None:
    """A company does not sign a text that its people have not read."""
    fields = json.loads(empty_season.platform.enrolment.invite("alpha").content)
    invitation = empty_season.root / "alpha.invitation"
    invitation.write_bytes(invitation_bytes({**fields, "agreement_sha256": "ab" * 32}))
    with pytest.raises(ConfigurationError) as caught:
        enrolment.enrol(invitation, empty_season.company("alpha"), 40, sleep=no_pause)
    assert caught.value.code == "AGREEMENT_MISMATCH"
    assert not empty_season.company("alpha").exists()


def invitation_bytes(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


# Who is let in


def test_no_certificate_is_not_let_in(season: Season) -> None:
    """Without a client certificate there is no connection to the company service."""
    channel, stub = season.stub_with(None, None)
    with channel:
        status, told, _ = status_of(lambda: stub.GetProof(wire.GetProofRequest(campaign=CAMPAIGN), timeout=5))
    assert status is grpc.StatusCode.UNAVAILABLE
    assert told is None


def test_an_expired_certificate_is_refused_on_both_sides(season: Season) -> None:
    """The client says so before it connects; the server refuses the connection whatever the client says."""
    directory = season.company("alpha")
    request = keystore.certificate_request(directory, "alpha")
    long_ago = datetime.now(UTC) - timedelta(days=800)
    expired = season.platform.authority.issue_client(request, "alpha", now=long_ago)
    (directory / "keys" / "tls.pem").write_bytes(expired)
    with pytest.raises(ConfigurationError) as caught:
        transport.PlatformClient(directory)
    assert caught.value.code == "CERTIFICATE_EXPIRED"
    channel, stub = season.stub("alpha")
    with channel:
        status, _, _ = status_of(lambda: stub.GetProof(wire.GetProofRequest(campaign=CAMPAIGN), timeout=5))
    assert status is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_that_is_not_the_enrolled_one_is_refused(season: Season) -> None:
    """A certificate of our authority in alpha's name, for another key, is not alpha."""
    other = season.root / "impostor"
    keystore.create_missing(other)
    chain = season.platform.authority.issue_client(
        keystore.certificate_request(other, "alpha"), "alpha", now=datetime.now(UTC)
    )
    channel, stub = season.stub_with((other / "keys" / "tls.key").read_bytes(), chain)
    with channel:
        refused = status_of(lambda: stub.GetProof(wire.GetProofRequest(campaign=CAMPAIGN), timeout=5))
    assert refused[:2] == (grpc.StatusCode.UNAUTHENTICATED, Refusal.CERTIFICATE_REFUSED)


def test_a_revoked_company_is_refused_at_its_next_call(season: Season) -> None:
    """Revoking takes effect on connections that are open."""
    with transport.PlatformClient(season.company("alpha"), sleep=no_pause) as platform:
        platform.get_proof(CAMPAIGN, known_tree_size=0)
        season.platform.enrolment.revoke("alpha", RevocationReason.LEFT)
        with pytest.raises(RemoteProtocolError) as caught:
            platform.get_proof(CAMPAIGN, known_tree_size=0)
    assert caught.value.code == Refusal.CERTIFICATE_REFUSED


def test_another_companys_campaign_is_like_none(season: Season) -> None:
    """A valid certificate of a company outside the cohort gets what it would get for no campaign at all."""
    season.enrol("outsider")
    answers = set()
    channel, stub = season.stub("outsider")
    with channel:
        for campaign in (CAMPAIGN, "no-such-campaign", "../etc"):
            table = wire.FetchTableRequest(campaign=campaign, kind="train")
            for call in (
                lambda c=campaign: stub.GetProof(wire.GetProofRequest(campaign=c), timeout=5),
                lambda c=campaign: stub.Evaluate(wire.EvaluateRequest(campaign=c, kind="score"), timeout=5),
                lambda t=table: list(stub.FetchTable(t, timeout=5)),
            ):
                answers.add(status_of(call))
    assert answers == {
        (grpc.StatusCode.NOT_FOUND, Refusal.NOT_AVAILABLE.value, Refusal.NOT_AVAILABLE.sentence)
    }


def test_a_closed_campaign_is_like_none(season: Season) -> None:
    """After the operator closed a campaign its companies get what they would get for no campaign."""
    with season.platform.store.transaction() as transaction:
        transaction.close_campaign(CAMPAIGN)
    with pytest.raises(RemoteProtocolError) as caught:
        alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause)
    assert caught.value.code == Refusal.NOT_AVAILABLE


def test_nothing_is_evaluated_or_served_before_the_plan_is_accepted(season: Season) -> None:
    """A company of the cohort that has not signed the plan gets neither evaluations nor tables."""
    channel, stub = season.stub("bravo")
    with channel:
        evaluate = wire.EvaluateRequest(campaign=CAMPAIGN, kind="train", blinded=blinded(64))
        assert status_of(lambda: stub.Evaluate(evaluate, timeout=5))[1] == Refusal.NOT_ACCEPTED
        table = wire.FetchTableRequest(campaign=CAMPAIGN, kind="train")
        assert status_of(lambda: list(stub.FetchTable(table, timeout=5)))[1] == Refusal.NOT_ACCEPTED


def test_an_entry_signed_by_another_company_is_not_appended(season: Season, plan: CampaignPlan) -> None:
    """Bravo can append neither alpha's entry nor one in alpha's name."""
    bravo = keystore.load(season.company("bravo"))
    alpha = keystore.load(season.company("alpha"))
    size = season.platform.ledger_store.size
    channel, stub = season.stub("bravo")
    digest = plan.digest().hex()
    with channel:
        for author, company, key in (
            ("alpha", "alpha", alpha),
            ("alpha", "alpha", bravo),
            ("bravo", "bravo", alpha),
        ):
            body = {"campaign": CAMPAIGN, "company": company, "plan_sha256": digest}
            entry = sign_entry(EntryKind.PLAN_ACCEPTANCE, author, body, key.signing)
            told = status_of(lambda e=entry: stub.Append(wire.AppendRequest(entry=e), timeout=5))[1]
            assert told in {Refusal.PROTOCOL_VIOLATION, Refusal.NOT_VERIFIED}
    assert season.platform.ledger_store.size == size


# Accepting a plan


def test_accepting_a_plan_keeps_plan_and_roster(season: Season, plan: CampaignPlan) -> None:
    """After acceptance the company has the plan and every cohort key, and the ledger its signature, once."""
    accepted = alignment.accept_plan(season.company("alpha"), CAMPAIGN, sleep=no_pause)  # again
    assert accepted.plan == plan
    assert 0 < accepted.epsilon <= 1
    assert 0 < accepted.row_epsilon <= 8
    assert campaign_files.load_plan(season.company("alpha"), CAMPAIGN) == plan
    signing, sealing = campaign_files.load_roster(season.company("alpha"), CAMPAIGN)
    for company in COMPANIES:
        keys = keystore.load(season.company(company))
        assert (signing[company], sealing[company]) == (keys.signing.public_key, keys.sealing.public_key)
    acceptances = season.platform.ledger_store.entries(kind=EntryKind.PLAN_ACCEPTANCE)
    assert [stored.entry.author for stored in acceptances] == ["alpha"]


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ('max_epsilon = "0.5"', "BUDGET_EXCEEDED"),
        ('max_row_epsilon = "2"', "BUDGET_EXCEEDED"),
        ('max_delta = "0.0000001"', "BUDGET_EXCEEDED"),
        ("max_rounds = 2", "PLAN_MISMATCH"),
        ("minimum_cohort = 4", "PLAN_MISMATCH"),
        (f'bundle_sha256 = "{"cd" * 32}"', "PLAN_MISMATCH"),
    ],
)
def test_a_plan_beyond_our_own_limits_is_not_signed(season: Season, limit: str, code: str) -> None:
    """A limit or pin in the company's own configuration stops the acceptance, whatever the platform says."""
    path = season.company("bravo") / "config.toml"
    name = limit.split(maxsplit=1)[0]
    lines = [limit if line.startswith(f"{name} ") else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    size = season.platform.ledger_store.size
    with pytest.raises(NorenError) as caught:
        alignment.accept_plan(season.company("bravo"), CAMPAIGN, sleep=no_pause)
    assert caught.value.code == code
    assert season.platform.ledger_store.size == size
    with pytest.raises(LocalProtocolError):
        campaign_files.load_plan(season.company("bravo"), CAMPAIGN)


# Alignment and training tables


def test_only_consenting_applicants_rows_are_opened_and_joined(season: Season) -> None:
    """Of ten consenting and ten other applicants the training set holds the ten, with their labels."""
    prepared = alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause)
    assert (prepared.applicants, prepared.rows) == (20, 10)
    kept = campaign_files.load_training_set(season.company("alpha"), CAMPAIGN)
    rows = kept.rows.tolist()
    got = {row[0]: label for row, label in zip(rows, kept.labels.tolist(), strict=True)}
    assert got == {number: int(number % 3 != 0) for number in range(10)}
    assert sorted(map(tuple, rows)) == sorted((n, -n, 1000 + n, 7) for n in range(10))


def test_preparing_again_costs_no_further_evaluation(season: Season) -> None:
    """Evaluated identifiers are kept, so a second preparation asks for nothing."""
    alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause)
    alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause)
    assert evaluations(season, "alpha") == 64


def test_absent_students_cannot_be_told_apart(season: Season) -> None:
    """Never consented, consented to another company, and unknown to the platform: all simply have no row."""
    directory = season.company("alpha")
    plan = campaign_files.load_plan(directory, CAMPAIGN)
    wanted = [identifier(n) for n in (0, 12, 25, 9999)]
    with transport.PlatformClient(directory, sleep=no_pause) as platform:
        aligner = alignment.Aligner(directory, plan, platform, sleep=no_pause)
        opened = aligner.open_rows(TableKind.TRAIN, wanted, payload_bytes=8)
    assert {key: row.payload for key, row in opened.items()} == {identifier(0): row_of(0)}


def test_a_withdrawn_consent_has_no_row_in_the_next_table(season: Season) -> None:
    """A student who withdrew before the score table is not in it, though she was in the training table."""
    season.consenting["alpha"].remove(1)
    scores = score(season, "alpha", [3, -2, 5, 1])
    assert scores[1] is None
    assert scores[0] is not None


def test_a_row_is_never_drawn_twice(season: Season, plan: CampaignPlan) -> None:
    """Rows of a later draw for the same student and campaign are discarded for the first ones."""
    store = season.platform.store
    key = oprf_row_key(season, plan, 0)
    with store.transaction() as transaction:
        kept = transaction.keep_released_rows(CAMPAIGN, "alpha", {key: b"another!"})
    assert kept == {key: row_of(0)}


def test_the_wire_does_not_depend_on_the_applicants(season: Season) -> None:
    """One applicant or twenty: the same number of calls, of the same sizes, in the same order."""
    alignment.accept_plan(season.company("bravo"), CAMPAIGN, sleep=no_pause)
    write_applicants(season.company("bravo"), train=[10, 12])
    seen = {}
    for company in ("alpha", "bravo"):
        with recorded_requests() as sizes:
            alignment.prepare(season.company(company), CAMPAIGN, sleep=no_pause)
        seen[company] = sizes
    assert [name for name, _ in seen["alpha"]] == [
        "GetProof",
        "GetProof",
        "Evaluate",
        "GetProof",
        "FetchTable",
        "FetchRevocations",
    ]
    assert seen["alpha"] == seen["bravo"]


def test_nothing_to_learn_from_is_said_and_leaves_no_training_set(season: Season) -> None:
    """One class or one row in the company's own file: a clear code, and no training set is left."""
    directory = season.company("alpha")
    alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    for train, expected in (
        ([1, 2], "TRAINING_SET_ONE_CLASS"),
        ([1], "TRAINING_SET_ONE_ROW"),
    ):
        write_applicants(directory, train=train)
        with pytest.raises(DataError) as caught:
            alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
        assert caught.value.code == expected
        with pytest.raises(LocalProtocolError):
            campaign_files.load_training_set(directory, CAMPAIGN)


@pytest.mark.parametrize(("train", "rows"), [((0, 25), 1), ((25, 27), 0)])  # 25 and 27 have no row
def test_what_the_table_holds_does_not_decide_whether_a_company_takes_part(
    season: Season, train: Sequence[int], rows: int
) -> None:
    """With one row opened, or none, there is a training set all the same, and a gradient sum of it."""
    directory = season.company("alpha")
    write_applicants(directory, train=train)
    assert alignment.prepare(directory, CAMPAIGN, sleep=no_pause).rows == rows
    kept = campaign_files.load_training_set(directory, CAMPAIGN)
    found, weights = kept.rows.astype(np.float64), np.zeros(kept.rows.shape[1] + 1)
    total = clipped_gradient_sum(found, kept.labels, weights, clipping_norm=Fraction(2), grid=1 << 16)
    assert (total != 0).any() == bool(rows)


def test_training_batches_and_scoring_batches_are_counted_apart(season: Season) -> None:
    """After all training batches, further applicants are refused here and scoring still works."""
    directory = season.company("alpha")
    alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    write_applicants(directory, train=range(30), score=[0, 1, 2, 25])
    alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    write_applicants(directory, train=range(31), score=[0, 1, 2, 25])
    with pytest.raises(BudgetExceededError) as caught:
        alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    assert caught.value.code == Refusal.EVALUATION_LIMIT
    assert evaluations(season, "alpha") == 128
    assert score(season, "alpha", [1, 0, 0, 0])[0] is not None
    assert evaluations(season, "alpha", TableKind.SCORE) == 64


def test_more_applicants_than_declared_are_refused_before_anything_is_sent(season: Season) -> None:
    """Sixty-five applicants do not fit in a batch of sixty-four."""
    write_applicants(season.company("alpha"), train=range(65))
    with pytest.raises(DataError) as caught:
        alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause)
    assert caught.value.code == "MORE_THAN_DECLARED"
    assert evaluations(season, "alpha") == 0


def test_a_wrong_batch_size_or_a_bad_element_is_refused_and_not_counted(season: Season) -> None:
    """63 or 65 elements, a repeated one and one that is no group element change nothing."""
    good = blinded(65)
    channel, stub = season.stub("alpha")
    with channel:
        for batch, expected in (
            (good[:63], Refusal.BATCH_SIZE),
            (good, Refusal.BATCH_SIZE),
            ([], Refusal.BATCH_SIZE),
            ([*good[:63], good[0]], Refusal.PROTOCOL_VIOLATION),
            ([*good[:63], bytes(32)], Refusal.PROTOCOL_VIOLATION),
            ([*good[:63], b"\xff" * 32], Refusal.PROTOCOL_VIOLATION),
            ([*good[:63], b""], Refusal.PROTOCOL_VIOLATION),
        ):
            request = wire.EvaluateRequest(campaign=CAMPAIGN, kind="train", blinded=batch)
            assert status_of(lambda r=request: stub.Evaluate(r, timeout=5))[1] == expected
    assert evaluations(season, "alpha") == 0


def test_evaluations_over_the_limit_are_refused_also_after_a_restart(season: Season) -> None:
    """Two batches are the plan's limit; the third is refused, by a restarted server too."""
    with transport.PlatformClient(season.company("alpha"), sleep=no_pause) as platform:
        platform.evaluate(CAMPAIGN, blinded(64))
        platform.evaluate(CAMPAIGN, blinded(64))
        with pytest.raises(BudgetExceededError) as caught:
            platform.evaluate(CAMPAIGN, blinded(64))
    assert caught.value.code == Refusal.EVALUATION_LIMIT
    season.restart()
    client = transport.PlatformClient(season.company("alpha"), sleep=no_pause)
    with client as platform, pytest.raises(BudgetExceededError):
        platform.evaluate(CAMPAIGN, blinded(64))
    assert evaluations(season, "alpha") == 128


def test_an_identical_batch_is_answered_again_and_counted_once(season: Season) -> None:
    """A repeated batch costs nothing, at the limit and after a restart too; any other batch is counted."""
    first, second, third = blinded(64), blinded(64), blinded(64)
    with transport.PlatformClient(season.company("alpha"), sleep=no_pause) as platform:
        answer, _ = platform.evaluate(CAMPAIGN, first)
        assert platform.evaluate(CAMPAIGN, first)[0] == answer
        assert evaluations(season, "alpha") == 64
        platform.evaluate(CAMPAIGN, second)
    season.restart()
    with transport.PlatformClient(season.company("alpha"), sleep=no_pause) as platform:
        assert platform.evaluate(CAMPAIGN, first)[0] == answer
        for other in (third, [*first[1:], first[0]], [*first[:63], third[63]]):
            with pytest.raises(BudgetExceededError):
                platform.evaluate(CAMPAIGN, other)
    assert evaluations(season, "alpha") == 128


def test_another_companys_batch_is_no_replay(season: Season) -> None:
    """A batch that alpha sent is a new one when bravo sends it: counted, and answered under bravo's key."""
    alignment.accept_plan(season.company("bravo"), CAMPAIGN, sleep=no_pause)
    batch = blinded(64)
    answers = []
    for company in ("alpha", "bravo"):
        with transport.PlatformClient(season.company(company), sleep=no_pause) as platform:
            answers.append(platform.evaluate(CAMPAIGN, batch)[0])
        assert evaluations(season, company) == 64
    assert not set(answers[0]) & set(answers[1])


def test_a_replay_with_other_boundaries_is_refused(season: Season) -> None:
    """The bytes of a counted batch, cut into elements elsewhere, are malformed elements and not a replay."""
    batch = blinded(64)
    channel, stub = season.stub("alpha")
    with channel:
        stub.Evaluate(wire.EvaluateRequest(campaign=CAMPAIGN, kind="train", blinded=batch), timeout=5)
        cut = [batch[0] + batch[1][:1], batch[1][1:], *batch[2:]]
        request = wire.EvaluateRequest(campaign=CAMPAIGN, kind="train", blinded=cut)
        assert status_of(lambda: stub.Evaluate(request, timeout=5))[1] == Refusal.PROTOCOL_VIOLATION
    assert evaluations(season, "alpha") == 64


class Crash(BaseException):
    """The process ends here: no handler of ours runs."""


def crash(*_: object) -> None:
    raise Crash


def answer_lost(season: Season, patch: pytest.MonkeyPatch) -> None:
    """The platform counts and then dies, at every attempt of the company."""

    def counted_and_lost(*arguments: Any) -> None:
        evaluate_batch(*arguments)
        raise OSError

    patch.setattr("noren_server.grpc_service.evaluate_batch", counted_and_lost)


def never_sent(season: Season, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transport.PlatformClient, "evaluate", crash)


def crash_before_keeping(season: Season, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("noren_client.evaluated_identifiers._KeptOutputs.add", crash)


def crash_after_keeping(season: Season, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("noren_client.keystore.remove_secret", crash)


@pytest.mark.parametrize(
    ("break_it", "counted"),
    [(never_sent, 0), (answer_lost, 64), (crash_before_keeping, 64), (crash_after_keeping, 64)],
)
def test_no_crash_costs_an_evaluation(
    season: Season,
    monkeypatch: pytest.MonkeyPatch,
    break_it: Callable[[Season, pytest.MonkeyPatch], None],
    counted: int,
) -> None:
    """Wherever a batch is interrupted, the identical one is sent again, counts once, and leaves no blinds."""
    directory = season.company("alpha")
    on_its_way = directory / "campaigns" / CAMPAIGN / "blinding.json"
    with monkeypatch.context() as patch:
        break_it(season, patch)
        with pytest.raises((Crash, NorenError)):
            alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    assert evaluations(season, "alpha") == counted
    assert on_its_way.stat().st_mode & 0o777 == 0o600
    season.restart()
    assert alignment.prepare(directory, CAMPAIGN, sleep=no_pause).rows == 10
    assert evaluations(season, "alpha") == 64
    assert not on_its_way.exists()
    assert score(season, "alpha", [1, 0, 0, 0])[0] is not None
    assert evaluations(season, "alpha") == 64


def test_an_interrupted_training_batch_is_no_matter_of_scoring(
    season: Season, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training batch interrupted before scoring is completed when training goes on, and costs no more."""
    with monkeypatch.context() as patch:
        crash_before_keeping(season, patch)
        with pytest.raises(Crash):
            alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause)
    assert score(season, "alpha", [1, 0, 0, 0])[0] is not None
    assert alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause).rows == 10
    assert evaluations(season, "alpha") == evaluations(season, "alpha", TableKind.SCORE) == 64


def test_a_batch_whose_outputs_are_kept_is_not_sent_again(
    season: Season, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash between keeping outputs and forgetting blinds, nothing of it is asked for."""
    with monkeypatch.context() as patch:
        crash_after_keeping(season, patch)
        with pytest.raises(Crash):
            alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause)
    with recorded_requests() as sizes:
        assert alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause).rows == 10
    assert "Evaluate" not in [name for name, _ in sizes]


def test_nothing_is_evaluated_beyond_the_limit(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third batch is refused before the key touches it."""
    touched: list[int] = []

    def seen(key: oprf.OprfPrivateKey, elements: Sequence[bytes]) -> tuple[list[bytes], bytes]:
        touched.append(len(elements))
        return oprf.blind_evaluate(key, elements)

    monkeypatch.setattr("noren_server.alignment.blind_evaluate", seen)
    with transport.PlatformClient(season.company("alpha"), sleep=no_pause) as platform:
        platform.evaluate(CAMPAIGN, blinded(64))
        platform.evaluate(CAMPAIGN, blinded(64))
        with pytest.raises(BudgetExceededError):
            platform.evaluate(CAMPAIGN, blinded(64))
    assert touched == [64, 64]


def test_a_damaged_batch_file_is_refused(season: Season) -> None:
    """A file of blinds that is not what was written is an error with a code, and nothing is sent."""
    path = season.company("alpha") / "campaigns" / CAMPAIGN / "blinding.json"
    for content in (b"", b"{}", b'{"blinding":"00"}', b'{"blinding":7}'):
        path.touch(mode=0o600)
        path.write_bytes(content)
        with pytest.raises(ConfigurationError):
            alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause)
    assert evaluations(season, "alpha") == 0


def test_an_evaluation_under_another_key_is_refused(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform that answers under a key that is not in the ledger is found out and nothing is kept."""
    other = oprf.generate_key_pair()
    monkeypatch.setattr(
        "noren_server.alignment.blind_evaluate", lambda _, elements: oprf.blind_evaluate(other, elements)
    )
    with pytest.raises(VerificationError):
        alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause)
    assert not (season.company("alpha") / "campaigns" / CAMPAIGN / "oprf-train.json").exists()


def test_a_corrupt_chunk_is_refused_and_fetched_again_from_there(
    season: Season, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk with one flipped bit is not used; the download goes on from it, not from the beginning."""
    asked: list[int] = []
    honest = TablePublisher.chunks

    def once_corrupt(self: TablePublisher, table: Any, first: int) -> Iterator[tuple[int, bytes]]:
        asked.append(first)
        for index, chunk in honest(self, table, first):
            broken = len(asked) == 1 and index == 3
            yield index, bytes([chunk[0] ^ 1]) + chunk[1:] if broken else chunk

    monkeypatch.setattr(TablePublisher, "chunks", once_corrupt)
    assert alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause).rows == 10
    assert asked == [0, 3]


def test_a_table_that_stays_corrupt_is_refused(season: Season) -> None:
    """A table file that is not the one in the ledger yields no training set; once repaired, it does."""
    path = season.root / "platform" / "tables" / CAMPAIGN / "alpha-train.bin"
    intact = path.read_bytes()
    path.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    with pytest.raises(VerificationError):
        alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause)
    with pytest.raises(LocalProtocolError):
        campaign_files.load_training_set(season.company("alpha"), CAMPAIGN)
    path.write_bytes(intact[:-100])
    with pytest.raises(VerificationError):
        alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause)
    path.write_bytes(intact)
    assert alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause).rows == 10
    assert evaluations(season, "alpha") == 64


# Scoring


@pytest.mark.parametrize("weights", [[3, -2, 5, 1], [-128, 127, -128, 127], [0, 0, 0, 0]])
def test_opened_scores_are_the_dot_products(season: Season, weights: list[int]) -> None:
    """What the company decrypts for consenting offerees is w·h to the last digit; nothing for others."""
    scores = score(season, "alpha", weights)
    expected = {n: int(features_of(n).astype(np.int64) @ np.array(weights)) for n in (0, 1, 2)}
    assert scores == {**expected, 25: None}


def test_a_second_head_is_refused_also_after_a_restart(season: Season, plan: CampaignPlan) -> None:
    """One head per company and campaign: by the client's memory, the server's, and a new server's."""
    directory = season.company("alpha")
    scoring.submit_head(directory, CAMPAIGN, [[1, 2, 3, 4]], sleep=no_pause)
    scoring.submit_head(
        directory, CAMPAIGN, [[1, 2, 3, 4]], sleep=no_pause
    )  # the same one again is no second
    with pytest.raises(LocalProtocolError) as refused_here:
        scoring.submit_head(directory, CAMPAIGN, [[1, 0, 0, 0]], sleep=no_pause)
    assert refused_here.value.code == Refusal.HEAD_LIMIT
    (directory / "campaigns" / CAMPAIGN / "encrypted-head.json").unlink()
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as refused_there:
            scoring.submit_head(directory, CAMPAIGN, [[1, 0, 0, 0]], sleep=no_pause)
        assert refused_there.value.code == Refusal.HEAD_LIMIT
        season.restart()
    assert len(season.platform.ledger_store.entries(kind=EntryKind.HEAD_COMMITMENT)) == 1


def test_a_second_campaign_for_the_season_gets_no_head(season: Season, plan: CampaignPlan) -> None:
    """One message for a season in all campaigns: by the client's memory, and by the platform's without it."""
    directory = season.company("alpha")
    scoring.submit_head(directory, CAMPAIGN, [[1, 2, 3, 4]], sleep=no_pause)
    season.publish(replace(plan, campaign="again"))
    alignment.accept_plan(directory, "again", sleep=no_pause)
    with pytest.raises(LocalProtocolError) as refused_here:
        scoring.submit_head(directory, "again", [[1, 0, 0, 0]], sleep=no_pause)
    assert refused_here.value.code == Refusal.HEAD_LIMIT
    (directory / "campaigns" / CAMPAIGN / "encrypted-head.json").unlink()
    with pytest.raises(RemoteProtocolError) as refused_there:
        scoring.submit_head(directory, "again", [[1, 0, 0, 0]], sleep=no_pause)
    assert refused_there.value.code == Refusal.HEAD_LIMIT
    assert len(season.platform.ledger_store.entries(kind=EntryKind.HEAD_COMMITMENT)) == 1


def test_heads_of_several_campaigns_travel_in_one_message(season: Season, plan: CampaignPlan) -> None:
    """Two outcomes over the same rows are scored with one message, a score for each and zeros for the rest.

    Their noise may differ, as it does in sealed statistics when outcomes are expected at different rates.
    """
    directory = season.company("alpha")
    noisier = replace(plan.release, variance=2 * plan.release.variance)
    wide = replace(plan, campaign="wide", scoring=replace(plan.scoring, heads=3))
    heads = {"wide": [1 << 32, 0, 0, -(1 << 31), 0], "other": [0, 3 << 32, 1 << 32, 0, 0]}
    for trained in (wide, replace(plan, campaign="other", release=noisier)):
        season.publish(trained)
        rows = {c: [(identifier(n), row_of(n)) for n in season.consenting.get(c, [])] for c in COMPANIES}
        season.publisher.publish_training_tables(trained, rows)
        alignment.accept_plan(directory, trained.campaign, sleep=no_pause)
        alignment.prepare(directory, trained.campaign, sleep=no_pause)
        campaign_files.save_head(directory, trained.campaign, heads[trained.campaign])
    with pytest.raises(LocalProtocolError, match="1 to 1 heads"):
        follow_up.score(directory, "other", others=["wide"])
    assert follow_up.score(directory, "wide", others=["other"]) is follow_up.ScoringState.HEAD_SUBMITTED
    seal(season, "alpha", campaign="wide")
    scores = open_scores(season, "alpha", campaign="wide")
    weights = [calibration.integer_head(head, wide).weights for head in heads.values()]
    expected = {n: (*(int(features_of(n).astype(np.int64) @ w) for w in weights), 0) for n in (0, 1, 2)}
    assert scores == expected
    assert len(season.platform.ledger_store.entries(kind=EntryKind.HEAD_COMMITMENT)) == 1


def test_heads_over_other_rows_are_not_sent_along(season: Season, plan: CampaignPlan) -> None:
    """A campaign over other rows has other coordinates: its head would mean nothing, and nothing is sent."""
    directory = season.company("alpha")
    season.publish(replace(plan, campaign="earlier", train_seasons=("2024",)))
    alignment.accept_plan(directory, "earlier", sleep=no_pause)
    with pytest.raises(LocalProtocolError, match="the same cohort, seasons and rows"):
        follow_up.score(directory, CAMPAIGN, others=["earlier"])
    assert season.platform.ledger_store.entries(kind=EntryKind.HEAD_COMMITMENT) == []


def test_a_commitment_without_its_head_still_counts(season: Season) -> None:
    """A crash between the ledger and our own table leaves no room for another head, only for the same."""
    directory = season.company("alpha")
    scoring.submit_head(directory, CAMPAIGN, [[1, 2, 3, 4]], sleep=no_pause)
    season.serving.stop()
    with closing(sqlite3.connect(season.root / "platform" / "platform.db")) as database, database:
        database.execute("DELETE FROM heads")
        database.execute("DELETE FROM tables WHERE kind = 'score'")
    season.restart()
    kept = directory / "campaigns" / CAMPAIGN / "encrypted-head.json"
    first = kept.read_bytes()
    kept.unlink()
    with pytest.raises(RemoteProtocolError) as caught:
        scoring.submit_head(directory, CAMPAIGN, [[1, 0, 0, 0]], sleep=no_pause)
    assert caught.value.code == Refusal.HEAD_LIMIT
    kept.write_bytes(first)
    scoring.submit_head(directory, CAMPAIGN, [[1, 2, 3, 4]], sleep=no_pause)
    assert len(season.platform.ledger_store.entries(kind=EntryKind.HEAD_COMMITMENT)) == 1


def test_a_head_without_a_valid_proof_is_not_kept(season: Season) -> None:
    """A head with one changed byte, or committed to as another, is no head: a good one can follow."""
    directory = season.company("alpha")
    plan = campaign_files.load_plan(directory, CAMPAIGN)
    keys = keystore.load(directory)
    message = scoring._encrypted(directory, plan, "alpha", [[1, 2, 3, 4]])
    broken = message[:-1] + bytes([message[-1] ^ 1])
    size = season.platform.ledger_store.size
    channel, stub = season.stub("alpha")
    with channel:
        for sent, committed in ((broken, broken), (message, broken), (message[:-1], message[:-1])):
            body = commitment_body(plan, "alpha", committed)
            entry = sign_entry(EntryKind.HEAD_COMMITMENT, "alpha", body, keys.signing)
            request = wire.SubmitHeadRequest(campaign=CAMPAIGN, head=sent, commitment_entry=entry)
            told = status_of(lambda r=request: stub.SubmitHead(r, timeout=5))[1]
            assert told in {Refusal.NOT_VERIFIED, Refusal.PROTOCOL_VIOLATION}
    assert season.platform.ledger_store.size == size
    scoring.submit_head(directory, CAMPAIGN, [[1, 2, 3, 4]], sleep=no_pause)


def test_a_score_table_that_a_crash_interrupted_is_built_at_the_next_start(
    season: Season, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Head and gate are there, the server went down before the table was built: the next one builds it."""
    with monkeypatch.context() as down:
        down.setattr(SealedScoring, "_begin", lambda *_: None)
        scoring.submit_head(season.company("alpha"), CAMPAIGN, [[1, 2, 3, 4]], sleep=no_pause)
        seal(season, "alpha")
        with pytest.raises(RemoteProtocolError) as caught:
            open_scores(season, "alpha", wait_seconds=0)
        assert caught.value.code == Refusal.NOT_READY
    season.restart()
    assert open_scores(season, "alpha").keys() == {0, 1, 2}


# The gate


def evaluate_request(batch: decisions.KeptBatch, **changes: Any) -> wire.EvaluateRequest:
    blinding = oprf.Blinding.from_bytes(batch.blinding)
    said = {
        "campaign": CAMPAIGN,
        "kind": "score",
        "blinded": blinding.blinded_elements,
        "decision_batch": batch.index,
    }
    return wire.EvaluateRequest(**said | changes)


def test_a_company_passes_the_gate(season: Season) -> None:
    """The ledger has the batch, then the opening; the answer proves both, and failures are nobody."""
    assert score(season, "alpha", [1, 0, 0, 0]).keys() == {0, 1, 2, 25}
    ledger = season.platform.ledger_store
    [batch] = ledger.entries(kind=EntryKind.DECISION_BATCH, company="alpha")
    [opened_gate] = ledger.entries(kind=EntryKind.GATE_OPENED, company="alpha")
    [table] = [
        entry
        for entry in ledger.entries(kind=EntryKind.TABLE, company="alpha")
        if entry.entry.body["manifest"]["kind"] == "score"
    ]
    assert batch.index < opened_gate.index < table.index
    [kept] = decisions.kept_batches(season.company("alpha"), CAMPAIGN)
    channel, stub = season.stub("alpha")
    with channel:
        reply = stub.Evaluate(evaluate_request(kept), timeout=5)
    proven = LedgerWatch(season.company("alpha")).accept(messages.proof_from_wire(reply.gate))
    assert {batch.index, opened_gate.index} <= {entry.index for entry in proven}
    assert len(ledger.entries(kind=EntryKind.GATE_OPENED)) == 1


def test_nothing_goes_around_the_gate(season: Season) -> None:
    """Before a batch: no table, no list, no evaluation; afterwards its elements alone, for its company."""
    alignment.accept_plan(season.company("bravo"), CAMPAIGN, sleep=no_pause)
    directory = season.company("alpha")
    scoring.submit_head(directory, CAMPAIGN, [[1, 2, 3, 4]], sleep=no_pause)
    table = wire.FetchTableRequest(campaign=CAMPAIGN, kind="score")
    revocations = wire.FetchRevocationsRequest(campaign=CAMPAIGN, kind="score")
    free = wire.EvaluateRequest(campaign=CAMPAIGN, kind="score", blinded=blinded(64), decision_batch=3)
    channel, stub = season.stub("alpha")
    bravo_channel, bravo = season.stub("bravo")

    def told(call: Callable[[], object]) -> str | None:
        return status_of(call)[1]

    with channel, bravo_channel:
        assert told(lambda: list(stub.FetchTable(table, timeout=5))) == Refusal.GATE_NOT_OPEN
        assert told(lambda: stub.FetchRevocations(revocations, timeout=5)) == Refusal.GATE_NOT_OPEN
        assert told(lambda: stub.Evaluate(free, timeout=5)) == Refusal.GATE_NOT_OPEN
        batch = seal(season, "alpha")
        for wrong in (
            evaluate_request(batch, blinded=blinded(64)),
            evaluate_request(batch, decision_batch=batch.index - 1),
            evaluate_request(batch, decision_batch=2**63),
        ):
            assert told(lambda r=wrong: stub.Evaluate(r, timeout=5)) == Refusal.GATE_NOT_OPEN
        assert told(lambda: bravo.Evaluate(evaluate_request(batch), timeout=5)) == Refusal.GATE_NOT_OPEN
        beyond = evaluate_request(batch, known_tree_size=10**6)
        assert told(lambda: stub.Evaluate(beyond, timeout=5)) == Refusal.UNKNOWN_TREE_SIZE
        for kind in ("", "mirror"):
            other = evaluate_request(batch, kind=kind)
            assert told(lambda r=other: stub.Evaluate(r, timeout=5)) == Refusal.NOT_AVAILABLE
        trained = evaluate_request(batch, kind="train")
        assert told(lambda: stub.Evaluate(trained, timeout=5)) == Refusal.PROTOCOL_VIOLATION
        assert told(lambda: list(stub.FetchTable(table, timeout=5))) == Refusal.GATE_NOT_OPEN
        assert season.platform.ledger_store.entries(kind=EntryKind.GATE_OPENED) == []
        stub.Evaluate(evaluate_request(batch), timeout=5)
        assert told(lambda: list(bravo.FetchTable(table, timeout=5))) == Refusal.GATE_NOT_OPEN
    assert open_scores(season, "alpha").keys() == {0, 1, 2}


def test_a_suspended_company_gets_nothing_but_what_students_need(season: Season) -> None:
    """No evaluation, no table, no head; proofs, entries and the list of who withdrew go on."""
    directory = season.company("alpha")
    alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    season.suspended.add("alpha")
    keys, plan = keystore.load(directory), campaign_files.load_plan(directory, CAMPAIGN)
    message = scoring._encrypted(directory, plan, "alpha", [[1, 2, 3, 4]])
    commitment = sign_entry(
        EntryKind.HEAD_COMMITMENT, "alpha", commitment_body(plan, "alpha", message), keys.signing
    )
    head = wire.SubmitHeadRequest(campaign=CAMPAIGN, head=message, commitment_entry=commitment)
    train = wire.EvaluateRequest(campaign=CAMPAIGN, kind="train", blinded=blinded(64))
    table = wire.FetchTableRequest(campaign=CAMPAIGN, kind="train")
    revocations = wire.FetchRevocationsRequest(campaign=CAMPAIGN, kind="train")
    batch = seal(season, "alpha")
    channel, stub = season.stub("alpha")
    with channel:
        for call in (
            lambda: stub.Evaluate(train, timeout=5),
            lambda: stub.Evaluate(evaluate_request(batch), timeout=5),
            lambda: list(stub.FetchTable(table, timeout=5)),
            lambda: stub.SubmitHead(head, timeout=5),
            lambda: stub.CommitRows(wire.CommitRowsRequest(campaign=CAMPAIGN), timeout=5),
        ):
            assert status_of(call)[1] == Refusal.SERVICE_SUSPENDED
        stub.FetchRevocations(revocations, timeout=5)
        stub.GetProof(wire.GetProofRequest(campaign=CAMPAIGN), timeout=5)
    season.suspended.clear()
    assert alignment.prepare(directory, CAMPAIGN, sleep=no_pause).rows == 10


def test_a_table_stops_where_the_service_is_suspended(season: Season) -> None:
    """R-SVC-1: the next chunk does not come, however long the table still is."""
    request = wire.FetchTableRequest(campaign=CAMPAIGN, kind="train")
    require_running = Gate.require_running
    asked: list[str] = []

    def suspended_after_two(gate: Gate, plan: CampaignPlan, company: str) -> None:
        asked.append(company)
        if len(asked) > 2:
            season.suspended.add("alpha")
        require_running(gate, plan, company)

    channel, stub = season.stub("alpha")
    with channel, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gate, "require_running", suspended_after_two)
        parts = stub.FetchTable(request, timeout=5)
        assert next(parts).index == 0
        assert status_of(lambda: next(parts))[1] == Refusal.SERVICE_SUSPENDED
    season.suspended.clear()


def test_other_entries_are_not_appended(season: Season) -> None:
    """What a company may say elsewhere, or the platform alone, it does not append here."""
    keys = keystore.load(season.company("alpha"))
    about = {"campaign": CAMPAIGN, "company": "alpha"}
    certificate = {**about, "order": 1, "certificate_sha256": "ab" * 32}
    entry = sign_entry(EntryKind.DELETION_CERTIFICATE, "alpha", certificate, keys.signing)
    copies = {**about, "root": "ab" * 32, "deposited_at": now()}
    early = sign_entry(EntryKind.MIRROR_DEPOSIT, "alpha", copies, keys.signing)
    channel, stub = season.stub("alpha")
    with channel:
        for sent, expected in ((entry, Refusal.PROTOCOL_VIOLATION), (early, Refusal.GATE_NOT_OPEN)):
            request = wire.AppendRequest(entry=sent)
            assert status_of(lambda r=request: stub.Append(r, timeout=5))[1] == expected


def test_proofs_bring_what_a_company_needs_to_know(season: Season) -> None:
    """Its own batches, openings, deposits and orders; coverage, policies, service states that concern it."""
    ledger, about = season.platform.ledger, {"campaign": CAMPAIGN, "company": "alpha"}
    order = {"order_sha256": "ab" * 32, "ground": "rights", "due_at": now()}
    state = {"state": "suspended", "reason": "TEST", "at": now(), "evidence_sha256": "ab" * 32}
    coverage = dict.fromkeys(("report_sha256", "policy_sha256", "screens_sha256", "auditor_key"), "ab" * 32)
    coverage |= {"campaign": CAMPAIGN, "as_of": now(), "verdict": "clear", "attestation": "ab" * 64}
    shown = [
        ledger.append_platform_entry(kind, body)
        for kind, body in (
            (EntryKind.GATE_OPENED, {**about, "batch": 1, "opened_at": 2}),
            (EntryKind.ERASURE_ORDER, {**about, **order}),
            (EntryKind.COVERAGE, coverage),
            (EntryKind.POLICY, {"policy": "spring", "sha256": "ab" * 32, "activated_at": 1}),
            (EntryKind.SERVICE_STATE, {"scope": "global", "name": "", **state}),
            (EntryKind.SERVICE_STATE, {"scope": "campaign", "name": CAMPAIGN, **state}),
            (EntryKind.SERVICE_STATE, {"scope": "company", "name": "alpha", **state}),
        )
    ]
    hidden = [
        ledger.append_platform_entry(kind, body)
        for kind, body in (
            (EntryKind.GATE_OPENED, {**about, "company": "bravo", "batch": 1, "opened_at": 2}),
            (EntryKind.ERASURE_ORDER, {**about, "company": "bravo", **order}),
            (EntryKind.COVERAGE, {**coverage, "campaign": "other"}),
            (EntryKind.SERVICE_STATE, {"scope": "company", "name": "bravo", **state}),
            (EntryKind.CONSENT_LOG, {"root": "ab" * 32}),
        )
    ]
    shown.append(seal(season, "alpha").index)
    with transport.PlatformClient(season.company("alpha"), sleep=no_pause) as platform:
        proof = platform.get_proof(CAMPAIGN, known_tree_size=0)
    indices = {entry.index for entry in LedgerWatch(season.company("alpha")).accept(proof)}
    assert set(shown) <= indices
    assert not set(hidden) & indices


# Downloads that break


@pytest.mark.parametrize("last_chunk", [0, 1, 7, 15])
def test_a_download_goes_on_in_another_process(
    season: Season, monkeypatch: pytest.MonkeyPatch, last_chunk: int
) -> None:
    """Stopped before any chunk, the next process asks for that one first and ends with the same rows."""
    stop_download(season, monkeypatch, before=last_chunk)
    kept = download(season)
    assert kept.stat().st_mode & 0o777 == 0o600 if last_chunk else not kept.exists()
    with recorded_downloads() as asked:
        assert alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause).rows == 10
    assert asked == [last_chunk]
    assert not kept.exists()


def test_a_download_that_only_lacked_its_end_is_not_asked_for(
    season: Season, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every chunk on disk, verified again, nothing more is fetched."""
    with monkeypatch.context() as patch:
        patch.setattr("noren_client.partial_table.PartialTable.remove", interrupted)
        with pytest.raises(KeyboardInterrupt):
            alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause)
    with recorded_downloads() as asked:
        assert alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause).rows == 10
    assert asked == []


HEADER_BYTES = 32 * (1 + 16)  # the root and sixteen hashes


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda data: flipped(data, HEADER_BYTES + 5 * CHUNK_ROWS * 40 + 17), 5),
        (lambda data: flipped(data, HEADER_BYTES), 0),
        (lambda data: flipped(data, 0), 0),  # another table's
        (lambda data: flipped(data, 40), 0),  # a hash
        (lambda data: data[: HEADER_BYTES + 3 * CHUNK_ROWS * 40 + 1], 3),
        (lambda data: data[: HEADER_BYTES - 1], 0),
        (lambda data: data + bytes(1000), 9),
        (lambda _: b"", 0),
    ],
)
def test_a_damaged_download_is_fetched_again_from_the_damage(
    season: Season, monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes], expected: int
) -> None:
    """Whatever became of the kept file, the rows are right; what comes before the damage is not fetched."""
    stop_download(season, monkeypatch, before=9)
    path = download(season)
    path.write_bytes(change(path.read_bytes()))
    with recorded_downloads() as asked:
        assert alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause).rows == 10
    assert asked == [expected]


def test_a_reissued_table_does_not_continue_an_old_download(
    season: Season, monkeypatch: pytest.MonkeyPatch, plan: CampaignPlan
) -> None:
    """After the platform lost a table and published another, the download begins anew."""
    stop_download(season, monkeypatch, before=9)
    with season.platform.store._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM tables WHERE company = 'alpha'")
    rows = {"alpha": [(identifier(n), row_of(n)) for n in range(10)]}
    season.publisher.publish_training_tables(plan, rows)
    with recorded_downloads() as asked:
        stop_download(season, monkeypatch, before=2)
        assert download(season).stat().st_size == HEADER_BYTES + 2 * CHUNK_ROWS * 40  # nothing of the old one
        assert alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause).rows == 10
    assert asked == [0, 2]


def test_a_download_that_cannot_be_kept_is_read_all_the_same(
    season: Season, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the file cannot be written (as on a full disk), nothing is lost; it is said once."""
    download(season).mkdir()
    with recorded_downloads() as asked:
        assert len(season.training_rows()) == 10
    assert asked == [0]
    assert caplog.text.count("cannot be kept") == 1


# Revocation


def test_a_row_revoked_after_it_was_opened_leaves_the_training_set(season: Season) -> None:
    """Who withdraws is not in the next training set; who withdrew without a row changes nothing."""
    directory = season.company("alpha")
    assert alignment.prepare(directory, CAMPAIGN, sleep=no_pause).rows == 10
    season.withdrawn["alpha", TableKind.TRAIN] = [4, 25, 12]
    assert alignment.prepare(directory, CAMPAIGN, sleep=no_pause).rows == 9
    rows = campaign_files.load_training_set(directory, CAMPAIGN).rows
    assert 4 not in {int(row[0]) for row in rows}
    assert evaluations(season, "alpha") == 64


def test_who_withdrew_has_no_score_any_more(season: Season) -> None:
    """The next reading has no score of her; the others' stay to the last digit, also in a newer table."""
    before = score(season, "alpha", [3, -2, 5, 1])
    season.withdrawn["alpha", TableKind.SCORE] = [1]
    expected = {0: before[0], 2: before[2]}
    assert open_scores(season, "alpha") == {n: (value,) for n, value in expected.items()}
    season.consenting["alpha"].remove(1)
    season.serving.scoring.refresh(CAMPAIGN)
    season.withdrawn.clear()
    assert open_scores(season, "alpha") == {n: (value,) for n, value in expected.items()}


def test_without_a_list_no_row_is_used(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform that does not say what is revoked gives no training set, and leaves no old one."""
    directory = season.company("alpha")
    alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    monkeypatch.setattr(Revocations, "newest", lambda *_: 1 / 0)
    with pytest.raises(RemoteProtocolError):
        alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    with pytest.raises(LocalProtocolError):
        campaign_files.load_training_set(directory, CAMPAIGN)


def test_a_forged_old_or_foreign_list_is_refused(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another signer, another table, an older list and a second one under the same number: no rows."""
    directory = season.company("alpha")
    season.withdrawn["alpha", TableKind.TRAIN] = [4]
    alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    path = directory / "campaigns" / CAMPAIGN / "revocations-train.bin"
    known = RevocationList.from_bytes(path.read_bytes()[64:])
    assert known.sequence == 2
    ours, tags = season.platform.signing_key, known.tags
    others = SigningKey.generate()
    foreign = replace(known, table_id=bytes(16), sequence=3)
    older = replace(known, sequence=1)
    second = replace(known, tags=tuple(sorted({*tags[1:], bytes(16)})))
    for wrong, key in ((known, others), (foreign, ours), (older, ours), (second, ours)):
        answer = (wrong.to_bytes(), wrong.sign(key))
        monkeypatch.setattr(Revocations, "newest", lambda *_, answer=answer: answer)
        with pytest.raises(VerificationError):
            alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    newer = replace(second, sequence=3)
    monkeypatch.setattr(Revocations, "newest", lambda *_: (newer.to_bytes(), newer.sign(ours)))
    alignment.prepare(directory, CAMPAIGN, sleep=no_pause)


def test_a_list_is_refused_like_its_table(season: Season) -> None:
    """Before acceptance, for no table, another kind and another's campaign: the codes of the table itself."""
    season.enrol("outsider")
    for company, kind, expected in (
        ("bravo", "train", Refusal.NOT_ACCEPTED),
        ("alpha", "score", Refusal.GATE_NOT_OPEN),
        ("alpha", "other", Refusal.NOT_AVAILABLE),
        ("outsider", "train", Refusal.NOT_AVAILABLE),
    ):
        channel, stub = season.stub(company)
        with channel:
            request = wire.FetchRevocationsRequest(campaign=CAMPAIGN, kind=kind)
            assert status_of(lambda r=request, s=stub: s.FetchRevocations(r, timeout=5))[1] == expected


def test_a_damaged_kept_list_is_said(season: Season) -> None:
    """What protects against older lists is not silently forgotten."""
    directory = season.company("alpha")
    alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    (directory / "campaigns" / CAMPAIGN / "revocations-train.bin").write_bytes(b"rubbish")
    with pytest.raises(ConfigurationError, match="revocations-train"):
        alignment.prepare(directory, CAMPAIGN, sleep=no_pause)


# The ledger


def test_a_split_view_is_refused_and_kept_as_evidence(season: Season) -> None:
    """A platform that shows another history than before is refused; two signed checkpoints prove it."""
    directory = season.company("alpha")
    known = LedgerWatch(directory).known_tree_size
    with forked_ledger(season, entries=known + 2), pytest.raises(SplitViewError):
        alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    [evidence] = (directory / "platform" / "evidence").iterdir()
    kept = json.loads(evidence.read_text())
    assert kept["known"] != kept["presented"]
    assert kept["known"].encode() == (directory / "platform" / "checkpoint").read_bytes()
    assert LedgerWatch(directory).known_tree_size == known
    assert alignment.prepare(directory, CAMPAIGN, sleep=no_pause).rows == 10  # the honest one goes on


def test_a_ledger_that_shrank_is_refused_and_kept_as_evidence(season: Season) -> None:
    """A platform that was rolled back to fewer entries than it signed for is refused the same way."""
    directory = season.company("alpha")
    with forked_ledger(season, entries=5), pytest.raises(SplitViewError):
        alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    assert list((directory / "platform" / "evidence").iterdir())


# What errors say


def test_no_error_or_log_line_names_a_person(season: Season, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong on either side, no text of it holds an identifier, a key or a score."""
    caplog.set_level(logging.DEBUG)
    directory = season.company("alpha")
    texts: list[str] = []
    path = season.root / "platform" / "tables" / CAMPAIGN / "alpha-train.bin"
    intact = path.read_bytes()

    def collect(call: Callable[[], object]) -> None:
        with pytest.raises(NorenError) as caught:
            call()
        error: BaseException | None = caught.value
        while error is not None:
            texts.append(f"{error!r} {error}")
            error = error.__cause__

    path.write_bytes(bytes(len(intact)))
    collect(lambda: alignment.prepare(directory, CAMPAIGN, sleep=no_pause))
    path.write_bytes(intact)
    alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    write_applicants(directory, train=range(30))
    alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    write_applicants(directory, train=range(31))  # a batch too many
    collect(lambda: alignment.prepare(directory, CAMPAIGN, sleep=no_pause))
    write_applicants(directory, train=[0, 1], score=[0, 1, 25])
    collect(lambda: scoring.open_scores(directory, CAMPAIGN, now=now(), sleep=no_pause))
    scoring.submit_head(directory, CAMPAIGN, [[1, 2, 3, 4]], sleep=no_pause)
    texts.append(repr(seal(season, "alpha")))
    opened = scoring.open_scores(directory, CAMPAIGN, now=now(), wait_seconds=30)
    texts.append(repr(opened))
    path.unlink()  # an internal error of the platform
    collect(lambda: alignment.prepare(directory, CAMPAIGN, sleep=no_pause))
    everything = "\n".join([*texts, caplog.text])
    assert len(texts) > 4
    assert "secret-code" not in everything
    assert not any(identifier(n).decode() in everything for n in range(10))


# Helpers


def blinded(count: int) -> list[bytes]:
    return list(oprf.blind([n.to_bytes(4, "big") for n in range(count)]).blinded_elements)


def evaluations(season: Season, company: str, kind: TableKind = TableKind.TRAIN) -> int:
    with season.platform.store.transaction() as transaction:
        stored = transaction.oprf_key(CAMPAIGN, company, kind)
    assert stored is not None
    return stored.evaluations


def oprf_row_key(season: Season, plan: CampaignPlan, number: int) -> bytes:
    from noren_server import alignment as server_alignment

    key = server_alignment.oprf_key(season.platform.store, plan.campaign, "alpha", TableKind.TRAIN)
    return server_alignment.row_key(oprf.evaluate(key, identifier(number)))


def download(season: Season) -> Path:
    return season.company("alpha") / "campaigns" / CAMPAIGN / "table-train.download"


def stop_download(season: Season, monkeypatch: pytest.MonkeyPatch, *, before: int) -> None:
    """Let the company's process be killed when it has taken so many chunks of its training table."""
    honest = transport.PlatformClient.fetch_table

    def killed(self: Any, *args: Any, **kwargs: Any) -> Iterator[transport.TablePart]:
        for part in honest(self, *args, **kwargs):
            if part.index == before:
                raise KeyboardInterrupt
            yield part

    with monkeypatch.context() as patch:
        patch.setattr(transport.PlatformClient, "fetch_table", killed)
        with pytest.raises(KeyboardInterrupt):
            alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause)


@contextmanager
def recorded_downloads() -> Iterator[list[int]]:
    """The first chunk of every download that is asked for meanwhile."""
    asked: list[int] = []
    honest = transport.PlatformClient.fetch_table

    def record(self: Any, *args: Any, first_chunk: int) -> Iterator[transport.TablePart]:
        asked.append(first_chunk)
        return honest(self, *args, first_chunk=first_chunk)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport.PlatformClient, "fetch_table", record)
        yield asked


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def now() -> int:
    return int(time.time())


def seal(season: Season, company: str, *, campaign: str = CAMPAIGN) -> decisions.KeptBatch:
    """Seal the company's decisions of the position, by a member of its staff who decides."""
    directory, secret = season.company(company), SecretBytes(b"correct horse battery")
    if not (directory / "staff").exists():
        for member, role in (("ada", Role.COMPANY_ADMIN), ("dan", Role.DECIDER)):
            staff.register(directory).add(member, [Assignment(role)], secret)
    about = {"position": POSITION, "season": "2026", "now": now()}
    decider = staff.authorise(directory, "dan", secret, Action.SEAL_DECISION, **about)
    return decisions.seal(directory, campaign, POSITION, decider=decider, now=now(), sleep=no_pause)


def open_scores(
    season: Season, company: str, *, campaign: str = CAMPAIGN, wait_seconds: float = 30
) -> dict[int, tuple[int, ...]]:
    """What opens of the score table after the gate, by student number; her address is her own."""
    opened = scoring.open_scores(season.company(company), campaign, now=now(), wait_seconds=wait_seconds)
    assert opened is not None
    found = {int(item.applicant.identifier[-4:]): item for item in opened.people}
    assert all(item.disclosure_key + item.mailbox == bytes([n]) * 48 for n, item in found.items())
    return {number: item.scores for number, item in found.items()}


def score(season: Season, company: str, weights: list[int]) -> dict[int, int | None]:
    """Submit a head, seal decisions and open the scores of offers: by student number."""
    scoring.submit_head(season.company(company), CAMPAIGN, [weights], sleep=no_pause)
    seal(season, company)
    opened = open_scores(season, company)
    offers = {int(line.split(",")[3][-4:]) for line in offered_lines(season.company(company))}
    return {number: opened[number][0] if number in opened else None for number in offers}


def offered_lines(directory: Path) -> list[str]:
    lines = (directory / "applicants.csv").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("2026,") and ",offer," in line]


@contextmanager
def recorded_requests() -> Iterator[list[tuple[str, int]]]:
    """Name and size of every request that our client sends meanwhile; sizes of tree sizes left out."""
    sizes: list[tuple[str, int]] = []
    patch = pytest.MonkeyPatch()
    for method, request in (
        ("get_proof", "GetProof"),
        ("evaluate", "Evaluate"),
        ("fetch_table", "FetchTable"),
        ("fetch_revocations", "FetchRevocations"),
    ):
        original = getattr(transport.PlatformClient, method)

        def record(self: Any, *args: Any, _f: Any = original, _n: str = request, **kwargs: Any) -> Any:
            sizes.append((_n, sum(len(item) for item in args[1]) if _n == "Evaluate" else 0))
            return _f(self, *args, **kwargs)

        patch.setattr(transport.PlatformClient, method, record)
    try:
        yield sizes
    finally:
        patch.undo()


@contextmanager
def forked_ledger(season: Season, *, entries: int) -> Iterator[None]:
    """Serve another ledger of the same platform, signed by the same keys, with that many entries."""
    platform = season.platform
    path = season.root / "platform" / f"fork-{entries}.db"
    log_key = platform.ledger_store._log_key
    with LedgerStore(path, origin=platform.config.origin, log_key=log_key) as store:
        fork = LedgerService(store, platform.signing_key)
        for number in itertools.count():
            if store.size >= entries:
                break
            fork.append_platform_entry(
                EntryKind.ROUND_FAILED, {"campaign": CAMPAIGN, "reason": "FORK", "round": number + 1}
            )
        patch = pytest.MonkeyPatch()
        patch.setattr(
            LedgerService, "prove", lambda _, known_tree_size, indices: fork_prove(store, known_tree_size)
        )
        try:
            yield
        finally:
            patch.undo()


def fork_prove(store: LedgerStore, known_tree_size: int) -> Any:
    return store.prove(known_tree_size, [])


# The odometer and the ledger


def reserve_and_publish(season: Season, plan: CampaignPlan, number: int) -> None:
    """A round of alpha's, reserved in its odometer and stated in the ledger."""
    directory = season.company("alpha")
    keys = keystore.load(directory)
    reservation = Odometer.open(directory).reserve(plan, number)
    body = {
        "campaign": plan.campaign,
        "company": "alpha",
        "event": round_event(plan).to_body(),
        "plan_sha256": plan.digest().hex(),
        "previous": reservation.previous.hex(),
        "round": number,
        "sequence": reservation.sequence,
    }
    entry = sign_entry(EntryKind.INTENT, "alpha", body, keys.signing)
    season.platform.ledger.append_company_entry(parse_entry(entry))


@pytest.mark.parametrize("lines", [0, 1])
def test_a_rolled_back_odometer_is_found_by_every_proof(
    season: Season, plan: CampaignPlan, lines: int
) -> None:
    """An older copy of the odometer, or none: another plan is not accepted, rows are not opened."""
    directory, path = season.company("alpha"), season.company("alpha") / "odometer.jsonl"
    for number in (1, 2):
        reserve_and_publish(season, plan, number)
    season.publish(replace(plan, campaign="next", train_seasons=("2024",)))
    newest = path.read_bytes()
    path.write_bytes(b"".join(newest.splitlines(keepends=True)[:lines]))
    before = evaluations(season, "alpha")
    for step, campaign in ((alignment.accept_plan, "next"), (alignment.prepare, CAMPAIGN)):
        with pytest.raises(VerificationError) as refusal:
            step(directory, campaign, sleep=no_pause)
        assert refusal.value.code == "ACCOUNTANT_RESET"
    assert evaluations(season, "alpha") == before
    accepted = season.platform.ledger_store.entries(kind=EntryKind.PLAN_ACCEPTANCE, campaign="next")
    assert accepted == []
    path.write_bytes(newest)
    alignment.accept_plan(directory, "next", sleep=no_pause)


def test_the_platform_appends_no_intent_of_a_rolled_back_odometer(season: Season, plan: CampaignPlan) -> None:
    """A chain that took another turn states a place that an earlier intent stands at or beyond."""
    reserve_and_publish(season, plan, 1)
    (season.company("alpha") / "odometer.jsonl").unlink()
    with pytest.raises(VerificationError) as refusal:
        reserve_and_publish(season, replace(plan, campaign="other"), 1)
    assert refusal.value.code == "ACCOUNTANT_RESET"
    assert len(season.platform.ledger_store.entries(kind=EntryKind.INTENT)) == 1


def test_a_plan_beyond_the_lifetime_of_our_records_is_not_accepted(
    season: Season, plan: CampaignPlan
) -> None:
    """What was begun on the same season counts whole; another season's records are others."""
    directory = season.company("alpha")
    settings = config.load(directory)
    limits = replace(settings.limits, max_campaigns_per_season=1)
    (directory / "config.toml").write_bytes(config.to_toml(replace(settings, limits=limits)))
    reserve_and_publish(season, plan, 1)
    again = alignment.accept_plan(directory, CAMPAIGN, sleep=no_pause)  # the same campaign is not two
    assert {season_name: found.fits for season_name, found in again.forecasts.items()} == {"2025": 1}
    season.publish(replace(plan, campaign="same"))
    with pytest.raises(BudgetExceededError, match="max_campaigns_per_season"):
        alignment.accept_plan(directory, "same", sleep=no_pause)
    season.publish(replace(plan, campaign="other", train_seasons=("2024",)))
    alignment.accept_plan(directory, "other", sleep=no_pause)
    found = budget.report(directory, "other")
    assert found["seasons"]["2025"]["campaigns"] == {CAMPAIGN: {"rounds": 3, "reserved": 1, "settled": 0}}
    assert found["forecast"]["2024"]["summary"].startswith("fits 1 campaign like this")


def test_who_is_left_out_looks_like_who_never_consented(season: Season, plan: CampaignPlan) -> None:
    """A student beyond her lifetime budget: the company gets as many entries, of as many rows and bytes."""
    directory = season.company("alpha")
    views, consenting = [], season.consenting["alpha"]
    released = ReleasedRecords(season.platform.store)
    for number, campaign in enumerate(("first", "second", "third")):
        person = replace(plan.person, campaigns=2)
        next_plan = replace(plan, campaign=campaign, person=person)
        season.publish(next_plan)
        # From the second campaign on, one student has been in two that the others were not in.
        assigned = {code(n): "alpha" for n in consenting if number or n == consenting[0]}
        kept = released.reserve(next_plan, assigned)
        rows = [(identifier(n), row_of(n)) for n in consenting if code(n) in kept]
        season.publisher.publish_training_tables(next_plan, {"alpha": rows})
        alignment.accept_plan(directory, campaign, sleep=no_pause)
        with transport.PlatformClient(directory, sleep=no_pause) as platform:
            shown = LedgerWatch(directory).verify(platform.get_proof(campaign, known_tree_size=0))
            parts = list(platform.fetch_table(campaign, TableKind.TRAIN, first_chunk=0))
        [table] = [entry for entry in shown if entry.kind is EntryKind.TABLE]
        sizes = {
            name: value for name, value in table.body["manifest"].items() if type(value) is int and value
        }
        views.append(([entry.kind for entry in shown], sizes, [len(part.chunk) for part in parts]))
        expected = [1, len(consenting), len(consenting) - 1][number]
        assert len(rows) == expected
    assert views[0] == views[1] == views[2]
