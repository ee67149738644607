"""Data: importing a file by drag and drop, taking an import back, and what leaves this machine.

Promises: a file is decoded before anybody's eyes, then mapped, then counted, and only then taken; until then
it lies in the company's directory, private and for an hour at most; each step calls the functions of the
command, with their checks. No page has a name, an address or a cell of the file in its address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from itertools import groupby
from typing import TypeVar

from fastapi import APIRouter, Request, Response

from noren_client.applicants import Decision
from noren_client.imports import import_journal, pending_upload, reading
from noren_client.imports.calendar_dates import DateOrder
from noren_client.imports.column_mapping import (
    DATE_FIELDS,
    INTERNAL,
    MAX_WORD_CHARACTERS,
    Field,
    ImportMapping,
    SeasonReading,
    common_words,
    comparable,
    parse_standing,
    presets,
)
from noren_client.imports.import_journal import ImportSource, ImportState, PlannedImport, Scope, Use
from noren_client.imports.pending_upload import PendingUpload
from noren_client.imports.reading import ChosenMapping, Origin, Preview, ReadExport
from noren_client.imports.rejected_rows import to_csv
from noren_client.imports.source_table import ReadingChoices
from noren_client.imports.text_encoding import Encoding, parse_encoding
from noren_client.leaving.declarations import Destination
from noren_client.leaving.overview import overview
from noren_client.web.desk import desk_of, may
from noren_core.errors import DataError, LocalProtocolError
from noren_core.ids import IdentifierKind, parse_name
from noren_core.rights.gate.roles import Action
from noren_web import translations
from noren_web.access import allow
from noren_web.pages import download, page, redirect
from noren_web.posted_form import Posted, PostedForm
from noren_web.translations import Text
from noren_web.translations import lazy as _

SHOWN_PROBLEMS = 20
UNDO_WORD = "undo"
STEPS = (_("File"), _("Columns"), _("Meanings"), _("Trial run"))

FIELD_WORDS: dict[Field, Text] = {
    Field.IDENTIFIER: _("Identifier of the applicant"),
    Field.POSITION: _("Position"),
    Field.SEASON: _("Season"),
    Field.STATUS: _("Status"),
    Field.OFFERED: _("Date of the offer"),
    Field.ACCEPTED: _("Date of acceptance"),
    Field.DECLINED: _("Date of declining"),
    Field.REJECTED: _("Date of rejection"),
}
STANDING_WORDS: dict[str, Text] = {
    "offer": _("Offered, not answered yet"),
    "offer/accepted": _("Offered and accepted"),
    "offer/declined": _("Offered and declined"),
    "no-offer": _("No offer"),
    "hold": _("Not decided yet"),
}
STATE_WORDS: dict[ImportState, tuple[Text, str]] = {
    ImportState.BEGUN: (_("interrupted"), "warn"),
    ImportState.TAKEN: (_("taken"), "good"),
    ImportState.UNDONE: (_("undone"), "plain"),
}
USE_WORDS: dict[Use, Text] = {
    Use.NONE: _("not used yet"),
    Use.TRAINING: _("used for training"),
    Use.SEALING: _("used for sealing"),
    Use.ERASURE: _("somebody was erased since"),
}
ORIGIN_WORDS: dict[Origin, Text] = {
    Origin.GIVEN: _("chosen by you"),
    Origin.PRESET: _("from the preset"),
    Origin.REMEMBERED: _("remembered from the last import of such a file"),
    Origin.FOUND: _("found by its columns"),
    Origin.NONE: _("nothing fits; please choose"),
}
DESTINATION_WORDS: dict[Destination, Text] = {
    Destination.ENROLMENT: _("Platform, enrolment"),
    Destination.SERVICE: _("Platform, company service"),
    Destination.FLEET: _("Platform, training"),
    Destination.CUSTODIAN: _("Custodian"),
}
KIND_WORDS: dict[IdentifierKind, Text] = {
    IdentifierKind.EMAIL: _("E-mail address"),
    IdentifierKind.CONSENT_CODE: _("Consent code"),
}
READING_WORDS: dict[SeasonReading, Text] = {
    SeasonReading.YEAR: _("The year of the date, or the year that stands there"),
    SeasonReading.FISCAL_YEAR: _("The fiscal year of the date, from April"),
    SeasonReading.NAME: _("The text as it stands there"),
}
ORDER_WORDS: dict[DateOrder, Text] = {
    DateOrder.YEAR_FIRST: _("Year first; others are rejected"),
    DateOrder.MONTH_FIRST: _("Month, day, year"),
    DateOrder.DAY_FIRST: _("Day, month, year"),
}
OTHERWISE_WORDS: dict[str, Text] = {
    "": _("The row is rejected"),
    Decision.HOLD.value: _("Not decided yet"),
    Decision.NO_OFFER.value: _("No offer"),
}
ENCODING_WORDS: dict[Encoding, Text] = {
    Encoding.UTF_8: _("UTF-8"),
    Encoding.UTF_8_BOM: _("UTF-8 with BOM"),
    Encoding.CP932: _("cp932 (Shift_JIS of Windows)"),
}
DELIMITER_WORDS: dict[str, Text] = {
    ",": _("comma"),
    "\t": _("tab"),
    ";": _("semicolon"),
    "|": _("vertical bar"),
}
_MINE = may(Action.JOIN_ROUND, Action.SEAL_DECISION)
_HANDLE = "import"
_SHOWN_BYTES = 4096

E = TypeVar("E", bound=StrEnum)

router = APIRouter()


@router.get("/data", dependencies=[_MINE])
def start(request: Request) -> Response:
    """Imports so far, and a place to drop a file."""
    desk = desk_of(request)
    pending_upload.tidy(desk.directory, now=desk.clock())
    records = import_journal.imports(desk.directory)
    return page(
        request,
        "data/start.html",
        waiting=_waiting(request),
        records=list(reversed(records)),
        last=records[-1] if records else None,
        state_words=STATE_WORDS,
        use_words=USE_WORDS,
        has_applicants=desk.has_applicants,
        most_bytes=pending_upload.MAX_UPLOAD_BYTES,
    )


@router.post("/data/upload", dependencies=[_MINE])
def upload(request: Request, form: Posted) -> Response:
    """Keep a file for the next pages."""
    desk = desk_of(request)
    file = form.file("file", most_bytes=pending_upload.MAX_UPLOAD_BYTES)
    pending_upload.discard(desk.directory, request.state.session.data.get(_HANDLE, ""))
    pending = pending_upload.begin(
        desk.directory, name=file.name, content=file.content, now=int(desk.clock())
    )
    request.state.session.data[_HANDLE] = pending.handle
    return redirect(request, "/data/preview")


@router.get("/data/preview", dependencies=[_MINE])
def preview(request: Request) -> Response:
    """The first rows as they are decoded; another encoding or sheet can be chosen."""
    pending, content = _pending(request)
    shown = candidates = None
    try:
        shown = reading.preview(content, name=pending.name, choices=pending.choices)
    except DataError as error:
        if not error.code.startswith("ENCODING_"):
            raise
        candidates = _candidates(content)  # people see at once which one is right
    return page(
        request,
        "data/preview.html",
        steps=STEPS,
        pending=pending,
        shown=shown,
        candidates=candidates,
        encodings=ENCODING_WORDS,
        delimiters=DELIMITER_WORDS,
        chosen=pending.choices.encoding or (shown.table.encoding if shown else None) or Encoding.UTF_8,
    )


@router.post("/data/preview", dependencies=[_MINE])
def choose_reading(request: Request, form: Posted) -> Response:
    """Read it in another encoding, or another sheet."""
    pending, _content = _pending(request)
    choices = ReadingChoices(
        parse_encoding(form.text("encoding", default="")), form.text("sheet", default="")
    )
    _keep(request, replace(pending, choices=choices, mapping=None))
    return redirect(request, "/data/preview")


@router.get("/data/columns", dependencies=[_MINE])
def columns(request: Request) -> Response:
    """Which column is what: as remembered, as a preset has it, or as people say."""
    pending, content = _pending(request)
    shown = reading.preview(content, name=pending.name, choices=pending.choices)
    if shown.is_internal:
        return redirect(request, "/data/check")
    chosen = _chosen(request, pending, shown)
    return page(
        request,
        "data/columns.html",
        steps=STEPS,
        pending=pending,
        header=shown.table.header,
        examples=_examples(shown),
        chosen=chosen,
        mapping=chosen.mapping,
        origin=ORIGIN_WORDS[chosen.origin],
        presets=[("", _("as found or remembered")), *((n, p.title) for n, p in presets().items())],
        fields=FIELD_WORDS,
        date_fields=DATE_FIELDS,
        kinds=KIND_WORDS,
        readings=READING_WORDS,
        orders=ORDER_WORDS,
        otherwise=OTHERWISE_WORDS,
        missing=[FIELD_WORDS[wanted] for wanted in chosen.mapping.missing()],
    )


@router.post("/data/preset", dependencies=[_MINE])
def choose_preset(request: Request, form: Posted) -> Response:
    """Fill in the columns of a preset."""
    pending, _content = _pending(request)
    _keep(request, replace(pending, preset=form.text("preset", most=64, default=""), mapping=None))
    return redirect(request, "/data/columns")


@router.post("/data/columns", dependencies=[_MINE])
def choose_columns(request: Request, form: Posted) -> Response:
    """Remember which column is what."""
    pending, content = _pending(request)
    shown = reading.preview(content, name=pending.name, choices=pending.choices)
    before = _chosen(request, pending, shown).mapping
    mapping = replace(
        before,
        identifier_kind=_word(IdentifierKind, form.text("identifier_kind")),
        columns={
            wanted: (column,) for wanted in Field if (column := _column(form, wanted, shown.table.header))
        },
        position=_name(form, "position"),
        season=_name(form, "season"),
        season_reading=_word(SeasonReading, form.text("season_reading")),
        date_order=_word(DateOrder, form.text("date_order")),
        otherwise=_word(Decision, text) if (text := form.text("otherwise", default="")) else None,
    )
    _keep(request, replace(pending, mapping=mapping))
    if mapping.missing():
        return redirect(request, "/data/columns", notice=_("Some columns are still missing."))
    return redirect(request, "/data/meanings")


@router.get("/data/meanings", dependencies=[_MINE])
def meanings(request: Request) -> Response:
    """What the words in the file mean."""
    pending, content = _pending(request)
    if pending.mapping is None or pending.mapping.missing():
        return redirect(request, "/data/columns")
    words = reading.words_in(content, pending.mapping, name=pending.name, choices=pending.choices)
    return page(
        request,
        "data/meanings.html",
        steps=STEPS,
        pending=pending,
        mapping=pending.mapping,
        statuses=[(word, _meaning(pending.mapping, word)) for word in words.statuses],
        positions=[(word, _named(pending.mapping.position_names, word)) for word in words.positions],
        seasons=[(word, _named(pending.mapping.season_names, word)) for word in words.seasons],
        standings=[("", _("please choose")), *STANDING_WORDS.items()],
    )


@router.post("/data/meanings", dependencies=[_MINE])
def choose_meanings(request: Request, form: Posted) -> Response:
    """Remember what words mean; a word without a meaning rejects its rows."""
    pending, _content = _pending(request)
    if pending.mapping is None:
        return redirect(request, "/data/columns")
    said = {word: text for word, text in _pairs(form, "status") if text}
    mapping = replace(
        pending.mapping,
        words={**pending.mapping.words, **{word: parse_standing(text) for word, text in said.items()}},
        position_names={**pending.mapping.position_names, **_names(form, "position")},
        season_names={**pending.mapping.season_names, **_names(form, "season")},
    )
    _keep(request, replace(pending, mapping=mapping))
    return redirect(request, "/data/check")


@router.get("/data/check", dependencies=[_MINE])
def check(request: Request) -> Response:
    """The trial run: what would be taken, what is wrong; nothing is changed."""
    pending, content = _pending(request)
    read = _read(request, pending, content)
    if read is None:
        return redirect(request, "/data/columns")
    found, locale = read.converted, translations.locale()
    return page(
        request,
        "data/check.html",
        steps=STEPS,
        pending=pending,
        found=found,
        planned=_planned(request, read, Scope.ITS_POSITIONS),
        problems=[
            (problem.row, problem.column, problem.sentence(locale), problem.remedy(locale))
            for problem in found.problems[:SHOWN_PROBLEMS]
        ],
        has_more=found.causes.total() > SHOWN_PROBLEMS,
        is_internal=read.preset == INTERNAL,
    )


@router.get("/data/rejected", dependencies=[_MINE])
def rejected(request: Request) -> Response:
    """The rejected rows as a file for a spreadsheet."""
    pending, content = _pending(request)
    read = _read(request, pending, content)
    problems = () if read is None else read.converted.problems
    return download(
        to_csv(problems, translations.locale()),
        name="rejected-rows.csv",
        media_type="text/csv; charset=utf-8",
    )


@router.post("/data/take", dependencies=[_MINE])
def take(request: Request, form: Posted) -> Response:
    """Take the file over, after every check of the command."""
    desk = desk_of(request)
    pending, content = _pending(request)
    read = _read(request, pending, content)
    if read is None:
        return redirect(request, "/data/columns")
    if read.converted.rejected and not form.is_ticked("without_rejected"):
        return redirect(request, "/data/check", notice=_("Say first what is to become of the rejected rows."))
    planned = _planned(request, read, Scope.ITS_POSITIONS)
    if planned is None:
        return redirect(request, "/data/check", notice=_("There is no row that can be taken."))
    source = ImportSource(
        file=pending.name,
        source=read.source,
        preset=read.preset,
        rows=read.converted.rows,
        repeated=read.converted.repeated,
        rejected=read.converted.rejected,
    )
    import_journal.take(desk.directory, planned, source, now=int(desk.clock()))
    if pending.mapping is not None:
        reading.remember_mapping(desk.directory, read.table.header, pending.mapping)
    _forget(request)
    return redirect(request, "/data", notice=_("The file is taken. Nothing has left this machine."))


@router.post("/data/discard", dependencies=[_MINE])
def discard(request: Request, form: Posted) -> Response:
    """Remove the file that waits."""
    del form  # its token was all that is needed
    _forget(request)
    return redirect(request, "/data", notice=_("The file is discarded."))


@router.get("/data/undo", dependencies=[_MINE])
def confirm_undo(request: Request) -> Response:
    """What an undo of the last import would do."""
    records = import_journal.imports(desk_of(request).directory)
    last = records[-1] if records else None
    return page(request, "data/undo.html", last=last, word=UNDO_WORD, use_words=USE_WORDS)


@router.post("/data/undo", dependencies=[_MINE])
def undo(request: Request, form: Posted) -> Response:
    """Take the last import back."""
    form.verify_confirmation(UNDO_WORD)
    import_journal.undo(desk_of(request).directory)
    return redirect(request, "/data", notice=_("The import is undone. The applicants are those from before."))


@router.get("/data/leaving", dependencies=[allow()])
def leaving(request: Request) -> Response:
    """What leaves this machine, and what never does; for printing. Messages may share a list of fields."""
    desk = desk_of(request)
    found = overview(desk.directory)
    return page(
        request,
        "data/leaving.html",
        found=found,
        by_fields=[
            list(together)
            for _fields, together in groupby(
                (item.message for item in found.messages), key=lambda message: message.fields
            )
        ],
        words=translations.locale(),
        destinations=DESTINATION_WORDS,
        now=int(desk.clock()),
    )


def _pending(request: Request) -> tuple[PendingUpload, bytes]:
    desk = desk_of(request)
    handle = request.state.session.data.get(_HANDLE, "")
    return pending_upload.find(desk.directory, handle, now=int(desk.clock()))


def _waiting(request: Request) -> PendingUpload | None:
    """The file of this session that waits, if it still does."""
    try:
        return _pending(request)[0]
    except LocalProtocolError:
        return None


def _keep(request: Request, pending: PendingUpload) -> None:
    pending_upload.keep(desk_of(request).directory, pending)


def _forget(request: Request) -> None:
    pending_upload.discard(desk_of(request).directory, request.state.session.data.pop(_HANDLE, ""))


def _chosen(request: Request, pending: PendingUpload, shown: Preview) -> ChosenMapping:
    return reading.choose_mapping(
        desk_of(request).directory, shown.table.header, preset_name=pending.preset, given=pending.mapping
    )


def _read(request: Request, pending: PendingUpload, content: bytes) -> ReadExport | None:
    """The whole file; None as long as it needs a mapping and has none that is complete."""
    shown = reading.preview(content, name=pending.name, choices=pending.choices)
    if shown.is_internal:
        return reading.read_export(content, name=pending.name, choices=pending.choices, chosen=None)
    if pending.mapping is None or pending.mapping.missing():
        return None
    chosen = _chosen(request, pending, shown)
    return reading.read_export(content, name=pending.name, choices=pending.choices, chosen=chosen)


def _planned(request: Request, read: ReadExport, scope: Scope) -> PlannedImport | None:
    if not read.converted.applicants:
        return None
    return import_journal.plan_import(desk_of(request).directory, read.converted.applicants, scope)


def _candidates(content: bytes) -> list[tuple[Text, str]]:
    """The first lines in each encoding, what does not fit replaced."""
    start = content[:_SHOWN_BYTES]
    return [
        (ENCODING_WORDS[item], "\n".join(start.decode(item.codec, errors="replace").splitlines()[:3]))
        for item in (Encoding.UTF_8, Encoding.CP932)
    ]


def _examples(shown: Preview) -> list[str]:
    """For each column the first cell that is not empty."""
    return [
        next((row[place][:40] for _, row in shown.rows if row[place]), "")
        for place in range(len(shown.table.header))
    ]


def _column(form: PostedForm, wanted: Field, header: tuple[str, ...]) -> str:
    """The column that was chosen by its place, or none."""
    text = form.text(f"column_{wanted.value}", most=4, default="")
    if not text:
        return ""
    if not text.isascii() or not text.isdecimal() or int(text) >= len(header):
        raise DataError("form: expected a column of the file, got another")
    return header[int(text)]


def _name(form: PostedForm, field: str) -> str:
    text = form.text(field, most=64, default="")
    return parse_name(text, field) if text else ""


def _names(form: PostedForm, field: str) -> dict[str, str]:
    return {word: parse_name(name, field) for word, name in _pairs(form, field) if name}


def _pairs(form: PostedForm, field: str) -> list[tuple[str, str]]:
    """Words of the file and what was said about each, as the meanings' page asked."""
    words = form.many(f"{field}_word", most=reading.MAX_WORDS_SHOWN, most_each=MAX_WORD_CHARACTERS)
    said = form.many(f"{field}_said", most=reading.MAX_WORDS_SHOWN, most_each=64)
    if len(words) != len(said):
        raise DataError("form: expected a meaning beside every word, got others")
    return [(comparable(word), text.strip()) for word, text in zip(words, said, strict=True)]


def _word(kind: type[E], text: str) -> E:
    """The member of a closed set."""
    try:
        return kind(text)
    except ValueError as error:
        raise DataError(f"form: expected one of {', '.join(kind)}; got another word") from error


def _meaning(mapping: ImportMapping, word: str) -> str:
    known = mapping.words.get(word) or common_words().get(word)
    return known.text if known else ""


def _named(names: Mapping[str, str], word: str) -> str:
    """The name that was said, or the word itself if it is one."""
    try:
        return names.get(word) or parse_name(word, "name")
    except DataError:
        return ""
