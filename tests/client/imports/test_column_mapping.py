"""Mappings, presets and the words they know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_client.applicants import Decision
from noren_client.imports import column_mapping as module
from noren_client.imports.calendar_dates import DateOrder
from noren_client.imports.column_mapping import (
    Field,
    ImportMapping,
    SeasonReading,
    Standing,
    common_words,
    comparable,
    fit,
    fitting_preset,
    header_fingerprint,
    is_internal,
    parse_mapping,
    parse_standing,
    preset,
    presets,
)
from noren_core.errors import DataError
from noren_core.ids import IdentifierKind

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
STANDINGS = st.sampled_from(
    [Standing(Decision.HOLD), Standing(Decision.NO_OFFER), Standing(Decision.OFFER)]
) | (st.builds(lambda name: Standing(Decision.OFFER, name), NAMES))
MAPPINGS = st.builds(
    ImportMapping,
    title=WORDS,
    identifier_kind=st.sampled_from(IdentifierKind),
    columns=st.dictionaries(st.sampled_from(Field), st.lists(WORDS, min_size=1, max_size=3).map(tuple)),
    position=st.just("") | NAMES,
    season=st.just("") | NAMES,
    season_reading=st.sampled_from(SeasonReading),
    position_names=st.dictionaries(WORDS.map(comparable).filter(bool), NAMES),
    season_names=st.dictionaries(WORDS.map(comparable).filter(bool), NAMES),
    words=st.dictionaries(WORDS.map(comparable).filter(bool), STANDINGS),
    otherwise=st.none() | st.sampled_from(Decision),
    date_order=st.sampled_from(DateOrder),
)


@given(MAPPINGS)
def test_a_mapping_comes_back_from_its_file(mapping: ImportMapping) -> None:
    """Whatever characters are in titles, columns and words."""
    assert parse_mapping(mapping.to_toml()) == mapping


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_file_is_a_mapping_or_a_data_error(data: bytes) -> None:
    """Also one that is TOML and says something else."""
    with pytest.raises(DataError):
        parse_mapping(b'format = "noren/v1/import-mapping"\n' + data)


WRONG = {
    "format": b'format = "x"\ntitle = "a"\n[columns]\n',
    "unknown field": b'format = "noren/v1/import-mapping"\ntitle = "a"\ncolour = 1\n[columns]\n',
    "unknown column": b'format = "noren/v1/import-mapping"\ntitle = "a"\n[columns]\nname = ["x"]\n',
    "outcome without an offer": (
        b'format = "noren/v1/import-mapping"\ntitle = "a"\n[columns]\n[words]\nx = "no-offer/declined"\n'
    ),
    "text for a list": b'format = "noren/v1/import-mapping"\ntitle = "a"\n[columns]\nstatus = "x"\n',
    "kind": b'format = "noren/v1/import-mapping"\ntitle = "a"\nidentifier_kind = "phone"\n[columns]\n',
    "name": (
        b'format = "noren/v1/import-mapping"\ntitle = "a"\n[columns]\n[position]\nvalue = "The Clerk"\n'
    ),
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_a_mapping_with_a_field_that_is_not_known_is_refused(data: bytes) -> None:
    """A misspelt field would otherwise be one that silently does nothing."""
    with pytest.raises(DataError, match="mapping"):
        parse_mapping(data)


def test_every_preset_is_complete_and_comes_back() -> None:
    """With all its columns each has everything that rows need."""
    assert len(presets()) >= 6
    for name, found in presets().items():
        assert not found.missing(), name
        assert parse_mapping(found.to_toml()) == found
        assert preset(name) == found


def test_a_preset_that_is_not_there_is_refused_with_those_that_are() -> None:
    """The message helps whoever misspelt one."""
    with pytest.raises(DataError, match="hrmos"):
        preset("hermos")


@pytest.mark.parametrize("name", presets())
def test_a_header_of_a_system_finds_its_preset(name: str) -> None:
    """The one of which most columns are there, if the header has every column of it."""
    header = [columns[0] for columns in preset(name).columns.values()]
    found = fitting_preset(["氏名", *header])
    assert found is not None
    assert {wanted: names[0] for wanted, names in found[1].columns.items()}.keys() >= preset(
        name
    ).columns.keys()


def test_columns_are_found_in_whatever_form_they_are_written() -> None:
    """Full width, stray spaces, upper case; what is kept is the column as the file has it."""
    header = ("Ｅ－ｍａｉｌ", " JOB  Title ", "season", "ＳＴＡＴＵＳ")
    fitted = fit(preset("generic-english"), header)
    assert not fitted.missing()
    assert fitted.column(Field.POSITION) == " JOB  Title "


def test_a_column_that_is_used_stands_there_once() -> None:
    """Two columns of one name are two answers; others may repeat."""
    with pytest.raises(DataError) as caught:
        fit(preset("generic-english"), ("Email", "email", "Job", "Status", "Year"))
    assert caught.value.code == "COLUMN_TWICE"
    fit(preset("generic-english"), ("Email", "Job", "Status", "Year", "備考", "備考"))


def test_a_header_that_no_preset_knows_finds_none() -> None:
    """Then people say which column is what."""
    assert fitting_preset(("a", "b", "c")) is None


def test_words_mean_what_people_mean_by_them() -> None:
    """In whatever width and spacing; what could mean two things is in no common list."""
    known = common_words()
    meant = {
        "内定承諾": "offer/accepted",
        "内定　辞退": None,
        "内定辞退": "offer/declined",
        "内定": "offer",
        "不合格": "no-offer",
        "選考中": "hold",
        "Ａｃｃｅｐｔｅｄ": "offer/accepted",
        "DECLINED": "offer/declined",
        "辞退": None,
        "合格": None,
    }
    for word, standing in meant.items():
        found = known.get(comparable(word))
        assert (found.text if found else None) == standing, word


@given(STANDINGS)
def test_a_standing_comes_back_from_its_text(standing: Standing) -> None:
    """offer/OUTCOME and the three words."""
    assert parse_standing(standing.text) == standing


def test_a_header_is_remembered_by_its_columns_and_not_their_order() -> None:
    """A system that moves a column is still that system; another column is another."""
    assert header_fingerprint(("a", "Ｂ")) == header_fingerprint(("b", "a"))
    assert header_fingerprint(("a", "b")) != header_fingerprint(("a", "b", "c"))


def test_our_own_format_is_recognised_by_a_column_that_no_other_system_has() -> None:
    """Also with a column missing, which its reader then names."""
    assert is_internal(module.COLUMNS)
    assert is_internal(module.COLUMNS[:-1])
    assert not is_internal(("season", "position", "identifier", "decision", "outcome"))
