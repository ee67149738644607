"""What this company deletes by age, once a day, and whether that was done.

docs/rights/erasure.md §7 and `noren_core.rights.erasure.retention`. Promises: whatever has an end goes when
it comes, by this job alone; `verify_nothing_overdue` looks at the same things and deletes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from noren_client import campaign_files, config, replay_data
from noren_client.gate import score_records
from noren_client.rights import provision_records
from noren_client.rights.custody import CustodyStore
from noren_core.errors import NorenError
from noren_core.rights.erasure import retention
from noren_core.rights.erasure.artefacts import ArtefactClass
from noren_core.rights.erasure.deletion_certificate import parse_certificate
from noren_core.rights.erasure.retention import DAY_SECONDS, GRACE_SECONDS, Kept, is_over


@dataclass(frozen=True, slots=True)
class _Source:
    """One kind of thing: whether something of it is over at a time, and how that is deleted."""

    kept: Kept
    has_over: Callable[[int], bool]
    delete: Callable[[int], None]


def run(company_dir: Path, *, now: int) -> tuple[Kept, ...]:
    """Delete whatever has come to its end; the kinds of which there was something. Run it daily."""
    deleted = []
    with CustodyStore(company_dir) as custody:
        for source in _sources(company_dir, custody):
            if source.has_over(now):
                source.delete(now)
                deleted.append(source.kept)
    return tuple(dict.fromkeys(deleted))


def overdue(company_dir: Path, *, now: int) -> tuple[Kept, ...]:
    """The kinds of which something should have been deleted more than a day ago."""
    with CustodyStore(company_dir) as custody:
        found = [s.kept for s in _sources(company_dir, custody) if s.has_over(now - GRACE_SECONDS)]
    return tuple(dict.fromkeys(found))


def verify_nothing_overdue(company_dir: Path, *, now: int) -> None:
    """Raise LocalProtocolError (RETENTION_OVERDUE) if the daily job was left out."""
    retention.verify_nothing_overdue(overdue(company_dir, now=now))


def _sources(company_dir: Path, custody: CustodyStore) -> Iterator[_Source]:
    for campaign in campaign_files.accepted(company_dir):
        yield from _of_campaign(company_dir, campaign, custody)
    yield _Source(
        Kept.PROVISION_TWINS,
        lambda now: any(
            is_over(Kept.PROVISION_TWINS, since=twin.received_at, now=now)
            for twin in provision_records.twins(company_dir)
        ),
        lambda now: provision_records.expire(company_dir, now=now),
    )
    yield _Source(
        Kept.CERTIFICATES,
        lambda now: any(_is_old_certificate(path, now) for path in _certificates(company_dir)),
        lambda now: _delete_certificates(company_dir, now),
    )


def _of_campaign(company_dir: Path, campaign: str, custody: CustodyStore) -> Iterator[_Source]:
    plan = campaign_files.load_plan(company_dir, campaign)
    name = campaign_files.training_record(campaign)

    def trained_at() -> int | None:
        if name not in custody.names(campaign, ArtefactClass.TRAIN_ROW):
            return None
        kept_at = replay_data.kept_at(company_dir, campaign)
        return custody.born_at(name) if kept_at is None else kept_at

    def has_old_rows(now: int) -> bool:
        since = trained_at()
        return since is not None and is_over(Kept.TRAINING_ROWS, since=since, now=now)

    def has_old_replay(now: int) -> bool:
        since = replay_data.kept_at(company_dir, campaign)
        seconds = config.load(company_dir).limits.dispute_days * DAY_SECONDS
        return since is not None and is_over(Kept.REPLAY_DATA, since=since, now=now, seconds=seconds)

    people = score_records.load(company_dir, campaign).people
    notes = [note for person in people for note in person.notes]

    def expire(now: int) -> None:
        score_records.expire(company_dir, plan.campaign, custody, now=now)

    yield _Source(
        Kept.TRAINING_ROWS, has_old_rows, lambda _: campaign_files.forget_training_set(company_dir, campaign)
    )
    yield _Source(Kept.REPLAY_DATA, has_old_replay, lambda _: replay_data.forget(company_dir, campaign))
    yield _Source(
        Kept.SCORES, lambda now: any(p.is_deposited and now >= p.expires_at for p in people), expire
    )
    yield _Source(Kept.FOLLOW_UP_NOTES, lambda now: any(now >= note.expires_at for note in notes), expire)


def _certificates(company_dir: Path) -> list[Path]:
    return sorted((company_dir / "rights" / "certificates").glob("*.json"))


def _is_old_certificate(path: Path, now: int) -> bool:
    try:
        certificate, _, _ = parse_certificate(path.read_bytes())
    except (OSError, NorenError):
        return False  # damaged: not ours to judge, and no personal data is in it
    return is_over(Kept.CERTIFICATES, since=certificate.completed_at, now=now)


def _delete_certificates(company_dir: Path, now: int) -> None:
    """With the inventories that they commit to."""
    for path in _certificates(company_dir):
        if _is_old_certificate(path, now):
            path.unlink()
            (company_dir / "rights" / f"inventory-{path.stem}.json").unlink(missing_ok=True)
