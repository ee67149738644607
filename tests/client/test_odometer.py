import multiprocessing

import pytest

from noren_client.odometer import Odometer
from noren_core.crypto.identity import SigningKey
from noren_core.errors import BudgetExceededError, NorenError, VerificationError
from noren_core.season.plan import CampaignPlan


@pytest.fixture
def plan(plan_body):
    return CampaignPlan.from_body(plan_body)


@pytest.fixture
def key():
    return SigningKey.generate()


def test_rounds_are_spent_once_in_order_and_up_to_the_plan(tmp_path, plan, key):
    """No round twice, none skipped, none beyond the plan, also for a process that starts anew."""
    path = tmp_path / "odometer.jsonl"
    hashes = {Odometer(path, key).reserve(plan, number).previous for number in (1, 2, 3)}
    assert len(hashes) == 3
    for number in (1, 3, 4, 5):
        with pytest.raises(BudgetExceededError):
            Odometer(path, key).reserve(plan, number)
    assert Odometer(path, key).rounds_reserved(plan.campaign) == 3
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_gap_is_refused(tmp_path, plan, key):
    """Round 2 cannot come before round 1."""
    with pytest.raises(BudgetExceededError, match="round 1"):
        Odometer(tmp_path / "o", key).reserve(plan, 2)


def test_another_plan_of_the_same_name_is_refused(tmp_path, plan, plan_body, key):
    """A platform cannot change the plan of a campaign that was begun."""
    odometer = Odometer(tmp_path / "o", key)
    odometer.reserve(plan, 1)
    plan_body["training"]["noise_multiplier"] = "1"
    with pytest.raises(BudgetExceededError) as refusal:
        odometer.reserve(CampaignPlan.from_body(plan_body), 2)
    assert refusal.value.code == "PLAN_MISMATCH"


def test_a_torn_last_line_is_not_a_reservation(tmp_path, plan, key):
    """A line that was being written when the power went was never acknowledged; the round can be reserved."""
    path = tmp_path / "o"
    Odometer(path, key).reserve(plan, 1)
    whole = path.read_bytes()
    Odometer(path, key).reserve(plan, 2)
    path.write_bytes(path.read_bytes()[:-5])
    Odometer(path, key).reserve(plan, 2)
    assert path.read_bytes().startswith(whole)
    assert Odometer(path, key).rounds_reserved(plan.campaign) == 2


@pytest.mark.parametrize("place", [10, 100, -60])
def test_a_changed_byte_stops_everything(tmp_path, plan, key, place):
    """Whoever edits the file cannot buy rounds: the next reservation is refused."""
    path = tmp_path / "o"
    for number in (1, 2):
        Odometer(path, key).reserve(plan, number)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(VerificationError) as refusal:
        Odometer(path, key).reserve(plan, 3)
    assert refusal.value.code == "ACCOUNTANT_RESET"


def test_a_removed_line_stops_everything(tmp_path, plan, key):
    """Lines cannot be taken out of the middle."""
    path = tmp_path / "o"
    for number in (1, 2, 3):
        Odometer(path, key).reserve(plan, number)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(VerificationError):
        Odometer(path, key).rounds_reserved(plan.campaign)


def _reserve(path, raw, body, results):
    try:
        Odometer(path, SigningKey.from_bytes(raw)).reserve(CampaignPlan.from_body(body), 1)
        results.put("reserved")
    except NorenError as error:
        results.put(error.code)


def test_two_workers_cannot_spend_the_same_round(tmp_path, plan_body, key):
    """Of several processes that reserve round 1 at once, exactly one gets it."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    arguments = (tmp_path / "o", key.to_bytes(), plan_body, results)
    workers = [context.Process(target=_reserve, args=arguments) for _ in range(3)]
    for worker in workers:
        worker.start()
    outcomes = sorted(results.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    assert outcomes == ["BUDGET_EXCEEDED", "BUDGET_EXCEEDED", "reserved"]


def test_a_chain_goes_on_under_a_new_key_and_never_back(tmp_path, plan):
    """Lines of earlier keys stay good before the first of a later one; a stranger's never are."""
    old, new = SigningKey.generate(), SigningKey.generate()
    path = tmp_path / "o"
    Odometer(path, old).reserve(plan, 1)
    Odometer(path, new, earlier=[old.public_key]).reserve(plan, 2)
    assert Odometer(path, new, earlier=[old.public_key]).rounds_reserved(plan.campaign) == 2
    for key, earlier in ((new, []), (old, []), (old, [new.public_key])):
        with pytest.raises(VerificationError):
            Odometer(path, key, earlier=earlier).rounds_reserved(plan.campaign)
