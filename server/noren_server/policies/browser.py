"""A headless Chromium of our own, driven over two pipes: no port for others, nothing left behind.

Promises: it talks to the origins that it was given and to nobody else; pages of ours are answered from
    memory; it ends after the block, whatever happened, and its profile is removed. Every wait and every size
    is bounded. What a page shows is read in a world of its own, which the page's scripts cannot see.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from noren_core.errors import ConfigurationError, DataError
from noren_core.rights.notices.screen import Device
from noren_server.policies.consent_screen import HEADERS

INSTALL = "sudo apt-get install -y chromium"
PAGE_SECONDS = 30.0
MAX_PAGE_BYTES = 8 << 20
MAX_MESSAGE_BYTES = 32 << 20

_SIZES = {Device.MOBILE: (390, 844), Device.DESKTOP: (1280, 900)}
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
    "--no-pings",
    "--remote-debugging-pipe",
)
_STOP_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Sight:
    """Where a browser may go: origins on the network, and pages that are answered from memory, by address."""

    origins: frozenset[str]
    pages: Mapping[str, str]

    def allows(self, url: str) -> bool:
        """Whether this address may be asked for."""
        return url in self.pages or origin_of(url) in self.origins


def origin_of(url: str) -> str:
    """Scheme, host and port of an address; empty if it has none."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.scheme and parts.netloc else ""


class Browser:
    """One running browser with one page."""

    def __init__(self, to_browser: int, from_browser: int, sight: Sight) -> None:
        self._to_browser, self._from_browser, self._sight = to_browser, from_browser, sight
        self._buffer = bytearray()
        self._number = 0
        self._session: str | None = None
        self._deadline = monotonic() + PAGE_SECONDS
        self._events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self._call(f"{domain}.enable")
        self._call("Page.setLifecycleEventsEnabled", enabled=True)
        self._call("Fetch.enable", patterns=[{"urlPattern": "*"}])

    def show(self, url: str, *, device: Device, languages: str) -> None:
        """Open a page anew at a width and wait until it is there and, if it runs scripts, rests.

        Raises:
            DataError: if the address is not among those allowed, the answer is no page, takes longer than 30
                seconds or more than 8 MiB.
        """
        if not self._sight.allows(url):
            raise DataError("crawler: expected an address of the given origins, got another")
        self._deadline = monotonic() + PAGE_SECONDS
        width, height = _SIZES[device]
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": device is Device.MOBILE}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        self._call("Network.setExtraHTTPHeaders", headers={"Accept-Language": languages})
        self._events.clear()
        done = self._call("Page.navigate", url=url)
        if "errorText" in done:
            raise DataError("crawler: expected a page at the address, got none")
        loader = done.get("loaderId", "")
        self._wait(lambda event: _is_lifecycle(event, loader, "load"))
        self._verify_answer(loader)
        if self.evaluate("document.scripts.length"):
            self._wait(lambda event: _is_lifecycle(event, loader, "networkAlmostIdle"))

    def evaluate(self, script: str) -> Any:
        """What an expression gives, in a world that the page's own scripts cannot see.

        Raises:
            DataError: if it fails on this page.
        """
        frame = self._call("Page.getFrameTree")["frameTree"]["frame"]["id"]
        world = self._call("Page.createIsolatedWorld", frameId=frame)["executionContextId"]
        done = self._call("Runtime.evaluate", expression=script, contextId=world, returnByValue=True)
        if "exceptionDetails" in done:
            raise DataError("crawler: expected a page that can be read, got another")
        return done["result"].get("value")

    def _verify_answer(self, loader: str) -> None:
        """The document came with status 200 from an allowed address, and not too much with it."""
        answers = [
            event["params"]["response"]
            for event in self._events
            if event["method"] == "Network.responseReceived"
            and (event["params"]["loaderId"], event["params"]["type"]) == (loader, "Document")
        ]
        if not any(answer["status"] == 200 and self._sight.allows(answer["url"]) for answer in answers):
            raise DataError("crawler: expected a page with status 200, got another answer")
        received = sum(
            event["params"]["dataLength"]
            for event in self._events
            if event["method"] == "Network.dataReceived"
        )
        if received > MAX_PAGE_BYTES:
            raise DataError(f"crawler: expected a page of at most {MAX_PAGE_BYTES} bytes, got more")

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = self._send(method, params)
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise DataError("crawler: expected the browser to do as told, got an error")
                result: dict[str, Any] = answer["result"]
                return result

    def _wait(self, is_it: Callable[[dict[str, Any]], bool]) -> None:
        while not any(map(is_it, self._events)):
            self._receive()

    def _send(self, method: str, params: Mapping[str, Any]) -> int:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to_browser, data) :]
        return self._number

    def _receive(self) -> dict[str, Any]:
        """The next message; events are kept, and requests of the page answered."""
        while b"\0" not in self._buffer:
            left = max(0.0, self._deadline - monotonic())
            ready, _, _ = select.select([self._from_browser], [], [], left)
            if not ready:
                raise DataError(f"crawler: expected the page within {PAGE_SECONDS:.0f} seconds, got none")
            chunk = os.read(self._from_browser, 1 << 20)
            if not chunk:
                raise ConfigurationError("crawler: expected a running chromium, but it ended")
            self._buffer += chunk
            if len(self._buffer) > MAX_MESSAGE_BYTES:
                raise DataError("crawler: expected a page of bounded size, got a larger one")
        data, _, rest = self._buffer.partition(b"\0")
        self._buffer = rest
        message: dict[str, Any] = json.loads(data)
        if message.get("method") == "Fetch.requestPaused":
            self._answer(message["params"])
        elif "method" in message:
            self._events.append(message)
        return message

    def _answer(self, paused: Mapping[str, Any]) -> None:
        """Let a request of the page through, answer it from memory, or refuse it; no reply is awaited."""
        number, url = paused["requestId"], paused["request"]["url"]
        if url in self._sight.pages:
            body = base64.b64encode(self._sight.pages[url].encode()).decode()
            headers = [{"name": name, "value": value} for name, value in HEADERS.items()]
            answer = {"requestId": number, "responseCode": 200, "responseHeaders": headers, "body": body}
            self._send("Fetch.fulfillRequest", answer)
        elif self._sight.allows(url):
            self._send("Fetch.continueRequest", {"requestId": number})
        else:
            self._send("Fetch.failRequest", {"requestId": number, "errorReason": "BlockedByClient"})


