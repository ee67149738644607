"""`noren-platform policy` and `screens`: what students are told, and what they are really shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

Result = dict[str, Any]
Context = typer.Context

_FINDINGS_EXIT_CODE = 6  # as of input that is not what the format asks for

ValidHours = Annotated[int, typer.Option(help="How long a screen counts after it was looked at.", min=1)]


def policy_commands() -> typer.Typer:
    """The sub-commands about policies."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Write, approve and activate what students are told.",
    )
    app.command("packaged")(_packaged)
    app.command("lint")(_lint)
    app.command("add")(_add)
    app.command("notices")(_notices)
    app.command("new-key")(_new_key)
    app.command("add-staff")(_add_staff)
    app.command("remove-staff")(_remove_staff)
    app.command("sign")(_sign)
    app.command("approve")(_approve)
    app.command("activate")(_activate)
    app.command("retire")(_retire)
    app.command("export")(_export)
    app.command("list")(_list)
    return app


def screens_commands() -> typer.Typer:
    """The sub-commands about screens."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Look at what students are really shown, and verify it.",
    )
    app.command("crawl")(_crawl)
    app.command("verify")(_verify)
    app.command("list")(_list_screens)
    app.command("matrix")(_matrix)
    app.command("unknown")(_unknown)
    return app


PolicyName = Annotated[str, typer.Argument(help="The policy version's name.")]


def _packaged(output: Annotated[Path, typer.Argument(help="Where to write the file.")]) -> Result:
    """Write the packaged policy as a file to edit."""
    from noren_core.rights.notices.notice_texts import packaged_policy_text
    from noren_local.private_file import write_private

    write_private(output, packaged_policy_text())
    return {"policy": str(output)}


def _lint(file: Annotated[Path, typer.Argument(help="Policy file, TOML or JSON.")]) -> Result:
    """Show what keeps a policy file from being reviewed; exit code 6 if there is anything."""
    from noren_server.policies.activation import objections

    found = objections(_policy_file(file))
    listed = [{"code": item.code, "where": item.where, "what": item.what} for item in found]
    return {"objections": listed, "exit_code": _FINDINGS_EXIT_CODE if found else 0}


def _add(
    context: Context, file: Annotated[Path, typer.Argument(help="Policy file, TOML or JSON.")]
) -> Result:
    """Take a policy over and review it: purposes concrete, no contradiction to what this software does."""
    from noren_server.policies import activation

    version = _policy_file(file)
    with _stores(context) as (book, _):
        activation.take_over(book, version, at=_now())
        return {"policy": version.policy, "sha256": version.digest().hex(), "state": "REVIEWED"}


def _notices(
    context: Context, file: Annotated[Path, typer.Argument(help="Facts of notices, TOML.")]
) -> Result:
    """Take over what notices say about companies and positions; changed ones make their screens stale."""
    from noren_core.rights.notices.notice_texts import parse_notices

    notices = parse_notices(_read(file))
    with _stores(context) as (book, _):
        book.set_notices(notices, at=_now())
        return {"notices": len(book.notices())}


def _new_key(output: Annotated[Path, typer.Argument(help="Where to write the key (0600).")]) -> Result:
    """Make a key for a person who approves policies, on her own machine."""
    from noren_core.crypto.identity import SigningKey
    from noren_core.errors import LocalProtocolError
    from noren_local.private_file import write_private

    if output.exists():
        raise LocalProtocolError("key: expected a new file, got one that exists; keys are never overwritten")
    key = SigningKey.generate()
    write_private(output, key.to_bytes())
    return {"public_key": key.public_key.hex()}


def _add_staff(
    context: Context,
    person: Annotated[str, typer.Argument(help="A staff code (a-z, 0-9, hyphens), no name.")],
    role: Annotated[str, typer.Option(help="privacy, legal or student-viewpoint.")],
    public_key: Annotated[str, typer.Option(help="What policy new-key printed, read out by that person.")],
) -> Result:
    """Register who may approve policies."""
    from noren_core.ids import parse_name
    from noren_core.rights.fields import bytes_of, word_of
    from noren_core.rights.notices.policy_approval import ApproverRole, StaffMember

    member = StaffMember(parse_name(person, "person"), word_of(ApproverRole)(role), bytes_of(32)(public_key))
    with _stores(context) as (book, _):
        book.add_staff(member, at=_now())
    return {"person": member.person, "role": member.role.value}


def _remove_staff(context: Context, person: str) -> Result:
    """Let a person approve no longer; her approvals do not count for an activation any more."""
    with _stores(context) as (book, _):
        book.remove_staff(person, at=_now())
    return {"person": person, "state": "removed"}


def _sign(
    file: Annotated[Path, typer.Argument(help="The policy file that she read.")],
    person: Annotated[str, typer.Option(help="Her staff code.")],
    role: Annotated[str, typer.Option(help="privacy, legal or student-viewpoint.")],
    key: Annotated[Path, typer.Option(help="Her key file.")],
    output: Annotated[Path, typer.Option(help="Where to write the approval.")],
) -> Result:
    """Approve a policy as a person, on her own machine."""
    from noren_core.crypto.identity import SigningKey
    from noren_core.errors import ConfigurationError
    from noren_core.ids import parse_name
    from noren_core.rights.fields import word_of
    from noren_core.rights.notices.policy_approval import ApproverRole, approve
    from noren_local.private_file import write_private
    from noren_local.secret_files import SecretFiles

    seed = SecretFiles(key.parent, [key.name]).read(key.name)
    if seed is None:
        raise ConfigurationError("key: expected a key file, got none")
    version = _policy_file(file)
    approval = approve(
        version,
        person=parse_name(person, "person"),
        role=word_of(ApproverRole)(role),
        at=_now(),
        key=SigningKey.from_bytes(seed),
    )
    write_private(output, approval.to_bytes())
    return {"policy": version.policy, "sha256": version.digest().hex(), "approval": str(output)}


def _approve(context: Context, approval: Annotated[Path, typer.Argument(help="From policy sign.")]) -> Result:
    """Take a person's approval over; with those of two people in different roles the policy is APPROVED."""
    from noren_core.rights.notices.policy_approval import Approval
    from noren_server.policies.activation import take_approval

    taken = Approval.from_bytes(_read(approval))
    with _stores(context) as (book, _):
        return {"policy": taken.policy, "state": take_approval(book, taken, at=_now()).value}


