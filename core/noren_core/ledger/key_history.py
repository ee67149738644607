"""Which key was current for whom at which place of the ledger: the one answer that every verifier uses.

A key is enrolled, replaced by the party that holds it, and ends; each of these is an entry. `KeyHistory`
takes those entries in the ledger's order and promises that

* the entry at index i counts only if it is signed by the key that was current at i: one that was replaced
  before i, or comes later, signs nothing, and a rotation itself is still signed by the old key;
* a replacement names the key that is current, and the holder of both agreed to it where the key can sign;
* no key ever serves two parties or two purposes, nor comes back after it was replaced;
* a company that was revoked says nothing more;
* the keys that the verifier was given out of band are among the platform's, wherever in their succession.

What is not shown to a verifier cannot be taken into account: a company sees the rotations of its cohort and
of the platform, the auditor sees all (docs/protocol.md §0.4).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.errors import VerificationError
from noren_core.ledger.checkpoint import Checkpoint, claimed_size, open_checkpoint
from noren_core.ledger.entries import (
    PLATFORM,
    CompanyKey,
    EntryKind,
    PlatformKey,
    SignedEntry,
    verify_author,
    verify_countersignature,
)
from noren_core.ledger.note import VerifierKey

MAX_ROTATIONS = 32
"""Of each key of each party: whoever verifies one entry must be shown all of them."""

KEY_KINDS = frozenset(
    {EntryKind.ENROLMENT, EntryKind.KEY_ROTATION, EntryKind.PLATFORM_KEY_ROTATION, EntryKind.REVOCATION}
)
"""The entries that say which keys count."""

_POSSESSION_LABEL = b"noren/v1/key-possession"
_ENDORSEMENT_LABEL = b"noren/v1/key-endorsement"

Role = CompanyKey | PlatformKey
_Verify = Callable[[SignedEntry, bytes], None]

_ENROLLED_KEYS = {
    CompanyKey.SIGNING: "signing_key",
    CompanyKey.SEALING: "sealing_key",
    CompanyKey.TLS: "tls_key_sha256",
    CompanyKey.NODE: "node_key_sha256",
}


class KeyFault(StrEnum):
    """Why an entry or checkpoint does not count."""

    COUNTERSIGNATURE = "COUNTERSIGNATURE"
    AUTHOR_SIGNATURE = "AUTHOR_SIGNATURE"
    NOT_ENROLLED = "NOT_ENROLLED"
    RETIRED_KEY = "RETIRED_KEY"
    REVOKED = "REVOKED"
    ENROLLED_TWICE = "ENROLLED_TWICE"
    KEY_TAKEN = "KEY_TAKEN"
    NOT_THE_CURRENT_KEY = "NOT_THE_CURRENT_KEY"
    POSSESSION = "POSSESSION"
    TOO_MANY_ROTATIONS = "TOO_MANY_ROTATIONS"
    ORDER = "ORDER"
    OTHER_ANCHOR = "OTHER_ANCHOR"


class KeyHistoryError(VerificationError):
    """A signature, or a change of keys, that the history does not bear out; carries which rule it breaks."""

    def __init__(self, fault: KeyFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Anchors:
    """The platform's two keys as they came out of band: an invitation's pins, a trust file's lines."""

    log: VerifierKey
    platform: bytes


@dataclass(frozen=True, slots=True)
class _Period:
    """A key and the first index at which it is current."""

    first: int
    key: str


