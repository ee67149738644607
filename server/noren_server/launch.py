"""Where processing begins: the training tables of a campaign, and score tables anew.

Promises: neither begins unless the service runs and the campaign has an attested, clear and fresh coverage
report. Both are asked here before anything is computed, and again whenever rows are handed on
(`publication.Consents.provide`), also for a score table that the running service makes by itself: there is no
other way from consents and logs to a table.
"""

from __future__ import annotations

from noren_core.season.plan import CampaignPlan
from noren_server import behaviour_data, publication
from noren_server.consents.opening import unix_now
from noren_server.coverage.opening import require_may_process
from noren_server.platform_files import Platform
from noren_server.released_records import ReleasedRecords
from noren_server.rights.opening import (
    provision_records,
    publication_consents,
    retention_of,
    table_publisher,
)
from noren_server.rights.service_states import service_desk
from noren_server.sealed_scoring import ScoreRows, SealedScoring


def publish(platform: Platform, campaign: str) -> CampaignPlan:
    """Make and publish the training tables of a campaign; safe to repeat.

    1. The service runs, and coverage is clear.
    2. Features and embeddings of those who consented; a permit and a provision record for each row.
    3. Seal and publish.

    Raises:
        LocalProtocolError: with code SERVICE_SUSPENDED or LAUNCH_BLOCKED_COVERAGE; nothing is computed then.
    """
    plan = platform.plan(campaign)
    _verify_may_begin(platform, campaign)  # 1
    with publication_consents(platform) as consents, provision_records(platform) as provisions:  # 2
        rows = publication.prepare(
            behaviour_data.load(platform.directory / "logs"),
            consents,
            plan,
            assignment_key=platform.assignment_key,
            embeddings_dir=platform.directory / "embeddings",
            released=ReleasedRecords(platform.store),
        )
        publisher = table_publisher(platform, provisions)
        publisher.publish_training_tables(plan, rows)  # 3
    return plan


def refresh(platform: Platform, campaign: str) -> None:
    """Seal the score tables of all companies of a campaign again; as `publish`."""
    _verify_may_begin(platform, campaign)
    with publication_consents(platform) as consents, provision_records(platform) as provisions:
        publisher = table_publisher(platform, provisions)

        def rows(plan: CampaignPlan, company: str) -> ScoreRows:
            return publication.score_rows(
                consents, plan, company, embeddings_dir=platform.directory / "embeddings"
            )

        desk = service_desk(platform)
        scoring = SealedScoring(platform.store, platform.ledger, publisher, rows, is_running=desk.is_running)
        try:
            scoring.refresh(campaign)
        finally:
            scoring.close()


def _verify_may_begin(platform: Platform, campaign: str) -> None:
    require_may_process(platform, campaign, now=unix_now())
    with retention_of(platform) as kept:
        kept.verify_nothing_overdue(now=unix_now())
