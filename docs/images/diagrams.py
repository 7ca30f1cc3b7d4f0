"""Draw the two diagrams of the explanations: docs/images/way-of-a-config.svg and docs/images/names.svg.

Colours and greys are readable on white and on black, and boxes stand one below the other, so that a phone shows them.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HIGH, GAP = 360, 46, 34
INK, LINE = "#787878", "#4f7cac"

# Box: its name, and the line below it. Arrow: the word beside it.
Step = tuple[str, str, str]
WAY: list[Step] = [
    ("config", "{name: dice, params: {smooth: 1}}", "checked: every mistake at once"),
    ("entry", "segmentation/dice, not yet imported", "imported, and its constructor called"),
    ("loss", "an nn.Module", "called with logits and target"),
    ("output", "total, components, value of each example", "total.backward() trains"),
    ("records, health", "files of losses; a warning when it dies", ""),
]
NAMES: list[Step] = [
    ("packages", "acme-losses, lossreg-monai, lossreg-segmentation", "pip writes their metadata"),
    ("manifests, entry points", "JSON and text: names, tags, parameters", "read when a name is looked up"),
    ("registry", "lossreg.losses: list, find, validate", "only build imports"),
    ("class", "lossreg_segmentation.overlap:Dice", ""),
]


def diagram(title: str, steps: list[Step]) -> str:
    """Return an SVG of boxes one below the other, with arrows between them."""
    height = len(steps) * (HIGH + GAP) - GAP + 4
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        ' font-family="sans-serif" role="img">',
        f"<title>{escape(title)}</title>",
    ]
    for number, (name, detail, arrow) in enumerate(steps):
        top = number * (HIGH + GAP) + 2
        middle = WIDTH // 2
        parts += [
            f'<rect x="2" y="{top}" width="{WIDTH - 4}" height="{HIGH}" rx="7" fill="none" stroke="{LINE}"'
            ' stroke-width="1.5"/>',
            _text(middle, top + 19, name, 15, bold=True),
            _text(middle, top + 37, detail, 12),
        ]
        if arrow:
            bottom = top + HIGH
            parts += [
                f'<path d="M20 {bottom + 3}v{GAP - 10}m-4 -6l4 6l4 -6" fill="none" stroke="{LINE}"/>',
                _text(34, bottom + GAP // 2 + 4, arrow, 12, anchor="start"),
            ]
    return "\n".join([*parts, "</svg>", ""])


def _text(x: int, y: int, words: str, size: int, *, bold: bool = False, anchor: str = "middle") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{INK}"{weight}>{escape(words)}</text>'
    )


FILES = {
    "way-of-a-config.svg": ("The way from a config to records", WAY),
    "names.svg": ("How a name leads to a class", NAMES),
}

if __name__ == "__main__":
    for name, (title, steps) in FILES.items():
        (Path(__file__).parent / name).write_text(diagram(title, steps), encoding="utf-8")
