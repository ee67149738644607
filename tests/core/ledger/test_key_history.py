"""Whose key counts where: every verifier's one answer, against a slow and obvious one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.crypto.identity import SigningKey
from noren_core.crypto.merkle import MerkleTree, leaf_hash
from noren_core.errors import VerificationError
from noren_core.ledger.checkpoint import sign_checkpoint
from noren_core.ledger.entries import (
    PLATFORM,
    CompanyKey,
    PlatformKey,
    SignedEntry,
    countersign,
    parse_entry,
    sign_entry,
)
from noren_core.ledger.key_history import (
    MAX_ROTATIONS,
    Anchors,
    KeyFault,
    KeyHistory,
    KeyHistoryError,
    sign_change,
)
from noren_core.ledger.note import VerifierKey
from noren_core.ledger.proofs import EntryProof, LedgerProof, SplitViewError, verify_ledger_proof

ORIGIN = "noren.example/log"


def key(name: str) -> SigningKey:
    return SigningKey.from_bytes(hashlib.sha256(name.encode()).digest())


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def verifier(name: str) -> VerifierKey:
    return VerifierKey(ORIGIN, key(name).public_key)


def anchors(log: str = "log 0", platform: str = "platform 0") -> Anchors:
    return Anchors(verifier(log), key(platform).public_key)


@dataclass
class Ledger:
    """An honest ledger; `signers` are the names of the keys that sign now."""

    entries: list[bytes] = field(default_factory=list)
    signers: dict[str, str] = field(default_factory=lambda: {PLATFORM: "platform 0", "log": "log 0"})
    changes: int = 0

    def say(self, kind: str, author: str, body: dict[str, Any], *, signer: str | None = None) -> int:
        signed = sign_entry(kind, author, body, key(signer or self.signers[author]))
        self.entries.append(countersign(signed, key(self.signers[PLATFORM])))
        return len(self.entries) - 1

    def enrol(self, company: str) -> int:
        self.signers[company] = f"{company} 0"
        hashes = {f: digest(f"{company} {f}") for f in ("sealing_key", "tls_key_sha256", "node_key_sha256")}
        body = {"company": company, "signing_key": key(f"{company} 0").public_key.hex(), **hashes}
        return self.say("enrolment", company, body)

    def agree(self, company: str) -> int:
        body = {
            "company": company,
            "agreement_sha256": digest("text"),
            "declared_size": len(self.entries) + 1,
        }
        return self.say("agreement", company, body)

    def rotate(self, company: str) -> int:
        self.changes += 1
        old, new = self.signers[company], f"{company} {self.changes}"
        texts = [key(name).public_key.hex() for name in (old, new)]
        index = self.say("key-rotation", company, company_change(company, texts[0], texts[1], new))
        self.signers[company] = new
        return index

    def rotate_platform(self, role: PlatformKey) -> int:
        self.changes += 1
        party = PLATFORM if role is PlatformKey.PLATFORM else "log"
        old, new = self.signers[party], f"{party} {self.changes}"
        index = self.say("platform-key-rotation", PLATFORM, platform_change(role, old, new))
        self.signers[party] = new
        return index

    def revoke(self, company: str) -> int:
        return self.say("revocation", PLATFORM, {"company": company, "reason": "LEFT"})

    def parsed(self) -> dict[int, SignedEntry]:
        return {index: parse_entry(data) for index, data in enumerate(self.entries)}

    def proof(self, known_size: int, *indices: int, log: str | None = None) -> LedgerProof:
        tree = MerkleTree([leaf_hash(entry) for entry in self.entries])
        items = (EntryProof(i, self.entries[i], tuple(tree.inclusion_proof(i))) for i in indices)
        return LedgerProof(
            sign_checkpoint(ORIGIN, tree.size, tree.root(), key(log or self.signers["log"])),
            tuple(tree.consistency_proof(known_size)),
            tuple(items),
        )


def company_change(company: str, old: str, new: str, signer: str) -> dict[str, Any]:
    role = CompanyKey.SIGNING
    possession = sign_change(key(signer), party=company, role=role, old=old, new=new, endorses=False)
    return {"company": company, "key": role.value, "old": old, "new": new, "possession": possession}


def platform_change(role: PlatformKey, old: str, new: str) -> dict[str, Any]:
    texts = [
        verifier(n).to_text() if role is PlatformKey.LOG else key(n).public_key.hex() for n in (old, new)
    ]
    change: dict[str, Any] = {"party": PLATFORM, "role": role, "old": texts[0], "new": texts[1]}
    body = {"key": role.value, "old": texts[0], "new": texts[1]}
    body["possession"] = sign_change(key(new), endorses=False, **change)
    if role is PlatformKey.LOG:
        body["endorsement"] = sign_change(key(old), endorses=True, **change)
    return body


def read(ledger: Ledger, trusted: Anchors) -> KeyHistory:
    """A history that has read everything."""
    history = KeyHistory.begin(trusted, ledger.parsed())
    for index, entry in ledger.parsed().items():
        history.admit(index, entry)
    history.verify_anchored()
    return history


def fault_of(ledger: Ledger) -> KeyFault:
    with pytest.raises(KeyHistoryError) as caught:
        read(ledger, anchors())
    return caught.value.fault


STEPS = st.lists(
    st.sampled_from(
        ["agree alpha", "agree beta", "rotate alpha", "rotate beta", "revoke beta", "platform", "log"]
    ),
    max_size=14,
)


@given(STEPS)
@settings(max_examples=30, deadline=None)
def test_every_place_has_the_key_that_signed_there(steps: list[str]) -> None:
    """Whatever the order of changes, each entry verifies by the key that was current, from every anchor."""
    ledger = Ledger()
    ledger.enrol("alpha")
    ledger.enrol("beta")
    expected = [("alpha", "alpha 0"), ("beta", "beta 0")]
    logs, is_revoked = ["log 0", "log 0"], False
    for step in steps:
        verb, _, company = step.partition(" ")
        if company == "beta" and is_revoked:
            continue
        logs.append(ledger.signers["log"])
        author = company if verb in ("agree", "rotate") else PLATFORM
        expected.append((author, ledger.signers[author]))
        match verb:
            case "agree":
                ledger.agree(company)
            case "rotate":
                ledger.rotate(company)
            case "revoke":
                ledger.revoke(company)
                is_revoked = True
            case role:
                ledger.rotate_platform(PlatformKey(role))
    for trusted in (anchors(), anchors(ledger.signers["log"], ledger.signers[PLATFORM])):
        history = read(ledger, trusted)
        for index, (author, name) in enumerate(expected):
            if not history.is_revoked(author, index):
                assert history.signing_key(author, index) == key(name).public_key
        assert [history.log_key(size) for size in range(len(logs))] == [verifier(name) for name in logs]
        assert history.log_key(len(logs)) == verifier(ledger.signers["log"])


def test_a_rotation_is_signed_by_the_old_key_and_counts_from_the_next_entry() -> None:
    """At its own index the old key is current, right after it the new one; both directions are refused."""
    ledger = Ledger()
    ledger.enrol("alpha")
    index = ledger.rotate("alpha")
    history = read(ledger, anchors())
    assert history.signing_key("alpha", index) == key("alpha 0").public_key
    assert history.signing_key("alpha", index + 1) == key("alpha 1").public_key
    ledger.say("agreement", "alpha", agreement_body(), signer="alpha 0")
    assert fault_of(ledger) is KeyFault.RETIRED_KEY


def agreement_body() -> dict[str, Any]:
    return {"company": "alpha", "agreement_sha256": digest("text"), "declared_size": 7}


def test_changes_that_do_not_follow_are_refused() -> None:
    """Another's key, a second successor, a key that was used, no possession, a revoked or unknown company."""
    alpha0, alpha1, beta0 = (key(name).public_key.hex() for name in ("alpha 0", "alpha 1", "beta 0"))
    platform0, log0 = (key(name).public_key.hex() for name in ("platform 0", "log 0"))
    fresh = key("fresh").public_key.hex()
    for old, new, holder, signer, fault in (
        (beta0, fresh, "fresh", "alpha 1", KeyFault.NOT_THE_CURRENT_KEY),
        (alpha0, fresh, "fresh", "alpha 1", KeyFault.NOT_THE_CURRENT_KEY),
        (alpha1, beta0, "beta 0", "alpha 1", KeyFault.KEY_TAKEN),
        (alpha1, alpha0, "alpha 0", "alpha 1", KeyFault.KEY_TAKEN),
        (alpha1, platform0, "platform 0", "alpha 1", KeyFault.KEY_TAKEN),
        (alpha1, log0, "log 0", "alpha 1", KeyFault.KEY_TAKEN),
        (alpha1, digest("beta sealing_key"), "fresh", "alpha 1", KeyFault.POSSESSION),
        (alpha1, fresh, "alpha 1", "alpha 1", KeyFault.POSSESSION),
        (alpha1, fresh, "fresh", "fresh", KeyFault.AUTHOR_SIGNATURE),
        (alpha1, fresh, "fresh", "beta 0", KeyFault.AUTHOR_SIGNATURE),
        (alpha1, fresh, "fresh", "alpha 0", KeyFault.RETIRED_KEY),
    ):
        ledger = Ledger()
        ledger.enrol("alpha")
        ledger.enrol("beta")
        ledger.rotate("alpha")
        ledger.say("key-rotation", "alpha", company_change("alpha", old, new, holder), signer=signer)
        assert fault_of(ledger) is fault, (old, new, signer)


