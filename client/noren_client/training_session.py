"""A company's side of the training rounds: what it answers to each message, and what it refuses.

The worker hands every message to `handle` and sends back what it returns. A session lives in memory
from the first message of a campaign on; its round keys and the seed of its noise are drawn for it and read
back by none, so a company whose worker restarts drops out of the campaign, and what it spent stays spent.

Messages get lost, so the platform may ask again: an identical request gets the bytes that were signed for it
the first time, and nothing is computed or spent. Another request for what was answered is refused
(docs/protocol.md §4.1.4).

Every round brings the newest revocation list of the training table. Rows on it are dropped before the round
is computed, for good: nothing that a session computes afterwards has them in it.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from noren_client import campaign_files, keystore, ledger_watch, replay_data, revocations
from noren_client.odometer import Odometer, Reservation
from noren_client.opened_sums import OpenedSums
from noren_client.replay_data import ReplayData, ReplayRound
from noren_client.sums_mechanism import noised_sums
from noren_client.training_set import TrainingSet
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.revocation_list import RevocationList
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import LocalProtocolError, RemoteProtocolError, VerificationError
from noren_core.ids import TableKind
from noren_core.ledger import entries
from noren_core.ledger.entries import EntryKind
from noren_core.ledger.proofs import VerifiedEntry
from noren_core.privacy.noise_seed import NoiseSeed
from noren_core.season import messages as m
from noren_core.season.beacon import verify_beacon
from noren_core.season.cohort_key import CohortKey
from noren_core.season.head import HeadState, row_scale
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_consents import RoundConsents
from noren_core.season.round_event import round_event
from noren_core.season.row_commitment import SALT_BYTES
from noren_core.secagg.client import SecAggClient

# A round has two requests: the ones of this round and of the last one can be asked again.
_KEPT_ANSWERS = 4
_MAX_SESSIONS = 16


class TrainingSessions:
    """The newest sessions of this process, by company directory and campaign.

    A finished session stays, without its secrets, so that a lost answer can be asked for again.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._sessions: dict[tuple[Path, str], TrainingSession] = {}
        self._clock = clock

    def handle(self, company_dir: Path, payload: bytes) -> bytes:
        """The answer to one training message; a refused one raises a NorenError and can be sent again."""
        request = m.parse_request(payload)
        key = (company_dir, request.campaign)
        if key not in self._sessions:
            if not isinstance(request, m.AdvertiseRequest):
                raise RemoteProtocolError("expected the first message of a campaign, got a later one")
            session = TrainingSession.begin(company_dir, request.campaign, clock=self._clock)
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

    def __init__(
        self,
        company_dir: Path,
        plan: CampaignPlan,
        signing_keys: dict[str, bytes],
        clock: Callable[[], float],
    ) -> None:
        keys = keystore.load(company_dir)
        self._dir = company_dir
        self._plan = plan
        self._company = keys.company
        self._signing: SigningKey = keys.signing
        self._clock = clock
        self._watch = ledger_watch.LedgerWatch(company_dir)
        self._odometer = Odometer.open(company_dir)
        self._material = campaign_files.load_material(company_dir, plan)
        self._committed = self._material  # what a replay begins with; rounds use `_material`, which shrinks
        self._seed = NoiseSeed.generate()
        self._row_salt = SecretBytes(secrets.token_bytes(SALT_BYTES))
        self._commitment = self._signed_commitment()
        self._beacon: bytes | None = None
        self._head = HeadState.initial(plan.training)
        self._updates: dict[int, SecretBytes] = {}
        self._consents: dict[int, RoundConsents] = {}
        self._replay_rounds: list[ReplayRound] = []
        self._settles: dict[int, bytes] = {}
        self._answers: dict[bytes, bytes] = {}
        self._rows_erased = False
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
            vector_length=plan.vector_length,
        )

    @classmethod
    def begin(cls, company_dir: Path, campaign: str, *, clock: Callable[[], float]) -> TrainingSession:
        """A session for an accepted, prepared campaign of which no round is spent.

        Raises:
            LocalProtocolError: if the campaign was not accepted and prepared here, or a round of it is
                spent already (its keys are gone, and a second start would spend it twice).
        """
        plan = campaign_files.load_plan(company_dir, campaign)
        signing_keys, _ = campaign_files.load_roster(company_dir, campaign)
        session = cls(company_dir, plan, signing_keys, clock)
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
        self._updates, self._consents = {}, {}
        self._seed.wipe()
        self._row_salt.wipe()
        self._replay_rounds = []

    def _answer(self, request: m.Request) -> m.Answer:
        match request:
            case m.AdvertiseRequest():
                reply: m.Reply = m.AdvertiseReply(self._secagg.advertise(), self._commitment)
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
        2. The platform proves that our intent for this round is in the ledger that we know, and our odometer
           holds the newest one that was ever proven; in round 1 also our commitment, and the beacon after it.
        3. The newest revocation list of our table: the rows on it are dropped, for this round and all later
           ones.
        4. In round 1, take the peers' shares, and with them the cohort key; sign the cohort.
        5. Apply the finished rounds, each once and in order.
        6. Clipped, integer gradient sum over all rows that are left (q = 1); or the opened sums.
        7. Add our share of the discrete Gaussian noise, drawn from seed and beacon.
        8. No newer list came in meanwhile by another way; or else this sum is forgotten.
        9. Add the cohort's blind to all but the sentinels, whose sum anybody may test; then the masks: what
           leaves is uniform to the platform.
        10. Remember what was sent, and under which list: the settle of this round commits to both.
        """
        self._verify_order(request)  # 1
        proven = self._watch.accept(request.proof)  # 2
        intent = _proven(proven, self._intent)
        self._odometer.verify_holds(self._watch.newest_intent())
        if request.round_number == 1:
            self._verify_beacon(proven, intent)
        listed = self._drop_revoked(request.consents)  # 3
        if request.round_number == 1:  # 4
            self._accept_shares(request.sealed_shares)
        settles = self._apply(request.finished)  # 5
        update = self._noised_update(request.round_number)  # 6, 7
        if listed is not None:  # 8
            revocations.verify_still_newest(self._list_path(), listed)
        blinded = update.view(np.uint64).copy()  # 9
        blinded[: self._plan.head_length] += self._key().blind(request.round_number, self._plan.head_length)
        masked = self._secagg.mask(request.round_number, blinded.view(np.int64))
        self._updates[request.round_number] = SecretBytes(update.astype("<i8").tobytes())  # 10
        self._consents[request.round_number] = request.consents
        signature = self._cohort_signature if request.round_number == 1 else b""
        return m.MaskedInputReply(masked, settles, signature)

    def _drop_revoked(self, consents: RoundConsents) -> RevocationList | None:
        """Verify and keep the list, and drop its rows; None with opened sums, in which no row is left.

        What was erased on disk is not used from memory either.

        Raises:
            VerificationError: with code CONSENT_EPOCH_STALE, if we saw a newer list, from whatever message.
        """
        material = self._material
        if isinstance(material, OpenedSums):
            if consents.revocations:
                raise RemoteProtocolError("revocations: expected none for a campaign of sums, got a list")
            campaign_files.load_sums(self._dir, self._plan.campaign)  # raises if they were erased
            return None
        listed = revocations.keep_newest(
            self._list_path(),
            consents.revocations,
            consents.signature,
            table_id=material.table_id,
            watch=self._watch,
        )
        left = material.without(frozenset(listed.tags))
        self._material = left.only(campaign_files.training_tags(self._dir, self._plan.campaign))
        return listed

    def _list_path(self) -> Path:
        return revocations.list_path(self._dir, self._plan.campaign, TableKind.TRAIN)

    def _noised_update(self, round_number: int) -> npt.NDArray[np.int64]:
        if self._beacon is None:
            raise LocalProtocolError("expected the beacon before the first round, got none")
        training, companies = self._plan.training, len(self._secagg.cohort)
        stream = self._seed.round_stream(
            beacon=self._beacon, campaign=self._plan.campaign, round_number=round_number
        )
        material = self._material
        if isinstance(material, OpenedSums):
            return noised_sums(material.values, plan_training=training, companies=companies, stream=stream)
        from noren_client.mechanism import noised_update

        return noised_update(
            material.rows.astype(np.float64) / row_scale(self._plan.rows),
            material.labels,
            self._head.as_floats(),
            plan_training=training,
            companies=companies,
            stream=stream,
        )

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

    def _signed_commitment(self) -> bytes:
        """What we say before the beacon: which seed our noise will come from, and which rows we train on."""
        seed = self._seed.commitment(company=self._company, campaign=self._plan.campaign)
        return entries.sign_entry(
            EntryKind.TRAINING_COMMITMENT,
            self._company,
            {
                "campaign": self._plan.campaign,
                "company": self._company,
                "plan_sha256": self._plan.digest().hex(),
                "rows": self._material.root(self._row_salt).hex(),
                "seed": seed.hex(),
            },
            self._signing,
        )

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
                "sequence": reservation.sequence,
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

    def _verify_beacon(self, proven: Sequence[VerifiedEntry], intent: VerifiedEntry) -> None:
        """Our commitment, the campaign's beacon and our first intent stand in the ledger, in this order.

        Once known, the beacon is the campaign's for good: with another one there would be other noise to
        choose from.
        """
        commitment = _proven(proven, self._commitment)
        beacons = [item for item in proven if item.entry.kind is EntryKind.BEACON]
        if len(beacons) != 1 or beacons[0].index > intent.index:
            raise VerificationError("expected a proof of one beacon before our intent, got another")
        value = verify_beacon(
            beacons[0], commitment=commitment.index, plan=self._plan, keys=self._watch.keys()
        )
        if self._beacon not in (None, value):
            raise VerificationError("expected the beacon that was shown before, got another")
        self._beacon = value

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
        What a replay needs of the rounds is on disk before their settles leave.
        """
        head, made, replayable = self._head, dict[int, bytes](), list(self._replay_rounds)
        for aggregate in finished:
            if aggregate.round_number > head.round_number + 1:
                raise RemoteProtocolError("expected the finished rounds without a gap")
            if aggregate.round_number == head.round_number + 1:
                gradient = self._gradient(aggregate)
                advanced = head.advance(gradient, self._plan.training)
                consents = self._consents.get(aggregate.round_number) or RoundConsents.drawn()
                made[aggregate.round_number] = self._settle(head, advanced, aggregate, consents)
                replayable.append(self._replay_round(aggregate, gradient, consents))
                head = advanced
        if made:
            self._keep_replay_data(replayable)
        for applied in sorted(made.keys() & self._updates.keys()):
            self._odometer.settle(self._plan, applied)
        self._head, self._replay_rounds = head, replayable
        self._settles |= made
        for applied in made.keys() & self._updates.keys():
            self._updates.pop(applied).wipe()
            self._consents.pop(applied)
        return tuple(self._settles[aggregate.round_number] for aggregate in finished)

    def _gradient(self, aggregate: m.Aggregate) -> list[int]:
        """The sum of a finished round without blinds, if its survivors are ones that we can vouch for."""
        survivors = aggregate.survivors
        if list(survivors) != sorted(set(survivors)) or not set(survivors) <= self._secagg.confirmed:
            raise RemoteProtocolError("survivors: expected companies who confirmed our cohort, sorted")
        if len(survivors) < self._plan.minimum_cohort:
            raise RemoteProtocolError(
                f"survivors: expected at least {self._plan.minimum_cohort}, got {len(survivors)}"
            )
        if self._secagg.answered.get(aggregate.round_number, survivors) != survivors:
            raise RemoteProtocolError("survivors: expected the set that we signed, got another")
        if len(aggregate.values) != self._plan.vector_length:
            raise RemoteProtocolError(
                f"aggregate: expected {self._plan.vector_length} values, got {len(aggregate.values)}"
            )
        return self._key().remove_blinds(
            aggregate.values[: self._plan.head_length],
            round_number=aggregate.round_number,
            survivors=len(survivors),
        )

    def _settle(
        self, before: HeadState, after: HeadState, aggregate: m.Aggregate, consents: RoundConsents
    ) -> bytes:
        key = self._key().commitment_key()
        update = self._update(after.round_number)
        body: dict[str, object] = {
            "campaign": self._plan.campaign,
            "company": self._company,
            "consents": consents.commitment().hex(),
            "model_in": before.commitment(key).hex(),
            "model_out": after.commitment(key).hex(),
            "round": after.round_number,
            "sentinels": aggregate.values[self._plan.head_length :].tolist(),
            "survivors": list(aggregate.survivors),
            "update_sha256": self._key().update_commitment(self._company, update.buffer).hex(),
        }
        return entries.sign_entry("settle", self._company, body, self._signing)

    def _update(self, round_number: int) -> SecretBytes:
        """What we sent in a round; empty if nothing."""
        return self._updates.get(round_number, SecretBytes(b""))

    def _replay_round(
        self, aggregate: m.Aggregate, gradient: Sequence[int], consents: RoundConsents
    ) -> ReplayRound:
        update = np.frombuffer(self._update(aggregate.round_number).buffer, dtype="<i8")
        return ReplayRound(
            aggregate.round_number, aggregate.survivors, tuple(gradient), tuple(update.tolist()), consents
        )

    def _keep_replay_data(self, rounds: Sequence[ReplayRound]) -> None:
        """Write it, without rows that were erased meanwhile: what is gone from the training set is gone."""
        self._committed, rows_erased = self._without_erased(self._committed)
        self._rows_erased |= rows_erased
        data = ReplayData(
            campaign=self._plan.campaign,
            company=self._company,
            seed=self._seed.to_bytes(),
            row_salt=self._row_salt.reveal(),
            commitment_key=self._key().commitment_key(),
            cohort=self._secagg.cohort,
            material=self._committed,
            rounds=rounds,
            rows_erased=self._rows_erased,
        )
        replay_data.save(self._dir, data, now=self._clock())

    def _without_erased(self, committed: TrainingSet | OpenedSums) -> tuple[TrainingSet | OpenedSums, bool]:
        """The committed rows that the training set on disk still has, and whether one is missing there."""
        if isinstance(committed, OpenedSums):
            return committed, False
        left = committed.only(campaign_files.training_tags(self._dir, self._plan.campaign))
        return left, len(left.tags) < len(committed.tags)


def _proven(proven: Sequence[VerifiedEntry], signed: bytes) -> VerifiedEntry:
    """An entry of ours, exactly as signed, among those that the ledger was shown to hold."""
    ours = entries.parse_entry(signed)
    for item in proven:
        if item.entry.signature == ours.signature:
            return item
    raise VerificationError(f"expected a proof of our {ours.kind.value}, got none")


handle = TrainingSessions().handle
