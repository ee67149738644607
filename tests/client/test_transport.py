"""How a refusal or a failure of the platform reads on the company's side."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from noren_client import transport
from noren_core.errors import BudgetExceededError, NorenError, RemoteProtocolError
from noren_core.wire.refusal import METADATA_KEY, Refusal

HOSTILE = "\x1b[2Jrow 17: jane.doe@example.org was rejected"


class Refused(grpc.RpcError):
    """An error as gRPC raises it."""

    def __init__(self, status: grpc.StatusCode, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(HOSTILE)
        self._status = status
        self._metadata = metadata

    def code(self) -> grpc.StatusCode:
        return self._status

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata


def failing(error: grpc.RpcError) -> Callable[[], object]:
    def call() -> object:
        raise error

    return call


@pytest.mark.parametrize("refusal", list(Refusal))
def test_every_refusal_has_its_code_and_our_sentence(refusal: Refusal) -> None:
    """The code comes over the wire, the sentence from here."""
    error = Refused(grpc.StatusCode.INVALID_ARGUMENT, ((METADATA_KEY, refusal.value),))
    with pytest.raises(NorenError) as caught:
        transport.called(failing(error))
    assert (caught.value.code, caught.value.message) == (refusal.value, refusal.sentence)
    assert isinstance(caught.value, BudgetExceededError) == (refusal is Refusal.EVALUATION_LIMIT)


@pytest.mark.parametrize("status", list(grpc.StatusCode))
@pytest.mark.parametrize("metadata", [(), ((METADATA_KEY, "NO_SUCH_CODE"),), ((METADATA_KEY, HOSTILE),)])
def test_text_from_the_wire_is_shown_to_nobody(
    status: grpc.StatusCode, metadata: tuple[tuple[str, str], ...]
) -> None:
    """Neither gRPC's details nor an unknown code of the platform ends up in our error or its causes."""
    with pytest.raises(NorenError) as caught:
        transport.called(failing(Refused(status, metadata)))
    assert "jane" not in caught.value.message + caught.value.code + repr(caught.value)
    assert caught.value.__cause__ is None


def test_only_unavailability_is_tried_again() -> None:
    """A platform that comes back is asked again after growing pauses; a refusal is final."""
    pauses: list[float] = []
    answers = [Refused(grpc.StatusCode.UNAVAILABLE)] * 3

    def call() -> str:
        if answers:
            raise answers.pop()
        return "answer"

    assert transport.repeated(lambda: transport.called(call), sleep=pauses.append) == "answer"
    assert pauses == sorted(pauses)
    assert len(pauses) == 3
    refused = Refused(grpc.StatusCode.NOT_FOUND, ((METADATA_KEY, Refusal.NOT_AVAILABLE.value),))
    with pytest.raises(RemoteProtocolError):
        transport.repeated(lambda: transport.called(failing(refused)), sleep=pauses.append)
    assert len(pauses) == 3


def test_a_platform_that_stays_away_is_given_up() -> None:
    """After the last attempt the error is the platform's absence."""
    pauses: list[float] = []
    away = Refused(grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(transport.PlatformUnavailableError):
        transport.repeated(lambda: transport.called(failing(away)), sleep=pauses.append)
    assert len(pauses) == transport.ATTEMPTS - 1
