"""Forms that a page posts: bounded, and from our own page.

Promises: a handler that takes `Posted` gets a form only if it carries the session's token and came within
bounds of bytes, fields, files and time; a field that is missing, too long or there twice is a DataError that
names the field and not its value.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from noren_core.errors import DataError, VerificationError

CSRF_FIELD = "csrf"
MAX_FIELDS = 512
MAX_FILES = 4
BODY_SECONDS = 120
_FIELD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PostedFile:
    """A file as the browser sent it.

    Attributes:
        name: what the sender calls it; no path.
        content: its bytes.
    """

    name: str = field(repr=False)
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PostedForm:
    """The fields and files of a form."""

    fields: Mapping[str, tuple[str, ...]] = field(repr=False)
    files: Mapping[str, PostedFile] = field(repr=False)

    def text(self, name: str, *, most: int = 256, default: str | None = None) -> str:
        """One field, stripped; an absent or empty one is `default`, if there is one.

        Raises:
            DataError: if it is missing, there twice, or longer than `most` characters.
        """
        values = self.fields.get(name, ())
        value = values[0].strip() if values else ""
        if not value and default is not None:
            return default
        if len(values) != 1 or not value:
            raise DataError(f"form: expected the field {name}, got none", code="FIELD_MISSING")
        if len(value) > most:
            raise DataError(
                f"form: expected at most {most} characters in {name}, got more", code="FIELD_TOO_LONG"
            )
        return value

    def verify_confirmation(self, word: str) -> None:
        """Raise DataError (CONFIRMATION_WRONG) unless this was typed where `kit.confirm` asks for it."""
        if self.text("confirmation", most=256) != word:
            raise DataError(
                "form: expected the word that confirms this, got another text", code="CONFIRMATION_WRONG"
            )

    def many(self, name: str, *, most: int = 64, most_each: int = 256) -> tuple[str, ...]:
        """All values of a field that may stand several times."""
        values = self.fields.get(name, ())
        if len(values) > most or any(len(value) > most_each for value in values):
            raise DataError(f"form: expected at most {most} short values of {name}, got more")
        return values

    def is_ticked(self, name: str) -> bool:
        """Whether a box was ticked."""
        return bool(self.fields.get(name))

    def file(self, name: str, *, most_bytes: int) -> PostedFile:
        """One file; DataError if there is none or it is larger."""
        file = self.files.get(name)
        if file is None or not file.content:
            raise DataError(f"form: expected a file in {name}, got none", code="FIELD_MISSING")
        if len(file.content) > most_bytes:
            raise DataError(f"form: expected a file of at most {most_bytes} bytes, got a larger one")
        return file

    def has_file(self, name: str) -> bool:
        """Whether a file came in this field."""
        return name in self.files and bool(self.files[name].content)


async def posted_form(request: Request) -> PostedForm:
    """The form of this request, with this session's token.

    Raises:
        DataError: for a body that is no form within the bounds.
        VerificationError: with code CSRF_REJECTED, without the token.
    """
    form = await _read(request)
    if request.url.path not in request.app.state.cross_site_posts:
        given = form.fields.get(CSRF_FIELD, ("",))[0]
        if not hmac.compare_digest(given.encode(), request.state.session.csrf.encode()):
            raise VerificationError(
                "form: expected one of our own pages, opened in this session; got another",
                code="CSRF_REJECTED",
            )
    return form


async def _read(request: Request) -> PostedForm:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async with request.form(
                max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=_FIELD_BYTES
            ) as form:
                fields: dict[str, tuple[str, ...]] = {}
                files: dict[str, PostedFile] = {}
                for name, value in form.multi_items():
                    if isinstance(value, UploadFile):
                        files[name] = PostedFile(_base_name(value.filename), await value.read())
                    else:
                        fields[name] = (*fields.get(name, ()), value)
    except TimeoutError as error:
        raise DataError(f"form: expected a body within {BODY_SECONDS} seconds, got less") from error
    except HTTPException as error:
        if error.status_code != 400:
            raise
        raise DataError("form: expected a form within its bounds, got another body") from error
    return PostedForm(fields, files)


def _base_name(name: str | None) -> str:
    return (name or "").replace("\\", "/").rsplit("/", 1)[-1][:200]


Posted = Annotated[PostedForm, Depends(posted_form)]
"""What a handler of a POST takes."""
