"""How this company's connections leave its network: straight, or through the proxy that its IT prescribes.

Promises: what config.toml says counts, and where it says nothing HTTPS_PROXY does; NO_PROXY counts in both
cases, and a proxy of the environment is not asked for addresses of this very machine. Of a proxy only CONNECT
is asked, so it sees host, port and TLS. A proxy's password is in no repr, message or log.

A company's own certificate authority never makes a connection to the platform trusted: that one is pinned to
the invitation's authority, so a middlebox that opens TLS is refused, and `noren-company doctor` names it.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from noren_core.errors import ConfigurationError, NorenError, RemoteProtocolError

NO_PROXY_AT_ALL = "none"

_MAX_TEXT = 4096
_VARIABLES = ("https_proxy", "HTTPS_PROXY")
_EXCEPTIONS = ("no_proxy", "NO_PROXY")
_MAX_ANSWER_BYTES = 16 << 10
_OK = 200
_PROXY_AUTHENTICATION_REQUIRED = 407


class ProxyError(NorenError):
    """The proxy did not let a connection through, or is not there."""

    code = "PROXY_REFUSED"
    exit_code = RemoteProtocolError.exit_code


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """How connections leave this company's network.

    Attributes:
        proxy: http://[user:password@]host:port; empty for what HTTPS_PROXY says, "none" for never.
        no_proxy: names, addresses and networks that are reached straight, besides those of NO_PROXY.
        authority: a file with the company's own certificate authorities, PEM; never used for the platform.
    """

    proxy: str = field(default="", repr=False)  # it may hold a password
    no_proxy: tuple[str, ...] = ()
    authority: str = ""

    @classmethod
    def from_texts(cls, *, proxy: str = "", no_proxy: str = "", authority: str = "") -> Self:
        """As config.toml and options of commands say it; `no_proxy` is separated by commas.

        Raises:
            ConfigurationError: if the proxy is none, or a text is too long.
        """
        for name, text in (("proxy", proxy), ("no_proxy", no_proxy), ("authority", authority)):
            if len(text) > _MAX_TEXT or not text.isprintable():
                raise ConfigurationError(f"network.{name}: expected a line of at most {_MAX_TEXT} characters")
        if proxy and proxy != NO_PROXY_AT_ALL:
            parse_proxy(proxy)
        return cls(proxy, tuple(item for text in no_proxy.split(",") if (item := text.strip())), authority)


AS_ENVIRONMENT = NetworkSettings()
"""What counts where nothing is configured."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that is asked to CONNECT.

    Attributes:
        user, password: what it wants to know, or nothing.
    """

    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """host:port, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """With user and password; as libraries take it."""
        given = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user else ""
        return f"http://{given}{self.address}"

    def headers(self) -> dict[str, str]:
        """What it is asked with."""
        if not self.user:
            return {}
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Proxy-Authorization": f"Basic {token}"}


def parse_proxy(text: str) -> Proxy:
    """The proxy that `http://[user:password@]host[:port]` names; the scheme may be missing.

    Raises:
        ConfigurationError: for anything else. The text is not quoted: it may hold a password.
    """
    with suppress(ValueError):
        parts = urlsplit(text if "://" in text else f"http://{text}")
        is_plain = parts.path in {"", "/"} and not parts.query and not parts.fragment
        if parts.scheme == "http" and parts.hostname and is_plain and text.isascii() and text.isprintable():
            user, password = unquote(parts.username or ""), unquote(parts.password or "")
            return Proxy(parts.hostname, parts.port or 80, user, password)
    raise ConfigurationError("network.proxy: expected http://[user:password@]host:port, got another text")


def proxy_for(
    network: NetworkSettings, host: str, port: int, *, environment: Mapping[str, str] = os.environ
) -> Proxy | None:
    """The proxy through which `host` is reached, None for straight.

    Raises:
        ConfigurationError: if the one that is configured, here or in the environment, is not one.
    """
    if network.proxy == NO_PROXY_AT_ALL or _is_excepted(host, port, _exceptions(network, environment)):
        return None
    if network.proxy:
        return parse_proxy(network.proxy)
    named = _first(environment, _VARIABLES)
    return None if not named or _is_loopback(host) else parse_proxy(named)


def channel_options(
    network: NetworkSettings, address: str, *, environment: Mapping[str, str] = os.environ
) -> list[tuple[str, str | int]]:
    """The options with which gRPC reaches host:port the same way."""
    host, port = split_address(address)
    proxy = proxy_for(network, host, port, environment=environment)
    if proxy is None:
        return [("grpc.enable_http_proxy", 0)]
    return [("grpc.enable_http_proxy", 1), ("grpc.http_proxy", proxy.url)]


