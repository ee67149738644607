"""The check that everybody would have written in 2019: are all our consents in order?

It starts from the consents. Whoever has none is not in its data, and whoever has an old one has one.
"""

from __future__ import annotations

from pathlib import Path

import duckdb


def problems(snapshot: Path) -> int:
    """How many students have a consent whose newest state is not an agreement."""
    query = """
        select count(*)
        from (
          select arg_max(state, seq) as newest
          from read_parquet($events)
          where student not in (select student from read_parquet($population) where control <> '')
          group by student, company
        )
        where newest not in ('GIVEN', 'RENEWED')
    """
    files = {
        "events": str(snapshot / "consent_events.parquet"),
        "population": str(snapshot / "population.parquet"),
    }
    with duckdb.connect() as connection:
        return int(connection.execute(query, files).fetchone()[0])
