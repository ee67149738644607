"""Run every attack on every system and print who fell: what scripts/attack calls.

Exit code 0 when every naive design fell and every system of ours stood, 1 otherwise, 2 for an unknown name.
"""

import argparse
import json
import logging
import sys
import time
from dataclasses import asdict, dataclass

from attack import Attack, NotAvailableError, System, all_attacks
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `success` is None where the system could not run."""

    attack: str
    attacker: str
    aim: str
    system: str
    is_ours: bool
    success: bool | None
    as_expected: bool
    measured: str
    cpu_seconds: float


def run(attack: Attack, system: System) -> Row:
    """Run one attack on one system."""
    start = time.process_time()
    success: bool | None
    try:
        result = system.attack()
        success, measured = result.succeeded, result.measured
    except NotAvailableError as reason:
        success, measured = None, str(reason)
    return Row(
        attack=attack.name,
        attacker=attack.attacker,
        aim=attack.aim,
        system=system.name,
        is_ours=system.is_ours,
        success=success,
        as_expected=success is not system.is_ours,
        measured=measured,
        cpu_seconds=round(time.process_time() - start, 3),
    )


def table(rows: list[Row]) -> Table:
    """Lay the rows out for reading: attack, system, success, the measured figure."""
    result = Table("attack", "system", "success", "measured", show_lines=True)
    previous = ""
    for row in rows:
        success = {True: "yes", False: "no", None: "skipped"}[row.success]
        colour = "yellow" if row.success is None else "green" if row.as_expected else "bold red"
        name = "" if row.attack == previous else f"[bold]{row.attack}[/]\n{row.attacker}: {row.aim}"
        system = f"[bold]{row.system}[/]" if row.is_ours else row.system
        result.add_row(name, system, f"[{colour}]{success}[/]", row.measured)
        previous = row.attack
    return result


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments, run, print; the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/attack", description="Attack Noren and naive designs.")
    parser.add_argument("--json", action="store_true", help="machine readable: one array of rows")
    parser.add_argument("--only", metavar="NAME", help="run this attack alone")
    arguments = parser.parse_args(argv)
    attacks = [attack for attack in all_attacks() if arguments.only in {None, attack.name}]
    if not attacks:
        names = ", ".join(attack.name for attack in all_attacks())
        sys.stderr.write(f"expected one of {names}; got {arguments.only}\n")
        return 2
    logging.disable()  # what an attacked system logs is as it should be, and no part of the result
    rows = [run(attack, system) for attack in attacks for system in attack.systems]
    if arguments.json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False) + "\n")
    else:
        Console().print(table(rows))
        unexpected = sum(not row.as_expected for row in rows)
        skipped = sum(row.success is None for row in rows)
        Console().print(f"{len(rows)} runs, {skipped} skipped, {unexpected} not as they should be")
    return int(not all(row.as_expected for row in rows))


if __name__ == "__main__":
    sys.exit(main())