def child_environment(
    network: NetworkSettings, *, direct: Sequence[str], environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """What a child process is told, so that it goes the same way; `direct` is never reached by proxy."""
    exceptions = ",".join([*_exceptions(network, environment), *direct])
    told = {"NO_PROXY": exceptions, "no_proxy": exceptions}
    if not network.proxy:
        return told
    url = "" if network.proxy == NO_PROXY_AT_ALL else parse_proxy(network.proxy).url
    return told | dict.fromkeys((*_VARIABLES, "all_proxy", "ALL_PROXY"), url)


def connect(network: NetworkSettings, host: str, port: int, *, timeout: float) -> socket.socket:
    """A TCP connection to host:port, through the proxy if there is one.

    Raises:
        ProxyError: if the proxy is not reached, or does not let us through; its code is
            PROXY_NOT_REACHED, PROXY_AUTHENTICATION or PROXY_REFUSED.
        OSError: if host is not reached without a proxy.
    """
    proxy = proxy_for(network, host, port)
    if proxy is None:
        return socket.create_connection((host, port), timeout=timeout)
    try:
        plain = socket.create_connection((proxy.host, proxy.port), timeout=timeout)
    except OSError as error:
        raise ProxyError(
            "proxy: expected one that answers, got no connection", code="PROXY_NOT_REACHED"
        ) from error
    try:
        _ask_to_connect(plain, proxy, host, port)
    except BaseException:
        plain.close()
        raise
    return plain


def authority_context(network: NetworkSettings) -> ssl.SSLContext:
    """TLS to whoever is not pinned, such as a custodian: the machine's authorities and the company's own.

    Raises:
        ConfigurationError: if the file of the company's own authority cannot be read as one.
    """
    context = ssl.create_default_context()
    if network.authority:
        try:
            context.load_verify_locations(cafile=network.authority)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                "network.authority: expected a file of certificates in PEM, got none that can be read"
            ) from error
    return context


def split_address(address: str) -> tuple[str, int]:
    """Host and port of host:port, as it is in config.toml."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise ConfigurationError("addresses: expected host:port, got another text")
    return host.strip("[]"), int(port)


def _ask_to_connect(plain: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    head = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    head += [f"{name}: {value}" for name, value in proxy.headers().items()]
    try:
        plain.sendall("\r\n".join([*head, "", ""]).encode("ascii"))
        status = _status(_answer_head(plain))
    except (OSError, UnicodeError) as error:
        raise ProxyError("proxy: expected an answer to CONNECT, got none", code="PROXY_REFUSED") from error
    if status == _PROXY_AUTHENTICATION_REQUIRED:
        raise ProxyError(
            "proxy: expected it to take our user and password, it asks for others",
            code="PROXY_AUTHENTICATION",
        )
    if status != _OK:
        raise ProxyError(f"proxy: expected it to let us through, got status {status}", code="PROXY_REFUSED")


def _answer_head(plain: socket.socket) -> bytes:
    """Up to the empty line, byte by byte: what follows belongs to TLS."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        byte = plain.recv(1)
        if not byte or len(head) >= _MAX_ANSWER_BYTES:
            raise ProxyError("proxy: expected an answer of HTTP, got another")
        head += byte
    return bytes(head)


def _status(head: bytes) -> int:
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ProxyError("proxy: expected an answer of HTTP, got another")
    return int(words[1][:3])


def _exceptions(network: NetworkSettings, environment: Mapping[str, str]) -> list[str]:
    given = [*network.no_proxy, *_first(environment, _EXCEPTIONS).replace(" ", ",").split(",")]
    return [item for item in (text.strip() for text in given) if item]


def _is_excepted(host: str, port: int, exceptions: Sequence[str]) -> bool:
    """As curl and Python read NO_PROXY: *, names with what is below them, addresses, networks."""
    name = host.lower().rstrip(".")
    for item in exceptions:
        rule, _, only_port = item.lower().partition(":") if item.count(":") == 1 else (item.lower(), "", "")
        if only_port and only_port != str(port):
            continue
        domain = rule.lstrip("*").lstrip(".")
        if rule == "*" or (domain and (name == domain or name.endswith(f".{domain}"))):
            return True
        with suppress(ValueError):
            if ipaddress.ip_address(name) in ipaddress.ip_network(rule, strict=False):
                return True
    return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")
