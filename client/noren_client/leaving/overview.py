"""What leaves this machine, for its people: each kind of message, its address, its bytes, the last time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from noren_client import config
from noren_client.config import CompanyConfig
from noren_client.leaving.declarations import Destination, SentMessage, Words, declarations
from noren_client.leaving.sent_bytes import Sent, sent
from noren_core.errors import ConfigurationError
from noren_core.ledger.entries import EntryKind
from noren_core.rights.locales import Locale

_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Leaving:
    """One kind of message and what of it went out.

    Attributes:
        message: what it is.
        address: host:port; empty as long as none is configured.
        sent: so far; None where it is not counted here.
    """

    message: SentMessage
    address: str
    sent: Sent | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that leaves, what is in the ledger's entries, and what never leaves.

    Attributes:
        undeclared: kinds that were counted and that nobody declared; there should be none.
    """

    messages: tuple[Leaving, ...]
    entries: Mapping[EntryKind, Mapping[str, Words]]
    never: tuple[Words, ...]
    undeclared: Mapping[str, Sent]

    @property
    def size_bytes(self) -> int:
        """Of all messages that are counted here."""
        return sum(item.sent.size_bytes for item in self.messages if item.sent is not None)


def overview(company_dir: Path) -> Overview:
    """What is declared, with what was counted; also before this company enrolled."""
    known, totals = declarations(), sent(company_dir)
    addresses = _addresses(company_dir)
    return Overview(
        messages=tuple(
            Leaving(
                message,
                addresses.get(message.destination, ""),
                totals.get(kind, Sent(0, 0, 0)) if message.is_counted else None,
            )
            for kind, message in known.messages.items()
        ),
        entries=known.entries,
        never=known.never,
        undeclared={kind: item for kind, item in totals.items() if kind not in known.messages},
    )


def to_result(found: Overview, locale: Locale) -> dict[str, Any]:
    """As the command prints it."""
    return {
        "messages": [
            {
                "kind": item.message.kind,
                "what": item.message.what[locale],
                "purpose": item.message.purpose[locale],
                "to": item.message.destination.value,
                "address": item.address,
                "fields": {name: words[locale] for name, words in item.message.fields.items()},
                **_counted(item.sent),
            }
            for item in found.messages
        ],
        "ledger_entries": {
            kind.value: {name: words[locale] for name, words in fields.items()}
            for kind, fields in found.entries.items()
        },
        "never": [words[locale] for words in found.never],
        "bytes": found.size_bytes,
        "undeclared": sorted(found.undeclared),
    }


def _counted(item: Sent | None) -> dict[str, Any]:
    if item is None:
        return {"counted": False}
    return {"counted": True, "messages": item.messages, "bytes": item.size_bytes, "last_at": item.last_at}


def _addresses(company_dir: Path) -> dict[Destination, str]:
    try:
        settings = config.load(company_dir)
    except ConfigurationError:
        return {}
    return {
        Destination.ENROLMENT: settings.addresses.enrolment,
        Destination.SERVICE: settings.addresses.service,
        Destination.FLEET: settings.addresses.fleet,
        Destination.CUSTODIAN: _custodian(settings),
    }


def _custodian(settings: CompanyConfig) -> str:
    if settings.custodian is None:
        return ""
    parts = urlsplit(settings.custodian.url)
    return f"{parts.hostname}:{parts.port or _PORTS.get(parts.scheme, 0)}"