def _activate(context: Context, policy: PolicyName) -> Result:
    """Bring an approved policy into force, in the ledger too; every screen of it must be verified."""
    from noren_server.platform_files import Platform
    from noren_server.policies.activation import activate

    platform = Platform(context.obj)
    with _stores(context) as (book, register):
        activate(book, register, platform.ledger, policy, at=_now())
        return {"policy": policy, "sha256": book.version(policy).digest().hex(), "state": "ACTIVE"}


def _retire(context: Context, policy: PolicyName) -> Result:
    """End a policy at once, without days of grace: consents under it no longer count."""
    from noren_server.policies import activation

    with _stores(context) as (book, register):
        activation.retire(book, register, policy, at=_now())
    return {"policy": policy, "state": "RETIRED"}


def _export(context: Context, policy: PolicyName, output: Path) -> Result:
    """Write a policy's machine twin: the bytes that are approved and whose hash is in the ledger."""
    from noren_local.private_file import write_private

    with _stores(context) as (book, _):
        version = book.version(policy)
    write_private(output, version.to_bytes())
    return {"policy": policy, "sha256": version.digest().hex(), "file": str(output)}


def _list(context: Context) -> Result:
    """Every policy, its state and who approved it."""
    with _stores(context) as (book, _):
        listed = [
            {
                "policy": version.policy,
                "season": version.season,
                "state": str(book.status(version.policy, at=_now())),
                "sha256": version.digest().hex(),
                "approved_by": [f"{item.person} ({item.role})" for item in book.approvals(version.policy)],
            }
            for version in book.versions()
        ]
    return {"policies": listed}


