"""The auditor's commands that look at noise: replay and its verdicts, sentinels, keys."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from noren_core.console import progress

EXIT_NOT_REPLAYED = 9

Result = dict[str, Any]
_Bundle = Annotated[Path, typer.Option(help="The exported ledger.", exists=True, file_okay=False)]
_Trust = Annotated[Path, typer.Option(help="TOML file with the keys you trust.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(replay)
    app.command()(sentinels)
    app.command()(verdict)
    keys = typer.Typer(no_args_is_help=True, help="The key that signs your verdicts.")
    keys.command("init")(init_key)
    app.add_typer(keys, name="key")


def replay(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="The replay file; - reads it from a pipe.")],
    bundle: _Bundle,
    trust: _Trust,
    key: Annotated[Path, typer.Option(help="Your key: noren-audit key init.")],
    out: Annotated[Path | None, typer.Option(help="Where to write the signed verdict.")] = None,
) -> Result:
    """Compute a company's training again on its machine; exit 0 if all of it comes out, 9 if not.

    Prints the signed verdict, the only thing that is to leave this machine. With --out it goes to that file.
    """
    from noren_audit.replay import auditor_key, replay_file, replay_session, replay_verdict
    from noren_audit.verification.trust import load_trust
    from noren_audit.witness.durable_file import write_result

    signing_key = auditor_key.load(key)
    shown = replay_file.parse(_read(file, replay_file.MAX_FILE_BYTES))
    with progress("Replaying"):
        done = replay_session.run(shown, bundle, load_trust(trust), signing_key)
    for finding in done.findings:
        where = "" if finding.round_number is None else f" (round {finding.round_number})"
        print(f"{finding.code}{where}", file=sys.stderr)
    exit_code = 0 if done.word == replay_verdict.REPLAYED else EXIT_NOT_REPLAYED
    if out is not None:
        write_result(out, done.signed_verdict + b"\n")
        return {"exit_code": exit_code, "verdict": done.word, "file": str(out)}
    if context.obj:
        return {"exit_code": exit_code, "verdict": done.word, "signed": done.signed_verdict.decode()}
    print(done.signed_verdict.decode())
    return {"exit_code": exit_code}


def verdict(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A signed verdict.", exists=True, dir_okay=False)],
    key: Annotated[str, typer.Option(help="The auditor's public key, 64 hex digits.")],
) -> Result:
    """Check a signed verdict of a replay; exit 0 if it is this auditor's and says REPLAYED, otherwise 9."""
    from noren_audit.replay import auditor_key, replay_verdict

    data = _read(str(file), replay_verdict.MAX_VERDICT_BYTES)
    fields = replay_verdict.parse_verdict(data.removesuffix(b"\n"), auditor_key.parse_public(key))
    exit_code = 0 if fields["verdict"] == replay_verdict.REPLAYED else EXIT_NOT_REPLAYED
    if context.obj:
        return {"exit_code": exit_code, **fields}
    ledger = fields.pop("ledger")
    shown = {
        "verdict": fields.pop("verdict"),
        **fields,
        **{f"ledger_{name}": v for name, v in ledger.items()},
    }
    return {"exit_code": exit_code, **shown}


def sentinels(
    context: typer.Context,
    bundle: Annotated[
        Path, typer.Argument(help="Directory that the platform exported.", exists=True, file_okay=False)
    ],
    trust: _Trust,
) -> Result:
    """Test from the ledger alone whether the planned noise was added; exit 0 or 9. Takes --json."""
    from noren_audit.verification import sentinel_report
    from noren_audit.verification.trust import load_trust

    report = sentinel_report.make(bundle, load_trust(trust))
    exit_code = 0 if report.passes else EXIT_NOT_REPLAYED
    if context.obj:
        return {"exit_code": exit_code, **report.to_fields()}
    for line in report.lines():
        print(line)
    return {"exit_code": exit_code}


def init_key(
    file: Annotated[Path, typer.Argument(help="A new file; only you will be able to read it.")],
) -> Result:
    """Make the key that signs your verdicts, and print its public half to hand out."""
    from noren_audit.replay import auditor_key
    from noren_core.crypto.identity import fingerprint

    public = auditor_key.create(file).public_key
    return {"public_key": public.hex(), "fingerprint": fingerprint(public)}


def _read(file: str, limit: int) -> bytes:
    """At most one byte more than `limit`, of a file or of standard input."""
    from noren_core.errors import ConfigurationError

    try:
        if file == "-":
            return sys.stdin.buffer.read(limit + 1)
        with Path(file).open("rb") as stream:
            return stream.read(limit + 1)
    except OSError as error:
        raise ConfigurationError(f"expected a readable file, got {error.strerror}") from error
