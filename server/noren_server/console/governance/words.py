"""What closed sets are called on pages, and how much time is left, in words.

Promises: every member has a name, so that a page never shows a bare code; whether a deadline is near or over
is said by a word and a tone, never by a tone alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from noren_core.ledger.entries import ErasureGround, IncidentState, ServiceScope, ServiceStatus
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_validity import PolicyStatus
from noren_core.rights.coverage.classes import CoverageClass
from noren_core.rights.coverage.coverage_report import BlockReason, ReportState
from noren_core.rights.disclosure.inquiry import InquiryState, InquiryTopic
from noren_core.rights.disclosure.requests import DenialReason, DisclosureState
from noren_core.rights.erasure.deletion_certificate import CertificateState
from noren_core.rights.erasure.erasure_order import HoldReason, OrderState
from noren_core.rights.erasure.retention import Kept, Since
from noren_core.rights.notices.data_categories import RecipientClass
from noren_core.rights.notices.policy import MaterialChange, WithdrawalEffect
from noren_core.rights.notices.policy_approval import ApproverRole
from noren_core.rights.notices.screen import Device, ScreenFinding, ScreenState
from noren_core.rights.purposes import Purpose
from noren_core.rights.service.incident import IncidentClass
from noren_server.consents.consent_quality import Outcome
from noren_server.rights.service_changes import SuspensionReason
from noren_web.translations import Text
from noren_web.translations import lazy as _

DAY_SECONDS = 86_400
NEAR_DAYS = 3


@dataclass(frozen=True, slots=True)
class Word:
    """A name and how it is marked: good, bad, warn or plain."""

    text: Text
    tone: str = "plain"

    def __str__(self) -> str:
        return str(self.text)


CLASSES: Mapping[CoverageClass, Text] = {
    CoverageClass.VALID: _("valid consent"),
    CoverageClass.SCREEN_DEFECT: _("agreed on a defective screen"),
    CoverageClass.REEXPOSED_NO_ANSWER: _("saw the version in force, no answer"),
    CoverageClass.NEVER_REEXPOSED: _("knows only an old version, was shown nothing since"),
    CoverageClass.STALE_SCREEN: _("was shown a stale screen after the change"),
    CoverageClass.NO_EVENT: _("came another way, no event"),
    CoverageClass.WRONG_SCOPE: _("consent for something else"),
    CoverageClass.ENDED: _("refused, withdrawn or expired"),
    CoverageClass.UNKNOWN: _("cannot be judged"),
}
PATHS: Mapping[CoverageClass, Text] = {
    CoverageClass.NEVER_REEXPOSED: _("Consented before the change and was never asked again"),
    CoverageClass.STALE_SCREEN: _("Registered after the change on a page that still showed the old text"),
    CoverageClass.NO_EVENT: _("Came by a way that passes no consent screen"),
}
"""The three ways by which people came to be processed without consent in 2019."""

OBSTACLES: Mapping[BlockReason, Text] = {
    BlockReason.UNCONSENTED_PROCESSING: _("people without a valid consent would be processed"),
    BlockReason.UNCONSENTED_PROVISION: _("something was provided without a valid consent"),
    BlockReason.UNCLASSIFIED: _("some people cannot be judged"),
    BlockReason.UNKNOWN_SCREENS: _("consents name texts that nobody has looked at"),
    BlockReason.UNDOMINATED_PATHS: _("a way to scoring passes no verified consent screen"),
    BlockReason.JOURNEYS_MISSING: _("there is no journey graph to check"),
    BlockReason.CONTROLS_MISSING: _("planted accounts are missing"),
    BlockReason.CONTROLS_IMPERFECT: _("planted accounts were not recognised"),
    BlockReason.UNRECONCILED: _("provisions, permits and agreements disagree"),
    BlockReason.PARTIAL: _("the report is about some phases only"),
    BlockReason.NO_REPORT: _("no attested report is in the ledger"),
    BlockReason.OTHER_CAMPAIGN: _("the report is about another campaign"),
    BlockReason.NOT_FROM_PLATFORM: _("the report is not about the platform's own data"),
    BlockReason.NOT_ATTESTED: _("no auditor whose word counts attested it"),
    BlockReason.STALE: _("the report is older than a day, or something changed since"),
}
RUN_STATES: Mapping[ReportState, Word] = {
    ReportState.DRAFT: Word(_("being computed")),
    ReportState.COMPUTED: Word(_("computed, not reviewed"), "warn"),
    ReportState.REVIEWED: Word(_("reviewed, not attested"), "warn"),
    ReportState.ATTESTED: Word(_("attested"), "good"),
    ReportState.STALE: Word(_("stale"), "bad"),
}
POLICY_STATES: Mapping[PolicyStatus, Word] = {
    PolicyStatus.DRAFT: Word(_("draft")),
    PolicyStatus.REVIEWED: Word(_("reviewed"), "warn"),
    PolicyStatus.APPROVED: Word(_("approved"), "warn"),
    PolicyStatus.ACTIVE: Word(_("in force"), "good"),
    PolicyStatus.GRACE: Word(_("in its days of grace"), "warn"),
    PolicyStatus.RETIRED: Word(_("retired")),
}
APPROVERS: Mapping[ApproverRole, Text] = {
    ApproverRole.PRIVACY: _("privacy"),
    ApproverRole.LEGAL: _("legal"),
    ApproverRole.STUDENT_VIEWPOINT: _("student viewpoint"),
}
SCREEN_STATES: Mapping[ScreenState, Word] = {
    ScreenState.DISCOVERED: Word(_("seen, not verified"), "warn"),
    ScreenState.VERIFIED: Word(_("verified"), "good"),
    ScreenState.REJECTED: Word(_("rejected"), "bad"),
    ScreenState.STALE: Word(_("stale"), "bad"),
    ScreenState.RETIRED: Word(_("retired")),
}
CHANGES: Mapping[MaterialChange, Text] = {
    MaterialChange.NEW_PURPOSE: _("the purpose is new"),
    MaterialChange.PURPOSE_ENDED: _("the purpose ended"),
    MaterialChange.RECIPIENT: _("another recipient"),
    MaterialChange.DATA_OR_SOURCE: _("other data or another source"),
    MaterialChange.INDIVIDUAL_LEVEL: _("data about one person that was about many"),
    MaterialChange.IDENTIFIABLE_PROVISION: _("a recipient learns something about this very person"),
    MaterialChange.LONGER_RETENTION: _("kept longer"),
    MaterialChange.WEAKER_WITHDRAWAL: _("a withdrawal does less"),
}
FINDINGS: Mapping[ScreenFinding, Text] = {
    ScreenFinding.CLAUSE_MISSING: _("a clause is missing"),
    ScreenFinding.PRECHECKED: _("a box is ticked beforehand"),
    ScreenFinding.BUNDLED: _("several purposes under one button"),
    ScreenFinding.CHOICE_UNEQUAL: _("the choices do not look alike"),
    ScreenFinding.UNREADABLE: _("some content cannot be read"),
    ScreenFinding.WRONG_PURPOSE: _("it asks for another purpose"),
}
CLAUSES: Mapping[Clause, Text] = {
    Clause.PLATFORM_IDENTITY: _("who the platform is"),
    Clause.COMPANY_IDENTITY: _("which company it is"),
    Clause.DATA_AND_SOURCES: _("which data, from where"),
    Clause.BEHAVIOUR_ANALYSIS: _("behaviour is analysed"),
    Clause.BAND_ABOUT_YOU: _("the company sees a band about you"),
    Clause.ONLY_AFTER_OFFER: _("only after an offer"),
    Clause.NO_SELECTION_USE: _("never for pass or fail"),
    Clause.REFUSAL_IS_FREE: _("refusing changes nothing"),
    Clause.WITHDRAWAL: _("how to withdraw"),
    Clause.RETENTION: _("how long it is kept"),
    Clause.RIGHTS: _("your rights"),
    Clause.THIRD_PARTY_PROVISION: _("what others are given"),
    Clause.PRIVACY_BUDGET: _("the privacy budget"),
    Clause.PLACE: _("where data are kept"),
    Clause.CONTACT: _("whom to ask"),
}
RECIPIENTS: Mapping[RecipientClass, Text] = {
    RecipientClass.PLATFORM: _("the platform"),
    RecipientClass.NAMED_COMPANY: _("the company that is named"),
}
WITHDRAWALS: Mapping[WithdrawalEffect, Text] = {
    WithdrawalEffect.STOP_AND_ERASE: _("stop, and erase"),
    WithdrawalEffect.STOP: _("stop"),
}
DEVICES: Mapping[Device, Text] = {
    Device.MOBILE: _("telephone"),
    Device.DESKTOP: _("computer"),
}
PURPOSES: Mapping[Purpose, Text] = {
    Purpose.LINK: _("link accounts"),
    Purpose.TRAIN: _("train the model"),
    Purpose.SCORE: _("estimate, to follow up an offer"),
    Purpose.EVALUATE: _("evaluate the model"),
    Purpose.FAIRNESS: _("check for fairness"),
}
OUTCOMES: Mapping[Outcome, Text] = {
    Outcome.UNANSWERED: _("shown, no answer"),
    Outcome.CONSENTED: _("consented"),
    Outcome.REFUSED: _("refused"),
    Outcome.WITHDRAWN: _("withdrawn"),
    Outcome.ENDED: _("ended otherwise"),
}
TOPICS: Mapping[InquiryTopic, Text] = {
    InquiryTopic.QUESTION: _("Question"),
    InquiryTopic.CONTEST_SCORE: _("Contests an estimate"),
    InquiryTopic.CONTEST_USE: _("Contests a use"),
    InquiryTopic.RECONCILE: _("A company's answer contradicts the records"),
}
INQUIRY_STATES: Mapping[InquiryState, Word] = {
    InquiryState.OPEN: Word(_("open"), "warn"),
    InquiryState.ANSWERED: Word(_("answered"), "good"),
    InquiryState.CLOSED: Word(_("closed")),
    InquiryState.ESCALATED: Word(_("escalated"), "bad"),
}
DISCLOSURE_STATES: Mapping[DisclosureState, Word] = {
    DisclosureState.OPEN: Word(_("open"), "warn"),
    DisclosureState.IDENTITY_CHECK: Word(_("identity is checked"), "warn"),
    DisclosureState.IN_PROGRESS: Word(_("companies are asked"), "warn"),
    DisclosureState.FULFILLED: Word(_("fulfilled"), "good"),
    DisclosureState.PARTIAL: Word(_("answered in part"), "bad"),
    DisclosureState.DENIED: Word(_("denied")),
    DisclosureState.REVOKED: Word(_("taken back")),
    DisclosureState.EXPIRED: Word(_("expired"), "bad"),
}
DENIALS: Mapping[DenialReason, Text] = {
    DenialReason.HARM_TO_RIGHTS: _("It could harm life, body, property or other rights of somebody."),
    DenialReason.SERIOUS_HINDRANCE: _("It could seriously hinder the proper conduct of the business."),
    DenialReason.OTHER_LAW: _("It would violate another law."),
    DenialReason.TRADE_SECRET: _("It would tell a trade secret (only beside another reason)."),
}
ORDER_STATES: Mapping[OrderState, Word] = {
    OrderState.ISSUED: Word(_("issued"), "warn"),
    OrderState.RECEIVED: Word(_("received by the company"), "warn"),
    OrderState.EXECUTING: Word(_("being carried out"), "warn"),
    OrderState.CERTIFIED: Word(_("certified"), "good"),
    OrderState.VERIFIED: Word(_("verified"), "good"),
    OrderState.OVERDUE: Word(_("overdue, company suspended"), "bad"),
    OrderState.ESCALATED: Word(_("escalated to auditor and authority"), "bad"),
}
CERTIFICATE_STATES: Mapping[CertificateState, Word] = {
    CertificateState.DRAFT: Word(_("draft")),
    CertificateState.ISSUED: Word(_("holds, not cosigned"), "good"),
    CertificateState.VERIFIED: Word(_("verified"), "good"),
    CertificateState.DISPUTED: Word(_("disputed"), "bad"),
    CertificateState.REJECTED: Word(_("does not hold"), "bad"),
    CertificateState.SUPERSEDED: Word(_("replaced by a later one")),
}
GROUNDS: Mapping[ErasureGround, Text] = {
    ErasureGround.RIGHTS: _("what students withdrew"),
    ErasureGround.SEASON_END: _("end of the season"),
    ErasureGround.ABOLITION: _("end of the service"),
    ErasureGround.LEAK: _("a leak"),
}
HOLDS: Mapping[HoldReason, Text] = {
    HoldReason.COURT_ORDER: _("court order"),
    HoldReason.AUTHORITY_REQUEST: _("request of an authority"),
    HoldReason.PENDING_LITIGATION: _("pending litigation"),
}
SCOPES: Mapping[ServiceScope, Text] = {
    ServiceScope.GLOBAL: _("the whole service"),
    ServiceScope.COMPANY: _("one company"),
    ServiceScope.CAMPAIGN: _("one campaign"),
}
SERVICE_STATES: Mapping[ServiceStatus, Word] = {
    ServiceStatus.RUNNING: Word(_("running"), "good"),
    ServiceStatus.SUSPENDED: Word(_("suspended"), "bad"),
    ServiceStatus.WINDING_DOWN: Word(_("winding down"), "warn"),
    ServiceStatus.ABOLISHED: Word(_("abolished")),
}
SUSPENSIONS: Mapping[SuspensionReason, Text] = {
    SuspensionReason.OPERATOR: _("our own decision"),
    SuspensionReason.INCIDENT: _("an incident"),
    SuspensionReason.CONSENT_DEFECT: _("something was wrong with consents"),
    SuspensionReason.UNKNOWN_SCREEN: _("a consent screen that nobody had looked at"),
    SuspensionReason.COMPANY_REQUEST: _("the company asked for it"),
    SuspensionReason.AUTHORITY_REQUEST: _("an authority asked for it"),
    SuspensionReason.DRILL: _("a drill"),
}
OTHER_REASONS: Mapping[str, Text] = {
    "COVERAGE_VIOLATION": _("coverage showed processing without consent"),
    "ORDER_OVERDUE": _("an erasure order is overdue"),
    "ABOLITION": _("the service ends"),
}
"""Reasons that the program states by itself."""

INCIDENT_CLASSES: Mapping[IncidentClass, Text] = {
    IncidentClass.CONSENT_DEFECT: _("something was provided without a valid consent"),
    IncidentClass.UNKNOWN_SCREEN: _("consents were taken on a text that nobody had looked at"),
    IncidentClass.DISCLOSURE_MISMATCH: _("a company's answer contradicts what it deposited or received"),
    IncidentClass.LEAK: _("data got to somebody who should not have it"),
    IncidentClass.LATE_DELETION: _("a company did not erase in time"),
    IncidentClass.GATE_BYPASSED: _("something was scored or seen that no decision stood before"),
}
INCIDENT_STATES: Mapping[IncidentState, Word] = {
    IncidentState.DETECTED: Word(_("detected"), "bad"),
    IncidentState.CONTAINED: Word(_("contained"), "warn"),
    IncidentState.ASSESSED: Word(_("assessed"), "warn"),
    IncidentState.NOTIFIED: Word(_("those affected were told"), "warn"),
    IncidentState.CLOSED: Word(_("closed"), "good"),
}
KEPT: Mapping[Kept, Text] = {
    Kept.TRAINING_ROWS: _("training rows"),
    Kept.REPLAY_DATA: _("data to replay a training"),
    Kept.SCORES: _("scores"),
    Kept.FOLLOW_UP_NOTES: _("follow-up notes"),
    Kept.PROVISION_TWINS: _("companies' records of what they received"),
    Kept.CERTIFICATES: _("deletion certificates at companies"),
    Kept.PROVISION_RECORDS: _("records of what was provided"),
    Kept.ERASURE_ORDERS: _("erasure orders and their certificates"),
    Kept.EMBEDDINGS: _("embeddings of closed campaigns"),
    Kept.SEALED_TABLES: _("sealed tables of closed campaigns"),
}
SINCE: Mapping[Since, Text] = {
    Since.WRITTEN: _("it was written"),
    Since.LAST_ROUND: _("the last round"),
    Since.GATE_OPENED: _("the gate was opened"),
    Since.CAMPAIGN_CLOSED: _("the campaign was closed"),
}


def reason(code: str) -> Text | str:
    """Why a state changed, by the code in the ledger; the code itself if an auditor or company chose one."""
    if code in set(SuspensionReason):
        return SUSPENSIONS[SuspensionReason(code)]
    return OTHER_REASONS.get(code, code)


def remaining(due_at: int, *, now: int) -> Word:
    """How much time is left until a deadline (Unix seconds), in days."""
    days, late = (due_at - now) // DAY_SECONDS, (now - due_at) // DAY_SECONDS
    if now > due_at:
        if late < 1:
            return Word(_("overdue since today"), "bad")
        return Word(
            _("overdue by 1 day") if late == 1 else _("overdue by {days} days").format(days=late), "bad"
        )
    if days == 0:
        return Word(_("due within a day"), "warn")
    text = _("1 day left") if days == 1 else _("{days} days left").format(days=days)
    return Word(text, "warn" if days <= NEAR_DAYS else "plain")
