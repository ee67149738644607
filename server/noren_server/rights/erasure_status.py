"""What became of a student's wish to be erased, as she is told."""

from __future__ import annotations

from dataclasses import dataclass

from noren_core.rights.erasure.erasure_order import OPEN_STATES, OrderState


@dataclass(frozen=True, slots=True)
class OrderedErasure:
    """What one company was ordered to erase for one campaign, and how far it is.

    Attributes:
        company, campaign: where.
        state: of the order.
        due_at: until when the certificate has to be here, Unix seconds.
    """

    company: str
    campaign: str
    state: OrderState
    due_at: int

    @property
    def is_open(self) -> bool:
        """Whether a certificate is still waited for."""
        return self.state in OPEN_STATES


@dataclass(frozen=True, slots=True)
class ErasureStatus:
    """One wish of a student, and the orders that carry it out.

    Attributes:
        company: where; empty: everywhere.
        at: when she asked, Unix seconds.
        disclose_first: whether companies answer her before they erase.
        orders: none, if nothing of hers was ever provided there.
    """

    company: str
    at: int
    disclose_first: bool
    orders: tuple[OrderedErasure, ...]
