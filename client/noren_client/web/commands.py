"""`noren-company open`: the company's pages, served to this machine while the command runs.

Promises: they listen on 127.0.0.1; the one link that lets a browser in stands on stdout and in no log; a
second `open` of the same directory is refused; Ctrl-C ends it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from noren_web.localhost_entry import OneTimeEntry

_LANGUAGES = ("ja", "en")


def open_pages(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free port.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the link in a browser, if there is a desktop.")] = True,
    language: Annotated[str, typer.Option(help="ja or en; the browser's own if left out.")] = "",
) -> None:
    """Open the company's pages in a browser on this machine; they end with Ctrl-C."""
    from noren_core.errors import ConfigurationError

    if language and language not in _LANGUAGES:
        raise ConfigurationError(f"language: expected {' or '.join(_LANGUAGES)}, got another")
    _serve(context.obj, port=port, is_browser_wanted=browser, language=language)


def _serve(company_dir: Path, *, port: int, is_browser_wanted: bool, language: str) -> None:
    """Serve until interrupted.

    1. Nobody else serves this directory; what protects it is asked for now, where a terminal is.
    2. Listen, so that the port is known before a link is made.
    3. Print the link, open it, make another whenever somebody asks for one.
    """
    import threading
    import time

    from noren_client.company_secrets import secrets_of
    from noren_client.web.pages_lock import held_alone
    from noren_client.web.site import company_site
    from noren_local import passphrase
    from noren_local.loopback import ADDRESS
    from noren_web.localhost_entry import OneTimeEntry
    from noren_web.serving import bound, serve_until_stopped, server_of

    def now() -> int:
        return int(time.time())

    entry = OneTimeEntry(now)

    def announce(place: int) -> None:  # 3
        _print_link(entry, place, language, is_browser_wanted=is_browser_wanted)
        asked = threading.Thread(target=_links_when_asked, args=(entry, place, language), daemon=True)
        asked.start()

    with held_alone(company_dir), passphrase.for_children(secrets_of(company_dir)):  # 1
        listening = bound(ADDRESS, port)  # 2
        place = int(listening.getsockname()[1])
        site = company_site(company_dir, port=place, entry=entry, clock=now)
        serve_until_stopped(server_of(site), listening, announce)


def _print_link(entry: OneTimeEntry, port: int, language: str, *, is_browser_wanted: bool) -> None:
    link = _link(entry, port, language)
    sys.stdout.write(link + "\n")
    sys.stdout.flush()
    if is_browser_wanted:
        _open_browser(link)
    sys.stderr.write("The link works once, for five minutes. Enter: another link. Ctrl-C: stop.\n")


def _links_when_asked(entry: OneTimeEntry, port: int, language: str) -> None:
    """A session ends after a while, and the link was for one: Enter makes the next.

    Read from the descriptor: a thread that waits in `sys.stdin` would hold its lock when the program ends.
    """
    import os

    while os.read(sys.stdin.fileno(), 1 << 10):
        sys.stdout.write(_link(entry, port, language) + "\n")
        sys.stdout.flush()


def _link(entry: OneTimeEntry, port: int, language: str) -> str:
    chosen = f"&lang={language}" if language else ""
    return f"http://127.0.0.1:{port}{entry.new_path()}{chosen}"


def _open_browser(link: str) -> None:
    """Only on a desktop: a browser in the terminal would take the terminal away from the command."""
    import os
    import webbrowser

    is_desktop = sys.platform in {"darwin", "win32"} or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if is_desktop:
        webbrowser.open(link)
