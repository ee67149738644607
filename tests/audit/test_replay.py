"""Replay: an honest campaign comes out again, and every way of cheating has a name."""

from __future__ import annotations

import copy
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from noren_audit.replay import replay_file, replay_verdict
from noren_audit.replay.replay import Agreement, ReplayCode, ReplayFinding, ReplayResult, replay
from noren_audit.replay.replay_ledger import CampaignFacts
from noren_audit.replay.replay_verdict import ReplaySubject
from noren_client.mechanism import noised_update
from noren_client.sums_mechanism import noised_sums
from noren_client.training import clipped_gradient_sum
from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.revocation_list import RevocationList
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import DataError, NorenError, VerificationError
from noren_core.ledger.checkpoint import Checkpoint
from noren_core.privacy.discrete_gaussian import NoiseStream, sample
from noren_core.privacy.noise import company_variance
from noren_core.privacy.noise_seed import NoiseSeed
from noren_core.season.head import HeadState, row_scale
from noren_core.season.plan import CampaignPlan, StatisticsRelease
from noren_core.season.round_consents import RoundConsents
from noren_core.season.round_event import round_event
from noren_core.season.row_commitment import TrainingRow, rows_root, sums_root

COMPANY, ROWS, SENTINELS = "company-1", 40, 8
BEACON, SALT, KEY = (hashlib.sha256(word).digest() for word in (b"beacon", b"salt", b"commitment key"))
SEED = hashlib.sha256(b"seed").digest()
TABLE_ID = hashlib.sha256(b"table").digest()[:16]
PLATFORM = SigningKey.from_bytes(hashlib.sha256(b"platform").digest())
DUMMIES = [hashlib.sha256(b"dummy" + bytes([index])).digest()[:16] for index in range(64)]

Vector = np.ndarray[Any, np.dtype[np.int64]]


def listed(revoked: Sequence[bytes] = (), *, sequence: int = 1, **other: Any) -> RoundConsents:
    """The platform's list with its signature and a salt; others' with `key` or `table_id`."""
    made = RevocationList.padded(
        revoked, table_id=other.get("table_id", TABLE_ID), sequence=sequence, dummy_tags=DUMMIES
    )
    salt = hashlib.sha256(b"salt" + bytes([sequence])).digest()
    return RoundConsents(made.to_bytes(), made.sign(other.get("key", PLATFORM)), salt)


def stream_of(seed: bytes, plan: CampaignPlan, number: int) -> NoiseStream:
    return NoiseSeed(seed).round_stream(beacon=BEACON, campaign=plan.campaign, round_number=number)


