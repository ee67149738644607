"""A certification in words and as JSON: what was caught, by which instrument, and how likely that was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from noren_audit.certification.cases import CLAIM_DELTA, CLAIM_ROUNDS
from noren_audit.certification.certify import FALSE_ALARM, LIMITS, Certification, CurveResult, Examined

CERTIFIED, NOT_CERTIFIED = "CERTIFIED", "NOT CERTIFIED"
_NOTHING_TO_SEE = "cannot show in releases"


def word(result: Certification) -> str:
    """The result in one word."""
    return CERTIFIED if result.is_certified else NOT_CERTIFIED


def lines(result: Certification) -> Iterator[str]:
    """For people."""
    client = result.client
    yield word(result)
    yield f"exact comparison: {_exact(client)} over {client.exact.releases} releases"
    for curve in client.curves:
        outcome = (
            "keeps the curve" if curve.caught_at is None else f"REJECTED at {curve.caught_at} runs per side"
        )
        yield f"claim epsilon {curve.claim.epsilon}: {outcome} ({curve.looks[-1].runs} runs per side)"
    yield f"an honest client is rejected with probability at most {FALSE_ALARM:g} in all"
    looks = ", ".join(map(str, result.looks))
    yield f"claims: delta {CLAIM_DELTA} over {CLAIM_ROUNDS} rounds; looks after {looks} runs per side"
    yield "\nmutants: runs per side at which the curve test caught them (power there, at best)"
    for mutant in result.mutants:
        told = ", ".join(_curve(result, mutant, curve) for curve in mutant.curves) or _NOTHING_TO_SEE
        caught = "caught" if mutant.is_caught else "NOT CAUGHT"
        yield f"  {mutant.name}: {caught}; exact comparison {_exact(mutant)}; {told}"
    yield "\nnot seen:"
    yield from (f"  {text}" for text in LIMITS)


def to_fields(result: Certification) -> dict[str, Any]:
    """For JSON; probabilities are decimal strings."""
    return {
        "verdict": word(result),
        "false_alarm": f"{FALSE_ALARM:g}",
        "looks": list(result.looks),
        "client": _fields(result, result.client),
        "mutants": [_fields(result, mutant) for mutant in result.mutants],
        "not_seen": list(LIMITS),
    }


def _fields(result: Certification, examined: Examined) -> dict[str, Any]:
    exact = examined.exact
    fields: dict[str, Any] = {
        "name": examined.name,
        "caught": examined.is_caught,
        "exact": exact.passes,
        "releases": exact.releases,
        "claims": [
            {
                "epsilon": curve.claim.epsilon,
                "runs": curve.looks[-1].runs,
                "rejected": curve.caught_at is not None,
                "p_value": f"{curve.looks[-1].p_value:.3g}",
                **_power(result, examined, curve),
            }
            for curve in examined.curves
        ],
    }
    if exact.largest_difference is not None:
        fields["largest_difference"] = exact.largest_difference
    return fields


def _power(result: Certification, examined: Examined, curve: CurveResult) -> dict[str, str]:
    if examined.mutant is None or examined.mutant.shift is None:
        return {}
    found = result.power(curve.claim, examined.mutant.shift, curve.looks[-1].runs)
    return {"power": f"{found:.3f}"}


def _curve(result: Certification, examined: Examined, curve: CurveResult) -> str:
    caught = "no" if curve.caught_at is None else str(curve.caught_at)
    power = _power(result, examined, curve).get("power", "-")
    return f"epsilon {curve.claim.epsilon}: {caught} ({power})"


def _exact(examined: Examined) -> str:
    difference = examined.exact.largest_difference
    if difference is None:
        return "differs"
    return "equal" if difference == 0 else f"equal within rounding, at most {difference} units"
