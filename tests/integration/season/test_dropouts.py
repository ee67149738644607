"""Companies that drop out of the rounds, or send what they should not: the others finish and agree."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from noren_client import keystore
from noren_core.errors import LocalProtocolError, RemoteProtocolError
from noren_core.ledger.entries import EntryKind, RevocationReason, parse_entry, sign_entry
from noren_core.season import messages as m
from noren_core.secagg.server import RoundFailedError
from noren_core.wire.v1 import training_pb2 as wire

if TYPE_CHECKING:
    from conftest import Around, Handle, SmallSeason

VICTIM = "chidori"
OTHERS = ("akane", "benten", "daigo", "enoki")


def is_step(request: m.Request, kind: type, round_number: int) -> bool:
    """Whether this is the request of that kind; of the rounds' requests, the one of that round."""
    return isinstance(request, kind) and getattr(request, "round_number", round_number) == round_number


def losing(kind: type, round_number: int, *, reply: bool, companies: tuple[str, ...] = (VICTIM,)) -> Around:
    """A network that loses one request, or the reply to it."""

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        if company not in companies or not is_step(request, kind, round_number):
            return handle(request)
        if reply:
            handle(request)
        return None

    return around


def assert_the_others_finished(season: SmallSeason) -> None:
    """They hold one head, settled every round, say the same of it, and the auditor finds nothing."""
    heads = season.heads()
    assert heads["akane"] is not None
    assert {heads[company] for company in OTHERS} == {heads["akane"]}
    assert heads[VICTIM] in {None, heads["akane"]}
    assert [season.settled_rounds(company) for company in OTHERS] == [[1, 2, 3]] * 4
    assert season.progress()["state"] == "finished"
    verdict = season.audit()
    assert (verdict.word, verdict.findings) == ("VERIFIED", ())


@dataclass(frozen=True)
class Lost:
    """Which message is lost, and what is then left of the company that it was from or for."""

    kind: type
    round_number: int
    reply: bool
    spent: int
    settled: tuple[int, ...]
    has_head: bool


LOSSES = {
    "advertise": Lost(m.AdvertiseRequest, 0, False, 0, (), False),
    "advertise-reply": Lost(m.AdvertiseRequest, 0, True, 0, (), False),
    "share": Lost(m.ShareRequest, 0, False, 0, (), False),
    "share-reply": Lost(m.ShareRequest, 0, True, 1, (), False),
    # The peers' shares, and with them the cohort key, come with the finish request then.
    "first-masked-input": Lost(m.MaskedInputRequest, 1, False, 1, (1, 2, 3), True),
    "first-masked-input-reply": Lost(m.MaskedInputRequest, 1, True, 1, (1, 2, 3), True),
    "first-unmask": Lost(m.UnmaskRequest, 1, False, 1, (1, 2, 3), True),
    "first-unmask-reply": Lost(m.UnmaskRequest, 1, True, 2, (1, 2, 3), True),
    "masked-input": Lost(m.MaskedInputRequest, 2, False, 2, (1, 2, 3), True),
    "masked-input-reply": Lost(m.MaskedInputRequest, 2, True, 2, (1, 2, 3), True),
    "unmask": Lost(m.UnmaskRequest, 2, False, 2, (1, 2, 3), True),
    "unmask-reply": Lost(m.UnmaskRequest, 2, True, 3, (1, 2, 3), True),
    "last-unmask-reply": Lost(m.UnmaskRequest, 3, True, 3, (1, 2, 3), True),
    "finish": Lost(m.FinishRequest, 0, False, 3, (1, 2), False),
    "finish-reply": Lost(m.FinishRequest, 0, True, 3, (1, 2), True),
}


@pytest.mark.parametrize("lost", LOSSES.values(), ids=LOSSES)
def test_one_company_that_drops_out_stops_nobody(season: SmallSeason, lost: Lost) -> None:
    """The others finish; the one that dropped out gets the head at the end if it can be reached."""
    season.train(losing(lost.kind, lost.round_number, reply=lost.reply))
    assert_the_others_finished(season)
    assert season.rounds_spent(VICTIM) == lost.spent
    assert season.settled_rounds(VICTIM) == list(lost.settled)
    assert (season.head(VICTIM) is not None) is lost.has_head
    assert season.exchange.refusals in (
        [],
        [(VICTIM, "ILLEGAL_STATE")],  # at the end, when it is asked for rounds that it knows nothing of
        [(VICTIM, "PROTOCOL_VIOLATION")],
    )


