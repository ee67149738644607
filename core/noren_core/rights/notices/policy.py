"""A policy version: what students are told, word for word, and the same as fields that a program can check.

docs/rights/policies-and-screens.md §1. Promises: whoever holds a `PolicyVersion` holds the text of every
clause and of every purpose in every language, and for every purpose who receives what, for how long, and what
a withdrawal does. Its digest is over all of it. A change that widens a purpose is material for that purpose,
however the text puts it.

Refuses a policy with a clause missing in a language, with a placeholder that nothing fills, with text that
does not show (control characters, white space that is laid out otherwise), and with a purpose that nobody can
consent to. Approvals are no part of a version, since each is a signature over its digest (`policy_approval`).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self, TypeVar

from noren_core import canonical_json, toml_text
from noren_core.errors import DataError, LocalProtocolError
from noren_core.ids import parse_name
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_validity import PolicyStatus
from noren_core.rights.locales import Locale
from noren_core.rights.notices.data_categories import DataCategory, DataLevel, DataSource, RecipientClass
from noren_core.rights.notices.page_text import normalise_text
from noren_core.rights.notices.placeholders import FACT_NAMES, placeholders_in
from noren_core.rights.purposes import Purpose, parse_purpose

SCHEMA = "noren/policy/1"
MAX_POLICY_BYTES = 256 << 10
MAX_TEXT_CHARACTERS = 2000
MAX_RETENTION_DAYS = 3 * 366
MAX_GRACE_DAYS = 90
MAX_ROUTES = 16

_DPIA = re.compile(r"[A-Z0-9][A-Z0-9._-]{1,39}\Z")
_UNSHOWN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})

_Word = TypeVar("_Word", bound=StrEnum)


class WithdrawalEffect(StrEnum):
    """What a withdrawal does, from the strongest effect to the weakest."""

    STOP_AND_ERASE = "stop-and-erase"
    STOP = "stop"


class MaterialChange(StrEnum):
    """Why a consent under the old version does not reach the new one."""

    NEW_PURPOSE = "new-purpose"
    PURPOSE_ENDED = "purpose-ended"
    RECIPIENT = "recipient"
    DATA_OR_SOURCE = "data-or-source"
    INDIVIDUAL_LEVEL = "individual-level"
    IDENTIFIABLE_PROVISION = "identifiable-provision"
    LONGER_RETENTION = "longer-retention"
    WEAKER_WITHDRAWAL = "weaker-withdrawal"


@dataclass(frozen=True, slots=True, order=True)
class DataItem:
    """One kind of data, where it comes from, and whether it is about one person."""

    category: DataCategory
    source: DataSource
    level: DataLevel


@dataclass(frozen=True, slots=True)
class PurposeTerms:
    """What a policy says about one purpose.

    Attributes:
        purpose: which.
        text: what it is, in the words of each language; may have placeholders.
        recipients: who receives the data.
        identifiable_provision: whether a recipient learns something about this very person.
        data: what is used or provided.
        retention_days: after how many days the last of it is deleted.
        withdrawal: what a withdrawal does.
    """

    purpose: Purpose
    text: Mapping[Locale, str]
    recipients: frozenset[RecipientClass]
    identifiable_provision: bool
    data: frozenset[DataItem]
    retention_days: int
    withdrawal: WithdrawalEffect


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of screen on which the policy must be shown, and the purposes that it asks for."""

    route: str
    purposes: tuple[Purpose, ...]


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One version of the policy.

    Attributes:
        policy: its name.
        season: for which it is.
        replaces: the version before it, or an empty text.
        dpia: the id of its data protection impact assessment.
        grace_days: for how long consents under the version before it go on where nothing material changed.
        clauses: the text of every clause in every language; may have placeholders.
        terms: by purpose.
        routes: every screen on which it must be shown.
    """

    policy: str
    season: str
    replaces: str
    dpia: str
    grace_days: int
    clauses: Mapping[Locale, Mapping[Clause, str]]
    terms: Mapping[Purpose, PurposeTerms]
    routes: Mapping[str, Route]

    def to_body(self) -> dict[str, Any]:
        """The machine twin: what is hashed, and what a policy file spells."""
        return {
            "schema": SCHEMA,
            "policy": self.policy,
            "season": self.season,
            "replaces": self.replaces,
            "dpia": self.dpia,
            "grace_days": self.grace_days,
            "clauses": {
                locale.value: {clause.value: text for clause, text in texts.items()}
                for locale, texts in self.clauses.items()
            },
            "terms": [_terms_body(self.terms[purpose]) for purpose in sorted(self.terms)],
            "routes": [
                {"route": name, "purposes": list(self.routes[name].purposes)} for name in sorted(self.routes)
            ],
        }

    def to_bytes(self) -> bytes:
        """The canonical bytes of the machine twin."""
        return canonical_json.encode(self.to_body())

    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes: what is approved, and what the ledger states."""
        return hashlib.sha256(self.to_bytes()).digest()

    @classmethod
    def from_body(cls, body: Any) -> Self:
        """The version with these fields.

        Raises:
            DataError: naming the first field that is wrong; with code PURPOSE_FORBIDDEN or PURPOSE_UNKNOWN
                where that is what is wrong.
        """
        fields = _exactly(body, _FIELDS, "policy")
        if fields["schema"] != SCHEMA:
            raise DataError(f"policy.schema: expected {SCHEMA}, got another")
        replaces = fields["replaces"]
        terms = {item.purpose: item for item in map(_terms, _items(fields["terms"], "terms", len(Purpose)))}
        routes = {item.route: item for item in map(_route, _items(fields["routes"], "routes", MAX_ROUTES))}
        if len(terms) != len(fields["terms"]) or len(routes) != len(fields["routes"]):
            raise DataError("policy: expected every purpose and every route once, got one twice")
        version = cls(
            policy=parse_name(fields["policy"], "policy.policy"),
            season=parse_name(fields["season"], "policy.season"),
            replaces=replaces if replaces == "" else parse_name(replaces, "policy.replaces"),
            dpia=_dpia(fields["dpia"]),
            grace_days=_integer(fields["grace_days"], 0, MAX_GRACE_DAYS, "grace_days"),
            clauses=_clauses(fields["clauses"]),
            terms=terms,
            routes=routes,
        )
        _verify_whole(version)
        return version


