"""What to do about every error code, in English and Japanese: the one source of messages, pages and docs.

Promises: `advice` has an answer for every code, also for one that it does not know (that of its family); the
texts say nothing of a person or a company, so they may be shown to anybody who may see the code. They are in
`error_guide.toml`; docs/errors.md is `to_markdown()` and is written by scripts/error_guide.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

from noren_core.errors import (
    BudgetExceededError,
    ConfigurationError,
    DataError,
    ExitCode,
    LocalProtocolError,
    RemoteProtocolError,
    VerificationError,
)

PAGE = "docs/errors.md"
JAPANESE = "ja"

_OF_FAMILY: Mapping[int, str] = {
    ExitCode.OTHER: LocalProtocolError.code,
    ExitCode.USAGE: "USAGE",
    ExitCode.CONFIGURATION: ConfigurationError.code,
    ExitCode.NETWORK: RemoteProtocolError.code,
    ExitCode.IDENTITY: "NOT_AUTHENTICATED",
    ExitCode.INPUT: DataError.code,
    ExitCode.CONSENT: "CONSENT_MISSING",
    ExitCode.BUDGET: BudgetExceededError.code,
    ExitCode.VERIFICATION: VerificationError.code,
}


@dataclass(frozen=True, slots=True)
class Advice:
    """What whoever reads an error needs besides its sentence.

    Attributes:
        cause: why this happens.
        fix: what to do now.
        page: where it is explained, as a path with an anchor in this project's documentation.
    """

    cause: str
    fix: str
    page: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One code of the guide, in both languages."""

    code: str
    cause: str
    fix: str
    cause_ja: str
    fix_ja: str

    @property
    def page(self) -> str:
        """Where docs/errors.md has it."""
        return f"{PAGE}#{self.code.lower()}"

    def in_language(self, locale: str) -> Advice:
        """The advice in Japanese for "ja" and its variants, otherwise in English."""
        if locale.replace("_", "-").split("-")[0] == JAPANESE:
            return Advice(self.cause_ja, self.fix_ja, self.page)
        return Advice(self.cause, self.fix, self.page)


def advice(code: str, locale: str = "en", *, exit_code: int = ExitCode.OTHER) -> Advice:
    """Cause, fix and page of an error.

    Args:
        code: the error's stable code.
        locale: a language tag; "ja", "ja-JP" and "ja_JP.UTF-8" are Japanese, everything else English.
        exit_code: the error's own; which advice stands in for a code that the guide does not have.
    """
    known = entries()
    entry = known.get(code) or known[_OF_FAMILY.get(exit_code, LocalProtocolError.code)]
    return entry.in_language(locale)


@cache
def entries() -> Mapping[str, Entry]:
    """Every entry by its code, in the order of docs/errors.md."""
    return MappingProxyType({entry.code: entry for _, found in _sections() for entry in found})


def to_markdown() -> str:
    """The text of docs/errors.md."""
    lines = [*_HEAD, *_exit_code_table()]
    for title, found in _sections():
        lines += [f"## {title}", ""]
        for entry in found:
            lines += [
                f"### {entry.code}",
                "",
                f"* Cause: {entry.cause}",
                f"* What to do: {entry.fix}",
                f"* 原因: {entry.cause_ja}",
                f"* 対処: {entry.fix_ja}",
                "",
            ]
    return "\n".join(lines).rstrip("\n") + "\n"


_HEAD = (
    "# Errors · エラー一覧",
    "",
    "<!-- Written by scripts/error_guide from core/noren_core/error_guide.toml; do not edit here. -->",
    "",
    "A command that fails prints `program: CODE: sentence` on stderr, then the cause, what to do and the",
    "place on this page; with `--json` one object on stdout with `success`, `code`, `message`, `cause`,",
    "`fix` and `page` in English. With a Japanese locale (`LANG=ja_JP.UTF-8`) the lines for people are in",
    "Japanese; pages show the same texts. Codes are stable: scripts may rely on them and on the exit code.",
    "",
)
_EXIT_MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.OTHER: "the state does not allow it, or an internal error",
    ExitCode.USAGE: "usage: `--help`",
    ExitCode.CONFIGURATION: "configuration: a setting or file of this installation",
    ExitCode.NETWORK: "network or protocol: the other side",
    ExitCode.IDENTITY: "identity: sign-in, passphrase, certificate, invitation or role",
    ExitCode.INPUT: "input: a file, row or field",
    ExitCode.CONSENT: "held back: consent, coverage, the gate or the state of the service",
    ExitCode.BUDGET: "budget: the plan or your own limits are used up",
    ExitCode.VERIFICATION: "not verified: something is not what it claims; do not go on",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C); nothing is written by halves",
    ExitCode.PIPE_CLOSED: "who read the output hung up, as in `| head`",
}


def _exit_code_table() -> Iterator[str]:
    yield from ("| exit | meaning |", "|---|---|")
    for code, meaning in _EXIT_MEANINGS.items():
        yield f"| {int(code)} | {meaning} |"
    yield ""


@cache
def _sections() -> tuple[tuple[str, tuple[Entry, ...]], ...]:
    """Title and entries of each section of `error_guide.toml`, as they stand there."""
    text = resources.files("noren_core").joinpath("error_guide.toml").read_text(encoding="utf-8")
    return tuple(
        (section.pop("title"), tuple(Entry(code, **texts) for code, texts in section.items()))
        for section in tomllib.loads(text).values()
    )