class KeyHistory:
    """All keys of a ledger, entry by entry, beginning with the platform's first two."""

    def __init__(self, anchors: Anchors, *, first: Anchors | None = None) -> None:
        """A history in which only the platform's keys are known.

        Args:
            anchors: what this verifier believes.
            first: the keys that the log began with, if rotations lead from them to the anchors.
        """
        self._anchors = anchors
        began = first or anchors
        self._periods: dict[tuple[str, Role], list[_Period]] = {}
        self._owners: dict[str, str] = {}
        self._revoked: dict[str, int] = {}
        self._entries: dict[int, SignedEntry] = {}
        self._last = -1
        self._begin(PLATFORM, PlatformKey.PLATFORM, 0, began.platform.hex())
        self._begin(PLATFORM, PlatformKey.LOG, 0, began.log.to_text())

    @classmethod
    def begin(cls, anchors: Anchors, entries: Mapping[int, SignedEntry]) -> KeyHistory:
        """A history with none of `entries` read, from the first keys from which they lead to the anchors.

        An anchor may be any of the platform's successive keys: an invitation of today pins today's, and the
        entries of last year are signed by those that were replaced. Which keys came first is taken from the
        rotations here; `admit` verifies each of them, and `verify_anchored`, for who goes on after a failure,
        that the anchors were reached.
        """
        log, platform = anchors.log.to_text(), anchors.platform.hex()
        for index in sorted(entries, reverse=True):
            body = entries[index].body
            if entries[index].kind is not EntryKind.PLATFORM_KEY_ROTATION:
                continue
            if (body["key"], body["new"]) == (PlatformKey.PLATFORM, platform):
                platform = body["old"]
            if (body["key"], body["new"]) == (PlatformKey.LOG, log):
                log = body["old"]
        return cls(anchors, first=Anchors(VerifierKey.from_text(log), bytes.fromhex(platform)))

    def extended(self, entries: Mapping[int, SignedEntry]) -> KeyHistory:
        """This history and further key entries, wherever in the ledger they stand.

        1. What is known already may be shown again, but nothing else in its place.
        2. All are read in the ledger's order; those that are new are verified, too. As none of them may fail,
           the anchors that `begin` started from are reached.

        Raises:
            KeyHistoryError: at the first entry that does not fit; this history is unchanged.
        """
        # 1
        if any(self._entries.get(index, entry) != entry for index, entry in entries.items()):
            raise KeyHistoryError(KeyFault.ORDER, "keys: expected the entries that were proven, got others")
        if entries.keys() <= self._entries.keys():
            return self
        # 2
        merged = {**self._entries, **entries}
        history = KeyHistory.begin(self._anchors, merged)
        for index in sorted(merged):
            if index not in self._entries:
                history.verify(index, merged[index])
            history.learn(index, merged[index])
        return history

    @property
    def entries(self) -> dict[int, SignedEntry]:
        """The key entries that were learnt, by index."""
        return dict(self._entries)

    def key_at(self, party: str, role: Role, index: int) -> str:
        """The key of `party` that is current at `index`, as entries spell it.

        Hex of a public key for signing, sealing and platform, of a SHA-256 for tls and node; a verifier key
        for log.

        Raises:
            KeyHistoryError: if the party had none by then.
        """
        periods = self._periods.get((party, role), [])
        place = bisect_right(periods, index, key=lambda period: period.first)
        if not place:
            raise KeyHistoryError(KeyFault.NOT_ENROLLED, "entry: expected the author's enrolment before it")
        return periods[place - 1].key

    def keys_of(self, party: str, role: Role) -> tuple[str, ...]:
        """Every key that the party ever had for this, the first one first."""
        return tuple(period.key for period in self._periods.get((party, role), []))

    def signing_key(self, author: str, index: int) -> bytes:
        """The public key that an entry of `author` at `index` must be signed by.

        Raises:
            KeyHistoryError: if the author was not enrolled by then, or was revoked.
        """
        if self.is_revoked(author, index):
            raise KeyHistoryError(KeyFault.REVOKED, "entry: expected nothing of a company that was revoked")
        return bytes.fromhex(self.key_at(author, _signing_role(author), index))

    def log_key(self, size: int) -> VerifierKey:
        """The key that a checkpoint over `size` entries must be signed by."""
        return VerifierKey.from_text(self.key_at(PLATFORM, PlatformKey.LOG, size))

    def is_revoked(self, company: str, index: int) -> bool:
        """Whether the company was revoked before `index`."""
        return company in self._revoked and self._revoked[company] < index

    def open_checkpoint(self, data: bytes) -> Checkpoint:
        """The checkpoint in `data`, if the log key that is current at its size signed it.

        Other signatures are ignored: during a change of keys the old key signs along, and witnesses may.
        """
        key = self.log_key(claimed_size(data))
        try:
            return open_checkpoint(data, key)
        except VerificationError as error:
            others = map(VerifierKey.from_text, self.keys_of(PLATFORM, PlatformKey.LOG))
            if any(_opens(data, other) for other in others if other != key):
                raise KeyHistoryError(
                    KeyFault.RETIRED_KEY,
                    "checkpoint: expected the log key that is current at its size, got another one",
                ) from error
            raise

    def verify(self, index: int, entry: SignedEntry) -> None:
        """Verify the signatures of the entry that stands at `index`.

        1. The platform's key that is current there countersigned it.
        2. The author's key that is current there signed it. An enrolment brings its key, and so shows that
           its author has it.
        3. A rotation is signed by the new key, too, and one of the log key by the old log key, where these
           are keys that sign.

        Raises:
            KeyHistoryError: saying which of these does not hold.
        """
        # 1
        self._verify_by(PLATFORM, index, entry, verify_countersignature, KeyFault.COUNTERSIGNATURE)
        # 2
        if entry.kind is EntryKind.ENROLMENT:
            _verified(entry, bytes.fromhex(entry.body["signing_key"]))
        else:
            self._verify_by(entry.author, index, entry, verify_author, KeyFault.AUTHOR_SIGNATURE)
        # 3
        if entry.kind in (EntryKind.KEY_ROTATION, EntryKind.PLATFORM_KEY_ROTATION):
            _verify_change(entry)

    def learn(self, index: int, entry: SignedEntry) -> None:
        """Take a verified entry into account, for the indices after it; others than `KEY_KINDS` say nothing.

        Entries come in the ledger's order. Everything is checked before anything is changed:

        1. A company enrols once, with keys that nobody had.
        2. A rotation replaces the key that is current, by one that nobody had, not for ever anew.
        3. A revocation ends an enrolled company, once.

        Raises:
            KeyHistoryError: saying which of these does not hold; nothing is changed.
        """
        if entry.kind not in KEY_KINDS:
            return
        if index <= self._last:
            raise KeyHistoryError(KeyFault.ORDER, "keys: expected entries in the ledger's order, got another")
        match entry.kind:
            case EntryKind.ENROLMENT:
                self._enrol(index, entry)  # 1
            case EntryKind.REVOCATION:
                self._revoke(index, entry)  # 3
            case _:
                self._rotate(index, entry)  # 2
        self._entries[index] = entry
        self._last = index

    def admit(self, index: int, entry: SignedEntry) -> None:
        """Verify the entry at `index`, then learn it."""
        self.verify(index, entry)
        self.learn(index, entry)

    def verify_anchored(self) -> None:
        """Raise KeyHistoryError unless both anchors are, or were, the platform's keys."""
        for role, anchor in (
            (PlatformKey.PLATFORM, self._anchors.platform.hex()),
            (PlatformKey.LOG, self._anchors.log.to_text()),
        ):
            if anchor not in self.keys_of(PLATFORM, role):
                raise KeyHistoryError(
                    KeyFault.OTHER_ANCHOR, f"keys: expected the trusted {role} key among the platform's"
                )

    def _verify_by(
        self,
        party: str,
        index: int,
        entry: SignedEntry,
        verify: _Verify,
        fault: KeyFault,
    ) -> None:
        """By the party's current key; a key that it had before or later is named as such."""
        key = self.signing_key(party, index)
        try:
            verify(entry, key)
        except VerificationError as error:
            others = map(bytes.fromhex, self.keys_of(party, _signing_role(party)))
            if any(_verifies(verify, entry, other) for other in others if other != key):
                raise KeyHistoryError(
                    KeyFault.RETIRED_KEY, "entry: expected the key that is current there, got another one"
                ) from error
            raise KeyHistoryError(fault, f"entry: {error.message}") from error

    def _enrol(self, index: int, entry: SignedEntry) -> None:
        company = entry.author
        if (company, CompanyKey.SIGNING) in self._periods:
            raise KeyHistoryError(
                KeyFault.ENROLLED_TWICE, "enrolment: expected one per company, got a second"
            )
        keys = {role: entry.body[field] for role, field in _ENROLLED_KEYS.items()}
        if len(set(keys.values())) < len(keys):
            raise _taken("enrolment")
        for role, key in keys.items():
            self._require_fresh(role, key)
        for role, key in keys.items():
            self._begin(company, role, index, key)

    def _rotate(self, index: int, entry: SignedEntry) -> None:
        body = entry.body
        role: Role = _role(entry)
        if self.is_revoked(entry.author, index):
            raise KeyHistoryError(KeyFault.REVOKED, "rotation: expected a company that was not revoked")
        if self.key_at(entry.author, role, index) != body["old"]:
            raise KeyHistoryError(
                KeyFault.NOT_THE_CURRENT_KEY, "rotation: expected it to replace the current key, got another"
            )
        if len(self._periods[entry.author, role]) > MAX_ROTATIONS:
            raise KeyHistoryError(
                KeyFault.TOO_MANY_ROTATIONS, f"rotation: expected at most {MAX_ROTATIONS} of one key"
            )
        self._require_fresh(role, body["new"])
        self._begin(entry.author, role, index + 1, body["new"])

    def _revoke(self, index: int, entry: SignedEntry) -> None:
        company = entry.body["company"]
        self.key_at(company, CompanyKey.SIGNING, index)
        if company in self._revoked:
            raise KeyHistoryError(KeyFault.REVOKED, "revocation: expected one per company, got a second")
        self._revoked[company] = index

    def _require_fresh(self, role: Role, key: str) -> None:
        if _comparable(role, key) in self._owners:
            raise _taken(role)

    def _begin(self, party: str, role: Role, first: int, key: str) -> None:
        self._periods.setdefault((party, role), []).append(_Period(first, key))
        self._owners[_comparable(role, key)] = party


