"""Letting a company in and ending its participation, in the platform's files and in Flower.

For the commands and the console alike. Where the services are down, Flower hears of it when they start.
"""

from __future__ import annotations

from noren_core.ledger.entries import RevocationReason
from noren_server.platform_files import Platform
from noren_server.store import Company
from noren_server.superlink import Fleet, SuperlinkFiles


def admit(platform: Platform, company: str, fingerprint: str) -> Company:
    """Approve a company whose fingerprint was compared by phone; errors as `EnrolmentDesk.approve`."""
    approved = platform.enrolment.approve(company, fingerprint)
    if SuperlinkFiles(platform.directory).address.exists():
        with Fleet(platform.directory) as fleet:
            fleet.register(company, approved.node_key)
    return approved


def expel(platform: Platform, company: str, reason: RevocationReason) -> None:
    """End a company's participation for good; errors as `EnrolmentDesk.revoke`."""
    platform.enrolment.revoke(company, reason)
    if SuperlinkFiles(platform.directory).address.exists():
        with Fleet(platform.directory) as fleet:
            fleet.unregister(company)
