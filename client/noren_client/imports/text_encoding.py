"""In which of three encodings a text file is: UTF-8, UTF-8 with its mark, or cp932 (Japanese Excel's CSV).

Promises: a file is decoded whole and strictly, or not at all; what could be two encodings is asked and not
guessed. cp932 and not Shift_JIS, which lacks 髙 and ①.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from enum import StrEnum

from noren_core.errors import DataError

_LAST_OF_TWO_BYTES = "\u07ff"
_ENOUGH_LONG_ONES = 4
# Zero bytes are UTF-16 or worse; the others are what Python makes of bytes that cp932 gives no character.
_IN_NO_TEXT = re.compile("[\0\x80\uf8f0-\uf8f3]")
_LOOKED_AT = 1 << 16


class Encoding(StrEnum):
    """Those that exports come in."""

    UTF_8 = "utf-8"
    UTF_8_BOM = "utf-8-bom"
    CP932 = "cp932"

    @property
    def codec(self) -> str:
        """What Python calls it."""
        return "utf-8-sig" if self is Encoding.UTF_8_BOM else self.value


def parse_encoding(text: str) -> Encoding | None:
    """The encoding of this name; None for an empty one, which means: find out."""
    if not text:
        return None
    try:
        return Encoding(text)
    except ValueError as error:
        raise DataError(f"encoding: expected one of {', '.join(Encoding)}; got another") from error


def detect_encoding(data: bytes, *, name: str) -> Encoding:
    """The encoding of a text file.

    Args:
        data: the whole file.
        name: for messages.

    Raises:
        DataError: with code ENCODING_AMBIGUOUS, if it is valid in two and neither is unlikely; with
            ENCODING_UNKNOWN, if it is valid in none.
    """
    if data.startswith(codecs.BOM_UTF8):
        decode(data, Encoding.UTF_8_BOM, name=name)
        return Encoding.UTF_8_BOM
    if data.isascii() and b"\0" not in data:
        return Encoding.UTF_8
    if not _is_valid(data, Encoding.UTF_8):
        if not _is_valid(data, Encoding.CP932):
            raise DataError(
                f"{name}: expected text in UTF-8 or cp932 (Shift_JIS of Windows), got other bytes; "
                "save it as CSV UTF-8",
                code="ENCODING_UNKNOWN",
            )
        return Encoding.CP932
    if _is_valid(data, Encoding.CP932) and not _is_likely_utf_8(data.decode()):
        raise DataError(
            f"{name}: expected text in one encoding, got one that is valid in UTF-8 and in cp932; "
            "look at the preview and choose with --encoding",
            code="ENCODING_AMBIGUOUS",
        )
    return Encoding.UTF_8


def decode(data: bytes, encoding: Encoding, *, name: str) -> str:
    """The whole text; DataError (ENCODING_WRONG) with the place of the first byte that does not fit."""
    try:
        text = data.decode(encoding.codec)
    except UnicodeDecodeError as error:
        # The original error would carry the bytes.
        raise DataError(
            f"{name}: expected {encoding.value}, got other bytes at {error.start}", code="ENCODING_WRONG"
        ) from None
    if _IN_NO_TEXT.search(text):
        raise DataError(f"{name}: expected {encoding.value}, got bytes of no text", code="ENCODING_WRONG")
    return text


def _is_valid(data: bytes, encoding: Encoding) -> bool:
    try:
        return not _IN_NO_TEXT.search(data.decode(encoding.codec))
    except UnicodeDecodeError:
        return False


def _is_likely_utf_8(text: str) -> bool:
    """Whether a text that is also valid in cp932 is UTF-8 all the same.

    A few characters of three bytes or more are in no cp932 text by chance: each would be a rare kanji and
    half of what follows. Pairs of bytes could be katakana of half width; accented letters in a word of ASCII
    are not.
    """
    long_ones = sum(character > _LAST_OF_TWO_BYTES for character in text[:_LOOKED_AT])
    if long_ones >= _ENOUGH_LONG_ONES:
        return True
    return all(
        unicodedata.name(character, "").startswith("LATIN")
        and ((before.isascii() and before.isalpha()) or (after.isascii() and after.isalpha()))
        for before, character, after in zip(" " + text, text, text[1:] + " ", strict=False)
        if not character.isascii()
    )