def parse_policy(data: bytes) -> PolicyVersion:
    """The version that a policy file says, TOML or the canonical JSON of the machine twin.

    Raises:
        DataError: as `PolicyVersion.from_body`.
    """
    if len(data) > MAX_POLICY_BYTES:
        raise DataError(f"policy: expected at most {MAX_POLICY_BYTES} bytes, got more")
    if data.startswith(b"{"):
        return PolicyVersion.from_body(canonical_json.parse_object(data))
    return PolicyVersion.from_body(toml_text.parse(data))


def material_changes(old: PolicyVersion, new: PolicyVersion, purpose: Purpose) -> frozenset[MaterialChange]:
    """What changed for `purpose` from `old` to `new` so that a consent under `old` does not reach `new`.

    Judged by the machine twin, never by wording. In March 2019 a service that had provided nothing that
    identifies began to: that is IDENTIFIABLE_PROVISION, whatever else its policy said.
    """
    before, after = old.terms.get(purpose), new.terms.get(purpose)
    if after is None:
        return frozenset({MaterialChange.PURPOSE_ENDED})
    if before is None:
        return frozenset({MaterialChange.NEW_PURPOSE})
    return frozenset(change for change, is_changed in _CHANGES.items() if is_changed(before, after))


def material_change(old: PolicyVersion, new: PolicyVersion, purpose: Purpose) -> bool:
    """Whether anything in `material_changes` holds."""
    return bool(material_changes(old, new, purpose))


def verify_transition(old: PolicyStatus, new: PolicyStatus) -> None:
    """Raise LocalProtocolError, code POLICY_STATE, unless `new` may come after `old`."""
    if new not in _TRANSITIONS[old]:
        raise LocalProtocolError(
            f"policy: expected a step that state {old} allows, got one to {new}", code="POLICY_STATE"
        )


