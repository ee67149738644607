"""Where the console listens: an address with TLS, or loopback without.

Promises: without TLS nothing but loopback is bound, and nobody comes in there but through the one-time link
that the terminal shows; a Host that is not ours is refused; the key of the certificate is read from memory.
"""

from __future__ import annotations

import ipaddress
import re
import signal
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from noren_core.errors import ConfigurationError
from noren_server.consents.opening import unix_now
from noren_server.platform_files import SERVER_CERTIFICATE, Platform
from noren_server.platform_secrets import secrets_of

_HTTPS_PORT, _MAX_PORT = 443, 65535
_LISTEN = re.compile(r"(?:\[([0-9a-fA-F:]+)\]|([^:\s]+)):([0-9]{1,5})\Z", re.ASCII)
_PUBLIC = re.compile(r"[a-z0-9.-]{1,253}(?::[0-9]{1,5})?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Listening:
    """How the console is reached.

    Attributes:
        host, port: what is bound; port 0 is a free one.
        is_tls: whether over TLS.
        certificate, key: files in PEM; None: the platform's own.
        public_name: what browsers say, if it is not host and port.
    """

    host: str
    port: int
    is_tls: bool
    certificate: Path | None = None
    key: Path | None = None
    public_name: str = ""


def choose(
    listen: str, *, tls: bool | None, files: tuple[Path | None, Path | None], public_name: str
) -> Listening:
    """The listening that options ask for.

    Raises:
        ConfigurationError: for a malformed address, half of a pair of files; with code CONSOLE_NEEDS_TLS,
            without TLS elsewhere than on loopback.
    """
    found = _LISTEN.match(listen)
    if found is None or int(found[3]) > _MAX_PORT:
        raise ConfigurationError("listen: expected address:port, got another text")
    host, port = found[1] or found[2], int(found[3])
    certificate, key = files
    if (certificate is None) is not (key is None):
        raise ConfigurationError("certificate: expected --certificate and --key together, got one of them")
    if public_name and not _PUBLIC.match(public_name):
        raise ConfigurationError("public name: expected a host in lower case, perhaps with a port")
    is_tls = tls if tls is not None else certificate is not None or not _is_loopback(host)
    if not is_tls and (not _is_loopback(host) or certificate is not None):
        raise ConfigurationError(
            "listen: expected TLS, or a loopback address without; got another address without TLS",
            code="CONSOLE_NEEDS_TLS",
        )
    return Listening(host, port, is_tls, certificate, key, public_name)


def serve(directory: Path, listening: Listening) -> None:
    """Serve until SIGTERM or SIGINT; where to go is said on stderr."""
    is_over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: is_over.set())
    with secrets_of(directory).held(), running(directory, listening, clock=unix_now) as address:
        print(f"console: {address}", file=sys.stderr, flush=True)
        is_over.wait()


@contextmanager
def running(directory: Path, listening: Listening, *, clock: Callable[[], int]) -> Iterator[str]:
    """The console in a thread of its own until the end of the block; where a browser goes first."""
    from noren_server.console.desk import open_desk
    from noren_server.console.site import console_site
    from noren_web.localhost_entry import OneTimeEntry
    from noren_web.serving import bound, served, server_of

    with bound(listening.host, listening.port) as socket:
        host = _public(listening, int(socket.getsockname()[1]))
        base_url = f"{'https' if listening.is_tls else 'http'}://{host}"
        entry = None if listening.is_tls else OneTimeEntry(clock)
        with open_desk(directory, clock, base_url=base_url) as desk:
            site = console_site(desk, hosts=frozenset({host}), is_tls=listening.is_tls, entry=entry)
            key, certificate = _tls(desk.platform, listening)
            try:
                server = server_of(site, private_key=key, certificate=certificate)
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(
                    "certificate: expected a chain and its key in PEM, got others"
                ) from error
            with served(server, socket, name="console"):
                yield base_url + ("/" if entry is None else entry.new_path())


def _tls(platform: Platform, listening: Listening) -> tuple[bytes | None, Path | None]:
    """Key and certificate file; None without TLS."""
    if not listening.is_tls:
        return None, None
    if listening.certificate is None or listening.key is None:
        return platform.server_tls.key, platform.directory / SERVER_CERTIFICATE
    try:
        return listening.key.read_bytes(), listening.certificate
    except OSError as error:
        raise ConfigurationError("key: expected a file that can be read, got none") from error


def _public(listening: Listening, port: int) -> str:
    """What a browser's Host says: the port where it is not the scheme's."""
    if listening.public_name:
        return listening.public_name
    host = f"[{listening.host}]" if ":" in listening.host else listening.host
    return host if listening.is_tls and port == _HTTPS_PORT else f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