def test_a_possession_is_for_one_change() -> None:
    """A signature of the new key for another company, or over another old key, is none for this change."""
    alpha0, fresh = (key(name).public_key.hex() for name in ("alpha 0", "fresh"))
    stolen = [
        company_change("beta", alpha0, fresh, "fresh")["possession"],
        company_change("alpha", digest("other"), fresh, "fresh")["possession"],
        sign_change(
            key("fresh"), party="alpha", role=CompanyKey.SIGNING, old=alpha0, new=fresh, endorses=True
        ),
    ]
    for possession in stolen:
        ledger = Ledger()
        ledger.enrol("alpha")
        body = {**company_change("alpha", alpha0, fresh, "fresh"), "possession": possession}
        ledger.say("key-rotation", "alpha", body)
        assert fault_of(ledger) is KeyFault.POSSESSION


def test_a_revoked_company_says_nothing_more() -> None:
    """Its earlier entries stand; any later one, a second revocation and a second enrolment are refused."""
    for after, fault in (
        (lambda ledger: ledger.agree("alpha"), KeyFault.REVOKED),
        (lambda ledger: ledger.rotate("alpha"), KeyFault.REVOKED),
        (lambda ledger: ledger.revoke("alpha"), KeyFault.REVOKED),
        (lambda ledger: ledger.enrol("alpha"), KeyFault.ENROLLED_TWICE),
        (lambda ledger: ledger.revoke("omega"), KeyFault.NOT_ENROLLED),
    ):
        ledger = Ledger()
        ledger.enrol("alpha")
        index = ledger.revoke("alpha")
        history = read(ledger, anchors())
        assert (history.is_revoked("alpha", index), history.is_revoked("alpha", index + 1)) == (False, True)
        after(ledger)
        assert fault_of(ledger) is fault


