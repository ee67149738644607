"""What the platform deletes by age, once a day, and whether that was done.

    retention.json        when each closed campaign was first seen closed: its time runs from then
    retention-last.json   when the job ran last, and of which kinds it deleted something

docs/rights/erasure.md §7 and `noren_core.rights.erasure.retention`. Promises: provision records, erasure
orders with their certificates, students' wishes to be erased, and the embeddings and tables of closed
campaigns go when their time comes, by this job alone; `verify_nothing_overdue` looks at the
same things and deletes none.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from noren_core import canonical_json
from noren_core.errors import ConfigurationError, NorenError
from noren_core.rights import fields
from noren_core.rights.erasure import retention
from noren_core.rights.erasure.retention import GRACE_SECONDS, RETENTION, Kept, is_over
from noren_local.private_file import write_private
from noren_server.rights.erasure_orders import ErasureDesk
from noren_server.rights.erasure_requests import ErasureRequests
from noren_server.rights.provision_records import ProvisionRecords
from noren_server.store import CampaignState, Store

CLOSED_FILE = "retention.json"
LAST_RUN_FILE = "retention-last.json"
_PLACES = {Kept.EMBEDDINGS: "embeddings", Kept.SEALED_TABLES: "tables"}


@dataclass(frozen=True, slots=True)
class LastRun:
    """One run of the job: when (Unix seconds), and the kinds of which there was something to delete."""

    at: int
    deleted: tuple[Kept, ...]


_LAST_RUN = {"at": fields.seconds, "deleted": fields.list_of(fields.word_of(Kept))}


@dataclass(frozen=True, slots=True)
class Retention:
    """What one platform keeps for a time.

    Attributes:
        directory: the platform's.
    """

    directory: Path
    store: Store
    provisions: ProvisionRecords
    erasure: ErasureDesk
    requests: ErasureRequests

    def run(self, *, now: int) -> tuple[Kept, ...]:
        """Delete whatever has come to its end; the kinds of which there was something. Run it daily.

        A campaign that was closed since the last run begins its time now.
        """
        self._note_closed(now)
        deleted = []
        for source in self._sources():
            if source.has_over(now):
                source.delete(now)
                deleted.append(source.kept)
        kinds = tuple(dict.fromkeys(deleted))
        body = {"at": now, "deleted": [kept.value for kept in kinds]}
        write_private(self.directory / LAST_RUN_FILE, canonical_json.encode(body))
        return kinds

    def last_run(self) -> LastRun | None:
        """When the job ran last, and what it deleted; None if it never did.

        Raises:
            DataError: if the file is not what the job wrote.
        """
        path = self.directory / LAST_RUN_FILE
        if not path.exists():
            return None
        body = canonical_json.parse_object(path.read_bytes())
        return LastRun(**fields.read_fields(body, _LAST_RUN, LAST_RUN_FILE))

    def overdue(self, *, now: int) -> tuple[Kept, ...]:
        """The kinds of which something should have been deleted more than a day ago."""
        found = [source.kept for source in self._sources() if source.has_over(now - GRACE_SECONDS)]
        return tuple(dict.fromkeys(found))

    def verify_nothing_overdue(self, *, now: int) -> None:
        """Raise LocalProtocolError (RETENTION_OVERDUE) if the daily job was left out."""
        retention.verify_nothing_overdue(self.overdue(now=now))

    def _sources(self) -> Iterator[_Source]:
        seconds = RETENTION[Kept.ERASURE_ORDERS].seconds
        yield _Source(
            Kept.PROVISION_RECORDS,
            lambda now: self.provisions.has_expired(now=now),
            lambda now: self.provisions.expire(now=now),
        )
        yield _Source(
            Kept.ERASURE_ORDERS,
            lambda now: self.erasure.has_older(before=now - seconds),
            lambda now: self.erasure.expire(before=now - seconds),
        )
        yield _Source(
            Kept.ERASURE_ORDERS,
            lambda now: self.requests.has_older(before=now - seconds),
            lambda now: self.requests.expire(before=now - seconds),
        )
        for campaign, closed_at in self._closed().items():
            for kept, place in _PLACES.items():
                yield _of_campaign(kept, self.directory / place / campaign, closed_at)

    def _closed(self) -> Mapping[str, int]:
        """When each closed campaign was first seen closed."""
        path = self.directory / CLOSED_FILE
        if not path.exists():
            return {}
        try:
            body = canonical_json.parse_object(path.read_bytes())
            return {str(campaign): int(at) for campaign, at in body.items()}
        except (NorenError, TypeError, ValueError) as error:
            raise ConfigurationError(f"{CLOSED_FILE}: expected what the job wrote, got another") from error

    def _note_closed(self, now: int) -> None:
        known = self._closed()
        with self.store.transaction() as transaction:
            names = [plan.campaign for plan in transaction.plans()]
            states = {name: transaction.campaign(name) for name in names}
        closed = [name for name, found in states.items() if found and found.state is CampaignState.CLOSED]
        noted = {**dict.fromkeys(closed, now), **known}
        if noted != known:
            write_private(self.directory / CLOSED_FILE, canonical_json.encode(noted))


@dataclass(frozen=True, slots=True)
class _Source:
    """One kind of thing: whether something of it is over at a time, and how that is deleted."""

    kept: Kept
    has_over: Callable[[int], bool]
    delete: Callable[[int], object]


def _of_campaign(kept: Kept, place: Path, closed_at: int) -> _Source:
    return _Source(
        kept,
        lambda now: place.exists() and is_over(kept, since=closed_at, now=now),
        lambda _: shutil.rmtree(place),
    )