def test_the_survivors_of_a_round_are_those_who_contributed(season: SmallSeason) -> None:
    """A company that missed round 2 settles it, with the others' survivors, without being one."""
    season.train(losing(m.MaskedInputRequest, 2, reply=False))
    by_round = {entry.body["round"]: entry.body for entry in season.entries(EntryKind.SETTLE, company=VICTIM)}
    assert by_round[1]["survivors"] == list(season.companies)
    assert by_round[2]["survivors"] == by_round[3]["survivors"] == list(OTHERS)
    intents = season.entries(EntryKind.INTENT, company=VICTIM)
    assert [entry.body["round"] for entry in intents] == [1, 2]


@pytest.mark.parametrize("kind", [m.AdvertiseRequest, m.ShareRequest])
def test_the_first_company_is_like_any_other(season: SmallSeason, kind: type) -> None:
    """No company makes the cohort key: the first by name may advertise and never share, the others go on."""
    season.train(losing(kind, 0, reply=True, companies=("akane",)))
    heads = season.heads()
    assert heads.pop("akane") is None
    assert heads["benten"] is not None
    assert len(set(heads.values())) == 1
    assert season.audit().word == "VERIFIED"


# Lost once


@pytest.mark.parametrize("reply", [False, True], ids=["requests", "replies"])
def test_messages_that_are_lost_once_cost_nothing(season: SmallSeason, reply: bool) -> None:
    """Each request, or each reply, is lost the first time: asked again, nobody drops out or spends twice."""
    asked: list[bytes] = []

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        asked.append(company.encode() + m.encode_request(request))
        if asked.count(asked[-1]) > 1:
            return handle(request)
        if reply:
            handle(request)
        return None

    season.train(around)
    assert {asked.count(each) for each in asked} == {2}
    assert_everybody_finished(season)


def assert_everybody_finished(season: SmallSeason) -> None:
    assert set(season.heads().values()) == {season.head("akane")}
    assert season.head("akane") is not None
    assert {season.rounds_spent(company) for company in season.companies} == {3}
    survivors = {tuple(entry.body["survivors"]) for entry in season.entries(EntryKind.SETTLE)}
    assert survivors == {season.companies}
    assert season.audit().word == "VERIFIED"


def test_a_round_is_two_exchanges_and_set_up_two_when_all_answer(season: SmallSeason) -> None:
    """Advertise, share, then masked input and unmask for each round, then finish: nobody is asked again."""
    asked: list[str] = []
    honest = season.exchange.exchange

    def counting(requests: dict[str, bytes], *, deadline_seconds: float) -> dict[str, bytes]:
        (kind,) = {type(m.parse_request(payload)).__name__ for payload in requests.values()}
        asked.append(kind)
        return honest(requests, deadline_seconds=deadline_seconds)

    season.exchange.exchange = counting
    season.train()
    rounds = ["MaskedInputRequest", "UnmaskRequest"] * 3
    assert asked == ["AdvertiseRequest", "ShareRequest", *rounds, "FinishRequest"]


def test_a_company_that_comes_back_when_the_run_finishes_gets_the_head(season: SmallSeason) -> None:
    """Who missed the first finish requests is waited for and asked again; after that nobody is."""
    lost = []

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        if company == VICTIM and isinstance(request, m.FinishRequest) and len(lost) < 2:
            return lost.append(request)
        return handle(request)

    season.train(around)
    assert len(lost) == 2
    assert_everybody_finished(season)


