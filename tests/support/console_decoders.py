"""Decoders of what the operator's console reads, for `decoders.DECODERS`."""

from __future__ import annotations

import tomllib
from typing import Any

import hostile_input as shapes

from noren_core import canonical_json
from noren_server.console import accounts, oidc, trail
from noren_server.console.accounts import Account, AccountState, ConsoleRole
from noren_server.rights import service_changes

_ACCOUNT = Account("mika", "00" * 8, (ConsoleRole.ADMINISTRATOR,), AccountState.INVITED, "")
_OIDC = b'[oidc]\nissuer = "https://id.example"\nclient_id = "noren"\nname = "Example"\n'

FIELDS: tuple[dict[str, Any], ...] = (
    {
        "name": "noren_server.console.accounts.Account.from_body",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [canonical_json.encode(_ACCOUNT.to_body())],
        "decode": lambda value, _: Account.from_body(canonical_json.parse_object(value)),
    },
    {
        "name": "noren_server.console.accounts.parse_roles",
        "shape": shapes.Text(),
        "valid": lambda _: ["administrator", "auditor"],
        "decode": lambda value, _: accounts.parse_roles(value.split(",")),
    },
    {
        "name": "noren_server.console.accounts.verify_password",
        "shape": shapes.Text(),
        "valid": lambda _: ["otter quarry lantern 41", "ガラスの靴と二十日の月の話"],
        "decode": lambda value, _: accounts.verify_password(value, name="mika"),
    },
    {
        "name": "noren_server.console.trail.parse_head",
        "shape": shapes.Text(),
        "valid": lambda _: ["4711:" + "9f" * 32],
        "decode": lambda value, _: trail.parse_head(value),
    },
    {
        "name": "noren_server.console.trail.parse_about",
        "shape": shapes.Text(),
        "valid": lambda _: ["company:akane"],
        "decode": lambda value, _: trail.parse_about(value),
    },
    {
        "name": "noren_server.console.oidc.parse_settings",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [canonical_json.encode(tomllib.loads(_OIDC.decode()))],
        "decode": lambda value, _: oidc.parse_settings(canonical_json.parse_object(value)),
    },
    {
        "name": "noren_server.rights.service_changes.parse_scope",
        "shape": shapes.Text(),
        "valid": lambda _: ["global", "campaign"],
        "decode": lambda value, _: service_changes.parse_scope(value),
    },
    {
        "name": "noren_server.rights.service_changes.parse_reason",
        "shape": shapes.Text(),
        "valid": lambda _: [service_changes.SuspensionReason(reason).value for reason in _REASONS],
        "decode": lambda value, _: service_changes.parse_reason(value),
    },
)
_REASONS = tuple(service_changes.SuspensionReason)

EXEMPT = {
    "noren_audit.service.state_request.verify_reports_clear": "read_report, which is here, reads each",
    "noren_client.imports.commands.ImportGroup.parse_args": "the command line, which click reads",
    "noren_client.web.commands.open_pages": "a command; it opens pages, and no input",
    "noren_server.console.accounts.Accounts.verify_code": "a hash and a comparison, as of an access code",
    "noren_server.console.desk.open_desk": "a directory of our own; Platform reads it, and is here",
}
