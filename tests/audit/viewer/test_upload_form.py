"""Posted forms with files: read piece by piece, bounded, and refused whole if they are malformed."""

from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_audit.viewer.upload_form import UploadForm
from noren_core.errors import DataError

TYPE = "multipart/form-data; boundary=edge"


class Slow(io.BytesIO):
    """A connection that gives few bytes at a time."""

    def __init__(self, data: bytes, at_once: int) -> None:
        super().__init__(data)
        self._at_once = at_once

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, self._at_once))


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    file = "" if filename is None else f'; filename="{filename}"\r\nContent-Type: application/zip'
    head = f'--edge\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(
    body: bytes, *, at_once: int = 1 << 20, content_type: str = TYPE, length: int | None = None
) -> UploadForm:
    return UploadForm(
        Slow(body, at_once), length=len(body) if length is None else length, content_type=content_type
    )  # type: ignore[arg-type]


def read(body: bytes, at_once: int = 1 << 20) -> list[tuple[str, str | None, bytes]]:
    found = form(body, at_once=at_once).parts()
    return [(item.name, item.filename, item.read(1 << 20)) for item in found]


@given(content=st.binary(max_size=400), at_once=st.integers(min_value=1, max_value=90))
def test_content_comes_out_as_it_went_in(content: bytes, at_once: int) -> None:
    """Whatever the bytes are, dashes and line ends among them, and however they arrive."""
    content = content.replace(b"\r\n--edge", b"")
    body = part("csrf", b"token") + part("archive", content, "a/b.zip") + b"--edge--\r\n"
    assert read(body, at_once) == [("csrf", None, b"token"), ("archive", "a/b.zip", content)]


def test_what_looks_nearly_like_the_boundary_is_content() -> None:
    """Dashes, and the boundary without a line before it, belong to the file."""
    content = b"--edge\r\n--edg\r\n-edge--\r"
    assert read(part("a", content) + b"--edge--") == [("a", None, content)]


def test_content_that_nobody_reads_is_skipped() -> None:
    """The next part begins where it does, whether the one before was read or not."""
    body = part("a", b"x" * 200_000, "f") + part("b", b"y") + b"--edge--"
    assert [item.name for item in form(body).parts()] == ["a", "b"]


def test_names_may_be_in_japanese() -> None:
    """Browsers send names of files in UTF-8."""
    assert read(part("a", b"", "台帳/checkpoint") + b"--edge--")[0][1] == "台帳/checkpoint"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--edge",
        b"x--edge--",
        part("a", b"cut off")[:-4],
        part("a", b"x"),
        b"--edge\r\nContent-Type: text/plain\r\n\r\nx\r\n--edge--",
        b'--edge\r\nContent-Disposition: form-data; name="' + b"a" * 9000,
        b'--edge\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\r\n--edge--',
    ],
    ids=["nothing", "half", "before", "cut", "open", "nameless", "long", "not-utf-8"],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    """A DataError, never another exception and never a wait for more than was announced."""
    with pytest.raises(DataError):
        read(body)


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "multipart/form-data", "multipart/mixed; boundary=edge"]
)
def test_another_content_type_is_refused(content_type: str) -> None:
    """Only a form with files is taken."""
    with pytest.raises(DataError):
        form(b"", content_type=content_type)


def test_a_field_has_its_bound() -> None:
    """A token or a trust file that is longer than it can be is not held in memory."""
    item = next(form(part("csrf", b"x" * 300) + b"--edge--").parts())
    with pytest.raises(DataError, match="at most 200 bytes in csrf"):
        item.read(200)


def test_no_more_is_read_than_was_announced() -> None:
    """The bytes after the body are the connection's next request."""
    body = part("a", b"x") + b"--edge--"
    stream = io.BytesIO(body + b"GET / HTTP/1.1")
    given_form = UploadForm(stream, length=len(body), content_type=TYPE)  # type: ignore[arg-type]
    assert [item.read(9) for item in given_form.parts()] == [b"x"]
    assert (given_form.unread, stream.read()) == (0, b"GET / HTTP/1.1")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_form_or_a_data_error(body: bytes) -> None:
    """Nothing that somebody sends ends in another exception."""
    for prefix in (b"", b"--edge\r\n", b'--edge\r\nContent-Disposition: form-data; name="a"\r\n\r\n'):
        with contextlib.suppress(DataError):
            read(prefix + body)
