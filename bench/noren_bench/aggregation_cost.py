"""Secure aggregation: one round of many companies with drop-outs, and what each side pays."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from noren_bench.measurement import Cost, Goal, Row
from noren_core.crypto.identity import SigningKey
from noren_core.errors import VerificationError
from noren_core.secagg.client import SecAggClient
from noren_core.secagg.server import SecAggServer

COMPANIES, PARAMETERS, DROPPED = 50, 100_000, 5
_MINIMUM_COHORT = 5


def row() -> Row:
    """A company's share, mask and unmask together; the server's part stands among the details."""
    keys = {f"company-{number:02d}": SigningKey.generate() for number in range(COMPANIES)}
    group: dict[str, Any] = {
        "roster": {name: key.public_key for name, key in keys.items()},
        "threshold": 2 * COMPANIES // 3 + 1,
        "minimum_cohort": _MINIMUM_COHORT,
        "session": bytes(32),
        "rounds": 1,
        "vector_length": PARAMETERS,
    }
    clients = {name: SecAggClient(our_id=name, signing_key=key, **group) for name, key in keys.items()}
    server = SecAggServer(**group)
    each, serving = _run(server, clients)
    company, platform = each / COMPANIES * 1e3, serving * 1e3
    return Row(
        work=f"secure aggregation, n = {COMPANIES}, {PARAMETERS:,} parameters, {DROPPED} drop out",
        unit="ms a company",
        ours=company,
        goals=(Goal("ms a company", company, 30.0), Goal("ms at the server", platform, 90.0)),
        details={"server_ms": platform},
    )


def _run(server: SecAggServer, clients: dict[str, SecAggClient]) -> tuple[float, float]:
    """CPU seconds of all companies together, and of the server."""
    company, platform = Cost(), Cost()
    _set_up(server, clients, company, platform)
    vector = np.arange(PARAMETERS, dtype=np.int64)
    for name in sorted(clients)[DROPPED:]:
        masked = company.of(partial(clients[name].mask, 1, vector))
        platform.of(partial(server.add_masked, 1, name, masked))
    for name in sorted(clients)[:DROPPED]:
        company.of(partial(clients[name].mask, 1, vector))  # computed, and never arrives
    survivors = platform.of(partial(server.close_inputs, 1))
    for name in survivors:
        unmasking = company.of(partial(clients[name].unmask, 1, survivors))
        platform.of(partial(server.add_unmasking, 1, name, unmasking))
    total = platform.of(partial(server.aggregate, 1))
    if not np.array_equal(total, vector * len(survivors)):
        raise VerificationError("secure aggregation: expected the survivors' sum, got another")
    return company.cpu, platform.cpu


def _set_up(server: SecAggServer, clients: dict[str, SecAggClient], company: Cost, platform: Cost) -> None:
    for name, client in clients.items():
        platform.of(partial(server.add_advertisement, name, client.advertise()))
    advertisements = server.advertisements
    for name, client in clients.items():
        sealed = company.of(partial(client.share, advertisements))
        platform.of(partial(server.add_sealed_shares, name, sealed))
    for name, client in clients.items():
        inbox: Callable[[], Any] = partial(server.inbox, name)
        signature = company.of(partial(client.accept_shares, platform.of(inbox)))
        platform.of(partial(server.add_cohort_signature, name, signature))
    for client in clients.values():
        company.of(partial(client.confirm, server.cohort_signatures))
