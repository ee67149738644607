"""Enrolment, alignment, sealed tables and sealed scoring over real gRPC on loopback."""

from __future__ import annotations

import itertools
import json
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from noren_client import alignment, campaign_files, config, enrolment, keystore, scoring, transport
from noren_client.ledger_watch import LedgerWatch
from noren_core.crypto import oprf
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
from noren_core.ledger.entries import EntryKind, sign_entry
from noren_core.ledger.proofs import SplitViewError
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import METADATA_KEY, Refusal
from noren_core.wire.v1 import platform_pb2 as wire
from noren_core.wire.v1 import platform_pb2_grpc as services
from noren_server import platform_files
from noren_server.enrolment import EnrolmentDesk
from noren_server.grpc_service import PlatformParts, RunningService, ServerFiles, serve
from noren_server.ledger_service import LedgerService
from noren_server.ledger_store import LedgerStore
from noren_server.sealed_scoring import ScoreRows, SealedScoring
from noren_server.store import CompanyState
from noren_server.tables import TablePublisher

CAMPAIGN = "spring-2026"
COMPANIES = ("alpha", "bravo", "charlie")
CHUNK_ROWS = 8  # eight chunks for the smallest table


def no_pause(_: float) -> None:
    """Tests never wait between attempts."""


def identifier(number: int) -> bytes:
    return normalise_identifier(IdentifierKind.CONSENT_CODE, code(number))


def code(number: int) -> str:
    return f"secret-code-{number:04d}"


def features_of(number: int) -> np.ndarray:
    """Distinct features, with both extremes."""
    values = [(37 * number + 101 * j) % 256 - 128 for j in range(4)]
    return np.array(values, dtype=np.int8)


def row_of(number: int) -> bytes:
    return np.array([number, -number, 1000 + number, 7], dtype="<i2").tobytes()


@dataclass
class Season:
    """A platform with its services running, and the directories of its companies."""

    root: Path
    platform: platform_files.Platform
    running: RunningService
    consenting: dict[str, list[int]]

    def company(self, name: str) -> Path:
        return self.root / name

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
        self.running.stop(grace_seconds=0)
        self.platform.store.close()
        self.platform.ledger_store.close()
        self.platform = platform_files.Platform(self.root / "platform")
        self.running = start(self.platform, self.consenting)

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


def start(platform: platform_files.Platform, consenting: dict[str, list[int]]) -> RunningService:
    def rows(_: CampaignPlan, company: str) -> ScoreRows:
        numbers = consenting.get(company, [])
        values = [features_of(number) for number in numbers]
        return ScoreRows([identifier(n) for n in numbers], np.array(values, dtype=np.int8).reshape(-1, 4))

    tables = platform.directory / "tables"
    publisher = TablePublisher(platform.store, platform.ledger, tables, chunk_rows=CHUNK_ROWS)
    scoring_service = SealedScoring(platform.store, platform.ledger, publisher, rows)
    tls = platform.directory / "tls"
    return serve(
        platform.enrolment,
        PlatformParts(platform.store, platform.ledger, publisher, scoring_service),
        ServerFiles(tls / "server.key", tls / "server.pem", platform.directory / "ca" / "ca.pem"),
        enrolment_address=platform.config.addresses.enrolment,
        service_address=platform.config.addresses.service,
        clock=lambda: datetime.now(UTC),
    )


@contextmanager
def opened(root: Path, consenting: dict[str, list[int]]) -> Iterator[Season]:
    """The season in a directory, its services running."""
    platform = platform_files.Platform(root / "platform")
    season = Season(root, platform, start(platform, consenting), consenting)
    try:
        yield season
    finally:
        season.running.stop(grace_seconds=0)
        season.platform.store.close()
        season.platform.ledger_store.close()


def initialise(root: Path) -> None:
    platform_files.initialise(root / "platform", name="job-site", host="127.0.0.1", ports=(0, 0, 0))


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
    write_applicants(season.company("alpha"), train=[*range(10), *range(20, 30)], score=[0, 1, 2, 25])


def write_applicants(company_dir: Path, *, train: Sequence[int], score: Sequence[int] = ()) -> None:
    lines = ["season,identifier_kind,identifier,decision,outcome"]
    lines += [f"2025,consent-code,{code(n)},offer,{'declined' if n % 3 else 'accepted'}" for n in train]
    lines += [f"2026,consent-code,{code(n)},offer," for n in score]
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
        season.platform.enrolment.revoke("alpha")
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
                lambda c=campaign: stub.Evaluate(wire.EvaluateRequest(campaign=c), timeout=5),
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
        evaluate = wire.EvaluateRequest(campaign=CAMPAIGN, blinded=blinded(64))
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
    rows, labels = campaign_files.load_training_set(season.company("alpha"), CAMPAIGN)
    got = {int(row[0]): int(label) for row, label in zip(rows, labels, strict=True)}
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
    assert opened == {identifier(0): row_of(0)}


