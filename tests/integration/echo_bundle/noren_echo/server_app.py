"""Sends every company a different payload per round and writes down what came back."""

import json
import time
from pathlib import Path

from noren_server.flower_app import FleetExchange, make_server_app


def run_rounds(platform_dir: Path, campaign: str, exchange: FleetExchange) -> None:
    plan = json.loads((platform_dir / "echo-plan.json").read_text())
    online = exchange.wait_for(plan["companies"], deadline_seconds=30)
    rounds = []
    for number in range(plan["rounds"]):
        requests = {company: f"{campaign}/{company}/{number}".encode() for company in online}
        started = time.monotonic()
        answers = exchange.exchange(requests, deadline_seconds=plan["deadline_seconds"])
        rounds.append(
            {
                "seconds": time.monotonic() - started,
                "answers": {company: payload.decode() for company, payload in answers.items()},
            }
        )
    result = {"online": sorted(online), "rounds": rounds, "drops": dict(exchange.drops)}
    (platform_dir / "echo-result.json").write_text(json.dumps(result))


app = make_server_app(run_rounds)