def test_the_number_of_rotations_is_bounded() -> None:
    """Whoever verifies is shown all rotations of a key, so there are at most 32 of it."""
    ledger = Ledger()
    ledger.enrol("alpha")
    for _ in range(MAX_ROTATIONS):
        ledger.rotate("alpha")
    read(ledger, anchors())
    ledger.rotate("alpha")
    assert fault_of(ledger) is KeyFault.TOO_MANY_ROTATIONS


def test_a_client_learns_new_keys_from_any_pin() -> None:
    """A proof with the rotations takes a client of the first pins, of today's, or mixed ones along."""
    ledger = Ledger()
    enrolled = ledger.enrol("alpha")
    first = verify_ledger_proof(ledger.proof(0, enrolled), known=None, keys=KeyHistory(anchors()))
    known = ledger.proof(0).checkpoint
    changes = (ledger.rotate_platform(PlatformKey.LOG), ledger.rotate_platform(PlatformKey.PLATFORM))
    agreed = ledger.agree("alpha")
    grown = verify_ledger_proof(ledger.proof(1, *changes, agreed), known=known, keys=first.keys)
    assert grown.checkpoint.size == 4
    for log in ("log 0", "log 1"):
        for platform in ("platform 0", "platform 2"):
            fresh = KeyHistory(anchors(log, platform))
            proof = ledger.proof(0, agreed, enrolled, *changes)
            assert len(verify_ledger_proof(proof, known=None, keys=fresh).entries) == 4


