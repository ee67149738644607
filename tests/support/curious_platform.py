"""A platform process that keeps copies and serves students, for tests that look into it afterwards.

    python tests/support/curious_platform.py DIRECTORY

The same objects that `noren-platform serve` runs, without Flower: mailboxes, inbox and the students' API over
TLS. It prints its port, then reads frames of mailbox(16) ‖ copy(4096) from stdin and answers each with its
receipt(64), until stdin ends.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from consenting_students import PermissiveFacts
from student_http import COMPANY

from noren_core.rights.disclosure.mirror_copy import COPY_BYTES
from noren_server.consents.opening import consent_service
from noren_server.platform_files import SERVER_CERTIFICATE, Platform
from noren_server.rights.student_api import run_student_api
from noren_server.rights.student_services import students_side

FRAME_BYTES = 16 + COPY_BYTES


def main(directory: Path) -> None:
    """Serve until stdin ends."""
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    platform = Platform(directory)
    with (
        consent_service(platform, PermissiveFacts().at) as consents,
        students_side(
            platform,
            consents,
            provisions_of=lambda _: [],
            is_logged=lambda _: True,
            erase=lambda _: None,
            erasures_of=lambda _: (),
        ) as side,
        run_student_api(
            side.services,
            host="127.0.0.1",
            port=0,
            private_key=platform.server_tls.key,
            certificate=directory / SERVER_CERTIFICATE,
        ) as port,
    ):
        print(port, flush=True)
        while len(frame := sys.stdin.buffer.read(FRAME_BYTES)) == FRAME_BYTES:
            receipt = side.mailboxes.deposit(company=COMPANY, mailbox=frame[:16], sealed_copy=frame[16:])
            sys.stdout.buffer.write(receipt)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
