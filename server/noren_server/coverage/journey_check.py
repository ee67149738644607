"""The journey graph of a snapshot, checked against its screens as of the report's time."""

from __future__ import annotations

from typing import Any

from noren_core.errors import DataError
from noren_core.rights.coverage.coverage_report import JOURNEYS
from noren_core.rights.coverage.journey import MAX_JOURNEY_BYTES, Journey, check_journey
from noren_core.rights.purposes import Purpose
from noren_server.coverage.classification import Question
from noren_server.coverage.snapshot_files import Snapshot

_MISSING = {"checked": False, "dominated": False, "undominated": [], "cut_short": False}


def check(snapshot: Snapshot, question: Question) -> dict[str, Any]:
    """Whether a verified screen of the policy in force lies on every way to scoring; else those without it.

    The users of a way are those of the graph as it was exported, whatever the report's time.

    Raises:
        DataError: if the graph is malformed.
    """
    path = snapshot.directory / JOURNEYS
    in_force = snapshot.connection.execute(_IN_FORCE, {"at": question.at}).fetchall()
    if not path.exists() or not in_force:
        return _MISSING
    [(policy,)] = in_force
    if path.stat().st_size > MAX_JOURNEY_BYTES:
        raise DataError(f"{JOURNEYS}: expected at most {MAX_JOURNEY_BYTES} bytes, got more")
    verified = _verified(snapshot.connection, policy, question)
    found = check_journey(
        Journey.from_bytes(path.read_bytes()), policy=policy, is_verified=verified.__contains__
    )
    return {
        "checked": True,
        "dominated": found.is_dominated,
        "undominated": [{"path": list(way.places), "users": way.users} for way in found.paths],
        "cut_short": found.is_cut_short,
    }


def _verified(connection: Any, policy: str, question: Question) -> frozenset[str]:
    """The texts that were verified then and have every clause that scoring requires."""
    parameters = {"policy": policy, "at": question.at, "purpose": Purpose.SCORE.value}
    return frozenset(screen for (screen,) in connection.execute(_VERIFIED, parameters).fetchall())


_IN_FORCE = """
select policy from policies
where activated_at <= $at and (retired_at = 0 or $at < retired_at)
order by season in (select season from population where purpose = 'score.offer_followup') desc,
         activated_at desc, policy
limit 1
"""
"""Of the season that is scored."""

_VERIFIED = """
select distinct screen
from complete_screens
where policy = $policy and purpose = $purpose and $at between verified_from and verified_until
"""
