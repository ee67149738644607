"""A deletion certificate as a company keeps it, about an order that nobody gave."""

from __future__ import annotations

import secrets
from pathlib import Path

from noren_client import keystore
from noren_core.rights.erasure.deletion_certificate import (
    DeletionCertificate,
    Disposition,
    ModelLineage,
    Residual,
    ScanPlace,
    all_artefacts,
    certificate_to_bytes,
)
from noren_local.private_file import write_private


def write_certificate(company_dir: Path, campaign: str, *, completed_at: int) -> tuple[str, bytes]:
    """Write one; the name of its order, and its bytes."""
    keys, order = keystore.load(company_dir), secrets.token_bytes(16)
    certificate = DeletionCertificate(
        certificate_id=secrets.token_bytes(16),
        order_id=order,
        order_sha256=bytes(32),
        company=keys.company,
        campaign=campaign,
        completed_at=completed_at,
        artefacts=all_artefacts(is_custodian_held=False),
        models=(ModelLineage(campaign, Disposition.DP_BOUNDED_RETAIN, "1", "0.000001"),),
        is_clean=True,
        places=tuple(ScanPlace),
        residuals=tuple(Residual),
        inventory=bytes(32),
        is_custodian_held=False,
    )
    data = certificate_to_bytes(certificate.sign(keys.signing), None)
    (company_dir / "rights").mkdir(mode=0o700, exist_ok=True)  # as the inventory before it makes it
    write_private(company_dir / "rights" / "certificates" / f"{order.hex()}.json", data)
    return order.hex(), data
