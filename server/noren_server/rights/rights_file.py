"""The file of what students asked for: `rights.db` in the platform's directory, 0600.

Disclosure requests and what companies owe for them, inquiries, one-time codes for a first or lost key, and
the nonces of requests of the last minutes.
"""

from __future__ import annotations

from pathlib import Path

from noren_server.policies.evidence_file import EvidenceFile

DATABASE_NAME = "rights.db"

_SCHEMA = """
CREATE TABLE requests (
    request BLOB PRIMARY KEY,
    student TEXT NOT NULL,
    company TEXT NOT NULL,
    scope BLOB NOT NULL,
    state TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    reasons TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_student ON requests (student, opened_at);
CREATE TABLE owed (
    item BLOB PRIMARY KEY,
    request BLOB NOT NULL REFERENCES requests (request),
    company TEXT NOT NULL,
    campaign TEXT NOT NULL,
    content BLOB NOT NULL,
    due_at INTEGER NOT NULL,
    served INTEGER NOT NULL,
    received INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX owed_by_company ON owed (company, campaign, received, served);
CREATE INDEX owed_by_request ON owed (request);
CREATE TABLE inquiries (
    inquiry BLOB PRIMARY KEY,
    student TEXT NOT NULL,
    company TEXT NOT NULL,
    topic TEXT NOT NULL,
    state TEXT NOT NULL,
    text TEXT NOT NULL,
    evidence BLOB NOT NULL,
    opened_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    answered_at INTEGER NOT NULL,
    answer TEXT NOT NULL,
    reviewer TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX inquiries_by_student ON inquiries (student, opened_at);
CREATE TABLE account_codes (
    sha256 BLOB PRIMARY KEY,
    student TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE nonces (
    student TEXT NOT NULL,
    nonce BLOB NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (student, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX nonces_by_end ON nonces (until);
"""


def open_rights_file(directory: Path) -> EvidenceFile:
    """The file below the platform's directory; it is made if there is none."""
    return EvidenceFile(directory / DATABASE_NAME, schema=_SCHEMA, version=1)
