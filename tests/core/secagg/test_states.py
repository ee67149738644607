"""The transition table of the code against the one of the specification."""

from itertools import product
from pathlib import Path

import pytest

from noren_core.errors import LocalProtocolError, NorenError, RemoteProtocolError
from noren_core.secagg.states import ClientState, Event, RoundState, ServerState, next_state

PROTOCOL = Path(__file__).parents[3] / "docs" / "protocol.md"
MACHINES = {"company": ClientState, "platform": ServerState, "round": RoundState}


def section():
    return PROTOCOL.read_text(encoding="utf-8").split("#### 4.3.6 ", 1)[1].split("\n#### ", 1)[0]


def specified():
    """(state, event) → next state, from the tables of docs/protocol.md §4.3.6."""
    table = {}
    for line in section().splitlines():
        cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0] in MACHINES:
            machine, before, event, after = cells
            kind = MACHINES[machine]
            for name in [state.value for state in kind] if before == "any" else [before]:
                assert (kind(name), Event(event)) not in table
                table[kind(name), Event(event)] = kind(after)
    return table


def everything():
    return list(product((*ClientState, *ServerState, *RoundState), Event))


def test_the_specifications_table_is_the_codes():
    """Of all pairs of state and event, exactly the documented ones are legal, and lead where it says."""
    table = specified()
    assert len(table) > 25
    actual = {}
    for state, event in everything():
        try:
            actual[state, event] = next_state(state, event)
        except NorenError:
            continue
    assert actual == table


@pytest.mark.parametrize("event", Event, ids=lambda event: event.value)
def test_an_illegal_event_blames_whoever_caused_it(event):
    """The specification marks the events that a message causes; those blame its sender, the others us."""
    marked = " ".join(section().split()).split("Events caused by a message:", 1)[1].split(".", 1)[0]
    family = RemoteProtocolError if f"`{event.value}`" in marked else LocalProtocolError
    legal = {state for state, each in specified() if each is event}
    for state in {*ClientState, *ServerState, *RoundState} - legal:
        with pytest.raises(family, match=f"when {state.value}, got {event.value}"):
            next_state(state, event)
