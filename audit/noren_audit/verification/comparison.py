"""What changed between two bundles of one ledger, for whoever verified the earlier one before.

Promises: both are verified with the same trust, and the later one against the earlier one's checkpoint: if it
does not begin with what was there before, that is a finding of the later one (SPLIT_VIEW, or SEEN_UNUSABLE if
it is the shorter of the two), and nothing else is worth reading. The rest is the difference of two verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noren_audit.verification.budget import rounded_up
from noren_audit.verification.findings import Code, Finding
from noren_audit.verification.seen_checkpoints import read_seen
from noren_audit.verification.trust import Trust
from noren_audit.verification.verify import Verdict, verify_bundle
from noren_core.ledger.tiles import CHECKPOINT_PATH

_NOT_THE_SAME = frozenset({Code.SPLIT_VIEW, Code.SEEN_UNUSABLE})


@dataclass(frozen=True, slots=True)
class Change:
    """An epsilon that is another one now; None where there was, or is, none."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two verdicts.

    Attributes:
        old: of the earlier bundle.
        new: of the later one, in which the earlier one's checkpoint was looked for.
    """

    old: Verdict
    new: Verdict

    @property
    def extends(self) -> bool:
        """Whether the later bundle begins with the earlier one, as far as its checkpoint shows."""
        return self.old.checkpoint is not None and not any(
            finding.code in _NOT_THE_SAME for finding in self.new.findings
        )

    @property
    def campaigns(self) -> tuple[str, ...]:
        """Those that are new, in the ledger's order."""
        before = {campaign.plan.campaign for campaign in self.old.campaigns}
        names = (campaign.plan.campaign for campaign in self.new.campaigns)
        return tuple(name for name in names if name not in before)

    def findings(self) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
        """Those that came, and those that are gone."""
        old, new = ({_key(item): item for item in v.findings} for v in (self.old, self.new))
        came = tuple(item for key, item in new.items() if key not in old)
        return came, tuple(item for key, item in old.items() if key not in new)

    def spending(self) -> tuple[Change, ...]:
        """Epsilon of each company in each campaign, and of one person in all of them, where it changed."""
        old, new = _epsilons(self.old), _epsilons(self.new)
        names = dict.fromkeys((*old, *new))
        changes = (Change(name, old.get(name), new.get(name)) for name in names)
        return tuple(change for change in changes if change.old != change.new)


def compare(old: Path, new: Path, trust: Trust) -> Comparison:
    """Verify both, the later one with the earlier one's checkpoint.

    Raises:
        DataError: if the earlier one has no checkpoint to read.
    """
    seen = read_seen([old / CHECKPOINT_PATH])
    return Comparison(verify_bundle(old, trust), verify_bundle(new, trust, seen))


def to_fields(found: Comparison) -> dict[str, Any]:
    """The whole comparison, for JSON."""
    came, gone = found.findings()
    return {
        "verdict": found.new.word,
        "verdict_before": found.old.word,
        "extends": found.extends,
        "entries_before": found.old.entries,
        "entries": found.new.entries,
        "campaigns_added": list(found.campaigns),
        "findings_added": [_finding(item) for item in came],
        "findings_gone": [_finding(item) for item in gone],
        "spending": [{"of": item.name, "before": item.old, "now": item.new} for item in found.spending()],
    }


def lines(found: Comparison) -> list[str]:
    """The comparison for people."""
    begins = "begins with the earlier bundle" if found.extends else "DOES NOT begin with the earlier bundle"
    came, gone = found.findings()
    return [
        f"{found.new.word} (before: {found.old.word})",
        f"the later bundle {begins}",
        f"entries: {found.old.entries} before, {found.new.entries} now",
        *(f"new campaign: {name}" for name in found.campaigns),
        *(f"new finding: {_line(item)}" for item in came),
        *(f"finding gone: {_line(item)}" for item in gone),
        *(f"epsilon of {c.name}: {c.old or 'none'} before, {c.new or 'none'} now" for c in found.spending()),
    ]


def _key(finding: Finding) -> tuple[object, ...]:
    return finding.code, finding.index, finding.message


def _epsilons(verdict: Verdict) -> Mapping[str, str]:
    rounds = {f"{item.company} in {item.campaign}": rounded_up(item.epsilon) for item in verdict.rounds}
    persons = {
        f"a person {'in all' if item.season is None else f'in {item.season}'}": rounded_up(item.epsilons[-1])
        for item in verdict.persons
        if item.epsilons
    }
    return {**rounds, **persons}


def _finding(finding: Finding) -> dict[str, Any]:
    return {"code": finding.code.value, "entry": finding.index, "message": finding.message}


def _line(finding: Finding) -> str:
    where = "" if finding.index is None else f" (entry {finding.index})"
    return f"{finding.code.value}{where}: {finding.message}"
