"""The systemd units of a company's machine, as texts: the worker, the daily work and its timer.

Promises: a unit may write to the company's directory and nowhere else, gains no privilege, opens no device,
has a bound of memory, and starts nothing that reports home; its first line has the hash of what follows, so
that an edit by somebody here is noticed (`is_ours`). Nothing is read or written here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from noren_core.errors import ConfigurationError

WORKER, DAILY, TIMER = "noren-company.service", "noren-company-daily.service", "noren-company-daily.timer"
CREDENTIAL = "noren-passphrase"
MEMORY_MAX = "2G"
"""A company's processes use up to 540 MB together (README, What was measured)."""

_HEADER = re.compile(r"# Written by noren-company service install; sha256 of what follows: ([0-9a-f]{64})\n")
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/@+-]*\Z")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}\Z")


class Scope(StrEnum):
    """Whose service manager runs the units."""

    SYSTEM = "system"
    USER = "user"


@dataclass(frozen=True, slots=True)
class UnitChoices:
    """What the units are made of.

    Attributes:
        program: the absolute path of `noren-company`.
        directory: the company's, absolute.
        account: whom a system's units run as; of no use in a user's.
        credential: an encrypted passphrase (systemd-creds), if the directory is protected.
    """

    scope: Scope
    program: Path
    directory: Path
    account: str = ""
    credential: Path | None = None

    def __post_init__(self) -> None:
        for path in (self.program, self.directory, self.credential):
            # A space or a % means something else in a unit.
            if path is not None and not _PLAIN_PATH.match(str(path)):
                raise ConfigurationError("service: expected absolute paths of letters, digits and ._/@+-")
        if self.scope is Scope.SYSTEM and not _ACCOUNT.match(self.account):
            raise ConfigurationError("service: expected the name of an account of this machine, got another")
        if self.account in {"root", "nobody"}:
            raise ConfigurationError("service: expected an account of its own, got root or nobody")


def unit_files(choices: UnitChoices) -> Mapping[str, str]:
    """The three files by name."""
    return {
        WORKER: _signed(_worker(choices)),
        DAILY: _signed(_daily(choices)),
        TIMER: _signed(_TIMER),
    }


def is_ours(text: str) -> bool:
    """Whether a unit is as some release of this program wrote it."""
    header = _HEADER.match(text)
    return header is not None and header.group(1) == _digest(text[header.end() :])


def _signed(body: str) -> str:
    return f"# Written by noren-company service install; sha256 of what follows: {_digest(body)}\n{body}"


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _worker(choices: UnitChoices) -> str:
    wanted_by = "multi-user.target" if choices.scope is Scope.SYSTEM else "default.target"
    return f"""\
[Unit]
Description=Noren: answers the training rounds of this company
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={choices.program} --directory {choices.directory} run
Restart=always
RestartSec=30
TimeoutStopSec=30
{_sandbox(choices)}
[Install]
WantedBy={wanted_by}
"""


def _daily(choices: UnitChoices) -> str:
    return f"""\
[Unit]
Description=Noren: the daily work of this company (ledger, students' rights, retention, scores)
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={choices.program} --directory {choices.directory} --json daily
TimeoutStartSec=12h
Nice=10
{_sandbox(choices)}"""


_TIMER = f"""\
[Unit]
Description=Noren: once a day

[Timer]
OnCalendar=*-*-* 04:00:00
# Companies do not all come at once.
RandomizedDelaySec=3h
# A machine that was off does it when it is on again.
Persistent=true
Unit={DAILY}

[Install]
WantedBy=timers.target
"""

# Not MemoryDenyWriteExecute: torch and cffi make code at run time.
_COMMON = f"""\
UMask=0077
Environment=FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
MemoryMax={MEMORY_MAX}
MemorySwapMax=0
TasksMax=512
LimitCORE=0
"""

# What only the system's own service manager can give.
_SYSTEM = """\
CapabilityBoundingSet=
AmbientCapabilities=
PrivateDevices=yes
DevicePolicy=closed
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectProc=invisible
KeyringMode=private
RemoveIPC=yes
"""


def _sandbox(choices: UnitChoices) -> str:
    programs = choices.program.parent
    lines = [
        f"Environment=PATH={programs}:/usr/local/bin:/usr/bin:/bin",
        f"ReadWritePaths={choices.directory}",
    ]
    if choices.scope is Scope.SYSTEM:
        lines.insert(0, f"User={choices.account}")
    if choices.credential is not None:
        lines.append(f"LoadCredentialEncrypted={CREDENTIAL}:{choices.credential}")
    system = _SYSTEM if choices.scope is Scope.SYSTEM else ""
    return "\n".join(lines) + "\n" + _COMMON + system
