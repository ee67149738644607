"""What a company keeps so that its training can be computed again on its own machine (protocol §4.6).

    custody record <campaign>/replay-row/replay    length of the header(4) ‖ header ‖ the training set, if any

In the mode of sealed statistics the header has the opened sums, and no training set follows.

Whoever has it can subtract the company's noise, so it is as sensitive as the rows, and it never leaves the
machine: `export` is for a pipe into the auditor's program. It is complete whenever a settle was signed, and
no session ever reads it: a campaign is trained once, with a seed that was drawn for it. It goes on demand, or
after the time in which the company wants to be able to answer a dispute.

Rows that a revocation list names are in it until they are erased, since earlier rounds were computed with
them; what was erased is not brought back, and the file says from then on that something is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noren_client import campaign_files, config
from noren_client.opened_sums import OpenedSums
from noren_client.rights.custody import CustodyStore, record_name
from noren_client.training_set import TrainingSet
from noren_core import canonical_json
from noren_core.crypto.secret import Secret
from noren_core.errors import DataError, LocalProtocolError, NorenError, VerificationError
from noren_core.rights.erasure.artefacts import ArtefactClass
from noren_core.season.round_consents import RoundConsents

FORMAT = "noren/v1/replay"
MAX_EXPORT_BYTES = 256 << 20

_SECONDS_PER_DAY = 24 * 60 * 60
_HEADER = {
    *("campaign", "company", "seed", "row_salt", "commitment_key", "cohort", "kept_at", "rounds"),
    "rows_erased",
}
_LENGTH_BYTES = 4
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class ReplayRound(Secret):
    """One finished round: whose sum it was, and the sum without blinds.

    Attributes:
        update: what this company sent; empty if nothing.
        consents: the revocation list under which it was computed.
    """

    round_number: int
    survivors: tuple[str, ...]
    gradient: tuple[int, ...]
    update: tuple[int, ...]
    consents: RoundConsents

    def to_body(self) -> dict[str, Any]:
        """As it stands in the header and in an export."""
        return {
            "round": self.round_number,
            "survivors": list(self.survivors),
            "gradient": list(self.gradient),
            "update": list(self.update),
            "revocations": self.consents.revocations.hex(),
            "revocations_signature": self.consents.signature.hex(),
            "consents_salt": self.consents.salt.hex(),
        }


@dataclass(frozen=True, slots=True, repr=False)
class ReplayData(Secret):
    """Everything that a replay of one campaign needs beside the ledger.

    Attributes:
        material: what was committed to, without rows that were erased since.
        rows_erased: whether there are such rows.
    """

    campaign: str
    company: str
    seed: bytes
    row_salt: bytes
    commitment_key: bytes
    cohort: tuple[str, ...]
    material: TrainingSet | OpenedSums
    rounds: Sequence[ReplayRound] = field(default=())
    rows_erased: bool = False


def save(company_dir: Path, data: ReplayData, *, now: float) -> None:
    """Replace what is kept of the campaign; on disk when this returns. `now` is seconds since 1970."""
    sums = {"sums": list(data.material.values)} if isinstance(data.material, OpenedSums) else {}
    header = canonical_json.encode(
        {
            **sums,
            "campaign": data.campaign,
            "company": data.company,
            "seed": data.seed.hex(),
            "row_salt": data.row_salt.hex(),
            "commitment_key": data.commitment_key.hex(),
            "cohort": list(data.cohort),
            "kept_at": int(now),
            "rounds": [done.to_body() for done in data.rounds],
            "rows_erased": data.rows_erased,
        }
    )
    rows = b"" if isinstance(data.material, OpenedSums) else data.material.to_bytes()
    _write(company_dir, data.campaign, header, rows)


def erase_rows(company_dir: Path, campaign: str, tags: Collection[bytes]) -> bool:
    """Remove the rows with these tags from what is kept of the campaign; whether there were any.

    The same rows must be gone from the training set before: a session that is running takes from there which
    rows it may still write. A campaign of which nothing is kept has none.

    Raises:
        LocalProtocolError: if what is kept is damaged.
    """
    if not is_kept(company_dir, campaign):
        return False
    header, training_set = _load(company_dir, campaign)
    if training_set is None:
        return False
    left = training_set.without(tags)
    if len(left.tags) == len(training_set.tags):
        return False
    header["rows_erased"] = True
    _write(company_dir, campaign, canonical_json.encode(header), left.to_bytes())
    return True


def _write(company_dir: Path, campaign: str, header: bytes, rows: bytes) -> None:
    content = len(header).to_bytes(_LENGTH_BYTES, "big") + header + rows
    with CustodyStore(company_dir) as custody:
        custody.write(replay_record(campaign), content)


def export(company_dir: Path, campaign: str) -> bytes:
    """The replay file: one object in canonical JSON, for the auditor's program on this machine.

    Raises:
        LocalProtocolError: if nothing is kept of this campaign, or it is damaged.
        DataError: if it would be larger than the format allows.
    """
    header, training_set = _load(company_dir, campaign)
    del header["kept_at"]
    committed = [] if training_set is None else training_set.committed_rows()
    rows = [{"tag": row.tag.hex(), "row": list(row.coordinates), "label": row.label} for row in committed]
    dimensions = len(header["sums"]) if training_set is None else training_set.rows.shape[1]
    data = canonical_json.encode({"format": FORMAT, **header, "dimensions": dimensions, "rows": rows})
    if len(data) > MAX_EXPORT_BYTES:
        raise DataError(f"replay: expected at most {MAX_EXPORT_BYTES} bytes, got more")
    return data


def forget(company_dir: Path, campaign: str) -> None:
    """Remove what is kept of the campaign and destroy its key; a second call changes nothing."""
    with CustodyStore(company_dir) as custody:
        custody.destroy(replay_record(campaign))


def is_kept(company_dir: Path, campaign: str) -> bool:
    """Whether anything is kept of the campaign."""
    with CustodyStore(company_dir) as custody:
        return replay_record(campaign) in custody.names(campaign, ArtefactClass.REPLAY_ROW)


def kept_at(company_dir: Path, campaign: str) -> int | None:
    """When something was added last, Unix seconds; None if nothing is kept."""
    if not is_kept(company_dir, campaign):
        return None
    header, _ = _load(company_dir, campaign)
    return int(header["kept_at"])


def replay_record(campaign: str) -> str:
    """What the custody record is called."""
    return record_name(campaign, ArtefactClass.REPLAY_ROW, "replay")


def forget_expired(company_dir: Path, *, now: float) -> None:
    """Remove what was last added to longer ago than the configured dispute window: those campaigns are over.

    A file that cannot be read stays, and is named in the log, for `forget`.
    """
    window_seconds = config.load(company_dir).limits.dispute_days * _SECONDS_PER_DAY
    for campaign in campaign_files.accepted(company_dir):
        if not is_kept(company_dir, campaign):
            continue
        try:
            header, _ = _load(company_dir, campaign)
        except LocalProtocolError as error:
            _LOG.warning("%s: %s", campaign, error.message)
            continue
        if now - header["kept_at"] > window_seconds:
            forget(company_dir, campaign)


def _load(company_dir: Path, campaign: str) -> tuple[dict[str, Any], TrainingSet | None]:
    """The header's fields, and the training set that was committed to; None if it was sums."""
    try:
        with CustodyStore(company_dir) as custody:
            kept = custody.read(replay_record(campaign))
    except VerificationError as error:
        raise _damaged() from error
    if kept is None:
        raise LocalProtocolError("replay: expected a campaign of which a round was finished here, got none")
    end = _LENGTH_BYTES + int.from_bytes(kept[:_LENGTH_BYTES], "big")
    try:
        header = canonical_json.parse_object(kept[_LENGTH_BYTES:end])
        training_set = None if "sums" in header else TrainingSet.from_bytes(kept[end:])
    except NorenError as error:
        raise _damaged() from error
    types = (type(header.get("kept_at")), type(header.get("rows_erased")))
    if header.keys() - {"sums"} != _HEADER or types != (int, bool):
        raise _damaged()
    return header, training_set


def _damaged() -> LocalProtocolError:
    return LocalProtocolError("what a replay of this campaign needs is damaged: noren-company replay forget")