@dataclass
class Company:
    """A company that trains, and a ledger that holds what it says; subclasses cheat first."""

    plan: CampaignPlan
    rows: list[TrainingRow]
    seed: bytes = SEED
    rounds: list[dict[str, Any]] = field(default_factory=list)
    settles: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    lists: dict[int, RoundConsents] = field(default_factory=dict)
    """By round, where it is not a list that revokes nobody."""

    def consents(self, number: int) -> RoundConsents:
        """What the platform sends for a round, and the company settles."""
        return self.lists.get(number, listed())

    def revoked(self, number: int) -> set[bytes]:
        """What no row of the round may be."""
        known = [RevocationList.from_bytes(self.consents(n).revocations) for n in range(1, number + 1)]
        return {tag for one in known for tag in one.tags}

    def update(self, weights: np.ndarray[Any, np.dtype[np.float64]], number: int) -> Vector:
        """What is sent in a round."""
        revoked = self.revoked(number)
        rows = [row for row in self.rows if row.tag not in revoked]
        return self.computed(weights, stream_of(self.seed, self.plan, number), rows=rows)

    def computed(
        self,
        weights: np.ndarray[Any, np.dtype[np.float64]],
        stream: NoiseStream,
        *,
        rows: list[TrainingRow] | None = None,
    ) -> Vector:
        """The client's own mechanism, over some of the rows."""
        chosen = self.rows if rows is None else rows
        table = np.array([row.coordinates for row in chosen], np.float64).reshape(
            -1, self.plan.rows.dimensions
        )
        return noised_update(
            table / row_scale(self.plan.rows),
            np.array([row.label for row in chosen]),
            weights,
            plan_training=self.plan.training,
            companies=len(self.plan.companies),
            stream=stream,
        )

    def exact(self, weights: np.ndarray[Any, np.dtype[np.float64]], *, clipping: int = 1) -> Vector:
        """The client's sum without noise, with a wider clipping norm if asked to."""
        training = self.plan.training
        table = np.array([row.coordinates for row in self.rows], np.float64) / row_scale(self.plan.rows)
        total = clipped_gradient_sum(
            table,
            np.array([row.label for row in self.rows]),
            weights,
            clipping_norm=training.clipping_norm * clipping,
            grid=training.grid,
        )
        return np.concatenate([total, np.zeros(SENTINELS, np.int64)])

    def noise(self, number: int, *, share: int = 1) -> Vector:
        """The plan's noise of a round, or a share of its variance."""
        variance = company_variance(round_event(self.plan), companies=len(self.plan.companies))
        stream = stream_of(self.seed, self.plan, number)
        return sample(self.plan.vector_length, variance=variance / share, stream=stream)

    def train(self) -> None:
        """Every round, with the others' contributions made up, and its settle."""
        head = HeadState.initial(self.plan.training)
        survivors = list(self.plan.companies)
        for number in range(1, self.plan.training.rounds + 1):
            sent = self.update(head.as_floats(), number)
            others = sum(
                sample(
                    self.plan.vector_length,
                    variance=company_variance(round_event(self.plan), companies=len(survivors)),
                    stream=NoiseStream(hashlib.sha256(f"{name} {number}".encode()).digest()),
                )
                for name in survivors
                if name != COMPANY
            )
            total = (sent + others).tolist()
            gradient = total[: self.plan.head_length]
            after = head.advance(gradient, self.plan.training)
            message = b"update\0" + COMPANY.encode() + b"\0" + sent.astype("<i8").tobytes()
            self.settles[COMPANY, number] = {
                "survivors": survivors,
                "sentinels": total[self.plan.head_length :],
                "update_sha256": hmac.digest(KEY, message, "sha256").hex(),
                "consents": self.consents(number).commitment().hex(),
                "model_in": head.commitment(KEY).hex(),
                "model_out": after.commitment(KEY).hex(),
            }
            self.rounds.append(
                {
                    "round": number,
                    "survivors": survivors,
                    "gradient": gradient,
                    "update": sent.tolist(),
                    **shown(self.consents(number)),
                }
            )
            head = after

    def facts(self) -> CampaignFacts:
        committed = NoiseSeed(SEED).commitment(company=COMPANY, campaign=self.plan.campaign)
        root = rows_root(sorted(self.rows, key=lambda row: row.tag), SecretBytes(SALT))
        return CampaignFacts(
            plan=self.plan,
            commitments={COMPANY: {"seed": committed.hex(), "rows": root.hex()}},
            beacon=BEACON,
            cohort=frozenset(self.plan.companies),
            settles=self.settles,
            table_ids={COMPANY: TABLE_ID},
            platform_keys=frozenset({PLATFORM.public_key}),
            certified=frozenset(),
        )

    def body(self) -> dict[str, Any]:
        """The replay file, before it is encoded."""
        return copy.deepcopy(
            {
                "format": replay_file.FORMAT,
                "campaign": self.plan.campaign,
                "company": COMPANY,
                "seed": SEED.hex(),
                "row_salt": SALT.hex(),
                "commitment_key": KEY.hex(),
                "cohort": list(self.plan.companies),
                "dimensions": self.plan.release.dimensions,
                "rows": [
                    {"tag": row.tag.hex(), "row": list(row.coordinates), "label": row.label}
                    for row in self.rows
                ],
                "rounds": self.rounds,
                "rows_erased": False,
            }
        )


def shown(consents: RoundConsents) -> dict[str, str]:
    """A round's list as it stands in the replay file."""
    return {
        "revocations": consents.revocations.hex(),
        "revocations_signature": consents.signature.hex(),
        "consents_salt": consents.salt.hex(),
    }


class NoNoise(Company):
    def update(self, weights, number):
        return self.exact(weights)


class HalfTheDeviation(Company):
    def update(self, weights, number):
        return self.exact(weights) + self.noise(number, share=4)


class NoClipping(Company):
    def update(self, weights, number):
        return self.exact(weights, clipping=1000) + self.noise(number)


