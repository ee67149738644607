"""What an auditor checks of a coverage report, and her word on it.

Promises: nothing is signed that does not add up or whose verdict does not follow from its figures; with the
snapshot's directory, its files are the ones that the report is about; an attestation says what it is over.

The figures themselves are not computed again: that takes the platform's engine on personal data. Whoever
wants it runs `noren-platform coverage run --from` on the snapshot, at the same time and phases, and compares
the reports. So an attestation says: this report is consistent, and it is this one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from noren_core.crypto.identity import SigningKey
from noren_core.errors import ConfigurationError, VerificationError
from noren_core.rights.coverage.coverage_report import (
    MAX_REPORT_BYTES,
    SNAPSHOT_FILES,
    SNAPSHOT_LABEL,
    Attestation,
    CoverageReport,
    attest,
    parse_report,
)


def read_report(path: Path) -> CoverageReport:
    """The report in a file, checked as `coverage_report.parse_report` says."""
    try:
        with path.open("rb") as file:
            return parse_report(file.read(MAX_REPORT_BYTES + 1))
    except OSError as error:
        raise ConfigurationError(f"expected a readable report, got {error.strerror}") from error


def attest_report(report: CoverageReport, key: SigningKey, *, snapshot: Path | None = None) -> Attestation:
    """The auditor's word on a report.

    1. If its snapshot is there, its files are those that the report names.
    2. Sign. That it adds up was checked when it was read.

    Raises:
        VerificationError: if the snapshot is another one.
    """
    if snapshot is not None:  # 1
        verify_snapshot(report, snapshot)
    return attest(report, key)  # 2


def verify_snapshot(report: CoverageReport, directory: Path) -> None:
    """Raise VerificationError unless these are the files that the report was computed from."""
    whole = hashlib.sha256(SNAPSHOT_LABEL)
    for path in sorted(path for name in SNAPSHOT_FILES if (path := directory / name).is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256")
        whole.update(path.name.encode() + b"\0" + content.digest())
    if whole.hexdigest() != report.body["digests"]["snapshot"]:
        raise VerificationError("snapshot: expected the one that the report is about, got another")