_TRANSITIONS: Mapping[PolicyStatus, frozenset[PolicyStatus]] = {
    PolicyStatus.DRAFT: frozenset({PolicyStatus.REVIEWED, PolicyStatus.RETIRED}),
    PolicyStatus.REVIEWED: frozenset({PolicyStatus.APPROVED, PolicyStatus.RETIRED}),
    PolicyStatus.APPROVED: frozenset({PolicyStatus.ACTIVE, PolicyStatus.RETIRED}),
    PolicyStatus.ACTIVE: frozenset({PolicyStatus.GRACE, PolicyStatus.RETIRED}),
    PolicyStatus.GRACE: frozenset({PolicyStatus.RETIRED}),
    PolicyStatus.RETIRED: frozenset(),
}

_EFFECTS = tuple(WithdrawalEffect)  # strongest first


def _is_individual(item: DataItem) -> bool:
    return item.level is DataLevel.INDIVIDUAL


def _kinds(terms: PurposeTerms) -> set[tuple[DataCategory, DataSource]]:
    return {(item.category, item.source) for item in terms.data}


def _goes_individual(before: PurposeTerms, after: PurposeTerms) -> bool:
    """Data that the old version knew in sums only is used person by person."""
    known = {(item.category, item.source) for item in before.data if _is_individual(item)}
    return any(
        (item.category, item.source) in _kinds(before) - known for item in after.data if _is_individual(item)
    )


_CHANGES: Mapping[MaterialChange, Callable[[PurposeTerms, PurposeTerms], bool]] = {
    MaterialChange.RECIPIENT: lambda before, after: not after.recipients <= before.recipients,
    MaterialChange.DATA_OR_SOURCE: lambda before, after: not _kinds(after) <= _kinds(before),
    MaterialChange.INDIVIDUAL_LEVEL: _goes_individual,
    MaterialChange.IDENTIFIABLE_PROVISION: lambda before, after: (
        after.identifiable_provision and not before.identifiable_provision
    ),
    MaterialChange.LONGER_RETENTION: lambda before, after: after.retention_days > before.retention_days,
    MaterialChange.WEAKER_WITHDRAWAL: lambda before, after: (
        _EFFECTS.index(after.withdrawal) > _EFFECTS.index(before.withdrawal)
    ),
}

_FIELDS = frozenset(
    {"schema", "policy", "season", "replaces", "dpia", "grace_days", "clauses", "terms", "routes"}
)
_TERMS_FIELDS = frozenset(
    {"purpose", "text", "recipients", "identifiable_provision", "data", "retention_days", "withdrawal"}
)


def _terms_body(terms: PurposeTerms) -> dict[str, Any]:
    return {
        "purpose": terms.purpose.value,
        "text": {locale.value: text for locale, text in terms.text.items()},
        "recipients": sorted(terms.recipients),
        "identifiable_provision": terms.identifiable_provision,
        "data": [
            {"category": item.category.value, "source": item.source.value, "level": item.level.value}
            for item in sorted(terms.data)
        ],
        "retention_days": terms.retention_days,
        "withdrawal": terms.withdrawal.value,
    }


def _terms(body: Any) -> PurposeTerms:
    fields = _exactly(body, _TERMS_FIELDS, "policy.terms")
    provision = fields["identifiable_provision"]
    if type(provision) is not bool:
        raise DataError("policy.terms.identifiable_provision: expected true or false, got another value")
    texts = _exactly(fields["text"], frozenset(Locale), "policy.terms.text")
    recipients = _items(fields["recipients"], "terms.recipients", len(RecipientClass))
    data = _items(fields["data"], "terms.data", 2 * len(DataCategory))
    return PurposeTerms(
        purpose=parse_purpose(fields["purpose"], "policy.terms.purpose"),
        text={locale: _text(texts[locale], "terms.text") for locale in Locale},
        recipients=frozenset(_word(RecipientClass, item, "terms.recipients") for item in recipients),
        identifiable_provision=provision,
        data=frozenset(_data_item(item) for item in data),
        retention_days=_integer(fields["retention_days"], 1, MAX_RETENTION_DAYS, "terms.retention_days"),
        withdrawal=_word(WithdrawalEffect, fields["withdrawal"], "terms.withdrawal"),
    )


