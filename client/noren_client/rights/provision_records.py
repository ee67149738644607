"""The recipient's side of provision records: written before a row of a table is used, kept for three years.

    rights/provisions-<campaign>-<table id>.json    secret: the twin of one table (0600)

docs/rights/provision-records.md §3. Promises: a row is used only when the table's twin that names it is on
disk; a later reading of the same table adds rows to its twin and takes none away. Erasure leaves twins alone:
the law asks for them, and without the platform's key nobody finds a person by a tag.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from noren_client import config, keystore
from noren_client.company_secrets import stored_in
from noren_core.crypto.sealed_table import TableContext
from noren_core.errors import DataError, LocalProtocolError
from noren_core.ids import TableKind
from noren_core.rights.erasure.provision_record import KEPT_SECONDS, ProvisionTwin, verify_twin

ITEMS = {
    TableKind.TRAIN: "noised coordinates of behaviour in a past season",
    TableKind.SCORE: "encrypted estimate, disclosure key and mailbox",
}
_PREFIX = "rights/provisions-"


def write_twin(company_dir: Path, context: TableContext, tags: Iterable[bytes], *, now: int) -> None:
    """Write down that these rows of a table were received; on disk when this returns.

    Raises:
        LocalProtocolError: if the twin of this table is damaged: restore it, it is kept by law.
    """
    name = _name(context)
    known = keystore.read_secret(company_dir, name)
    earlier = None if known is None else _parsed(known)
    settings = config.load(company_dir)
    twin = ProvisionTwin(
        provider=settings.platform,
        recipient=settings.company,
        campaign=context.campaign,
        kind=context.kind,
        table_id=context.table_id,
        items=ITEMS[context.kind],
        received_at=now if earlier is None else earlier.received_at,
        tags=tuple(sorted({*tags, *(() if earlier is None else earlier.tags)})),
    )
    if twin != earlier:
        keystore.write_secret(company_dir, name, twin.to_bytes())


def twins(company_dir: Path) -> list[ProvisionTwin]:
    """Every twin that is kept."""
    found = (keystore.read_secret(company_dir, name) for name in _names(company_dir))
    return [_parsed(data) for data in found if data is not None]


def compare(company_dir: Path, comparison_file: bytes, table_id: bytes) -> None:
    """Compare the twin of a table with what the platform's file says, before an auditor's eyes.

    Raises:
        VerificationError: with code PROVISION_MISMATCH, if a row of ours is not in the file.
        LocalProtocolError: if there is no twin of this table.
    """
    for twin in twins(company_dir):
        if twin.table_id == table_id:
            verify_twin(twin, comparison_file)
            return
    raise LocalProtocolError("provisions: expected the twin of this table, got none")


def expire(company_dir: Path, *, now: int) -> None:
    """Remove the twins that were kept for three years."""
    old = [
        name
        for name in _names(company_dir)
        if (data := keystore.read_secret(company_dir, name)) is not None
        and now - _parsed(data).received_at > KEPT_SECONDS
    ]
    for name in old:
        keystore.remove_secret(company_dir, name)


def _names(company_dir: Path) -> list[str]:
    return [name for name in stored_in(company_dir).names() if name.startswith(_PREFIX)]


def _name(context: TableContext) -> str:
    return f"{_PREFIX}{context.campaign}-{context.table_id.hex()}.json"


def _parsed(data: bytes) -> ProvisionTwin:
    try:
        return ProvisionTwin.from_bytes(data)
    except DataError as error:
        raise LocalProtocolError("provisions: expected the twin that was kept, got another file") from error
