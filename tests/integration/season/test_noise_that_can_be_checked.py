"""Commitment, beacon, sentinels and replay data in whole seasons: what can be checked, and by whom."""

from __future__ import annotations

import contextlib
import hmac
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from noren_client import campaign_files, keystore, replay_data
from noren_client.mechanism import noised_update
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import LocalProtocolError, VerificationError
from noren_core.ledger.checkpoint import claimed_size, sign_checkpoint
from noren_core.ledger.entries import EntryKind, SignedEntry, parse_entry, sign_entry
from noren_core.privacy.discrete_gaussian import sample
from noren_core.privacy.noise import company_variance
from noren_core.privacy.noise_seed import NoiseSeed
from noren_core.season import messages as m
from noren_core.season.beacon import beacon_value
from noren_core.season.head import HeadState, row_scale
from noren_core.season.round_event import round_event
from noren_core.season.row_commitment import TrainingRow, rows_root
from noren_core.secagg.server import RoundFailedError
from noren_core.wire.v1 import training_pb2 as wire
from noren_server.ledger_service import LedgerService

if TYPE_CHECKING:
    from conftest import Handle, SmallSeason

CAMPAIGN = "spring-2026"
VICTIM = "chidori"
D, K = 4, 8


def exported(season: SmallSeason, company: str) -> dict[str, Any]:
    return json.loads(replay_data.export(season.company_dir(company), CAMPAIGN))


def beacon_of(season: SmallSeason) -> SignedEntry:
    (beacon,) = season.entries(EntryKind.BEACON)
    return beacon


def indices(season: SmallSeason, kind: EntryKind) -> list[int]:
    with season.platform() as platform:
        return [stored.index for stored in platform.ledger_store.entries(kind=kind, campaign=CAMPAIGN)]


def commitment_of(answer: bytes) -> dict[str, Any]:
    reply = m.parse_answer(wire.SignedReply.FromString(answer).reply).reply
    assert isinstance(reply, m.AdvertiseReply)
    return parse_entry(reply.commitment).body


# A season that went well


def test_commitments_come_before_the_beacon_and_intents_after_it(finished: SmallSeason) -> None:
    """Five commitments of five seeds, below the size that the beacon states; then the first intent."""
    commitments = indices(finished, EntryKind.TRAINING_COMMITMENT)
    (beacon,) = indices(finished, EntryKind.BEACON)
    size = claimed_size(beacon_of(finished).body["checkpoint"].encode())
    assert len(commitments) == 5
    assert max(commitments) < size <= beacon < min(indices(finished, EntryKind.INTENT))
    bodies = [entry.body for entry in finished.entries(EntryKind.TRAINING_COMMITMENT)]
    assert {body["company"] for body in bodies} == set(finished.companies)
    assert len({body["seed"] for body in bodies}) == len({body["rows"] for body in bodies}) == 5


def test_a_replay_computes_everything_again(finished: SmallSeason) -> None:
    """From export, plan and ledger alone: commitment, heads, every update to the last unit, every settle."""
    plan = finished.plan
    beacon = beacon_value(beacon_of(finished).body["checkpoint"], plan.witnesses)
    for company in finished.companies:
        replay = exported(finished, company)
        seed = NoiseSeed(bytes.fromhex(replay["seed"]))
        rows = [TrainingRow(bytes.fromhex(r["tag"]), tuple(r["row"]), r["label"]) for r in replay["rows"]]
        (commitment,) = finished.entries(EntryKind.TRAINING_COMMITMENT, company=company)
        assert commitment.body["seed"] == seed.commitment(company=company, campaign=CAMPAIGN).hex()
        assert (
            commitment.body["rows"] == rows_root(rows, SecretBytes(bytes.fromhex(replay["row_salt"]))).hex()
        )
        key, head = bytes.fromhex(replay["commitment_key"]), HeadState.initial(plan.training)
        settles = finished.entries(EntryKind.SETTLE, company=company)
        for done, settle in zip(replay["rounds"], settles, strict=True):
            update = noised_update(
                np.array([row.coordinates for row in rows], dtype=np.float64) / row_scale(plan.rows),
                np.array([row.label for row in rows]),
                head.as_floats(),
                plan_training=plan.training,
                companies=len(replay["cohort"]),
                stream=seed.round_stream(beacon=beacon, campaign=CAMPAIGN, round_number=done["round"]),
            )
            assert update.tolist() == done["update"]
            after = head.advance(done["gradient"], plan.training)
            said = b"update\0" + company.encode() + b"\0" + update.astype("<i8").tobytes()
            assert settle.body["update_sha256"] == hmac.digest(key, said, "sha256").hex()
            assert settle.body["model_in"] == head.commitment(key).hex()
            assert settle.body["model_out"] == after.commitment(key).hex()
            assert settle.body["survivors"] == done["survivors"]
            head = after
        assert head.released() == finished.head(company)
        assert (replay["dimensions"], replay["cohort"]) == (D, list(finished.companies))


