"""What data is called, in policies and in the flow manifest alike, so that one can be held against the other.

Promises: closed lists. Whatever is about one person is personal data here whatever its encoding: a tag, a
ciphertext and a noised row as well as a name.
"""

from __future__ import annotations

from enum import StrEnum


class DataCategory(StrEnum):
    """Kinds of data that cross between parties, or that a policy speaks of."""

    # About nobody.
    NONE = "no-personal-data"  # names of campaigns, hashes, signatures, proofs, public keys of parties
    COMPANY = "company-facts"  # what a company says about itself
    UNIFORM = "uniform-elements"  # blinded or masked: distributed alike whatever is inside
    # About many.
    AGGREGATE = "noised-aggregate"
    MODEL = "model-weights"
    # About one person.
    BEHAVIOUR = "behaviour-log"
    IDENTIFIER = "identifier"
    CONSENT = "consent-record"
    TAG = "pairwise-tag"
    TRAINING_ROW = "noised-training-row"
    SCORE = "sealed-score"
    MAILBOX = "mailbox-and-key"
    COPY = "sealed-copy"
    RIGHTS_REQUEST = "rights-request"
    OFFER = "offer-acknowledgement"
    OUTCOME = "application-outcome"


PER_PERSON = frozenset(
    {
        DataCategory.BEHAVIOUR,
        DataCategory.IDENTIFIER,
        DataCategory.CONSENT,
        DataCategory.TAG,
        DataCategory.TRAINING_ROW,
        DataCategory.SCORE,
        DataCategory.MAILBOX,
        DataCategory.COPY,
        DataCategory.RIGHTS_REQUEST,
        DataCategory.OFFER,
        DataCategory.OUTCOME,
    }
)
"""The categories that are about one person."""


class DataSource(StrEnum):
    """Where data comes from."""

    SITE_BEHAVIOUR = "site-behaviour-logged-in"
    STUDENT = "given-by-student"
    COMPANY_RECORDS = "company-records"
    COMPUTED = "computed-by-noren"


class DataLevel(StrEnum):
    """Whether data is about one person or about many."""

    AGGREGATE = "aggregate"
    INDIVIDUAL = "individual"


class RecipientClass(StrEnum):
    """Who may receive what a policy speaks of."""

    PLATFORM = "platform"
    NAMED_COMPANY = "named-company"  # the one company that clause C02 names
