"""Through the proxy, or straight: for gRPC, for Flower, for the custodian."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from connect_proxy import CompanyAuthority, connect_proxy
from self_signed_certificate import self_signed

from noren_client import outbound, transport
from noren_client.outbound import AS_ENVIRONMENT, NetworkSettings, ProxyError
from noren_client.rights.custodian_client import _connection
from noren_core.errors import ConfigurationError

PROXY = {"HTTPS_PROXY": "http://proxy.example:3128"}


def network(**texts: str) -> NetworkSettings:
    return NetworkSettings.from_texts(**texts)


@pytest.mark.parametrize(
    ("settings", "environment", "host", "expected"),
    [
        (AS_ENVIRONMENT, {}, "noren.example", None),
        (AS_ENVIRONMENT, PROXY, "noren.example", "proxy.example:3128"),
        (AS_ENVIRONMENT, {"https_proxy": "http://lower:1", **PROXY}, "noren.example", "lower:1"),
        (AS_ENVIRONMENT, PROXY, "127.0.0.1", None),
        (AS_ENVIRONMENT, PROXY, "localhost", None),
        (AS_ENVIRONMENT, PROXY | {"NO_PROXY": "example"}, "noren.example", None),
        (AS_ENVIRONMENT, PROXY | {"NO_PROXY": ".example"}, "noren.example", None),
        (AS_ENVIRONMENT, PROXY | {"NO_PROXY": "*.example, other"}, "NOREN.example", None),
        (AS_ENVIRONMENT, PROXY | {"NO_PROXY": "ample"}, "noren.example", "proxy.example:3128"),
        (AS_ENVIRONMENT, PROXY | {"NO_PROXY": "*"}, "noren.example", None),
        (AS_ENVIRONMENT, PROXY | {"NO_PROXY": "10.0.0.0/8"}, "10.1.2.3", None),
        (AS_ENVIRONMENT, PROXY | {"NO_PROXY": "10.0.0.0/8"}, "11.1.2.3", "proxy.example:3128"),
        (AS_ENVIRONMENT, PROXY | {"NO_PROXY": "noren.example:8443"}, "noren.example", None),
        (AS_ENVIRONMENT, PROXY | {"NO_PROXY": "noren.example:1"}, "noren.example", "proxy.example:3128"),
        (network(proxy="none"), PROXY, "noren.example", None),
        (network(proxy="http://ours:8080"), PROXY, "noren.example", "ours:8080"),
        (network(proxy="ours:8080"), {}, "127.0.0.1", "ours:8080"),
        (network(proxy="ours:8080", no_proxy="a, noren.example"), {}, "noren.example", None),
    ],
)
def test_which_way(
    settings: NetworkSettings, environment: dict[str, str], host: str, expected: str | None
) -> None:
    """The configuration before the environment; exceptions as curl reads them."""
    found = outbound.proxy_for(settings, host, 8443, environment=environment)
    assert (None if found is None else found.address) == expected


@pytest.mark.parametrize(
    "text",
    [
        "ftp://a:1",
        "https://a:1",
        "http://",
        "http://a:99999",
        "http://a:1/path",
        "http://a:1?q",
        "x" * 5000,
        "http://\n",
    ],
)
def test_what_is_no_proxy(text: str) -> None:
    """Refused, without saying what it was: it may hold a password."""
    with pytest.raises(ConfigurationError) as caught:
        network(proxy=text)
    assert text[7:] not in caught.value.message or not text[7:]


def test_a_password_is_shown_nowhere() -> None:
    """Neither in settings nor in the proxy; it is there for who asks."""
    settings = network(proxy="http://taro:p%40ss@proxy:1")
    proxy = outbound.proxy_for(settings, "noren.example", 1, environment={})
    assert proxy is not None
    assert "p%40ss" not in repr(settings) + repr(proxy)
    assert (proxy.user, proxy.password, proxy.url) == ("taro", "p@ss", "http://taro:p%40ss@proxy:1")


def test_children_go_the_same_way() -> None:
    """A SuperNode gets the proxy as Flower's client reads it; this machine is never reached through it."""
    direct = ("127.0.0.1", "localhost")
    told = outbound.child_environment(
        network(proxy="http://ours:1", no_proxy="a"), direct=direct, environment={}
    )
    assert told["HTTPS_PROXY"] == told["https_proxy"] == "http://ours:1"
    assert told["no_proxy"] == told["NO_PROXY"] == "a,127.0.0.1,localhost"
    assert "HTTPS_PROXY" not in outbound.child_environment(AS_ENVIRONMENT, direct=direct, environment=PROXY)
    never = outbound.child_environment(network(proxy="none"), direct=direct, environment=PROXY)
    assert (never["HTTPS_PROXY"], never["all_proxy"]) == ("", "")


