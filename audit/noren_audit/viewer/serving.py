"""Runs the viewer until somebody stops it, and cleans up after it."""

from __future__ import annotations

import signal
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from noren_audit.verification.trust import Trust
from noren_audit.viewer.viewer import Viewer


def serve(
    bundle: Path | None, trust: Trust | None, *, port: int, opens: bool, announce: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        bundle: verified at once, if there is one; it is only read.
        trust: whom to believe about every bundle; None: handed in with each.
        port: 0 takes a free one.
        opens: whether the browser is asked to open the page.
        announce: called with the one-time link.
    """
    viewer = Viewer(trust=trust, port=port)
    try:
        if bundle is not None and trust is not None:
            viewer.verification.start(bundle, trust)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=viewer.shutdown).start())
        link = viewer.new_link()
        announce(link)
        if opens:  # in a thread: a browser in the terminal would keep us from serving it
            threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()
        viewer.serve_forever()
    finally:
        viewer.server_close()
