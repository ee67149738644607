"""After erasure the weights of sealed statistics say how often each outcome stood, not whose it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from loopback_custodian import make_company

from noren_client import campaign_files, keystore, sealed_statistics
from noren_client.opened_sums import OpenedSums
from noren_client.sealed_statistics import WEIGHTS_FILE, KeptWeights
from noren_core.crypto.weight_encryption import WeightSecret
from noren_core.errors import LocalProtocolError

CAMPAIGN = "spring-2026"


def keep(company_dir: Path, weights: np.ndarray) -> None:
    kept = KeptWeights(WeightSecret.generate(), b"\5" * 32, weights.astype(np.int8))
    keystore.write_secret(company_dir, campaign_files.secret_name(CAMPAIGN, WEIGHTS_FILE), kept.to_bytes())


def test_places_are_lost_and_outcomes_kept(tmp_path: Path) -> None:
    """The base rate is the same; in which place of the table anybody stood is not there any more."""
    company = make_company(tmp_path / "company")
    weights = np.array([4] * 60 + [-1] * 100 + [0] * 640)
    keep(company, weights)
    with pytest.raises(LocalProtocolError):  # the message is still on its way
        sealed_statistics.unlink_weights(company, CAMPAIGN)
    campaign_files.save_sums(company, CAMPAIGN, OpenedSums((1, 2)))
    sealed_statistics.unlink_weights(company, CAMPAIGN)
    after = sealed_statistics.load_weights(company, CAMPAIGN)
    assert sorted(after.weights) == sorted(weights)
    assert sorted(after.labels) == [0] * 100 + [1] * 60
    assert list(after.weights) != list(weights)
    assert after.root != b"\5" * 32


def test_nothing_to_unlink_is_no_error(tmp_path: Path) -> None:
    """A campaign of the other mode has no weights."""
    sealed_statistics.unlink_weights(make_company(tmp_path / "company"), CAMPAIGN)
