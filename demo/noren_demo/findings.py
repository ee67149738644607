"""What a season's summary says, before it is laid out: comparisons, groups and the sentences on top.

The console tables and the page both read these, so that they cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from noren_core.season.plan import TrainingMode
from noren_demo.summary import ModelResult, ProcessUse, SeasonSummary, TaskResult, Traffic

FEDERATED = "federated"
LABEL_FREE = ("label-free", "index")


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The processes of one name at one party, or of one name at all companies."""

    party: str
    process: str
    count: int
    peak_rss_mb: float
    peak_pss_mb: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class TrafficTotals:
    """Traffic over all companies."""

    companies: int
    median_sent: float
    median_received: float
    total_sent: int
    total_received: int


def is_federated(result: ModelResult) -> bool:
    """Whether this row is what the season computed."""
    return result.model.lower().startswith(FEDERATED)


def is_label_free(result: ModelResult) -> bool:
    """Whether this row is the index that has seen no outcome, which the result must beat."""
    return any(word in result.model.lower() for word in LABEL_FREE)


def federated(task: TaskResult) -> ModelResult | None:
    """The season's own row, if it has one."""
    return next(filter(is_federated, task.models), None)


def row_release(task: TaskResult) -> str:
    """What companies got of the platform's rows."""
    if task.training_mode == TrainingMode.SEALED_STATISTICS:
        return "noisy sums of training rows"
    return "noised training rows"


def label_free(task: TaskResult) -> ModelResult | None:
    """The label-free row, if it has one."""
    return next(filter(is_label_free, task.models), None)


def gain_over_index(task: TaskResult) -> float:
    """AUC of the federated result minus that of the label-free index; NaN if either is missing."""
    ours, index = federated(task), label_free(task)
    return ours.auc - index.auc if ours and index else math.nan


def size_buckets(task: TaskResult) -> tuple[str, ...]:
    """Every size bucket of the task's models, in the order in which they first appear."""
    return tuple(dict.fromkeys(bucket for result in task.models for bucket in result.by_size))


def auc_in(result: ModelResult, bucket: str) -> float:
    """The AUC of one model in one size bucket; NaN if that was not measured."""
    return result.by_size.get(bucket, math.nan)


def company_names(summary: SeasonSummary) -> frozenset[str]:
    """The parties that are companies."""
    return frozenset(traffic.company for traffic in summary.traffic)


def process_groups(summary: SeasonSummary) -> tuple[ProcessGroup, ...]:
    """Processes by name: each other party for itself, all companies together as "each company".

    Memory is the largest seen in the group, CPU seconds are the sum.
    """
    companies = company_names(summary)
    groups: dict[tuple[str, str], list[ProcessUse]] = {}
    for use in summary.processes:
        party = "each company" if use.party in companies else use.party
        groups.setdefault((party, use.process), []).append(use)
    return tuple(
        ProcessGroup(
            party,
            process,
            len(uses),
            max(use.peak_rss_mb for use in uses),
            max(use.peak_pss_mb for use in uses),
            sum(use.cpu_seconds for use in uses),
        )
        for (party, process), uses in groups.items()
    )


def largest_company_pss_mb(summary: SeasonSummary) -> float | None:
    """What the processes of one company used together at most, for the company where it is largest."""
    companies = company_names(summary)
    return max((use.peak_pss_mb for use in summary.parties if use.party in companies), default=None)


def traffic_totals(traffic: Iterable[Traffic]) -> TrafficTotals | None:
    """Totals and medians over the companies; None without any."""
    rows = tuple(traffic)
    if not rows:
        return None
    return TrafficTotals(
        companies=len(rows),
        median_sent=median(row.sent for row in rows),
        median_received=median(row.received for row in rows),
        total_sent=sum(row.sent for row in rows),
        total_received=sum(row.received for row in rows),
    )


def is_verified(summary: SeasonSummary) -> bool:
    """Whether the auditor accepted the ledger and refused the changed copy."""
    verification = summary.verification
    return verification.verdict == "VERIFIED" and verification.tampered_verdict == "NOT VERIFIED"


def english_summary(summary: SeasonSummary) -> tuple[str, ...]:
    """Three sentences: what happened, how to read an AUC here, what the privacy numbers are."""
    models = counted(len(summary.tasks), "model was", "models were")
    scores = counted(sum(task.scored for task in summary.tasks), "sealed score", "sealed scores")
    found = summary.verification
    happened = (
        f"One season was run on {summary.data} ({summary.mode}): {models} trained on past outcomes and "
        f"{scores} of consenting applicants opened; behaviour logs did not leave the job site, outcomes did "
        "not leave the companies, and no party alone could compute a score."
    )
    ranking = (
        "AUC is the chance that somebody with the outcome is ranked above somebody without it (0.5 is a coin "
        "toss); compare the federated result with the label-free index, which has seen no outcome at all, "
        "because only the difference between the two was learnt from outcomes."
    )
    privacy = (
        "ε bounds how much one person's record can change what is released, smaller is stronger; the head "
        "and what companies got of the rows are two releases with two numbers. The auditor's program read "
        f"{counted(found.entries, 'ledger entry', 'ledger entries')} with public keys alone and said "
        f"{found.verdict}; on a copy with one byte changed it said {found.tampered_verdict}."
    )
    return happened, ranking, privacy


def japanese_summary(summary: SeasonSummary) -> str:
    """The same in one Japanese paragraph."""
    scored = sum(task.scored for task in summary.tasks)
    found = summary.verification
    return (
        f"求人サイトと企業が1シーズンを通して実行し、同意した応募者の封印されたスコアを{scored:,}件開封しました。"
        "行動ログは求人サイトの外へ、結果データは各企業の外へ出ておらず、単独でスコアを計算できる当事者はいません。"
        "AUC は「該当する人が該当しない人より上位に並ぶ確率」で、0.5 は偶然と同じです。"
        "結果データを一切使わない指標(label-free)との差だけが、結果から学べた分です。"
        "ε は一人の記録が公開物に与えうる影響の上限で、小さいほど強い保護を表します。"
        "モデルの ε と、雑音を加えた学習行の ε は別々の公開に対する数値であり、合算していません。"
        f"監査プログラムは公開鍵だけで台帳の{found.entries:,}件を検査し、判定は「{found.verdict}」、"
        f"1バイト改変した写しに対する判定は「{found.tampered_verdict}」でした。"
    )


def counted(number: int, singular: str, plural: str) -> str:
    """A number with its noun."""
    return f"{number:,} {singular if number == 1 else plural}"


def byte_text(count: float) -> str:
    """A number of bytes in kB or MB (powers of ten)."""
    if count < 1000:
        return f"{count:.0f} B"
    if count < 1e6:
        return f"{count / 1e3:.1f} kB"
    return f"{count / 1e6:.1f} MB"


def signed_text(difference: float) -> str:
    """A difference of two AUCs with its sign; a dash where there is no number."""
    return f"{difference:+.3f}".replace("-", "−") if math.isfinite(difference) else "–"
