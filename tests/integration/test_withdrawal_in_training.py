"""A student withdraws at every moment of a campaign's training: what is computed, opened, spent and shown.

The platform's real run against five companies' real sessions; the moments are those of
docs/rights/withdrawal.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from training_cohort import COMPANIES, ROWS, Handle, TrainingCohort, say, table_id, tags_of, training_cohort

from noren_audit.replay.replay import ReplayCode
from noren_client import campaign_files, keystore, replay_data, revocations
from noren_client.training_session import TrainingSession
from noren_core.crypto.revocation_list import RevocationList
from noren_core.errors import RemoteProtocolError, VerificationError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind
from noren_core.season import messages as m
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_consents import RoundConsents
from noren_core.secagg.server import RoundFailedError

LEFT, OTHER = "company-2", "company-4"
"""The company of the student who withdraws, and another one."""
HER_ROW = 5


@pytest.fixture
def cohort(
    tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[TrainingCohort]:
    with training_cohort(tmp_path, CampaignPlan.from_body(plan_body), monkeypatch) as made:
        yield made


def at(
    cohort: TrainingCohort,
    kind: type,
    round_number: int,
    *,
    after: bool,
    companies: tuple[str, ...] = (LEFT,),
) -> None:
    """Students of these companies withdraw when their company is sent that request, or has answered it."""

    def around(company: str, request: m.Request, handle: Handle) -> bytes:
        is_moment = company in companies and isinstance(request, kind)
        is_moment = is_moment and getattr(request, "round_number", round_number) == round_number
        if is_moment and not after:
            cohort.lists.revoke(company, HER_ROW)
        reply = handle(request)
        if is_moment and after:
            cohort.lists.revoke(company, HER_ROW)
        return reply

    cohort.train(around)


def assert_sums_are_the_survivors(cohort: TrainingCohort) -> None:
    """Every opened sum is exactly that of what its survivors computed, to the last unit."""
    for number, survivors in cohort.survivors().items():
        total = sum(cohort.update(company, number) for company in survivors)
        assert cohort.gradient(OTHER, number) == total.tolist()[: cohort.plan.head_length]


def assert_replayed(cohort: TrainingCohort, rounds: int = 3) -> None:
    result = cohort.replayed(LEFT)
    assert (result.findings, result.rounds, result.is_partial) == ((), rounds, False)


# W1 to W6


def test_w1_a_row_that_is_revoked_before_the_first_round_is_in_none(cohort: TrainingCohort) -> None:
    """It stands in the commitment, which was made before, and in no gradient; the replay says so."""
    at(cohort, m.AdvertiseRequest, 0, after=True)
    for number in (1, 2, 3):
        assert cohort.rows_used(LEFT, number) == cohort.rows(LEFT, without=(HER_ROW,))
        assert cohort.rows_used(OTHER, number) == cohort.rows(OTHER)
    assert set(cohort.survivors()[3]) == set(COMPANIES)
    assert_sums_are_the_survivors(cohort)
    assert_replayed(cohort)


def test_w2_a_withdrawal_between_two_rounds_counts_from_the_next_one(cohort: TrainingCohort) -> None:
    """The round before keeps what was computed, nobody drops out, and everybody holds one head."""
    at(cohort, m.UnmaskRequest, 1, after=True)
    assert cohort.rows_used(LEFT, 1) == cohort.rows(LEFT)
    for number in (2, 3):
        assert cohort.rows_used(LEFT, number) == cohort.rows(LEFT, without=(HER_ROW,))
    assert {tuple(survivors) for survivors in cohort.survivors().values()} == {COMPANIES}
    assert len({cohort.head(company) for company in COMPANIES}) == 1
    assert cohort.refusals == []
    assert_sums_are_the_survivors(cohort)
    assert_replayed(cohort)


def test_w2_a_round_is_not_begun_under_an_older_list(cohort: TrainingCohort) -> None:
    """The company knows a newer list, from whatever message: CONSENT_EPOCH_STALE, and nothing is computed."""

    def around(company: str, request: m.Request, handle: Handle) -> bytes:
        if company == LEFT and isinstance(request, m.MaskedInputRequest) and request.round_number == 2:
            fetched_by_another_process(cohort, company)
        return handle(request)

    cohort.train(around)
    assert cohort.refusals[0] == (LEFT, "CONSENT_EPOCH_STALE")
    assert {company for company, _ in cohort.refusals} == {LEFT}
    assert [number for company, number, _, _ in cohort.computed if company == LEFT] == [1]
    assert LEFT not in cohort.survivors()[2]
    assert cohort.rounds_spent(LEFT) == 2  # reserved, hence charged
    assert_sums_are_the_survivors(cohort)
    assert_replayed(cohort, rounds=1)


def test_what_a_company_sent_is_not_opened_once_the_service_is_suspended_for_it(
    cohort: TrainingCohort,
) -> None:
    """R-SVC-1: it is a drop-out from that round on, and its settles of the rounds before are taken."""

    def around(company: str, request: m.Request, handle: Handle) -> bytes:
        reply = handle(request)
        if company == LEFT and isinstance(request, m.MaskedInputRequest) and request.round_number == 2:
            cohort.suspended.add(LEFT)
        return reply

    cohort.train(around)
    assert LEFT in cohort.survivors()[1]
    assert LEFT not in cohort.survivors()[2]
    assert_sums_are_the_survivors(cohort)


def fetched_by_another_process(cohort: TrainingCohort, company: str) -> None:
    """A student withdraws, and a command of her company keeps the list that says so."""
    cohort.lists.revoke(company, HER_ROW)
    data, signature = cohort.lists.newest(company)
    path = revocations.list_path(cohort.directory(company), cohort.plan.campaign, TableKind.TRAIN)
    path.write_bytes(signature + data)


def test_w3_what_was_computed_while_she_withdrew_is_forgotten(
    cohort: TrainingCohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer list came in during the computation: nothing of it is sent; what was reserved stays spent."""
    compute = TrainingSession._noised_update

    def slow(session: TrainingSession, round_number: int) -> Any:
        update = compute(session, round_number)
        if (session._company, round_number) == (LEFT, 2) and not cohort.refusals:
            fetched_by_another_process(cohort, LEFT)
        return update

    monkeypatch.setattr(TrainingSession, "_noised_update", slow)
    cohort.train()
    assert cohort.refusals[0] == (LEFT, "CONSENT_EPOCH_STALE")
    assert {company for company, _ in cohort.refusals} == {LEFT}
    assert LEFT not in cohort.survivors()[2]
    assert cohort.rounds_spent(LEFT) == 2
    settle = {e.body["round"]: e.body for e in cohort.entries(EntryKind.SETTLE, company=LEFT)}[2]
    assert settle["survivors"] == [company for company in COMPANIES if company != LEFT]
    assert cohort.replay_body(LEFT)["rounds"][1]["update"] == []
    assert_sums_are_the_survivors(cohort)