def test_an_identical_request_gets_identical_bytes(season: SmallSeason) -> None:
    """Every answer is given again as it was signed, the last one too; nothing is computed or spent again."""
    kinds: set[str] = set()

    def around(company: str, request: m.Request, handle: Handle) -> bytes:
        first = handle(request)
        spent = season.rounds_spent(company)
        again = [handle(request) for _ in range(2)]
        assert again == [first] * 2
        assert season.rounds_spent(company) == spent
        kinds.add(type(request).__name__)
        return first

    season.train(around)
    assert len(kinds) == 5
    assert_everybody_finished(season)


def test_an_answer_is_kept_for_the_round_after_it_only(season: SmallSeason) -> None:
    """Memory is bounded: what was answered more than a round ago is refused, however it is asked."""
    first: list[m.Request] = []

    def around(company: str, request: m.Request, handle: Handle) -> bytes:
        if company == VICTIM and is_step(request, m.MaskedInputRequest, 1):
            first.append(request)
        reply = handle(request)
        if company == VICTIM and is_step(request, m.MaskedInputRequest, 2):
            handle(first[0])
        if company == VICTIM and is_step(request, m.MaskedInputRequest, 3):
            with pytest.raises(RemoteProtocolError):
                handle(first[0])
        return reply

    season.train(around)
    assert season.exchange.refusals == []
    assert_everybody_finished(season)


def test_the_operators_revocation_ends_a_companys_part(season: SmallSeason) -> None:
    """A company that is revoked in round 2 is not asked again, and what it sent by then is never opened."""
    asked: list[m.Request] = []

    def around(company: str, request: m.Request, handle: Handle) -> bytes:
        if company == VICTIM:
            asked.append(request)
        if company == "enoki" and is_step(request, m.MaskedInputRequest, 2):
            with season.platform() as platform, platform.store.transaction() as transaction:
                transaction.revoke_company(VICTIM)
        return handle(request)

    season.train(around)
    assert [getattr(request, "round_number", 0) for request in asked] == [0, 0, 1, 1, 2]
    assert season.head(VICTIM) is None
    assert len({season.head(company) for company in OTHERS} - {None}) == 1
    by_round = {
        e.body["round"]: e.body["survivors"] for e in season.entries(EntryKind.SETTLE, company="akane")
    }
    assert by_round == {1: list(season.companies), 2: list(OTHERS), 3: list(OTHERS)}


# Too few


@pytest.mark.parametrize(
    ("kind", "round_number", "failed_round", "spent"),
    [
        (m.AdvertiseRequest, 0, 1, 0),
        (m.ShareRequest, 0, 1, 1),
        (m.MaskedInputRequest, 2, 2, 2),
        (m.UnmaskRequest, 2, 2, 3),
        (m.UnmaskRequest, 3, 3, 3),
    ],
)
def test_too_few_companies_end_the_run(
    season: SmallSeason, kind: type, round_number: int, failed_round: int, spent: int
) -> None:
    """Below the minimum cohort: one round-failed entry, no head, the budget stays spent, no second start."""
    gone = ("benten", VICTIM)
    with pytest.raises(RoundFailedError):
        season.train(losing(kind, round_number, reply=True, companies=gone))
    assert_failed(season, failed_round=failed_round, spent=spent)


def assert_failed(season: SmallSeason, *, failed_round: int, spent: int) -> None:
    """The run failed at that round with so many rounds spent, and cannot be begun again if any was."""
    failures = [entry.body for entry in season.entries(EntryKind.ROUND_FAILED)]
    assert [(body["round"], body["reason"]) for body in failures] == [(failed_round, "ROUND_FAILED")]
    assert season.progress()["state"] == "failed"
    assert season.progress()["reason"] == "ROUND_FAILED"
    assert set(season.heads().values()) == {None}
    assert {season.rounds_spent(company) for company in OTHERS[2:]} == {spent}
    assert season.audit().findings == ()
    if spent:
        with pytest.raises(LocalProtocolError) as refused:
            season.train()
        assert refused.value.code == "ALREADY_BEGUN"
        assert_a_lying_platform_cannot_begin_again(season)
        assert {season.rounds_spent(company) for company in OTHERS[2:]} == {spent}
        assert season.audit().findings == ()


