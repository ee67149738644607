"""A season in the mode of sealed statistics, through the real commands: no row leaves the platform.

The five companies of the other tests publish, prepare, train and score one more campaign, whose training
table holds nothing but tags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt
import pytest

from noren_audit.replay import replay_file
from noren_audit.replay.replay import Agreement, ReplayCode, replay
from noren_audit.replay.replay_ledger import CampaignFacts, campaign_facts
from noren_audit.verification.bundle import parse_entries, read_bundle
from noren_audit.verification.findings import Findings
from noren_audit.verification.trust import load_trust
from noren_client import alignment, campaign_files, keystore, replay_data, sealed_statistics
from noren_client.ledger_watch import LedgerWatch
from noren_client.rights.custody import CustodyStore
from noren_client.transport import PlatformClient
from noren_core import canonical_json
from noren_core.crypto.sealed_sums import opening_bound
from noren_core.crypto.sealed_table import TableManifest
from noren_core.crypto.weight_encryption import MessageDigest, WeightSecret, encrypt_weights
from noren_core.crypto.weight_layout import WeightLayout
from noren_core.errors import LocalProtocolError, NorenError, RemoteProtocolError, VerificationError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, sign_entry
from noren_core.rights.erasure.artefacts import ArtefactClass
from noren_core.season.head import WEIGHT_SCALE
from noren_core.season.plan import CampaignPlan
from noren_core.season.weights_message import weight_layout, weights_binding, weights_body
from noren_demo.parties import CommandFailedError, InProcess
from noren_server import sealed_statistics as server
from noren_server.platform_files import trust_file
from noren_server.sealed_statistics import SealedStatistics

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import SmallSeason

CAMPAIGN = "sums-2026"
CAMPAIGN_FILE = f"""
campaign = "{CAMPAIGN}"
mode = "sealed-statistics"
train_seasons = ["season-2025"]
score_season = "season-2026"
index_direction = -1
expected_rate = "0.3"
minimum_cohort = 4
deadline_seconds = 5
cooling_seconds = 0
[task]
name = "decline"
positive = ["declined"]
negative = ["accepted"]
excluded = []
"""


def plan_of(season: SmallSeason) -> CampaignPlan:
    return campaign_files.load_plan(season.company_dir("akane"), CAMPAIGN)


@pytest.fixture(scope="module")
def published(prepared: SmallSeason, tmp_path_factory: pytest.TempPathFactory) -> SmallSeason:
    """The campaign is out, and every company accepted its plan. Copy, do not use."""
    season = prepared.copy_to(tmp_path_factory.mktemp("published"))
    campaign_file = season.root / "sums.toml"
    campaign_file.write_text(CAMPAIGN_FILE)
    with season.serving() as parties:
        parties.platform("campaign", "create", str(campaign_file))
        assert season.launch is not None
        season.launch.attest(CAMPAIGN)
        parties.platform("campaign", "publish", CAMPAIGN)
        for company in season.companies:
            parties.company(company, "accept", CAMPAIGN)
    return season


@pytest.fixture(scope="module")
def over(published: SmallSeason, tmp_path_factory: pytest.TempPathFactory) -> SmallSeason:
    """The season at its end. Do not change."""
    season = published.copy_to(tmp_path_factory.mktemp("over"))
    with season.serving() as parties:
        for company in season.companies:
            assert parties.company(company, "prepare", CAMPAIGN)["state"] == "prepared"
        assert parties.train(CAMPAIGN)["state"] == "finished"
        season.score(parties, campaign=CAMPAIGN)
    return season


def test_every_company_ends_with_the_head_of_the_sums(over: SmallSeason) -> None:
    """The head is the plan's prior plus one step by what the companies opened, up to the labels' noise."""
    plan = plan_of(over)
    (head,) = set(over.heads(campaign=CAMPAIGN).values())
    assert head is not None
    sums = np.sum(
        [campaign_files.load_sums(over.company_dir(c), CAMPAIGN).values for c in over.companies], axis=0
    )
    training = plan.training
    unit = training.learning_rate / (training.grid * training.normaliser)
    found = np.array(head[:-1]) / WEIGHT_SCALE
    expected = np.array(training.prior[:-1]) / 2**16 + float(unit) * sums
    deviation = float(unit * Fraction(training.noise_multiplier) * training.clipping_norm * training.grid)
    assert np.abs(found - expected).max() < 8 * deviation
    assert np.abs(found - expected).min() > 0


def test_the_auditor_verifies_it(over: SmallSeason) -> None:
    """Both campaigns of one ledger: the one in which nothing was trained, and this one."""
    verdict = over.audit()
    assert (verdict.word, verdict.findings) == ("VERIFIED", ())
    assert all(0.9 < item.epsilon <= 1 for item in verdict.rounds)


def test_the_auditor_computes_the_update_again(over: SmallSeason, tmp_path: Path) -> None:
    """Noise from seed and beacon minus the committed sums is what was settled, exactly."""
    facts = facts_of(over, tmp_path)
    for company in over.companies:
        exported = replay_data.export(over.company_dir(company), CAMPAIGN)
        body = canonical_json.parse_object(exported)
        assert body["rows"] == []
        assert len(body["sums"]) == plan_of(over).statistics.dimensions
        result = replay(replay_file.parse(exported), facts)
        assert (result.findings, result.agreement) == ((), Agreement.EXACT)


def test_other_sums_than_were_committed_to_are_found(over: SmallSeason, tmp_path: Path) -> None:
    """One sum off by one: neither the commitment nor the update comes out."""
    body = canonical_json.parse_object(replay_data.export(over.company_dir("akane"), CAMPAIGN))
    body["sums"][0] += 1
    result = replay(replay_file.parse(canonical_json.encode(body)), facts_of(over, tmp_path))
    assert {item.code for item in result.findings} == {
        ReplayCode.ROWS_NOT_COMMITTED,
        ReplayCode.UPDATE_NOT_RECOMPUTED,
    }


def test_no_row_reaches_a_company(over: SmallSeason) -> None:
    """The training table's payloads are one zero byte, and a company keeps sums in place of rows."""
    with over.platform() as platform:
        tables = platform.ledger_store.entries(kind=EntryKind.TABLE, campaign=CAMPAIGN)
    lengths = {
        stored.entry.body["manifest"]["payload_bytes"]
        for stored in tables
        if stored.entry.body["manifest"]["kind"] == TableKind.TRAIN
    }
    assert lengths == {1}
    for company in over.companies:
        with CustodyStore(over.company_dir(company)) as custody:
            assert custody.names(CAMPAIGN, ArtefactClass.TRAIN_ROW) == []


