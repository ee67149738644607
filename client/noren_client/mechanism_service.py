"""The mechanism alone, for whoever certifies it: requests on one stream, updates on another (protocol §4.8).

Everything that a release depends on stands in the request: plan, rows, labels, weights, seed and beacon. So
the answer can be computed again by anybody, and nothing of a company's is needed; in a company's directory
the service does not start.

Loads torch when a request is answered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from noren_client import config
from noren_core import canonical_json
from noren_core.errors import ConfigurationError, DataError, LocalProtocolError, NorenError
from noren_core.privacy.noise_seed import NoiseSeed
from noren_core.season.head import MAX_WEIGHT, WEIGHT_SCALE, row_scale
from noren_core.season.plan import CampaignPlan, TrainingMode

FORMAT = "noren/v1/mechanism"
MAX_REQUEST_BYTES = 16 << 20
MAX_ROWS = 10_000
MAX_RELEASES = 4_096

_FIELDS = {"format", "plan", "companies", "rows", "labels", "releases"}
_RELEASE_FIELDS = {"round", "seed", "beacon", "weights"}
_HEX_32 = re.compile(r"[0-9a-f]{64}\Z")
_INT16 = 1 << 15


@dataclass(frozen=True, slots=True)
class Release:
    """One release that is asked for: its round, what its noise is drawn from, and the head it starts at."""

    round_number: int
    seed: NoiseSeed
    beacon: bytes
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MechanismRequest:
    """Releases of the same rows under the same plan."""

    plan: CampaignPlan
    companies: int
    rows: NDArray[np.float64]
    labels: NDArray[np.int64]
    releases: tuple[Release, ...]


def serve(directory: Path, requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer one line with one line until the requests end.

    Args:
        directory: the company's directory, if there is one.
        requests: canonical JSON, one object per line.
        replies: likewise; an error is an object with `code` and `message`.

    Raises:
        ConfigurationError: if torch and Opacus are not installed beside this program.
        LocalProtocolError: in a company's directory: the service needs no secret and gets none.
        DataError: for a line that is too long; where the next one begins is not known then.
    """
    if any((place / config.FILE_NAME).exists() for place in (directory, Path())):
        raise LocalProtocolError("mechanism: expected a place without a company's files, got a company's")
    if find_spec("torch") is None or find_spec("opacus") is None:
        raise ConfigurationError(
            "mechanism: expected a client's installation, got one without torch: pip install 'noren[client]'"
        )
    while line := requests.readline(MAX_REQUEST_BYTES + 1):
        if len(line) > MAX_REQUEST_BYTES:
            raise DataError(
                f"mechanism: expected lines of at most {MAX_REQUEST_BYTES} bytes, got a longer one"
            )
        replies.write(canonical_json.encode(_reply(line.removesuffix(b"\n"))) + b"\n")
        replies.flush()


def parse_request(data: bytes) -> MechanismRequest:
    """The request in a line.

    1. Canonical JSON with exactly the fields of a request.
    2. A plan, as it would stand in a ledger, that trains on rows; a cohort of no more than its companies.
    3. Rows in the integer units of the plan's release, a label for each.
    4. Releases, each with a seed, a beacon, a round of the plan and a head in range.

    Raises:
        DataError: naming the first field that is wrong.
    """
    # 1
    body = canonical_json.parse_object(data)
    _exactly(body, _FIELDS, "request")
    if body["format"] != FORMAT:
        raise DataError(f"request.format: expected {FORMAT}, got another")
    # 2
    plan = CampaignPlan.from_body(body["plan"])
    if plan.mode is not TrainingMode.NOISED_ROWS:
        raise DataError("request.plan: expected one that trains on rows, got another mode")
    companies = _integer(body["companies"], "companies", 1, len(plan.cohort))
    # 3
    rows, labels = _list(body["rows"], "rows", MAX_ROWS), _list(body["labels"], "labels", MAX_ROWS)
    if len(rows) != len(labels):
        raise DataError("request.labels: expected one for each row, got another number")
    values = [_integers(row, "rows", plan.rows.dimensions, _INT16) for row in rows]
    table = np.array(values, np.float64).reshape(-1, plan.rows.dimensions)
    return MechanismRequest(
        plan,
        companies,
        table / row_scale(plan.rows),
        np.array([_integer(label, "labels", 0, 1) for label in labels], np.int64),
        tuple(_release(item, plan) for item in _list(body["releases"], "releases", MAX_RELEASES)),  # 4
    )


def _reply(line: bytes) -> dict[str, Any]:
    try:
        request = parse_request(line)
        return {"updates": [_update(request, release).tolist() for release in request.releases]}
    except NorenError as error:
        return {"code": error.code, "message": error.message}


def _update(request: MechanismRequest, release: Release) -> NDArray[np.int64]:
    from noren_client.mechanism import noised_update

    return noised_update(
        request.rows,
        request.labels,
        release.weights,
        plan_training=request.plan.training,
        companies=request.companies,
        stream=release.seed.round_stream(
            beacon=release.beacon, campaign=request.plan.campaign, round_number=release.round_number
        ),
    )


def _release(item: Any, plan: CampaignPlan) -> Release:
    _exactly(item, _RELEASE_FIELDS, "releases")
    weights = _integers(
        item["weights"], "releases.weights", plan.rows.dimensions + 1, MAX_WEIGHT * WEIGHT_SCALE
    )
    return Release(
        _integer(item["round"], "releases.round", 1, plan.training.rounds),
        NoiseSeed(_bytes(item["seed"], "releases.seed")),
        _bytes(item["beacon"], "releases.beacon"),
        np.array([weight / WEIGHT_SCALE for weight in weights], np.float64),
    )


def _exactly(value: Any, fields: set[str], what: str) -> None:
    if not isinstance(value, dict) or value.keys() != fields:
        raise DataError(f"{what}: expected exactly the fields {', '.join(sorted(fields))}, got others")


def _list(value: Any, what: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise DataError(f"request.{what}: expected a list of at most {most} items")
    return value


def _integer(value: Any, what: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise DataError(f"request.{what}: expected an integer from {low} to {high}")
    return value


def _integers(value: Any, what: str, count: int, limit: int) -> list[int]:
    if not isinstance(value, list) or len(value) != count:
        raise DataError(f"request.{what}: expected lists of {count} integers")
    if not all(type(item) is int and -limit <= item < limit for item in value):
        raise DataError(f"request.{what}: expected integers from -{limit} to {limit - 1}")
    return value


def _bytes(value: Any, what: str) -> bytes:
    if not isinstance(value, str) or not _HEX_32.match(value):
        raise DataError(f"request.{what}: expected 64 lower-case hex digits")
    return bytes.fromhex(value)
