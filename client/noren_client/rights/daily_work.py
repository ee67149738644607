"""What a company owes students and the platform from day to day: answers, and erasure orders carried out.

Promises: what is done is the same whether a command, a timer or a page asks for it; questions of students are
answered before anything is deleted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from noren_client import campaign_files
from noren_client.rights import erasure
from noren_client.rights.custody import CustodyStore
from noren_client.rights.disclosure_answers import DisclosureAnswers
from noren_client.rights.transport import RightsClient
from noren_client.transport import PlatformClient


def answer_students(company_dir: Path, campaign: str, *, now: int) -> None:
    """Answer what students ask about a campaign, and tell them who looked; raises as `DisclosureAnswers`."""
    plan = campaign_files.load_plan(company_dir, campaign)
    with RightsClient(company_dir) as transport, CustodyStore(company_dir) as custody:
        answers = DisclosureAnswers(company_dir, plan, transport=transport, custody=custody)
        try:
            answers.answer(now=now)
        finally:
            answers.tell_accesses(now=now)


def carry_out_orders(
    company_dir: Path, campaigns: Sequence[str], *, also: Sequence[Path] = ()
) -> tuple[str, ...]:
    """Carry out every erasure order of these campaigns, search, certify; the campaigns that had one.

    Args:
        company_dir: the company's directory.
        campaigns: accepted ones.
        also: further directories to search, such as one of logs.

    Raises:
        NorenError: as `erasure.erase`.
    """
    with RightsClient(company_dir) as rights:
        tools = erasure.Erasure(
            rights=rights,
            platform=lambda: PlatformClient(company_dir),
            disclose=lambda name: _disclose(company_dir, name, rights),
            clock=time.time,
            places=(Path(tempfile.gettempdir()), *also),
        )
        return tuple(name for name in campaigns if erasure.erase(company_dir, name, tools))


def _disclose(company_dir: Path, campaign: str, rights: RightsClient) -> bool:
    """Answer what students ask; whether nothing is open any more."""
    plan = campaign_files.load_plan(company_dir, campaign)
    with CustodyStore(company_dir) as custody:
        answers = DisclosureAnswers(company_dir, plan, transport=rights, custody=custody)
        return answers.answer(now=int(time.time()))