def test_a_withdrawn_consent_has_no_row_in_the_next_table(season: Season, plan: CampaignPlan) -> None:
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
    assert [name for name, _ in seen["alpha"]] == ["GetProof", "Evaluate", "GetProof", "FetchTable"]
    assert seen["alpha"] == seen["bravo"]


def test_nothing_to_learn_from_is_said_and_leaves_no_training_set(season: Season) -> None:
    """One class or one row, before or after alignment: a clear code, and no training set is left."""
    directory = season.company("alpha")
    alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    for train, expected in (
        ([1, 2], "TRAINING_SET_ONE_CLASS"),
        ([1], "TRAINING_SET_ONE_ROW"),
        ([0, 25], "TRAINING_SET_ONE_ROW"),  # after alignment: 25 has no row
    ):
        write_applicants(directory, train=train)
        with pytest.raises(DataError) as caught:
            alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
        assert caught.value.code == expected
        with pytest.raises(LocalProtocolError):
            campaign_files.load_training_set(directory, CAMPAIGN)


def test_new_training_applicants_do_not_use_up_the_batch_for_scoring(season: Season) -> None:
    """After the one training batch, further applicants are refused here and scoring still works."""
    directory = season.company("alpha")
    alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    write_applicants(directory, train=range(30), score=[0, 1, 2, 25])
    with pytest.raises(BudgetExceededError) as caught:
        alignment.prepare(directory, CAMPAIGN, sleep=no_pause)
    assert caught.value.code == Refusal.EVALUATION_LIMIT
    assert evaluations(season, "alpha") == 64
    assert score(season, "alpha", [1, 0, 0, 0])[0] is not None


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
            request = wire.EvaluateRequest(campaign=CAMPAIGN, blinded=batch)
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


