"""A real platform whose companies are all second clients."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from noren_core.ledger.entries import EntryKind, parse_entry
from noren_core.season import messages as m
from noren_core.season.plan import CampaignPlan
from noren_server import alignment as platform_alignment
from noren_server import platform_files
from noren_server.store import EnrolmentRecord

from . import (
    ledger,
    ledger_proof,
)

COMPANIES = tuple(f"company-{number}" for number in range(1, 6))
US = "company-3"
KEYS = {
    name: Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()) for name in COMPANIES
}
PUBLIC = {name: key.public_key().public_bytes_raw() for name, key in KEYS.items()}


def enrolment_of(company: str, *, attempt: str = "") -> bytes:
    """The entry of a company whose other keys are made up."""
    others = ("sealing_key", "tls_key_sha256", "node_key_sha256")
    made_up = {name: hashlib.sha256(f"{company} {name}{attempt}".encode()).hexdigest() for name in others}
    body = {"company": company, "signing_key": PUBLIC[company].hex(), **made_up}
    return ledger.signed_entry(KEYS[company], company, "enrolment", body)


@dataclass
class Setting:
    """A platform with five enrolled companies, all of them second clients, and a published plan."""

    platform: platform_files.Platform
    plan: CampaignPlan
    anchors: Mapping[str, str]

    def say(self, entry: bytes) -> int:
        """What the platform does with a company's entry."""
        parsed = parse_entry(entry)
        if parsed.kind is not EntryKind.ENROLMENT:
            self.platform.ledger.verify_author(parsed)
        return self.platform.ledger.append_company_entry(parsed)

    def watch(self, company: str = US) -> ledger_proof.Watch:
        """What a company that was invited at the beginning begins with."""
        return ledger_proof.Watch(company, PUBLIC[company].hex(), self.anchors)

    def proof(self, known: int = 0) -> Any:
        """A proof of every entry, as it travels."""
        indices = range(self.platform.ledger_store.size)
        return m.proof_to_wire(self.platform.ledger.prove(known_tree_size=known, indices=indices))


@pytest.fixture
def setting(tmp_path: Path, plan_body: dict[str, Any]) -> Iterator[Setting]:
    for member in plan_body["cohort"]:  # plain integers are slow
        member |= {"padded_batch": 8, "evaluations": 16}
    directory = tmp_path / "platform"
    platform = platform_files.initialise(directory, name="job-site", host="127.0.0.1", ports=(0, 0, 0, 0))
    anchors = {"platform": platform.signing_key.public_key.hex(), "log": platform.log_verifier_key.to_text()}
    made = Setting(platform, CampaignPlan.from_body(plan_body), anchors)
    for company in COMPANIES:
        made.say(enrolment_of(company))
    with platform.store.transaction() as transaction:
        for company in COMPANIES:
            record = EnrolmentRecord(
                company, PUBLIC[company], b"x" * 32, 40, b"request", b"node", b"{}", b"{}"
            )
            transaction.add_company(record)
        transaction.add_campaign(made.plan)
    platform.ledger.append_platform_entry(EntryKind.PLAN, plan_body)
    platform_alignment.publish_oprf_keys(platform.store, platform.ledger, made.plan)
    yield made
    platform.store.close()
    platform.ledger_store.close()