def test_the_ledger_shows_the_sum_of_the_noise_at_the_sentinels(finished: SmallSeason) -> None:
    """Eight integers a round, the same in every settle: the companies' noise there, and nothing else."""
    plan = finished.plan
    beacon = beacon_value(beacon_of(finished).body["checkpoint"], plan.witnesses)
    shown = defaultdict(set)
    for entry in finished.entries(EntryKind.SETTLE):
        shown[entry.body["round"]].add(tuple(entry.body["sentinels"]))
    variance = company_variance(round_event(plan), companies=5)
    for number in (1, 2, 3):
        noise = [
            sample(
                D + 1 + K,
                variance=variance,
                stream=NoiseSeed(bytes.fromhex(exported(finished, company)["seed"])).round_stream(
                    beacon=beacon, campaign=CAMPAIGN, round_number=number
                ),
            )
            for company in finished.companies
        ]
        assert shown[number] == {tuple(sum(noise)[D + 1 :].tolist())}


def test_the_gradient_is_the_sum_of_the_updates(finished: SmallSeason) -> None:
    """What every company kept as a round's sum is the survivors' vectors added up, sentinels apart."""
    replays = [exported(finished, company) for company in finished.companies]
    for place in range(3):
        total = np.sum([replay["rounds"][place]["update"] for replay in replays], axis=0)
        assert {tuple(replay["rounds"][place]["gradient"]) for replay in replays} == {tuple(total[: D + 1])}


def test_the_platform_sees_sentinels_and_no_gradient(season: SmallSeason) -> None:
    """Of what it sums, the first coordinates are off by the cohort's blind and the last ones are not."""
    sums: dict[int, np.ndarray] = {}

    def around(_: str, request: m.Request, handle: Handle) -> bytes | None:
        for done in getattr(request, "finished", ()):
            sums[done.round_number] = done.values
        return handle(request)

    season.train(around)
    replays = [exported(season, company) for company in season.companies]
    for number in (1, 2, 3):
        total = np.sum([replay["rounds"][number - 1]["update"] for replay in replays], axis=0)
        assert (sums[number][: D + 1] != total[: D + 1]).all()
        assert sums[number][D + 1 :].tolist() == total[D + 1 :].tolist()


# Seeds


def test_a_session_never_has_the_seed_of_another(season: SmallSeason) -> None:
    """A worker that starts anew draws anew, seed and salt; the same worker says the same again."""
    request = m.AdvertiseRequest(CAMPAIGN)
    first = commitment_of(season.exchange.handle(VICTIM, request))
    assert commitment_of(season.exchange.handle(VICTIM, request)) == first
    season.restart_workers()
    second = commitment_of(season.exchange.handle(VICTIM, request))
    assert first["seed"] != second["seed"]
    assert first["rows"] != second["rows"]
    assert not replay_data.is_kept(season.company_dir(VICTIM), CAMPAIGN)


def test_what_a_dead_session_kept_is_for_replay_alone(season: SmallSeason) -> None:
    """The worker dies in round 2: round 1 can be replayed; the campaign is not begun again with any seed."""

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        if company == VICTIM and getattr(request, "round_number", 0) >= 2:
            if not isinstance(request, m.MaskedInputRequest) or request.round_number > 2:
                return None
            handle(request)
            return None
        return None if company == VICTIM and isinstance(request, m.FinishRequest) else handle(request)

    season.train(around)
    season.restart_workers()
    replay = exported(season, VICTIM)
    assert [done["round"] for done in replay["rounds"]] == [1]
    (commitment,) = season.entries(EntryKind.TRAINING_COMMITMENT, company=VICTIM)
    seed = NoiseSeed(bytes.fromhex(replay["seed"]))
    assert commitment.body["seed"] == seed.commitment(company=VICTIM, campaign=CAMPAIGN).hex()
    with pytest.raises(LocalProtocolError, match="cannot be begun again"):
        season.exchange.handle(VICTIM, m.AdvertiseRequest(CAMPAIGN))