def test_an_evaluation_under_another_key_is_refused(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform that answers under a key that is not in the ledger is found out and nothing is kept."""
    other = oprf.generate_key_pair()
    monkeypatch.setattr(
        "noren_server.alignment.blind_evaluate", lambda _, elements: oprf.blind_evaluate(other, elements)
    )
    with pytest.raises(VerificationError):
        alignment.prepare(season.company("alpha"), CAMPAIGN, sleep=no_pause)
    assert not (season.company("alpha") / "campaigns" / CAMPAIGN / "oprf.json").exists()


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
    scoring.submit_head(directory, CAMPAIGN, [1, 2, 3, 4], sleep=no_pause)
    scoring.submit_head(directory, CAMPAIGN, [1, 2, 3, 4], sleep=no_pause)  # the same one again is no second
    with pytest.raises(LocalProtocolError) as refused_here:
        scoring.submit_head(directory, CAMPAIGN, [1, 0, 0, 0], sleep=no_pause)
    assert refused_here.value.code == Refusal.HEAD_LIMIT
    (directory / "campaigns" / CAMPAIGN / "encrypted-head.json").unlink()
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as refused_there:
            scoring.submit_head(directory, CAMPAIGN, [1, 0, 0, 0], sleep=no_pause)
        assert refused_there.value.code == Refusal.HEAD_LIMIT
        season.restart()
    assert len(season.platform.ledger_store.entries(kind=EntryKind.HEAD_COMMITMENT)) == 1


def test_a_commitment_without_its_head_still_counts(season: Season) -> None:
    """A crash between the ledger and our own table leaves no room for another head, only for the same."""
    directory = season.company("alpha")
    scoring.submit_head(directory, CAMPAIGN, [1, 2, 3, 4], sleep=no_pause)
    season.running.stop(grace_seconds=0)
    with closing(sqlite3.connect(season.root / "platform" / "platform.db")) as database, database:
        database.execute("DELETE FROM heads")
        database.execute("DELETE FROM tables WHERE kind = 'score'")
    season.restart()
    kept = directory / "campaigns" / CAMPAIGN / "encrypted-head.json"
    first = kept.read_bytes()
    kept.unlink()
    with pytest.raises(RemoteProtocolError) as caught:
        scoring.submit_head(directory, CAMPAIGN, [1, 0, 0, 0], sleep=no_pause)
    assert caught.value.code == Refusal.HEAD_LIMIT
    kept.write_bytes(first)
    scoring.submit_head(directory, CAMPAIGN, [1, 2, 3, 4], sleep=no_pause)
    assert len(season.platform.ledger_store.entries(kind=EntryKind.HEAD_COMMITMENT)) == 1


def test_a_head_without_a_valid_proof_is_not_kept(season: Season) -> None:
    """A head with one changed byte, or committed to as another, is no head: a good one can follow."""
    directory = season.company("alpha")
    plan = campaign_files.load_plan(directory, CAMPAIGN)
    keys = keystore.load(directory)
    message = scoring._encrypted(directory, plan, "alpha", [1, 2, 3, 4])
    broken = message[:-1] + bytes([message[-1] ^ 1])
    size = season.platform.ledger_store.size
    channel, stub = season.stub("alpha")
    with channel:
        for sent, committed in ((broken, broken), (message, broken), (message[:-1], message[:-1])):
            body = {
                "campaign": CAMPAIGN,
                "company": "alpha",
                "commitment": scoring.head_commitment(committed).hex(),
                "dimensions": 4,
                "weight_bits": 8,
            }
            entry = sign_entry(EntryKind.HEAD_COMMITMENT, "alpha", body, keys.signing)
            request = wire.SubmitHeadRequest(campaign=CAMPAIGN, head=sent, commitment_entry=entry)
            told = status_of(lambda r=request: stub.SubmitHead(r, timeout=5))[1]
            assert told in {Refusal.NOT_VERIFIED, Refusal.PROTOCOL_VIOLATION}
    assert season.platform.ledger_store.size == size
    scoring.submit_head(directory, CAMPAIGN, [1, 2, 3, 4], sleep=no_pause)


def test_a_score_table_that_a_crash_interrupted_is_built_at_the_next_start(
    season: Season, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head whose table was not built before the server went down is scored by the next server."""
    with monkeypatch.context() as down:
        down.setattr(SealedScoring, "_begin", lambda *_: None)
        scoring.submit_head(season.company("alpha"), CAMPAIGN, [1, 2, 3, 4], sleep=no_pause)
    with pytest.raises(RemoteProtocolError) as caught:
        scoring.open_scores(season.company("alpha"), CAMPAIGN, sleep=no_pause)
    assert caught.value.code == Refusal.NOT_READY
    season.restart()
    opened = scoring.open_scores(season.company("alpha"), CAMPAIGN, wait_seconds=30)
    assert sum(item.score is not None for item in opened) == 3


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
    write_applicants(directory, train=range(30))  # another batch, which is kept for scoring
    collect(lambda: alignment.prepare(directory, CAMPAIGN, sleep=no_pause))
    write_applicants(directory, train=[0, 1], score=[0, 1, 25])
    collect(lambda: scoring.open_scores(directory, CAMPAIGN, sleep=no_pause))
    scoring.submit_head(directory, CAMPAIGN, [1, 2, 3, 4], sleep=no_pause)
    opened = scoring.open_scores(directory, CAMPAIGN, wait_seconds=30)
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


def evaluations(season: Season, company: str) -> int:
    with season.platform.store.transaction() as transaction:
        stored = transaction.oprf_key(CAMPAIGN, company)
    assert stored is not None
    return stored.evaluations


def oprf_row_key(season: Season, plan: CampaignPlan, number: int) -> bytes:
    from noren_server import alignment as server_alignment

    key = server_alignment.oprf_key(season.platform.store, plan.campaign, "alpha")
    return server_alignment.row_key(oprf.evaluate(key, identifier(number)))


def score(season: Season, company: str, weights: list[int]) -> dict[int, int | None]:
    """Submit a head and open the scores: by student number."""
    scoring.submit_head(season.company(company), CAMPAIGN, weights, sleep=no_pause)
    opened = scoring.open_scores(season.company(company), CAMPAIGN, wait_seconds=30)
    return {int(item.applicant.identifier[-4:]): item.score for item in opened}


@contextmanager
def recorded_requests() -> Iterator[list[tuple[str, int]]]:
    """Name and size of every request that our client sends meanwhile; sizes of tree sizes left out."""
    sizes: list[tuple[str, int]] = []
    patch = pytest.MonkeyPatch()
    for method, request in (
        ("get_proof", "GetProof"),
        ("evaluate", "Evaluate"),
        ("fetch_table", "FetchTable"),
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
