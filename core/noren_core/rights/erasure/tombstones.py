"""Tombstones: which erasure orders were carried out, so that a restored copy is told from a current one.

docs/rights/erasure.md §6. Promises: a company whose files are older than the newest order of a campaign does
nothing with them until every order since then is carried out (again); the difference between an order that is
simply new and one that was already certified from here, and was forgotten with a restored backup, is named.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from noren_core.errors import LocalProtocolError


@dataclass(frozen=True, slots=True)
class ShownOrder:
    """An order as the ledger shows it.

    Attributes:
        index: of its entry; orders follow each other by it.
        is_certified: whether the ledger has a deletion certificate of ours for it.
    """

    index: int
    is_certified: bool


def outstanding(shown: Sequence[ShownOrder], applied: Collection[int]) -> tuple[ShownOrder, ...]:
    """The orders, oldest first, that our files have not seen; `applied` are indices of entries."""
    return tuple(sorted((o for o in shown if o.index not in applied), key=lambda order: order.index))


def verify_applied(shown: Sequence[ShownOrder], applied: Collection[int]) -> None:
    """Raise LocalProtocolError unless every order was carried out on these files.

    Its code is RESTORE_NEEDS_TOMBSTONES if one of them was certified before, so that the files must be an
    older copy; else PENDING_ERASURE_ORDERS.
    """
    missing = outstanding(shown, applied)
    if any(order.is_certified for order in missing):
        raise LocalProtocolError(
            "erasure: expected files from after the last certificate, got an older copy: "
            "run noren-company rights erase",
            code="RESTORE_NEEDS_TOMBSTONES",
        )
    if missing:
        raise LocalProtocolError(
            "erasure: expected every order to be carried out first: run noren-company rights erase",
            code="PENDING_ERASURE_ORDERS",
        )