@contextmanager
def browser(sight: Sight, *, program: str = "chromium") -> Iterator[Browser]:
    """A browser of its own, with a new private profile; both are gone after the block.

    Raises:
        ConfigurationError: with code CHROMIUM_MISSING, if there is no such program.
    """
    found = shutil.which(program)
    if found is None:
        raise ConfigurationError(
            f"crawler: expected Chromium on this machine, got none; install it with: {INSTALL}",
            code="CHROMIUM_MISSING",
        )
    with tempfile.TemporaryDirectory(prefix="noren-crawler-", ignore_cleanup_errors=True) as profile:
        their_read, our_write = os.pipe()
        our_read, their_write = os.pipe()
        process = subprocess.Popen(
            _command(found, Path(profile), sight, their_read, their_write),
            pass_fds=(their_read, their_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": profile, "TMPDIR": profile},
            start_new_session=True,
        )
        os.close(their_read)
        os.close(their_write)
        try:
            yield Browser(our_write, our_read, sight)
        finally:
            os.close(our_write)  # the browser ends when its pipe does
            os.close(our_read)
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)  # it has a session of its own, with all that it started
        process.wait()


def _command(program: str, profile: Path, sight: Sight, read: int, write: int) -> Sequence[str]:
    """The command line; Chromium expects its two pipes as descriptors 3 and 4, whatever ours are called."""
    moved = f'exec "$0" "$@" 3<&{read} 4>&{write}'
    hosts = sorted({urlsplit(origin).hostname or "" for origin in sight.origins} - {""})
    rules = ", ".join(["MAP * ~NOTFOUND", *(f"EXCLUDE {host}" for host in hosts)])
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox does not start for root
    flags = [*_FLAGS, *as_root, f"--user-data-dir={profile}", f"--host-resolver-rules={rules}"]
    return ["/bin/bash", "-c", moved, program, *flags, "about:blank"]


def _is_lifecycle(event: Mapping[str, Any], loader: str, name: str) -> bool:
    expected = {"loaderId": loader, "name": name}
    return event["method"] == "Page.lifecycleEvent" and bool(expected.items() <= event["params"].items())
