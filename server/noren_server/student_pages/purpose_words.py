"""Words of purposes, states and topics on the students' pages."""

from __future__ import annotations

from collections.abc import Mapping

from noren_core.rights.consent.consent_record import ConsentState
from noren_core.rights.disclosure.inquiry import InquiryState, InquiryTopic
from noren_core.rights.disclosure.requests import DenialReason, DisclosureState
from noren_core.rights.erasure.erasure_order import OrderState
from noren_core.rights.notices.data_categories import DataCategory
from noren_core.rights.purposes import Purpose
from noren_web.translations import Text
from noren_web.translations import lazy as _

PURPOSES: Mapping[Purpose, Text] = {
    Purpose.LINK: _("Linking with your application"),
    Purpose.TRAIN: _("Training a model"),
    Purpose.SCORE: _("An estimate after an offer"),
    Purpose.EVALUATE: _("Testing a model"),
    Purpose.FAIRNESS: _("An audit of fairness"),
}

STATES: Mapping[ConsentState, tuple[Text, str]] = {
    ConsentState.NEVER_SHOWN: (_("Never shown"), "plain"),
    ConsentState.SHOWN: (_("Not answered"), "plain"),
    ConsentState.REQUESTED: (_("Not answered"), "plain"),
    ConsentState.GIVEN: (_("You agreed"), "good"),
    ConsentState.REFUSED: (_("You did not agree"), "plain"),
    ConsentState.DEFERRED: (_("You decide later"), "plain"),
    ConsentState.RENEWED: (_("You agreed again"), "good"),
    ConsentState.WITHDRAWN: (_("You withdrew"), "plain"),
    ConsentState.EXPIRED: (_("Run out"), "plain"),
    ConsentState.SUPERSEDED: (_("Ended by a change of the policy"), "warn"),
    ConsentState.INVALIDATED: (_("Found invalid"), "bad"),
    ConsentState.REVOKED: (_("Ended by the site"), "warn"),
}
"""By state, its words and the tone of their badge."""

TOPICS: Mapping[InquiryTopic, Text] = {
    InquiryTopic.QUESTION: _("A question"),
    InquiryTopic.CONTEST_SCORE: _("I contest an estimate"),
    InquiryTopic.CONTEST_USE: _("I contest how my data was used"),
    InquiryTopic.RECONCILE: _("A company's answer contradicts the records"),
}

INQUIRY_STATES: Mapping[InquiryState, tuple[Text, str]] = {
    InquiryState.OPEN: (_("Waiting for an answer"), "warn"),
    InquiryState.ANSWERED: (_("Answered"), "good"),
    InquiryState.CLOSED: (_("Closed"), "plain"),
    InquiryState.ESCALATED: (_("Handed on to the auditor"), "warn"),
}

DISCLOSURE_STATES: Mapping[DisclosureState, tuple[Text, str]] = {
    DisclosureState.OPEN: (_("Opened"), "plain"),
    DisclosureState.IDENTITY_CHECK: (_("Opened"), "plain"),
    DisclosureState.IN_PROGRESS: (_("The company has to answer"), "warn"),
    DisclosureState.FULFILLED: (_("Answered"), "good"),
    DisclosureState.PARTIAL: (_("Answered in part"), "warn"),
    DisclosureState.DENIED: (_("Denied"), "bad"),
    DisclosureState.REVOKED: (_("You took it back"), "plain"),
    DisclosureState.EXPIRED: (_("Not answered in time"), "bad"),
}

DENIALS: Mapping[DenialReason, Text] = {
    DenialReason.HARM_TO_RIGHTS: _("It would harm the rights of somebody."),
    DenialReason.SERIOUS_HINDRANCE: _("It would seriously hinder the site's work."),
    DenialReason.OTHER_LAW: _("Another law forbids it."),
    DenialReason.TRADE_SECRET: _("It would give away a trade secret."),
}

ORDER_STATES: Mapping[OrderState, tuple[Text, str]] = {
    OrderState.ISSUED: (_("Ordered"), "warn"),
    OrderState.RECEIVED: (_("Received by the company"), "warn"),
    OrderState.EXECUTING: (_("Being erased"), "warn"),
    OrderState.CERTIFIED: (_("The company says that it erased"), "good"),
    OrderState.VERIFIED: (_("Erased, and verified"), "good"),
    OrderState.OVERDUE: (_("Overdue: the company is suspended"), "bad"),
    OrderState.ESCALATED: (_("Overdue: reported to the authority"), "bad"),
}

CATEGORIES: Mapping[DataCategory, Text] = {
    DataCategory.BEHAVIOUR: _("what you viewed and did on this site while logged in"),
    DataCategory.IDENTIFIER: _("the e-mail address or code that you gave the company"),
    DataCategory.CONSENT: _("your consents"),
    DataCategory.TAG: _("a code for you at this company alone"),
    DataCategory.TRAINING_ROW: _("a training row with noise"),
    DataCategory.SCORE: _("an encrypted estimate"),
    DataCategory.MAILBOX: _("your mailbox and the key that is sealed to"),
    DataCategory.COPY: _("your sealed copy"),
    DataCategory.RIGHTS_REQUEST: _("your requests"),
    DataCategory.OFFER: _("that you know of the offer"),
    DataCategory.OUTCOME: _("how your application ended"),
}
"""What is about a student; categories without words are about nobody."""

ACCESS_WORDS: Mapping[str, Text] = {
    "follow-up": _("Follow-up staff"),
    "view": _("looked at the band"),
    "mentor_contact": _("an offer to talk with a mentor"),
    "information": _("information sent to you"),
    "visit": _("an invitation to visit"),
    "question_time": _("time for your questions"),
    "schedule_help": _("help with dates"),
    "planned": _("planned"),
    "done": _("done"),
    "cancelled": _("cancelled"),
}
"""Roles and actions in a company's list of who looked; an action and its state are joined by a hyphen."""
