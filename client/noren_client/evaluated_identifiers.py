"""Evaluated identifiers of one campaign: what the company asks the platform's keyed function, and keeps.

docs/protocol.md §1.3 and §1.5. Promises: the platform sees one batch of one fixed size per table, whoever the
applicants are and however many; an output exists only after its proof held under the key that the ledger
shows. Every evaluation counts against the plan, so neither a lost answer nor a crash loses one: a batch is on
disk before it is sent and sent again, the same bytes, until its outputs are kept for the campaign.

    oprf.json       outputs by hash of the identifier, and which batches they came from
    blinding.json   exists while a batch is on its way: its blinds, so that the answer can be opened

Both are secrets of the company (`noren_client.company_secrets`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
from noren_core.ids import TableKind
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal

DUMMY_LABEL = b"dummy\0"
DUMMY_BYTES = 32


class EvaluatedIdentifiers:
    """The OPRF outputs of one accepted campaign."""

    def __init__(self, company_dir: Path, plan: CampaignPlan, platform: PlatformClient) -> None:
        self._company_dir = company_dir
        self._plan = plan
        self._platform = platform
        self._company = keystore.load(company_dir).company

    def outputs(self, kind: TableKind, identifiers: Sequence[bytes], public_key: bytes) -> dict[bytes, bytes]:
        """The OPRF output of every identifier, from the campaign's file or evaluated now.

        1. Complete a batch that an earlier call began, whichever table it was for.
        2. Begin and complete a batch for what is still missing; also for nothing, if there was none for this
           table, so that the number of batches tells the platform nothing.

        Args:
            kind: the table that the outputs are for.
            identifiers: normalised, distinct.
            public_key: of our key in this campaign, from the ledger.

        Raises:
            DataError: with code MORE_THAN_DECLARED, for more than fit in a batch; nothing was sent.
            BudgetExceededError: with code EVALUATION_LIMIT, if the plan has no batch left for this.
            VerificationError: if the answer is not one under `public_key`; the batch is sent again next time.
        """
        with self._alone():
            kept = _KeptOutputs.load(self._company_dir, self._plan.campaign, public_key)
            batch = _Batch.load(self._company_dir, self._plan.campaign)  # 1
            if batch is not None:
                self._complete(batch, kept, public_key)
            missing = [identifier for identifier in identifiers if identifier not in kept]
            if missing or kind.value not in kept.batches.values():  # 2
                self._check_batches_left(kind, kept)
                self._complete(self._begin(kind, missing), kept, public_key)
            return {identifier: kept[identifier] for identifier in identifiers}

    def _check_batches_left(self, kind: TableKind, kept: _KeptOutputs) -> None:
        """Keep one of the plan's batches for scoring, however often the training file changes."""
        member, used = self._plan.member(self._company), list(kept.batches.values())
        reserved = 1 if kind is TableKind.TRAIN and TableKind.SCORE.value not in used else 0
        if (len(used) + 1 + reserved) * member.padded_batch > member.evaluations:
            raise BudgetExceededError(
                "alignment: expected an evaluation left for each table, another batch would use it up",
                code=Refusal.EVALUATION_LIMIT,
            )

    def _begin(self, kind: TableKind, identifiers: Sequence[bytes]) -> _Batch:
        """One batch of blinded identifiers and random dummies, on disk before anything is sent."""
        size = self._plan.member(self._company).padded_batch
        if len(identifiers) > size:
            raise DataError(
                f"alignment: expected at most the declared {size} applicants, got {len(identifiers)}",
                code="MORE_THAN_DECLARED",
            )
        dummies = [DUMMY_LABEL + secrets.token_bytes(DUMMY_BYTES) for _ in range(size - len(identifiers))]
        batch = _Batch(kind, oprf.blind([*identifiers, *dummies]))
        batch.keep(self._company_dir, self._plan.campaign)
        return batch

    def _complete(self, batch: _Batch, kept: _KeptOutputs, public_key: bytes) -> None:
        """Send a batch, for the first time or again, and keep its outputs.

        1. Send, unless a crash came between steps 3 and 4.
        2. Verify and unblind.
        3. Keep the outputs of the identifiers, without the dummies'.
        4. Forget the blinds.
        """
        blinding = batch.blinding
        if batch.digest not in kept.batches:
            evaluated, proof = self._platform.evaluate(self._plan.campaign, blinding.blinded_elements)  # 1
            outputs = dict(  # 2
                zip(blinding.inputs, oprf.finalize(blinding, evaluated, proof, public_key), strict=True)
            )
            kept.add(batch, {key: outputs[key] for key in outputs if not key.startswith(DUMMY_LABEL)})  # 3
        batch.forget(self._company_dir, self._plan.campaign)  # 4

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