def _data_item(body: Any) -> DataItem:
    fields = _exactly(body, frozenset({"category", "source", "level"}), "policy.terms.data")
    return DataItem(
        _word(DataCategory, fields["category"], "terms.data.category"),
        _word(DataSource, fields["source"], "terms.data.source"),
        _word(DataLevel, fields["level"], "terms.data.level"),
    )


def _route(body: Any) -> Route:
    fields = _exactly(body, frozenset({"route", "purposes"}), "policy.routes")
    purposes = tuple(
        parse_purpose(item, "policy.routes.purposes")
        for item in _items(fields["purposes"], "routes.purposes", len(Purpose))
    )
    if list(purposes) != sorted(set(purposes)):
        raise DataError("policy.routes.purposes: expected each once, in sorted order")
    return Route(parse_name(fields["route"], "policy.routes.route"), purposes)


def _clauses(body: Any) -> dict[Locale, dict[Clause, str]]:
    by_locale = _exactly(body, frozenset(Locale), "policy.clauses")
    found = {}
    for locale in Locale:
        texts = _exactly(by_locale[locale], frozenset(Clause), f"policy.clauses.{locale}")
        found[locale] = {clause: _text(texts[clause], f"clauses.{locale}.{clause}") for clause in Clause}
    return found


def _verify_whole(version: PolicyVersion) -> None:
    """1. Every placeholder is filled by somebody. 2. Every purpose is asked for on a screen, and no other."""
    known = FACT_NAMES | set(policy_values(version))  # 1
    texts = [text for by_clause in version.clauses.values() for text in by_clause.values()]
    texts += [text for terms in version.terms.values() for text in terms.text.values()]
    if not set().union(*map(placeholders_in, texts)) <= known:
        raise DataError("policy: expected placeholders of the listed names, got another one")
    asked = {purpose for route in version.routes.values() for purpose in route.purposes}  # 2
    if asked != set(version.terms):
        raise DataError("policy.routes: expected every purpose of the policy on a screen, and no other")


def policy_values(version: PolicyVersion) -> dict[str, str]:
    """What the policy itself fills in: its season, and for each purpose its days of retention."""
    days = {
        f"{purpose.value.partition('.')[0]}_retention_days": str(terms.retention_days)
        for purpose, terms in version.terms.items()
    }
    return {"season": version.season, "policy": version.policy, **days}


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT_CHARACTERS:
        raise DataError(f"policy.{what}: expected a text of 1 to {MAX_TEXT_CHARACTERS} characters")
    if any(unicodedata.category(character) in _UNSHOWN for character in value):
        raise DataError(f"policy.{what}: expected characters that show, got one that does not")
    if value != normalise_text(value):
        raise DataError(f"policy.{what}: expected composed characters and single spaces, got others")
    placeholders_in(value)
    return value


def _dpia(value: Any) -> str:
    if not isinstance(value, str) or not _DPIA.match(value):
        raise DataError("policy.dpia: expected the id of an impact assessment, got another value")
    return value


def _exactly(body: Any, names: frozenset[Any], what: str) -> dict[str, Any]:
    if not isinstance(body, dict) or body.keys() != names:
        raise DataError(f"{what}: expected exactly {', '.join(sorted(names))}; got others")
    return body


def _items(value: Any, what: str, most: int) -> list[Any]:
    if not isinstance(value, list) or not 0 < len(value) <= most:
        raise DataError(f"policy.{what}: expected a list of 1 to {most} items")
    return value


def _integer(value: Any, low: int, high: int, what: str) -> int:
    if type(value) is not int or not low <= value <= high:
        raise DataError(f"policy.{what}: expected an integer from {low} to {high}")
    return value


def _word(words: type[_Word], value: Any, what: str) -> _Word:
    if value not in tuple(words):
        raise DataError(f"policy.{what}: expected one of {', '.join(words)}; got another value")
    return words(value)