def assert_a_lying_platform_cannot_begin_again(season: SmallSeason) -> None:
    """Who reserved a round does not advertise again, not even with a worker that knows nothing of it."""
    for company in OTHERS[2:]:
        with contextlib.suppress(LocalProtocolError):  # the advertisement of then, if it is kept
            season.exchange.handle(company, m.AdvertiseRequest(season.plan.campaign))
        with pytest.raises(RemoteProtocolError):
            season.exchange.handle(company, m.ShareRequest(season.plan.campaign, {}))
    season.restart_workers()
    for company in OTHERS[2:]:
        with pytest.raises(LocalProtocolError):
            season.exchange.handle(company, m.AdvertiseRequest(season.plan.campaign))


def test_nothing_is_spent_by_a_run_that_nobody_joins(season: SmallSeason) -> None:
    """A run that fails before any company shared costs nothing and can be begun again."""
    with pytest.raises(RoundFailedError):
        season.train(losing(m.AdvertiseRequest, 0, reply=False, companies=("benten", VICTIM)))
    season.train()
    assert set(season.heads().values()) == {season.head("akane")}
    assert season.head("akane") is not None
    verdict = season.audit()
    assert (verdict.word, verdict.findings) == ("VERIFIED", ())


# What a company may send

Change = Callable[[m.Answer], bytes | m.Answer]


def changing(season: SmallSeason, kind: type, round_number: int, change: Change) -> Around:
    """A company that changes its own answer to one request before it signs it; bytes go out as they are."""

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        data = handle(request)
        if company != VICTIM or not is_step(request, kind, round_number):
            return data
        changed = change(m.parse_answer(wire.SignedReply.FromString(data).reply))
        return changed if isinstance(changed, bytes) else signed(season, VICTIM, request, changed)

    return around


def signed(season: SmallSeason, company: str, request: m.Request, answer: m.Answer) -> bytes:
    key = keystore.load(season.company_dir(company)).signing
    return m.sign_answer(answer, company=VICTIM, request=m.encode_request(request), key=key)


def with_reply(**fields: Any) -> Callable[[m.Answer], m.Answer]:
    return lambda answer: replace(answer, reply=replace(answer.reply, **fields))


def shorter(answer: m.Answer) -> m.Answer:
    return replace(answer, reply=replace(answer.reply, masked=answer.reply.masked[:-1]))


def half_the_shares(answer: m.Answer) -> m.Answer:
    some = dict(list(answer.reply.sealed_shares.items())[1:])
    return replace(answer, reply=replace(answer.reply, sealed_shares=some))


def one_share_less(answer: m.Answer) -> m.Answer:
    unmasking = answer.reply.unmasking
    fewer = replace(unmasking, shares=unmasking.shares[1:])
    return replace(answer, reply=replace(answer.reply, unmasking=fewer))


def bad_shares_for_one(answer: m.Answer) -> m.Answer:
    """Shares of the right length that do not open, for one of the others."""
    sealed = dict(answer.reply.sealed_shares)
    sealed["enoki"] = bytes(len(sealed["enoki"]))
    return replace(answer, reply=replace(answer.reply, sealed_shares=sealed))


def wrong_unmask_shares(answer: m.Answer) -> m.Answer:
    unmasking = answer.reply.unmasking
    shares = tuple(replace(s, share=s.share[:-1] + bytes([s.share[-1] ^ 1])) for s in unmasking.shares)
    return replace(answer, reply=replace(answer.reply, unmasking=replace(unmasking, shares=shares)))


def unsigned_survivors(answer: m.Answer) -> m.Answer:
    unmasking = replace(answer.reply.unmasking, signature=bytes(64))
    return replace(answer, reply=replace(answer.reply, unmasking=unmasking))


