"""What this company has seen of the ledger, and its refusal to see anything else.

    platform/checkpoint           the newest checkpoint that was verified
    platform/earlier/<size>       the few before it
    platform/key-entries.json     every enrolment, rotation and revocation that was proven, by index
    platform/newest-intent.json   the newest intent of our own that was proven, and its index
    platform/evidence/…           two signed checkpoints that contradict each other, if that ever happens: the
                                  first eight such pairs

Promises: the checkpoint only moves forward, by proof; it is on disk before what was proven is used; whose
key counts where is what the proven entries say, from the invitation's pins on; a change of our own key that
we did not make is refused; a split view is refused and kept as evidence that anybody can verify.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from noren_client import config, keystore
from noren_core import canonical_json
from noren_core.errors import LocalProtocolError, NorenError, VerificationError
from noren_core.ledger.entries import CompanyKey, EntryKind, SignedEntry, parse_entry
from noren_core.ledger.key_history import Anchors, KeyHistory, KeyHistoryError
from noren_core.ledger.proofs import (
    LedgerProof,
    SplitViewError,
    VerifiedEntry,
    VerifiedProof,
    verify_growth,
    verify_ledger_proof,
)
from noren_local.private_file import write_private

_KEPT_EARLIER = 8
_KEPT_EVIDENCE = 8
_KEYS_FILE = "key-entries.json"
_INTENT_FILE = "newest-intent.json"


class LedgerWatch:
    """The ledger as one company knows it; safe for several processes of that company."""

    def __init__(self, company_dir: Path) -> None:
        pins = config.load(company_dir).pins
        self._company_dir = company_dir
        self._directory = company_dir / "platform"
        self._anchors = Anchors(pins.log_key, pins.platform_key)

    @property
    def known_tree_size(self) -> int:
        """The size of the newest checkpoint kept, for the next request; 0 before the first."""
        known = self._known()  # before the keys, which are kept before the checkpoint that needs them
        return 0 if known is None else self._kept_keys().open_checkpoint(known).size

    def newest_checkpoint(self) -> bytes:
        """The newest checkpoint that we verified, for others to compare; LocalProtocolError if none."""
        known = self._known()
        if known is None:
            raise LocalProtocolError("ledger: expected a checkpoint that we verified, got none yet")
        return known

    def keys(self) -> KeyHistory:
        """Every key that was proven to us so far."""
        return self._kept_keys()

    def earlier_signing_keys(self) -> tuple[bytes, ...]:
        """The signing keys that we had before today's, the first one first."""
        ours = keystore.load(self._company_dir)
        every = map(bytes.fromhex, self.keys().keys_of(ours.company, CompanyKey.SIGNING))
        return tuple(takewhile(lambda key: key != ours.signing.public_key, every))

    def newest_intent(self) -> SignedEntry | None:
        """The newest intent of our own, of any campaign, that was proven to us."""
        kept = self._kept_intent()
        return None if kept is None else kept.entry

    def verify(self, proof: LedgerProof) -> tuple[SignedEntry, ...]:
        """The entries that `proof` shows, in the ledger's order; see `accept`."""
        return tuple(item.entry for item in self.accept(proof))

    def accept(self, proof: LedgerProof) -> tuple[VerifiedEntry, ...]:
        """The entries that `proof` shows, with their indices.

        1. Take the lock: no other process of ours moves the checkpoint meanwhile.
        2. Verify everything against the checkpoint and the keys on disk.
        3. The ledger has our own signing key under our name, or the one that we are changing to.
        4. Keep the keys that were learnt and our newest intent, then the new checkpoint; only then answer.

        Raises:
            SplitViewError: if the ledger did not simply grow; both checkpoints are kept as evidence.
            LocalProtocolError: with code STALE_PROOF, if the proof begins at a checkpoint older than the
                newest because another process of ours moved it; ask again.
            VerificationError: if anything else does not verify; nothing is kept.
        """
        with self._locked():  # 1
            known = self._known()
            keys = self._kept_keys()
            verified = self._verified(proof, known, keys)  # 2
            self._verify_own_key(verified)  # 3
            self._keep_keys(verified.keys, keys)  # 4
            self._keep_intent(verified.entries)
            self._keep(proof.checkpoint, known, verified.keys)
        return verified.entries

    def _verified(self, proof: LedgerProof, known: bytes | None, keys: KeyHistory) -> VerifiedProof:
        try:
            return verify_ledger_proof(proof, known=known, keys=keys)
        except SplitViewError as error:
            if self._begins_earlier(proof, keys):
                raise LocalProtocolError(
                    "ledger: expected a proof from our newest checkpoint, got one from an earlier one",
                    code="STALE_PROOF",
                ) from error
            self._keep_evidence(error)
            raise

    def _begins_earlier(self, proof: LedgerProof, keys: KeyHistory) -> bool:
        """Whether the proof extends a checkpoint that we kept before the newest."""
        for path in self._earlier():
            try:
                verify_growth(
                    known=path.read_bytes(),
                    presented=proof.checkpoint,
                    consistency=proof.consistency,
                    keys=keys,
                )
            except VerificationError:
                continue
            return True
        return False

    def _verify_own_key(self, verified: VerifiedProof) -> None:
        """Whoever changes our key in the ledger without us has stolen it, or plays us."""
        ours = keystore.load(self._company_dir)
        try:
            said = verified.keys.key_at(ours.company, CompanyKey.SIGNING, verified.checkpoint.size)
        except KeyHistoryError:
            return  # our enrolment was not shown: no entry in our name verifies either
        if bytes.fromhex(said) not in keystore.own_signing_keys(self._company_dir):
            raise VerificationError(
                "ledger: expected our own signing key under our name, got one that we did not make",
                code="NOT_OUR_KEY",
            )

    def _keep(self, checkpoint: bytes, known: bytes | None, keys: KeyHistory) -> None:
        if known is not None:
            size = keys.open_checkpoint(known).size
            write_private(self._directory / "earlier" / str(size), known)
            for path in self._earlier()[:-_KEPT_EARLIER]:
                path.unlink()
        write_private(self._directory / "checkpoint", checkpoint)

    def _keep_keys(self, proven: KeyHistory, kept: KeyHistory) -> None:
        """Before the checkpoint: with a newer one alone we could not verify what its key signs."""
        if proven is kept:
            return
        body = {str(index): entry.to_bytes().decode() for index, entry in proven.entries.items()}
        write_private(self._directory / _KEYS_FILE, canonical_json.encode(body))

    def _keep_intent(self, proven: Sequence[VerifiedEntry]) -> None:
        """Before the checkpoint: what is not kept with it would not have to be shown again."""
        ours, kept = keystore.load(self._company_dir).company, self._kept_intent()
        found = [item for item in proven if (item.entry.kind, item.entry.author) == (EntryKind.INTENT, ours)]
        newest = max(found, key=lambda item: item.index, default=None)
        if newest is not None and (kept is None or newest.index > kept.index):
            body = {"entry": newest.entry.to_bytes().decode(), "index": newest.index}
            write_private(self._directory / _INTENT_FILE, canonical_json.encode(body))

    def _kept_intent(self) -> VerifiedEntry | None:
        path = self._directory / _INTENT_FILE
        try:
            if not path.exists():
                return None
            kept = canonical_json.parse_object(path.read_bytes())
            return VerifiedEntry(int(kept["index"]), parse_entry(kept["entry"].encode()))
        except (NorenError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise VerificationError(f"platform/{_INTENT_FILE}: expected the intent that we kept") from error

    def _keep_evidence(self, error: SplitViewError) -> None:
        directory = self._directory / "evidence"
        if len(list(directory.glob("*"))) >= _KEPT_EVIDENCE:  # one pair says all; the platform makes them
            return
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

    def _kept_keys(self) -> KeyHistory:
        path = self._directory / _KEYS_FILE
        try:
            kept = canonical_json.parse_object(path.read_bytes()) if path.exists() else {}
            entries = {int(index): parse_entry(entry.encode()) for index, entry in kept.items()}
            return KeyHistory(self._anchors).extended(entries)
        except (NorenError, AttributeError, ValueError) as error:
            raise VerificationError(f"platform/{_KEYS_FILE}: expected the entries that we kept") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