def test_weights_follow_outcomes(over: SmallSeason) -> None:
    """Everybody with a row has the weight of her outcome, and as many have one as in the other campaign."""
    statistics = plan_of(over).statistics
    for company in over.companies:
        kept = sealed_statistics.load_weights(over.company_dir(company), CAMPAIGN)
        found = {int(value) for value in np.unique(kept.weights)}
        assert found == {-statistics.negative, 0, statistics.positive}
        noised = campaign_files.load_training_set(over.company_dir(company), "spring-2026")
        # Who trains where is drawn for each campaign, so that only the order of magnitude is the same.
        assert 0.4 < len(kept.labels) / len(noised.labels) < 2.5


def test_the_ledger_has_rows_weights_and_answer_once_each_in_order(over: SmallSeason) -> None:
    with over.platform() as platform:
        for company in over.companies:
            found = [
                platform.ledger_store.entries(kind=kind, campaign=CAMPAIGN, company=company)
                for kind in (
                    EntryKind.STATISTICS_ROWS,
                    EntryKind.WEIGHTS_COMMITMENT,
                    EntryKind.STATISTICS_ANSWER,
                )
            ]
            assert [len(items) for items in found] == [1, 1, 1]
            (rows,), (weights,), (answer,) = found
            assert rows.index < weights.index < answer.index
            assert answer.entry.body["weights"] == weights.index


# On the platform's premises


def test_every_answer_comes_out_again(over: SmallSeason) -> None:
    with over.serving() as parties:
        for company in over.companies:
            found = parties.platform("statistics", "recompute", CAMPAIGN, company)
            assert list(found["entries"].values()) == sorted(found["entries"].values())


