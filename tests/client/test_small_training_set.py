"""Numbers that are too small: what a company refuses, and what it is told and nobody else."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from noren_client import alignment, small_training_set
from noren_client.config import Addresses, CompanyConfig, Limits, parse_pins
from noren_core.errors import BudgetExceededError, RemoteProtocolError
from noren_core.ledger.note import VerifierKey
from noren_core.season.plan import CampaignPlan

SETTINGS = CompanyConfig(
    "company-1",
    "job-site",
    Addresses("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
    parse_pins("ab" * 32, VerifierKey("job-site/ledger", bytes(32)).to_text(), "cd" * 32),
    Limits(minimum_cohort=2, max_delta=Fraction(1, 10**4)),
)


def changed(body: dict[str, Any], **training: Any) -> CampaignPlan:
    return CampaignPlan.from_body(body | {"training": body["training"] | training})


def cohort(body: dict[str, Any], count: int, **sizes: int) -> dict[str, Any]:
    return body | {"cohort": body["cohort"][:count], **sizes}


def test_rows_that_the_noise_swallows_are_warned_of(plan_body: dict[str, Any]) -> None:
    """σ = 8.5, three rounds, five companies of which four make the whole: 6 rows can be noticed, 5 cannot."""
    plan = CampaignPlan.from_body(plan_body)
    said = {
        (rows, positive): small_training_set.warning(plan, rows=rows, positive=positive)
        for rows, positive in ((0, 0), (5, 3), (6, 3), (11, 5), (12, 6), (40, 5), (40, 35), (40, 34))
    }
    assert all("all your rows" in str(said[case]) for case in ((0, 0), (5, 3)))
    assert all("rarer" in str(said[case]) for case in ((6, 3), (11, 5), (40, 5), (40, 35)))
    assert said[12, 6] is said[40, 34] is None


def test_a_warning_has_no_number_in_it(plan_body: dict[str, Any]) -> None:
    """Whoever reads it over somebody's shoulder learns no count."""
    plan = CampaignPlan.from_body(plan_body)
    for rows, positive in ((3, 1), (40, 2)):
        warning = small_training_set.warning(plan, rows=rows, positive=positive)
        assert warning is not None
        assert not any(character.isdigit() for character in warning)


def test_the_company_is_told_from_its_own_file(tmp_path: Path, plan_body: dict[str, Any]) -> None:
    """At acceptance, before anything is aligned: no file, nothing to learn from, too few, and enough."""
    plan = CampaignPlan.from_body(plan_body)
    assert small_training_set.warning_of_file(tmp_path, plan) is None
    for count, expected in ((1, "one"), (4, "all your rows"), (30, None)):
        lines = [
            f"2025,engineer,consent-code,CODE-{n},offer,{('accepted', 'declined')[n % 2]}"
            for n in range(count)
        ]
        header = "season,position,identifier_kind,identifier,decision,outcome"
        (tmp_path / alignment.APPLICANTS_FILE).write_text("\n".join([header, *lines]) + "\n")
        warning = small_training_set.warning_of_file(tmp_path, plan)
        assert warning is None if expected is None else expected in str(warning)


def test_noise_that_few_share_is_refused(plan_body: dict[str, Any]) -> None:
    """Distributed among two companies, or with one honest share left; local noise is taken in both cases."""
    two = cohort(plan_body, 2, threshold=2, minimum_cohort=2)
    four = cohort(plan_body, 4, threshold=3, minimum_cohort=3)
    for body, tolerated in ((two, 0), (four, 2)):
        with pytest.raises(RemoteProtocolError, match="local noise") as refused:
            alignment._check_limits(changed(body, tolerated=tolerated), SETTINGS)
        assert refused.value.code == "PLAN_MISMATCH"
        alignment._check_limits(changed(body, placement="local", tolerated=0), SETTINGS)
    alignment._check_limits(changed(four, tolerated=1), SETTINGS)


@pytest.mark.parametrize(("padded", "is_taken"), [(512, True), (1000, True), (1024, False), (65_535, False)])
@pytest.mark.parametrize("part", ["training", "rows"])
def test_a_delta_near_one_over_our_size_is_refused(
    plan_body: dict[str, Any], part: str, padded: int, is_taken: bool
) -> None:
    """δ = 10⁻⁴, which our limits would allow, is refused from a batch of a thousand on."""
    plan_body[part]["delta"] = "0.0001"
    plan_body["cohort"][0] |= {"padded_batch": padded, "evaluations": 2 * padded}
    plan = CampaignPlan.from_body(plan_body)
    if is_taken:
        alignment._check_limits(plan, SETTINGS)
    else:
        with pytest.raises(BudgetExceededError, match="whole record"):
            alignment._check_limits(plan, SETTINGS)