@contextlib.contextmanager
def checkpoints(make: Callable[[LedgerService], bytes]) -> Iterator[None]:
    """The platform gets its beacon's checkpoint from `make`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LedgerService, "cosigned_checkpoint", make)
        yield


def too_few_witnesses(_: LedgerService) -> bytes:
    raise LocalProtocolError("witnesses: expected more, got fewer", code="WITNESS_QUORUM")


@pytest.mark.parametrize("restarted", [False, True])
def test_a_run_that_got_no_beacon_can_be_tried_again(season: SmallSeason, restarted: bool) -> None:
    """The same commitments stand; a company whose worker started anew has another seed, and drops out."""
    with checkpoints(too_few_witnesses), pytest.raises(LocalProtocolError) as failed:
        season.train()
    assert failed.value.code == "WITNESS_QUORUM"
    said = [entry.body for entry in season.entries(EntryKind.TRAINING_COMMITMENT)]
    assert len(said) == 5
    assert season.entries(EntryKind.BEACON) == []
    assert {season.rounds_spent(company) for company in season.companies} == {0}
    if restarted:
        del season.exchange.sessions._sessions[season.company_dir(VICTIM), CAMPAIGN]
    season.train()
    assert [entry.body for entry in season.entries(EntryKind.TRAINING_COMMITMENT)] == said
    survivors = {tuple(entry.body["survivors"]) for entry in season.entries(EntryKind.SETTLE)}
    assert survivors == {tuple(c for c in season.companies if not (restarted and c == VICTIM))}
    assert (season.head(VICTIM) is None) is restarted
    assert season.head("akane") is not None
    assert season.audit().word == "VERIFIED"


# A platform that lies about the beacon


def of_before(ledger: LedgerService) -> bytes:
    """A checkpoint that it could know before the companies committed."""
    size = min(stored.index for stored in ledger.store.entries(kind=EntryKind.TRAINING_COMMITMENT))
    root = ledger.store._tree.root(size)
    return sign_checkpoint(ledger.store.log_key.name, size, root, ledger.store._log_key)


def of_another_log(ledger: LedgerService) -> bytes:
    return sign_checkpoint(ledger.store.log_key.name, ledger.store.size, bytes(32), SigningKey.generate())


def of_the_future(ledger: LedgerService) -> bytes:
    return sign_checkpoint(ledger.store.log_key.name, 10**6, bytes(32), ledger.store._log_key)


@pytest.mark.parametrize("checkpoint", [of_before, of_another_log, of_the_future])
def test_a_beacon_that_somebody_could_choose_is_refused(
    season: SmallSeason, checkpoint: Callable[[LedgerService], bytes]
) -> None:
    """Too small, too large, or not signed by the log: no company computes anything."""
    with checkpoints(checkpoint), pytest.raises(RoundFailedError):
        season.train()
    assert season.exchange.refusals[:5] == [(company, "NOT_VERIFIED") for company in season.companies]
    assert {season.rounds_spent(company) for company in season.companies} == {1}
    assert season.entries(EntryKind.SETTLE) == []
    with pytest.raises(LocalProtocolError) as again:
        season.train()
    assert again.value.code == "ALREADY_BEGUN"


def test_a_beacon_of_another_campaign_is_refused(
    season: SmallSeason, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although it stands in the ledger where ours should."""
    append = LedgerService.append_platform_entry

    def appended(ledger: LedgerService, kind: str, body: dict[str, Any]) -> int:
        other = {**body, "campaign": "autumn-2026"} if kind == EntryKind.BEACON else body
        return append(ledger, kind, other)

    monkeypatch.setattr(LedgerService, "append_platform_entry", appended)
    with pytest.raises(RoundFailedError):
        season.train()
    assert season.exchange.refusals[:5] == [(company, "NOT_VERIFIED") for company in season.companies]


def test_a_second_beacon_is_not_taken_for_the_first(season: SmallSeason) -> None:
    """Once shown, a beacon is the campaign's: with another there would be other noise to choose from."""
    told = []

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        if company == VICTIM and isinstance(request, m.MaskedInputRequest) and request.round_number == 1:
            session = season.exchange.sessions._sessions[season.company_dir(VICTIM), CAMPAIGN]
            session._beacon = bytes(32)
            with pytest.raises(VerificationError, match="shown before") as refused:
                handle(request)
            told.append(refused.value.code)
            session._beacon = None
            (season.company_dir(VICTIM) / "platform" / "checkpoint").unlink()
            return handle(replace(request, proof=fresh_proof(season, request)))
        return handle(request)

    season.train(around)
    assert told == ["NOT_VERIFIED"]


def fresh_proof(season: SmallSeason, request: m.MaskedInputRequest) -> Any:
    """The entries of a proof again, for a company that keeps no checkpoint."""
    with season.platform() as platform:
        wanted = [item.index for item in request.proof.entries]
        return platform.ledger.prove(known_tree_size=0, indices=wanted)


# A company that lies about its commitment