@pytest.mark.parametrize("what", ["rows", "weights"])
def test_a_changed_byte_does_not(over: SmallSeason, tmp_path: Path, what: str) -> None:
    """Neither other rows nor another message give the committed answer."""
    season = over.copy_to(tmp_path / "season")
    path = season.places.platform / "statistics" / CAMPAIGN / f"akane.{what}"
    data = bytearray(path.read_bytes())
    place = next(i for i, value in enumerate(data) if value) if what == "rows" else len(data) - 1
    data[place] ^= 1
    path.write_bytes(data)
    with season.serving() as parties, pytest.raises(CommandFailedError) as refused:
        parties.platform("statistics", "recompute", CAMPAIGN, "akane")
    assert refused.value.code == "NOT_VERIFIED"


def test_what_is_forgotten_is_gone(over: SmallSeason, tmp_path: Path) -> None:
    """Not while the campaign is open; afterwards neither rows nor seeds are left."""
    season = over.copy_to(tmp_path / "season")
    parties = InProcess(season.places)
    with pytest.raises(CommandFailedError):
        parties.platform("statistics", "forget", CAMPAIGN)
    parties.platform("campaign", "close", CAMPAIGN)
    parties.platform("statistics", "recompute", CAMPAIGN, "akane")
    parties.platform("statistics", "forget", CAMPAIGN)
    assert list((season.places.platform / "statistics" / CAMPAIGN).iterdir()) == []
    with season.platform() as platform, platform.store.transaction() as transaction:
        assert transaction.answer_seed(CAMPAIGN, "akane") is None
    with pytest.raises(CommandFailedError):
        parties.platform("statistics", "recompute", CAMPAIGN, "akane")


# A company that does not keep to it


@dataclass
class Attacker:
    """One company's machine, with a connection of its own and the kept weights of its one message."""

    season: SmallSeason
    client: PlatformClient
    name: str = "akane"

    def submit(self, message: Callable[[], Iterator[tuple[bytes, bytes]]]) -> bytes:
        known = LedgerWatch(self.season.company_dir(self.name)).known_tree_size
        return self.client.submit_weights(CAMPAIGN, message, known_tree_size=known)[0]

    def message(
        self, weights: npt.NDArray[np.int8], secret: WeightSecret, **changed: int
    ) -> Iterator[tuple[bytes, bytes]]:
        directory = self.season.company_dir(self.name)
        plan, manifest, keys = plan_of(self.season), self.manifest, keystore.load(directory)
        layout = replace(weight_layout(plan, manifest), **changed)
        digest = MessageDigest()
        for part in encrypt_weights(weights, secret, layout, binding=weights_binding(plan, manifest)):
            digest.add(part)
            yield part, b""
        body = weights_body(manifest, digest.commitment)
        yield b"", sign_entry(EntryKind.WEIGHTS_COMMITMENT, self.name, body, keys.signing)

    @property
    def manifest(self) -> TableManifest:
        with self.season.platform() as platform, platform.store.transaction() as transaction:
            table = transaction.table(CAMPAIGN, self.name, TableKind.TRAIN)
        assert table is not None
        return table.manifest

    @property
    def weights(self) -> npt.NDArray[np.int8]:
        weights = np.zeros(self.manifest.padded_rows, dtype=np.int8)
        weights[7] = plan_of(self.season).statistics.positive
        return weights

    def kept(self) -> list[str]:
        """What the platform has of messages."""
        found = (self.season.places.platform / "statistics" / CAMPAIGN).glob("*")
        return sorted(path.name for path in found if path.suffix != ".rows")


@pytest.fixture
def attacker(published: SmallSeason, tmp_path: Path) -> Iterator[Attacker]:
    """A company that accepted the plan, with the platform running; rows are not committed to yet."""
    season = published.copy_to(tmp_path / "season")
    with season.serving(), PlatformClient(season.company_dir("akane")) as client:
        yield Attacker(season, client)


def commit_rows(attacker: Attacker) -> None:
    attacker.client.commit_rows(CAMPAIGN, known_tree_size=0)


def refused(attacker: Attacker, message: Iterator[tuple[bytes, bytes]]) -> str:
    """The code with which a message is refused, of which nothing is kept then."""
    with pytest.raises(NorenError) as error:
        attacker.submit(lambda: message)
    assert attacker.kept() == []
    with attacker.season.platform() as platform:
        assert not platform.ledger_store.entries(kind=EntryKind.WEIGHTS_COMMITMENT, campaign=CAMPAIGN)
    return error.value.code


def test_before_the_rows_are_committed_to_no_message_is_read(attacker: Attacker) -> None:
    assert refused(attacker, attacker.message(attacker.weights, WeightSecret.generate())) == "NOT_READY"