class HalfTheRows(Company):
    def update(self, weights, number):
        return self.computed(weights, stream_of(self.seed, self.plan, number), rows=self.rows[: ROWS // 2])


class EveryRowTwice(Company):
    def update(self, weights, number):
        return 2 * self.exact(weights) + self.noise(number)


class OneNoise(Company):
    def update(self, weights, number):
        return self.computed(weights, stream_of(self.seed, self.plan, 1))


class AnotherSeed(Company):
    """Commits to one seed and draws from one that it likes better."""

    def update(self, weights, number):
        return self.computed(weights, stream_of(KEY, self.plan, number))


class SparedSentinels(Company):
    """Noise where everybody looks, none where the data is."""

    def update(self, weights, number):
        update = self.exact(weights)
        update[-SENTINELS:] = self.noise(number)[-SENTINELS:]
        return update


class OtherSentinels(Company):
    def update(self, weights, number):
        update = super().update(weights, number)
        update[-1] += 1
        return update


@dataclass
class SumsCompany(Company):
    """A company that trains on opened sums."""

    sums: tuple[int, ...] = (1000, -250_000, 30, 4)
    summed: tuple[int, ...] | None = None
    """What it adds up in truth, if not what it committed to."""

    def consents(self, number: int) -> RoundConsents:
        return self.lists.get(number, RoundConsents(b"", b"", SALT))

    def update(self, weights, number):
        return noised_sums(
            self.sums if self.summed is None else self.summed,
            plan_training=self.plan.training,
            companies=len(self.plan.companies),
            stream=stream_of(self.seed, self.plan, number),
        )

    def facts(self) -> CampaignFacts:
        facts = super().facts()
        facts.commitments[COMPANY]["rows"] = sums_root(self.sums, SecretBytes(SALT)).hex()
        return facts

    def body(self) -> dict[str, Any]:
        return {**super().body(), "sums": list(self.sums)}


@pytest.fixture
def plan_of_sums(plan_body: dict[str, Any]) -> CampaignPlan:
    training = {"rounds": 1, "average_from": 1, "weight_decay": "0", "grid": 1024, "clipping_norm": "7.9375"}
    plan_body["training"].update(training, sentinels=SENTINELS)
    plan_body["mode"] = "sealed-statistics"
    del plan_body["rows"]
    limits = {"variance": 112_700_000, "epsilon": "8", "delta": "0.000001"}
    plan_body["statistics"] = {"dimensions": 4, "clip": "2.5", "negative": 64, "positive": 64, **limits}
    return CampaignPlan.from_body(plan_body)


@pytest.fixture
def plan(plan_body: dict[str, Any]) -> CampaignPlan:
    plan_body["training"].update(sentinels=SENTINELS, clipping_norm="1")
    return CampaignPlan.from_body(plan_body)


@pytest.fixture
def rows(plan: CampaignPlan) -> list[TrainingRow]:
    values = sample(ROWS * plan.rows.dimensions, variance=2000**2, stream=NoiseStream(SALT)).tolist()
    width = plan.rows.dimensions
    tags = sorted(hashlib.sha256(bytes([index])).digest()[:16] for index in range(ROWS))
    return [
        TrainingRow(tag, tuple(values[index * width : (index + 1) * width]), index % 2)
        for index, tag in enumerate(tags)
    ]


@pytest.fixture
def honest(plan: CampaignPlan, rows: list[TrainingRow]) -> Company:
    company = Company(plan, rows)
    company.train()
    return company


def replayed(company: Company, body: dict[str, Any] | None = None) -> ReplayResult:
    encoded = canonical_json.encode(company.body() if body is None else body)
    return replay(replay_file.parse(encoded), company.facts())


def codes(result: ReplayResult) -> set[ReplayCode]:
    return {finding.code for finding in result.findings}


def test_an_honest_campaign_comes_out_again(honest: Company) -> None:
    """Opacus' sum and the closed form agree to less than a unit a row; the noise to the last bit."""
    result = replayed(honest)
    assert result.findings == ()
    assert result.rounds == 3
    assert result.agreement in {Agreement.EXACT, Agreement.WITHIN_ROUNDING}
    assert 0 <= result.largest_difference <= ROWS


def test_a_company_without_rows_is_noise_alone(plan: CampaignPlan) -> None:
    company = Company(plan, [])
    company.train()
    assert replayed(company).agreement is Agreement.EXACT


@pytest.mark.parametrize(
    ("cheat", "expected"),
    [
        (NoNoise, ReplayCode.UPDATE_NOT_RECOMPUTED),
        (HalfTheDeviation, ReplayCode.UPDATE_NOT_RECOMPUTED),
        (NoClipping, ReplayCode.UPDATE_NOT_RECOMPUTED),
        (HalfTheRows, ReplayCode.UPDATE_NOT_RECOMPUTED),
        (EveryRowTwice, ReplayCode.UPDATE_NOT_RECOMPUTED),
        (OneNoise, ReplayCode.UPDATE_NOT_RECOMPUTED),
        (AnotherSeed, ReplayCode.UPDATE_NOT_RECOMPUTED),
        (SparedSentinels, ReplayCode.UPDATE_NOT_RECOMPUTED),
        (OtherSentinels, ReplayCode.SENTINELS_NOT_THE_NOISE),
    ],
)
def test_whoever_cheats_and_says_so_consistently_is_caught(
    plan: CampaignPlan, rows: list[TrainingRow], cheat: type[Company], expected: ReplayCode
) -> None:
    """Ledger and file agree with each other in every hash: only computing again tells."""
    company = cheat(plan, rows)
    company.train()
    result = replayed(company)
    assert codes(result) == {expected}
    assert result.agreement is Agreement.NONE


def test_one_rounds_other_noise_is_found_in_that_round(plan: CampaignPlan, rows: list[TrainingRow]) -> None:
    """A cheat in the second round only; the others come out, and what was off is not told."""

    class Sometimes(Company):
        def update(self, weights, number):
            return self.exact(weights) if number == 2 else super().update(weights, number)

    company = Sometimes(plan, rows)
    company.train()
    result = replayed(company)
    assert [(f.code, f.round_number) for f in result.findings] == [(ReplayCode.UPDATE_NOT_RECOMPUTED, 2)]
    assert result.largest_difference <= ROWS


def _change_row(body: dict[str, Any]) -> None:
    body["rows"][3]["row"][0] += 1


def _repeat_row(body: dict[str, Any]) -> None:
    body["rows"].insert(3, body["rows"][3])


def _repeat_row_under_another_tag(body: dict[str, Any]) -> None:
    twin = {**body["rows"][3], "tag": body["rows"][3]["tag"][:-1] + "f"}
    body["rows"].insert(4, twin)


def _drop_row(body: dict[str, Any]) -> None:
    del body["rows"][3]


def _flip_label(body: dict[str, Any]) -> None:
    body["rows"][3]["label"] ^= 1


def _reorder_rows(body: dict[str, Any]) -> None:
    body["rows"].reverse()


def _other_seed(body: dict[str, Any]) -> None:
    body["seed"] = KEY.hex()


def _other_salt(body: dict[str, Any]) -> None:
    body["row_salt"] = KEY.hex()


def _other_commitment_key(body: dict[str, Any]) -> None:
    body["commitment_key"] = SALT.hex()


def _swap_updates(body: dict[str, Any]) -> None:
    one, two = body["rounds"][:2]
    one["update"], two["update"] = two["update"], one["update"]


def _change_gradient(body: dict[str, Any]) -> None:
    body["rounds"][0]["gradient"][0] += 1


def _diverge(body: dict[str, Any]) -> None:
    body["rounds"][0]["gradient"][0] = 2**62


def _drop_update(body: dict[str, Any]) -> None:
    body["rounds"][1]["update"] = []


def _shorten_update(body: dict[str, Any]) -> None:
    body["rounds"][1]["update"].pop()


def _drop_round(body: dict[str, Any]) -> None:
    body["rounds"].pop()


def _other_survivors(body: dict[str, Any]) -> None:
    body["rounds"][1]["survivors"].pop()


def _smaller_cohort(body: dict[str, Any]) -> None:
    body["cohort"].pop()


def _other_company(body: dict[str, Any]) -> None:
    body["company"] = "company-2"


def _other_campaign(body: dict[str, Any]) -> None:
    body["campaign"] = "autumn-2026"


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (_change_row, ReplayCode.ROWS_NOT_COMMITTED),
        (_repeat_row, ReplayCode.TAG_REPEATED),
        (_repeat_row_under_another_tag, ReplayCode.ROWS_NOT_COMMITTED),
        (_drop_row, ReplayCode.ROWS_NOT_COMMITTED),
        (_flip_label, ReplayCode.ROWS_NOT_COMMITTED),
        (_reorder_rows, ReplayCode.ROWS_NOT_COMMITTED),
        (_other_seed, ReplayCode.SEED_NOT_COMMITTED),
        (_other_salt, ReplayCode.ROWS_NOT_COMMITTED),
        (_other_commitment_key, ReplayCode.MODEL_NOT_SETTLED),
        (_swap_updates, ReplayCode.UPDATE_NOT_SETTLED),
        (_change_gradient, ReplayCode.MODEL_NOT_SETTLED),
        (_diverge, ReplayCode.MODEL_NOT_SETTLED),
        (_drop_update, ReplayCode.UPDATE_MISSING),
        (_shorten_update, ReplayCode.UPDATE_NOT_SETTLED),
        (_drop_round, ReplayCode.ROUNDS_DIFFER),
        (_other_survivors, ReplayCode.ROUNDS_DIFFER),
        (_smaller_cohort, ReplayCode.COHORT_DIFFERS),
        (_other_company, ReplayCode.OTHER_CAMPAIGN),
        (_other_campaign, ReplayCode.OTHER_CAMPAIGN),
    ],
)
def test_a_file_that_is_not_what_was_said_is_caught(
    honest: Company, tamper: Callable[[dict[str, Any]], None], expected: ReplayCode
) -> None:
    body = honest.body()
    tamper(body)
    assert expected in codes(replayed(honest, body))


