"""config.toml: whom this company trusts and how far (written by enrolment, edited by hand afterwards).

The pins come from the invitation, out of band, and never from a message. The limits are the company's own:
a plan beyond them is refused whatever the platform says.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from noren_client import inertness
from noren_client.outbound import AS_ENVIRONMENT, NetworkSettings
from noren_core import toml_text
from noren_core.errors import ConfigurationError, NorenError
from noren_core.ids import parse_name
from noren_core.ledger.note import VerifierKey
from noren_core.privacy.accounting import MAX_EPSILON
from noren_core.privacy.events import format_decimal
from noren_core.season.plan import MAX_COMPANIES, MAX_ROUNDS

FILE_NAME = "config.toml"
MAX_DISPUTE_DAYS = 3650
MAX_CAMPAIGNS_PER_SEASON = 99
MAX_VIEWS_PER_HOUR = 60
_KEY = re.compile(r"[0-9a-f]{64}\Z")
_CONTEST = re.compile(r"[!-~]{1,200}\Z")
_LIMIT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,15})?(e-[0-9]{1,2})?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the platform is reached, as host:port."""

    enrolment: str
    service: str
    fleet: str


@dataclass(frozen=True, slots=True)
class Pins:
    """What this company believes for the invitation's sake, and nothing else."""

    bundle_sha256: str
    log_key: VerifierKey
    platform_key: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a campaign plan may ask of this company.

    Attributes:
        max_epsilon, max_row_epsilon, max_delta, max_rounds, minimum_cohort: of one campaign.
        max_campaigns_per_season: campaigns that train on the records of one season.
        lifetime_epsilon, lifetime_delta: of all of these together.
        dispute_days: how long what a replay needs is kept after a campaign's last round.
    """

    max_epsilon: Fraction = Fraction(1)
    max_row_epsilon: Fraction = Fraction(8)
    max_delta: Fraction = Fraction(1, 10**6)
    max_rounds: int = MAX_ROUNDS
    minimum_cohort: int = 3
    max_campaigns_per_season: int = 3
    lifetime_epsilon: Fraction = Fraction(4)
    lifetime_delta: Fraction = Fraction(1, 10**6)
    dispute_days: int = 90


@dataclass(frozen=True, slots=True)
class CustodianAddress:
    """Who holds the other share of keys of what is kept about persons (docs/rights/erasure.md §2).

    Attributes:
        url: http(s)://host[:port][/path].
        key: its Ed25519 public key, 32 bytes, handed over out of band.
    """

    url: str
    key: bytes


@dataclass(frozen=True, slots=True)
class GateSettings:
    """How this company looks at scores; the table may be missing.

    Attributes:
        views_per_hour: of one member of the staff, refusals included, so that looking at one person at a time
            cannot be repeated into a list.
        contest: where a student contests what was computed about her, printable ASCII without spaces. By
            default it is the company's inbox at the platform.
    """

    views_per_hour: int = 12
    contest: str = "inbox"


@dataclass(frozen=True, slots=True)
class CompanyConfig:
    """The company's whole configuration; without a custodian, certificates of deletion stay unverified."""

    company: str
    platform: str
    addresses: Addresses
    pins: Pins
    limits: Limits
    custodian: CustodianAddress | None = None
    gate: GateSettings = GateSettings()
    network: NetworkSettings = AS_ENVIRONMENT


def load(company_dir: Path) -> CompanyConfig:
    """The configuration in the company's directory.

    Raises:
        ConfigurationError: if there is none, or naming the field that is missing, unknown or out of bounds.
        LocalProtocolError: with code HANDED_OVER, if the directory was handed over to another machine.
    """
    inertness.verify_active(company_dir)
    return load_inert(company_dir)


def load_inert(company_dir: Path) -> CompanyConfig:
    """The same of a directory that may have been handed over, for looking at it and nothing else."""
    path = company_dir / FILE_NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"expected {FILE_NAME} in the company's directory: enrol first") from error
    try:
        return _parse(toml_text.parse(data))
    except KeyError as error:
        raise ConfigurationError(f"{FILE_NAME}: expected the fields that enrolment wrote: {error}") from error
    except NorenError as error:
        raise ConfigurationError(f"{FILE_NAME}: {error.message}") from error


def to_toml(config: CompanyConfig) -> bytes:
    """The file's content; the inverse of `load`."""
    limits = config.limits
    tables: dict[str, dict[str, str | int]] = {
        "addresses": {
            "enrolment": config.addresses.enrolment,
            "service": config.addresses.service,
            "fleet": config.addresses.fleet,
        },
        "pins": {
            "bundle_sha256": config.pins.bundle_sha256,
            "log_key": config.pins.log_key.to_text(),
            "platform_key": config.pins.platform_key.hex(),
        },
        "limits": {
            "max_epsilon": format_decimal(limits.max_epsilon),
            "max_row_epsilon": format_decimal(limits.max_row_epsilon),
            "max_delta": format_decimal(limits.max_delta),
            "max_rounds": limits.max_rounds,
            "minimum_cohort": limits.minimum_cohort,
            "max_campaigns_per_season": limits.max_campaigns_per_season,
            "lifetime_epsilon": format_decimal(limits.lifetime_epsilon),
            "lifetime_delta": format_decimal(limits.lifetime_delta),
            "dispute_days": limits.dispute_days,
        },
        "gate": {"views_per_hour": config.gate.views_per_hour, "contest": config.gate.contest},
    }
    if config.custodian is not None:
        tables["custodian"] = {"url": config.custodian.url, "key": config.custodian.key.hex()}
    if (network := config.network) != AS_ENVIRONMENT:
        tables["network"] = {
            "proxy": network.proxy,
            "no_proxy": ",".join(network.no_proxy),
            "authority": network.authority,
        }
    lines = [f"company = {json.dumps(config.company)}", f"platform = {json.dumps(config.platform)}"]
    for name, fields in tables.items():
        # A JSON string or integer is the same thing in TOML.
        lines += ["", f"[{name}]", *(f"{field} = {json.dumps(value)}" for field, value in fields.items())]
    return "\n".join([*lines, ""]).encode()