def test_a_message_of_another_layout_is_refused(attacker: Attacker) -> None:
    """Another bound, or another weight, than the plan's."""
    commit_rows(attacker)
    most = weight_layout(plan_of(attacker.season), attacker.manifest).nonzero
    for changed in ({"nonzero": most + 1}, {"positive": 8, "negative": 8}):
        weights = np.zeros_like(attacker.weights)
        message = attacker.message(weights, WeightSecret.generate(), **changed)
        assert refused(attacker, message) == "PROTOCOL_VIOLATION"


def test_a_forged_proof_is_refused(attacker: Attacker) -> None:
    """A bit of a response, or of a ciphertext's point, is another."""
    commit_rows(attacker)
    parts = list(attacker.message(attacker.weights, WeightSecret.generate()))
    forged = list(parts)
    forged[-2] = (forged[-2][0][:-1] + bytes([forged[-2][0][-1] ^ 1]), b"")
    assert refused(attacker, iter(forged)) == "NOT_VERIFIED"


def test_parts_missing_repeated_or_too_long_are_refused(attacker: Attacker) -> None:
    commit_rows(attacker)
    parts = list(attacker.message(attacker.weights, WeightSecret.generate()))
    entry = parts[-1]
    for message in (
        parts[:2],  # the stream ends
        [*parts[:2], entry],  # the commitment comes too early
        [*parts[:-1], parts[-2], entry],  # one part too many
        [(parts[0][0] + b"\0", b""), *parts[1:]],
        [],
    ):
        assert refused(attacker, iter(message)) == "PROTOCOL_VIOLATION"


def test_a_commitment_to_another_message_is_refused(attacker: Attacker) -> None:
    commit_rows(attacker)
    parts = list(attacker.message(attacker.weights, WeightSecret.generate()))
    others = list(attacker.message(attacker.weights, WeightSecret.generate()))
    assert refused(attacker, iter([*parts[:-1], others[-1]])) == "PROTOCOL_VIOLATION"


def test_a_second_message_is_refused_and_the_first_answered_again(attacker: Attacker) -> None:
    """The identical message gets the identical answer; another one nothing, also after a restart."""
    commit_rows(attacker)
    parts = list(attacker.message(attacker.weights, WeightSecret.generate()))
    first = attacker.submit(lambda: iter(parts))
    assert attacker.submit(lambda: iter(parts)) == first
    with pytest.raises(RemoteProtocolError) as error:
        attacker.submit(lambda: attacker.message(attacker.weights, WeightSecret.generate()))
    assert error.value.code == "WEIGHTS_LIMIT"
    assert attacker.submit(lambda: iter(parts)) == first
    assert attacker.kept() == ["akane.weights"]
    with attacker.season.platform() as platform:
        for kind in (EntryKind.WEIGHTS_COMMITMENT, EntryKind.STATISTICS_ANSWER):
            assert len(platform.ledger_store.entries(kind=kind, campaign=CAMPAIGN)) == 1


