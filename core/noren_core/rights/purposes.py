"""What a student's data may be used for: a closed list, and what is asked for only to be refused.

Promises: a purpose is added by changing this file, in a reviewed release, and by nothing else. The forbidden
constants are here so that their refusal is explicit, has a code of its own and is tested.
"""

from __future__ import annotations

from enum import StrEnum

from noren_core.errors import DataError
from noren_core.ids import TableKind


class Purpose(StrEnum):
    """The purposes a student can consent to, each for itself."""

    LINK = "link.pairwise"
    TRAIN = "train.decline_model"
    SCORE = "score.offer_followup"
    EVALUATE = "eval.model"
    FAIRNESS = "audit.fairness"


class ForbiddenPurpose(StrEnum):
    """Purposes that nobody can consent to and nothing is computed for."""

    PASS_FAIL = "selection.pass_fail"  # noqa: S105 (a purpose, no password)
    PASS_PROBABILITY = "predict.pass_probability"  # noqa: S105
    RANKING = "rank.applicants"
    DROPOUT = "selection.dropout"
    RESCINDING = "offer.rescind"
    COMPENSATION = "compensation.set"
    RESALE = "resale"
    CROSS_COMPANY = "cross_company.profile"


PURPOSE_OF_TABLE = {TableKind.TRAIN: Purpose.TRAIN, TableKind.SCORE: Purpose.SCORE}


def parse_purpose(text: object, what: str) -> Purpose:
    """The purpose that `text` names.

    Raises:
        DataError: with code PURPOSE_FORBIDDEN for a use that is never allowed, with PURPOSE_UNKNOWN for any
            other text.
    """
    if text in tuple(ForbiddenPurpose):
        raise DataError(
            f"{what}: expected a permitted purpose, got a forbidden one", code="PURPOSE_FORBIDDEN"
        )
    if text not in tuple(Purpose):
        words = ", ".join(Purpose)
        raise DataError(f"{what}: expected one of {words}; got another text", code="PURPOSE_UNKNOWN")
    return Purpose(str(text))
