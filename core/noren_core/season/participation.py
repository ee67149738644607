"""What a company signs up to, and the labels that bind its requests to that.

The agreement is the packaged text, byte for byte; its hash is what both sides sign.
"""

from __future__ import annotations

import hashlib
from importlib import resources

COLLECT_LABEL = b"noren/v1/collect"
"""Under which an applicant signs its own public key to collect its certificate."""


def agreement_text() -> str:
    """The participation agreement."""
    return _agreement().decode()


def agreement_sha256() -> str:
    """What an agreement entry states: SHA-256 of the text's bytes, in hex."""
    return hashlib.sha256(_agreement()).hexdigest()


def _agreement() -> bytes:
    return resources.files("noren_core.season").joinpath("participation_agreement.txt").read_bytes()
