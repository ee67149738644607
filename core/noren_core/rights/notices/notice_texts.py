"""Notices: the packaged policy, the facts that fill its gaps, and what a notice then says.

docs/rights/policies-and-screens.md §3. Promises: `notice_clauses` and `notice_purpose` give, for one company
and one position, exactly the words that a screen must show; whoever compares a screen with them needs nothing
else.

A facts file names each (company, position) once; what all of them share stands once in [common].
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Self

from noren_core import canonical_json, toml_text
from noren_core.errors import DataError
from noren_core.ids import parse_name
from noren_core.rights.clauses import REQUIRED_CLAUSES, Clause
from noren_core.rights.locales import Locale
from noren_core.rights.notices.page_text import normalise_text
from noren_core.rights.notices.placeholders import FACT_NAMES, fill
from noren_core.rights.notices.policy import PolicyVersion, parse_policy, policy_values
from noren_core.rights.purposes import Purpose

MAX_NOTICES_BYTES = 1 << 20
MAX_NOTICES = 2000
MAX_VALUE_CHARACTERS = 200
_UNSHOWN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class NoticeFacts:
    """What the notice of one company for one position fills in, by language and placeholder."""

    company: str
    position: str
    values: Mapping[Locale, Mapping[str, str]]

    def to_body(self) -> dict[str, Any]:
        """The fields."""
        values = {locale.value: dict(values) for locale, values in self.values.items()}
        return {"company": self.company, "position": self.position, **values}

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return canonical_json.encode(self.to_body())

    @classmethod
    def from_body(cls, body: Any) -> Self:
        """The facts with these fields; DataError naming the first that is wrong."""
        if not isinstance(body, dict) or body.keys() != {"company", "position", *Locale}:
            raise DataError("notice: expected company, position and values in every language, got others")
        return cls(
            parse_name(body["company"], "notice.company"),
            parse_name(body["position"], "notice.position"),
            {locale: _values(body[locale], f"notice.{locale}") for locale in Locale},
        )


def parse_notices(data: bytes) -> tuple[NoticeFacts, ...]:
    """The facts in a TOML file: tables `[common.ja]`, `[common.en]`, and `[[notice]]` with its own values.

    Raises:
        DataError: if a value is missing, unknown or no text that shows, or a company and position come twice.
    """
    if len(data) > MAX_NOTICES_BYTES:
        raise DataError(f"notices: expected at most {MAX_NOTICES_BYTES} bytes, got more")
    table = toml_text.parse(data)
    common, notices = table.pop("common", {}), table.pop("notice", [])
    if table or not isinstance(common, dict) or not set(common) <= set(Locale):
        raise DataError("notices: expected [common.ja], [common.en] and [[notice]], got others")
    if not isinstance(notices, list) or not 0 < len(notices) <= MAX_NOTICES:
        raise DataError(f"notices: expected 1 to {MAX_NOTICES} tables [[notice]]")
    found = tuple(NoticeFacts.from_body(_with_common(common, notice)) for notice in notices)
    if len({(facts.company, facts.position) for facts in found}) != len(found):
        raise DataError("notices: expected every company and position once, got one twice")
    return found


def packaged_policy(
    *, policy: str, season: str, dpia: str, replaces: str = "", grace_days: int = 30
) -> PolicyVersion:
    """The policy that comes with Noren, under the operator's names; DataError for a name that is none.

    Its texts say what this software does. Whoever changes the software, or runs it otherwise, changes them.
    """
    version = replace(
        parse_policy(packaged_policy_text()),
        policy=policy,
        season=season,
        dpia=dpia,
        replaces=replaces,
        grace_days=grace_days,
    )
    return PolicyVersion.from_body(version.to_body())


def packaged_policy_text() -> bytes:
    """The file of the packaged policy, to be copied and edited."""
    return resources.files("noren_core.rights.notices").joinpath("packaged_policy.toml").read_bytes()


def required_clauses(purposes: tuple[Purpose, ...]) -> frozenset[Clause]:
    """Every clause that a screen asking for these purposes must show."""
    return frozenset().union(*(REQUIRED_CLAUSES[purpose] for purpose in purposes))


def notice_clauses(version: PolicyVersion, facts: NoticeFacts, locale: Locale) -> dict[Clause, str]:
    """The words of every clause in one notice, normalised."""
    values = _all_values(version, facts, locale)
    return {c: normalise_text(fill(text, values)) for c, text in version.clauses[locale].items()}


def notice_purpose(version: PolicyVersion, facts: NoticeFacts, locale: Locale, purpose: Purpose) -> str:
    """The words of one purpose in one notice, normalised; DataError if the policy does not have it."""
    if purpose not in version.terms:
        raise DataError("notice: expected a purpose of the policy, got another", code="PURPOSE_UNKNOWN")
    text = version.terms[purpose].text[locale]
    return normalise_text(fill(text, _all_values(version, facts, locale)))


def _all_values(version: PolicyVersion, facts: NoticeFacts, locale: Locale) -> dict[str, str]:
    return {**facts.values[locale], **policy_values(version)}


def _with_common(common: Mapping[str, Any], notice: Any) -> Any:
    if not isinstance(notice, dict):
        raise DataError("notices: expected tables [[notice]], got another value")
    merged = dict(notice)
    for locale in Locale:
        shared, own = common.get(locale, {}), notice.get(locale, {})
        if not isinstance(shared, dict) or not isinstance(own, dict):
            raise DataError(f"notice.{locale}: expected a table of texts, got another value")
        merged[locale.value] = {**shared, **own}
    return merged


def _values(body: Any, what: str) -> dict[str, str]:
    if not isinstance(body, dict) or body.keys() != FACT_NAMES:
        raise DataError(f"{what}: expected exactly {', '.join(sorted(FACT_NAMES))}; got others")
    return {name: _value(body[name], f"{what}.{name}") for name in sorted(body)}


def _value(value: Any, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_VALUE_CHARACTERS:
        raise DataError(f"{what}: expected a text of 1 to {MAX_VALUE_CHARACTERS} characters")
    if any(unicodedata.category(c) in _UNSHOWN or c in "{}" for c in value) or value != normalise_text(value):
        raise DataError(f"{what}: expected characters that show, composed, with single spaces, no braces")
    return value
