"""The packaged policy, approved, with verified screens and in force, in a platform's directory, in one call.

    policy = activate_policy(platform, season="2027", notices=[notice_facts("acme", "engineer")], now=NOW)
    policy.screen("acme", "engineer", "score.offer_followup").sha256

Screens are registered by their own markup: no browser is started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noren_core.crypto.identity import SigningKey
from noren_core.rights.consent.consent_event import Screen
from noren_core.rights.locales import Locale
from noren_core.rights.notices.notice_texts import NoticeFacts, packaged_policy
from noren_core.rights.notices.policy import PolicyVersion
from noren_core.rights.notices.policy_approval import ApproverRole, StaffMember, approve
from noren_core.rights.purposes import Purpose
from noren_server.ledger_service import LedgerService
from noren_server.platform_files import Platform
from noren_server.policies import activation
from noren_server.policies.policy_book import PolicyBook
from noren_server.policies.screen_register import ScreenRegister

YEAR = 366 * 86_400

_COMMON = {
    Locale.JA: {
        "platform_name": "就活サイト",
        "platform_address": "東京都千代田区1-1",
        "platform_contact": "privacy@jobs.example",
        "epsilon": "8",
        "place": "日本",
        "withdrawal_place": "設定 → 同意",
        "auditor": "監査法人例",
        "authority": "個人情報保護委員会",
    },
    Locale.EN: {
        "platform_name": "The Job Site",
        "platform_address": "1-1 Chiyoda, Tokyo",
        "platform_contact": "privacy@jobs.example",
        "epsilon": "8",
        "place": "Japan",
        "withdrawal_place": "Settings → Consents",
        "auditor": "Example Audit",
        "authority": "Personal Information Protection Commission",
    },
}


@dataclass(frozen=True, slots=True)
class ActivePolicy:
    """A policy that is in force, with everything that tests ask of it."""

    version: PolicyVersion
    book: PolicyBook
    register: ScreenRegister

    @property
    def policy(self) -> str:
        """Its name."""
        return self.version.policy

    def screen(self, company: str, position: str, purpose: str, locale: Locale = Locale.JA) -> Screen:
        """What a student's event states when she saw this notice: hash and clauses of the verified screen."""
        [found, *_] = [
            item
            for item in self.register.versions(self.policy)
            if (item.place.company, item.place.position, item.place.locale) == (company, position, locale)
            and Purpose(purpose) in item.purposes
        ]
        return Screen(found.sha256, tuple(sorted(found.clauses)))

    def close(self) -> None:
        """Release both files."""
        self.book.close()
        self.register.close()


def notice_facts(company: str, position: str) -> NoticeFacts:
    """The facts of a made-up company."""
    own = {
        Locale.JA: {
            "company_name": f"株式会社{company}",
            "company_address": "大阪府大阪市2-2",
            "company_representative": "山田花子",
            "company_contact": f"privacy@{company}.example",
            "position_title": f"職種 {position}",
        },
        Locale.EN: {
            "company_name": f"{company} Ltd",
            "company_address": "2-2 Osaka",
            "company_representative": "Hanako Yamada",
            "company_contact": f"privacy@{company}.example",
            "position_title": f"Position {position}",
        },
    }
    return NoticeFacts(company, position, {locale: {**_COMMON[locale], **own[locale]} for locale in Locale})


def activate_policy(
    platform: Platform,
    *,
    season: str,
    notices: Sequence[NoticeFacts],
    now: int,
    policy: str = "",
    replaces: str = "",
    version: PolicyVersion | None = None,
    valid_seconds: int = YEAR,
) -> ActivePolicy:
    """Bring the packaged policy (or `version`) into force in this platform's directory, by every step of it.

    Args:
        platform: its ledger gets the entry.
        season: of the policy.
        notices: every company and position that students are asked about.
        now: Unix seconds; screens are verified from then on, for `valid_seconds`.
        policy: its name; `policy-` and the season if left out.
        replaces: the version before it.
        version: another policy than the packaged one; season, policy and replaces are then its own.
        valid_seconds: how long the screens count as verified.
    """
    return put_in_force(
        PolicyBook.open(platform.directory),
        ScreenRegister.open(platform.directory),
        platform.ledger,
        version
        or packaged_policy(
            policy=policy or f"policy-{season}",
            season=season,
            dpia=f"DPIA-{season.upper()}",
            replaces=replaces,
        ),
        notices=notices,
        now=now,
        valid_seconds=valid_seconds,
    )


def put_in_force(
    book: PolicyBook,
    register: ScreenRegister,
    ledger: LedgerService,
    version: PolicyVersion,
    *,
    notices: Sequence[NoticeFacts],
    now: int,
    valid_seconds: int = YEAR,
) -> ActivePolicy:
    """The same with stores that are open."""
    book.add(version, at=now)
    book.set_notices(notices, at=now)
    activation.review(book, version.policy, at=now)
    approve_by_two(book, version, now=now)
    activation.register_own_screens(book, register, version, at=now, valid_seconds=valid_seconds)
    activation.activate(book, register, ledger, version.policy, at=now)
    return ActivePolicy(version, book, register)


def approve_by_two(book: PolicyBook, version: PolicyVersion, *, now: int) -> None:
    """Approvals of two registered people in different roles."""
    for role in (ApproverRole.PRIVACY, ApproverRole.STUDENT_VIEWPOINT):
        key = SigningKey.generate()
        book.add_staff(StaffMember(f"staff-{role}", role, key.public_key), at=now)
        approval = approve(version, person=f"staff-{role}", role=role, at=now, key=key)
        activation.take_approval(book, approval, at=now)
