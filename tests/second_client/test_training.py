"""Training with second clients: in a cohort with ours, and a whole campaign of the platform's."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from noren_core.crypto.identity import SigningKey
from noren_core.crypto.revocation_list import RevocationList
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import VerificationError
from noren_core.ledger.entries import EntryKind
from noren_core.privacy.discrete_gaussian import sample
from noren_core.privacy.noise import company_variance
from noren_core.privacy.noise_seed import NoiseSeed
from noren_core.season import messages as m
from noren_core.season.beacon import beacon_value
from noren_core.season.cohort_key import CohortKey
from noren_core.season.head import HeadState
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import round_event
from noren_core.secagg.client import SecAggClient
from noren_core.secagg.server import SecAggServer
from noren_server.campaign_rounds import CampaignRun, Progress
from noren_server.round_control import RoundControl

from . import (
    RefusedError,
    ledger,
    secure_aggregation,
    session,
    training,
)
from . import head as plain_head
from .conftest import COMPANIES, KEYS, PUBLIC, US, Setting

REVOKED = "company-4"


class MixedCohort:
    """Four companies with our client, one with the second, and our server; all bytes travel as messages."""

    def __init__(self, rounds: int = 2, length: int = 5) -> None:
        self.session, self.length = secrets.token_bytes(32), length
        parameters: dict[str, Any] = {
            "roster": PUBLIC,
            "threshold": 4,
            "minimum_cohort": 3,
            "session": self.session,
            "rounds": rounds,
            "vector_length": length,
        }
        self.server = SecAggServer(**parameters)
        self.ours = {
            name: SecAggClient(
                our_id=name, signing_key=SigningKey.from_bytes(KEYS[name].private_bytes_raw()), **parameters
            )
            for name in COMPANIES
            if name != US
        }
        self.second = secure_aggregation.Member(
            self.session, US, KEYS[US], PUBLIC, threshold=4, quorum=4, rounds=rounds
        )
        self.cohort_keys: dict[str, CohortKey] = {}

    def answered(self, request: m.Request, fill: Any) -> Any:
        """The second client's reply to a request, through the wire and the platform's checks."""
        sent = m.encode_request(request)
        asked = session.wire.TrainingRequest.FromString(sent)
        reply = session.wire.TrainingReply(known_tree_size=7)
        fill(asked, reply)
        data = training.signed_reply(KEYS[US], US, sent, reply)
        for company, wrong in ((US, sent + b"x"), ("company-1", sent)):
            with pytest.raises(VerificationError):
                m.open_answer(data, company=company, request=wrong, public_key=PUBLIC[US])
        answer = m.open_answer(data, company=US, request=sent, public_key=PUBLIC[US])
        assert answer.known_tree_size == 7
        return answer.reply

    def set_up(self, *, of_ours: bool = True) -> None:
        def advertise(_asked: Any, reply: Any) -> None:
            reply.advertise.advertisement.CopyFrom(self.second.advertise())

        def share(asked: Any, reply: Any) -> None:
            seen = {one.company: one.advertisement for one in asked.share.advertisements}
            for name, sealed in self.second.share(seen).items():
                reply.share.sealed_shares.add(company=name, value=sealed)
            reply.share.intent = b"intent"

        reply = self.answered(m.AdvertiseRequest("spring"), advertise)
        self.server.add_advertisement(US, reply.advertisement)
        for name, client in self.ours.items():
            self.server.add_advertisement(name, client.advertise())
        advertised = self.server.advertisements
        self.server.add_sealed_shares(
            US, self.answered(m.ShareRequest("spring", advertised), share).sealed_shares
        )
        for name, client in self.ours.items():
            self.server.add_sealed_shares(name, client.share(advertised))
        for name, client in self.ours.items() if of_ours else ():
            self.server.add_cohort_signature(name, client.accept_shares(self.server.inbox(name)))
            self.cohort_keys[name] = CohortKey(client.cohort_secret, session=self.session)
        self.server.add_cohort_signature(US, self.second.accept(self.server.inbox(US)))
        for client in (*self.ours.values(), self.second):
            client.confirm(self.server.cohort_signatures)

    def aggregate(self, number: int, vectors: Mapping[str, np.ndarray], absent: Collection[str]) -> list[int]:
        """The sum that the second client reads; ours must read the same."""
        for name in vectors.keys() - set(absent) - {US}:
            blinded = vectors[name].view(np.uint64) + self.cohort_keys[name].blind(number, self.length)
            self.server.add_masked(number, name, self.ours[name].mask(number, blinded.view(np.int64)))
        if US not in absent:
            masked = np.frombuffer(self.second.mask(number, vectors[US]), "<u8").astype(np.uint64)
            self.server.add_masked(number, US, masked)
        survivors = self.server.close_inputs(number)

        def unmask(asked: Any, reply: Any) -> None:
            shares, signature = self.second.unmask(asked.unmask.round, list(asked.unmask.survivors))
            reply.unmask.shares.extend(shares)
            reply.unmask.survivors_signature = signature

        for name in survivors:
            if name == US:
                request = m.UnmaskRequest("spring", number, survivors, {})
                unmasking = self.answered(request, unmask).unmasking
            else:
                unmasking = self.ours[name].unmask(number, survivors)
            self.server.add_unmasking(number, name, unmasking)
        total = self.server.aggregate(number)
        assert self.server.disputes == ()
        read = self.second.unblind(number, total.astype("<i8").tobytes(), len(survivors)).tolist()
        for key in self.cohort_keys.values():
            assert key.remove_blinds(total, round_number=number, survivors=len(survivors)) == read
        return read


@pytest.mark.parametrize("absent", [(), ("company-1",), ("company-5",), (US,)])
def test_a_mixed_cohort_gets_the_sum(absent: tuple[str, ...]) -> None:
    """With everybody, without one of ours (before and after us by name), without the second client."""
    cohort = MixedCohort()
    cohort.set_up()
    values = {name: 3**place * (-1) ** np.arange(5, dtype=np.int64) for place, name in enumerate(COMPANIES)}
    for number, missing in ((1, ()), (2, absent)):
        expected = sum(vector for name, vector in values.items() if name not in missing)
        assert cohort.aggregate(number, values, missing) == np.asarray(expected).tolist()


def test_it_refuses_what_a_lying_platform_sends() -> None:
    """Forged advertisements, messages and cohort signatures, and survivors nobody vouched for."""
    cohort = MixedCohort()
    ours = {name: m._advertisement_to_wire(client.advertise()) for name, client in cohort.ours.items()}
    seen = {US: cohort.second.advertise(), **ours}
    forged = session.wire.Advertisement.FromString(ours["company-1"].SerializeToString())
    forged.share_key = bytes(range(32))
    for bad in ({**seen, "company-1": forged}, {n: seen[n] for n in COMPANIES[2:]}, ours):
        with pytest.raises(RefusedError):
            cohort.second.share(bad)

    cohort = MixedCohort()
    cohort.ours["company-1"]._contribution = SecretBytes(bytes(32))  # another one than it committed to
    with pytest.raises(RefusedError, match="contribution of company-1"):
        cohort.set_up(of_ours=False)

    cohort = MixedCohort()
    cohort.set_up()
    cohort.second.mask(1, np.zeros(5, np.int64))
    with pytest.raises(RefusedError):
        cohort.second.confirm({"company-1": cohort.server.cohort_signatures["company-2"]})
    for bad in (COMPANIES[:3], (*COMPANIES[:4], "stranger"), (*COMPANIES[:3], "company-1")):
        with pytest.raises(RefusedError):
            cohort.second.unmask(1, bad)


def test_its_head_and_commitments_are_ours(plan_body: dict[str, Any]) -> None:
    """Rounding, decay, averages and the commitments of settles agree to the last bit."""
    plan, key = CampaignPlan.from_body(plan_body), CohortKey(SecretBytes(b"k" * 32), session=b"s" * 32)
    rng, ours = np.random.default_rng(3), HeadState.initial(plan.training)
    theirs = plain_head.Head.first(plan_body["training"])
    for _ in range(3):
        total = [int(value) for value in rng.integers(-(2**24), 2**24, 5)]
        ours, theirs = ours.advance(total, plan.training), theirs.advance(total, plan_body["training"])
        assert (theirs.weights, theirs.sums) == (ours.weights, ours.iterate_sum)
        assert theirs.commitment(key.commitment_key()) == ours.commitment(key.commitment_key())
    assert theirs.released(plan.training.average_from) == ours.released()
    vector = np.array([-1, 2, 3], np.int64)
    derived = plain_head.commitment_key(b"k" * 32, b"s" * 32)
    for update in (vector, vector[:0]):
        assert plain_head.update_commitment(derived, US, update) == key.update_commitment(
            US, update.tobytes()
        )


# A whole campaign


@dataclass
class Companies:
    """The network: every company answers with the second client; `silent` says who is gone from when on.

    `consents` is what the settles have to say of the lists that arrived.
    """

    sessions: Mapping[str, session.Session]
    silent: Mapping[str, int] = field(default_factory=dict)
    consents: dict[tuple[str, int], str] = field(default_factory=dict)

    def wait_for(self, companies: Collection[str], *, deadline_seconds: float) -> set[str]:
        return set(companies)

    def exchange(self, requests: Mapping[str, bytes], *, deadline_seconds: float) -> dict[str, bytes]:
        replies = {}
        for company, request in requests.items():
            asked = session.wire.TrainingRequest.FromString(request)
            kind = asked.WhichOneof("kind")
            number = getattr(getattr(asked, kind), "round", 0)
            if self.silent.get(company) == number and kind == "masked_input":
                continue
            if kind == "masked_input":
                given = asked.masked_input.consents_salt + asked.masked_input.revocations
                said = hashlib.sha256(b"noren/v1/round-consents\0" + given)
                self.consents[company, number] = said.hexdigest()
            replies[company] = self.sessions[company].answer(request)
            assert self.sessions[company].answer(request) == replies[company]
        return replies


@pytest.mark.parametrize("silent", [{}, {"company-2": 2}])
def test_the_platform_runs_a_campaign_of_second_clients(setting: Setting, silent: dict[str, int]) -> None:
    """Commitments, beacon, masked inputs and settles pass; all hold the head of the sums, also a drop-out.

    Before the second round one company's only row is revoked: from then on its sum is without it.
    Noise is drawn anew here from every company's seed by our own sampler: the two agree to the last unit.
    """
    plan, body = setting.plan, setting.plan.to_body()

    def gradient_of(company: str) -> Any:
        place = COMPANIES.index(company)
        full = np.array([place + 1, -place, 70_000, -1, 5], np.int64)
        return lambda head, revoked: full * (head.rounds + 1) * (_tag(company) not in revoked)

    lookups: Counter[str] = Counter()

    def newest_revocations(company: str) -> tuple[bytes, bytes]:
        """Looked up before every round, and again before its sum is opened: it grows for the second one."""
        lookups[company] += 1
        is_revoked = company == REVOKED and lookups[company] > 2
        listed = RevocationList.padded(
            [_tag(company)] * is_revoked,
            table_id=bytes(16),
            sequence=1 + is_revoked,
            dummy_tags=[bytes([200, number]) + bytes(14) for number in range(64)],
        )
        return listed.to_bytes(), listed.sign(setting.platform.signing_key)

    sessions = {
        company: session.Session(
            company,
            KEYS[company],
            body,
            PUBLIC,
            setting.watch(company),
            gradient_of(company),
            [(_tag(company), (1, -2, 300, -400), 1)],
        )
        for company in COMPANIES
    }
    for company in COMPANIES:
        sessions[company].watch.read(setting.proof())
        said = {"campaign": plan.campaign, "company": company, "plan_sha256": session.plan_digest(body).hex()}
        setting.say(ledger.signed_entry(KEYS[company], company, "plan-acceptance", said))
    network = Companies(sessions, silent)
    CampaignRun(
        plan,
        signing_keys=PUBLIC,
        admitted=lambda: COMPANIES,
        ledger=setting.platform.ledger,
        exchange=network,
        newest_revocations=newest_revocations,
        progress=Progress(setting.platform.directory / "progress.json", plan.training.rounds),
        control=RoundControl(setting.platform.store, plan),
    ).run()
    key = CohortKey(SecretBytes(sessions[US]._member.cohort_key), session=plan.digest())
    expected, settles = HeadState.initial(plan.training), {}
    (beacon,) = setting.platform.ledger_store.entries(kind=EntryKind.BEACON)
    value = beacon_value(beacon.entry.body["checkpoint"], plan.witnesses)
    variance = company_variance(round_event(plan), companies=len(COMPANIES))

    def noised(name: str, number: int) -> np.ndarray:
        stream = NoiseSeed(sessions[name].seed).round_stream(
            beacon=value, campaign=plan.campaign, round_number=number
        )
        revoked = frozenset([_tag(REVOKED)] if number > 1 else [])
        gradient = gradient_of(name)(plain_head.Head(number - 1, (), ()), revoked)
        return np.append(gradient, [0, 0]) + sample(7, variance=variance, stream=stream)

    for number in range(1, plan.training.rounds + 1):
        survivors = [name for name in COMPANIES if silent.get(name, 99) > number]
        updates = {name: noised(name, number) for name in survivors}
        before, total = expected, sum(updates.values()).tolist()
        expected = before.advance(total[:5], plan.training)
        for name in COMPANIES:
            update = updates.get(name, np.zeros(0, np.int64)).tobytes()
            settles[name, number] = {
                "campaign": plan.campaign,
                "company": name,
                "round": number,
                "survivors": survivors,
                "sentinels": total[5:],
                "consents": network.consents.get((name, number)),
                "update_sha256": key.update_commitment(name, update).hex(),
                "model_in": before.commitment(key.commitment_key()).hex(),
                "model_out": expected.commitment(key.commitment_key()).hex(),
            }
    for one in sessions.values():
        assert (one.head.weights, one.head.sums) == (expected.weights, expected.iterate_sum)
    said = [item.entry.body for item in setting.platform.ledger_store.entries(kind=EntryKind.SETTLE)]
    stated = {(body["company"], body["round"]): body for body in said}
    assert len({body["consents"] for body in said}) == len(said)
    for missed in stated.keys() - network.consents.keys():  # no list, and a salt of its own
        stated[missed]["consents"] = None
    assert stated == settles


def _tag(company: str) -> bytes:
    return bytes([COMPANIES.index(company)]) * 16
