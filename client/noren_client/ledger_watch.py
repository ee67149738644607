"""What this company has seen of the ledger, and its refusal to see anything else.

    platform/checkpoint           the newest checkpoint that was verified
    platform/earlier/<size>       the few before it
    platform/companies.json       the signing key of every company whose enrolment was proven
    platform/evidence/…           two signed checkpoints that contradict each other, if that ever happens

Promises: the checkpoint only moves forward, by proof; it is on disk before what was proven is used; a
company has one key for ever; a split view is refused and kept as evidence that anybody can verify.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noren_client import config, keystore
from noren_client.campaign_files import write_private
from noren_core import canonical_json
from noren_core.errors import LocalProtocolError, NorenError, VerificationError
from noren_core.ledger.checkpoint import open_checkpoint
from noren_core.ledger.entries import EntryKind, SignedEntry
from noren_core.ledger.proofs import (
    LedgerKeys,
    LedgerProof,
    SplitViewError,
    VerifiedEntry,
    VerifiedProof,
    verify_growth,
    verify_ledger_proof,
)

_KEPT_EARLIER = 8


class LedgerWatch:
    """The ledger as one company knows it; safe for several processes of that company."""

    def __init__(self, company_dir: Path) -> None:
        keys = keystore.load(company_dir)
        self._directory = company_dir / "platform"
        self._pins = config.load(company_dir).pins
        self._own = {keys.company: keys.signing.public_key}

    @property
    def known_tree_size(self) -> int:
        """The size of the newest checkpoint kept, for the next request; 0 before the first."""
        known = self._known()
        return 0 if known is None else open_checkpoint(known, self._pins.log_key).size

    def verify(self, proof: LedgerProof) -> tuple[SignedEntry, ...]:
        """The entries that `proof` shows, in the ledger's order; see `accept`."""
        return tuple(item.entry for item in self.accept(proof))

    def accept(self, proof: LedgerProof) -> tuple[VerifiedEntry, ...]:
        """The entries that `proof` shows, with their indices.

        1. Take the lock: no other process of ours moves the checkpoint meanwhile.
        2. Verify everything against the checkpoint and the keys on disk.
        3. Keep the new checkpoint and the keys that were learnt; only then answer.

        Raises:
            SplitViewError: if the ledger did not simply grow; both checkpoints are kept as evidence.
            LocalProtocolError: with code STALE_PROOF, if the proof begins at a checkpoint older than the
                newest because another process of ours moved it; ask again.
            VerificationError: if anything else does not verify; nothing is kept.
        """
        with self._locked():  # 1
            known = self._known()
            learnt = self._companies()
            verified = self._verified(proof, known, learnt)  # 2
            self._keep(proof.checkpoint, known)  # 3
            self._keep_companies(verified, learnt)
        return verified.entries

    def _verified(self, proof: LedgerProof, known: bytes | None, learnt: dict[str, bytes]) -> VerifiedProof:
        keys = LedgerKeys(self._pins.log_key, self._pins.platform_key, {**learnt, **self._own})
        try:
            return verify_ledger_proof(proof, known=known, keys=keys)
        except SplitViewError as error:
            if self._begins_earlier(proof):
                raise LocalProtocolError(
                    "ledger: expected a proof from our newest checkpoint, got one from an earlier one",
                    code="STALE_PROOF",
                ) from error
            self._keep_evidence(error)
            raise

    def _begins_earlier(self, proof: LedgerProof) -> bool:
        """Whether the proof extends a checkpoint that we kept before the newest."""
        for path in self._earlier():
            try:
                verify_growth(
                    known=path.read_bytes(),
                    presented=proof.checkpoint,
                    consistency=proof.consistency,
                    log_key=self._pins.log_key,
                )
            except VerificationError:
                continue
            return True
        return False

    def _keep(self, checkpoint: bytes, known: bytes | None) -> None:
        if known is not None:
            size = open_checkpoint(known, self._pins.log_key).size
            (self._directory / "earlier").mkdir(mode=0o700, exist_ok=True)
            write_private(self._directory / "earlier" / str(size), known)
            for path in self._earlier()[:-_KEPT_EARLIER]:
                path.unlink()
        write_private(self._directory / "checkpoint", checkpoint)

    def _keep_companies(self, verified: VerifiedProof, learnt: dict[str, bytes]) -> None:
        proven = {
            item.entry.author: bytes.fromhex(item.entry.body["signing_key"])
            for item in verified.entries
            if item.entry.kind is EntryKind.ENROLMENT
        }
        if not proven.items() <= learnt.items():
            known = {company: key.hex() for company, key in {**learnt, **proven}.items()}
            write_private(self._directory / "companies.json", canonical_json.encode(known))

    def _keep_evidence(self, error: SplitViewError) -> None:
        directory = self._directory / "evidence"
        directory.mkdir(mode=0o700, exist_ok=True)
        name = hashlib.sha256(error.known + error.presented).hexdigest()[:16]
        evidence = {"known": error.known.decode(), "presented": error.presented.decode()}
        write_private(directory / f"split-view-{name}.json", canonical_json.encode(evidence))

    def _known(self) -> bytes | None:
        path = self._directory / "checkpoint"
        return path.read_bytes() if path.exists() else None

    def _earlier(self) -> list[Path]:
        """Kept earlier checkpoints, oldest first."""
        found = (path for path in (self._directory / "earlier").glob("*") if path.name.isdigit())
        return sorted(found, key=lambda path: int(path.name))

    def _companies(self) -> dict[str, bytes]:
        path = self._directory / "companies.json"
        if not path.exists():
            return {}
        try:
            known = canonical_json.parse_object(path.read_bytes())
            return {company: bytes.fromhex(key) for company, key in known.items()}
        except (NorenError, TypeError, ValueError) as error:
            raise VerificationError("platform/companies.json: expected the keys that we kept") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
