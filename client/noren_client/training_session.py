"""A company's side of the training rounds: what it answers to each message, and what it refuses.

The worker hands every message to `handle` and sends back what it returns. A session lives in memory
from the first message of a campaign to the last; its round keys exist nowhere else, so a company whose
worker restarts drops out of the campaign, and what it spent stays spent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noren_client import campaign_files, keystore, ledger_watch
from noren_client.odometer import Odometer, Reservation
from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.errors import LocalProtocolError, RemoteProtocolError, VerificationError
from noren_core.ledger import entries
from noren_core.ledger.proofs import LedgerProof
from noren_core.privacy import noise
from noren_core.privacy.discrete_gaussian import NoiseStream, sample
from noren_core.season import messages as m
from noren_core.season.cohort_key import CohortKey, key_author
from noren_core.season.head import HeadState, row_scale
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import round_event
from noren_core.secagg.client import SecAggClient


@dataclass(frozen=True, slots=True)
class Roster:
    """The cohort's public keys by company, from enrolment entries proven to be in the ledger."""

    signing: dict[str, bytes]
    sealing: dict[str, bytes]


class TrainingSessions:
    """All sessions of this process, by company directory and campaign."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[Path, str], TrainingSession] = {}

    def handle(self, company_dir: Path, payload: bytes) -> bytes:
        """The answer to one training message; a refused one raises a NorenError and can be sent again."""
        request = m.parse_request(payload)
        key = (company_dir, request.campaign)
        if isinstance(request, m.AdvertiseRequest):
            self._sessions[key] = TrainingSession.begin(company_dir, request.campaign)
        if key not in self._sessions:
            raise RemoteProtocolError("expected the first message of a campaign, got a later one")
        session = self._sessions[key]
        answer = session.signed_answer(request, payload)
        if isinstance(request, m.FinishRequest):
            del self._sessions[key]
        return answer


class TrainingSession:
    """One campaign at one company."""

    def __init__(self, company_dir: Path, plan: CampaignPlan, roster: Roster) -> None:
        keys = keystore.load(company_dir)
        self._dir = company_dir
        self._plan = plan
        self._roster = roster
        self._company = keys.company
        self._signing: SigningKey = keys.signing
        self._sealing: SealingKey = keys.sealing
        self._odometer = Odometer(company_dir / "odometer.jsonl", keys.signing)
        self._watch = ledger_watch.LedgerWatch(company_dir)
        self._rows, self._labels = campaign_files.load_training_set(company_dir, plan.campaign)
        self._head = HeadState.initial(plan.rows.dimensions)
        self._updates: dict[int, bytes] = {}
        self._settles: dict[int, bytes] = {}
        self._key_author = ""
        self._cohort_key: CohortKey | None = None
        self._intent: bytes = b""
        self._secagg = SecAggClient(
            our_id=self._company,
            signing_key=keys.signing,
            roster=roster.signing,
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
        session = cls(company_dir, plan, Roster(*campaign_files.load_roster(company_dir, campaign)))
        if session._odometer.rounds_reserved(campaign):
            raise LocalProtocolError("this campaign was begun before and cannot be begun again")
        return session

    def signed_answer(self, request: m.Request, payload: bytes) -> bytes:
        """The answer to `request`, parsed from `payload`, signed for it."""
        return m.sign_answer(self._answer(request), company=self._company, request=payload, key=self._signing)

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
        sealed_keys: dict[str, bytes] = {}
        self._key_author = key_author(request.advertisements)
        if self._key_author == self._company:
            self._cohort_key = CohortKey.generate(session=self._plan.digest())
            others = {c: self._roster.sealing[c] for c in sealed if c != self._company}
            sealed_keys = self._cohort_key.seal_for(others, sender=self._company)
        return m.ShareReply(sealed, sealed_keys, self._reserve(1))

    def _masked_input(self, request: m.MaskedInputRequest) -> m.MaskedInputReply:
        """Compute one round.

        1. It is the round that we reserved last, and the finished rounds lead up to it.
        2. The platform proves that our intent for this round is in the ledger that we know.
        3. In round 1, take the peers' shares and the cohort key.
        4. Apply the finished rounds, each once and in order.
        5. Clipped, integer gradient sum over all rows (q = 1).
        6. Add our share of the discrete Gaussian noise.
        7. Add the cohort's blind, then the masks; what leaves is uniform to the platform.
        8. Remember what was sent: the settle of this round commits to it.
        """
        self._verify_order(request)  # 1
        self._verify_intent(request.proof)  # 2
        if request.round_number == 1:  # 3
            self._accept_setup(request)
        settles = self._apply(request.finished)  # 4
        update = self._noised_sum()  # 5, 6
        blinded = update.view(np.uint64) + self._key().blind(request.round_number, len(update))  # 7
        masked = self._secagg.mask(request.round_number, blinded.view(np.int64))
        self._updates[request.round_number] = update.astype("<i8").tobytes()  # 8
        return m.MaskedInputReply(masked, settles)

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
        unmasking = self._secagg.unmask(request.round_number, request.survivors)
        following = request.round_number + 1
        intent = self._reserve(following) if following <= self._plan.training.rounds else b""
        return m.UnmaskReply(unmasking, intent)

    def _finish(self, request: m.FinishRequest) -> m.FinishReply:
        settles = self._apply(request.finished)
        if self._head.round_number != self._plan.training.rounds:
            raise RemoteProtocolError(
                f"expected all {self._plan.training.rounds} rounds, got {self._head.round_number}"
            )
        campaign_files.save_head(self._dir, self._plan.campaign, self._head.released())
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

    def _accept_setup(self, request: m.MaskedInputRequest) -> None:
        """Take the cohort key and the peers' shares: both, or neither."""
        key = self._cohort_key or CohortKey.open(
            request.sealed_cohort_key,
            self._sealing,
            session=self._plan.digest(),
            sender=self._key_author,
            recipient=self._company,
        )
        self._secagg.accept_shares(request.sealed_shares)
        self._cohort_key = key

    def _key(self) -> CohortKey:
        if self._cohort_key is None:
            raise LocalProtocolError("expected the cohort key before the first round, got none")
        return self._cohort_key

    def _apply(self, finished: tuple[m.Aggregate, ...]) -> tuple[bytes, ...]:
        """The signed settles of these rounds; the head advances by those we have not applied yet.

        A round that comes again, after a lost reply, gets the settle that was signed for it the first time.
        """
        for aggregate in finished:
            if aggregate.round_number > self._head.round_number + 1:
                raise RemoteProtocolError("expected the finished rounds without a gap")
            if aggregate.round_number == self._head.round_number + 1:
                self._settles[aggregate.round_number] = self._settle(aggregate)
        return tuple(self._settles[aggregate.round_number] for aggregate in finished)

    def _settle(self, aggregate: m.Aggregate) -> bytes:
        survivors = aggregate.survivors
        if list(survivors) != sorted(set(survivors)) or not set(survivors) <= set(self._secagg.cohort):
            raise RemoteProtocolError("survivors: expected distinct companies of the cohort, sorted")
        if len(survivors) < self._plan.minimum_cohort:
            raise RemoteProtocolError(
                f"survivors: expected at least {self._plan.minimum_cohort}, got {len(survivors)}"
            )
        if self._secagg.answered.get(aggregate.round_number, survivors) != survivors:
            raise RemoteProtocolError("survivors: expected the set that we signed, got another")
        gradient = self._key().remove_blinds(
            aggregate.values, round_number=aggregate.round_number, survivors=len(survivors)
        )
        advanced = self._head.advance(gradient, self._plan.training)
        body = self._settle_body(aggregate, advanced)
        self._head = advanced
        return entries.sign_entry("settle", self._company, body, self._signing)

    def _settle_body(self, aggregate: m.Aggregate, advanced: HeadState) -> dict[str, object]:
        key = self._key().commitment_key()
        update = self._updates.get(aggregate.round_number, b"")
        return {
            "campaign": self._plan.campaign,
            "company": self._company,
            "model_in": self._head.commitment(key).hex(),
            "model_out": advanced.commitment(key).hex(),
            "round": aggregate.round_number,
            "survivors": list(aggregate.survivors),
            "update_sha256": self._key().update_commitment(self._company, update).hex(),
        }


handle = TrainingSessions().handle