def _crawl(
    context: Context,
    urls: Annotated[
        list[str] | None, typer.Argument(help="Pages; our own consent pages if left out.")
    ] = None,
    policy: Annotated[str, typer.Option(help="Whose own pages; every policy not retired if left out.")] = "",
    follow: Annotated[bool, typer.Option(help="Also what they link to within the same origins.")] = False,
    valid_hours: ValidHours = 24,
) -> Result:
    """Look at consent screens with a browser, as telephone and desk show them, and register what is seen."""
    from noren_server.policies import crawler

    with _stores(context) as (book, register):
        found = crawler.Into(book, register, clock=_now, valid_seconds=valid_hours * 3600)
        result = crawler.crawl(found, urls or (), policy=policy, follow=follow)
    rejected = [screen for screen in result.screens if screen.findings]
    lost = [*result.unplaced, *result.unreadable]
    return {
        "screens": len(result.screens),
        "verified": sum(screen.state == "VERIFIED" for screen in result.screens),
        "rejected": [_screen(screen) for screen in rejected],
        "not_placed_or_read": lost,
        "without_consent": result.others,
        "exit_code": _FINDINGS_EXIT_CODE if rejected or lost else 0,
    }


def _verify(
    context: Context,
    sha256: Annotated[
        list[str] | None, typer.Option(help="A text that a person read; what our own pages say if left out.")
    ] = None,
    valid_hours: ValidHours = 24,
) -> Result:
    """Verify screens that were looked at: those with our own words, or the texts that are named."""
    from noren_server.policies.activation import waiting_own_texts

    with _stores(context) as (book, register):
        waiting = {screen.sha256 for screen in register.versions() if screen.state == "DISCOVERED"}
        texts = set(sha256) if sha256 else waiting_own_texts(book, register, at=_now())
        verified = register.verify(texts, at=_now(), valid_seconds=valid_hours * 3600)
    return {"verified": [_screen(screen) for screen in verified], "waiting": len(waiting - texts)}


def _list_screens(context: Context) -> Result:
    """Every screen version, and until when it is verified."""
    with _stores(context) as (_, register):
        return {"screens": [_screen(screen) for screen in register.versions()]}


def _matrix(context: Context, policy: PolicyName) -> Result:
    """Screen by clause, for the screens of a policy that stand now: which clauses count on which."""
    from noren_core.rights.clauses import Clause

    with _stores(context) as (_, register):
        standing = register.standing(policy)
    return {
        "matrix": [
            {**_screen(screen), "clauses": {clause.value: clause in screen.clauses for clause in Clause}}
            for screen in standing
        ]
    }


def _unknown(context: Context) -> Result:
    """Texts that consent events name and nobody looked at; exit code 6 if there is any."""
    with _stores(context) as (_, register):
        unknown = register.unknown_texts()
    return {"unknown": list(unknown), "exit_code": _FINDINGS_EXIT_CODE if unknown else 0}


def _screen(screen: Any) -> Result:
    return {
        **screen.place.to_body(),
        "sha256": screen.sha256,
        "state": screen.state.value,
        "findings": [finding.value for finding in screen.findings],
        "verified_until": screen.verified_until,
    }


@contextmanager
def _stores(context: Context) -> Iterator[tuple[Any, Any]]:
    from noren_server.platform_files import Platform
    from noren_server.policies.opening import policy_stores

    with policy_stores(
        Platform(context.obj).directory
    ) as stores:  # refuses a directory that is no platform's
        yield stores


def _policy_file(file: Path) -> Any:
    from noren_core.rights.notices.policy import parse_policy

    return parse_policy(_read(file))


def _read(file: Path) -> bytes:
    from noren_core.errors import DataError

    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file.name}: expected a file that can be read, got none") from error


def _now() -> int:
    import time

    return int(time.time())
