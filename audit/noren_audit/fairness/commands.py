"""The auditor's command for fairness: `noren-audit fairness`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

EXIT_ALERT = 9

Result = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(fairness)


def fairness(
    context: typer.Context,
    people: Annotated[
        Path, typer.Argument(help="People file (docs/auditing.md), joined on the premises.", exists=True)
    ],
    publish: Annotated[
        Path | None, typer.Option(help="Also write counts with noise, which may be published.")
    ] = None,
    epsilon: Annotated[float, typer.Option(help="Of what is published.")] = 1.0,
    delta: Annotated[float, typer.Option(help="Of what is published.")] = 1e-6,
) -> Result:
    """Compare bands, decisions and consent between groups; exit 9 if something must be looked into."""
    import json

    from noren_audit.fairness import publication, statistics
    from noren_audit.fairness.people import read_people
    from noren_audit.fairness.report import print_report, to_fields
    from noren_audit.witness.durable_file import write_result
    from noren_core.privacy.discrete_gaussian import NoiseStream

    everybody = read_people(people)
    found = statistics.report(everybody)
    if publish is not None:
        public = publication.publish(everybody, epsilon=epsilon, delta=delta, stream=NoiseStream.generate())
        fields = {
            "delta": public.delta,
            "epsilon": public.epsilon,
            "groups": [
                {"attribute": g.attribute, "group": g.group, "bands": list(g.bands)} for g in public.groups
            ],
            "threshold": public.threshold,
            "variance": public.variance,
        }
        write_result(publish, (json.dumps(fields, indent=1, ensure_ascii=False) + "\n").encode())
    exit_code = EXIT_ALERT if found.alerts() else 0
    if context.obj:
        return {"exit_code": exit_code, **to_fields(found)}
    print_report(found)
    return {"exit_code": exit_code}
