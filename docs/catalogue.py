"""Write docs/losses.md: the table of every loss of the first-party packages, and the losses for each problem."""

from __future__ import annotations

from pathlib import Path

from lossreg import losses
from lossreg.search.problems import PROBLEMS

PAGE = Path(__file__).with_name("losses.md")
START, END = "<!-- the table is written by docs/catalogue.py -->\n", "## Which one\n"
ADVICE, AFTER = "<!-- the list is written by docs/catalogue.py -->\n", "```yaml\n# outlines.yaml\n"
HOWTO = PAGE.parent / "howto"
PROVIDERS = ("lossreg", "segmentation", "sam")


def table() -> str:
    """Return the table, one row for each loss."""
    entries = [entry for entry in losses.entries() if entry.provider in PROVIDERS]
    rows = [
        f"| {entry.name} | {entry.metadata['summary']} | {' '.join(sorted(entry.tags or ()))} |"
        for entry in sorted(entries, key=lambda entry: (entry.provider != "segmentation", entry.provider, entry.name))
    ]
    return "\n".join(["| name | what it is | tags |", "|---|---|---|", *rows])


def advice() -> str:
    """Return the list of problems, each with the losses for it."""
    return "\n".join(f"- **{problem.title}.** {problem.advice}{_more(problem.key)}" for problem in PROBLEMS)


def _more(key: str) -> str:
    return f" See [how](howto/{key}.md)." if (HOWTO / f"{key}.md").is_file() else ""


def page() -> str:
    """Return the page with an up-to-date table and list."""
    text = PAGE.read_text(encoding="utf-8")
    for start, end, content in ((START, END, table()), (ADVICE, AFTER, advice())):
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = f"{before}{start}\n{content}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