def _parse(tables: dict[str, Any]) -> CompanyConfig:
    pins, limits, addresses = (_table(tables.pop(name)) for name in ("pins", "limits", "addresses"))
    gate, network = _table(tables.pop("gate", {})), _table(tables.pop("network", {}))
    config = CompanyConfig(
        company=parse_name(tables.pop("company"), "company"),
        platform=parse_name(tables.pop("platform"), "platform"),
        addresses=Addresses(
            enrolment=_text(addresses.pop("enrolment")),
            service=_text(addresses.pop("service")),
            fleet=_text(addresses.pop("fleet")),
        ),
        pins=parse_pins(*(_text(pins.pop(name)) for name in ("bundle_sha256", "log_key", "platform_key"))),
        limits=Limits(
            max_epsilon=_decimal(limits.pop("max_epsilon"), "max_epsilon", 16),
            max_row_epsilon=_decimal(limits.pop("max_row_epsilon"), "max_row_epsilon", 16),
            max_delta=_decimal(limits.pop("max_delta"), "max_delta", Fraction(1, 10**4)),
            max_rounds=_integer(limits.pop("max_rounds"), "max_rounds", MAX_ROUNDS),
            minimum_cohort=_integer(limits.pop("minimum_cohort"), "minimum_cohort", MAX_COMPANIES),
            max_campaigns_per_season=_integer(
                limits.pop("max_campaigns_per_season"), "max_campaigns_per_season", MAX_CAMPAIGNS_PER_SEASON
            ),
            lifetime_epsilon=_decimal(limits.pop("lifetime_epsilon"), "lifetime_epsilon", MAX_EPSILON),
            lifetime_delta=_decimal(limits.pop("lifetime_delta"), "lifetime_delta", Fraction(1, 10**4)),
            dispute_days=_integer(limits.pop("dispute_days"), "dispute_days", MAX_DISPUTE_DAYS),
        ),
        custodian=_custodian(tables.pop("custodian")) if "custodian" in tables else None,
        gate=_gate(gate),
        network=_network(network),
    )
    for name, table in (
        ("top level", tables),
        ("pins", pins),
        ("limits", limits),
        ("gate", gate),
        ("network", network),
        ("addresses", addresses),
    ):
        if table:
            raise ConfigurationError(f"{name}: expected no further fields, got {len(table)} more")
    return config


def parse_pins(bundle_sha256: str, log_key: str, platform_key: str) -> Pins:
    """The three pins from their texts; ConfigurationError or DataError for malformed ones."""
    for name, value in (("bundle_sha256", bundle_sha256), ("platform_key", platform_key)):
        if len(value) != 64 or set(value) - set("0123456789abcdef"):
            raise ConfigurationError(f"{name}: expected 64 lower-case hex digits, got another text")
    return Pins(bundle_sha256, VerifierKey.from_text(log_key), bytes.fromhex(platform_key))


def _custodian(value: Any) -> CustodianAddress:
    table = _table(value)
    url, key = _text(table.pop("url")), _text(table.pop("key"))
    if table or not _KEY.match(key):
        raise ConfigurationError("custodian: expected exactly url, and key of 64 lower-case hex digits")
    return CustodianAddress(url, bytes.fromhex(key))


def _gate(fields: dict[str, Any]) -> GateSettings:
    """The settings in these fields, which are taken out; what is missing is as by default."""
    default = GateSettings()
    views = fields.pop("views_per_hour", default.views_per_hour)
    contest = _text(fields.pop("contest", default.contest))
    if not _CONTEST.match(contest):
        raise ConfigurationError("gate.contest: expected 1 to 200 printable characters without spaces")
    return GateSettings(_integer(views, "views_per_hour", MAX_VIEWS_PER_HOUR), contest)


def _network(fields: dict[str, Any]) -> NetworkSettings:
    """How connections leave; what is missing is as by default."""
    given = {name: _text(fields.pop(name, "")) for name in ("proxy", "no_proxy", "authority")}
    return NetworkSettings.from_texts(**given)


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"expected a table of fields, got {type(value).__name__}")
    return dict(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"expected a text, got {type(value).__name__}")
    return value


def _decimal(value: Any, name: str, high: Fraction | float) -> Fraction:
    """A limit as people write it: 1, 1.0 or "1"; without the exponents that take an hour to expand."""
    if not _LIMIT.match(text := str(value)) or not 0 < Fraction(text) <= high:
        raise ConfigurationError(f"limits.{name}: expected more than 0 and at most {float(high):g}")
    return Fraction(text)


def _integer(value: Any, name: str, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= high:
        raise ConfigurationError(f"limits.{name}: expected an integer from 1 to {high}")
    return value
