"""What a company keeps of one campaign: `campaigns/<campaign>/` in its directory, readable by it alone.

    plan.json       the accepted plan, canonical
    roster.json     the cohort's public keys, from proven enrolment entries
    weights.bin     key and weights of the message of sealed statistics (`sealed_statistics`)
    sums.json       what came of it (`opened_sums`)
    head.json       the head of the last round, the only model a company ever holds
    decisions-…     sealed decisions with all that opens them (`gate.decisions`)
    scored.json     whose band lies in which custody record (`gate.score_records`)

The first two are public; all others are secrets of the company, sealed if its directory is protected
(`company_secrets`). Every file is written whole (temporary file, fsync, rename) with mode 0600. Two others
that lie here hold only what the platform serves: `table-<kind>.download` (`partial_table`), which is no whole
file, and `revocations-<kind>.bin` (`revocations`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noren_client import keystore
from noren_client.opened_sums import OpenedSums
from noren_client.rights.custody import CustodyStore, record_name
from noren_client.training_set import TrainingSet
from noren_core import canonical_json, ids
from noren_core.errors import DataError, LocalProtocolError, NorenError, VerificationError
from noren_core.rights.erasure.artefacts import ArtefactClass
from noren_core.season.plan import CampaignPlan, TrainingMode
from noren_local.private_file import write_private

SUMS_FILE = "sums.json"


def directory(company_dir: Path, campaign: str) -> Path:
    """The campaign's directory, made on first use."""
    path = company_dir / "campaigns" / ids.parse_name(campaign, "campaign")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def secret_name(campaign: str, file: str) -> str:
    """What a secret file of the campaign is called in the company's keystore."""
    return f"campaigns/{ids.parse_name(campaign, 'campaign')}/{file}"


def save_plan(company_dir: Path, plan: CampaignPlan) -> None:
    """Keep an accepted plan."""
    write_private(directory(company_dir, plan.campaign) / "plan.json", canonical_json.encode(plan.to_body()))


def accepted(company_dir: Path) -> list[str]:
    """The campaigns whose plan is kept here."""
    return sorted(path.parent.name for path in (company_dir / "campaigns").glob("*/plan.json"))


def load_plan(company_dir: Path, campaign: str) -> CampaignPlan:
    """The plan this company accepted; LocalProtocolError if it accepted none."""
    return CampaignPlan.from_body(_load(company_dir, campaign, "plan.json", "accept the plan first"))


def save_roster(
    company_dir: Path, campaign: str, *, signing: Mapping[str, bytes], sealing: Mapping[str, bytes]
) -> None:
    """Keep the cohort's public keys."""
    body = {c: {"sealing": sealing[c].hex(), "signing": signing[c].hex()} for c in sorted(signing)}
    write_private(directory(company_dir, campaign) / "roster.json", canonical_json.encode(body))


def load_roster(company_dir: Path, campaign: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The cohort's signing and sealing public keys, by company."""
    body = _load(company_dir, campaign, "roster.json", "accept the plan first")
    try:
        signing = {company: bytes.fromhex(keys["signing"]) for company, keys in body.items()}
        return signing, {company: bytes.fromhex(keys["sealing"]) for company, keys in body.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged("roster.json", "accept the plan first") from error


def save_training_set(company_dir: Path, campaign: str, training_set: TrainingSet) -> None:
    """Keep the joined training set."""
    with CustodyStore(company_dir) as custody:
        custody.write(training_record(campaign), training_set.to_bytes())


def load_training_set(company_dir: Path, campaign: str) -> TrainingSet:
    """The joined training set; LocalProtocolError before the campaign is prepared."""
    try:
        with CustodyStore(company_dir) as custody:
            kept = custody.read(training_record(campaign))
        if kept is not None:
            return TrainingSet.from_bytes(kept)
    except (DataError, VerificationError) as error:
        raise _damaged("training set", "run noren-company prepare again") from error
    raise LocalProtocolError("expected a prepared training set: run noren-company prepare first")


def training_tags(company_dir: Path, campaign: str) -> frozenset[bytes]:
    """The tags of the training rows that are still kept; none after all of them were erased.

    Raises:
        LocalProtocolError: if what is kept is damaged.
        CustodianUnavailableError: if the custodian does not answer: then nobody can say what was erased.
    """
    try:
        with CustodyStore(company_dir) as custody:
            kept = custody.read(training_record(campaign))
        return frozenset() if kept is None else frozenset(TrainingSet.from_bytes(kept).tags)
    except LocalProtocolError as error:
        if error.code not in ("KEY_DESTROYED", "UNKNOWN_HANDLE"):
            raise
        return frozenset()
    except (DataError, VerificationError) as error:
        raise _damaged("training set", "run noren-company prepare again") from error


def forget_training_set(company_dir: Path, campaign: str) -> None:
    """Remove the joined training set and destroy its key; a second call changes nothing."""
    with CustodyStore(company_dir) as custody:
        custody.destroy(training_record(campaign))


def training_record(campaign: str) -> str:
    """What the training set's custody record is called."""
    return record_name(campaign, ArtefactClass.TRAIN_ROW, "rows")


def save_sums(company_dir: Path, campaign: str, sums: OpenedSums) -> None:
    """Keep the opened sums."""
    body = {"sums": list(sums.values)}
    keystore.write_secret(company_dir, secret_name(campaign, SUMS_FILE), canonical_json.encode(body))


def load_sums(company_dir: Path, campaign: str) -> OpenedSums:
    """The opened sums; LocalProtocolError before the campaign is prepared."""
    kept = keystore.read_secret(company_dir, secret_name(campaign, SUMS_FILE))
    body = _parse(kept, SUMS_FILE, "run noren-company prepare first")
    values = body.get("sums")
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise _damaged(SUMS_FILE, "run noren-company prepare again")
    return OpenedSums(tuple(values))


def load_material(company_dir: Path, plan: CampaignPlan) -> TrainingSet | OpenedSums:
    """What the plan's mode trains on; LocalProtocolError before the campaign is prepared."""
    if plan.mode is TrainingMode.NOISED_ROWS:
        return load_training_set(company_dir, plan.campaign)
    return load_sums(company_dir, plan.campaign)


def save_head(company_dir: Path, campaign: str, weights: Sequence[int]) -> None:
    """Keep the released head: coordinate weights then bias, as integers scaled by 2^32."""
    body = {"scale": "2^32", "weights": [str(weight) for weight in weights]}
    keystore.write_secret(company_dir, secret_name(campaign, "head.json"), canonical_json.encode(body))


def load_head(company_dir: Path, campaign: str) -> tuple[int, ...]:
    """The released head; LocalProtocolError before the last round."""
    kept = keystore.read_secret(company_dir, secret_name(campaign, "head.json"))
    body = _parse(kept, "head.json", "take part in the training rounds first")
    try:
        return tuple(int(weight) for weight in body["weights"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged("head.json", "take part in the training rounds first") from error


def _load(company_dir: Path, campaign: str, name: str, missing: str) -> dict[str, Any]:
    path = directory(company_dir, campaign) / name
    return _parse(path.read_bytes() if path.exists() else None, name, missing)


def _parse(data: bytes | None, name: str, missing: str) -> dict[str, Any]:
    if data is None:
        raise LocalProtocolError(f"expected {name} of this campaign: {missing}")
    try:
        return canonical_json.parse_object(data)
    except NorenError as error:
        raise _damaged(name, missing) from error


def _damaged(name: str, remedy: str) -> LocalProtocolError:
    return LocalProtocolError(f"{name} of this campaign is damaged: {remedy}")