def test_a_client_that_is_not_shown_a_rotation_believes_nothing_after_it() -> None:
    """Without the rotation the new log key is a stranger's, and the old one alone does not seal it."""
    ledger = Ledger()
    ledger.enrol("alpha")
    rotation = ledger.rotate_platform(PlatformKey.LOG)
    fresh = KeyHistory(anchors())
    with pytest.raises(VerificationError):
        verify_ledger_proof(ledger.proof(0), known=None, keys=fresh)
    with pytest.raises(VerificationError):
        verify_ledger_proof(ledger.proof(0, rotation, log="log 0"), known=None, keys=fresh)
    verify_ledger_proof(ledger.proof(0, rotation), known=None, keys=fresh)


def test_two_ledgers_with_different_rotations_are_a_split_view() -> None:
    """A platform that replaces its key by different keys in two views is convicted by both checkpoints."""
    ledger, other = Ledger(), Ledger()
    ledger.enrol("alpha")
    other.enrol("alpha")
    index = ledger.rotate_platform(PlatformKey.PLATFORM)
    shown = verify_ledger_proof(ledger.proof(0, index), known=None, keys=KeyHistory(anchors()))
    other.changes = 7
    forked = other.rotate_platform(PlatformKey.PLATFORM)
    known = ledger.proof(0).checkpoint
    with pytest.raises(SplitViewError):
        verify_ledger_proof(other.proof(2, forked), known=known, keys=shown.keys)


def test_a_pin_that_nothing_leads_to_is_refused() -> None:
    """A rotation that names our pinned key as its successor needs that key's signature."""
    ledger = Ledger()
    body = platform_change(PlatformKey.PLATFORM, "platform 0", "ours")
    body["possession"] = "00" * 64
    ledger.say("platform-key-rotation", PLATFORM, body)
    with pytest.raises(KeyHistoryError) as caught:
        read(ledger, anchors(platform="ours"))
    assert caught.value.fault is KeyFault.POSSESSION


def test_kept_entries_cannot_be_exchanged() -> None:
    """An index that was proven once is never another entry, and entries are read in the ledger's order."""
    ledger = Ledger()
    ledger.enrol("alpha")
    ledger.enrol("beta")
    parsed = ledger.parsed()
    history = KeyHistory(anchors()).extended(parsed)
    assert history.extended(parsed) is history
    with pytest.raises(KeyHistoryError) as caught:
        history.extended({0: parsed[1]})
    assert caught.value.fault is KeyFault.ORDER
    late = KeyHistory(anchors())
    late.admit(1, parsed[1])
    with pytest.raises(KeyHistoryError) as disordered:
        late.learn(0, parsed[0])
    assert disordered.value.fault is KeyFault.ORDER
