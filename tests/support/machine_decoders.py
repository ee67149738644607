"""Decoders of what a company's machine is told of its network and of hand-overs, for `decoders.DECODERS`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hostile_input as shapes

from noren_client import inertness, outbound
from noren_core import canonical_json

_MARK = {
    "format": "noren/v1/handed-over",
    "hand_over": "00" * 16,
    "company": "company-1",
    "handed_over_at": 1_800_000_000,
}


def _mark(data: bytes, place: Any) -> Any:
    directory: Path = place.directory
    (directory / inertness.FILE_NAME).write_bytes(data)
    return inertness.read(directory)


FIELDS: tuple[dict[str, Any], ...] = (
    {
        "name": "noren_client.outbound.parse_proxy",
        "shape": shapes.Text(),
        "valid": lambda _: ["http://taro:secret@proxy.example:8080", "proxy:1", "http://[::1]:3128/"],
        "decode": lambda value, _: outbound.parse_proxy(value),
    },
    {
        "name": "noren_client.inertness.read",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [canonical_json.encode(_MARK)],
        "decode": _mark,
    },
)

EXEMPT = {
    "noren_client.config.load_inert": "what config.load does, which is here",
    "noren_client.inertness.verify_active": "asks whether a file is there; read, which is here, opens it",
    "noren_client.setup.hand_over.read_state": "inertness.read, which is here",
    "noren_client.setup.hand_over.verify": (
        "0.15 s of Argon2id for each try, and every block after it is authenticated; "
        "tests/client/setup/test_hand_over.py breaks each part"
    ),
}
