"""The codes with which the platform refuses a call, and the one sentence that goes with each.

A refusal says nothing that depends on a person or on another company: the sentence is constant, and
whatever a company may not tell apart (never asked, withdrawn, no data, another's campaign) has one code
(docs/protocol.md §7). The code travels in trailing metadata; the caller takes the sentence from here and
never shows text that came over the wire.
"""

from __future__ import annotations

from enum import StrEnum

METADATA_KEY = "noren-code"
VERSION_KEY = "noren-version"
"""With every answer of the company service: the platform's release, for people to compare."""


class Refusal(StrEnum):
    """Every code that crosses the wire."""

    INVITATION_UNKNOWN = "INVITATION_UNKNOWN"
    INVITATION_USED = "INVITATION_USED"
    INVITATION_EXPIRED = "INVITATION_EXPIRED"
    TOO_MANY_ATTEMPTS = "TOO_MANY_ATTEMPTS"
    ALREADY_ENROLLED = "ALREADY_ENROLLED"
    CERTIFICATE_REFUSED = "CERTIFICATE_REFUSED"
    NOT_AVAILABLE = "NOT_AVAILABLE"
    NOT_ACCEPTED = "NOT_ACCEPTED"
    NOT_READY = "NOT_READY"
    BATCH_SIZE = "BATCH_SIZE"
    EVALUATION_LIMIT = "EVALUATION_LIMIT"
    HEAD_LIMIT = "HEAD_LIMIT"
    WEIGHTS_LIMIT = "WEIGHTS_LIMIT"
    KEY_IN_USE = "KEY_IN_USE"
    KEY_TAKEN = "KEY_TAKEN"
    KEY_NOT_CURRENT = "KEY_NOT_CURRENT"
    BAD_DATA = "BAD_DATA"
    PROTOCOL_VIOLATION = "PROTOCOL_VIOLATION"
    NOT_VERIFIED = "NOT_VERIFIED"
    PLAN_MISMATCH = "PLAN_MISMATCH"
    UNKNOWN_TREE_SIZE = "UNKNOWN_TREE_SIZE"
    GATE_NOT_OPEN = "GATE_NOT_OPEN"
    BATCH_LIMIT = "BATCH_LIMIT"
    SERVICE_SUSPENDED = "SERVICE_SUSPENDED"
    LAUNCH_BLOCKED = "LAUNCH_BLOCKED_COVERAGE"
    PENDING_ERASURE_ORDERS = "PENDING_ERASURE_ORDERS"
    CERTIFICATE_INCOMPLETE = "CERT_INCOMPLETE"
    INTERNAL = "INTERNAL"

    @property
    def sentence(self) -> str:
        """What it means, for people."""
        return _SENTENCES[self]


_SENTENCES = {
    Refusal.INVITATION_UNKNOWN: "the invitation code is not one of ours",
    Refusal.INVITATION_USED: "the invitation was used; ask the platform for another",
    Refusal.INVITATION_EXPIRED: "the invitation has expired; ask the platform for another",
    Refusal.TOO_MANY_ATTEMPTS: "too many attempts came from this caller; try again later",
    Refusal.ALREADY_ENROLLED: "a company of this name, or with this key, has enrolled before",
    Refusal.CERTIFICATE_REFUSED: "expected the certificate of an enrolled company, got none or another",
    Refusal.NOT_AVAILABLE: "there is nothing under this name for this company",
    Refusal.NOT_ACCEPTED: "expected the company's acceptance of the campaign's plan first",
    Refusal.NOT_READY: "not there yet; try again later",
    Refusal.BATCH_SIZE: "expected exactly as many elements as the plan's padded batch",
    Refusal.EVALUATION_LIMIT: "the plan's number of evaluations is used up; nothing was evaluated",
    Refusal.HEAD_LIMIT: "expected one message of heads per season to score, got a second",
    Refusal.WEIGHTS_LIMIT: "expected one message of weights per campaign, got a second",
    Refusal.KEY_IN_USE: "a campaign that names this company still relies on the key; change it afterwards",
    Refusal.KEY_TAKEN: "expected a key that nobody has or had, got one that the ledger knows",
    Refusal.KEY_NOT_CURRENT: "expected the replacement of the current key, got another's",
    Refusal.BAD_DATA: "a field of the request is not what the format asks for",
    Refusal.PROTOCOL_VIOLATION: "the request is not what the protocol allows here",
    Refusal.NOT_VERIFIED: "a signature or proof in the request does not verify",
    Refusal.PLAN_MISMATCH: "the request is about another plan than the one in the ledger",
    Refusal.UNKNOWN_TREE_SIZE: "expected a tree size that the ledger has had, got a larger one",
    Refusal.GATE_NOT_OPEN: "expected a sealed decision batch whose cooling time is over, got none",
    Refusal.BATCH_LIMIT: "the plan's number of decision batches is used up",
    Refusal.SERVICE_SUSPENDED: "the service is suspended; withdrawal, disclosure and erasure go on",
    Refusal.LAUNCH_BLOCKED: "expected an attested, fresh and clear coverage report, got none",
    Refusal.PENDING_ERASURE_ORDERS: "expected every erasure order that is due to be certified first",
    Refusal.CERTIFICATE_INCOMPLETE: "the deletion certificate does not say all that its order asks for",
    Refusal.INTERNAL: "the platform could not answer; it keeps the reason in its own log",
}
