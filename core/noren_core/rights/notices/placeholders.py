"""The named gaps in a policy's texts, and who fills them: the policy itself, or the facts of one notice.

A gap is `{name}` with a name of the list; braces occur for nothing else. What fills it is a text that shows,
so that filling cannot hide anything or open another gap.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from noren_core.errors import DataError

FACT_NAMES = frozenset(
    {
        "platform_name",
        "platform_address",
        "platform_contact",
        "company_name",
        "company_address",
        "company_representative",
        "company_contact",
        "position_title",
        "epsilon",
        "place",
        "withdrawal_place",
        "auditor",
        "authority",
    }
)
"""What the facts of a notice give, in each language; epsilon is that of a training row."""

_GAP = re.compile(r"\{([a-z_]{1,40})\}")


def placeholders_in(text: str) -> frozenset[str]:
    """The names of the gaps in `text`; DataError for a brace that belongs to none."""
    if set("{}") & set(_GAP.sub("", text)):
        raise DataError("policy text: expected braces around a placeholder's name only, got others")
    return frozenset(_GAP.findall(text))


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with every gap filled, once; DataError if nothing fills one of them."""
    if not placeholders_in(text) <= values.keys():
        raise DataError("policy text: expected a value for every placeholder, got none for one")
    return _GAP.sub(lambda gap: values[gap.group(1)], text)
