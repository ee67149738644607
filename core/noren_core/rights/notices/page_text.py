"""The text of a screen as it is compared and hashed.

Promises: two screens have one hash exactly if they show the same characters, apart from how white space is
laid out, which depends on the width of the window and not on what is said. A character that is invisible
counts.
"""

from __future__ import annotations

import hashlib
import unicodedata

MAX_TEXT_CHARACTERS = 1 << 16


def normalise_text(text: str) -> str:
    """`text` in Unicode's composed form (NFC), with every run of white space as one space, trimmed."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def text_sha256(text: str) -> str:
    """SHA-256, in hex, of the UTF-8 of the normalised text: what a consent event says was shown."""
    return hashlib.sha256(normalise_text(text).encode("utf-8", "surrogatepass")).hexdigest()
