"""Who may speak in the ledger: the platform by the trust file, companies by their enrolment entries."""

from __future__ import annotations

from collections.abc import Mapping

from noren_audit.verification.findings import Code, Findings
from noren_audit.verification.trust import Trust
from noren_core.ledger.entries import PLATFORM, CompanyKey, EntryKind, PlatformKey, SignedEntry
from noren_core.ledger.key_history import Anchors, KeyFault, KeyHistory, KeyHistoryError

_CODES = {
    KeyFault.COUNTERSIGNATURE: Code.COUNTERSIGNATURE,
    KeyFault.AUTHOR_SIGNATURE: Code.AUTHOR_SIGNATURE,
    KeyFault.NOT_ENROLLED: Code.NOT_ENROLLED,
    KeyFault.RETIRED_KEY: Code.RETIRED_KEY,
    KeyFault.REVOKED: Code.COMPANY_REVOKED,
    KeyFault.ENROLLED_TWICE: Code.ENROLMENT_REPEATED,
    KeyFault.KEY_TAKEN: Code.KEY_SHARED,
    KeyFault.NOT_THE_CURRENT_KEY: Code.ROTATION_CHAIN,
    KeyFault.ORDER: Code.ROTATION_CHAIN,
    KeyFault.POSSESSION: Code.ROTATION_NOT_AGREED,
    KeyFault.TOO_MANY_ROTATIONS: Code.ROTATIONS_TOO_MANY,
    KeyFault.OTHER_ANCHOR: Code.TRUSTED_KEY_MISSING,
}


class Parties:
    """Keys and agreements seen so far, entry by entry."""

    def __init__(self, trust: Trust, rotations: Mapping[int, SignedEntry], findings: Findings) -> None:
        """`rotations` are all of the platform's own: they show which keys came before the trusted ones."""
        self.keys = KeyHistory.begin(Anchors(trust.log_key, trust.platform_key), rotations)
        self._trust = trust
        self._findings = findings
        self._agreed: set[str] = set()
        self._signatures: dict[bytes, int] = {}

    def admit(self, index: int, entry: SignedEntry) -> bool:
        """Whether this entry is authentic; if not, why not is recorded, and its content is not used.

        1. The platform countersigned it and the author signed it, both with the keys that are current there.
        2. It is not an earlier entry once more.
        3. If it says whose key counts, that follows from what stood before.
        """
        try:
            self.keys.verify(index, entry)  # 1
            first = self._signatures.setdefault(entry.signature, index)
            if first != index:  # 2
                self._findings.add(
                    Code.ENTRY_REPLAYED, "expected each entry once, got one again", index=index, first=first
                )
            self.keys.learn(index, entry)  # 3
        except KeyHistoryError as error:
            self._findings.add(_CODES[error.fault], error.message, index=index, author=entry.author)
            return False
        return True

    def start_log(self, index: int, entry: SignedEntry | None) -> None:
        """The log starts, once and first, with the keys that lead to those that the trust file names."""
        starts_here = entry is not None and entry.kind is EntryKind.LOG_START
        if starts_here != (index == 0):
            self._findings.add(
                Code.LOG_START, "expected log-start as the first entry and nowhere else", index=index
            )
        first = {
            "origin": self._trust.origin,
            "platform_key": self.keys.key_at(PLATFORM, PlatformKey.PLATFORM, 0),
            "log_key": self.keys.key_at(PLATFORM, PlatformKey.LOG, 0),
        }
        if entry is not None and starts_here and entry.body != first:
            self._findings.add(
                Code.LOG_START,
                "log-start: expected the origin and keys of the trust file, or those that they replaced",
                index=index,
            )

    def finish(self) -> None:
        """The keys of the trust file are, or were, the platform's."""
        try:
            self.keys.verify_anchored()
        except KeyHistoryError as error:
            self._findings.add(_CODES[error.fault], error.message)

    def agree(self, entry: SignedEntry) -> None:
        """Learn that a company signed the participation agreement."""
        self._agreed.add(entry.author)

    def require_members(self, index: int, companies: tuple[str, ...]) -> None:
        """Every company of a cohort is enrolled, agreed and not revoked when the plan names it."""
        for company in companies:
            if not self.keys.keys_of(company, CompanyKey.SIGNING):
                self._findings.add(
                    Code.NOT_ENROLLED,
                    "expected the enrolment of every company of the cohort before the plan",
                    index=index,
                    company=company,
                )
            if company not in self._agreed:
                self._findings.add(
                    Code.AGREEMENT_MISSING,
                    "expected the agreement of every company of the cohort before the plan",
                    index=index,
                    company=company,
                )
            if self.keys.is_revoked(company, index):
                self._findings.add(
                    Code.COMPANY_REVOKED,
                    "expected a cohort without companies that were revoked before the plan",
                    index=index,
                    company=company,
                )