def test_w4_what_was_sent_and_is_not_opened_yet_counts_as_a_drop_out(cohort: TrainingCohort) -> None:
    """Her company's vector is in no sum; the sum is that of the others alone, and the company is not told."""
    at(cohort, m.MaskedInputRequest, 2, after=True)
    assert cohort.rows_used(LEFT, 2) == cohort.rows(LEFT)
    survivors = cohort.survivors()
    assert survivors[1] == list(COMPANIES)
    assert survivors[2] == survivors[3] == [company for company in COMPANIES if company != LEFT]
    assert cohort.refusals == []
    assert_sums_are_the_survivors(cohort)
    assert len({cohort.head(company) for company in COMPANIES}) == 1  # it gets the others' head
    spent = {company: cohort.rounds_spent(company) for company in COMPANIES}
    assert spent == dict.fromkeys(COMPANIES, 3) | {LEFT: 2}
    assert_replayed(cohort, rounds=2)


def test_w4_too_few_are_left_and_the_round_is_given_up(cohort: TrainingCohort) -> None:
    """No sum is opened, the ledger says that it was for consent, and what was reserved stays spent."""
    with pytest.raises(RoundFailedError) as failed:
        at(cohort, m.MaskedInputRequest, 2, after=True, companies=(LEFT, OTHER))
    assert failed.value.code == "ROUND_ABORTED_CONSENT"
    (entry,) = cohort.entries(EntryKind.ROUND_FAILED)
    assert (entry.body["round"], entry.body["reason"]) == (2, "ROUND_ABORTED_CONSENT")
    assert {cohort.rounds_spent(company) for company in COMPANIES} == {2}
    assert cohort.survivors().keys() == {1}
    assert LEFT not in failed.value.message


