"""A posted form with files (RFC 7578), read as a stream: nothing of it is held in memory but small fields.

Promises: exactly the announced number of bytes is read, at most `MAX_PARTS` parts; what is no such form is a
DataError that names the rule and none of the content. Names of files are what the sender says: whoever writes
them judges them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase

from noren_core.errors import DataError

MAX_PARTS = 20_100
_HEAD_BYTES = 4096
_CHUNK_BYTES = 64 << 10
_BOUNDARY = re.compile(r"multipart/form-data; *boundary=\"?([0-9A-Za-z'()+_,./:=?-]{1,70})\"?\Z")
_DISPOSITION = re.compile(r"\r\nContent-Disposition: *form-data([^\r\n]*)", re.IGNORECASE)
_NAME = re.compile(r"; *name=\"([^\"\r\n]*)\"")
_FILENAME = re.compile(r"; *filename=\"([^\"\r\n]*)\"")
_END = b"--"
_LINE = b"\r\n"


@dataclass(frozen=True, slots=True)
class Part:
    """One field or file; its content is read once, before the next part is asked for.

    Attributes:
        name: of the field.
        filename: as the sender calls it, with directories for an uploaded directory; None for a plain field.
    """

    name: str
    filename: str | None
    _form: UploadForm

    def chunks(self) -> Iterator[bytes]:
        """The content, piece by piece."""
        return self._form.content()

    def read(self, most: int) -> bytes:
        """The whole content; DataError beyond `most` bytes."""
        found = bytearray()
        for chunk in self.chunks():
            found += chunk
            if len(found) > most:
                raise DataError(f"form: expected at most {most} bytes in {self.name}, got more")
        return bytes(found)


class UploadForm:
    """One request's body."""

    def __init__(self, stream: BufferedIOBase, *, length: int, content_type: str) -> None:
        """Of `length` bytes of `stream`, under the request's Content-Type.

        Raises:
            DataError: if that is not a form with files.
        """
        found = _BOUNDARY.match(content_type)
        if found is None:
            raise DataError("form: expected multipart/form-data with a boundary, got another type")
        self._stream = stream
        self._left = length
        self._delimiter = _LINE + _END + found.group(1).encode()
        self._buffer = bytearray(_LINE)  # the first delimiter has no line before it
        self._is_read = True

    @property
    def unread(self) -> int:
        """How many bytes of the body are still to come."""
        return self._left

    def parts(self) -> Iterator[Part]:
        """Every part in order; content that was not read is skipped.

        Raises:
            DataError: if the body is cut off, malformed, or has too many parts.
        """
        for _ in self.content():
            raise DataError("form: expected it to begin with its boundary, got something else")
        for _ in range(MAX_PARTS):
            if self._take(len(_END)) == _END:
                return
            head = self._head()
            self._is_read = False
            yield Part(_field(_NAME, head) or "", _field(_FILENAME, head), self)
            if not self._is_read:
                for _ in self.content():
                    pass
        raise DataError(f"form: expected at most {MAX_PARTS} parts, got more")

    def content(self) -> Iterator[bytes]:
        """What stands before the next delimiter, which is taken away with it."""
        keep = len(self._delimiter) - 1
        while (at := self._buffer.find(self._delimiter)) < 0:
            if len(self._buffer) > keep:
                yield bytes(self._buffer[:-keep])
                del self._buffer[:-keep]
            self._fill()
        if at:
            yield bytes(self._buffer[:at])
        del self._buffer[: at + len(self._delimiter)]
        self._is_read = True

    def _head(self) -> str:
        """The header lines of a part, each after a line's end."""
        while (at := self._buffer.find(_LINE + _LINE)) < 0:
            if len(self._buffer) > _HEAD_BYTES:
                raise DataError("form: expected short headers of a part, got longer ones")
            self._fill()
        try:
            head = _LINE.decode() + self._take(at + 4).decode()
        except UnicodeDecodeError as error:
            raise DataError("form: expected names in UTF-8, got others") from error
        disposition = _DISPOSITION.search(head)
        if disposition is None:
            raise DataError("form: expected a field's name in every part, got none")
        return disposition.group(1)

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _fill(self) -> None:
        chunk = self._stream.read(min(_CHUNK_BYTES, self._left))
        if not chunk:
            raise DataError("form: expected its last boundary, got the end")
        self._left -= len(chunk)
        self._buffer += chunk


def _field(pattern: re.Pattern[str], disposition: str) -> str | None:
    found = pattern.search(disposition)
    return None if found is None else found.group(1)
