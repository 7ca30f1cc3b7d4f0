"""Write the table of docs/losses.md: every loss of the first-party packages, by family."""

from __future__ import annotations

from pathlib import Path

from lossreg import losses

PAGE = Path(__file__).with_name("losses.md")
START, END = "<!-- the table is written by docs/catalogue.py -->\n", "## Which one\n"
PROVIDERS = ("lossreg", "segmentation", "sam")


def table() -> str:
    """Return the table, one row for each loss."""
    entries = [entry for entry in losses.entries() if entry.provider in PROVIDERS]
    rows = [
        f"| {entry.name} | {entry.metadata['summary']} | {' '.join(sorted(entry.tags or ()))} |"
        for entry in sorted(entries, key=lambda entry: (entry.provider != "segmentation", entry.provider, entry.name))
    ]
    return "\n".join(["| name | what it is | tags |", "|---|---|---|", *rows])


def page() -> str:
    """Return the page with an up-to-date table."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