def test_the_last_round_cannot_be_left_out_by_saying_nothing_of_it(honest: Company) -> None:
    """Neither settled nor shown, although others settled a sum that it is in: what it sent is not known."""
    body, last = honest.body(), honest.plan.training.rounds
    body["rounds"].pop()
    honest.settles["daigo", last] = honest.settles.pop((COMPANY, last))
    assert codes(replayed(honest, body)) == {ReplayCode.ROUNDS_DIFFER}
    others = [company for company in honest.plan.companies if company != COMPANY]
    honest.settles["daigo", last] |= {"survivors": others}  # it dropped out before
    assert codes(replayed(honest, body)) == set()


def test_rounding_is_the_only_excuse(honest: Company) -> None:
    """As many units as there are rows pass, one more does not; the ledger says the same in both cases."""
    for units, is_found in ((0, False), (ROWS, False), (2 * ROWS + 1, True)):
        body = honest.body()
        shown = body["rounds"][0]["update"]
        shown[0] += units if replayed(honest).largest_difference == 0 else 0
        message = b"update\0" + COMPANY.encode() + b"\0" + np.array(shown, "<i8").tobytes()
        honest.settles[COMPANY, 1]["update_sha256"] = hmac.digest(KEY, message, "sha256").hex()
        result = replayed(honest, body)
        assert (codes(result) == {ReplayCode.UPDATE_NOT_RECOMPUTED}) is is_found
        if not is_found:
            assert result.largest_difference == units


