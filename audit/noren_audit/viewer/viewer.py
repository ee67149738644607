"""A site on 127.0.0.1 for one auditor: it takes a bundle, verifies it and shows the report.

Promises: only whoever has the link that the program printed comes in, and the link works once and for five
minutes; a request under another host name, or a form that is not from our own page, is refused before a file
of it is read; pages run no code but our one script file and load nothing from anywhere; what is uploaded lies
in a private directory that is removed after the verification, and when the program ends. Nothing is logged of
what was asked for. It listens on loopback and nowhere else: whom else to show a bundle is not its business.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from noren_audit.html.words import Language
from noren_audit.verification.trust import Trust, load_trust
from noren_audit.viewer import pages
from noren_audit.viewer.bundle_files import MAX_UPLOAD_BYTES, BundleFiles
from noren_audit.viewer.pages import Frame
from noren_audit.viewer.upload_form import Part, UploadForm
from noren_audit.viewer.verification import Outcome, Verification
from noren_core.errors import (
    ConfigurationError,
    DataError,
    ExitCode,
    LocalProtocolError,
    NorenError,
    VerificationError,
)

_LOG = logging.getLogger(__name__)
HOST = "127.0.0.1"
LINK_SECONDS = 300
_MAX_CONNECTIONS = 16
_READ_SECONDS = 30
_MAX_TRUST_BYTES = 64 << 10
_MAX_TOKEN_BYTES = 200
_CHUNK_BYTES = 1 << 20
_MAX_DRAINED_BYTES = 1 << 30
_OVERHEAD_BYTES = 4 << 20  # of a form around its files: a header for each
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with no-referrer browsers would say `Origin: null` of our own form
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_STATUS = {ExitCode.IDENTITY: 403, ExitCode.INPUT: 400, ExitCode.CONFIGURATION: 400, ExitCode.OTHER: 409}
_STATUS_OF_CODE = {"INTERNAL": 500, "NOT_FOUND": 404}
_HTML, _TEXT, _JSON = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json"
_STATIC = {
    "/static/viewer.css": "text/css; charset=utf-8",
    "/static/viewer.js": "text/javascript; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: bytes of a type, or a redirection."""

    body: bytes = b""
    content_type: str = _HTML
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    policy: str = _POLICY


def _redirect(path: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status=303, headers=(("Location", path), *headers))


def _page(html: str, status: int = 200) -> Answer:
    return Answer(html.encode(), status=status)


