"""The part of compare.md that is written by a build: pushes of every loss, and a table of its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gallery.cache import Drawn
from gallery.front import FAMILIES, SHOWN, family
from gallery.loss_page import PICTURES, SCENE
from gallery.markdown import number
from lossreg.registry.entry import Entry

COLUMNS = ("gap", "blob", "shift", "thin", "empty")
HEADINGS = ("a gap", "a blob", "a shift", "too thin", "a blob, empty mask")


def part(entries: Sequence[Entry], drawn: Mapping[str, Drawn]) -> str:
    """Return pictures by family, then the table, as Markdown."""
    shown = [entry for entry in entries if "reason" not in drawn[entry.name]]
    blocks = ["## The mistakes", _strip(f"{SCENE}/one-by-one.png", "five predictions with one mistake each", HEADINGS)]
    for tag in SHOWN:
        inside = [entry for entry in shown if family(entry) == tag]
        blocks += [f"## {FAMILIES[tag]}"] * bool(inside)
        blocks += [_loss(entry, drawn[entry.name]["values"]) for entry in inside]
    return "\n\n".join([*blocks, "## Values", _table(shown, drawn), *_left_out(entries, drawn)]) + "\n"


def _loss(entry: Entry, values: Mapping[str, float]) -> str:
    picture = f"{PICTURES}/{entry.full_name}/compare-{entry.name}.png"
    numbers = [number(values[column]) for column in COLUMNS]
    return f"[{entry.name}]({entry.name}.md)\n\n" + _strip(picture, f"where {entry.name} pushes each of them", numbers)


def _strip(picture: str, alt: str, below: Sequence[str]) -> str:
    """Return a picture of five parts with a text below each."""
    cells = "".join(f"<span>{text}</span>" for text in below)
    image = f"```{{image}} {picture}\n:alt: {alt}\n:class: strip\n```"
    return f'{image}\n\n```{{raw}} html\n<div class="below">{cells}</div>\n```'


def _table(shown: Sequence[Entry], drawn: Mapping[str, Drawn]) -> str:
    head = ["loss", *HEADINGS, "nothing, empty mask"]
    rows = [
        [
            f"[{entry.name}]({entry.name}.md)",
            *(number(drawn[entry.name]["values"][key]) for key in (*COLUMNS, "nothing")),
        ]
        for entry in shown
    ]
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _left_out(entries: Sequence[Entry], drawn: Mapping[str, Drawn]) -> list[str]:
    names = [f"[{entry.name}]({entry.name}.md)" for entry in entries if "reason" in drawn[entry.name]]
    return [f"Not shown, because they take other inputs than one mask: {', '.join(names)}."] if names else []
