"""A platform that lies during the rounds: refused with a code, nothing spent, the honest message works."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from noren_client import keystore
from noren_client.ledger_watch import LedgerWatch
from noren_client.odometer import Odometer
from noren_core.errors import BudgetExceededError, NorenError, RemoteProtocolError
from noren_core.ledger.entries import EntryKind, parse_entry
from noren_core.ledger.proofs import LedgerProof
from noren_core.season import messages as m
from noren_core.season.plan import CampaignPlan
from noren_core.secagg.server import RoundFailedError
from noren_core.wire.v1 import training_pb2 as wire
from noren_server.campaign_rounds import CampaignRun, Progress
from noren_server.ledger_service import LedgerService
from noren_server.ledger_store import LedgerStore
from noren_server.round_control import RoundControl

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Handle, SmallSeason

VICTIM = "chidori"

Make = Callable[["SmallSeason", m.Request], m.Request]


@dataclass(frozen=True)
class Lie:
    """A request that stands in for, or follows, an honest one of that kind and round."""

    kind: type
    round_number: int
    make: Make
    code: str
    follows: bool = False


def with_fields(**fields: object) -> Make:
    return lambda _, request: replace(request, **fields)


def other_survivors(_: SmallSeason, request: m.Request) -> m.Request:
    (finished,) = request.finished
    return replace(request, finished=(replace(finished, survivors=finished.survivors[:-1]),))


def few_survivors(_: SmallSeason, request: m.Request) -> m.Request:
    (finished,) = request.finished
    return replace(request, finished=(replace(finished, survivors=finished.survivors[:3]),))


def short_aggregate(_: SmallSeason, request: m.Request) -> m.Request:
    (finished,) = request.finished
    return replace(request, finished=(replace(finished, values=finished.values[:-1]),))


def without_sentinels(_: SmallSeason, request: m.Request) -> m.Request:
    (finished,) = request.finished
    return replace(request, finished=(replace(finished, values=finished.values[:5]),))


def huge_sentinels(_: SmallSeason, request: m.Request) -> m.Request:
    (finished,) = request.finished
    values = finished.values.copy()
    values[-1] = (1 << 62) + 1
    return replace(request, finished=(replace(finished, values=values),))


def diverging_aggregate(_: SmallSeason, request: m.Request) -> m.Request:
    (finished,) = request.finished
    return replace(request, finished=(replace(finished, values=finished.values + (1 << 62)),))


def with_a_gap(_: SmallSeason, request: m.Request) -> m.Request:
    (finished,) = request.finished
    return replace(request, finished=(replace(finished, round_number=finished.round_number + 1),))


def proving(company: str, round_number: int) -> Make:
    """A true proof of this intent, from the honest ledger, beginning at what the company knows by now."""

    def make(season: SmallSeason, request: m.Request) -> m.Request:
        with season.platform() as platform:
            stored = platform.ledger_store.entries(kind=EntryKind.INTENT, company=company)
            index = next(s.index for s in stored if s.entry.body["round"] == round_number)
            known = LedgerWatch(season.company_dir(VICTIM)).known_tree_size
            proof = platform.ledger.prove(known_tree_size=known, indices=[index])
        return replace(request, proof=proof)

    return make


def without_entries(_: SmallSeason, request: m.Request) -> m.Request:
    return replace(request, proof=replace(request.proof, entries=()))


def changed_checkpoint(_: SmallSeason, request: m.Request) -> m.Request:
    checkpoint = bytearray(request.proof.checkpoint)
    checkpoint[20] ^= 1
    return replace(request, proof=replace(request.proof, checkpoint=bytes(checkpoint)))


def changed_entry(_: SmallSeason, request: m.Request) -> m.Request:
    (item,) = request.proof.entries
    entry = item.entry.replace(b'"round":2', b'"round":3')
    assert entry != item.entry
    return replace(request, proof=replace(request.proof, entries=(replace(item, entry=entry),)))


def forked(season: SmallSeason, request: m.Request) -> m.Request:
    """Another ledger under the same keys, longer than the one that the company knows."""
    return replace(
        request, proof=proof_of_fork(season, LedgerWatch(season.company_dir(VICTIM)).known_tree_size + 3)
    )


def rolled_back(season: SmallSeason, request: m.Request) -> m.Request:
    return replace(request, proof=proof_of_fork(season, 5))


def proof_of_fork(season: SmallSeason, entries: int) -> LedgerProof:
    with season.platform() as platform:
        log_key = platform.ledger_store._log_key
        path = season.root / "fork.db"
        path.unlink(missing_ok=True)
        with LedgerStore(path, origin=platform.config.origin, log_key=log_key) as store:
            fork = LedgerService(store, platform.signing_key)
            for number in range(1, entries + 1):
                body = {"campaign": "fork", "reason": "FORK", "round": number}
                fork.append_platform_entry(EntryKind.ROUND_FAILED, body)
            return fork.prove(known_tree_size=0, indices=[])


def proving_without(kind: EntryKind) -> Make:
    """The honest proof, but for the entry of this kind."""

    def make(_: SmallSeason, request: m.Request) -> m.Request:
        entries = tuple(item for item in request.proof.entries if parse_entry(item.entry).kind is not kind)
        assert len(entries) == len(request.proof.entries) - 1
        return replace(request, proof=replace(request.proof, entries=entries))

    return make


def with_anothers_commitment(season: SmallSeason, request: m.Request) -> m.Request:
    """True entries of the ledger, but the commitment is not ours."""
    with season.platform() as platform:
        store = platform.ledger_store
        indices = [
            stored.index
            for kind, company in (
                (EntryKind.TRAINING_COMMITMENT, "akane"),
                (EntryKind.BEACON, None),
                (EntryKind.INTENT, VICTIM),
            )
            for stored in store.entries(kind=kind, company=company)
        ]
        known = LedgerWatch(season.company_dir(VICTIM)).known_tree_size
        return replace(request, proof=platform.ledger.prove(known_tree_size=known, indices=indices))


def missing_advertisement(_: SmallSeason, request: m.Request) -> m.Request:
    few = dict(list(request.advertisements.items())[2:])
    return replace(request, advertisements=few)


def swapped_advertisements(_: SmallSeason, request: m.Request) -> m.Request:
    swapped = dict(request.advertisements)
    swapped["akane"], swapped["benten"] = swapped["benten"], swapped["akane"]
    return replace(request, advertisements=swapped)


def swapped_shares(_: SmallSeason, request: m.Request) -> m.Request:
    sealed = dict(request.sealed_shares)
    sealed["akane"], sealed["benten"] = sealed["benten"], sealed["akane"]
    return replace(request, sealed_shares=sealed)


def anothers_confirmation(_: SmallSeason, request: m.Request) -> m.Request:
    signatures = dict(request.cohort_signatures)
    signatures["akane"] = signatures["benten"]
    return replace(request, cohort_signatures=signatures)


def survivors_without(*companies: str) -> Make:
    return lambda _, request: replace(
        request, survivors=tuple(c for c in request.survivors if c not in companies)
    )


def early_finish(season: SmallSeason, request: m.Request) -> m.Request:
    return m.FinishRequest(season.plan.campaign, request.finished, {}, {})


def beginning_again(season: SmallSeason, _: m.Request) -> m.Request:
    return m.AdvertiseRequest(season.plan.campaign)


def ahead(_: SmallSeason, request: m.Request) -> m.Request:
    """Round 2 made up, so that round 3 could be computed on the intent of round 2."""
    (finished,) = request.finished
    return replace(request, round_number=3, finished=(finished, replace(finished, round_number=2)))


def made_up_aggregate(season: SmallSeason, request: m.Request) -> m.Request:
    """A sum of the round that is only asked for."""
    made_up = m.Aggregate(1, season.companies, np.zeros(13, dtype=np.int64))
    return replace(request, finished=(made_up,))


def beyond(_: SmallSeason, request: m.Request) -> m.Request:
    (finished,) = request.finished
    after = tuple(replace(finished, round_number=number) for number in (2, 3))
    return replace(request, round_number=4, finished=after)


MASKED, UNMASK, SHARE = m.MaskedInputRequest, m.UnmaskRequest, m.ShareRequest
WRONG, UNPROVEN = "PROTOCOL_VIOLATION", "NOT_VERIFIED"

LIES = {
    # What is said of finished rounds.
    "other-survivors": Lie(MASKED, 2, other_survivors, WRONG),
    "few-survivors": Lie(MASKED, 2, few_survivors, WRONG),
    "aggregate-skipped": Lie(MASKED, 2, with_fields(finished=()), WRONG),
    "aggregate-with-a-gap": Lie(MASKED, 2, with_a_gap, WRONG),
    "aggregate-too-short": Lie(MASKED, 2, short_aggregate, WRONG),
    "aggregate-that-diverges": Lie(MASKED, 2, diverging_aggregate, WRONG),
    # What is said of the ledger.
    "no-proof": Lie(MASKED, 2, without_entries, UNPROVEN),
    "proof-of-an-older-intent": Lie(MASKED, 2, proving(VICTIM, 1), UNPROVEN),
    "proof-of-anothers-intent": Lie(MASKED, 2, proving("akane", 2), UNPROVEN),
    "no-beacon": Lie(MASKED, 1, proving_without(EntryKind.BEACON), UNPROVEN),
    "no-commitment": Lie(MASKED, 1, proving_without(EntryKind.TRAINING_COMMITMENT), UNPROVEN),
    "no-intent": Lie(MASKED, 1, proving_without(EntryKind.INTENT), UNPROVEN),
    "anothers-commitment": Lie(MASKED, 1, with_anothers_commitment, UNPROVEN),
    "aggregate-without-sentinels": Lie(MASKED, 2, without_sentinels, WRONG),
    "sentinels-out-of-range": Lie(MASKED, 2, huge_sentinels, "BAD_DATA"),
    "changed-checkpoint": Lie(MASKED, 2, changed_checkpoint, UNPROVEN),
    "changed-entry": Lie(MASKED, 2, changed_entry, UNPROVEN),
    "split-view": Lie(MASKED, 2, forked, "SPLIT_VIEW"),
    "rolled-back": Lie(MASKED, 3, rolled_back, "SPLIT_VIEW"),
    # Set-up.
    "few-advertisements": Lie(SHARE, 0, missing_advertisement, WRONG),
    "swapped-advertisements": Lie(SHARE, 0, swapped_advertisements, WRONG),
    "no-shares": Lie(MASKED, 1, with_fields(sealed_shares={}), WRONG),
    "swapped-shares": Lie(MASKED, 1, swapped_shares, WRONG),
    # The order of things.
    "same-round-again": Lie(MASKED, 2, proving(VICTIM, 2), "ILLEGAL_STATE", follows=True),
    "round-ahead": Lie(MASKED, 2, with_fields(round_number=3), WRONG),
    "round-ahead-with-its-aggregates": Lie(MASKED, 2, ahead, WRONG),
    "aggregate-of-a-round-to-come": Lie(MASKED, 1, made_up_aggregate, WRONG),
    "round-beyond-the-plan": Lie(MASKED, 3, beyond, WRONG),
    "begun-again": Lie(MASKED, 3, beginning_again, "ILLEGAL_STATE"),
    "finished-early": Lie(MASKED, 2, early_finish, WRONG),
    "another-campaign": Lie(MASKED, 2, with_fields(campaign="autumn-2026"), WRONG),
    # Unmasking.
    "unmask-without-confirmations": Lie(UNMASK, 1, with_fields(cohort_signatures={}), WRONG),
    "unmask-with-anothers-confirmation": Lie(UNMASK, 1, anothers_confirmation, WRONG),
    "unmask-too-few": Lie(UNMASK, 2, survivors_without("akane", "benten"), WRONG),
    "unmask-without-us": Lie(UNMASK, 2, survivors_without(VICTIM), WRONG),
    "unmask-strangers": Lie(UNMASK, 2, with_fields(survivors=("akane", VICTIM, "w", "x", "y")), WRONG),
    "unmask-one-twice": Lie(UNMASK, 2, with_fields(survivors=("akane",) * 4 + (VICTIM,)), WRONG),
    "unmask-an-older-round": Lie(UNMASK, 2, with_fields(round_number=1), WRONG),
    "unmask-other-survivors-again": Lie(UNMASK, 2, survivors_without("enoki"), WRONG, follows=True),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_is_refused_and_costs_nothing(season: SmallSeason, lie: Lie) -> None:
    """The lie is refused with its code; nothing is spent, and the honest message is answered as ever."""
    told: list[tuple[str, int]] = []

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        number = getattr(request, "round_number", 0)
        if company != VICTIM or not isinstance(request, lie.kind) or number != lie.round_number:
            return handle(request)
        reply = handle(request) if lie.follows else None
        spent, updates = season.rounds_spent(VICTIM), updates_of(season)
        with checkpoint_put_back(season.company_dir(VICTIM)), pytest.raises(NorenError) as refused:
            handle(lie.make(season, request))
        told.append((refused.value.code, season.rounds_spent(VICTIM) - spent))
        assert updates_of(season) == updates
        return reply if lie.follows else handle(request)

    season.train(around)
    assert told == [(lie.code, 0)]
    assert season.exchange.refusals == []
    assert set(season.heads().values()) == {season.head(VICTIM)}
    survivors = {tuple(entry.body["survivors"]) for entry in season.entries(EntryKind.SETTLE)}
    assert survivors == {season.companies}
    verdict = season.audit()
    assert (verdict.word, verdict.findings) == ("VERIFIED", ())


@contextmanager
def checkpoint_put_back(company_dir: Path) -> Iterator[None]:
    """A true proof moves the checkpoint whatever else a message says; the honest one begins at the old."""
    kept = company_dir.with_name("checkpoint-before")
    shutil.copytree(company_dir / "platform", kept)
    yield
    shutil.rmtree(company_dir / "platform")
    kept.rename(company_dir / "platform")


def updates_of(season: SmallSeason) -> dict[int, bytes]:
    """What the company will commit to as its contributions."""
    session = season.exchange.sessions._sessions[season.company_dir(VICTIM), season.plan.campaign]
    return dict(session._updates)


def test_a_split_view_is_kept_as_evidence(season: SmallSeason) -> None:
    """The two checkpoints that contradict each other are kept; the known one stays."""

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        if company == VICTIM and isinstance(request, MASKED) and request.round_number == 2:
            handle(forked(season, request))
        return handle(request)

    season.train(around)
    assert set(season.exchange.refusals) == {(VICTIM, "SPLIT_VIEW")}
    (evidence,) = (season.company_dir(VICTIM) / "platform" / "evidence").iterdir()
    assert b"known" in evidence.read_bytes()
    assert season.rounds_spent(VICTIM) == 2  # round 2 was reserved before, and stays spent


def test_survivors_that_differ_from_those_signed_are_noticed(season: SmallSeason) -> None:
    """Told other survivors when unmasking than the ledger's, the company settles nothing of that round."""

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        if company == VICTIM and isinstance(request, UNMASK) and request.round_number == 2:
            return handle(survivors_without("enoki")(season, request))
        return handle(request)

    season.train(around)
    assert set(season.exchange.refusals) == {(VICTIM, WRONG)}
    assert season.settled_rounds(VICTIM) == [1]
    assert season.head(VICTIM) is None
    assert season.head("akane") is not None