CHANGES: dict[str, tuple[type, int, Change]] = {
    "garbage": (m.MaskedInputRequest, 2, lambda _: b"\xff\x00garbage"),
    "nothing": (m.MaskedInputRequest, 2, lambda _: b""),
    "oversized": (m.MaskedInputRequest, 2, lambda _: bytes(m.MAX_MESSAGE_BYTES + 1)),
    "another-kind": (m.MaskedInputRequest, 2, lambda a: replace(a, reply=m.FinishReply(a.reply.settles))),
    "another-kind-at-first": (m.AdvertiseRequest, 0, lambda a: replace(a, reply=m.FinishReply(()))),
    "short-vector": (m.MaskedInputRequest, 2, shorter),
    "long-vector": (m.MaskedInputRequest, 2, with_reply(masked=np.zeros(14, dtype=np.uint64))),
    "unconfirmed-cohort": (m.MaskedInputRequest, 1, with_reply(cohort_signature=bytes(64))),
    "no-confirmation": (m.MaskedInputRequest, 1, with_reply(cohort_signature=b"")),
    "no-settle": (m.MaskedInputRequest, 2, with_reply(settles=())),
    "half-the-shares": (m.ShareRequest, 0, half_the_shares),
    "no-commitment": (m.AdvertiseRequest, 0, with_reply(commitment=b"")),
    "commitment-that-is-none": (m.AdvertiseRequest, 0, with_reply(commitment=b"{}")),
    "oversized-commitment": (m.AdvertiseRequest, 0, with_reply(commitment=bytes(1 << 17))),
    "no-intent": (m.ShareRequest, 0, with_reply(intent=b"")),
    "intent-that-is-none": (m.UnmaskRequest, 2, with_reply(next_intent=b"{}")),
    "no-next-intent": (m.UnmaskRequest, 2, with_reply(next_intent=b"")),
    "one-share-less": (m.UnmaskRequest, 2, one_share_less),
    "unsigned-survivors": (m.UnmaskRequest, 2, unsigned_survivors),
    "tree-of-the-future": (m.ShareRequest, 0, lambda a: replace(a, known_tree_size=10**6)),
    "tree-of-the-future-in-a-round": (m.UnmaskRequest, 1, lambda a: replace(a, known_tree_size=2**60)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_bad_answer_costs_only_its_sender(season: SmallSeason, change: tuple[type, int, Change]) -> None:
    """Whatever one company answers, it alone is left out and the others finish."""
    season.train(changing(season, *change))
    assert_the_others_finished(season)
    assert last_survivors(season) == list(OTHERS)


def last_survivors(season: SmallSeason) -> list[str]:
    return season.entries(EntryKind.SETTLE, company="akane")[-1].body["survivors"]


@pytest.mark.parametrize("forgery", ["another-company", "replay", "unsigned"])
def test_an_answer_is_believed_only_from_its_author_and_for_its_request(
    season: SmallSeason, forgery: str
) -> None:
    """Signed by another company, for an earlier request or not at all: as if no answer had come."""
    earlier: dict[type, bytes] = {}

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        data = handle(request)
        if company != VICTIM or not is_step(request, m.MaskedInputRequest, 2):
            if company == VICTIM:
                earlier[type(request)] = data
            return data
        answer = m.parse_answer(wire.SignedReply.FromString(data).reply)
        return {
            "another-company": signed(season, "enoki", request, answer),
            "replay": earlier[m.MaskedInputRequest],
            "unsigned": wire.SignedReply.FromString(data).reply,
        }[forgery]

    season.train(around)
    assert_the_others_finished(season)
    assert last_survivors(season) == list(OTHERS)


@pytest.mark.parametrize("field", ["author", "key", "round", "plan", "event"])
def test_an_intent_of_another_is_not_ours(season: SmallSeason, field: str) -> None:
    """An intent signed by another company, in its name, or for other terms is not taken for the sender's."""

    def forge(answer: m.Answer) -> m.Answer:
        entry = parse_entry(answer.reply.next_intent)
        body, name, key = dict(entry.body), VICTIM, keystore.load(season.company_dir(VICTIM)).signing
        if field == "author":
            name, body["company"] = "enoki", "enoki"
            key = keystore.load(season.company_dir("enoki")).signing
        elif field == "key":
            key = keystore.load(season.company_dir("enoki")).signing
        elif field == "round":
            body["round"] = 2
        elif field == "plan":
            body["plan_sha256"] = "00" * 32
        else:
            body["event"] = body["event"] | {"noise_multiplier": "1"}
        return replace(answer, reply=replace(answer.reply, next_intent=sign_entry("intent", name, body, key)))

    season.train(changing(season, m.UnmaskRequest, 2, forge))
    assert_the_others_finished(season)
    assert len(season.entries(EntryKind.INTENT, company=VICTIM)) == 2
    assert len(season.entries(EntryKind.INTENT, company="enoki")) == 3


@pytest.mark.parametrize("field", ["survivors", "sentinels", "no-sentinels", "round", "company"])
def test_a_settle_that_says_something_else_is_refused(season: SmallSeason, field: str) -> None:
    """A settle with other survivors or sentinels, for another round or in another's name is not appended."""

    def forge(answer: m.Answer) -> m.Answer:
        body = dict(parse_entry(answer.reply.settles[0]).body)
        name, key = VICTIM, keystore.load(season.company_dir(VICTIM)).signing
        if field == "survivors":
            body["survivors"] = list(OTHERS)
        elif field == "sentinels":
            body["sentinels"] = [body["sentinels"][0] + 1, *body["sentinels"][1:]]
        elif field == "no-sentinels":
            body["sentinels"] = []
        elif field == "round":
            body["round"] = 3
        else:
            name, body["company"] = "enoki", "enoki"
        forged = sign_entry("settle", name, body, key)
        return replace(answer, reply=replace(answer.reply, settles=(forged,)))

    season.train(changing(season, m.MaskedInputRequest, 2, forge))
    assert_the_others_finished(season)
    # What it signed honestly is taken at the end.
    assert season.settled_rounds(VICTIM) == [1, 2, 3]


def test_wrong_unmask_shares_are_named_and_cost_nothing(
    season: SmallSeason, caplog: pytest.LogCaptureFixture
) -> None:
    """With an answer to spare, a company whose shares are all wrong stops no round; the log names it."""
    season.train(changing(season, m.UnmaskRequest, 2, wrong_unmask_shares))
    assert_everybody_finished(season)
    said = [record.getMessage() for record in caplog.records if record.name == "noren.rounds"]
    assert said == [f"round 2: wrong share of the secret of {c} from {VICTIM}" for c in season.companies]


def test_who_is_sealed_garbage_drops_out_and_names_its_sender(season: SmallSeason) -> None:
    """The company that cannot open its shares refuses round 1 and says whose they were; the others go on."""
    said = set()

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        try:
            return changing(season, m.ShareRequest, 0, bad_shares_for_one)(company, request, handle)
        except RemoteProtocolError as error:
            said.add((company, error.message))
            raise

    season.train(around)
    assert said == {("enoki", f"sealed shares of {VICTIM}: expected some that open for us")}
    assert season.head("enoki") is None
    assert len({season.head(company) for company in season.companies if company != "enoki"}) == 1
    assert last_survivors(season) == ["akane", "benten", VICTIM, "daigo"]


def test_an_answer_for_somebody_who_was_not_asked_is_ignored(season: SmallSeason) -> None:
    """A reply under a name that no request went to is dropped."""
    honest = season.exchange.exchange

    def with_a_stranger(requests: dict[str, bytes], *, deadline_seconds: float) -> dict[str, bytes]:
        replies = honest(requests, deadline_seconds=deadline_seconds)
        return {"zaruba": next(iter(replies.values())), **replies} if replies else replies

    season.exchange.exchange = with_a_stranger
    season.train()
    assert set(season.heads().values()) == {season.head("akane")}
    assert season.audit().word == "VERIFIED"


def test_a_company_that_is_revoked_meanwhile_is_dropped(season: SmallSeason) -> None:
    """From the revocation on it is as if it were silent, the others finish, and the auditor finds nothing."""

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        if company == VICTIM and is_step(request, m.MaskedInputRequest, 2):
            with season.platform() as platform:
                platform.enrolment.revoke(VICTIM, RevocationReason.KEY_COMPROMISED)
        return handle(request)

    season.train(around)
    assert_the_others_finished(season)
    assert season.settled_rounds(VICTIM) == []