def test_flower_reads_what_children_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """httpx, which Flower uses, takes the proxy for the platform and none for this machine."""
    import httpx

    for name, value in outbound.child_environment(
        network(proxy="http://ours:1"), direct=("127.0.0.1",), environment={}
    ).items():
        monkeypatch.setenv(name, value)
    with httpx.Client() as client:
        assert client._transport_for_url(httpx.URL("https://127.0.0.1:1/")) is client._transport
        assert client._transport_for_url(httpx.URL("https://noren.example/")) is not client._transport


def test_grpc_goes_through_the_proxy(tmp_path: Path) -> None:
    """A channel of ours reaches a server by CONNECT, with the password, and the server's TLS is its own."""
    certificate, key = self_signed(tmp_path)
    server = grpc.server(ThreadPoolExecutor(1))
    handlers = {"Say": grpc.unary_unary_rpc_method_handler(lambda request, _: request)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Echo", handlers),))
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    trusting = grpc.ssl_channel_credentials(certificate.read_bytes())
    with connect_proxy(account="taro:secret") as proxy:
        for settings, asked in (
            (network(proxy="none"), []),
            (network(proxy=proxy.url), [f"127.0.0.1:{port}"]),
        ):
            with transport._channel(f"127.0.0.1:{port}", trusting, settings) as channel:
                assert channel.unary_unary("/Echo/Say")(b"hello", timeout=10) == b"hello"
            assert list(dict.fromkeys(proxy.asked)) == asked
    server.stop(0)


@pytest.mark.parametrize(
    ("proxied", "code"), [({"account": "a:b"}, "PROXY_AUTHENTICATION"), ({"refuses": True}, "PROXY_REFUSED")]
)
def test_why_a_proxy_did_not_let_us_through(proxied: dict[str, object], code: str) -> None:
    """A stable code, and never a connection."""
    with connect_proxy(**proxied) as proxy, pytest.raises(ProxyError) as caught:  # type: ignore[arg-type]
        outbound.connect(network(proxy=f"http://{proxy.address}"), "noren.example", 1, timeout=10)
    assert (caught.value.code, caught.value.exit_code) == (code, 4)


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"x" * 20_000]
)
def test_a_proxy_that_is_none(answer: bytes) -> None:
    """What does not answer HTTP is refused within bounds."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(4096)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ProxyError):
            outbound.connect(
                network(proxy=f"127.0.0.1:{listening.getsockname()[1]}"), "noren.example", 1, timeout=10
            )
        thread.join()


def test_the_custodian_is_reached_through_the_proxy_and_the_companys_authority(tmp_path: Path) -> None:
    """TLS of a custodian is verified by the machine's authorities and the company's own."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    authority = CompanyAuthority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    server.socket = authority.server_context(tmp_path, "127.0.0.1").wrap_socket(
        server.socket, server_side=True
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    port = server.server_address[1]
    try:
        with connect_proxy() as proxy:
            trusting = network(proxy=proxy.url, authority=str(tmp_path / "ca.pem"))
            connection = _connection("https", "127.0.0.1", port, trusting)
            connection.request("POST", "/", body=b"")
            assert connection.getresponse().status == 204
            connection.close()
            stranger = _connection("https", "127.0.0.1", port, network(proxy=proxy.url))
            with pytest.raises(ssl.SSLCertVerificationError):
                stranger.request("POST", "/", body=b"")
            stranger.close()
            assert proxy.asked == [f"127.0.0.1:{port}"] * 2
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_authority_that_cannot_be_read(tmp_path: Path) -> None:
    """Is told by name of the setting."""
    (tmp_path / "ca.pem").write_text("nothing")
    for path in ("ca.pem", "missing.pem"):
        with pytest.raises(ConfigurationError, match=r"network\.authority"):
            outbound.authority_context(network(authority=str(tmp_path / path)))
