"""Who consents in a prepared season, by its choices.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from noren_core.rights.purposes import Purpose
from noren_demo.people import Choice, StudentChoice, read_choices


class StudentChoices:
    """What the students of a season answer when they are asked."""

    def __init__(self, path: Path) -> None:
        self.choices = read_choices(path)

    def live(self, company: str, season: str, purpose: Purpose) -> Sequence[StudentChoice]:
        """Those who give and do not withdraw, sorted by student."""
        wanted = (company, season, purpose, Choice.GIVES)
        found = [
            each for each in self.choices if (each.company, each.season, each.purpose, each.choice) == wanted
        ]
        return sorted(found, key=lambda each: each.student)
