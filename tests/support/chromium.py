"""Debian's Chromium, driven over its own protocol on two pipes: no port, no driver, nothing fetched.

`Network` events tell which requests a page made. Scripts that a test evaluates are not the page's: they run
whatever its content-security policy says.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

COMMAND = "sudo apt-get install -y chromium"
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_SECONDS = 60


class Chromium:
    """One browser with one page."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to_browser, self._from_browser = to_browser, from_browser
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")
        self._call("Page.setLifecycleEventsEnabled", enabled=True)

    def open(self, url: str) -> None:
        """Load a page anew, also if it is open at another place, and wait until it has loaded."""
        for address in ("about:blank", url):
            self.events.clear()
            done = self._call("Page.navigate", url=address)
            assert "errorText" not in done, (address, done)
            self._wait_for_load(done["loaderId"])

    def click(self, selector: str) -> None:
        """Click the first element that a CSS selector finds; there must be one."""
        item = f"document.querySelector({json.dumps(selector)})"
        found = self.evaluate(f"(item => {{ item?.click(); return item !== null }})({item})")
        assert found, f"nothing to click: {selector}"

    def follow(self, selector: str) -> None:
        """Click what leads to another page, and wait until that has loaded."""
        before = self._loader()
        self.events.clear()
        self.click(selector)
        self._wait_for_another(before)

    def upload(self, selector: str, file: Path) -> None:
        """Choose a file in a file input, as somebody does in the dialogue."""
        script = f"document.querySelector({json.dumps(selector)})"
        found = self._call("Runtime.evaluate", expression=script)["result"]
        assert "objectId" in found, f"no file input: {selector}"
        self._call("DOM.setFileInputFiles", files=[str(file)], objectId=found["objectId"])

    def run_scripts(self, *, enabled: bool) -> None:
        """Whether pages may run scripts; a test's own run all the same."""
        self._call("Emulation.setScriptExecutionDisabled", value=not enabled)

    def trust_every_certificate(self) -> None:
        """For sites on loopback, whose certificates nobody else knows."""
        self._call("Security.setIgnoreCertificateErrors", ignore=True)

    def forget_cookies(self) -> None:
        """Every site sees a new visitor."""
        self._call("Network.clearBrowserCookies")

    def evaluate(self, script: str) -> Any:
        """The value of an expression; of a promise, what it resolves to."""
        done = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            raise AssertionError(done["exceptionDetails"])
        return done["result"].get("value")

    def show(self, *, scheme: str = "light", media: str = "", width: int = 1100, height: int = 900) -> None:
        """Colour scheme, medium and size of the window."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", media=media, features=features)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def screenshot(self, *, whole: bool = False) -> bytes:
        """The window, or the whole page, as PNG."""
        done = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(done["data"])

    def picture(self) -> bytes:
        """The whole page, small enough for a repository, as WebP."""
        options = {"format": "webp", "quality": 45, "captureBeyondViewport": True}
        return base64.b64decode(self._call("Page.captureScreenshot", **options)["data"])

    def pdf(self) -> bytes:
        """The page as it would be printed."""
        done = self._call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        return base64.b64decode(done["data"])

    def requested(self) -> list[str]:
        """Every address that the page asked for, itself included."""
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def complaints(self) -> list[str]:
        """What the browser logged about the page, violations of its policy among it."""
        return [
            event["params"]["entry"]["text"] for event in self.events if event["method"] == "Log.entryAdded"
        ]

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to_browser, data) :]
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _wait_for_load(self, loader: str) -> None:
        """Until this very document has loaded: the event of another, still on its way, is none of ours."""
        expected = {"loaderId": loader, "name": "load"}
        while not any(
            event["method"] == "Page.lifecycleEvent" and expected.items() <= event["params"].items()
            for event in self.events
        ):
            self._receive()

    def _loader(self) -> str:
        loader: str = self._call("Page.getFrameTree")["frameTree"]["frame"]["loaderId"]
        return loader

    def _wait_for_another(self, before: str) -> None:
        """Until a document other than `before` has loaded in the page itself, not in a frame of it."""
        frame = self._call("Page.getFrameTree")["frameTree"]["frame"]["id"]
        while not any(
            event["method"] == "Page.lifecycleEvent"
            and event["params"]["name"] == "load"
            and event["params"]["frameId"] == frame
            and event["params"]["loaderId"] != before
            for event in self.events
        ):
            self._receive()

    def _receive(self) -> dict[str, Any]:
        """The next message; events are kept."""
        deadline = monotonic() + _SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from_browser], [], [], max(0.0, deadline - monotonic()))
            assert ready, f"the browser did not answer within {_SECONDS} s"
            chunk = os.read(self._from_browser, 1 << 20)
            assert chunk, "the browser ended"
            self._buffer += chunk
        data, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(data)
        if "method" in message:
            self.events.append(message)
        return message


@contextmanager
def chromium(profile: Path) -> Iterator[Chromium]:
    """A browser of its own, with a new profile, that ends with the block."""
    program = shutil.which("chromium")
    assert program, f"Chromium is needed for the tests of pages: {COMMAND}"
    their_read, our_write = os.pipe()
    our_read, their_write = os.pipe()
    process = subprocess.Popen(
        _started(program, profile, their_read, their_write),
        pass_fds=(their_read, their_write),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(their_read)
    os.close(their_write)
    try:
        yield Chromium(our_write, our_read)
    finally:
        os.close(our_write)  # the browser ends when its pipe does
        os.close(our_read)
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _started(program: str, profile: Path, read: int, write: int) -> Sequence[str]:
    """The command line; Chromium expects its two pipes as descriptors 3 and 4, whatever ours are called."""
    moved = f'exec "$0" "$@" 3<&{read} 4>&{write}'
    return ["/bin/bash", "-c", moved, program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
