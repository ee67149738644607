"""Who may speak in the ledger: the platform by the trust file, companies by their enrolment entries."""

from __future__ import annotations

from noren_audit.findings import Code, Findings
from noren_audit.trust import Trust
from noren_core.errors import VerificationError
from noren_core.ledger.entries import (
    PLATFORM,
    EntryKind,
    SignedEntry,
    verify_author,
    verify_countersignature,
)


class Parties:
    """Keys and agreements seen so far, entry by entry."""

    def __init__(self, trust: Trust, findings: Findings) -> None:
        self._trust = trust
        self._findings = findings
        self._keys: dict[str, bytes] = {}
        self._agreed: set[str] = set()
        # Every key has one owner, whatever it is for.
        self._owners: dict[str, str] = {
            trust.platform_key.hex(): PLATFORM,
            trust.log_key.public_key.hex(): PLATFORM,
        }
        self._signatures: dict[bytes, int] = {}

    def admit(self, index: int, entry: SignedEntry) -> bool:
        """Whether this entry is authentic; if not, why not is recorded, and its content is not used.

        1. The platform countersigned it.
        2. Its author is the platform, or a company whose enrolment stands before it (or is it).
        3. The author signed it.
        4. It is not an earlier entry once more.
        """
        # 1
        try:
            verify_countersignature(entry, self._trust.platform_key)
        except VerificationError as error:
            self._findings.add(Code.COUNTERSIGNATURE, error.message, index=index)
            return False
        # 2
        key = self._author_key(entry)
        if key is None:
            self._findings.add(
                Code.NOT_ENROLLED, "expected the author's enrolment before this entry", index=index
            )
            return False
        # 3
        try:
            verify_author(entry, key)
        except VerificationError as error:
            self._findings.add(Code.AUTHOR_SIGNATURE, error.message, index=index)
            return False
        # 4
        first = self._signatures.setdefault(entry.signature, index)
        if first != index:
            self._findings.add(
                Code.ENTRY_REPLAYED, "expected each entry once, got one again", index=index, first=first
            )
        return True

    def start_log(self, index: int, entry: SignedEntry | None) -> None:
        """The log starts, once and first, with an entry that names what the trust file names."""
        starts_here = entry is not None and entry.kind is EntryKind.LOG_START
        if starts_here != (index == 0):
            self._findings.add(
                Code.LOG_START, "expected log-start as the first entry and nowhere else", index=index
            )
        trusted = {
            "origin": self._trust.origin,
            "platform_key": self._trust.platform_key.hex(),
            "log_key": self._trust.log_key.to_text(),
        }
        if entry is not None and starts_here and entry.body != trusted:
            self._findings.add(
                Code.LOG_START, "log-start: expected the origin and keys of the trust file", index=index
            )

    def enrol(self, index: int, entry: SignedEntry) -> None:
        """Learn a company's keys: one enrolment per company, and no key that someone has already."""
        company = entry.author
        if company in self._keys:
            self._findings.add(
                Code.ENROLMENT_REPEATED,
                "expected one enrolment per company, got a second",
                index=index,
                company=company,
            )
            return
        self._keys[company] = bytes.fromhex(entry.body["signing_key"])
        for field in ("signing_key", "sealing_key", "tls_key_sha256", "node_key_sha256"):
            owner = self._owners.setdefault(entry.body[field], company)
            if owner != company:
                self._findings.add(
                    Code.KEY_SHARED,
                    f"expected a {field} of this company's own, got one that another party has",
                    index=index,
                    company=company,
                    owner=owner,
                )

    def agree(self, entry: SignedEntry) -> None:
        """Learn that a company signed the participation agreement."""
        self._agreed.add(entry.author)

    def require_members(self, index: int, companies: tuple[str, ...]) -> None:
        """Every company of a cohort is enrolled and has signed the agreement before the plan names it."""
        for company in companies:
            if company not in self._keys:
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

    def _author_key(self, entry: SignedEntry) -> bytes | None:
        if entry.author == PLATFORM:
            return self._trust.platform_key
        if entry.kind is EntryKind.ENROLMENT:
            return bytes.fromhex(entry.body["signing_key"])  # whoever brings a key shows that it has it
        return self._keys.get(entry.author)
