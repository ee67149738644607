"""One entry and its tlog-proof: what somebody can show who does not hand out the whole ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from noren_audit.verification.trust import Trust
from noren_core.errors import DataError
from noren_core.ledger.entries import MAX_ENTRY_BYTES, parse_entry
from noren_core.ledger.tlog_proof import MAX_PROOF_BYTES, parse_tlog_proof, verify_tlog_proof


def verify_entry_proof(entry_path: Path, proof_path: Path, trust: Trust) -> dict[str, Any]:
    """What the proof shows: the entry is in the ledger whose log key the trust file names.

    1. The file is an entry, to the byte.
    2. The trust file's log key signed the proof's checkpoint, and enough of its witnesses cosigned it. After
       a change of the log key this is the key that is current at the checkpoint's size.
    3. The entry is at its index under the checkpoint's root.
    The signatures on the entry, and what it means among the others, need the whole bundle (`verify_bundle`).

    Raises:
        DataError: if one of the files is not what it should be.
        VerificationError: if the proof does not show it.
    """
    # 1
    data = _read(entry_path, MAX_ENTRY_BYTES)
    entry = parse_entry(data)
    # 2, 3
    proof = parse_tlog_proof(_read(proof_path, MAX_PROOF_BYTES))
    checkpoint = verify_tlog_proof(
        proof, data, log_key=trust.log_key, witnesses=trust.witnesses, quorum=trust.witness_quorum
    )
    return {
        "index": proof.index,
        "kind": entry.kind.value,
        "author": entry.author,
        "ledger_size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "not_checked": "the signatures on the entry and every other entry (noren-audit verify)",
    }


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise DataError(f"{path.name}: expected a readable file, got {error.strerror}") from error
    if len(data) > limit:
        raise DataError(f"{path.name}: expected at most {limit} bytes, got more")
    return data