def test_a_campaign_without_a_beacon_has_no_noise_to_compare(honest: Company) -> None:
    facts = replace(honest.facts(), beacon=None)
    parsed = replay_file.parse(canonical_json.encode(honest.body()))
    assert codes(replay(parsed, facts)) == {ReplayCode.OTHER_CAMPAIGN}
    assert codes(replay(parsed, None)) == {ReplayCode.OTHER_CAMPAIGN}


def test_a_campaign_without_rows_has_nothing_to_compute(honest: Company) -> None:
    """Sealed statistics: the company never had rows, so a file with some is of another campaign."""
    sums = StatisticsRelease(4, "2.5", 1, 1, 10**6, "8", "0.000001")
    facts = replace(honest.facts(), plan=replace(honest.plan, release=sums))
    parsed = replay_file.parse(canonical_json.encode(honest.body()))
    assert codes(replay(parsed, facts)) == {ReplayCode.NO_ROWS_RELEASED}


def test_opened_sums_come_out_again_to_the_last_bit(plan_of_sums: CampaignPlan) -> None:
    """No gradient, hence no rounding: the sums with the other sign, and noise."""
    company = SumsCompany(plan_of_sums, [])
    company.train()
    result = replayed(company)
    assert (result.findings, result.rounds, result.agreement) == ((), 1, Agreement.EXACT)


@pytest.mark.parametrize("place", [0, 3, 4, 5])
def test_one_unit_beside_the_opened_sums_is_found(plan_of_sums: CampaignPlan, place: int) -> None:
    """In a sum, in the bias that nothing is learnt of, or at a sentinel."""

    class Beside(SumsCompany):
        def update(self, weights, number):
            return super().update(weights, number) + (np.arange(4 + 1 + SENTINELS) == place)

    company = Beside(plan_of_sums, [])
    company.train()
    at_sentinels = ReplayCode.SENTINELS_NOT_THE_NOISE
    assert codes(replayed(company)) == {at_sentinels if place > 4 else ReplayCode.UPDATE_NOT_RECOMPUTED}


def test_sums_that_were_not_committed_to_are_found(plan_of_sums: CampaignPlan) -> None:
    """Trained on others and showing those it committed to; or showing those that it trained on."""
    company = SumsCompany(plan_of_sums, [], summed=(2000, -500_000, 60, 8))
    company.train()
    assert codes(replayed(company)) == {ReplayCode.UPDATE_NOT_RECOMPUTED}
    shown = {**company.body(), "sums": list(company.summed or ())}
    assert codes(replayed(company, shown)) == {ReplayCode.ROWS_NOT_COMMITTED}


def test_sums_of_a_campaign_of_rows_are_another_campaigns(honest: Company) -> None:
    body = {**honest.body(), "rows": [], "sums": [0, 0, 0, 0]}
    assert codes(replayed(honest, body)) == {ReplayCode.OTHER_CAMPAIGN}


def test_a_round_that_the_company_missed_needs_no_update(honest: Company) -> None:
    """Dropped out of the last round: nothing sent, settled as nothing, and the rest comes out."""
    last = honest.plan.training.rounds
    others = [name for name in honest.plan.companies if name != COMPANY]
    settle, shown = honest.settles[COMPANY, last], honest.rounds[-1]
    settle["survivors"] = shown["survivors"] = others
    settle["update_sha256"] = hmac.digest(KEY, b"update\0" + COMPANY.encode() + b"\0", "sha256").hex()
    shown["update"] = []
    result = replayed(honest)
    assert (result.findings, result.rounds) == ((), last - 1)


