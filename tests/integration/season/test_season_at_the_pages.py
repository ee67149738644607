"""A company that seals, scores and looks at its own pages alone, against the platform's real services."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from company_pages import AtDesk, words_of

from noren_client.gate import score_records
from noren_client.gate import staff as company_staff
from noren_core.crypto.secret import SecretBytes
from noren_core.rights.gate.roles import Assignment, Role
from noren_demo.people import POSITION
from noren_local import staff
from noren_web.jobs import JobState

if TYPE_CHECKING:
    from conftest import SmallSeason

CAMPAIGN, COMPANY = "spring-2026", "akane"
MEMBERS = {
    "olga": Role.COMPANY_ML_OPERATOR,
    "dan": Role.DECIDER,
    "fay": Role.FOLLOW_UP,
    "pia": Role.PRIVACY_CONTACT,
}
_PERSON = re.compile(r'name="person" value="(\w{32})" required><label for="[^"]*">([^<]*)<')


@pytest.fixture
def desk(season: SmallSeason, monkeypatch: pytest.MonkeyPatch) -> AtDesk:
    monkeypatch.setattr(staff, "_COST", 2)
    directory = season.company_dir(COMPANY)
    for name, role in MEMBERS.items():
        code = SecretBytes(b"correct horse battery")
        company_staff.register(directory).add(name, [Assignment(role)], code)
    return AtDesk(directory, lambda: int(time.time()))


def done(desk: AtDesk, kind: str) -> None:
    job = desk.site.state.jobs.newest(kind)
    job.wait()
    assert (job.state, job.code) == (JobState.DONE, "")


def test_from_training_to_one_student(season: SmallSeason, desk: AtDesk) -> None:
    """Seal, send, compute, look, plan, answer and ask for orders: no command of this company is run."""
    assert season.launch is not None
    assert season.students is not None
    with season.serving() as parties:
        parties.train(CAMPAIGN)
        desk.sign_in("olga")
        desk.post("/season", "/season/ask", campaign=CAMPAIGN)
        assert "Accepted by 5 of 5 companies" in desk.text("/season")
        desk.sign_in("dan")
        place = f"/decisions/{CAMPAIGN}/{POSITION}"
        assert desk.post(place, f"{place}/seal", confirmation=POSITION).status_code == 303
        events = season.root / "acknowledged.jsonl"
        season.students.write_acknowledgements(events, COMPANY, season.data.score_seasons[0])
        season.launch.take_file(events)
        season.launch.attest(CAMPAIGN)
        desk.sign_in("olga")
        assert "is not sent yet" in desk.text("/")
        desk.post("/season", "/season/score", campaign=CAMPAIGN)
        done(desk, f"season {CAMPAIGN}")
        assert "Bands computed" in desk.text("/season")
        look_at_one(season, desk)
        desk.sign_in("pia")
        desk.post("/rights", "/rights/answer")
        done(desk, "rights answers")
        assert desk.post("/rights", "/rights/orders").status_code == 303
        assert f"No order of {CAMPAIGN}." in desk.text("/rights")


def look_at_one(season: SmallSeason, desk: AtDesk) -> None:
    """Somebody with a record, chosen by what the list calls her."""
    people = score_records.load(season.company_dir(COMPANY), CAMPAIGN).people
    known = {person.identifier.rpartition(b"\0")[2].decode() for person in people if person.is_deposited}
    place = f"/follow-up/{CAMPAIGN}/{POSITION}"
    desk.sign_in("fay")
    everybody = {
        name: handle
        for first in (0, 50)
        for handle, name in _PERSON.findall(desk.get(f"{place}?first={first}").text)
    }
    chosen = next(name for name in everybody if name.casefold() in known)
    assert "Band " in words_of(desk.post(place, place, person=everybody[chosen]))
    action = {"person": everybody[chosen], "kind": "mentor_contact", "state": "planned"}
    assert desk.post(place, f"{place}/action", **action).status_code == 303
    assert "A mentor gets in touch Planned" in words_of(desk.post(place, place, person=everybody[chosen]))
