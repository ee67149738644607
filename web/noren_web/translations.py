"""Words of pages in the reader's language: English is the message, `locale/ja/*.po` has the Japanese.

Promises: a site's catalogues are read whole when it is built, and a catalogue that cannot be read, or that
has one message twice with two translations, is an error then; a text that Python code makes is translated
when a page is drawn, not when the code runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from importlib import resources
from importlib.resources.abc import Traversable
from io import BytesIO

from babel.messages.pofile import PoFileError, read_po

from noren_core.errors import ConfigurationError
from noren_core.rights.locales import Locale

Catalogue = Mapping[str, str]

_LOCALE: ContextVar[Locale] = ContextVar("locale", default=Locale.EN)
_CATALOGUE: ContextVar[Catalogue] = ContextVar("catalogue", default={})  # noqa: B039 (never changed)


class Text:
    """A message that is translated where it is shown: `str()` of it is in the language of the request."""

    __slots__ = ("_message", "_values")

    def __init__(self, message: str, values: Mapping[str, object] | None = None) -> None:
        self._message = message
        self._values = values

    def __str__(self) -> str:
        translated = gettext(self._message)
        if self._values is None:
            return translated
        return translated.format(**self._values)

    def __repr__(self) -> str:
        return f"Text({self._message!r})"  # without its values, which may be somebody's

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, Text | str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._message)

    def format(self, **values: object) -> Text:
        """The same message with its `{names}` filled in, also translated later."""
        return Text(self._message, {**(self._values or {}), **values})


def lazy(message: str) -> Text:
    """A message of Python code; imported as `_`, which is what the extraction of messages looks for."""
    return Text(message)


def locale() -> Locale:
    """The language of the page that is being made."""
    return _LOCALE.get()


def gettext(message: str) -> str:
    """The message in that language."""
    return _CATALOGUE.get().get(message, message) if message else ""


def ngettext(one: str, many: str, number: int) -> str:
    """One of two messages by number; Japanese has the second's translation for both."""
    if locale() is Locale.EN:
        return one if number == 1 else many
    return gettext(many)


def speak(language: Locale, catalogue: Catalogue) -> None:
    """What this request's texts are translated into from here on."""
    _LOCALE.set(language)
    _CATALOGUE.set(catalogue if language is Locale.JA else {})


def preferred(accepted: str) -> Locale:
    """The preferred one of our languages in Accept-Language (RFC 9110 §12.5.4); English if neither."""
    best, best_weight = Locale.EN, 0.0
    for part in accepted[:400].split(","):
        tag, _, parameters = part.partition(";")
        weight = 1.0
        for parameter in parameters.split(";"):
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        language = tag.strip().lower().split("-")[0]
        if language in list(Locale) and weight > best_weight:
            best, best_weight = Locale(language), weight
    return best


def load_catalogue(packages: Sequence[str]) -> dict[str, str]:
    """The Japanese of these packages' `locale/ja/*.po`.

    Raises:
        ConfigurationError: for a file that is none, or a message with two different translations.
    """
    merged: dict[str, str] = {}
    for package in packages:
        folder = resources.files(package).joinpath("locale", "ja")
        files = sorted(folder.iterdir(), key=lambda file: file.name) if folder.is_dir() else []
        for file in files:
            if file.name.endswith(".po"):
                _merge(merged, file)
    return merged


def _merge(merged: dict[str, str], file: Traversable) -> None:
    try:
        catalogue = read_po(BytesIO(file.read_bytes()), locale="ja", abort_invalid=True)
    except (PoFileError, UnicodeDecodeError, ValueError) as error:
        raise ConfigurationError(
            f"{file.name}: expected a catalogue of messages, got another file"
        ) from error
    for message in catalogue:
        for source, translated in _pairs(message.id, message.string):
            if not source or not translated or message.fuzzy:
                continue
            if merged.setdefault(source, translated) != translated:
                raise ConfigurationError(f"{file.name}: expected one translation of {source!r}, got two")


def _pairs(source: str | Sequence[str], translated: str | Sequence[str] | None) -> list[tuple[str, str]]:
    """A plural's second message stands for both: Japanese has one form."""
    if isinstance(source, str):
        return [(source, translated if isinstance(translated, str) else "")]
    text = translated if isinstance(translated, str) else (translated or ("",))[0]
    return [(source[-1], text or "")]