def test_attempts_are_limited(attacker: Attacker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_ATTEMPTS", 2)
    commit_rows(attacker)
    codes = [refused(attacker, iter([])) for _ in range(3)]
    assert codes == ["PROTOCOL_VIOLATION", "PROTOCOL_VIOLATION", "TOO_MANY_ATTEMPTS"]


def test_there_is_nothing_to_sum_in_the_other_mode(attacker: Attacker) -> None:
    with pytest.raises(RemoteProtocolError) as error:
        attacker.client.commit_rows("spring-2026", known_tree_size=0)
    assert error.value.code == "NOT_AVAILABLE"


# A platform that does not keep to it


def prepare(season: SmallSeason, company: str = "akane") -> tuple[int, ...]:
    """The sums that the company goes on with."""
    alignment.prepare(season.company_dir(company), CAMPAIGN)
    return campaign_files.load_sums(season.company_dir(company), CAMPAIGN).values


@pytest.mark.parametrize(
    "answer", [b"", bytes(5 * 66 - 1), bytes(5 * 66), b"\2" + b"\xff" * (5 * 66 - 1)], ids=str
)
def test_an_answer_that_is_no_points_is_refused(
    attacker: Attacker, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """Seen without the company's key, so it may say so."""
    monkeypatch.setattr(server, "_released", lambda *_: answer)
    with pytest.raises(RemoteProtocolError):
        prepare(attacker.season)


def test_sums_that_no_honest_platform_can_send_become_zeros(
    attacker: Attacker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether they do not open or open to too much: the company goes on, and only its own log says so."""
    season, plan = attacker.season, plan_of(attacker.season)
    sizes = {"nonzero": plan.member("benten").padded_batch, "positions": 1}
    weights = {"negative": plan.statistics.negative, "positive": plan.statistics.positive}
    opens = opening_bound(WeightLayout(**sizes, **weights), Fraction(plan.statistics.variance))
    for company, noise in (("akane", 2**40), ("benten", opens - 40_000)):

        def too_much(count: int, *, noise: int = noise, **_: object) -> npt.NDArray[np.int64]:
            return np.full(count, noise, dtype=np.int64)

        monkeypatch.setattr(server, "sample", too_much)
        assert prepare(season, company) == (0,) * plan.statistics.dimensions
        assert "cannot be honest" in caplog.text
        caplog.clear()


def test_another_answer_than_the_ledgers_is_refused(
    attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = PlatformClient.submit_weights

    def changed(*arguments: Any, **named: Any) -> Any:
        answer, proof = submit(*arguments, **named)
        return answer[66:] + answer[:66], proof

    monkeypatch.setattr(PlatformClient, "submit_weights", changed)
    with pytest.raises(VerificationError):
        prepare(attacker.season)


def test_a_second_answer_in_the_ledger_is_refused(
    attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform proves two commitments to rows, or two answers."""
    prepared_sums = prepare(attacker.season)
    submit = PlatformClient.submit_weights

    def doubled(*arguments: Any, **named: Any) -> Any:
        answer, _ = submit(*arguments, **named)
        with attacker.season.platform() as platform:
            found = platform.ledger_store.entries(
                kind=EntryKind.STATISTICS_ANSWER, campaign=CAMPAIGN, company="akane"
            )[0]
            platform.ledger.append_platform_entry(
                EntryKind.STATISTICS_ANSWER, {**found.entry.body, "answer_sha256": "ab" * 32}
            )
        return answer, arguments[0].get_proof(CAMPAIGN, known_tree_size=named["known_tree_size"])

    monkeypatch.setattr(PlatformClient, "submit_weights", doubled)
    with pytest.raises(VerificationError):
        prepare(attacker.season)
    assert campaign_files.load_sums(attacker.season.company_dir("akane"), CAMPAIGN).values == prepared_sums


# Crashes


def test_a_crash_between_keeping_and_sending_sends_the_same(
    attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was kept is what is sent; sums are there only after the second attempt."""
    with monkeypatch.context() as patch:
        patch.setattr(PlatformClient, "submit_weights", _killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(attacker.season)
    directory = attacker.season.company_dir("akane")
    kept = (directory / "campaigns" / CAMPAIGN / "weights.bin").read_bytes()
    with pytest.raises(LocalProtocolError):
        campaign_files.load_sums(directory, CAMPAIGN)
    prepare(attacker.season)
    assert (directory / "campaigns" / CAMPAIGN / "weights.bin").read_bytes() == kept


@pytest.mark.parametrize("step", ["accept", "answered"])
def test_a_crash_of_the_platform_leaves_a_message_that_is_answered(
    attacker: Attacker, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Before or after the commitment is in the ledger: the same message gets the one answer."""
    method = getattr(SealedStatistics, step)

    def then_die(*arguments: Any, **named: Any) -> Any:
        method(*arguments, **named)
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(SealedStatistics, step, then_die)
        with pytest.raises(RemoteProtocolError):
            prepare(attacker.season)
    sums = prepare(attacker.season)
    assert any(sums)
    assert prepare(attacker.season) == sums


def _killed(*_: object, **__: object) -> NoReturn:
    raise KeyboardInterrupt


def facts_of(season: SmallSeason, place: Path) -> CampaignFacts:
    """What the ledger says of the campaign."""
    trust = place / "trust.toml"
    with season.platform() as platform:
        trust.write_text(trust_file(platform))
    bundle = season.export(place / "bundle")
    whole = read_bundle(bundle, Findings())
    assert list(parse_entries(whole, Findings()))
    facts = campaign_facts(bundle, load_trust(trust), CAMPAIGN, root=whole.tree.root())
    assert facts is not None
    return facts
