"""Whatever records a Flower message carries, each side finds one bounded payload in it or refuses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from fuzzing import try_out
from hypothesis import strategies as st

from noren_client import flower_app as client
from noren_core.errors import RemoteProtocolError
from noren_server import flower_app as server

names = st.sampled_from(("noren", "payload", "", "x")) | st.text(max_size=5)
scalars = st.one_of(
    st.binary(max_size=50), st.text(max_size=5), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats()
)
configs = st.dictionaries(names, scalars | st.lists(st.binary(max_size=3), max_size=3), max_size=3)
records = st.one_of(
    configs.map(ConfigRecord),
    configs.map(ConfigRecord),
    st.dictionaries(names, st.integers(0, 9), max_size=2).map(MetricRecord),
    st.just(ArrayRecord({"payload": Array(np.zeros(2))})),
)
contents = st.dictionaries(names, records, max_size=2)


@pytest.fixture(autouse=True)
def task() -> Iterator[None]:
    """Flower's messages are made in "the task of this process"."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    yield
    TaskIdentity._task_id = TaskIdentity._run_id = TaskIdentity._node_id = None


def test_either_side_finds_one_payload_or_refuses() -> None:
    """Exactly one record `noren` with exactly one bytes field `payload` counts; the two sides agree."""

    def find(content: dict[str, Any]) -> None:
        is_ours = list(content) == ["noren"] and isinstance(content["noren"], ConfigRecord)
        fields = dict(content["noren"]) if is_ours else {}
        honest = fields["payload"] if list(fields) == ["payload"] else None
        expected = honest if type(honest) is bytes and honest else None
        try:
            found = client._parse_payload(Message(RecordDict(content), 1, "train"))
        except RemoteProtocolError:
            found = None
        assert found == expected
        assert server._payload(RecordDict(content)) == expected

    try_out(find, 200, content=contents)
