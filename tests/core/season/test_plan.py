import numpy as np
import pytest

from noren_core import canonical_json
from noren_core.crypto import head_encryption
from noren_core.errors import DataError, LocalProtocolError
from noren_core.ledger.proofs import EntryProof, LedgerProof
from noren_core.season import messages as m
from noren_core.season import plan as plan_module
from noren_core.season.head_message import head_layout
from noren_core.season.plan import CampaignPlan, TrainingMode
from noren_core.season.round_consents import RoundConsents
from noren_core.secagg.messages import Advertisement


def test_a_plan_survives_the_ledger(plan_body):
    """Parsing and writing a plan gives the same bytes, so its hash is the hash of what was agreed."""
    plan = CampaignPlan.from_body(plan_body)
    assert canonical_json.encode(plan.to_body()) == canonical_json.encode(plan_body)
    assert plan.digest() == CampaignPlan.from_body(plan.to_body()).digest()


def test_every_field_changes_the_digest(plan_body):
    """No field of the training part can vary without changing what the companies sign."""
    honest = CampaignPlan.from_body(plan_body).digest()
    for field, value in {
        "noise_multiplier": "8.4",
        "clipping_norm": "2.1",
        "rounds": 2,
        "delta": "0.00001",
    }.items():
        changed = plan_body | {"training": plan_body["training"] | {field: value}}
        assert CampaignPlan.from_body(changed).digest() != honest


@pytest.mark.parametrize(
    ("path", "value", "names"),
    [
        (("threshold",), 3, "plan.threshold"),  # not more than two thirds of five
        (("minimum_cohort",), 3, "plan.minimum_cohort"),  # below the threshold
        (("training", "noise_multiplier"), "0.1", "noise_multiplier"),
        (("training", "noise_multiplier"), 8.5, "noise_multiplier"),  # a float
        (("training", "noise_multiplier"), "8.50", "noise_multiplier"),  # a second spelling
        (("training", "sampling"), {"num": 1, "den": 2}, "sampling"),
        (("training", "placement"), "nowhere", "placement"),
        (("training", "tolerated"), 4, "tolerated"),
        (("training", "rounds"), 0, "rounds"),
        (("training", "average_from"), 4, "average_from"),
        (("rows", "dimensions"), 0, "dimensions"),
        (("scoring", "band_edges"), ["0.4", "0.2"], "band_edges"),
        (("scoring", "weight_bits"), 9, "weight_bits"),
        (("scoring", "heads"), 9, "heads"),
        (("scoring", "heads"), 4, "fewer heads than dimensions"),  # four would read all of four features
        (("bundle_sha256",), "AB" * 32, "bundle_sha256"),
        (("unit",), "company", "unit"),
        (("campaign",), "Spring 2026", "campaign"),
        (("task",), {"name": "x", "positive": ["a"], "negative": ["a"], "excluded": []}, "task"),
    ],
)
def test_a_plan_out_of_bounds_is_refused_by_name(plan_body, path, value, names):
    """Each bad field is refused with an error that names it."""
    target = plan_body
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(DataError, match=names):
        CampaignPlan.from_body(plan_body)


def test_unknown_and_missing_fields_are_refused(plan_body):
    """A plan says exactly what it says: nothing more is carried along, nothing is assumed."""
    with pytest.raises(DataError, match="no further fields"):
        CampaignPlan.from_body(plan_body | {"hint": 1})
    del plan_body["rows"]["scale"]
    with pytest.raises(DataError, match=r"plan\.rows\.scale"):
        CampaignPlan.from_body(plan_body)


def test_companies_come_sorted_and_once(plan_body):
    """The cohort has one order, so that every party numbers it alike."""
    plan_body["cohort"].reverse()
    with pytest.raises(DataError, match="sorted"):
        CampaignPlan.from_body(plan_body)


def test_every_plan_has_a_layout_for_its_heads(plan_body):
    """A plan allows exactly the dimensions, heads and widths that a message of heads can have."""
    assert head_encryption.MAX_DIMENSIONS == plan_module.MAX_DIMENSIONS
    assert head_encryption.MAX_HEADS == plan_module.MAX_HEADS
    widest = plan_body | {
        "rows": plan_body["rows"] | {"dimensions": 128},
        "training": plan_body["training"] | {"prior": [0] * 129},
        "scoring": plan_body["scoring"] | {"heads": 8, "weight_bits": 12},
    }
    layout = head_layout(CampaignPlan.from_body(widest))
    assert (layout.dimensions, layout.heads, layout.weight_bits) == (128, 8, 12)


def with_size(body, companies, rounds):
    names = [f"{number:03}-{'x' * 36}" for number in range(companies)]  # names as long as any
    cohort = [{"company": name, "padded_batch": 64, "evaluations": 128} for name in names]
    sizes = {"minimum_cohort": companies, "threshold": companies}
    return (
        body | sizes | {"cohort": cohort, "training": body["training"] | {"rounds": rounds, "tolerated": 0}}
    )


