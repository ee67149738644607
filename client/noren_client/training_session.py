"""A company's side of the training rounds: what it answers to each message, and what it refuses.

The worker hands every message to `handle` and sends back what it returns. A session lives in memory
from the first message of a campaign on; its round keys exist nowhere else, so a company whose worker
restarts drops out of the campaign, and what it spent stays spent.

Messages get lost, so the platform may ask again: an identical request gets the bytes that were signed for it
the first time, and nothing is computed or spent. Another request for what was answered is refused
(docs/protocol.md §4.1.4).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from noren_client import campaign_files, keystore, ledger_watch
from noren_client.odometer import Odometer, Reservation
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import LocalProtocolError, RemoteProtocolError, VerificationError
from noren_core.ledger import entries
from noren_core.ledger.proofs import LedgerProof
from noren_core.privacy import noise
from noren_core.privacy.discrete_gaussian import NoiseStream, sample
from noren_core.season import messages as m
from noren_core.season.cohort_key import CohortKey
from noren_core.season.head import HeadState, row_scale
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import round_event
from noren_core.secagg.client import SecAggClient

# A round has two requests: the ones of this round and of the last one can be asked again.
_KEPT_ANSWERS = 4
_MAX_SESSIONS = 16


class TrainingSessions:
    """The newest sessions of this process, by company directory and campaign.

    A finished session stays, without its secrets, so that a lost answer can be asked for again.
    """

    def __init__(self) -> None:
        self._sessions: dict[tuple[Path, str], TrainingSession] = {}

    def handle(self, company_dir: Path, payload: bytes) -> bytes:
        """The answer to one training message; a refused one raises a NorenError and can be sent again."""
        request = m.parse_request(payload)
        key = (company_dir, request.campaign)
        if key not in self._sessions:
            if not isinstance(request, m.AdvertiseRequest):
                raise RemoteProtocolError("expected the first message of a campaign, got a later one")
            session = TrainingSession.begin(company_dir, request.campaign)
            self._make_room()
            self._sessions[key] = session
        return self._sessions[key].signed_answer(request, payload)

    def _make_room(self) -> None:
        """Forget the oldest session, a finished one if there is any, when there are too many."""
        if len(self._sessions) < _MAX_SESSIONS:
            return
        finished = (key for key, session in self._sessions.items() if session.is_finished)
        self._sessions.pop(next(finished, next(iter(self._sessions)))).close()


class TrainingSession:
    """One campaign at one company."""

    def __init__(self, company_dir: Path, plan: CampaignPlan, signing_keys: dict[str, bytes]) -> None:
        keys = keystore.load(company_dir)
        self._dir = company_dir
        self._plan = plan
        self._company = keys.company
        self._signing: SigningKey = keys.signing
        self._watch = ledger_watch.LedgerWatch(company_dir)
        self._odometer = Odometer(
            company_dir / "odometer.jsonl", keys.signing, earlier=self._watch.earlier_signing_keys()
        )
        self._rows, self._labels = campaign_files.load_training_set(company_dir, plan.campaign)
        self._head = HeadState.initial(plan.rows.dimensions)
        self._updates: dict[int, SecretBytes] = {}
        self._settles: dict[int, bytes] = {}
        self._answers: dict[bytes, bytes] = {}
        self._cohort_key: CohortKey | None = None
        self._cohort_signature = b""
        self._is_finished = False
        self._intent: bytes = b""
        self._secagg = SecAggClient(
            our_id=self._company,
            signing_key=keys.signing,
            roster=signing_keys,
            threshold=plan.threshold,
            minimum_cohort=plan.minimum_cohort,
            session=plan.digest(),
            rounds=plan.training.rounds,
            vector_length=plan.rows.dimensions + 1,
        )

    @classmethod
    def begin(cls, company_dir: Path, campaign: str) -> TrainingSession:
        """A session for an accepted, prepared campaign of which no round is spent.

        Raises:
            LocalProtocolError: if the campaign was not accepted and prepared here, or a round of it is
                spent already (its keys are gone, and a second start would spend it twice).
        """
        plan = campaign_files.load_plan(company_dir, campaign)
        signing_keys, _ = campaign_files.load_roster(company_dir, campaign)
        session = cls(company_dir, plan, signing_keys)
        if session._odometer.rounds_reserved(campaign):
            raise LocalProtocolError("this campaign was begun before and cannot be begun again")
        return session

    @property
    def is_finished(self) -> bool:
        """Whether the head was kept; what was answered can still be asked for again."""
        return self._is_finished

    def signed_answer(self, request: m.Request, payload: bytes) -> bytes:
        """The answer to `request`, parsed from `payload`, signed for it; the same bytes if it comes again."""
        asked = hashlib.sha256(payload).digest()
        if asked not in self._answers:
            answer = self._answer(request)
            self._answers[asked] = m.sign_answer(
                answer, company=self._company, request=payload, key=self._signing
            )
            if len(self._answers) > _KEPT_ANSWERS:
                del self._answers[next(iter(self._answers))]
        return self._answers[asked]

    def close(self) -> None:
        """Forget every secret; only what was answered before is answered again."""
        self._secagg.close()
        self._cohort_key = None
        for update in self._updates.values():
            update.wipe()
        self._updates = {}

    def _answer(self, request: m.Request) -> m.Answer:
        match request:
            case m.AdvertiseRequest():
                reply: m.Reply = m.AdvertiseReply(self._secagg.advertise())
            case m.ShareRequest():
                reply = self._share(request)
            case m.MaskedInputRequest():
                reply = self._masked_input(request)
            case m.UnmaskRequest():
                reply = self._unmask(request)
            case m.FinishRequest():
                reply = self._finish(request)
        return m.Answer(reply, self._watch.known_tree_size)

    def _share(self, request: m.ShareRequest) -> m.ShareReply:
        sealed = self._secagg.share(request.advertisements)
        return m.ShareReply(sealed, self._reserve(1))

    def _masked_input(self, request: m.MaskedInputRequest) -> m.MaskedInputReply:
        """Compute one round.

        1. It is the round that we reserved last, and the finished rounds lead up to it.
        2. The platform proves that our intent for this round is in the ledger that we know.
        3. In round 1, take the peers' shares, and with them the cohort key; sign the cohort.
        4. Apply the finished rounds, each once and in order.
        5. Clipped, integer gradient sum over all rows (q = 1).
        6. Add our share of the discrete Gaussian noise.
        7. Add the cohort's blind, then the masks; what leaves is uniform to the platform.
        8. Remember what was sent: the settle of this round commits to it.
        """
        self._verify_order(request)  # 1
        self._verify_intent(request.proof)  # 2
        if request.round_number == 1:  # 3
            self._accept_shares(request.sealed_shares)
        settles = self._apply(request.finished)  # 4
        update = self._noised_sum()  # 5, 6
        blinded = update.view(np.uint64) + self._key().blind(request.round_number, len(update))  # 7
        masked = self._secagg.mask(request.round_number, blinded.view(np.int64))
        self._updates[request.round_number] = SecretBytes(update.astype("<i8").tobytes())  # 8
        signature = self._cohort_signature if request.round_number == 1 else b""
        return m.MaskedInputReply(masked, settles, signature)

    def _noised_sum(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        from noren_client.training import clipped_gradient_sum

        training = self._plan.training
        total = clipped_gradient_sum(
            self._rows / row_scale(self._plan.rows),
            self._labels,
            self._head.as_floats(),
            clipping_norm=training.clipping_norm,
            grid=training.grid,
        )
        variance = noise.company_variance(round_event(self._plan), companies=len(self._secagg.cohort))
        return total + sample(len(total), variance=variance, stream=NoiseStream.generate())

    def _unmask(self, request: m.UnmaskRequest) -> m.UnmaskReply:
        if request.cohort_signatures:
            self._secagg.confirm(request.cohort_signatures)
        unmasking = self._secagg.unmask(request.round_number, request.survivors)
        following = request.round_number + 1
        intent = self._reserve(following) if following <= self._plan.training.rounds else b""
        return m.UnmaskReply(unmasking, intent)

    def _finish(self, request: m.FinishRequest) -> m.FinishReply:
        """Apply the last aggregates and keep the head.

        1. The finished rounds lead up to the last one.
        2. Take what is missing of the set-up, if messages to us were lost.
        3. Apply the finished rounds, each once and in order.
        4. Keep the head, then forget the secrets.
        """
        last = max([self._head.round_number, *(done.round_number for done in request.finished)])  # 1
        if last != self._plan.training.rounds:
            raise RemoteProtocolError(f"expected all {self._plan.training.rounds} rounds, got {last}")
        if request.sealed_shares:  # 2
            self._accept_shares(request.sealed_shares)
        if request.cohort_signatures:
            self._secagg.confirm(request.cohort_signatures)
        settles = self._apply(request.finished)  # 3
        campaign_files.save_head(self._dir, self._plan.campaign, self._head.released())  # 4
        self._is_finished = True
        self.close()
        return m.FinishReply(settles)

    def _reserve(self, round_number: int) -> bytes:
        """Spend a round on our own chain, then state it as a ledger entry."""
        reservation: Reservation = self._odometer.reserve(self._plan, round_number)
        self._intent = entries.sign_entry(
            "intent",
            self._company,
            {
                "campaign": self._plan.campaign,
                "company": self._company,
                "event": round_event(self._plan).to_body(),
                "plan_sha256": self._plan.digest().hex(),
                "previous": reservation.previous.hex(),
                "round": round_number,
            },
            self._signing,
        )
        return self._intent

    def _verify_order(self, request: m.MaskedInputRequest) -> None:
        """The round is the one reserved last, and comes right after our head and the finished rounds."""
        reserved = self._odometer.rounds_reserved(self._plan.campaign)
        after = max([self._head.round_number, *(done.round_number for done in request.finished)]) + 1
        if not request.round_number == reserved == after:
            raise RemoteProtocolError(
                f"expected round {reserved} after round {reserved - 1}, got {request.round_number}"
            )

    def _verify_intent(self, proof: LedgerProof) -> None:
        """Our intent, exactly as signed, is in a ledger that extends the one we knew."""
        proven = self._watch.verify(proof)
        expected = entries.parse_entry(self._intent)
        if not any(entry.signature == expected.signature for entry in proven):
            raise VerificationError("expected a proof of our intent for this round, got none")

    def _accept_shares(self, sealed: Mapping[str, bytes]) -> None:
        """Take the peers' shares, once; when they come again they must be of the same companies."""
        if self._cohort_key is None:
            self._cohort_signature = self._secagg.accept_shares(sealed)
            self._cohort_key = CohortKey(self._secagg.cohort_secret, session=self._plan.digest())
        elif {*sealed, self._company} != set(self._secagg.cohort):
            raise RemoteProtocolError("sealed shares: expected those of our cohort again, got others")

    def _key(self) -> CohortKey:
        if self._cohort_key is None:
            raise LocalProtocolError("expected the cohort key before the first round, got none")
        return self._cohort_key

    def _apply(self, finished: tuple[m.Aggregate, ...]) -> tuple[bytes, ...]:
        """The signed settles of these rounds; the head advances by those we have not applied yet, or none.

        A round that comes again, after a lost reply, gets the settle that was signed for it the first time.
        """
        head, made = self._head, dict[int, bytes]()
        for aggregate in finished:
            if aggregate.round_number > head.round_number + 1:
                raise RemoteProtocolError("expected the finished rounds without a gap")
            if aggregate.round_number == head.round_number + 1:
                advanced = self._advanced(head, aggregate)
                made[aggregate.round_number] = self._settle(head, advanced, aggregate.survivors)
                head = advanced
        self._head = head
        self._settles |= made
        for applied in made.keys() & self._updates.keys():
            self._updates.pop(applied).wipe()
        return tuple(self._settles[aggregate.round_number] for aggregate in finished)

    def _advanced(self, head: HeadState, aggregate: m.Aggregate) -> HeadState:
        """`head` after one more round, if the round's survivors are ones that we can vouch for."""
        survivors = aggregate.survivors
        if list(survivors) != sorted(set(survivors)) or not set(survivors) <= self._secagg.confirmed:
            raise RemoteProtocolError("survivors: expected companies who confirmed our cohort, sorted")
        if len(survivors) < self._plan.minimum_cohort:
            raise RemoteProtocolError(
                f"survivors: expected at least {self._plan.minimum_cohort}, got {len(survivors)}"
            )
        if self._secagg.answered.get(aggregate.round_number, survivors) != survivors:
            raise RemoteProtocolError("survivors: expected the set that we signed, got another")
        gradient = self._key().remove_blinds(
            aggregate.values, round_number=aggregate.round_number, survivors=len(survivors)
        )
        return head.advance(gradient, self._plan.training)

    def _settle(self, before: HeadState, after: HeadState, survivors: tuple[str, ...]) -> bytes:
        key = self._key().commitment_key()
        update = self._updates.get(after.round_number, SecretBytes(b""))
        body: dict[str, object] = {
            "campaign": self._plan.campaign,
            "company": self._company,
            "model_in": before.commitment(key).hex(),
            "model_out": after.commitment(key).hex(),
            "round": after.round_number,
            "survivors": list(survivors),
            "update_sha256": self._key().update_commitment(self._company, update.buffer).hex(),
        }
        return entries.sign_entry("settle", self._company, body, self._signing)


handle = TrainingSessions().handle
