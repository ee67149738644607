"""Names that are safe everywhere, and identifiers that two parties spell the same."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from noren_core.errors import DataError
from noren_core.ids import (
    DUMMY_BYTES,
    DUMMY_LABEL,
    MAX_IDENTIFIER_BYTES,
    IdentifierKind,
    is_dummy,
    normalise_identifier,
    parse_name,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)
SPACES = st.text(" \t\r\n\u00a0\u3000", max_size=4)


def folded(text: str, kind: IdentifierKind = IdentifierKind.EMAIL) -> bytes:
    return normalise_identifier(kind, text, "clerk")


@pytest.mark.parametrize("name", ["a", "0", "aoba-foods", "a--b", "2026", "a" * 40, "a" + "-" * 38 + "9"])
def test_a_name_is_returned_as_it_is(name: str) -> None:
    """1 to 40 of a-z, 0-9 and inner hyphens."""
    assert parse_name(name, "company") == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-a",
        "a-",
        "-",
        "a" * 41,
        "Aoba",
        "a b",
        "a\n",
        "\na",
        "a/b",
        "..",
        "a.b",
        "a_b",
        "é",
        "１",
        "a\0",
        b"aoba",
        None,
        7,
    ],
)
def test_what_is_no_name_is_refused(text: object) -> None:
    """Anything that could leave a directory, break a line or be read as another name is no name."""
    with pytest.raises(DataError) as caught:
        parse_name(text, "company")
    assert caught.value.message.startswith("company: expected 1 to 40 of a-z")


@settings(max_examples=200)
@given(st.text(max_size=45))
def test_only_the_documented_characters_get_through(text: str) -> None:
    """Whatever `parse_name` lets through is plain ASCII, lower case, bounded and without outer hyphens."""
    try:
        name = parse_name(text, "name")
    except DataError:
        return
    assert 1 <= len(name) <= 40
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert name.strip("-") == name


def test_the_known_normalisation() -> None:
    """Case, width, compatibility forms and outer spaces do not tell people apart; the kind does."""
    expected = b"email\0clerk\0taro@example.org"
    for text in (" Taro@Example.ORG\n", "ｔａｒｏ＠example.org", "\u3000TARO@EXAMPLE.ORG\u00a0"):
        assert folded(text) == expected
    assert folded("Straße") == folded("STRASSE") == b"email\0clerk\0strasse"
    assert folded("cafe\u0301") == folded("CAFÉ") == "email\0clerk\0café".encode()
    assert folded("№ ㎒") == b"email\0clerk\0no mhz"
    assert folded("\u0390") == "email\0clerk\0\u0390".encode()  # folds to three characters, composed again
    assert folded("ab-12", IdentifierKind.CONSENT_CODE) == b"consent-code\0clerk\0ab-12"


@settings(max_examples=200)
@given(TEXTS, SPACES, SPACES)
def test_spelling_does_not_matter(text: str, before: str, after: str) -> None:
    """Outer spaces and the form of composition change nothing, and normalising twice is normalising once."""
    assume(text.strip())
    try:
        once = folded(text)
    except DataError:
        assume(False)
    assert folded(before + text + after) == once
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert folded(unicodedata.normalize(form, text)) == once
    assert folded(once.decode().removeprefix("email\0clerk\0")) == once


@settings(max_examples=100)
@given(ASCII)
def test_case_does_not_matter(text: str) -> None:
    """Upper and lower case of an address are the same address."""
    assert folded(text.upper()) == folded(text.lower()) == folded(text)


@settings(max_examples=100)
@given(ASCII, ASCII)
def test_different_identifiers_stay_different(one: str, other: str) -> None:
    """Texts that differ in more than case never meet, and no text of one kind is one of the other kind."""
    assert (folded(one) == folded(other)) == (one.lower() == other.lower())
    assert folded(one, IdentifierKind.CONSENT_CODE) != folded(other)


@pytest.mark.parametrize("text", ["", " ", "\u3000\t\n", "\u00a0"])
def test_nothing_identifies_nobody(text: str) -> None:
    """An identifier of which nothing is left is refused."""
    with pytest.raises(DataError, match="got 0"):
        folded(text)


def test_the_length_counts_after_normalisation() -> None:
    """512 bytes are allowed and 513 are not, counted in UTF-8 after folding; the text is not shown."""
    assert len(folded("a" * MAX_IDENTIFIER_BYTES)) == len(b"email\0clerk\0") + MAX_IDENTIFIER_BYTES
    assert folded(" " * 600 + "a") == b"email\0clerk\0a"
    for text in ("a" * 513, "é" * 257, "ﷺ" * 40):  # the last is one character that folds to 33 bytes
        with pytest.raises(DataError) as caught:
            folded(text)
        assert text not in str(caught.value)
        assert "expected 1 to 512 bytes" in caught.value.message


def test_the_position_is_part_of_what_is_looked_up() -> None:
    """The same person is another input for another position, and no value imitates a position."""
    inputs = {
        normalise_identifier(IdentifierKind.EMAIL, "taro@example.org", position)
        for position in ("clerk", "engineer", "a" * 40)
    }
    assert len(inputs) == 3
    assert folded("engineer\0taro") != normalise_identifier(IdentifierKind.EMAIL, "taro", "engineer")
    with pytest.raises(DataError, match="position"):
        normalise_identifier(IdentifierKind.EMAIL, "taro@example.org", "Clerk")


@settings(max_examples=100)
@given(TEXTS)
def test_no_identifier_is_a_dummy(text: str) -> None:
    """What fills up a batch is never a person, of either kind."""
    assume(text.strip())
    try:
        assert not any(is_dummy(folded(text, kind)) for kind in IdentifierKind)
    except DataError:
        assume(False)
    assert is_dummy(DUMMY_LABEL + bytes(DUMMY_BYTES))
    assert not is_dummy(DUMMY_LABEL + bytes(DUMMY_BYTES + 1))