def sign_change(key: SigningKey, *, party: str, role: Role, old: str, new: str, endorses: bool) -> str:
    """The hex signature with which the new key shows that it is held, or the old log key agrees."""
    label = _ENDORSEMENT_LABEL if endorses else _POSSESSION_LABEL
    return key.sign(label, _statement(party, role, old, new)).hex()


def _statement(party: str, role: Role, old: str, new: str) -> bytes:
    return canonical_json.encode({"key": role.value, "new": new, "old": old, "party": party})


def _verify_change(entry: SignedEntry) -> None:
    """The signatures in a rotation's body: of the new key if it can sign, of the old log key."""
    role, body = _role(entry), entry.body
    statement = _statement(entry.author, role, body["old"], body["new"])
    wanted = []
    if "possession" in body:
        wanted.append((_public_key(role, body["new"]), _POSSESSION_LABEL, body["possession"]))
    if "endorsement" in body:
        wanted.append((_public_key(role, body["old"]), _ENDORSEMENT_LABEL, body["endorsement"]))
    for public_key, label, signature in wanted:
        try:
            verify_signature(public_key, label, statement, bytes.fromhex(signature))
        except VerificationError as error:
            raise KeyHistoryError(
                KeyFault.POSSESSION, "rotation: expected both keys to sign for it, got another signature"
            ) from error


