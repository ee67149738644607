"""How often an address may be wrong."""

from __future__ import annotations

import pytest

from noren_core.errors import RemoteProtocolError
from noren_core.wire.refusal import Refusal
from noren_server import enrolment
from noren_server.enrolment import WrongCodes


def test_ten_wrong_codes_close_the_door_for_ten_minutes() -> None:
    """The eleventh attempt is refused, another address is not, and time opens the door again."""
    attempts = WrongCodes()
    for second in range(enrolment.WRONG_CODES):
        attempts.check("ipv4:10.0.0.1", float(second))
        attempts.add("ipv4:10.0.0.1", float(second))
    with pytest.raises(RemoteProtocolError) as caught:
        attempts.check("ipv4:10.0.0.1", 20.0)
    assert caught.value.code == Refusal.TOO_MANY_ATTEMPTS
    attempts.check("ipv4:10.0.0.2", 20.0)
    attempts.check("ipv4:10.0.0.1", enrolment.WRONG_CODES_SECONDS + 1.0)


def test_the_memory_for_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that was wrong longest ago is forgotten first."""
    monkeypatch.setattr(enrolment, "MAX_REMEMBERED_ADDRESSES", 3)
    attempts = WrongCodes()
    for number in range(5):
        attempts.add(f"ipv4:10.0.0.{number}", 0.0)
    assert list(attempts._times) == [f"ipv4:10.0.0.{number}" for number in (2, 3, 4)]
