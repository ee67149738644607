from pathlib import Path

from noren_core.wire.v1 import platform_pb2, training_pb2

CONTRACT = Path(__file__).parents[2] / "docs" / "threat-model.md"


def _declared():
    """Message → its fields and rows, as the leakage contract's list of fields has them."""
    section = CONTRACT.read_text(encoding="utf-8").split("### Fields", 1)[1].split("\n## ", 1)[0]
    cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {
        name.strip(" `"): ([field.strip(" `") for field in fields.split(",")], rows.strip())
        for name, fields, rows in cells
    }


def _actual():
    return {
        name: [field.name for field in message.fields]
        for module in (training_pb2, platform_pb2)
        for name, message in module.DESCRIPTOR.message_types_by_name.items()
    }


def test_no_field_crosses_the_wire_undeclared():
    """Every message and field is in the leakage contract, and the contract lists nothing else."""
    assert {name: fields for name, (fields, _) in _declared().items()} == _actual()


def test_every_field_belongs_to_a_row_of_the_contract():
    """The rows that fields are assigned to exist in the table of what each message reveals."""
    text = CONTRACT.read_text(encoding="utf-8")
    numbers = {line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")}
    for _, rows in _declared().values():
        for part in rows.replace("–", ",").split(","):
            assert part.strip() in numbers


def test_no_message_takes_a_list_of_identifiers():
    """Repeated text occurs only where companies are named; people are aligned by blinded elements alone."""
    repeated_text = {
        (message.name, field.name)
        for module in (training_pb2, platform_pb2)
        for message in module.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
        if field.is_repeated and field.type == field.TYPE_STRING
    }
    assert repeated_text == {("Aggregate", "survivors"), ("UnmaskRequest", "survivors")}