@pytest.mark.parametrize("lie", ["anothers", "plan", "campaign", "key", "taken seed"])
def test_a_commitment_that_is_not_the_senders_own_costs_only_it(season: SmallSeason, lie: str) -> None:
    """In another's name, for another plan or campaign, under another key, or of a seed that is taken."""

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        data = handle(request)
        if company != VICTIM or not isinstance(request, m.AdvertiseRequest):
            return data
        answer = m.parse_answer(wire.SignedReply.FromString(data).reply)
        keys = {name: keystore.load(season.company_dir(name)).signing for name in (VICTIM, "enoki")}
        body, author = dict(parse_entry(answer.reply.commitment).body), VICTIM
        if lie == "anothers":
            author = body["company"] = "enoki"
        elif lie == "plan":
            body["plan_sha256"] = "00" * 32
        elif lie == "campaign":
            body["campaign"] = "autumn-2026"
        elif lie == "taken seed":
            body["seed"] = seed_that_is_taken(season)
        signing = keys["enoki"] if lie in {"anothers", "key"} else keys[VICTIM]
        entry = sign_entry(EntryKind.TRAINING_COMMITMENT, author, body, signing)
        changed = replace(answer, reply=replace(answer.reply, commitment=entry))
        return m.sign_answer(changed, company=VICTIM, request=m.encode_request(request), key=keys[VICTIM])

    season.train(around)
    assert season.head("akane") is not None
    assert season.entries(EntryKind.TRAINING_COMMITMENT, company=VICTIM) == []
    assert {tuple(entry.body["survivors"]) for entry in season.entries(EntryKind.SETTLE)} == {
        tuple(company for company in season.companies if company != VICTIM)
    }


def seed_that_is_taken(season: SmallSeason) -> str:
    """Committed to by another company in an earlier campaign."""
    with season.platform() as platform:
        body = {
            "campaign": "earlier",
            "company": "enoki",
            "plan_sha256": "ab" * 32,
            "rows": "cd" * 32,
            "seed": "ef" * 32,
        }
        key = keystore.load(season.company_dir("enoki")).signing
        entry = sign_entry(EntryKind.TRAINING_COMMITMENT, "enoki", body, key)
        platform.ledger.append_company_entry(parse_entry(entry))
    return "ef" * 32


def test_two_companies_that_commit_to_one_seed_do_not_spoil_the_ledger(season: SmallSeason) -> None:
    """In one run, where neither commitment is in the ledger yet: the first stands, the other drops out."""
    seeds: dict[str, str] = {}

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        if not isinstance(request, m.AdvertiseRequest):
            return handle(request)
        if company == VICTIM and "akane" not in seeds:
            return None  # asked again when the others have answered
        data = handle(request)
        answer = m.parse_answer(wire.SignedReply.FromString(data).reply)
        body = parse_entry(answer.reply.commitment).body
        seeds[company] = body["seed"]
        if company != VICTIM:
            return data
        key = keystore.load(season.company_dir(VICTIM)).signing
        body = {**body, "seed": seeds["akane"]}
        entry = sign_entry(EntryKind.TRAINING_COMMITMENT, VICTIM, body, key)
        changed = replace(answer, reply=replace(answer.reply, commitment=entry))
        return m.sign_answer(changed, company=VICTIM, request=m.encode_request(request), key=key)

    season.train(around)
    committed = [entry.author for entry in season.entries(EntryKind.TRAINING_COMMITMENT)]
    assert committed == [company for company in season.companies if company != VICTIM]
    assert season.audit().word == "VERIFIED"


def test_the_cohort_is_who_reserved_in_the_ledger(season: SmallSeason) -> None:
    """Noise is shared among as many as the ledger shows: whose intent it cannot take has not shared either.

    Otherwise one company with a rolled-back odometer would make the replays of all others fail.
    """
    with season.platform() as platform:
        key = keystore.load(season.company_dir(VICTIM)).signing
        body = {
            "campaign": "earlier",
            "company": VICTIM,
            "event": round_event(season.plan).to_body(),
            "plan_sha256": "ab" * 32,
            "previous": "cd" * 32,
            "round": 1,
            "sequence": 1000,
        }
        entry = sign_entry(EntryKind.INTENT, VICTIM, body, key)
        platform.ledger.append_company_entry(parse_entry(entry))
    season.train()
    reserved = {entry.author for entry in season.entries(EntryKind.INTENT) if entry.campaign == CAMPAIGN}
    assert reserved == set(season.companies) - {VICTIM}
    assert set(exported(season, "akane")["cohort"]) == reserved


def test_the_training_set_that_was_committed_to_is_the_one_kept(finished: SmallSeason) -> None:
    """The export has the very rows that the company prepared, tags ascending."""
    for company in finished.companies:
        kept = campaign_files.load_training_set(finished.company_dir(company), CAMPAIGN)
        rows = exported(finished, company)["rows"]
        assert [bytes.fromhex(row["tag"]) for row in rows] == list(kept.tags)
        assert [row["row"] for row in rows] == kept.rows.tolist()
        assert [row["label"] for row in rows] == kept.labels.tolist()