class Viewer(ThreadingHTTPServer):
    """The site; serves until `shutdown`."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, *, trust: Trust | None = None, port: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Listen on loopback.

        Args:
            trust: believed of every bundle; None: a trust file is handed in with each.
            port: 0 takes a free one.
            clock: seconds, for how long the link is valid.

        Raises:
            ConfigurationError: if the port is taken.
        """
        self.trust = trust
        self.verification = Verification()
        self.private = Path(tempfile.mkdtemp(prefix="noren-audit-"))
        self._clock = clock
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self._link: tuple[bytes, float] | None = None
        self._session = secrets.token_urlsafe(32)
        self.csrf = secrets.token_urlsafe(32)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            shutil.rmtree(self.private, ignore_errors=True)
            raise ConfigurationError(f"viewer: cannot listen there: {error.strerror}") from error
        self.host = f"{HOST}:{self.server_address[1]}"

    def new_link(self) -> str:
        """The address that lets one browser in, once; the one before it works no more."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._link = (_digest(token), self._clock() + LINK_SECONDS)
        return f"http://{self.host}/enter?token={token}"

    def use_link(self, token: str) -> str:
        """The cookie for whoever came by the link.

        Raises:
            VerificationError: with code ENTRY_REFUSED, for any other token, a used or an old one.
        """
        with self._lock:
            digest, until = self._link or (b"", 0.0)
            is_it = hmac.compare_digest(digest, _digest(token)) and self._clock() < until
            if is_it:
                self._link = None
        if not is_it:
            raise VerificationError(
                "entry: expected the link that the program printed, fresh and used once", code="ENTRY_REFUSED"
            )
        return f"{self.cookie}={self._session}; Path=/; HttpOnly; SameSite=Strict"

    @property
    def cookie(self) -> str:
        """The cookie's name; browsers do not tell ports apart."""
        return f"noren-audit-{self.server_address[1]}"

    def knows(self, session: str) -> bool:
        """Whether this is the session that the link began."""
        return hmac.compare_digest(_digest(session), _digest(self._session))

    def new_directory(self) -> Path:
        """An empty directory that ends with the program at the latest."""
        return Path(tempfile.mkdtemp(dir=self.private))

    def server_close(self) -> None:
        """Stop listening, and remove whatever was handed in."""
        super().server_close()
        shutil.rmtree(self.private, ignore_errors=True)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve in a thread, or hang up if too many are served already."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The thread of one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hung up is no news; of anything else, its kind."""
        del request, client_address
        error = sys.exception()
        if not isinstance(error, (ConnectionError, TimeoutError)):
            _LOG.error("a request ended early: %s", type(error).__name__)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "noren-audit"
    sys_version = ""
    timeout = _READ_SECONDS
    server: Viewer
    _pages: ClassVar[dict[str, str]] = {
        "": "_start",
        "progress": "_progress",
        "progress.json": "_progress_fields",
        "result": "_result",
    }

    def do_GET(self) -> None:
        self._answered(self._got)

    def do_POST(self) -> None:
        self.close_connection = True  # whatever becomes of the body, nothing follows it
        self._answered(self._posted)

    def _take_the_rest(self, unread: int) -> None:
        """Of a refused upload: a browser that is still sending would not read our answer."""
        while unread > 0 and (chunk := self.rfile.read(min(unread, _CHUNK_BYTES))):
            unread -= len(chunk)

    def _answered(self, work: Callable[[], Answer]) -> None:
        """Send what `work` gives, or the page about why it did not."""
        try:
            self._verify_host()
            answer = work()
        except NorenError as error:
            may_return = error.code not in ("ENTRY_REFUSED", "HOST_REFUSED")
            frame = Frame(self._language(), "progress" if self.path.endswith("/progress") else "")
            status = _STATUS_OF_CODE.get(error.code) or _STATUS.get(ExitCode(error.exit_code), 400)
            answer = _page(pages.error_page(frame, error, may_return=may_return), status)
        self._send(answer)

    def _verify_host(self) -> None:
        """Another name that leads here is another site's: its pages must not read ours (DNS rebinding)."""
        if self.headers.get_all("Host") != [self.server.host]:
            raise VerificationError("viewer: expected its own address, got another name", code="HOST_REFUSED")

    def _got(self) -> Answer:
        split = urlsplit(self.path)
        if split.path in _STATIC:
            content = files("noren_audit.viewer").joinpath(split.path.rpartition("/")[2]).read_bytes()
            return Answer(content, _STATIC[split.path])
        if split.path == "/enter":
            token = parse_qs(split.query).get("token", [""])[0][:_MAX_TOKEN_BYTES]
            return _redirect("/", ("Set-Cookie", self.server.use_link(token)))
        self._verify_session()
        if split.path == "/":
            has_begun = self.server.verification.standing is not None
            return _redirect(f"/{self._language()}/{'progress' if has_begun else ''}")
        if split.path in ("/report.html", "/download/report.html"):
            return self._report(is_download=split.path != "/report.html")
        language, _, place = split.path.removeprefix("/").partition("/")
        if language not in set(Language) or place not in self._pages:
            raise LocalProtocolError("viewer: expected one of its pages, got another path", code="NOT_FOUND")
        answer: Answer = getattr(self, self._pages[place])(Frame(Language(language), place, self.server.csrf))
        return answer

    def _verify_session(self) -> None:
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(self.headers.get("Cookie", ""))
        except CookieError:
            cookies.clear()
        found = cookies.get(self.server.cookie)
        if found is None or not self.server.knows(found.value):
            raise VerificationError(
                "viewer: expected a browser that came by the printed link, got another", code="ENTRY_REFUSED"
            )

    def _start(self, frame: Frame) -> Answer:
        standing = self.server.verification.standing
        if standing is not None and not standing.has_ended:
            return _redirect(f"/{frame.language}/progress")
        has_outcome = standing is not None and standing.outcome is not None
        return _page(pages.start_page(frame, trust=self.server.trust, has_outcome=has_outcome))

    def _progress(self, frame: Frame) -> Answer:
        standing = self.server.verification.standing
        if standing is None:
            return _redirect(f"/{frame.language}/")
        if standing.error is not None:
            raise standing.error
        if standing.outcome is not None:
            return _redirect(f"/{frame.language}/result")
        return _page(pages.progress_page(frame, standing))

    def _progress_fields(self, frame: Frame) -> Answer:
        standing = self.server.verification.standing
        fields: dict[str, object] = {"ended": True}
        if standing is not None and not standing.has_ended:
            sentence = pages.progress_sentence(standing, frame.language)
            fields = {"ended": False, "read": standing.read, "in_all": standing.in_all, "sentence": sentence}
        return Answer(json.dumps(fields).encode(), _JSON)

    def _result(self, frame: Frame) -> Answer:
        standing = self.server.verification.standing
        if standing is None or standing.outcome is None:
            return _redirect(f"/{frame.language}/progress")
        return _page(pages.result_page(frame, standing.outcome))

    def _report(self, *, is_download: bool) -> Answer:
        """The report as it is; its own policy, which allows its style sheet alone, is in the file."""
        outcome = self._outcome()
        disposition = ("Content-Disposition", 'attachment; filename="noren-audit-report.html"')
        policy = "script-src 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'none'"
        return Answer(outcome.report, headers=(disposition,) if is_download else (), policy=policy)

    def _outcome(self) -> Outcome:
        standing = self.server.verification.standing
        if standing is None or standing.outcome is None:
            raise LocalProtocolError("viewer: expected a finished verification, got none", code="NOT_FOUND")
        return standing.outcome

    def _posted(self) -> Answer:
        """Take a bundle and begin to verify it.

        1. It is a form of ours: the path, the session, the origin that the browser names.
        2. It is bounded, before a byte of it is read.
        3. The session's token comes before any file.
        4. The files are written within bounds; the directory goes if anything is refused.
        """
        self._verify_session()  # 1
        language = next((one for one in Language if self.path == f"/{one}/verify"), None)
        if language is None:
            raise LocalProtocolError("viewer: expected one of its forms, got another path", code="NOT_FOUND")
        if self.headers.get("Origin") != f"http://{self.server.host}":
            raise _foreign_form()
        form = UploadForm(
            self.rfile, length=self._length(), content_type=self.headers.get("Content-Type", "")
        )  # 2
        directory = self.server.new_directory()
        forget = partial(shutil.rmtree, directory, ignore_errors=True)
        try:
            with _faults_of_the_disk():
                bundle, trust = self._taken(form, directory)  # 3, 4
            root = bundle.root()
        except BaseException:
            forget()
            self._take_the_rest(form.unread)
            raise
        self.server.verification.start(root, trust, left_out=bundle.left_out, forget=forget)
        return _redirect(f"/{language}/progress")

    def _length(self) -> int:
        text = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (text.isascii() and text.isdigit() and len(text) < 16):
            raise DataError("form: expected a Content-Length, got none")
        length = int(text)
        if length > MAX_UPLOAD_BYTES + _OVERHEAD_BYTES:
            self._take_the_rest(length if length <= _MAX_DRAINED_BYTES else 0)
            raise DataError(
                f"bundle: expected an upload of at most {MAX_UPLOAD_BYTES >> 20} MiB, got a larger one",
                code="BUNDLE_REFUSED",
            )
        return length

    def _taken(self, form: UploadForm, directory: Path) -> tuple[BundleFiles, Trust]:
        """The bundle's files, and whom to believe about them."""
        unpacked, archive, trust_file = directory / "bundle", directory / "archive", directory / "trust"
        unpacked.mkdir(mode=0o700)
        bundle = BundleFiles(unpacked)
        is_ours = False
        for part in form.parts():
            if part.name == pages.CSRF_FIELD:
                is_ours = hmac.compare_digest(part.read(_MAX_TOKEN_BYTES), self.server.csrf.encode())
            elif not is_ours:  # 3
                raise _foreign_form()
            elif not part.filename:  # a file field that was left empty
                continue
            elif part.name == pages.TRUST_FIELD:
                trust_file.write_bytes(part.read(_MAX_TRUST_BYTES))
            elif part.name == pages.ARCHIVE_FIELD:
                _write(archive, part)
            elif part.name == pages.DIRECTORY_FIELD:
                bundle.add(part.filename, part.chunks())
        trust = self.server.trust or load_trust(trust_file)
        if archive.exists():
            bundle.add_archive(archive)
            archive.unlink()
        return bundle, trust

    def _language(self) -> Language:
        """That of the path, or the one the browser prefers of ours."""
        wanted = self.path.removeprefix("/").partition("/")[0]
        if wanted in set(Language):
            return Language(wanted)
        for item in self.headers.get("Accept-Language", "").split(","):
            tag = item.split(";")[0].strip().lower().split("-")[0]
            if tag in set(Language):
                return Language(tag)
        return Language.EN

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in (*_HEADERS.items(), ("Content-Security-Policy", answer.policy), *answer.headers):
            self.send_header(name, value)
        if answer.status != 303:  # See Other has no body
            self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class says of malformed requests, without quoting them."""
        del message, explain
        self.close_connection = True
        self._send(Answer(b"expected GET or POST of a page\n", _TEXT, status=code))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name in the base class)
        del format, args


def _write(path: Path, part: Part) -> None:
    """An archive as it came; the request's length bounds it."""
    with path.open("xb") as file:
        for chunk in part.chunks():
            file.write(chunk)


@contextmanager
def _faults_of_the_disk() -> Iterator[None]:
    """A disk that is full becomes an error with advice; a connection that broke stays what it is."""
    try:
        yield
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:
        raise LocalProtocolError(
            "viewer: expected the disk to take the files, it did not", code="STORAGE_FAILED"
        ) from error


def _foreign_form() -> VerificationError:
    return VerificationError(
        "form: expected one of our own pages, opened in this session; got another", code="CSRF_REJECTED"
    )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()