# Revocation lists


def withdrawn(plan: CampaignPlan, rows: list[TrainingRow], made: type[Company] = Company) -> Company:
    """One row is revoked before the second round, another one before the third; the first stays out."""
    one, other = rows[3].tag, rows[7].tag
    lists = {2: listed([one], sequence=2), 3: listed([other], sequence=3)}
    return made(plan, rows, lists=lists)


def test_revoked_rows_are_out_from_their_round_on(plan: CampaignPlan, rows: list[TrainingRow]) -> None:
    """The commitment is over all rows; each round comes out without those that any list named so far."""
    company = withdrawn(plan, rows)
    company.train()
    result = replayed(company)
    assert (result.findings, result.rounds, result.is_partial) == ((), 3, False)


class Ignoring(Company):
    """Settles the lists that it was given, and uses every row all the same."""

    def update(self, weights, number):
        return self.computed(weights, stream_of(self.seed, self.plan, number))


class Forgetting(Company):
    """Takes a row back that the newest list does not name any more."""

    def revoked(self, number):
        return set(RevocationList.from_bytes(self.consents(number).revocations).tags)


class Choosing(Company):
    """Leaves out somebody whom no list names."""

    def revoked(self, number):
        return super().revoked(number) | {self.rows[0].tag}


@pytest.mark.parametrize(("cheat", "rounds"), [(Ignoring, [2, 3]), (Forgetting, [3]), (Choosing, [1, 2, 3])])
def test_other_rows_than_the_lists_leave_are_found(
    plan: CampaignPlan, rows: list[TrainingRow], cheat: type[Company], rounds: list[int]
) -> None:
    """Consistently stated or not, those rounds do not come out."""
    company = withdrawn(plan, rows, cheat)
    company.train()
    found = [(finding.code, finding.round_number) for finding in replayed(company).findings]
    assert found == [(ReplayCode.UPDATE_NOT_RECOMPUTED, number) for number in rounds]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (listed(key=SigningKey.from_bytes(SALT)), ReplayCode.REVOCATIONS_NOT_THE_PLATFORMS),
        (listed(table_id=bytes(16)), ReplayCode.REVOCATIONS_NOT_THE_PLATFORMS),
        (RoundConsents(b"", b"", SALT), ReplayCode.REVOCATIONS_NOT_THE_PLATFORMS),
        (RoundConsents(b"list", bytes(64), SALT), ReplayCode.REVOCATIONS_NOT_THE_PLATFORMS),
    ],
    ids=["other key", "other table", "none", "no list"],
)
def test_a_list_that_is_not_the_platforms_is_found(
    plan: CampaignPlan, rows: list[TrainingRow], change: RoundConsents, expected: ReplayCode
) -> None:
    """Even if the company settled it."""
    company = Company(plan, rows)
    company.train()
    company.rounds[1] |= shown(change)
    company.settles[COMPANY, 2]["consents"] = change.commitment().hex()
    assert [(f.code, f.round_number) for f in replayed(company).findings] == [(expected, 2)]


def test_an_older_list_than_the_round_before_is_found(plan: CampaignPlan, rows: list[TrainingRow]) -> None:
    company = Company(plan, rows, lists={2: listed(sequence=3), 3: listed(sequence=2)})
    company.train()
    found = [(f.code, f.round_number) for f in replayed(company).findings]
    assert found == [(ReplayCode.REVOCATIONS_OLDER, 3)]


@pytest.mark.parametrize("field", ["consents_salt", "revocations"])
def test_a_list_that_was_not_settled_is_found(honest: Company, field: str) -> None:
    """Another list of the platform's, or another salt, is not what the settle commits to."""
    body = honest.body()
    body["rounds"][1] |= {field: shown(listed(sequence=2))[field]}
    assert (ReplayCode.CONSENTS_NOT_SETTLED, 2) in {
        (finding.code, finding.round_number) for finding in replayed(honest, body).findings
    }


def test_sums_have_no_list(plan_of_sums: CampaignPlan) -> None:
    """No row of theirs can be dropped, so none is named."""
    company = SumsCompany(plan_of_sums, [], lists={1: listed()})
    company.train()
    assert codes(replayed(company)) == {ReplayCode.REVOCATIONS_NOT_THE_PLATFORMS}


# Erased rows


