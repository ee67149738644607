"""The platform's side of the training rounds: drives the machines, keeps the ledger, never holds a head.

One run: set-up (advertise, share), then per round two exchanges (masked input, unmask), then finish. What
companies say of noise and rows before they train is in the ledger before the beacon, and the beacon before
anything is spent. Within
an exchange whoever did not answer is asked once more, the identical request, if time is left. A company that
misses an answer all the same is left out of the rounds that follow, as is one that the operator revokes; the
run fails when fewer than the plan's minimum remain.

Before set-up and before every round the run waits while the operator holds the campaign, and leaves out whom
she wants left out (`round_control`). What was reserved for that round stays reserved: the same reservation is
used when it begins. Who is left out is a drop-out to everybody else.

Every round brings each company the newest revocation list of its training table. Before a sum is opened, the
lists are looked up again: a company whose list says more by then is treated as one whose masked input never
came, so no sum holds a row that was withdrawn before it was opened. Nobody is told why a company is missing.

Nothing that a company sends can end the run for the others, with one exception: a company that seals garbage
to the others in place of shares. Those it sealed it to drop out, or the round in which its secret is needed
fails; it is named, by them or here (docs/threat-model.md).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from noren_core.errors import LocalProtocolError, NorenError, RemoteProtocolError
from noren_core.ids import TableKind
from noren_core.ledger import entries
from noren_core.ledger.entries import EntryKind
from noren_core.ledger.proofs import LedgerProof
from noren_core.season import messages as m
from noren_core.season.plan import MAX_MESSAGE_BYTES, CampaignPlan, TrainingMode
from noren_core.season.round_consents import RoundConsents
from noren_core.season.round_event import round_event
from noren_core.secagg.server import RoundFailedError, SecAggServer
from noren_server.ledger_service import LedgerService
from noren_server.round_control import RoundControl
from noren_server.store import CompanyState

_LOG = logging.getLogger("noren.rounds")
SETUP_DEADLINE_SECONDS = 120.0
FINISH_ATTEMPTS = 2
# Of an exchange's deadline, what passes before those who did not answer are asked again.
_FIRST_PART = 2 / 3

R = TypeVar("R", bound=m.Reply)

NewestRevocations = Callable[[str], tuple[bytes, bytes]]
"""Gives the revocation list of a company's training table as it is now, and the platform's signature."""
Listen = Callable[[Callable[[str], None] | None], None]
"""Tells a transport what to call with the name of a company as soon as its answer is there, or nothing."""


class Exchange(Protocol):
    """What the rounds need from a transport: opaque requests out, opaque replies in, within a deadline."""

    def wait_for(self, companies: Collection[str], *, deadline_seconds: float) -> set[str]:
        """The companies that are connected, waiting at most this long for all of them."""

    def exchange(self, requests: Mapping[str, bytes], *, deadline_seconds: float) -> dict[str, bytes]:
        """Replies by company; whoever is late, silent or malformed is not in it."""


@dataclass(slots=True)
class Progress:
    """What the operator sees of a run while it goes on; counts of companies, never of people."""

    path: Path
    rounds: int
    state: str = "waiting"
    round_number: int = 0
    companies: int = 0
    round_seconds: list[float] = field(default_factory=list)
    reason: str = ""

    def write(self) -> None:
        """Replace the progress file."""
        temporary = self.path.with_suffix(".part")
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "path"}
        temporary.write_text(json.dumps(fields), encoding="utf-8")
        temporary.replace(self.path)


class CampaignRun:
    """One attempt at the rounds of one campaign."""

    def __init__(
        self,
        plan: CampaignPlan,
        *,
        signing_keys: Mapping[str, bytes],
        admitted: Callable[[], Collection[str]],
        ledger: LedgerService,
        exchange: Exchange,
        progress: Progress,
        newest_revocations: NewestRevocations,
        control: RoundControl,
        listen: Listen = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._keys = dict(signing_keys)
        self._admitted = admitted
        self._ledger = ledger
        self._exchange = exchange
        self._progress = progress
        self._newest_revocations = newest_revocations
        self._control = control
        self._listen = listen
        self._clock = clock
        self._known: dict[str, int] = {}
        self._committed: dict[str, entries.SignedEntry] = {}
        self._commitments: dict[str, int] = {}
        self._beacon = 0
        self._intents: dict[str, int] = {}
        self._settled: dict[str, int] = {}
        self._consents: dict[tuple[str, int], RoundConsents] = {}
        self._aggregates: list[m.Aggregate] = []
        self._took_shares: set[str] = set()
        self._took_signatures: set[str] = set()
        self._secagg = SecAggServer(
            roster=self._keys,
            threshold=plan.threshold,
            minimum_cohort=plan.minimum_cohort,
            session=plan.digest(),
            rounds=plan.training.rounds,
            vector_length=plan.vector_length,
        )

    def run(self) -> None:
        """All rounds.

        Raises:
            NorenError: the run failed, which the ledger and the progress file say too: RoundFailedError when
                too few companies remain, with code ROUND_ABORTED_CONSENT if there would be enough with those
                whose lists grew.
        """
        try:
            self._wait_while_held()
            active = self._set_up()
            for round_number in range(1, self._plan.training.rounds + 1):
                self._wait_while_held()
                active = self._round(round_number, self._control.remaining(active))
            self._finish()
        except NorenError as error:
            self._fail(error)
            raise
        self._tell(state="finished")

    def _set_up(self) -> set[str]:
        """Connect, advertise, commit, share; the companies that are ready for round 1."""
        self._tell(state="set-up")
        wanted = self._control.remaining(self._plan.companies)
        present = self._present(wanted, deadline_seconds=SETUP_DEADLINE_SECONDS)
        request = m.AdvertiseRequest(self._plan.campaign)
        for company, reply in self._ask(dict.fromkeys(present, request), m.AdvertiseReply).items():
            self._take(company, partial(self._add_advertisement, company, reply))
        self._require(self._committed)
        self._publish_beacon()
        share = m.ShareRequest(self._plan.campaign, self._secagg.advertisements)
        ready = {
            company
            for company, reply in self._ask(dict.fromkeys(self._commitments, share), m.ShareReply).items()
            if self._take(company, partial(self._add_shares, company, reply))
        }
        self._require(ready)
        return ready

    def _add_advertisement(self, company: str, reply: m.AdvertiseReply) -> None:
        commitment = self._verified_entry(company, reply.commitment, EntryKind.TRAINING_COMMITMENT, {})
        self._verify_only_commitment(commitment)
        self._secagg.add_advertisement(company, reply.advertisement)
        self._committed[company] = commitment

    def _verify_only_commitment(self, commitment: entries.SignedEntry) -> None:
        """One per company and campaign, and no seed twice: a second could be chosen after the first was seen.

        What this run has taken counts like what is in the ledger, where it will be.
        A company that is asked again after a run that failed before the beacon says the same thing, unless
        its worker started anew in between. Then it has dropped out.
        """
        stored = self._ledger.store.entries(kind=EntryKind.TRAINING_COMMITMENT)
        for known in (*(item.entry for item in stored), *self._committed.values()):
            if known.signature == commitment.signature:
                continue
            same_place = (known.campaign, known.company) == (commitment.campaign, commitment.company)
            if same_place or known.body["seed"] == commitment.body["seed"]:
                raise RemoteProtocolError("training commitment: expected the first of a seed, got another")

    def _publish_beacon(self) -> None:
        """Every commitment, then a cosigned checkpoint that covers them all, then the beacon.

        Raises:
            LocalProtocolError: with code WITNESS_QUORUM, if too few witnesses cosigned. No beacon is appended
                then, and the campaign can be begun again.
        """
        for company, commitment in self._committed.items():
            self._take(company, partial(self._append_commitment, company, commitment))
        self._require(self._commitments)
        checkpoint = self._ledger.cosigned_checkpoint().decode()
        body = {"campaign": self._plan.campaign, "checkpoint": checkpoint}
        self._beacon = self._ledger.append_platform_entry(EntryKind.BEACON, body)

    def _append_commitment(self, company: str, commitment: entries.SignedEntry) -> None:
        self._commitments[company] = self._ledger.append_company_entry(commitment)

    def _add_shares(self, company: str, reply: m.ShareReply) -> None:
        """Who shared is in the cohort, and the ledger shows the cohort: neither without the other."""
        intent = self._verified_entry(company, reply.intent, EntryKind.INTENT, {"round": 1})
        self._secagg.verify_sealed_shares(company, reply.sealed_shares)
        self._intents[company] = self._ledger.append_company_entry(intent)
        self._secagg.add_sealed_shares(company, reply.sealed_shares)

    def _round(self, round_number: int, active: set[str]) -> set[str]:
        """One round; who may take part in the next one.

        1. Every company's masked input, computed under the newest list of its table.
        2. Those whose list says more by now, or for which the service was suspended meanwhile, count as
           drop-outs; what they computed stays masked for ever, and what they reserved stays spent.
        3. Unmasking and the sum of the others.
        """
        started = self._clock()
        self._tell(state="training", round_number=round_number, companies=len(active))
        replies = self._masked_inputs(round_number, active)  # 1
        stopped = replies.keys() - set(self._admitted())  # 2
        outdated = {c for c in replies.keys() - stopped if self._is_outdated(round_number, c)}
        taken = {
            company
            for company, reply in replies.items()
            if self._take(
                company,
                partial(
                    self._add_masked, round_number, company, reply, counts=company not in outdated | stopped
                ),
            )
        }
        counted = taken - stopped - outdated
        self._control.judged(round_number, reported=counted, missed=active - counted)
        survivors = self._close_inputs(round_number, taken - stopped)  # 3
        unmask = self._unmask_request(round_number, survivors)
        remaining = {
            company
            for company, reply in self._ask(dict.fromkeys(survivors, unmask), m.UnmaskReply).items()
            if self._take(company, partial(self._add_unmasking, round_number, company, reply))
        }
        values = self._secagg.aggregate(round_number)
        self._log_disputes(round_number)
        self._aggregates.append(m.Aggregate(round_number, survivors, values))
        self._progress.round_seconds.append(round(self._clock() - started, 3))
        self._control.closed(round_number)
        if round_number < self._plan.training.rounds:
            self._require(remaining)
        return remaining

    def _wait_while_held(self) -> None:
        self._control.wait_while_held(lambda: self._tell(state="paused"))

    def _masked_inputs(self, round_number: int, active: set[str]) -> dict[str, m.MaskedInputReply]:
        """The answers of this round's companies, while the operator watches them come."""
        requests = self._masked_input_requests(round_number, active)
        deadline_seconds = self._plan.training.deadline_seconds
        self._control.opened(round_number, active, seconds=deadline_seconds)
        self._listen(partial(self._control.heard, round_number))
        try:
            return self._ask(
                requests, m.MaskedInputReply, on_silence=partial(self._control.asked_again, round_number)
            )
        finally:
            self._listen(None)

    def _masked_input_requests(
        self, round_number: int, companies: Collection[str]
    ) -> dict[str, m.MaskedInputRequest]:
        """By company; one whose list cannot be had, or makes the message too long, is not asked."""
        requests: dict[str, m.MaskedInputRequest] = {}
        for company in sorted(companies):
            try:
                self._consents[company, round_number] = self._newest_consents(company)
                request = self._masked_input_request(round_number, company)
            except NorenError as error:
                _LOG.warning("%s is not asked: %s", company, error.code)
                continue
            if len(m.encode_request(request)) > MAX_MESSAGE_BYTES:
                _LOG.warning("%s is not asked: its request is too long", company)
                continue
            requests[company] = request
        return requests

    def _newest_consents(self, company: str) -> RoundConsents:
        """With sealed statistics there is none: what a company trains on are sums, and no row is left."""
        if self._plan.mode is TrainingMode.SEALED_STATISTICS:
            return RoundConsents.drawn()
        return RoundConsents.drawn(*self._newest_revocations(company))

    def _is_outdated(self, round_number: int, company: str) -> bool:
        """Whether the company's list is another one by now, or cannot be had any more."""
        if self._plan.mode is TrainingMode.SEALED_STATISTICS:
            return False
        try:
            newest, _ = self._newest_revocations(company)
        except NorenError as error:
            _LOG.warning("%s is left out: %s", company, error.code)
            return True
        return newest != self._consents[company, round_number].revocations

    def _close_inputs(self, round_number: int, taken: Collection[str]) -> tuple[str, ...]:
        """The survivors.

        Raises:
            RoundFailedError: if too few are left; with code ROUND_ABORTED_CONSENT, if `taken`, which has the
                outdated ones, would have been enough.
        """
        try:
            return self._secagg.close_inputs(round_number)
        except RoundFailedError as error:
            if len(taken) < self._plan.minimum_cohort:
                raise
            raise RoundFailedError(
                "expected enough companies whose rows are all consented to until the end, got fewer",
                code="ROUND_ABORTED_CONSENT",
            ) from error

    def _masked_input_request(self, round_number: int, company: str) -> m.MaskedInputRequest:
        indices = [self._intents[company]]
        if round_number == 1:
            indices += [self._commitments[company], self._beacon]
        return m.MaskedInputRequest(
            campaign=self._plan.campaign,
            round_number=round_number,
            proof=self._prove(company, indices),
            sealed_shares=self._missing_shares(company),
            finished=self._unsettled(company),
            consents=self._consents[company, round_number],
        )

    def _unmask_request(self, round_number: int, survivors: tuple[str, ...]) -> m.UnmaskRequest:
        """One request for all: in round 1 nobody has the others' signatures, later everybody asked has."""
        signatures = self._secagg.cohort_signatures if round_number == 1 else {}
        return m.UnmaskRequest(self._plan.campaign, round_number, survivors, signatures)

    def _missing_shares(self, company: str) -> dict[str, bytes]:
        """The peers' sealed shares, until a reply shows that the company has them."""
        return {} if company in self._took_shares else self._secagg.inbox(company)

    def _add_masked(
        self, round_number: int, company: str, reply: m.MaskedInputReply, *, counts: bool
    ) -> None:
        """Take what a company answers; its masked vector only if it counts."""
        settles = self._verified_settles(company, reply.settles)
        if company not in self._took_shares:
            self._secagg.add_cohort_signature(company, reply.cohort_signature)
            self._took_shares.add(company)
        if counts:
            self._secagg.add_masked(round_number, company, reply.masked)
        self._append_settles(company, settles)

    def _add_unmasking(self, round_number: int, company: str, reply: m.UnmaskReply) -> None:
        following = round_number + 1
        last = round_number == self._plan.training.rounds
        intent = (
            None
            if last
            else self._verified_entry(company, reply.next_intent, EntryKind.INTENT, {"round": following})
        )
        self._secagg.add_unmasking(round_number, company, reply.unmasking)
        self._took_signatures.add(company)
        if intent is not None:
            self._intents[company] = self._ledger.append_company_entry(intent)

    def _log_disputes(self, round_number: int) -> None:
        """Tell the operator who gave wrong shares of whose secrets."""
        for dispute in self._secagg.disputes:
            if dispute.round_number == round_number:
                _LOG.warning(
                    "round %d: wrong share of the secret of %s from %s",
                    round_number,
                    dispute.dealer,
                    dispute.holder,
                )

    def _finish(self) -> None:
        """Hand out the last aggregates; a company that missed rounds, even all of them, gets the head too.

        No round is held up here, so whoever is silent is waited for and asked again.
        """
        self._tell(state="finishing")
        waiting = set(self._secagg.cohort)
        for attempt in range(FINISH_ATTEMPTS):
            if attempt:
                deadline_seconds = self._plan.training.deadline_seconds
                present = self._present(waiting, deadline_seconds=deadline_seconds)
            else:
                present = waiting
            requests = {company: self._finish_request(company) for company in sorted(present)}
            for company, reply in self._ask(requests, m.FinishReply).items():
                self._take(company, partial(self._add_settles, company, reply.settles))
                waiting = waiting - {company}
            if not waiting:
                break

    def _finish_request(self, company: str) -> m.FinishRequest:
        has_signatures = company in self._took_signatures
        return m.FinishRequest(
            campaign=self._plan.campaign,
            finished=self._unsettled(company),
            sealed_shares=self._missing_shares(company),
            cohort_signatures={} if has_signatures else self._secagg.cohort_signatures,
        )

    def _add_settles(self, company: str, settles: tuple[bytes, ...]) -> None:
        self._append_settles(company, self._verified_settles(company, settles))

    def _unsettled(self, company: str) -> tuple[m.Aggregate, ...]:
        return tuple(self._aggregates[self._settled.get(company, 0) :])

    def _verified_settles(self, company: str, settles: tuple[bytes, ...]) -> list[entries.SignedEntry]:
        """The settles of exactly the rounds we sent, checked before one is kept.

        Sentinel sums are those we sent, and a survivor's list is the one that it was given for that round:
        whoever states an older one cannot say later that it did not know.
        """
        expected = self._unsettled(company)
        if len(settles) != len(expected):
            raise RemoteProtocolError(f"expected {len(expected)} settles, got {len(settles)}")
        return [
            self._verified_entry(
                company,
                data,
                EntryKind.SETTLE,
                {
                    "round": a.round_number,
                    "sentinels": a.values[self._plan.head_length :].tolist(),
                    "survivors": list(a.survivors),
                    **self._expected_consents(company, a),
                },
            )
            for data, a in zip(settles, expected, strict=True)
        ]

    def _expected_consents(self, company: str, aggregate: m.Aggregate) -> dict[str, str]:
        """Who is no survivor may have computed nothing, and then states that there was no list."""
        if company not in aggregate.survivors:
            return {}
        return {"consents": self._consents[company, aggregate.round_number].commitment().hex()}

    def _append_settles(self, company: str, settles: list[entries.SignedEntry]) -> None:
        for settle in settles:
            self._ledger.append_company_entry(settle)
        self._settled[company] = self._settled.get(company, 0) + len(settles)

    def _verified_entry(
        self, company: str, data: bytes, kind: EntryKind, fields: Mapping[str, object]
    ) -> entries.SignedEntry:
        """An entry signed by this company, of this kind, saying what the protocol makes it say."""
        entry = entries.parse_entry(data)
        self._ledger.verify_author(entry)
        expected = {"campaign": self._plan.campaign, "company": company, **fields}
        if kind is not EntryKind.SETTLE:
            expected["plan_sha256"] = self._plan.digest().hex()
        if kind is EntryKind.INTENT:
            expected["event"] = round_event(self._plan).to_body()
        said = {name: entry.body.get(name) for name in expected}
        if entry.kind is not kind or entry.author != company or said != expected:
            raise RemoteProtocolError(
                f"expected a {kind.value} entry of this campaign and round, got another"
            )
        return entry

    def _prove(self, company: str, indices: list[int]) -> LedgerProof:
        return self._ledger.prove(known_tree_size=self._known[company], indices=indices)

    def _present(self, companies: Collection[str], *, deadline_seconds: float) -> set[str]:
        admitted = set(companies) & set(self._admitted())
        return self._exchange.wait_for(admitted, deadline_seconds=deadline_seconds)

    def _ask(
        self,
        requests: Mapping[str, m.Request],
        kind: type[R],
        *,
        on_silence: Callable[[Collection[str]], None] = lambda _: None,
    ) -> dict[str, R]:
        """Send requests and keep the answers of the expected kind; the rest is dropped, its text unread.

        Companies that are not admitted any more are not asked. Who did not answer, or not well, is asked once
        more before the deadline. That costs nothing when all answer, and the request is the identical one: a
        company that answered it, but whose answer was lost, answers with the same bytes. `on_silence` is told
        who is asked again.
        """
        admitted = self._admitted()
        payloads = {c: m.encode_request(request) for c, request in requests.items() if c in admitted}
        deadline_seconds = self._plan.training.deadline_seconds
        end = self._clock() + deadline_seconds
        kept = self._ask_once(payloads, kind, deadline_seconds=_FIRST_PART * deadline_seconds)
        missing = {company: data for company, data in payloads.items() if company not in kept}
        remaining = end - self._clock()
        if missing and remaining > 0:
            on_silence(missing)
            kept |= self._ask_once(missing, kind, deadline_seconds=remaining)
        return kept

    def _ask_once(
        self, payloads: Mapping[str, bytes], kind: type[R], *, deadline_seconds: float
    ) -> dict[str, R]:
        replies = self._exchange.exchange(payloads, deadline_seconds=deadline_seconds)
        kept: dict[str, R] = {}
        for company, data in sorted(replies.items()):
            if company not in payloads:
                continue
            try:
                answer = self._opened(company, data, payloads[company])
            except NorenError as error:
                _LOG.warning("reply refused: %s", error.code)
                continue
            if isinstance(answer.reply, kind):
                kept[company] = answer.reply
                self._known[company] = answer.known_tree_size
        return kept

    def _opened(self, company: str, data: bytes, request: bytes) -> m.Answer:
        """The company's own answer to this request, with a tree size that a proof can begin at."""
        answer = m.open_answer(data, company=company, request=request, public_key=self._keys[company])
        if answer.known_tree_size > self._ledger.store.size:
            raise RemoteProtocolError(
                "answer: expected a tree size that the ledger has had, got a larger one",
                code="UNKNOWN_TREE_SIZE",
            )
        return answer

    def _take(self, company: str, step: Callable[[], object]) -> bool:
        """Apply one company's contribution; a bad one drops that company, not the round."""
        try:
            step()
        except NorenError as error:
            _LOG.warning("contribution of %s refused: %s", company, error.code)
            return False
        return True

    def _require(self, companies: Collection[str]) -> None:
        if len(companies) < self._plan.minimum_cohort:
            raise RoundFailedError(
                f"expected at least {self._plan.minimum_cohort} companies, got {len(companies)}"
            )

    def _fail(self, error: NorenError) -> None:
        _LOG.error("run failed: %s", error.message)
        body = {
            "campaign": self._plan.campaign,
            "reason": error.code,
            "round": max(1, self._progress.round_number),
        }
        self._ledger.append_platform_entry("round-failed", body)
        self._tell(state="failed", reason=error.code)

    def _tell(self, **fields: object) -> None:
        for name, value in fields.items():
            setattr(self._progress, name, value)
        self._progress.write()


