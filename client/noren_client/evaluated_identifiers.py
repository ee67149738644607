"""Evaluated identifiers of one campaign: what the company asks the platform's keyed function, and keeps.

docs/protocol.md §1.3 and §1.5. Promises: the platform sees batches of one fixed size, whoever the applicants
are and however many; an output exists only after its proof held under the key that the ledger shows, and the
tables for training and scoring have a key each, so that what was evaluated for one opens no row of the other.
Every evaluation counts against the plan, so neither a lost answer nor a crash loses one: a batch for training
is on disk before it is sent and sent again, the same bytes, until its outputs are kept for the campaign. A
batch for scoring is part of a decision batch, which keeps it (`noren_client.gate.decisions`).

    oprf-train.json, oprf-score.json    outputs by hash of the identifier, and of which batches they are
    blinding.json                       exists while a batch for training is on its way: its blinds

All are secrets of the company (`noren_client.company_secrets`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from noren_client import campaign_files, keystore
from noren_client.transport import PlatformClient
from noren_core import canonical_json
from noren_core.crypto import oprf
from noren_core.crypto.oprf import Blinding
from noren_core.errors import (
    BudgetExceededError,
    ConfigurationError,
    DataError,
    NorenError,
    VerificationError,
)
from noren_core.ids import DUMMY_BYTES, DUMMY_LABEL, TableKind, is_dummy
from noren_core.rights.gate.decision_batch import evaluation_sha256
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal

Evaluated = tuple[Sequence[bytes], bytes]
"""Evaluated elements and the proof of their key."""


class EvaluatedIdentifiers:
    """The OPRF outputs of one accepted campaign."""

    def __init__(self, company_dir: Path, plan: CampaignPlan, platform: PlatformClient) -> None:
        self._company_dir = company_dir
        self._plan = plan
        self._platform = platform
        self._company = keystore.load(company_dir).company

    def outputs(self, kind: TableKind, identifiers: Sequence[bytes], public_key: bytes) -> dict[bytes, bytes]:
        """The OPRF output of every identifier under the key of a table.

        For training what is missing is evaluated now. For scoring nothing is sent here: there are outputs for
        those only whose decision batch was evaluated (`evaluate_decisions`).

        Args:
            kind: the table that the outputs are for.
            identifiers: normalised, distinct.
            public_key: of our key for this table, from the ledger.

        Raises:
            DataError: with code MORE_THAN_DECLARED, for more than fit in a batch; nothing was sent.
            BudgetExceededError: with code EVALUATION_LIMIT, if the plan has no batch left for this.
            VerificationError: if the answer is not one under `public_key`; the batch is sent again next time.
        """
        with self._alone():
            kept = _KeptOutputs.load(self._company_dir, self._plan.campaign, kind, public_key)
            if kind is TableKind.TRAIN:
                self._evaluate_missing(kept, identifiers, public_key)
            return {identifier: kept[identifier] for identifier in identifiers if identifier in kept}

    def evaluate_decisions(
        self, blinding: Blinding, public_key: bytes, *, ask: Callable[[Sequence[bytes]], Evaluated]
    ) -> None:
        """Keep the outputs of a decision batch, unless they are kept already.

        Args:
            blinding: of the batch, as it was committed to; its blinds stay as they are, for the auditor.
            public_key: of our key for the score table, from the ledger.
            ask: sends the elements; the evaluated ones and their proof.

        Raises:
            VerificationError: if the answer is not one under `public_key`; nothing is kept.
        """
        with self._alone():
            kept = _KeptOutputs.load(self._company_dir, self._plan.campaign, TableKind.SCORE, public_key)
            digest = _digest(blinding)
            if digest not in kept.batches:
                evaluated, proof = ask(blinding.blinded_elements)
                kept.add(digest, _finalized(blinding, evaluated, proof, public_key))

    def _evaluate_missing(self, kept: _KeptOutputs, identifiers: Sequence[bytes], public_key: bytes) -> None:
        """Have everything evaluated that is not kept.

        1. Complete a batch that an earlier call began.
        2. Begin and complete a batch for what is still missing; also for nothing, if there was none so far,
           so that the number of batches tells the platform nothing.
        """
        blinding = _load_batch(self._company_dir, self._plan.campaign)  # 1
        if blinding is not None:
            self._complete(blinding, kept, public_key)
        missing = [identifier for identifier in identifiers if identifier not in kept]
        if missing or not kept.batches:  # 2
            self._check_batches_left(kept)
            self._complete(self._begin(missing), kept, public_key)

    def _check_batches_left(self, kept: _KeptOutputs) -> None:
        member = self._plan.member(self._company)
        if (len(kept.batches) + 1) * member.padded_batch > member.evaluations:
            raise BudgetExceededError(
                "alignment: expected an evaluation left for the table, another batch would be too many",
                code=Refusal.EVALUATION_LIMIT,
            )

    def _begin(self, identifiers: Sequence[bytes]) -> Blinding:
        """One batch of blinded identifiers and random dummies, on disk before anything is sent."""
        blinding = oprf.blind(padded(identifiers, size=self._plan.member(self._company).padded_batch))
        body = {"blinding": blinding.to_bytes().hex()}
        name = _batch_name(self._plan.campaign)
        keystore.write_secret(self._company_dir, name, canonical_json.encode(body))
        return blinding

    def _complete(self, blinding: Blinding, kept: _KeptOutputs, public_key: bytes) -> None:
        """Send a batch, for the first time or again, and keep its outputs.

        1. Send, unless a crash came between steps 3 and 4.
        2. Verify and unblind.
        3. Keep the outputs of the identifiers, without the dummies'.
        4. Forget the blinds, on disk and in memory.
        """
        if _digest(blinding) not in kept.batches:
            evaluated, proof = self._platform.evaluate(self._plan.campaign, blinding.blinded_elements)  # 1
            kept.add(_digest(blinding), _finalized(blinding, evaluated, proof, public_key))  # 2, 3
        keystore.remove_secret(self._company_dir, _batch_name(self._plan.campaign))  # 4
        blinding.wipe()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two processes must not spend two batches on the same identifiers, or lose each other's outputs."""
        directory = campaign_files.directory(self._company_dir, self._plan.campaign)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class _KeptOutputs:
    """`oprf-<kind>.json`: evaluated identifiers of one table, by hash, and the batches that were sent."""

    def __init__(
        self,
        company_dir: Path,
        name: str,
        public_key: bytes,
        batches: set[str],
        outputs: dict[str, bytes],
    ) -> None:
        self._company_dir = company_dir
        self._name = name
        self._public_key = public_key
        self.batches = batches
        self._outputs = outputs

    @classmethod
    def load(cls, company_dir: Path, campaign: str, kind: TableKind, public_key: bytes) -> _KeptOutputs:
        """What was kept under this key; VerificationError if it was kept under another."""
        name = _outputs_name(campaign, kind)
        content = keystore.read_secret(company_dir, name)
        if content is None:
            return cls(company_dir, name, public_key, set(), {})
        try:
            body = canonical_json.parse_object(content)
            outputs = {key: bytes.fromhex(value) for key, value in body["outputs"].items()}
            batches = {str(digest) for digest in body["batches"]}
            kept_key = bytes.fromhex(body["public_key"])
        except (NorenError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"oprf-{kind.value}.json: expected what alignment kept, got another file"
            ) from error
        if kept_key != public_key:
            raise VerificationError("alignment: expected the key of the first alignment, got another")
        return cls(company_dir, name, public_key, batches, outputs)

    def __contains__(self, identifier: bytes) -> bool:
        return hashed(identifier) in self._outputs

    def __getitem__(self, identifier: bytes) -> bytes:
        return self._outputs[hashed(identifier)]

    def add(self, batch: str, outputs: Mapping[bytes, bytes]) -> None:
        """Keep verified outputs, on disk before they are used: they are paid for."""
        self._outputs.update({hashed(identifier): output for identifier, output in outputs.items()})
        self.batches.add(batch)
        body = {
            "batches": sorted(self.batches),
            "outputs": {key: output.hex() for key, output in self._outputs.items()},
            "public_key": self._public_key.hex(),
        }
        keystore.write_secret(self._company_dir, self._name, canonical_json.encode(body))


