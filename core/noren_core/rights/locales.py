"""The languages that every notice is written in."""

from __future__ import annotations

from enum import StrEnum


class Locale(StrEnum):
    """BCP 47 language tags; a policy has every text in each of them."""

    JA = "ja"
    EN = "en"
