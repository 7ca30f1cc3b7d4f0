"""Draw docs/architecture.svg: the rooms of lossreg on their floors, and the imports between them.

python docs/architecture.py
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from html import escape
from pathlib import Path

PICTURE = Path(__file__).with_suffix(".svg")
PACKAGE = Path(__file__).parent.parent / "lossreg"

WIDTH, HEIGHT = 216, 74  # of a room
GAP, RISE = 34, 52  # between rooms of a floor, between floors
LINE = 36  # characters of a line of text in a room
STYLE = """
  svg { background: #fff; font: 12px sans-serif; }
  rect { fill: #eef3f8; stroke: #5b7a99; rx: 6; }
  path { fill: none; stroke: #93a9bf; stroke-width: 1.2; marker-end: url(#head); }
  .name { font-weight: bold; font-size: 14px; fill: #17324d; }
  .what { fill: #40566b; }
"""

Graph = dict[str, set[str]]


def rooms() -> dict[str, list[Path]]:
    """Return the files of each room: a folder of lossreg, or a file beside the folders."""
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room != "__init__":
            found.setdefault(room, []).append(path)
    return found


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the rooms that a file imports, except for type checkers alone."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lossreg."):
            yield node.module.split(".")[1]
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def graph() -> Graph:
    """Return the rooms that each room imports."""
    files = rooms()
    trees = {room: [ast.parse(path.read_text(encoding="utf-8")) for path in paths] for room, paths in files.items()}
    return {room: {other for tree in trees[room] for other in imported(tree)} & files.keys() - {room} for room in files}


def floors(below: Graph) -> list[list[str]]:
    """Return the rooms from the ground up: each lies above all that it imports."""
    level: dict[str, int] = {}
    while len(level) < len(below):
        placed = len(level)
        for room in sorted(below.keys() - level.keys()):
            if below[room] <= level.keys():
                level[room] = 1 + max((level[other] for other in below[room]), default=-1)
        if len(level) == placed:
            raise ValueError(f"imports run in a circle: {', '.join(sorted(below.keys() - level.keys()))}")
    return [sorted(room for room in level if level[room] == each) for each in range(max(level.values()) + 1)]


def direct(below: Graph) -> Graph:
    """Leave out each import that a longer way implies, so that the picture can be read."""

    def reached(room: str) -> set[str]:
        return below[room].union(*map(reached, below[room]))

    return {room: others - set().union(*map(reached, others)) for room, others in below.items()}


def summary(path: Path) -> str:
    """Return the first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].partition(". ")[0].rstrip(".").replace("`", "")


def picture() -> str:
    """Return the drawing as SVG."""
    below, files = graph(), rooms()
    stack = floors(below)
    width = GAP + max(map(len, stack)) * (WIDTH + GAP)
    height = RISE + len(stack) * (HEIGHT + RISE)
    places: dict[str, tuple[int, int]] = {}
    for number, row in enumerate(stack):
        left = (width - len(row) * (WIDTH + GAP) + GAP) / 2
        for index, room in enumerate(sorted(row, key=lambda room: _middle(places, direct(below)[room]))):
            places[room] = (round(left + index * (WIDTH + GAP)), height - (number + 1) * (HEIGHT + RISE))
    arrows = [_arrow(places[room], places[other]) for room, others in direct(below).items() for other in sorted(others)]
    boxes = [_box(room, *places[room], summary(files[room][0])) for room in places]
    head = '<marker id="head" orient="auto" markerWidth="7" markerHeight="7" refX="6" refY="3">'
    head += '<path d="M0,0 L6,3 L0,6 z" style="fill: #93a9bf; stroke: none; marker-end: none"/></marker>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">\n'
        f"<title>The rooms of lossreg and their imports</title>\n<style>{STYLE}</style>\n<defs>{head}</defs>\n"
        + "\n".join([*arrows, *boxes])
        + "\n</svg>\n"
    )


def _middle(places: dict[str, tuple[int, int]], imported: set[str]) -> float:
    """Return the mean place of the imported rooms: a room above them has short arrows."""
    return sum(places[room][0] for room in imported) / max(len(imported), 1)


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    x, y, u, v = start[0] + WIDTH // 2, start[1] + HEIGHT, end[0] + WIDTH // 2, end[1] - 2
    bend = max(24, (v - y) // 2)
    return f'<path d="M{x},{y} C{x},{y + bend} {u},{v - bend} {u},{v}"/>'


def _box(room: str, x: int, y: int, text: str) -> str:
    lines = textwrap.wrap(text, LINE, max_lines=3, placeholder=" ...")
    middle = x + WIDTH // 2
    shown = [
        f'<text class="what" x="{middle}" y="{y + 36 + 14 * number}" text-anchor="middle">{escape(line)}</text>'
        for number, line in enumerate(lines)
    ]
    name = f'<text class="name" x="{middle}" y="{y + 19}" text-anchor="middle">{room}</text>'
    return f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}"/>{name}{"".join(shown)}'


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