def test_w4_a_round_that_fails_anyway_does_not_blame_consent(cohort: TrainingCohort) -> None:
    """Two companies are silent and a student of a third withdraws: the reason is the usual one."""

    def around(company: str, request: m.Request, handle: Handle) -> bytes | None:
        if isinstance(request, m.MaskedInputRequest) and request.round_number == 2:
            if company in ("company-1", "company-3"):
                return None
            if company == LEFT:
                reply = handle(request)
                cohort.lists.revoke(LEFT, HER_ROW)
                return reply
        return handle(request)

    with pytest.raises(RoundFailedError) as failed:
        cohort.train(around)
    assert failed.value.code == "ROUND_FAILED"


def test_w5_a_sum_that_is_opened_keeps_the_row_and_later_ones_do_not(cohort: TrainingCohort) -> None:
    """Nothing is taken back from a sum; from the next round on the row is out."""
    at(cohort, m.UnmaskRequest, 2, after=False)
    assert set(cohort.survivors()[2]) == set(COMPANIES)
    assert cohort.rows_used(LEFT, 2) == cohort.rows(LEFT)
    assert cohort.rows_used(LEFT, 3) == cohort.rows(LEFT, without=(HER_ROW,))
    assert_replayed(cohort)


def test_w6_a_released_head_stays_as_it_is(cohort: TrainingCohort) -> None:
    """Withdrawn after the last round: head, charges and replay are those of before."""
    cohort.train()
    before = cohort.head(LEFT), cohort.rounds_spent(LEFT)
    cohort.lists.revoke(LEFT, HER_ROW)
    assert (cohort.head(LEFT), cohort.rounds_spent(LEFT)) == before
    assert_replayed(cohort)


# What a company does with the list


def test_a_row_that_was_dropped_never_comes_back(cohort: TrainingCohort) -> None:
    """Not even if the platform signs a later list without it."""
    cohort.handle(LEFT, m.AdvertiseRequest(cohort.plan.campaign))
    session = cohort.session(LEFT)
    for sequence, tags in ((2, {tags_of(LEFT)[HER_ROW]}), (3, set())):
        cohort.lists.sequences[LEFT], cohort.lists.revoked[LEFT] = sequence, tags
        session._drop_revoked(RoundConsents.drawn(*cohort.lists.newest(LEFT)))
        assert tags_of(LEFT)[HER_ROW] not in session._material.tags
        assert len(session._material.tags) == ROWS - 1


@pytest.mark.parametrize("case", ["other key", "other table", "no list", "changed", "older"])
def test_a_list_that_is_not_the_platforms_newest_is_refused(cohort: TrainingCohort, case: str) -> None:
    """Then nothing is computed, and no row comes or goes."""
    cohort.handle(LEFT, m.AdvertiseRequest(cohort.plan.campaign))
    session = cohort.session(LEFT)
    cohort.lists.revoke(LEFT, HER_ROW)
    data, signature = cohort.lists.newest(LEFT)
    session._drop_revoked(RoundConsents.drawn(data, signature))
    listed = RevocationList.from_bytes(data)
    signing = cohort.platform.signing_key
    older = replace(listed, sequence=1)
    elsewhere = replace(listed, table_id=table_id(OTHER), sequence=3)
    wrong = {
        "other key": (data, listed.sign(cohort.platform.log_key)),
        "other table": (elsewhere.to_bytes(), elsewhere.sign(signing)),
        "no list": (b"", b""),
        "changed": (data[:-1] + bytes([data[-1] ^ 1]), signature),
        "older": (older.to_bytes(), older.sign(signing)),
    }
    with pytest.raises(VerificationError) as refused:
        session._drop_revoked(RoundConsents.drawn(*wrong[case]))
    assert (refused.value.code == "CONSENT_EPOCH_STALE") is (case == "older")
    assert len(session._material.tags) == ROWS - 1