def kept_outputs(company_dir: Path, campaign: str, kind: TableKind) -> dict[str, bytes]:
    """The outputs that are kept for a table, by hash of the identifier; for whoever erases some of them."""
    body = _kept_body(company_dir, campaign, kind)
    return {} if body is None else {key: bytes.fromhex(value) for key, value in body["outputs"].items()}


def forget_outputs(company_dir: Path, campaign: str, kind: TableKind, hashes: Collection[str]) -> None:
    """Put random bytes in the place of the outputs under these hashes.

    Such an identifier counts as evaluated, so no evaluation is spent on it again, and opens no row: it looks
    like that of somebody who never consented.
    """
    body = _kept_body(company_dir, campaign, kind)
    if body is None:
        return
    for key in set(hashes) & body["outputs"].keys():
        body["outputs"][key] = secrets.token_bytes(len(body["outputs"][key]) // 2).hex()
    keystore.write_secret(company_dir, _outputs_name(campaign, kind), canonical_json.encode(body))


def _kept_body(company_dir: Path, campaign: str, kind: TableKind) -> dict[str, Any] | None:
    content = keystore.read_secret(company_dir, _outputs_name(campaign, kind))
    return None if content is None else canonical_json.parse_object(content)


def _outputs_name(campaign: str, kind: TableKind) -> str:
    return campaign_files.secret_name(campaign, f"oprf-{kind.value}.json")


def padded(identifiers: Sequence[bytes], *, size: int) -> list[bytes]:
    """The identifiers and random dummies, `size` in all.

    Raises:
        DataError: with code MORE_THAN_DECLARED, if there are more identifiers than that.
    """
    if len(identifiers) > size:
        raise DataError(
            f"alignment: expected at most the declared {size} applicants, got {len(identifiers)}",
            code="MORE_THAN_DECLARED",
        )
    dummies = [DUMMY_LABEL + secrets.token_bytes(DUMMY_BYTES) for _ in range(size - len(identifiers))]
    return [*identifiers, *dummies]


def _finalized(
    blinding: Blinding, evaluated: Sequence[bytes], proof: bytes, public_key: bytes
) -> dict[bytes, bytes]:
    """The verified outputs of the identifiers, without the dummies'."""
    outputs = zip(blinding.inputs, oprf.finalize(blinding, evaluated, proof, public_key), strict=True)
    return {value: output for value, output in outputs if not is_dummy(value)}


def _load_batch(company_dir: Path, campaign: str) -> Blinding | None:
    """The batch for training that is on its way, if there is one."""
    content = keystore.read_secret(company_dir, _batch_name(campaign))
    if content is None:
        return None
    try:
        return Blinding.from_bytes(bytes.fromhex(canonical_json.parse_object(content)["blinding"]))
    except (NorenError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError("blinding.json: expected what was sent, got another file") from error


def _batch_name(campaign: str) -> str:
    return campaign_files.secret_name(campaign, "blinding.json")


def _digest(blinding: Blinding) -> str:
    return evaluation_sha256(blinding.blinded_elements).hex()


def hashed(identifier: bytes) -> str:
    """What an identifier is kept under."""
    return hashlib.sha256(identifier).hexdigest()
