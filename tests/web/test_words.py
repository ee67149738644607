"""Every word of every page is there in both languages.

Templates and handlers name English messages; a catalogue has the Japanese of each and of nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from noren_web.translations import load_catalogue

PACKAGES = ("noren_web", "noren_client.web", "noren_server.console", "noren_server.student_pages")
_METHODS = [("**.html", "jinja2"), ("**.py", "python")]
_KEYWORDS = {"_": None, "lazy": None, "gettext": None, "ngettext": (1, 2)}
_OPTIONS = {"**.html": {"silent": "false", "trimmed": "true", "newstyle_gettext": "false"}}
_PLACEHOLDER = re.compile(r"\{[a-z_]*\}|%\([a-z_]+\)s")
_JINJA = re.compile(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)
_TRANS = re.compile(r"\{%-?\s*trans\b.*?endtrans\s*-?%\}", re.DOTALL)
_SPOKEN_ATTRIBUTE = re.compile(r"""\b(?:aria-label|title|placeholder|alt|label)=["']([^"']*)["']""")
_MARKUP = re.compile(r"<(?:code|style|script)\b.*?</(?:code|style|script)>|<[^>]*>|&[a-z]+;", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]{2,}")
_IN_THEIR_OWN_LANGUAGE = frozenset({"日本語", "English", "Noren"})


def folder(package: str) -> Path:
    return Path(str(resources.files(package)))


def extracted(package: str) -> Iterator[tuple[str, str]]:
    """Place and message; of a plural, its second."""
    for name, line, message, _, _ in extract_from_dir(
        folder(package), _METHODS, _OPTIONS, _KEYWORDS, strip_comment_tags=True
    ):
        yield f"{name}:{line}", message if isinstance(message, str) else message[-1]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_message_has_its_japanese(package: str) -> None:
    """With the same values in it."""
    catalogue = load_catalogue(["noren_web", package])
    found = list(extracted(package))
    assert found
    missing = [f"{place} {message!r}" for place, message in found if message and not catalogue.get(message)]
    assert missing == []
    unlike = [
        message
        for _, message in found
        if sorted(_PLACEHOLDER.findall(message)) != sorted(_PLACEHOLDER.findall(catalogue[message]))
    ]
    assert unlike == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_message_is_left_over(package: str) -> None:
    """A catalogue has nothing that no page says, and no message twice."""
    said = {message for _, message in extracted(package)}
    seen: set[str] = set()
    for file in sorted((folder(package) / "locale" / "ja").glob("*.po")):
        for message in read_po(BytesIO(file.read_bytes()), locale="ja"):
            identifier = message.id if isinstance(message.id, str) else message.id[-1]
            if not identifier:
                continue
            assert identifier in said, f"{file.name}: nobody says {identifier!r}"
            assert identifier not in seen, f"{file.name}: {identifier!r} is there twice"
            assert not message.fuzzy, f"{file.name}: {identifier!r} is fuzzy"
            seen.add(identifier)


@pytest.mark.parametrize(
    "template",
    [path for package in PACKAGES for path in sorted(folder(package).glob("templates/**/*.html"))],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_no_template_says_what_is_not_translated(template: Path) -> None:
    """No word stands in the markup itself, nor in an attribute that is read aloud."""
    assert untranslated(template.read_text()) == []


def untranslated(source: str) -> list[str]:
    """Words outside of every message."""
    text = _JINJA.sub(" ", _TRANS.sub(" ", source))
    spoken = " ".join(_SPOKEN_ATTRIBUTE.findall(text))
    found = _WORD.findall(_MARKUP.sub(" ", text)) + _WORD.findall(spoken)
    return [word for word in found if word not in _IN_THEIR_OWN_LANGUAGE]


def test_an_untranslated_word_is_found() -> None:
    """The check itself: in the markup, in Japanese, in an attribute; and not in a message or a tag."""
    assert untranslated("<p>Hello</p>") == ["Hello"]
    assert untranslated("<p>送信</p>") == ["送信"]
    assert untranslated('<a aria-label="Close">{{ _("Close") }}</a>') == ["Close"]
    assert untranslated('<p class="note">{{ _("Hello") }} {# why #}{% if a %}–{% endif %}</p>') == []
