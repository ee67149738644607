"""Names of companies, campaigns and seasons, and the identifiers that are aligned (docs/protocol.md §1.2)."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum

from noren_core.errors import DataError

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?\Z")
MAX_IDENTIFIER_BYTES = 512
DUMMY_LABEL = b"dummy\0"
DUMMY_BYTES = 32


class IdentifierKind(StrEnum):
    """What an applicant is looked up by; the student's per-company consent code is preferred."""

    CONSENT_CODE = "consent-code"
    EMAIL = "email"


class TableKind(StrEnum):
    """The two sealed tables of a campaign."""

    TRAIN = "train"
    SCORE = "score"


def parse_name(text: object, what: str) -> str:
    """`text` if it is a valid company, campaign or season name, else DataError naming `what`.

    A name is 1 to 40 characters of a-z, 0-9 and inner hyphens, so it is safe in paths, URLs and logs.
    """
    if not isinstance(text, str) or not _NAME.match(text):
        raise DataError(f"{what}: expected 1 to 40 of a-z, 0-9 and inner hyphens, got another text")
    return text


def normalise_identifier(kind: IdentifierKind, value: str, position: str) -> bytes:
    """The VOPRF input for one application: kind ‖ 0 ‖ position ‖ 0 ‖ NFKC-casefold-trim(value).

    The position is in it, so that a row that was consented to for one position opens for no other.

    Raises:
        DataError: if the position is no name, or nothing is left of the value after trimming, or that is
            longer than 512 bytes.
    """
    parse_name(position, "position")
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold()).strip()
    try:
        folded = text.encode()
    except UnicodeEncodeError as error:
        raise DataError("identifier: expected text of whole characters, got half of a pair") from error
    if not folded or len(folded) > MAX_IDENTIFIER_BYTES:
        raise DataError(f"identifier: expected 1 to {MAX_IDENTIFIER_BYTES} bytes, got {len(folded)}")
    return b"\0".join((kind.value.encode(), position.encode(), folded))


def is_dummy(value: bytes) -> bool:
    """Whether a VOPRF input fills up a batch and stands for nobody; no identifier begins like one."""
    return value.startswith(DUMMY_LABEL) and len(value) == len(DUMMY_LABEL) + DUMMY_BYTES