def test_a_company_that_is_shown_another_cohort_gets_no_head_rather_than_a_false_one(
    season: SmallSeason,
) -> None:
    """With one peer's shares withheld its key would differ: it is left out, and applies no aggregate."""

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        if company == VICTIM and isinstance(request, MASKED) and request.round_number == 1:
            sealed = dict(request.sealed_shares)
            del sealed["enoki"]
            reply = handle(replace(request, sealed_shares=sealed))
            signed = wire.SignedReply.FromString(reply)
            key = keystore.load(season.company_dir(VICTIM)).signing
            answer = m.parse_answer(signed.reply)  # as if it had been asked what the others were
            return m.sign_answer(answer, company=VICTIM, request=m.encode_request(request), key=key)
        return handle(request)

    season.train(around)
    assert set(season.exchange.refusals) == {(VICTIM, WRONG)}
    assert season.head(VICTIM) is None
    assert season.settled_rounds(VICTIM) == []
    assert season.head("akane") is not None
    survivors = {tuple(entry.body["survivors"]) for entry in season.entries(EntryKind.SETTLE)}
    assert survivors == {tuple(company for company in season.companies if company != VICTIM)}


def test_a_lie_about_the_cohort_at_the_end_is_refused(season: SmallSeason) -> None:
    """Who missed the rest after round 1 applies no aggregate without the survivors' confirmations, nor for
    another cohort than the one it accepted; the honest message gives it the head."""
    told: list[str] = []

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        if company == VICTIM and isinstance(request, MASKED):
            handle(request)
            return None
        if company == VICTIM and isinstance(request, m.FinishRequest):
            fewer = {name: data for name, data in request.sealed_shares.items() if name != "enoki"}
            assert len(fewer) == 3
            for lie in ({"cohort_signatures": {}}, {"sealed_shares": fewer}):
                with pytest.raises(RemoteProtocolError) as refused:
                    handle(replace(request, **lie))
                told.append(refused.value.message)
        return handle(request)

    season.train(around)
    assert told == [
        "survivors: expected companies who confirmed our cohort, sorted",
        "sealed shares: expected those of our cohort again, got others",
    ]
    assert season.head(VICTIM) == season.head("akane")
    assert season.head(VICTIM) is not None


