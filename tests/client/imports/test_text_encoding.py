"""Which encoding a text file is in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_client.imports.text_encoding import Encoding, decode, detect_encoding, parse_encoding
from noren_core.errors import DataError

JAPANESE = st.text(
    st.one_of(
        st.characters(min_codepoint=0x3041, max_codepoint=0x3093),
        st.characters(min_codepoint=0x30A1, max_codepoint=0x30F6),
        st.characters(min_codepoint=0xFF66, max_codepoint=0xFF9D),
        st.characters(min_codepoint=0x20, max_codepoint=0x7E),
        st.sampled_from("髙﨑①～－内定承諾辞退選考株式会社総合職令和平成応募者日付\n,\t"),
    ),
    min_size=1,
    max_size=200,
)


@given(JAPANESE, st.sampled_from(Encoding))
def test_a_text_comes_back_in_its_encoding_or_is_asked_for(text: str, encoding: Encoding) -> None:
    """Never decoded silently into something else: what could be two encodings is an error."""
    data = text.encode(encoding.codec)
    found = refusal = None
    try:
        found = detect_encoding(data, name="a.csv")
    except DataError as error:
        refusal = error
    if refusal is None:
        assert found is not None
        assert decode(data, found, name="a.csv") == text
        return
    assert refusal.code == "ENCODING_AMBIGUOUS"
    assert encoding is not Encoding.UTF_8_BOM


@pytest.mark.parametrize("encoding", Encoding)
def test_a_japanese_header_is_enough(encoding: Encoding) -> None:
    """Of an ordinary export nothing has to be asked."""
    data = "氏名,メールアドレス,選考ステータス\n髙橋①,a@example.jp,内定\n".encode(encoding.codec)
    assert detect_encoding(data, name="a.csv") is encoding


def test_ascii_is_utf_8() -> None:
    """It is the same in all three."""
    assert detect_encoding(b"name,email\n", name="a.csv") is Encoding.UTF_8


def test_accented_letters_are_not_taken_for_half_width_katakana() -> None:
    """José in UTF-8 is also ﾃｩ in cp932; inside a word of ASCII it is a letter."""
    assert detect_encoding("name\nJosé\n".encode(), name="a.csv") is Encoding.UTF_8


def test_half_width_katakana_alone_is_asked_for() -> None:
    """ﾃｽ is two bytes that are one letter in UTF-8; nobody can tell."""
    with pytest.raises(DataError) as caught:
        detect_encoding("ﾃｽ".encode("cp932"), name="a.csv")
    assert caught.value.code == "ENCODING_AMBIGUOUS"


def test_bytes_of_no_encoding_are_refused_without_being_quoted() -> None:
    """UTF-16, Latin-1 and worse; the name of the file is told, its content is not."""
    for data in ("氏名".encode("utf-16"), b"caf\xe9,\n", b"\xff\xfe\x00"):
        with pytest.raises(DataError) as caught:
            detect_encoding(data, name="a.csv")
        assert caught.value.code == "ENCODING_UNKNOWN"
        assert "UTF-8" in caught.value.message


def test_a_chosen_encoding_that_does_not_fit_is_refused() -> None:
    """With the place of the first byte."""
    with pytest.raises(DataError, match="got other bytes at 1") as caught:
        decode(b"a\x82", Encoding.UTF_8, name="a.csv")
    assert caught.value.code == "ENCODING_WRONG"


def test_names_of_encodings_are_a_closed_list() -> None:
    """An empty one means: find out."""
    assert parse_encoding("") is None
    assert parse_encoding("cp932") is Encoding.CP932
    with pytest.raises(DataError):
        parse_encoding("utf-7")
