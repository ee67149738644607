"""What a company keeps of one campaign: `campaigns/<campaign>/` in its directory, readable by it alone.

    plan.json       the accepted plan, canonical
    roster.json     the cohort's public keys, from proven enrolment entries
    training.npz    rows (int16, n × d) and labels (int8, n) after alignment
    head.json       the head of the last round, the only model a company ever holds
    scores.json     integer scores, probabilities and bands of its own offerees

Every file is written whole (temporary file, fsync, rename) with mode 0600.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from noren_core import canonical_json, ids
from noren_core.errors import LocalProtocolError, NorenError
from noren_core.season.plan import CampaignPlan


def directory(company_dir: Path, campaign: str) -> Path:
    """The campaign's directory, made on first use."""
    path = company_dir / "campaigns" / ids.parse_name(campaign, "campaign")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def write_private(path: Path, data: bytes) -> None:
    """Write a whole file with mode 0600, or leave what was there."""
    temporary = path.with_name(path.name + ".part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def save_plan(company_dir: Path, plan: CampaignPlan) -> None:
    """Keep an accepted plan."""
    write_private(directory(company_dir, plan.campaign) / "plan.json", canonical_json.encode(plan.to_body()))


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
    signing = {company: bytes.fromhex(keys["signing"]) for company, keys in body.items()}
    return signing, {company: bytes.fromhex(keys["sealing"]) for company, keys in body.items()}


def save_training_set(
    company_dir: Path, campaign: str, rows: npt.NDArray[np.int16], labels: npt.NDArray[np.int8]
) -> None:
    """Keep the joined training set."""
    buffer = io.BytesIO()
    np.savez(buffer, rows=rows, labels=labels)
    write_private(directory(company_dir, campaign) / "training.npz", buffer.getvalue())


def load_training_set(
    company_dir: Path, campaign: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The joined training set: rows (n, d) still in integer units, labels (n,) of 0 and 1."""
    path = directory(company_dir, campaign) / "training.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            rows, labels = file["rows"], file["labels"]
    except FileNotFoundError as error:
        raise LocalProtocolError(
            "expected a prepared training set: run noren-company prepare first"
        ) from error
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise LocalProtocolError(
            "the training set on disk is damaged: run noren-company prepare again"
        ) from error
    return rows.astype(np.float64), labels.astype(np.float64)


def save_head(company_dir: Path, campaign: str, weights: Sequence[int]) -> None:
    """Keep the released head: coordinate weights then bias, as integers scaled by 2^32."""
    body = {"scale": "2^32", "weights": [str(weight) for weight in weights]}
    write_private(directory(company_dir, campaign) / "head.json", canonical_json.encode(body))


def load_head(company_dir: Path, campaign: str) -> tuple[int, ...]:
    """The released head; LocalProtocolError before the last round."""
    body = _load(company_dir, campaign, "head.json", "take part in the training rounds first")
    return tuple(int(weight) for weight in body["weights"])


def _load(company_dir: Path, campaign: str, name: str, missing: str) -> dict[str, Any]:
    path = directory(company_dir, campaign) / name
    try:
        return canonical_json.parse_object(path.read_bytes())
    except FileNotFoundError as error:
        raise LocalProtocolError(f"expected {name} of this campaign: {missing}") from error
    except NorenError as error:
        raise LocalProtocolError(f"{name} of this campaign is damaged: {missing}") from error
