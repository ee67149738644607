"""How many sessions one process keeps, and which it forgets."""

from pathlib import Path

import pytest

from noren_client import training_session
from noren_client.training_session import TrainingSession, TrainingSessions
from noren_core.errors import RemoteProtocolError
from noren_core.season import messages as m


class Session:
    """Stands in for a session: answers what it is asked, and remembers that it was closed."""

    def __init__(self, campaign):
        self.campaign, self.is_finished, self.is_closed = campaign, False, False

    def signed_answer(self, request, payload):
        self.is_finished |= isinstance(request, m.FinishRequest)
        return self.campaign.encode()

    def close(self):
        self.is_closed = True


@pytest.fixture
def begun(monkeypatch):
    """Sessions that were begun, by campaign."""
    sessions = {}
    monkeypatch.setattr(
        TrainingSession, "begin", lambda _, campaign, clock: sessions.setdefault(campaign, Session(campaign))
    )
    monkeypatch.setattr(training_session, "_MAX_SESSIONS", 3)
    return sessions


def ask(sessions, request):
    return sessions.handle(Path("company"), m.encode_request(request))


def test_a_finished_session_makes_room_before_a_running_one(begun):
    """Beyond the limit the oldest finished session is closed and forgotten, else the oldest."""
    sessions = TrainingSessions()
    for campaign in ("one", "two", "three"):
        ask(sessions, m.AdvertiseRequest(campaign))
    ask(sessions, m.FinishRequest("two", (), {}, {}))
    assert ask(sessions, m.FinishRequest("two", (), {}, {})) == b"two"  # kept after its end
    ask(sessions, m.AdvertiseRequest("four"))
    assert [name for name, session in begun.items() if session.is_closed] == ["two"]
    with pytest.raises(RemoteProtocolError, match="first message"):
        ask(sessions, m.FinishRequest("two", (), {}, {}))
    ask(sessions, m.AdvertiseRequest("five"))
    assert [name for name, session in begun.items() if session.is_closed] == ["one", "two"]


def test_a_session_is_begun_once(begun):
    """A second first message goes to the session that there is, and one out of nowhere to none."""
    sessions = TrainingSessions()
    with pytest.raises(RemoteProtocolError, match="first message"):
        ask(sessions, m.ShareRequest("one", {}))
    ask(sessions, m.AdvertiseRequest("one"))
    first = begun.pop("one")
    assert ask(sessions, m.AdvertiseRequest("one")) == b"one"
    assert begun == {}
    assert not first.is_closed
