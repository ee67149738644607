"""Revoking rows of published tables: which students withdrew since, by tag, signed.

docs/protocol.md §2.7. Promises: only rows that really are in the table are revoked, so whoever withdrew
before it was sealed cannot be told from whoever never consented; what was revoked stays revoked for that
table, also if a consent comes again; a list that says more has a higher sequence number, and that is on disk
before the list goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from noren_core.crypto.identity import SigningKey
from noren_core.crypto.revocation_list import STEP, RevocationList
from noren_core.crypto.sealed_table import dummy_tags, row_secrets
from noren_core.ids import TableKind
from noren_core.season.plan import CampaignPlan
from noren_server import alignment
from noren_server.store import Store, StoredTable
from noren_server.tables import TablePublisher

WithdrawnSource = Callable[[CampaignPlan, str, TableKind], Sequence[bytes]]
"""Gives the normalised identifiers of those whose consent for a company's table is withdrawn now."""


@dataclass(frozen=True, slots=True)
class _LookedUp:
    """Whose tags in a table were found before: kept for the newest one, to save evaluating them again."""

    table_id: bytes
    identifiers: frozenset[bytes] = field(repr=False)


class Revocations:
    """The revocation lists of one platform's tables."""

    def __init__(
        self, store: Store, publisher: TablePublisher, key: SigningKey, withdrawn: WithdrawnSource
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._key = key
        self._withdrawn = withdrawn
        self._looked_up: dict[tuple[str, str, TableKind], _LookedUp] = {}

    def newest(self, plan: CampaignPlan, table: StoredTable) -> tuple[bytes, bytes]:
        """A table's revocation list as it is now, and the platform's signature over it.

        1. The tags of those whose consent is withdrawn now, as far as the table has them.
        2. Revoke them, for good, in one transaction; a list that grew gets the next sequence number.
        3. Fill up with dummy rows of the same table and sign.

        Raises:
            DataError: if more than 2^17 rows are revoked; publish another table then.
        """
        context = table.manifest.context
        withdrawn = self._withdrawn(plan, context.company, context.kind)  # 1
        tags = self._tags(plan, table, withdrawn)
        with self._store.transaction() as transaction:  # 2
            revoked = transaction.add_revocations(context.table_id, tags)
        looked_up = _LookedUp(context.table_id, frozenset(withdrawn))
        self._looked_up[context.campaign, context.company, context.kind] = looked_up  # now that it is on disk
        revocations = RevocationList.padded(  # 3
            revoked.tags,
            table_id=context.table_id,
            sequence=revoked.sequence,
            dummy_tags=dummy_tags(table.dummy_seed, STEP, payload_bytes=table.manifest.payload_bytes),
        )
        return revocations.to_bytes(), revocations.sign(self._key)

    def _tags(self, plan: CampaignPlan, table: StoredTable, withdrawn: Sequence[bytes]) -> list[bytes]:
        """The tags in the table of those who were not looked up before."""
        context = table.manifest.context
        known = self._looked_up.get((context.campaign, context.company, context.kind))
        looked_up = known.identifiers if known and known.table_id == context.table_id else frozenset()
        key = alignment.oprf_key(self._store, plan.campaign, context.company, context.kind)
        outputs = alignment.evaluate_identifiers(key, [item for item in withdrawn if item not in looked_up])
        return self._publisher.tags_in(table, [row_secrets(output, context)[0] for output in outputs])
