"""Write the table of docs/reference/providers.md: a row for each family of losses, a column for each provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lossreg import losses
from lossreg.discovery.first_party import LIBRARIES, OWNERS
from lossreg.registry.entry import Entry

PAGE = Path(__file__).parent / "reference" / "providers.md"
START, END = "<!-- the table is written by docs/families.py -->\n", "## Names of the columns\n"
COLUMNS = ("lossreg", *LIBRARIES)


def families() -> dict[str, dict[str, list[Entry]]]:
    """Return entries by family and column, for the families that several columns have."""
    found: dict[str, dict[str, list[Entry]]] = {}
    for entry in losses.entries():
        if entry.provider in (*OWNERS, *LIBRARIES):
            column = entry.provider if entry.provider in LIBRARIES else "lossreg"
            family = str(entry.metadata.get("family", entry.name))
            found.setdefault(family, {}).setdefault(column, []).append(entry)
    return {family: columns for family, columns in sorted(found.items()) if len(columns) > 1}


def table() -> str:
    """Return the table, one row for each family."""
    rows = []
    for family, columns in families().items():
        all_of_them = [entry for entries in columns.values() for entry in entries]
        differing = _differing(all_of_them)
        inputs = {entry.metadata["contract"]["input"] for entry in all_of_them}
        cells = [
            "<br>".join(_cell(entry, differing, show_input=len(inputs) > 1) for entry in columns.get(column, ()))
            for column in COLUMNS
        ]
        rows.append(f"| **{family}** | {' | '.join(cells)} |")
    head = f"| family | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}"
    return "\n".join([head, *rows])


def _differing(entries: list[Entry]) -> set[str]:
    """Return the parameters that some entries lack or whose defaults differ."""
    values: dict[str, list[str]] = {}
    for entry in entries:
        for name, value in _defaults(entry):
            values.setdefault(name, []).append(json.dumps(float(value) if type(value) is int else value))
    return {name for name, found in values.items() if len({*found}) > 1 or len(found) < len(entries)}


def _defaults(entry: Entry) -> Iterator[tuple[str, Any]]:
    for name, schema in entry.metadata["parameters"]["properties"].items():
        if "default" in schema:
            yield name, schema["default"]


def _cell(entry: Entry, differing: set[str], *, show_input: bool) -> str:
    """Return the name, the input if the family's inputs differ, and the defaults that differ, unless None or False."""
    shown = [f"*{entry.metadata['contract']['input']}*"] if show_input else []
    shown += [
        f"{name} {_value(value)}"
        for name, value in _defaults(entry)
        if name in differing and value not in (None, False)
    ]
    return f"`{entry.full_name}`" + (f" {', '.join(shown)}" if shown else "")


def _value(value: object) -> str:
    return value.replace("|", "\\|") if isinstance(value, str) else json.dumps(value)


def page() -> str:
    """Return the page with an up-to-date table."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