@dataclass(frozen=True, slots=True)
class _Batch:
    """`blinding.json`: one batch from before it is sent until its outputs are kept."""

    kind: TableKind
    blinding: Blinding

    @property
    def digest(self) -> str:
        return hashlib.sha256(b"".join(self.blinding.blinded_elements)).hexdigest()

    @classmethod
    def load(cls, company_dir: Path, campaign: str) -> _Batch | None:
        """The batch that is on its way, if there is one."""
        content = keystore.read_secret(company_dir, _batch_name(campaign))
        if content is None:
            return None
        try:
            body = canonical_json.parse_object(content)
            return cls(TableKind(body["kind"]), Blinding.from_bytes(bytes.fromhex(body["blinding"])))
        except (NorenError, KeyError, TypeError, ValueError) as error:
            raise ConfigurationError("blinding.json: expected what was sent, got another file") from error

    def keep(self, company_dir: Path, campaign: str) -> None:
        """Write it down, replacing nothing: `EvaluatedIdentifiers` completes one before it begins another."""
        body = {"blinding": self.blinding.to_bytes().hex(), "kind": self.kind.value}
        keystore.write_secret(company_dir, _batch_name(campaign), canonical_json.encode(body))

    def forget(self, company_dir: Path, campaign: str) -> None:
        """Remove the file, and overwrite the blinds in memory."""
        keystore.remove_secret(company_dir, _batch_name(campaign))
        self.blinding.wipe()


class _KeptOutputs:
    """`oprf.json`: evaluated identifiers of a campaign, by hash, and for which tables batches were sent."""

    def __init__(
        self,
        company_dir: Path,
        name: str,
        public_key: bytes,
        batches: dict[str, str],
        outputs: dict[str, bytes],
    ) -> None:
        self._company_dir = company_dir
        self._name = name
        self._public_key = public_key
        self.batches = batches  # digest -> kind of table
        self._outputs = outputs

    @classmethod
    def load(cls, company_dir: Path, campaign: str, public_key: bytes) -> _KeptOutputs:
        """What was kept under this key; VerificationError if it was kept under another."""
        name = f"campaigns/{campaign}/oprf.json"
        content = keystore.read_secret(company_dir, name)
        if content is None:
            return cls(company_dir, name, public_key, {}, {})
        try:
            body = canonical_json.parse_object(content)
            outputs = {key: bytes.fromhex(value) for key, value in body["outputs"].items()}
            batches = {str(digest): TableKind(kind).value for digest, kind in body["batches"].items()}
            kept_key = bytes.fromhex(body["public_key"])
        except (NorenError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigurationError("oprf.json: expected what alignment kept, got another file") from error
        if kept_key != public_key:
            raise VerificationError("alignment: expected the key of the first alignment, got another")
        return cls(company_dir, name, public_key, batches, outputs)

    def __contains__(self, identifier: bytes) -> bool:
        return _hashed(identifier) in self._outputs

    def __getitem__(self, identifier: bytes) -> bytes:
        return self._outputs[_hashed(identifier)]

    def add(self, batch: _Batch, outputs: Mapping[bytes, bytes]) -> None:
        """Keep verified outputs, on disk before they are used: they are paid for."""
        self._outputs.update({_hashed(identifier): output for identifier, output in outputs.items()})
        self.batches[batch.digest] = batch.kind.value
        body = {
            "batches": self.batches,
            "outputs": {key: output.hex() for key, output in self._outputs.items()},
            "public_key": self._public_key.hex(),
        }
        keystore.write_secret(self._company_dir, self._name, canonical_json.encode(body))


def _batch_name(campaign: str) -> str:
    return f"campaigns/{campaign}/blinding.json"


def _hashed(identifier: bytes) -> str:
    return hashlib.sha256(identifier).hexdigest()