def erased(company: Company, *numbers: int, is_certified: bool = True, **changes: Any) -> ReplayResult:
    """What is found after those rows were erased."""
    body = company.body() | {"rows_erased": True} | changes
    body["rows"] = [row for number, row in enumerate(body["rows"]) if number not in numbers]
    facts = replace(company.facts(), certified=frozenset({COMPANY} if is_certified else ()))
    return replay(replay_file.parse(canonical_json.encode(body)), facts)


def test_a_certified_erasure_leaves_a_replay_in_part(plan: CampaignPlan, rows: list[TrainingRow]) -> None:
    """Rounds with the row cannot be computed again, later ones come out; that is no finding."""
    company = withdrawn(plan, rows)
    company.train()
    result = erased(company, 3)
    assert (result.findings, result.rounds, result.is_partial) == ((), 2, True)
    assert result.agreement is not Agreement.NONE
    everything = erased(company, *range(ROWS))
    assert (everything.findings, everything.rounds, everything.is_partial) == ((), 0, True)


@pytest.mark.parametrize("case", ["not certified", "not said", "nothing missing"])
def test_missing_rows_need_a_certificate_and_a_word(
    plan: CampaignPlan, rows: list[TrainingRow], case: str
) -> None:
    """Otherwise rows that are not those committed to are what they always were."""
    company = withdrawn(plan, rows)
    company.train()
    if case == "nothing missing":
        result = erased(company)
        assert (result.findings, result.rounds, result.is_partial) == ((), 3, False)
        return
    changes = {"rows_erased": False} if case == "not said" else {}
    result = erased(company, 3, is_certified=case != "not certified", **changes)
    assert codes(result) == {ReplayCode.ROWS_NOT_COMMITTED, ReplayCode.UPDATE_NOT_RECOMPUTED}
    assert result.is_partial is False


def test_in_part_the_noise_is_still_checked(plan: CampaignPlan, rows: list[TrainingRow]) -> None:
    """No row has anything at the sentinels: without noise there a campaign is not replayed, erased or not."""

    class Noiseless(Company):
        def update(self, weights, number):
            update = super().update(weights, number)
            update[-SENTINELS:] = 0
            return update

    company = withdrawn(plan, rows, Noiseless)
    company.train()
    assert codes(erased(company, 3)) == {ReplayCode.SENTINELS_NOT_THE_NOISE}


# The file


def a_round(**changes: Any) -> dict[str, Any]:
    """A well-formed round but for the changes."""
    made = {"round": 1, "survivors": [], "gradient": [0] * 5, "update": [], **shown(listed())}
    return made | changes


def test_the_rounds_that_are_broken_here_are_otherwise_sound(honest: Company) -> None:
    replay_file.parse(canonical_json.encode({**honest.body(), "rounds": [a_round()]}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "noren/v2/replay"),
        ("campaign", "Spring"),
        ("seed", "00"),
        ("seed", None),
        ("row_salt", "g" * 64),
        ("commitment_key", 7),
        ("cohort", ["b", "a"]),
        ("cohort", "company-1"),
        ("dimensions", 0),
        ("dimensions", True),
        ("dimensions", 5),
        ("rows", {}),
        ("rows", [{"tag": "00" * 16, "row": [0, 0, 0, 2**15], "label": 0}]),
        ("rows", [{"tag": "00" * 15, "row": [0, 0, 0, 0], "label": 0}]),
        ("rows", [{"tag": "00" * 16, "row": [0, 0, 0, 0], "label": 2}]),
        ("rows", [{"tag": "00" * 16, "row": [0, 0, 0, 0]}]),
        ("rounds", [a_round(round=2)]),
        ("rounds", [a_round(gradient=[0] * 4)]),
        ("rounds", [a_round(update=[0] * 200)]),
        ("rounds", [a_round(revocations="0")]),
        ("rounds", [a_round(revocations="zz")]),
        ("rounds", [a_round(revocations="00" * ((1 << 20) + 1))]),
        ("rounds", [a_round(revocations_signature="")]),
        ("rounds", [a_round(revocations_signature="00" * 65)]),
        ("rounds", [a_round(consents_salt="00" * 31)]),
        ("rows_erased", 0),
    ],
)
def test_a_malformed_file_is_refused_without_its_values(honest: Company, field: str, value: Any) -> None:
    body = {**honest.body(), field: value}
    body = {name: item for name, item in body.items() if item is not None}
    with pytest.raises(DataError) as caught:
        replay_file.parse(canonical_json.encode(body))
    assert SEED.hex() not in caught.value.message


def test_a_replay_file_is_never_shown(honest: Company) -> None:
    parsed = replay_file.parse(canonical_json.encode(honest.body()))
    for item in (parsed, parsed.rounds[0], parsed.rows[0]):
        assert "redacted" in repr(item) or repr(item).startswith("<noren_core.season.row_commitment")


# The verdict


