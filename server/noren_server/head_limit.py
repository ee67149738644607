"""One head message per company and score season, over the whole history of the ledger.

docs/protocol.md §5.5, ADR 0012. An embedding comes from the behaviour of one season, so every campaign that
scores the season asks about the same numbers, and q heads read q linear functions of them. Promises: the
ledger alone decides, so neither a restart nor a lost database makes room for another head.
"""

from __future__ import annotations

from noren_core.ledger.entries import EntryKind
from noren_server.ledger_store import LedgerStore, StoredEntry


def season_heads(ledger: LedgerStore, company: str, score_season: str) -> list[StoredEntry]:
    """The company's head-commitments in all campaigns that score this season, oldest first."""
    campaigns = {
        stored.entry.campaign
        for stored in ledger.entries(kind=EntryKind.PLAN)
        if stored.entry.body.get("score_season") == score_season
    }
    heads = ledger.entries(kind=EntryKind.HEAD_COMMITMENT, company=company)
    return [stored for stored in heads if stored.entry.campaign in campaigns]
