"""What a company does with a `LedgerProof`: current keys, then everything else (protocol §0.4, §6.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from noren_core.wire.v1 import training_pb2 as wire

from . import expect
from .ledger import Entry, canonical, read_entry, unhex
from .merkle_proof import (
    Checkpoint,
    log_key,
    read_checkpoint,
    unsigned_checkpoint,
    verify_consistency,
    verify_inclusion,
)
from .training import verify

_KEYS_OF_ENROLMENT = {
    "signing": "signing_key",
    "sealing": "sealing_key",
    "tls": "tls_key_sha256",
    "node": "node_key_sha256",
}
_KEY_ENTRIES = {"log-start", "enrolment", "key-rotation", "platform-key-rotation", "revocation"}


@dataclass(slots=True)
class _Chain:
    """One key and its changes: the key, and the index from which on it is current."""

    keys: list[tuple[int, str]]

    def at(self, index: int) -> str:
        current = [key for since, key in self.keys if since <= index]
        expect(current, "a key that is current there")
        return current[-1]

    def change(self, index: int, old: str, new: str) -> None:
        expect(
            self.keys[-1] == (self.keys[-1][0], old) and self.keys[-1][0] <= index, "the current key as old"
        )
        expect(len(self.keys) <= 32, "at most 32 changes")
        self.keys.append((index + 1, new))


@dataclass(slots=True)
class Watch:
    """What a company has verified so far.

    Attributes:
        company: Its name.
        own_key: Its public signing key, hex.
        anchors: The pins of its invitation: `platform` (hex) and `log` (verifier key).
    """

    company: str
    own_key: str
    anchors: Mapping[str, str]
    checkpoint: Checkpoint | None = None
    entries: dict[int, Entry] = field(default_factory=dict)

    def read(self, proof: wire.LedgerProof) -> dict[int, Entry]:
        """The entries of a proof by index, all verified; nothing is kept of a proof that is refused."""
        shown = {one.index: read_entry(one.entry) for one in proof.entries}
        expect(len(shown) == len(proof.entries) <= 2000, "each index once")
        known = {**self.entries, **{i: e for i, e in shown.items() if e.kind in _KEY_ENTRIES}}
        platform, log = self._platform_keys(known)
        size = unsigned_checkpoint(proof.checkpoint).size
        checkpoint = read_checkpoint(proof.checkpoint, log_key(log.at(size)))
        verify_consistency(self.checkpoint, checkpoint, proof.consistency)
        for one in proof.entries:
            verify_inclusion(one.entry, one.index, one.inclusion, checkpoint)
        companies, revoked = self._company_keys(known, platform)
        used = [key for chain in (platform, *companies.values()) for _, key in chain.keys]
        used += [log_key(key).public.hex() for _, key in log.keys]
        expect(len(used) == len(set(used)), "no key twice")
        for index, entry in shown.items():
            self._verify(index, entry, companies, revoked, platform)
        if (self.company, "signing") in companies:
            expect(
                companies[self.company, "signing"].keys[-1][1] == self.own_key, "our own key under our name"
            )
        self.entries, self.checkpoint = known, checkpoint
        return shown

    def log_key_at(self, size: int) -> str:
        """The log key that is current at a size, by what was proven so far."""
        return self._platform_keys(self.entries)[1].at(size)

    def platform_key(self) -> bytes:
        """The platform's signing key that is current at the newest checkpoint."""
        expect(self.checkpoint is not None, "a checkpoint")
        size = self.checkpoint.size if self.checkpoint else 0
        return unhex(self._platform_keys(self.entries)[0].at(size), 32)

    def _platform_keys(self, known: Mapping[int, Entry]) -> tuple[_Chain, _Chain]:
        chains = {}
        for key in ("platform", "log"):
            rotations = {
                index: entry.body
                for index, entry in sorted(known.items())
                if entry.kind == "platform-key-rotation" and entry.body.get("key") == key
            }
            first, by_new = self.anchors[key], {body["new"]: body["old"] for body in rotations.values()}
            while first in by_new:
                first = by_new.pop(first)
            chains[key] = _Chain([(0, first)])
            for index, body in rotations.items():
                chains[key].change(index, body["old"], body["new"])
            expect(self.anchors[key] in {k for _, k in chains[key].keys}, "our anchor among the keys")
        for index, entry in known.items():
            if entry.kind == "platform-key-rotation":
                current = unhex(chains["platform"].at(index), 32)
                entry.verify(current, current)
                _verify_agreement(entry)
        return chains["platform"], chains["log"]

    def _company_keys(
        self, known: Mapping[int, Entry], platform: _Chain
    ) -> tuple[dict[tuple[str, str], _Chain], dict[str, int]]:
        chains: dict[tuple[str, str], _Chain] = {}
        revoked: dict[str, int] = {}
        for index, entry in sorted(known.items()):
            if entry.kind in {"log-start", "platform-key-rotation"}:
                continue
            company = entry.body["company"]
            expect(company not in revoked, "nothing of a company that was revoked")
            if entry.kind == "enrolment":
                expect((company, "signing") not in chains, "one enrolment")
                for key, name in _KEYS_OF_ENROLMENT.items():
                    chains[company, key] = _Chain([(index, entry.body[name])])
            self._verify(index, entry, chains, {}, platform)
            if entry.kind == "key-rotation":
                _verify_agreement(entry)
                expect((company, entry.body["key"]) in chains, "a key of an enrolled company")
                chains[company, entry.body["key"]].change(index, entry.body["old"], entry.body["new"])
            if entry.kind == "revocation":
                revoked[company] = index
        return chains, revoked

    @staticmethod
    def _verify(
        index: int,
        entry: Entry,
        companies: Mapping[tuple[str, str], _Chain],
        revoked: Mapping[str, int],
        platform: _Chain,
    ) -> None:
        countersigner = author = platform.at(index)
        if entry.author != "platform":
            expect((entry.author, "signing") in companies, "an author whose enrolment we saw")
            expect(index <= revoked.get(entry.author, index), "nothing of a company that was revoked")
            author = companies[entry.author, "signing"].at(index)
        entry.verify(unhex(author, 32), unhex(countersigner, 32))


def agreement_statement(key: str, old: str, new: str, party: str) -> bytes:
    """What `possession` and `endorsement` are over (§0.4.2)."""
    return canonical({"key": key, "new": new, "old": old, "party": party})


def _verify_agreement(entry: Entry) -> None:
    body = entry.body
    statement = agreement_statement(body["key"], body["old"], body["new"], entry.author)
    if body["key"] in {"signing", "platform", "log"}:
        new = log_key(body["new"]).public if body["key"] == "log" else unhex(body["new"], 32)
        verify(new, "noren/v1/key-possession", statement, unhex(body["possession"], 64))
    if body["key"] == "log":
        old = log_key(body["old"]).public
        verify(old, "noren/v1/key-endorsement", statement, unhex(body["endorsement"], 64))