@pytest.mark.parametrize(("companies", "rounds"), [(200, 27), (57, 100)])
def test_the_largest_plan_fits_its_messages(plan_body, companies, rounds):
    """One round more is refused when the plan is made; what is allowed fits set-up, with a revocation list of
    4,096 tags, and a whole campaign's aggregates beside it for a company that missed them all."""
    with pytest.raises(DataError, match=r"fewer companies or rounds|rounds: expected"):
        CampaignPlan.from_body(with_size(plan_body, companies, rounds + 1))
    plan = CampaignPlan.from_body(with_size(plan_body, companies, rounds))
    advertisement = Advertisement(
        bytes(32), (bytes(32),) * rounds, (bytes(32),) * rounds, bytes(32), bytes(64)
    )
    all_of_them = dict.fromkeys(plan.companies, advertisement)
    sealed = dict.fromkeys(plan.companies, bytes(32 + rounds * 2 * 66 + 16))
    path = (bytes(32),) * 64
    shown = tuple(EntryProof(2**60, bytes(size), path) for size in (1024, 9 << 10, 2048))  # the beacon's note
    proof = LedgerProof(bytes(8 << 10), path, shown)
    listed = RoundConsents(bytes(24 + 16 * 4096), bytes(64), bytes(32))
    signatures = dict.fromkeys(plan.companies, bytes(64))
    values = np.zeros(plan.vector_length, np.int64)
    every = tuple(m.Aggregate(number, plan.companies, values) for number in range(1, rounds + 1))
    for size in (
        len(m.encode_request(m.ShareRequest(plan.campaign, all_of_them))),
        len(m._encode_answer(m.Answer(m.ShareReply(sealed, bytes(4096)), 0))),
        len(m.encode_request(m.MaskedInputRequest(plan.campaign, 1, proof, sealed, (), listed))),
        len(m.encode_request(m.FinishRequest(plan.campaign, every, sealed, signatures))),
    ):
        assert size < plan_module.MAX_MESSAGE_BYTES


def test_a_plan_of_sealed_statistics_round_trips(statistics_plan_body):
    """It has sums in place of rows, and one length for a head in both modes."""
    plan = CampaignPlan.from_body(statistics_plan_body)
    assert plan.to_body() == statistics_plan_body
    assert plan.mode is TrainingMode.SEALED_STATISTICS
    assert (plan.head_length, plan.training_payload_bytes) == (5, 1)
    assert plan.release is plan.statistics
    assert (plan.statistics.label_sensitivity, plan.statistics.sensitivity) == (7 * 127, 14 * 127)
    with pytest.raises(LocalProtocolError):
        _ = plan.rows


def test_noised_rows_have_no_statistics(plan_body):
    plan = CampaignPlan.from_body(plan_body)
    assert plan.mode is TrainingMode.NOISED_ROWS
    assert (plan.training_payload_bytes, plan.release) == (8, plan.rows)
    with pytest.raises(LocalProtocolError):
        _ = plan.statistics


@pytest.mark.parametrize(
    ("part", "change", "names"),
    [
        ("training", {"rounds": 2}, "one round"),
        ("training", {"weight_decay": "0.1"}, "one round"),
        ("training", {"clipping_norm": "0.868"}, "clipping_norm"),  # less noise than a record needs
        ("training", {"grid": 2048}, "clipping_norm"),
        ("statistics", {"positive": 8}, "clipping_norm"),
        ("statistics", {"negative": 0}, "negative"),
        ("statistics", {"positive": 128}, "positive"),
        ("statistics", {"scale": 512}, "no further fields"),
    ],
)
def test_sealed_statistics_out_of_bounds_are_refused(statistics_plan_body, part, change, names):
    """The training part does what one exchange of sums allows, and no more."""
    statistics_plan_body[part] |= change
    with pytest.raises(DataError, match=names):
        CampaignPlan.from_body(statistics_plan_body)


def test_a_plan_has_the_release_of_its_mode_alone(plan_body, statistics_plan_body):
    """One of rows and statistics, and a mode that there is."""
    for body in (
        plan_body | {"mode": "sealed-statistics"},
        plan_body | {"statistics": statistics_plan_body["statistics"]},
        plan_body | {"mode": "both"},
        {name: value for name, value in plan_body.items() if name != "mode"},
    ):
        with pytest.raises(DataError):
            CampaignPlan.from_body(body)


def test_sums_that_could_not_be_opened_are_refused(statistics_plan_body):
    """So many applicants with so large a weight that a sum may be beyond 2^27."""
    statistics_plan_body["statistics"] |= {"negative": 127, "positive": 127}
    statistics_plan_body["training"]["clipping_norm"] = "15.7509765625"
    CampaignPlan.from_body(statistics_plan_body)
    statistics_plan_body["cohort"][0]["padded_batch"] = 2**14
    with pytest.raises(DataError, match="sums"):
        CampaignPlan.from_body(statistics_plan_body)
