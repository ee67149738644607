"""`noren-company import`: take over an export, or our own format; undo; what was imported; the presets.

Numbers and names of columns are printed, on this machine. No person's row is, except by --preview, which
shows the first ones as they are decoded.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from noren_client.imports.import_journal import PlannedImport
    from noren_client.imports.reading import ChosenMapping, ReadExport
    from noren_client.imports.source_table import ReadingChoices

Result = dict[str, Any]
Context = typer.Context

_TAKE = "file"


class ImportGroup(TyperGroup):
    """`import FILE` and `import undo` beside each other: what is no command is a file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command for files before anything that is no command."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [_TAKE, *args]
        return super().parse_args(ctx, args)


import_app = typer.Typer(
    cls=ImportGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Take over applicants: noren-company import FILE. They stay on this machine.",
)


@import_app.command(_TAKE)
def import_file(
    context: Context,
    file: Annotated[Path, typer.Argument(help="CSV, .xlsx or Parquet; the word `file` may be left out.")],
    preset: Annotated[str, typer.Option(help="What system it is from; see `import presets`.")] = "",
    mapping: Annotated[
        Path | None, typer.Option(help="A file that says which column is what (docs/company/import.md).")
    ] = None,
    encoding: Annotated[str, typer.Option(help="utf-8, utf-8-bom or cp932; found out if left out.")] = "",
    sheet: Annotated[str, typer.Option(help="Of a workbook; the first if left out.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and count; change and send nothing.")
    ] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Show the first rows as decoded.")] = False,
    without_rejected: Annotated[
        bool, typer.Option("--without-rejected", help="Take the rows that can be read; leave out the others.")
    ] = False,
    everything: Annotated[
        bool,
        typer.Option("--everything", help="Replace all applicants, also of positions that are not in FILE."),
    ] = False,
    language: Annotated[str, typer.Option(help="Of the file of rejected rows: ja or en.")] = "ja",
) -> Result:
    """Check a file of applicants, decisions and outcomes, and take it over; nothing leaves this machine."""
    from noren_client import config
    from noren_client.applicants import read_bounded
    from noren_client.imports import import_journal, reading
    from noren_client.imports.import_journal import Scope

    config.load(context.obj)
    data = read_bounded(file)
    choices = _choices(data, file.name, encoding, sheet)
    shown = reading.preview(data, name=file.name, choices=choices)
    if preview:
        _show(shown)
    chosen = None if shown.is_internal else _mapping(context.obj, shown.table.header, preset, mapping)
    read = reading.read_export(data, name=file.name, choices=choices, chosen=chosen)
    result = _numbers(read, chosen)
    if read.converted.problems:
        result["rejected_file"] = str(_write_rejected(context.obj, read, language))
    if not read.converted.applicants:
        raise _rejected()
    planned = import_journal.plan_import(
        context.obj, read.converted.applicants, Scope.EVERYTHING if everything else Scope.ITS_POSITIONS
    )
    result |= _change_numbers(planned)
    if dry_run:
        return {**result, "state": "dry-run"}
    if read.converted.rejected and not without_rejected:
        raise _rejected()
    source = import_journal.ImportSource(
        file=file.name,
        source=read.source,
        preset=read.preset,
        rows=read.converted.rows,
        repeated=read.converted.repeated,
        rejected=read.converted.rejected,
    )
    taken = import_journal.take(context.obj, planned, source, now=int(time.time()))
    if chosen is not None:
        reading.remember_mapping(context.obj, read.table.header, chosen.mapping)
    if not read.converted.problems:
        _rejected_file(context.obj).unlink(missing_ok=True)
    return {**result, "state": taken.state.value}


@import_app.command("undo")
def import_undo(context: Context) -> Result:
    """Take the last import back; refused once the applicants were trained on or sealed."""
    from noren_client.imports import import_journal

    undone = import_journal.undo(context.obj)
    return {"import": undone.handle, "state": undone.state.value}