def verify_not_begun(ledger: LedgerService, campaign: str) -> None:
    """Refuse to train a campaign twice: there is one beacon, and what companies reserved is spent.

    Raises:
        LocalProtocolError: with code ALREADY_BEGUN, if the ledger has a beacon of this campaign. Nothing is
            appended: the failure of a second attempt would contradict the rounds that the first one settled.
    """
    if ledger.store.entries(kind=EntryKind.BEACON, campaign=campaign):
        raise LocalProtocolError(
            "training: expected a campaign of which no round is spent, got one that was begun before",
            code="ALREADY_BEGUN",
        )


def run(platform_dir: Path, campaign: str, exchange: Exchange, *, listen: Listen = lambda _: None) -> None:
    """Run the rounds of a published campaign; what Flower's ServerApp calls."""
    from noren_server import platform_files
    from noren_server.consents.opening import consent_service
    from noren_server.rights.opening import revocations_of
    from noren_server.rights.service_states import service_desk
    from noren_server.tables import TablePublisher

    platform = platform_files.Platform(platform_dir)
    plan = platform.plan(campaign)
    desk = service_desk(platform)
    desk.require_running(campaign=campaign)
    verify_not_begun(platform.ledger, campaign)
    publisher = TablePublisher(platform.store, platform.ledger, platform_dir / "tables")

    def admitted() -> set[str]:
        """Those that are approved and for which the service runs: nobody while the campaign is suspended."""
        with platform.store.transaction() as transaction:
            approved = {c.name for c in transaction.companies() if c.state is CompanyState.APPROVED}
        states = desk.states()
        return {name for name in approved if states.is_running(company=name, campaign=campaign)}

    with consent_service(platform) as consents:
        revocations = revocations_of(platform, consents.book)

        def newest_revocations(company: str) -> tuple[bytes, bytes]:
            table = publisher.table(campaign, company, TableKind.TRAIN)
            if table is None:
                raise LocalProtocolError("training: expected a training table of every company, got none")
            return revocations.newest(plan, table)

        CampaignRun(
            plan,
            signing_keys=platform.signing_keys(plan.companies),
            admitted=admitted,
            ledger=platform.ledger,
            exchange=exchange,
            progress=Progress(platform.progress_path(campaign), plan.training.rounds),
            newest_revocations=newest_revocations,
            control=RoundControl(platform.store, plan),
            listen=listen,
        ).run()