def test_another_sum_for_one_company_is_seen_by_the_auditor(season: SmallSeason) -> None:
    """A company cannot tell a false sum from a true one; its settle contradicts the others' in the ledger."""

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        if company == VICTIM and isinstance(request, MASKED) and request.round_number == 2:
            (finished,) = request.finished
            values = finished.values + np.int64(1 << 20)
            return handle(replace(request, finished=(replace(finished, values=values),)))
        return handle(request)

    season.train(around)
    # The platform has to relay what the company said in answer to the request that it was sent.
    assert season.head(VICTIM) != season.head("akane")


def test_a_plan_that_changed_after_acceptance_gets_nothing(season: SmallSeason, tmp_path: Path) -> None:
    """With less noise than accepted no company's keys fit the platform's plan, and nothing is spent."""
    body = season.plan.to_body()
    body["training"]["noise_multiplier"] = "1"
    changed = CampaignPlan.from_body(body)
    with season.platform() as platform:
        run = CampaignRun(
            changed,
            signing_keys=platform.signing_keys(changed.companies),
            admitted=lambda: changed.companies,
            ledger=platform.ledger,
            exchange=season.exchange,
            progress=Progress(tmp_path / "progress.json", changed.training.rounds),
            newest_revocations=lambda _: (b"", b""),  # no round begins
            control=RoundControl(platform.store, changed),
        )
        with pytest.raises(RoundFailedError):
            run.run()
    assert {season.rounds_spent(company) for company in season.companies} == {0}
    assert season.entries(EntryKind.INTENT) == []


def test_a_round_beyond_the_plan_cannot_be_reserved(season: SmallSeason) -> None:
    """After the plan's last round the odometer refuses another one, whoever asks."""
    season.train()
    session = season.exchange.sessions
    with pytest.raises(RemoteProtocolError):  # the session is over
        session.handle(
            season.company_dir(VICTIM),
            m.encode_request(m.UnmaskRequest(season.plan.campaign, 4, season.companies, {})),
        )
    directory = season.company_dir(VICTIM)
    with pytest.raises(BudgetExceededError):
        Odometer(directory / "odometer.jsonl", keystore.load(directory).signing).reserve(season.plan, 4)
    assert season.rounds_spent(VICTIM) == 3


@pytest.mark.parametrize("payload", [b"", b"\xff" * 40, bytes(m.MAX_MESSAGE_BYTES + 1)])
def test_a_message_out_of_bounds_begins_nothing(season: SmallSeason, payload: bytes) -> None:
    """Bytes that are no request are refused before a session exists."""
    with pytest.raises(RemoteProtocolError):
        season.exchange.sessions.handle(season.company_dir(VICTIM), payload)
    assert season.rounds_spent(VICTIM) == 0
