"""Which rows of our sealed tables may not be used any more, as the platform last said.

    revocations-<kind>.bin    signature(64) ‖ the newest list that was verified, of the newest table (0600)

docs/protocol.md §2.7. Promises: a list is the platform's and about the table at hand, it is on disk before it
is acted on, and none that is older than the one on disk is acted on. Without a list no row is used.
"""

from __future__ import annotations

from pathlib import Path

from noren_client import campaign_files
from noren_client.ledger_watch import LedgerWatch
from noren_client.transport import PlatformClient
from noren_core.crypto.revocation_list import SIGNATURE_BYTES, RevocationList, open_revocations
from noren_core.crypto.sealed_table import TableContext
from noren_core.errors import ConfigurationError, DataError
from noren_core.ledger.entries import PLATFORM, PlatformKey
from noren_local.private_file import write_private


def revoked_tags(
    company_dir: Path, context: TableContext, platform: PlatformClient, watch: LedgerWatch
) -> frozenset[bytes]:
    """The tags on a table's newest revocation list; most of them are dummy rows'.

    1. Fetch it; which rows are ours makes no difference to what is sent.
    2. Verify it under the platform's key that is current in the ledger as we know it, for this table.
    3. It is not older than the newest that we saw of this table.
    4. Keep it; only then answer.

    Raises:
        VerificationError, DataError: if step 2 or 3 fails.
        ConfigurationError: if what was kept before is damaged.
    """
    path = campaign_files.directory(company_dir, context.campaign) / f"revocations-{context.kind.value}.bin"
    data, signature = platform.fetch_revocations(context.campaign, context.kind)  # 1
    key = watch.keys().key_at(PLATFORM, PlatformKey.PLATFORM, watch.known_tree_size)  # 2
    newest = open_revocations(data, signature, platform_key=bytes.fromhex(key), table_id=context.table_id)
    known = _kept(path)
    if known is not None and known.table_id == context.table_id:  # 3
        newest.verify_not_older(known)
    write_private(path, signature + data)  # 4
    return frozenset(newest.tags)


def _kept(path: Path) -> RevocationList | None:
    """The newest list that was verified before."""
    if not path.exists():
        return None
    try:
        return RevocationList.from_bytes(path.read_bytes()[SIGNATURE_BYTES:])
    except DataError as error:
        raise ConfigurationError(f"{path.name}: expected the list that was kept, got another file") from error