def test_a_company_that_states_an_older_list_than_it_was_given_is_found_out(
    cohort: TrainingCohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform gave list and salt, so it knows what the settle must say; another settle is not taken."""
    kept: list[RoundConsents] = []
    drop = TrainingSession._drop_revoked

    def ignoring(session: TrainingSession, consents: RoundConsents) -> Any:
        if session._company != LEFT:
            return drop(session, consents)
        kept.append(consents)
        return RevocationList.from_bytes(kept[0].revocations)

    settle = TrainingSession._settle

    def stating(
        session: TrainingSession, before: Any, after: Any, aggregate: Any, consents: RoundConsents
    ) -> bytes:
        if session._company == LEFT:
            consents = replace(consents, revocations=kept[0].revocations)
        return settle(session, before, after, aggregate, consents)

    monkeypatch.setattr(TrainingSession, "_drop_revoked", ignoring)
    monkeypatch.setattr(TrainingSession, "_settle", stating)
    at(cohort, m.UnmaskRequest, 1, after=True)
    settled = [entry.body["round"] for entry in cohort.entries(EntryKind.SETTLE, company=LEFT)]
    assert settled == [1]
    assert LEFT not in cohort.survivors()[3]


def test_sums_come_without_a_list(
    tmp_path: Path, statistics_plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With sealed statistics no row is at a company: an empty list, which the settle commits to as well."""
    asked: list[RoundConsents] = []
    with training_cohort(tmp_path, CampaignPlan.from_body(statistics_plan_body), monkeypatch) as cohort:

        def around(company: str, request: m.Request, handle: Handle) -> bytes:
            if isinstance(request, m.MaskedInputRequest):
                asked.append(request.consents)
                session = cohort.session(company)
                with pytest.raises(RemoteProtocolError, match="revocations"):
                    session._drop_revoked(RoundConsents.drawn(*cohort.lists.newest(company)))
            return handle(request)

        cohort.train(around)
        assert {(consents.revocations, consents.signature) for consents in asked} == {(b"", b"")}
        stated = {entry.body["consents"] for entry in cohort.entries(EntryKind.SETTLE)}
        assert stated == {consents.commitment().hex() for consents in asked}
        result = cohort.replayed(LEFT)
        assert (result.findings, result.rounds) == ((), 1)


def test_sums_that_were_erased_are_not_used_from_memory(
    tmp_path: Path, statistics_plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order that everything goes came between two messages: the company is a drop-out."""
    with training_cohort(tmp_path, CampaignPlan.from_body(statistics_plan_body), monkeypatch) as cohort:

        def around(company: str, request: m.Request, handle: Handle) -> bytes:
            if company == LEFT and isinstance(request, m.MaskedInputRequest):
                sums = campaign_files.secret_name(cohort.plan.campaign, campaign_files.SUMS_FILE)
                keystore.remove_secret(cohort.directory(LEFT), sums)
            return handle(request)

        cohort.train(around)
        assert LEFT not in cohort.survivors()[1]


# What shows


def test_one_row_less_changes_no_rate_normaliser_or_size(
    tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With n and with n − 1 rows: the same event, plan and lengths. Settles repeat sums in decimal digits, so
    the lengths of whole replies are compared in the first round, where there are none."""
    runs = []
    for name in ("all", "one-less"):
        (tmp_path / name).mkdir()
        with training_cohort(tmp_path / name, CampaignPlan.from_body(plan_body), monkeypatch) as cohort:
            if name == "one-less":
                cohort.lists.revoke(LEFT, HER_ROW)
            cohort.train()
            used = len(cohort.rows_used(LEFT, 1))
            intents = [e.body["event"] for e in cohort.entries(EntryKind.INTENT, company=LEFT)]
            kinds = ("AdvertiseRequest", "ShareRequest", "MaskedInputRequest", "UnmaskRequest")
            sizes = {
                (kind, number): (request, reply)
                for (company, kind, number), (request, reply) in cohort.sizes.items()
                if company == LEFT and number <= 1 and kind in kinds
            }
            plan = (cohort.plan.training.normaliser, cohort.plan.digest())
            runs.append((intents, sizes, plan))
            assert used == ROWS - (name == "one-less")
    replies = [{place: reply for place, (_, reply) in sizes.items()} for _, sizes, _ in runs]
    assert replies[0] == replies[1]
    assert runs[0][0] == runs[1][0]
    assert runs[0][2] == runs[1][2]
    lists = [sizes["MaskedInputRequest", 1][0] for _, sizes, _ in runs]
    assert (
        abs(lists[0] - lists[1]) < 64
    )  # signatures in JSON are fixed; indices and proofs may differ by bytes


def test_nobody_is_told_who_withdrew_or_how_many(
    cohort: TrainingCohort, caplog: pytest.LogCaptureFixture
) -> None:
    """Logs, ledger and the other companies' messages hold no tag, and a list of 64 in either case."""
    lengths = set()

    def around(company: str, request: m.Request, handle: Handle) -> bytes:
        if isinstance(request, m.MaskedInputRequest):
            lengths.add(len(request.consents.revocations))
        reply = handle(request)
        if company == LEFT and isinstance(request, m.MaskedInputRequest) and request.round_number == 2:
            cohort.lists.revoke(LEFT, HER_ROW)
        return reply

    cohort.train(around)
    assert lengths == {24 + 16 * 64}
    tag = tags_of(LEFT)[HER_ROW]
    stored = b"".join(item.entry.to_bytes() for item in cohort.platform.ledger_store.entries())
    assert tag.hex().encode() not in stored
    assert tag.hex() not in caplog.text
    assert "withdr" not in caplog.text.lower()


# Replay


def test_a_company_that_ignores_a_list_is_not_replayed(
    cohort: TrainingCohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says truly which list it was given and uses the row all the same: only computing again tells."""
    drop = TrainingSession._drop_revoked

    def ignoring(session: TrainingSession, consents: RoundConsents) -> Any:
        before = session._material
        listed = drop(session, consents)
        if session._company == LEFT:
            session._material = before
        return listed

    monkeypatch.setattr(TrainingSession, "_drop_revoked", ignoring)
    at(cohort, m.UnmaskRequest, 1, after=True)
    assert cohort.rows_used(LEFT, 3) == cohort.rows(LEFT)
    found = [(f.code, f.round_number) for f in cohort.replayed(LEFT).findings]
    assert found == [(ReplayCode.UPDATE_NOT_RECOMPUTED, 2), (ReplayCode.UPDATE_NOT_RECOMPUTED, 3)]


def test_a_company_that_drops_a_row_that_is_on_no_list_is_not_replayed(
    cohort: TrainingCohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever leaves out the people it does not like uses the lists as an excuse in vain."""
    drop = TrainingSession._drop_revoked

    def choosing(session: TrainingSession, consents: RoundConsents) -> Any:
        listed = drop(session, consents)
        if session._company == LEFT:
            session._material = session._material.without({tags_of(LEFT)[0]})
        return listed

    monkeypatch.setattr(TrainingSession, "_drop_revoked", choosing)
    cohort.train()
    found = {(f.code, f.round_number) for f in cohort.replayed(LEFT).findings}
    assert found == {(ReplayCode.UPDATE_NOT_RECOMPUTED, number) for number in (1, 2, 3)}


def test_rows_that_were_erased_leave_a_replay_in_part(cohort: TrainingCohort) -> None:
    """Certified in the ledger: the rounds without her row come out, the round with it cannot be computed."""
    at(cohort, m.UnmaskRequest, 1, after=True)
    erase(cohort)
    assert cohort.replay_body(LEFT)["rows_erased"] is True
    codes = {finding.code for finding in cohort.replayed(LEFT).findings}
    assert codes == {ReplayCode.ROWS_NOT_COMMITTED, ReplayCode.UPDATE_NOT_RECOMPUTED}
    where = {"campaign": cohort.plan.campaign, "company": LEFT}
    certificate = {**where, "order": 0, "certificate_sha256": "ab" * 32}
    say(cohort, LEFT, EntryKind.DELETION_CERTIFICATE, certificate)
    result = cohort.replayed(LEFT)
    assert (result.findings, result.is_partial, result.rounds) == ((), True, 2)


def test_erased_rows_are_no_excuse_for_other_noise(cohort: TrainingCohort) -> None:
    """At the sentinels no row has anything, so they must come out in every round, erased rows or not."""
    at(cohort, m.UnmaskRequest, 1, after=True)
    erase(cohort)
    where = {"campaign": cohort.plan.campaign, "company": LEFT}
    certificate = {**where, "order": 0, "certificate_sha256": "ab" * 32}
    say(cohort, LEFT, EntryKind.DELETION_CERTIFICATE, certificate)
    body = cohort.replay_body(LEFT)
    body["rounds"][0]["update"][-1] += 1
    codes = {finding.code for finding in cohort.replayed(LEFT, body).findings}
    assert codes == {ReplayCode.UPDATE_NOT_SETTLED, ReplayCode.SENTINELS_NOT_THE_NOISE}


def erase(cohort: TrainingCohort) -> None:
    """Her row goes from both files, the training set first."""
    directory, campaign, tag = cohort.directory(LEFT), cohort.plan.campaign, tags_of(LEFT)[HER_ROW]
    kept = campaign_files.load_training_set(directory, campaign)
    campaign_files.save_training_set(directory, campaign, kept.without({tag}))
    assert replay_data.erase_rows(directory, campaign, {tag}) is True


def test_a_running_session_neither_uses_nor_writes_rows_after_all_were_erased(cohort: TrainingCohort) -> None:
    """The training set is gone and its key destroyed: the company goes on with its noise alone."""

    def around(company: str, request: m.Request, handle: Handle) -> bytes:
        reply = handle(request)
        if company == LEFT and isinstance(request, m.MaskedInputRequest) and request.round_number == 2:
            campaign_files.forget_training_set(cohort.directory(LEFT), cohort.plan.campaign)
        return reply

    cohort.train(around)
    body = cohort.replay_body(LEFT)
    assert (body["rows"], body["rows_erased"], len(body["rounds"])) == ([], True, 3)
    assert [len(cohort.rows_used(LEFT, number)) for number in (1, 2, 3)] == [ROWS, ROWS, 0]


def test_a_running_session_does_not_bring_an_erased_row_back(cohort: TrainingCohort) -> None:
    """Erased between two rounds: the replay data that the session writes next is without it, and says so."""

    def around(company: str, request: m.Request, handle: Handle) -> bytes:
        reply = handle(request)
        if company == LEFT and isinstance(request, m.MaskedInputRequest) and request.round_number == 2:
            erase(cohort)
        if company == LEFT and isinstance(request, m.UnmaskRequest) and request.round_number == 1:
            cohort.lists.revoke(LEFT, HER_ROW)
        return reply

    cohort.train(around)
    body = cohort.replay_body(LEFT)
    assert body["rows_erased"] is True
    assert len(body["rows"]) == ROWS - 1
    assert tags_of(LEFT)[HER_ROW].hex() not in {row["tag"] for row in body["rows"]}
