"""The clauses of a consent notice, and which of them each purpose needs on the screen.

Every clause has a stable id; its wording per language belongs to a policy version. A consent that was given
on a screen without a required clause is no consent (code SCREEN_CLAUSE_MISSING).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from noren_core.rights.purposes import Purpose


class Clause(StrEnum):
    """What a notice can say."""

    PLATFORM_IDENTITY = "C01"
    COMPANY_IDENTITY = "C02"  # this company's name and address
    DATA_AND_SOURCES = "C03"
    BEHAVIOUR_ANALYSIS = "C04"  # behaviour is analysed to estimate the likelihood of declining
    BAND_ABOUT_YOU = "C05"  # the company sees a band about this very person
    ONLY_AFTER_OFFER = "C06"
    NO_SELECTION_USE = "C07"  # never for pass or fail, and how that is enforced
    REFUSAL_IS_FREE = "C08"  # refusing or withdrawing changes nothing and is not seen
    WITHDRAWAL = "C09"  # how, and what happens to models already trained
    RETENTION = "C10"
    RIGHTS = "C11"
    THIRD_PARTY_PROVISION = "C12"  # and which items
    PRIVACY_BUDGET = "C13"
    PLACE = "C14"
    CONTACT = "C15"  # contact, auditor, authority


_LINK = frozenset(Clause) - {
    Clause.BEHAVIOUR_ANALYSIS,
    Clause.BAND_ABOUT_YOU,
    Clause.ONLY_AFTER_OFFER,
    Clause.NO_SELECTION_USE,
    Clause.PRIVACY_BUDGET,
}
_TRAIN = _LINK | {Clause.BEHAVIOUR_ANALYSIS, Clause.PRIVACY_BUDGET}

REQUIRED_CLAUSES: Mapping[Purpose, frozenset[Clause]] = {
    Purpose.LINK: _LINK,
    Purpose.TRAIN: _TRAIN,
    Purpose.SCORE: frozenset(Clause),
    Purpose.EVALUATE: _TRAIN,
    Purpose.FAIRNESS: _LINK,
}
"""By purpose, the clauses without which a screen does not count."""