@pytest.fixture
def auditor() -> SigningKey:
    return SigningKey.from_bytes(hashlib.sha256(b"auditor").digest())


def signed(honest: Company, auditor: SigningKey, result: ReplayResult) -> bytes:
    subject = ReplaySubject(
        campaign=honest.plan.campaign,
        company=COMPANY,
        plan_sha256=honest.plan.digest().hex(),
        checkpoint=Checkpoint("noren.example/ledger", 12, bytes(32)),
        sentinels_ok=True,
    )
    return replay_verdict.sign_verdict(subject, result, auditor, tool_version="1.2.3")


def test_a_verdict_says_what_was_found_and_nothing_of_the_rows(honest: Company, auditor: SigningKey) -> None:
    data = signed(honest, auditor, replayed(honest))
    fields = replay_verdict.parse_verdict(data, auditor.public_key)
    assert (fields["verdict"], fields["rounds_replayed"], fields["findings"]) == ("REPLAYED", 3, [])
    for secret in (SEED, SALT, KEY, honest.rows[0].tag):
        assert secret.hex().encode() not in data
    assert str(ROWS) not in {str(value) for value in fields.values()}


def test_a_verdict_in_part_says_so(plan: CampaignPlan, rows: list[TrainingRow], auditor: SigningKey) -> None:
    """Neither REPLAYED nor an accusation; with a finding it is NOT REPLAYED, whatever was erased."""
    company = withdrawn(plan, rows)
    company.train()
    result = erased(company, 3)
    fields = replay_verdict.parse_verdict(signed(company, auditor, result), auditor.public_key)
    assert (fields["verdict"], fields["rows_erased"]) == ("REPLAYED IN PART", True)
    found = replace(result, findings=(ReplayFinding(ReplayCode.TAG_REPEATED),))
    fields = replay_verdict.parse_verdict(signed(company, auditor, found), auditor.public_key)
    assert (fields["verdict"], fields["rows_erased"]) == ("NOT REPLAYED", True)


def test_a_verdict_of_a_cheat_does_not_tell_by_how_much(
    plan: CampaignPlan, rows: list[TrainingRow], auditor: SigningKey
) -> None:
    """The difference would be noise, or somebody's gradient."""
    company = NoNoise(plan, rows)
    company.train()
    fields = replay_verdict.parse_verdict(signed(company, auditor, replayed(company)), auditor.public_key)
    assert (fields["verdict"], fields["agreement"]) == ("NOT REPLAYED", "none")
    assert fields["largest_difference"] == 0


def test_a_verdict_is_the_auditors_or_none(honest: Company, auditor: SigningKey) -> None:
    data = signed(honest, auditor, replayed(honest))
    other = SigningKey.from_bytes(bytes(32))
    with pytest.raises(VerificationError):
        replay_verdict.parse_verdict(data, other.public_key)
    forged = canonical_json.parse_object(data)
    forged["auditor"] = other.public_key.hex()
    with pytest.raises(VerificationError):
        replay_verdict.parse_verdict(canonical_json.encode(forged), other.public_key)


def test_an_auditor_does_not_sign_for_another(honest: Company, auditor: SigningKey) -> None:
    """A verdict that names one auditor and is signed by another is neither's."""
    other = SigningKey.from_bytes(bytes(32))
    body = canonical_json.parse_object(signed(honest, auditor, replayed(honest)))
    del body["signature"]
    body["auditor"] = other.public_key.hex()
    signature = auditor.sign(b"noren/v1/replay-verdict", canonical_json.encode(body))
    data = canonical_json.encode({**body, "signature": signature.hex()})
    for key in (auditor, other):
        with pytest.raises(VerificationError):
            replay_verdict.parse_verdict(data, key.public_key)


def test_every_field_of_a_verdict_is_under_the_signature(honest: Company, auditor: SigningKey) -> None:
    """Whatever is changed, and still well formed or not, it does not verify."""
    fields = canonical_json.parse_object(signed(honest, auditor, replayed(honest)))
    changed: dict[str, Any] = {
        "agreement": "none",
        "auditor": "00" * 32,
        "campaign": "other",
        "company": "other",
        "findings": ["TAG_REPEATED"],
        "format": "x",
        "largest_difference": 7,
        "plan_sha256": "00" * 32,
        "ledger": {**fields["ledger"], "size": 13},
        "rounds_replayed": 2,
        "rows_erased": True,
        "sentinels_ok": False,
        "signature": "00" * 64,
        "tool_version": "2",
        "verdict": "NOT REPLAYED",
    }
    assert changed.keys() == fields.keys()
    for name, value in changed.items():
        with pytest.raises(NorenError):
            replay_verdict.parse_verdict(canonical_json.encode({**fields, name: value}), auditor.public_key)
