"""The replay file: everything of one company and campaign that its training can be computed again from.

It is made by `noren-company replay export` for a pipe, holds rows and the noise's seed, and is as sensitive
as both. This reader checks form and bounds only; what the values must be is for `replay`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from noren_core import canonical_json, ids
from noren_core.crypto.revocation_list import SIGNATURE_BYTES
from noren_core.crypto.sealed_table import TAG_BYTES
from noren_core.crypto.secret import Secret, SecretBytes
from noren_core.errors import DataError
from noren_core.privacy.noise_seed import NoiseSeed
from noren_core.season.plan import (
    MAX_COMPANIES,
    MAX_DIMENSIONS,
    MAX_MESSAGE_BYTES,
    MAX_ROUNDS,
    MAX_SENTINELS,
)
from noren_core.season.round_consents import RoundConsents
from noren_core.season.row_commitment import TrainingRow

FORMAT = "noren/v1/replay"
MAX_FILE_BYTES = 256 << 20
MAX_ROWS = 1 << 20

_FIELDS = {
    *("format", "campaign", "company", "seed", "row_salt", "commitment_key", "cohort", "dimensions"),
    *("rows", "rounds", "rows_erased"),
}
_ROUND_FIELDS = {
    *("round", "survivors", "gradient", "update"),
    *("revocations", "revocations_signature", "consents_salt"),
}
_HEX_32 = re.compile(r"[0-9a-f]{64}\Z")
_HEX = re.compile(r"(?:[0-9a-f]{2})*\Z")
_TAG = re.compile(rf"[0-9a-f]{{{2 * TAG_BYTES}}}\Z")
_INT16 = 1 << 15
_INT64 = 1 << 63


@dataclass(frozen=True, slots=True, repr=False)
class ReplayRound(Secret):
    """A finished round: its survivors, its sum without blinds.

    Attributes:
        update: what the company sent, if anything.
        consents: the revocation list under which it says that it computed it.
    """

    number: int
    survivors: tuple[str, ...]
    gradient: tuple[int, ...]
    update: tuple[int, ...]
    consents: RoundConsents


@dataclass(frozen=True, slots=True, repr=False)
class ReplayFile(Secret):
    """One company's campaign, as it says it was.

    Attributes:
        rows: what it trained on.
        sums: or the opened sums, in a campaign of sealed statistics; then there are no rows.
        rows_erased: whether it says that rows are missing, because they were erased after the training.
    """

    campaign: str
    company: str
    seed: NoiseSeed
    row_salt: SecretBytes
    commitment_key: bytes
    cohort: tuple[str, ...]
    dimensions: int
    rows: tuple[TrainingRow, ...]
    sums: tuple[int, ...] | None
    rows_erased: bool
    rounds: tuple[ReplayRound, ...]


def parse(data: bytes) -> ReplayFile:
    """The replay file in `data`.

    1. Bounded, canonical JSON with exactly these fields; `sums` may be left out.
    2. Names, keys and the cohort.
    3. Rows, each of as many coordinates as `dimensions` says; or as many sums, and no rows.
    4. Rounds, ascending from 1, their sums of that length too.

    Raises:
        DataError: naming the first field that is wrong, without its value.
    """
    # 1
    if len(data) > MAX_FILE_BYTES:
        raise DataError(f"replay file: expected at most {MAX_FILE_BYTES} bytes, got more")
    body = canonical_json.parse_object(data)
    sums = body.pop("sums", None)
    _exactly(body, _FIELDS, "replay file")
    if body["format"] != FORMAT:
        raise DataError(f"replay file: expected format {FORMAT}, got another")
    # 2
    cohort = _names(body["cohort"], "cohort")
    dimensions = _integer(body["dimensions"], "dimensions", 1, MAX_DIMENSIONS)
    most_rows = MAX_ROWS if sums is None else 0
    return ReplayFile(
        campaign=ids.parse_name(body["campaign"], "campaign"),
        company=ids.parse_name(body["company"], "company"),
        seed=NoiseSeed(_secret(body["seed"], "seed")),
        row_salt=SecretBytes(_secret(body["row_salt"], "row_salt")),
        commitment_key=_secret(body["commitment_key"], "commitment_key"),
        cohort=cohort,
        dimensions=dimensions,
        rows=tuple(_row(item, dimensions) for item in _list(body["rows"], "rows", most_rows)),  # 3
        sums=None if sums is None else _integers(sums, "sums", dimensions, _INT64),
        rows_erased=_boolean(body["rows_erased"], "rows_erased"),
        rounds=_rounds(body["rounds"], dimensions),  # 4
    )


def _row(item: Any, dimensions: int) -> TrainingRow:
    _exactly(item, {"tag", "row", "label"}, "rows")
    if not isinstance(item["tag"], str) or not _TAG.match(item["tag"]):
        raise DataError(f"rows.tag: expected {2 * TAG_BYTES} lower-case hex digits")
    coordinates = _integers(item["row"], "rows.row", dimensions, _INT16)
    label = _integer(item["label"], "rows.label", 0, 1)
    return TrainingRow(bytes.fromhex(item["tag"]), coordinates, label)


def _rounds(items: Any, dimensions: int) -> tuple[ReplayRound, ...]:
    rounds = tuple(_round(item, dimensions) for item in _list(items, "rounds", MAX_ROUNDS))
    if [item.number for item in rounds] != list(range(1, len(rounds) + 1)):
        raise DataError("rounds: expected all from 1 on, in ascending order, got others")
    return rounds


def _round(item: Any, dimensions: int) -> ReplayRound:
    _exactly(item, _ROUND_FIELDS, "rounds")
    update = _list(item["update"], "rounds.update", dimensions + 1 + MAX_SENTINELS)
    return ReplayRound(
        number=_integer(item["round"], "rounds.round", 1, MAX_ROUNDS),
        survivors=_names(item["survivors"], "rounds.survivors"),
        gradient=_integers(item["gradient"], "rounds.gradient", dimensions + 1, _INT64),
        update=_integers(update, "rounds.update", len(update), _INT64),
        consents=RoundConsents(
            _bytes(item["revocations"], "rounds.revocations", MAX_MESSAGE_BYTES),
            _bytes(item["revocations_signature"], "rounds.revocations_signature", SIGNATURE_BYTES),
            _secret(item["consents_salt"], "rounds.consents_salt"),
        ),
    )


def _exactly(value: Any, fields: set[str], what: str) -> None:
    if not isinstance(value, dict) or value.keys() != fields:
        raise DataError(f"{what}: expected exactly the fields {', '.join(sorted(fields))}, got others")


def _list(value: Any, what: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise DataError(f"{what}: expected a list of at most {most} items")
    return value


def _names(value: Any, what: str) -> tuple[str, ...]:
    names = tuple(ids.parse_name(item, what) for item in _list(value, what, MAX_COMPANIES))
    if list(names) != sorted(set(names)):
        raise DataError(f"{what}: expected distinct companies in sorted order")
    return names


def _secret(value: Any, what: str) -> bytes:
    if not isinstance(value, str) or not _HEX_32.match(value):
        raise DataError(f"{what}: expected 64 lower-case hex digits")
    return bytes.fromhex(value)


def _bytes(value: Any, what: str, most: int) -> bytes:
    if not isinstance(value, str) or len(value) > 2 * most or not _HEX.match(value):
        raise DataError(f"{what}: expected at most {most} bytes in lower-case hex")
    return bytes.fromhex(value)


def _boolean(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise DataError(f"{what}: expected true or false")
    return value


def _integer(value: Any, what: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise DataError(f"{what}: expected an integer from {low} to {high}")
    return value


def _integers(value: Any, what: str, count: int, limit: int) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) != count:
        raise DataError(f"{what}: expected a list of {count} integers")
    if not all(type(item) is int and -limit <= item < limit for item in value):
        raise DataError(f"{what}: expected integers from -{limit} to {limit - 1}")
    return tuple(value)