@import_app.command("list")
def import_list(context: Context) -> Result:
    """Every import so far, the oldest first."""
    from noren_client.imports import import_journal

    return {
        "imports": [
            {**record.to_body(), "undoable": record.is_undoable and record is records[-1]}
            for records in (import_journal.imports(context.obj),)
            for record in records
        ]
    }


@import_app.command("presets")
def import_presets() -> Result:
    """The systems whose exports are known, and under which names their columns are looked for."""
    from noren_client.imports.column_mapping import presets

    return {
        name: {
            "title": preset.title,
            "columns": {wanted.value: list(names) for wanted, names in preset.columns.items()},
        }
        for name, preset in presets().items()
    }


def _choices(data: bytes, name: str, encoding: str, sheet: str) -> ReadingChoices:
    """How the file is read; at a terminal, what could be two encodings is asked."""
    from noren_client.imports.source_table import ReadingChoices, SourceKind, source_kind
    from noren_client.imports.text_encoding import Encoding, detect_encoding, parse_encoding
    from noren_core.errors import DataError

    chosen = parse_encoding(encoding)
    if chosen is None and source_kind(data, name=name) is SourceKind.CSV:
        try:
            chosen = detect_encoding(data, name=name)
        except DataError as error:
            if error.code != "ENCODING_AMBIGUOUS" or not sys.stdin.isatty():
                raise
            for candidate in (Encoding.UTF_8, Encoding.CP932):
                print(f"{candidate}: {data.decode(candidate.codec).splitlines()[0][:200]}", file=sys.stderr)
            chosen = parse_encoding(typer.prompt("encoding", err=True))
    return ReadingChoices(chosen, sheet)


def _mapping(directory: Path, header: tuple[str, ...], preset: str, file: Path | None) -> ChosenMapping:
    from noren_client.applicants import read_bounded
    from noren_client.imports.column_mapping import parse_mapping
    from noren_client.imports.reading import choose_mapping

    given = None if file is None else parse_mapping(read_bounded(file))
    return choose_mapping(directory, header, preset_name=preset, given=given)


def _numbers(read: ReadExport, chosen: ChosenMapping | None) -> Result:
    converted, table = read.converted, read.table
    result: Result = {
        "rows": converted.rows,
        "source": read.source,
        "preset": read.preset,
        "applicants": len(converted.applicants),
        "repeated": converted.repeated,
        "rejected": converted.rejected,
    }
    if table.sheet:
        result["sheet"] = table.sheet
    if chosen is not None:
        result["columns"] = {wanted.value: names[0] for wanted, names in chosen.mapping.columns.items()}
    if converted.causes:
        result["causes"] = {cause.value: count for cause, count in converted.causes.most_common()}
    return result


def _change_numbers(planned: PlannedImport) -> Result:
    changes = planned.changes
    return {
        "added": changes.added,
        "changed": changes.changed,
        "unchanged": changes.unchanged,
        "removed": changes.removed,
    }


def _show(shown: Any) -> None:
    print(" | ".join(shown.table.header), file=sys.stderr)
    for number, row in shown.rows:
        print(f"{number}: " + " | ".join(row), file=sys.stderr)


def _write_rejected(directory: Path, read: ReadExport, language: str) -> Path:
    from noren_client.imports.rejected_rows import to_csv
    from noren_core.errors import DataError
    from noren_core.rights.locales import Locale
    from noren_local.private_file import write_private

    if language not in tuple(Locale):
        raise DataError(f"language: expected one of {', '.join(Locale)}; got another")
    path = _rejected_file(directory)
    write_private(path, to_csv(read.converted.problems, Locale(language)))
    return path


def _rejected_file(directory: Path) -> Path:
    from noren_client.imports import import_journal

    return directory / import_journal.DIRECTORY / import_journal.REJECTED_FILE


def _rejected() -> Exception:
    from noren_client.imports.import_journal import REJECTED_FILE
    from noren_core.errors import DataError

    return DataError(
        "import: expected every row to be readable, got some that are not; nothing was taken. "
        f"imports/{REJECTED_FILE} says which and what to do; --without-rejected takes the others",
        code="ROWS_REJECTED",
    )
