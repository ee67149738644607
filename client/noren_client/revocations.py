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
from noren_core.ids import TableKind
from noren_core.ledger.entries import PLATFORM, PlatformKey
from noren_local.private_file import write_private


def revoked_tags(
    company_dir: Path, context: TableContext, platform: PlatformClient, watch: LedgerWatch
) -> frozenset[bytes]:
    """The tags on a table's newest revocation list; most of them are dummy rows'.

    It is fetched whatever rows are ours, so nothing that is sent depends on them.

    Raises:
        VerificationError, DataError, ConfigurationError: as `keep_newest`.
    """
    data, signature = platform.fetch_revocations(context.campaign, context.kind)
    newest = keep_newest(
        list_path(company_dir, context.campaign, context.kind),
        data,
        signature,
        table_id=context.table_id,
        watch=watch,
    )
    return frozenset(newest.tags)


def list_path(company_dir: Path, campaign: str, kind: TableKind) -> Path:
    """Where the newest list of the newest table of that kind is kept."""
    return campaign_files.directory(company_dir, campaign) / f"revocations-{kind.value}.bin"


def keep_newest(
    path: Path, data: bytes, signature: bytes, *, table_id: bytes, watch: LedgerWatch
) -> RevocationList:
    """The list in `data`, verified and on disk: from now on no older one is acted on.

    1. Verify it under the platform's key that is current in the ledger as we know it, for this table.
    2. It is not older than the newest that we saw of this table.
    3. Keep it; only then answer.

    Raises:
        VerificationError: if it is another's or another table's; with code CONSENT_EPOCH_STALE, if we saw a
            newer one.
        DataError: if it is malformed.
        ConfigurationError: if what was kept before is damaged.
    """
    key = watch.keys().key_at(PLATFORM, PlatformKey.PLATFORM, watch.known_tree_size)  # 1
    newest = open_revocations(data, signature, platform_key=bytes.fromhex(key), table_id=table_id)
    verify_still_newest(path, newest)  # 2
    write_private(path, signature + data)  # 3
    return newest


def verify_still_newest(path: Path, listed: RevocationList) -> None:
    """Raise VerificationError, code CONSENT_EPOCH_STALE, if a newer list of the same table is kept by now."""
    known = _kept(path)
    if known is not None and known.table_id == listed.table_id:
        listed.verify_not_older(known)


def _kept(path: Path) -> RevocationList | None:
    """The newest list that was verified before."""
    if not path.exists():
        return None
    try:
        return RevocationList.from_bytes(path.read_bytes()[SIGNATURE_BYTES:])
    except DataError as error:
        raise ConfigurationError(f"{path.name}: expected the list that was kept, got another file") from error
