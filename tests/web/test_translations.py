"""Messages in the language of whoever reads them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from noren_core.errors import ConfigurationError
from noren_core.rights.locales import Locale
from noren_web import translations
from noren_web.translations import lazy, load_catalogue, ngettext, preferred, speak

HEAD = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'


def package(directory: Path, name: str, **files: str) -> str:
    """A package with these catalogues, importable."""
    folder = directory / name / "locale" / "ja"
    folder.mkdir(parents=True)
    (directory / name / "__init__.py").touch()
    for stem, text in files.items():
        (folder / f"{stem}.po").write_text(HEAD + text)
    return name


def test_a_message_is_translated_where_it_is_shown() -> None:
    """Not where it was written: one value, read in two languages at once."""
    rows = lazy("{n} rows").format(n=3)
    said: dict[Locale, str] = {}

    def read(language: Locale) -> None:
        speak(language, {"{n} rows": "{n} 行"})
        said[language] = f"{rows}"

    for language in Locale:
        thread = threading.Thread(target=read, args=(language,))
        thread.start()
        thread.join()
    assert said == {Locale.EN: "3 rows", Locale.JA: "3 行"}
    assert "3" not in repr(rows)
    assert rows == "3 rows"
    assert hash(rows) == hash(lazy("{n} rows"))


def test_a_plural_is_chosen_by_number() -> None:
    """English has two forms, Japanese one."""
    assert [ngettext("a row", "rows", number) for number in (0, 1, 2)] == ["rows", "a row", "rows"]


def test_what_was_not_translated_is_english() -> None:
    """A message without a translation is shown as it was written."""
    speak(Locale.JA, {"Yes": "はい"})
    try:
        assert (str(lazy("Yes")), str(lazy("No")), translations.gettext("")) == ("はい", "No", "")
    finally:
        speak(Locale.EN, {})


def test_catalogues_of_a_package_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and packages are merged; plurals by their second message; what is fuzzy is not used."""
    monkeypatch.syspath_prepend(tmp_path)
    one = 'msgid "Yes"\nmsgstr "はい"\n\nmsgid "row"\nmsgid_plural "rows"\nmsgstr[0] "行"\n'
    two = 'msgid "No"\nmsgstr "いいえ"\n\n#, fuzzy\nmsgid "Perhaps"\nmsgstr "多分"\n\n' + one
    name = package(tmp_path, "catalogued", one=one, two=two)
    assert load_catalogue([name]) == {"Yes": "はい", "rows": "行", "No": "いいえ"}


def test_two_translations_of_a_message_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of them a page would show is nobody's guess."""
    monkeypatch.syspath_prepend(tmp_path)
    name = package(
        tmp_path, "ambiguous", one='msgid "Yes"\nmsgstr "はい"\n', two='msgid "Yes"\nmsgstr "うん"\n'
    )
    with pytest.raises(ConfigurationError, match=r"two\.po"):
        load_catalogue([name])


@pytest.mark.parametrize("text", ["\x00\xff", "Yes: はい\n"])
def test_a_file_that_is_no_catalogue_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """When the site is built, not when a page is drawn."""
    monkeypatch.syspath_prepend(tmp_path)
    name = package(tmp_path, f"broken{len(text)}", one=text)
    with pytest.raises(ConfigurationError, match=r"one\.po"):
        load_catalogue([name])


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("ja-JP,ja;q=0.9,en;q=0.8", Locale.JA),
        ("EN", Locale.EN),
        ("ja;q=0", Locale.EN),
        ("de", Locale.EN),
        (";;q=,,=", Locale.EN),
        ("x" * 1000 + ",ja", Locale.EN),
    ],
)
def test_accept_language(header: str, language: Locale) -> None:
    """By weight; nonsense is English, and so is what stands too far back to be meant."""
    assert preferred(header) is language
