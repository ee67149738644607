"""A company whose session answers a payload by reversing it; run as a process of its own.

Usage: echo_company.py COMPANY_DIR FLEET_ADDRESS ROOT_CERTIFICATES BUNDLE_SHA256
"""

import logging
import sys
from pathlib import Path

from noren_client.supernode import SupernodeSettings, run_company
from noren_core.crypto.secret import SecretBytes


def reverse(company_dir: Path, payload: bytes) -> bytes:
    with (company_dir / "handled.log").open("ab") as log:
        log.write(payload + b"\n")
    return payload[::-1]


def main() -> None:
    logging.basicConfig(filename=Path(sys.argv[1]) / "worker.log")
    company_dir, address, roots, pin = sys.argv[1:]
    run_company(
        SupernodeSettings(
            company_dir=Path(company_dir),
            fleet_address=address,
            root_certificates=Path(roots),
            node_key=SecretBytes((Path(company_dir) / "node.key").read_bytes()),
            bundle_sha256=pin,
        ),
        handle=reverse,
    )


if __name__ == "__main__":
    main()
