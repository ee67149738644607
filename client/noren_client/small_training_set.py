"""Telling a company, and nobody else, that its own rows are too few to be noticed in the head.

A warning changes nothing that is sent: such a company takes part like any other, and its noise protects the
others. Staying away would tell the platform how many rows it has.
"""

from __future__ import annotations

from pathlib import Path

from noren_client import alignment
from noren_client.applicants import TrainingSetError
from noren_core.privacy.small_samples import is_below_noise
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import round_event


def warning(plan: CampaignPlan, *, rows: int, positive: int) -> str | None:
    """What to tell a company with so many rows, of which so many have the outcome that is learnt; or None.

    No number is in it: who reads it over somebody's shoulder learns no count.
    """
    companies = len(plan.companies)

    def is_lost(records: int) -> bool:
        return is_below_noise(
            records, event=round_event(plan), rounds=plan.training.rounds, companies=companies
        )

    advice = "the cohort's head learns nothing of yours from them; you take part all the same"
    if is_lost(rows):
        return f"all your rows together are smaller than the noise of the sums: {advice}"
    if is_lost(min(positive, rows - positive)):
        return f"your rows of the rarer outcome are together smaller than the noise of the sums: {advice}"
    return None


def warning_of_file(company_dir: Path, plan: CampaignPlan) -> str | None:
    """The same before alignment, from the company's own file: at most so many rows will be opened.

    Raises:
        DataError: if the file is malformed.
    """
    if not (company_dir / alignment.APPLICANTS_FILE).exists():
        return None
    try:
        labels = alignment.training_labels(company_dir, plan).values()
    except TrainingSetError as error:
        return error.message
    return warning(plan, rows=len(labels), positive=sum(labels))