def _verified(entry: SignedEntry, key: bytes) -> None:
    try:
        verify_author(entry, key)
    except VerificationError as error:
        raise KeyHistoryError(KeyFault.AUTHOR_SIGNATURE, f"entry: {error.message}") from error


def _verifies(verify: _Verify, entry: SignedEntry, key: bytes) -> bool:
    try:
        verify(entry, key)
    except VerificationError:
        return False
    return True


def _opens(checkpoint: bytes, key: VerifierKey) -> bool:
    try:
        open_checkpoint(checkpoint, key)
    except VerificationError:
        return False
    return True


def _role(entry: SignedEntry) -> Role:
    names = CompanyKey if entry.kind is EntryKind.KEY_ROTATION else PlatformKey
    return names(entry.body["key"])


def _signing_role(author: str) -> Role:
    return PlatformKey.PLATFORM if author == PLATFORM else CompanyKey.SIGNING


def _public_key(role: Role, key: str) -> bytes:
    return VerifierKey.from_text(key).public_key if role is PlatformKey.LOG else bytes.fromhex(key)


def _comparable(role: Role, key: str) -> str:
    """One spelling for every kind, so that a key is recognised whatever it was used for."""
    return _public_key(role, key).hex()


def _taken(what: str) -> KeyHistoryError:
    return KeyHistoryError(
        KeyFault.KEY_TAKEN, f"{what}: expected keys that nobody had, got one that was used"
    )
