"""Reading our own consent pages without a browser.

Promises: for a page of `consent_screen`, the same `PageReading` that a browser gives. Refuses every page that
    it
could be wrong about: another style sheet, an element or attribute that our pages do not have, text that a
    style could hide. Whatever a third party shows is read by the crawler's browser, never by this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

from noren_core.errors import DataError
from noren_core.rights.notices.page_text import normalise_text
from noren_core.rights.notices.screen import ClauseReading, FormReading, PageReading
from noren_server.policies.consent_screen import SCRIPT_PATH, STYLESHEET_PATH, stylesheet

_BARE = ("head", "title", "style", "body", "section", "h1", "h2", "h3", "footer")
_ATTRIBUTES: dict[str, set[str]] = {
    **{tag: set() for tag in _BARE},
    "html": {"lang"},
    "main": {f"data-{name}" for name in ("policy", "company", "position", "route", "build", "variant")},
    "p": {"data-clause", "data-purpose-text", "class"},
    "div": {"class"},
    "form": {"method", "action", "data-purpose"},
    "input": {"type", "name", "value"},
    "button": {"type", "name", "value"},
    "meta": {"charset", "http-equiv", "content", "name"},
    "link": {"rel", "href"},
    "script": {"type", "src"},
}
_LOADED = {
    "link": {"rel": "stylesheet", "href": STYLESHEET_PATH},
    "script": {"type": "module", "src": SCRIPT_PATH},
}
"""The one style sheet and the one script that a page to sign on may load; the site has no others there."""

_UNSHOWN = ("title", "style")
_VOID = frozenset({"meta", "input", "link"})


@dataclass(slots=True)
class _Form:
    purpose: str
    text: list[str] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.css: list[str] = []
        self.place: dict[str, str] = {}
        self.clauses: list[tuple[str, list[str]]] = []
        self.forms: list[_Form] = []
        self.loaded: list[str] = []
        self._open: list[str] = []
        self._into: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in _ATTRIBUTES or not given.keys() <= _ATTRIBUTES[tag] or given.get("type") == "checkbox":
            raise DataError("consent page: expected elements of our own pages only, got another")
        if tag in _LOADED:
            if given != _LOADED[tag] or self._open != ["html", "head"]:
                raise DataError("consent page: expected our own style sheet and script, got another")
            self.loaded.append(tag)
        self.text.append(" ")  # every element of ours but the document's own is a block
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "html":
            self.place["locale"] = given.get("lang", "")
        elif tag == "main":
            self.place |= {name.removeprefix("data-"): value for name, value in given.items()}
        elif tag == "form":
            self.forms.append(_Form(given.get("data-purpose", "")))
        elif tag == "button" and self.forms:
            self.forms[-1].choices.append(given.get("value", ""))
        elif "data-clause" in given:
            self.clauses.append((given["data-clause"], []))
            self._into = self.clauses[-1][1]
        elif "data-purpose-text" in given and self.forms:
            self._into = self.forms[-1].text

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            raise DataError("consent page: expected every element to be closed, got one that is not")
        self.text.append(" ")
        if tag == "p":
            self._into = None

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            raise DataError("consent page: expected no script in the page itself, got one")
        if self._open and self._open[-1] == "style":
            self.css.append(data)
        elif not self._open or self._open[-1] not in _UNSHOWN:
            self.text.append(data)
            if self._into is not None:
                self._into.append(data)


def read_page(page: str) -> PageReading:
    """What a browser would find on one of our own pages.

    Raises:
        DataError: for anything that could make the two differ.
    """
    reader = _Reader()
    reader.feed(page)
    reader.close()
    if ("".join(reader.css), reader.loaded) not in ((stylesheet(), []), ("", ["link", "script"])):
        raise DataError("consent page: expected our own style sheet, got another")
    return PageReading(
        text=_joined(reader.text),
        place=reader.place,
        clauses=tuple(
            ClauseReading(clause, _joined(text), is_visible=True) for clause, text in reader.clauses
        ),
        forms=tuple(map(_form_reading, reader.forms)),
        unreadable=0,
        applies=False,
    )


def _form_reading(form: _Form) -> FormReading:
    return FormReading(
        purposes=(form.purpose,),
        text=_joined(form.text),
        is_prechecked=False,
        choices=tuple(form.choices),
        are_choices_alike=True,
        others=0,
    )


def _joined(pieces: Sequence[str]) -> str:
    return normalise_text("".join(pieces))
