"""A company's answers to the messages of a campaign's training (protocol §4.1, §4.2, §4.5)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from noren_core.wire.v1 import training_pb2 as wire

from . import expect, noise
from .head import Head, commitment_key, update_commitment
from .ledger import Entry, canonical, signed_entry
from .ledger_proof import Watch
from .sealed_table import read_revocations
from .secure_aggregation import Member
from .training import signed_reply


def plan_digest(plan: Mapping[str, Any]) -> bytes:
    """What a company accepts, and the session of the training (§4.0)."""
    return hashlib.sha256(b"noren/v1/plan\0" + canonical(plan)).digest()


class Session:
    """One company in one campaign; `gradient` gives the clipped integer sum for a head without revoked rows.

    The rows are of the sealed table with that id.
    """

    def __init__(
        self,
        company: str,
        key: Ed25519PrivateKey,
        plan: Mapping[str, Any],
        roster: Mapping[str, bytes],
        watch: Watch,
        gradient: Callable[[Head, frozenset[bytes]], NDArray[np.int64]],
        rows: Sequence[noise.Row] = (),
        table_id: bytes = bytes(16),
    ) -> None:
        self._company, self._key, self._plan = company, key, plan
        self.watch, self._gradient = watch, gradient
        self._session, self._rounds = plan_digest(plan), plan["training"]["rounds"]
        threshold, minimum = plan["threshold"], plan["minimum_cohort"]
        quorum = max(threshold, minimum)
        self._member = Member(
            self._session, company, key, roster, threshold=threshold, quorum=quorum, rounds=self._rounds
        )
        self._sentinels = plan["training"]["sentinels"]
        self.head = Head.first(plan["training"])
        self.seed, self._beacon = secrets.token_bytes(32), b""
        seed = noise.seed_commitment(company, plan["campaign"], self.seed)
        about = {"campaign": plan["campaign"], "company": company, "plan_sha256": self._session.hex()}
        about |= {"seed": seed.hex(), "rows": noise.rows_root(rows, secrets.token_bytes(32)).hex()}
        self._commitment = signed_entry(key, company, "training-commitment", about)
        self._reserved, self._odometer = 0, hashlib.sha256(b"noren/v1/odometer-genesis").digest()
        self._intent = b""
        self._updates: dict[int, NDArray[np.int64]] = {}
        self._table_id, self._revoked, self._sequence = table_id, frozenset[bytes](), 0
        self._consents: dict[int, bytes] = {}
        self._settles: dict[int, bytes] = {}
        self._answers: dict[bytes, bytes] = {}

    def answer(self, request: bytes) -> bytes:
        """The signed reply; an identical request gets the identical bytes (§4.1.4)."""
        if request not in self._answers:
            parsed = wire.TrainingRequest.FromString(request)
            kind = str(parsed.WhichOneof("kind"))
            expect(kind != "None", "a request of a known kind")
            asked = getattr(parsed, kind)
            expect(asked.campaign == self._plan["campaign"], "our campaign")
            reply = wire.TrainingReply()
            getattr(self, "_" + kind)(asked, getattr(reply, kind))
            reply.known_tree_size = self.watch.checkpoint.size if self.watch.checkpoint else 0
            self._answers[request] = signed_reply(self._key, self._company, request, reply)
        return self._answers[request]

    def _advertise(self, _: wire.AdvertiseRequest, reply: wire.AdvertiseReply) -> None:
        reply.advertisement.CopyFrom(self._member.advertise())
        reply.commitment = self._commitment

    def _share(self, asked: wire.ShareRequest, reply: wire.ShareReply) -> None:
        advertisements = {one.company: one.advertisement for one in asked.advertisements}
        expect(len(advertisements) == len(asked.advertisements), "every company once")
        for name, sealed in self._member.share(advertisements).items():
            reply.sealed_shares.add(company=name, value=sealed)
        reply.intent = self._reserve(1)

    def _masked_input(self, asked: wire.MaskedInputRequest, reply: wire.MaskedInputReply) -> None:
        proven = self.watch.read(asked.proof)
        expect(any(one.says(self._intent) for one in proven.values()), "a proof of our intent")
        expect(asked.round == self._reserved, "the round that we reserved last")
        if asked.round == 1:
            self._take_beacon(proven)
        self._take_revocations(asked)
        if asked.sealed_shares and not self._member.members:
            reply.cohort_signature = self._member.accept(_by_company(asked.sealed_shares))
        reply.settles.extend(self._apply(asked.finished))
        expect(asked.round == self.head.rounds + 1, "the round after our head")
        update = self._updates[asked.round] = self._noised(asked.round)
        reply.masked = self._member.mask(asked.round, update, sentinels=self._sentinels)
        self._consents[asked.round] = round_consents(asked.consents_salt, asked.revocations)

    def _unmask(self, asked: wire.UnmaskRequest, reply: wire.UnmaskReply) -> None:
        self._member.confirm(_by_company(asked.cohort_signatures))
        shares, reply.survivors_signature = self._member.unmask(asked.round, list(asked.survivors))
        reply.shares.extend(shares)
        reply.next_intent = self._reserve(asked.round + 1) if asked.round < self._rounds else b""

    def _finish(self, asked: wire.FinishRequest, reply: wire.FinishReply) -> None:
        if asked.sealed_shares and not self._member.members:
            self._member.accept(_by_company(asked.sealed_shares))
        self._member.confirm(_by_company(asked.cohort_signatures))
        reply.settles.extend(self._apply(asked.finished))
        expect(self.head.rounds == self._rounds, "all rounds")

    def _take_beacon(self, proven: Mapping[int, Entry]) -> None:
        value = noise.read_beacon(
            proven,
            self._plan,
            commitment=self._commitment,
            intent=self._intent,
            log_keys=self.watch.log_key_at,
        )
        expect(self._beacon in (b"", value), "the beacon that we were shown before")
        self._beacon = value

    def _take_revocations(self, asked: wire.MaskedInputRequest) -> None:
        """Rows on the list are out from this round on (§4.2)."""
        expect(len(asked.consents_salt) == 32, "a salt of 32 bytes")
        if self._plan["mode"] == "sealed-statistics":
            expect(not asked.revocations, "no list without rows")
            return
        sequence, tags = read_revocations(
            self._table_id, self.watch.platform_key(), asked.revocations, asked.revocations_signature
        )
        expect(sequence >= self._sequence, "the newest list")
        self._sequence, self._revoked = sequence, self._revoked | tags

    def _noised(self, round_number: int) -> NDArray[np.int64]:
        """The round's sum, zeros for the sentinels, and noise (§4.2)."""
        total = [*self._gradient(self.head, self._revoked), *[0] * self._sentinels]
        wanted = noise.variance(self._plan["training"], len(self._member.members))
        key = noise.round_key(self.seed, self._beacon, self._plan["campaign"], round_number)
        sampler = noise.Sampler(key)
        return np.array([int(value) + sampler.gaussian(wanted) for value in total], np.int64)

    def _apply(self, finished: Sequence[wire.Aggregate]) -> list[bytes]:
        key = commitment_key(self._member.cohort_key, self._session) if finished else b""
        for one in finished:
            expect(one.round <= self.head.rounds + 1, "rounds without a gap")
            if one.round <= self.head.rounds:
                continue
            survivors = list(one.survivors)
            self._member.check_survivors(one.round, survivors)
            expect(len(survivors) >= self._plan["minimum_cohort"], "a minimum cohort")
            coordinates = 8 * len(self.head.weights)
            blinded, free = one.values[:coordinates], np.frombuffer(one.values[coordinates:], "<i8")
            expect(len(free) == self._sentinels, "an aggregate of the right length")
            before, gradient = self.head, self._member.unblind(one.round, blinded, len(survivors))
            self.head = before.advance([int(value) for value in gradient], self._plan["training"])
            nothing = round_consents(secrets.token_bytes(32), b"")
            update = self._updates.pop(one.round, np.zeros(0, np.int64))
            self._settles[one.round] = self._say(
                "settle",
                one.round,
                survivors=survivors,
                sentinels=free.tolist(),
                consents=self._consents.pop(one.round, nothing).hex(),
                update_sha256=update_commitment(key, self._company, update).hex(),
                model_in=before.commitment(key).hex(),
                model_out=self.head.commitment(key).hex(),
            )
        return [self._settles[one.round] for one in finished]

    def _reserve(self, round_number: int) -> bytes:
        training = self._plan["training"]
        same = ("noise_multiplier", "clipping_norm", "grid", "sampling", "placement", "tolerated")
        event = {name: training[name] for name in same}
        event |= {"mechanism": "discrete_gaussian", "count": 1, "adjacency": self._plan["adjacency"]}
        self._intent = self._say(
            "intent",
            round_number,
            event=event,
            plan_sha256=self._session.hex(),
            previous=self._odometer.hex(),
            sequence=round_number - 1,
        )
        self._reserved, self._odometer = round_number, hashlib.sha256(self._intent).digest()
        return self._intent

    def _say(self, kind: str, round_number: int, **fields: Any) -> bytes:
        about = {"campaign": self._plan["campaign"], "company": self._company, "round": round_number}
        return signed_entry(self._key, self._company, kind, {**about, **fields})


def round_consents(salt: bytes, revocations: bytes) -> bytes:
    """What a settle says of a round's list (§4.5)."""
    return hashlib.sha256(b"noren/v1/round-consents\0" + salt + revocations).digest()


def _by_company(named: Sequence[wire.NamedBytes]) -> dict[str, bytes]:
    values = {one.company: one.value for one in named}
    expect(len(values) == len(named), "every company once")
    return values
