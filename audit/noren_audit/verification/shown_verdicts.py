"""Verdicts of replays, shown beside a ledger: which companies' rounds were computed again, and by whom.

A replay happens on a company's machine; what leaves it is a verdict that an auditor signed. It counts here
if the trust file names that auditor's key, and if it is about this ledger, its plan and a company of the
cohort.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from noren_audit.verification.campaign import CampaignAudit
from noren_audit.verification.commitments import LedgerView
from noren_audit.verification.findings import Code, Findings
from noren_core.errors import DataError, VerificationError

MAX_VERDICTS = 10_000


@dataclass(frozen=True, slots=True)
class ShownReplay:
    """One replay that counts.

    Attributes:
        is_replayed: whether everything was as the company had said.
        rows_erased: whether rows were missing, by a certified deletion, and nothing else was found.
        rounds: how many were computed again.
        largest_difference: in grid units, between its updates and the recomputed ones.
        auditor: the public key that signed, in hex.
    """

    campaign: str
    company: str
    is_replayed: bool
    rounds: int
    largest_difference: int
    auditor: str
    rows_erased: bool = False


def judge_verdicts(
    verdicts: Sequence[bytes], campaigns: Iterable[CampaignAudit], view: LedgerView, findings: Findings
) -> tuple[ShownReplay, ...]:
    """The replays that count, in the order given; what does not count, or failed, becomes a finding.

    1. An auditor of the trust file signed it.
    2. It is about this ledger: origin and root are those of the first entries here.
    3. It is about a campaign of this ledger, under its plan, and a company of the cohort.
    4. The replay found nothing.
    """
    from noren_audit.replay.replay_verdict import IN_PART, REPLAYED

    known = {campaign.plan.campaign: campaign for campaign in campaigns}
    shown = []
    for number, data in enumerate(verdicts, start=1):
        try:
            fields = _opened(data, view.trust.auditor_keys)  # 1
            _verify_place(fields, view)  # 2
            _verify_subject(fields, known)  # 3
        except (DataError, VerificationError) as error:
            findings.add(Code.VERDICT_UNUSABLE, error.message, verdict=number)
            continue
        item = ShownReplay(
            campaign=fields["campaign"],
            company=fields["company"],
            is_replayed=fields["verdict"] == REPLAYED,
            rounds=fields["rounds_replayed"],
            largest_difference=fields["largest_difference"],
            auditor=fields["auditor"],
            rows_erased=fields["verdict"] == IN_PART,
        )
        shown.append(item)
        if fields["findings"]:  # 4
            findings.add(
                Code.REPLAY_FAILED,
                "expected a replay that finds what the company had said, got another result",
                campaign=item.campaign,
                company=item.company,
                found=fields["findings"],
                verdict=number,
            )
    return tuple(shown)


def read_verdicts(directory: Path) -> list[bytes]:
    """Every file of the directory in the order of names, without the newline at its end.

    Raises:
        DataError: if there are more than 10,000, or one cannot be read.
    """
    from noren_audit.replay.replay_verdict import MAX_VERDICT_BYTES

    paths = list(islice(directory.iterdir(), MAX_VERDICTS + 1))
    if len(paths) > MAX_VERDICTS:
        raise DataError(f"verdicts: expected at most {MAX_VERDICTS} files, got more")
    found = []
    for path in sorted(paths):
        if not path.is_file():  # a pipe would never end
            raise DataError(f"{path.name!a}: expected a regular file, got something else")
        try:
            with path.open("rb") as file:
                found.append(file.read(MAX_VERDICT_BYTES + 2).removesuffix(b"\n"))
        except OSError as error:
            raise DataError(f"{path.name!a}: expected a readable file, got {error.strerror}") from error
    return found


def _opened(data: bytes, auditor_keys: Sequence[bytes]) -> dict[str, Any]:
    from noren_audit.replay.replay_verdict import parse_verdict

    for key in auditor_keys:
        try:
            return parse_verdict(data, key)
        except VerificationError:
            continue
    raise VerificationError("verdict: expected the signature of an auditor of the trust file, got none")


def _verify_place(fields: dict[str, Any], view: LedgerView) -> None:
    ledger = fields["ledger"]
    if ledger["origin"] != view.trust.origin:
        raise VerificationError("verdict: expected one about this ledger, got another origin")
    if ledger["size"] > view.tree.size:
        raise VerificationError("verdict: expected a bundle of at least as many entries as it is about")
    if ledger["root"] != view.tree.root(ledger["size"]).hex():
        raise VerificationError("verdict: expected one about these entries, got another root")


def _verify_subject(fields: dict[str, Any], known: dict[str, CampaignAudit]) -> None:
    campaign = known.get(fields["campaign"])
    if campaign is None or campaign.plan.digest().hex() != fields["plan_sha256"]:
        raise VerificationError("verdict: expected a campaign of this ledger under its plan, got another")
    if fields["company"] not in campaign.plan.companies:
        raise VerificationError("verdict: expected a company of the cohort, got another")
