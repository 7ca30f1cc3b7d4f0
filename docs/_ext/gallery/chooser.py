"""The data of the chooser, and the list of problems of its page."""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path
from typing import Any

from gallery.entries import TITLES, link, ours, registered
from lossreg.discovery.first_party import OWNERS
from lossreg.registry.entry import Entry
from lossreg.search.problem import Problem
from lossreg.search.problems import PROBLEMS
from lossreg.search.words import EMPTY

TASKS = (
    "binary",
    "multilabel",
    "multiclass",
    "classification",
    "metric_learning",
    "regression",
    "image_quality",
    "registration",
)


def data(howto: Path) -> str:
    """Return a script that sets `window.LOSSREG`; a script works from file://, where no page may fetch JSON.

    Args:
        howto: the folder of how-to pages. A problem leads to that of its key.
    """
    found = {
        "losses": [_loss(name, entry) for name, entry in registered().items()],
        "problems": [_problem(problem, howto) for problem in PROBLEMS],
        "providers": {name: TITLES.get(name, name) for name in (*OWNERS, *TITLES)},
        "tasks": TASKS,
        "empty": sorted(EMPTY),
    }
    return f"window.LOSSREG = {json.dumps(found, indent=0)};\n"


def _loss(name: str, entry: Entry) -> dict[str, Any]:
    return {
        "name": name,
        "spellings": " ".join(entry.spellings()),
        "provider": entry.provider,
        "owned": entry.owns_name,
        "summary": entry.metadata["summary"],
        "tags": sorted(entry.tags or ()),
        "link": link(entry),
        "places": {problem.key: problem.place(entry) for problem in PROBLEMS if problem.fits(entry)},
    }


def _problem(problem: Problem, howto: Path) -> dict[str, str]:
    page = f"../howto/{problem.key}.html" if (howto / f"{problem.key}.md").is_file() else ""
    return {
        "key": problem.key,
        "title": problem.title,
        "advice": _html(problem.advice),
        "words": problem.words,
        "page": page,
    }


def _html(advice: str) -> str:
    """Return advice as HTML, in which the names of losses are links."""
    known = {name: link(entry) for name, entry in registered().items()} | {
        entry.full_name: link(entry) for entry in registered().values()
    }

    def code(found: re.Match[str]) -> str:
        text = f"<code>{found[1]}</code>"
        return f'<a href="{known[found[1]]}">{text}</a>' if found[1] in known else text

    return re.sub(r"`([^`]+)`", code, escape(advice, quote=False))


def part(howto: Path) -> str:
    """Return the problems and their advice as Markdown, for readers without scripts and for the search."""
    own = {entry.name for entry in ours()}
    blocks = []
    for problem in PROBLEMS:
        text = re.sub(
            r"`(\w+)`", lambda found: f"[`{found[1]}`]({found[1]}.md)" if found[1] in own else found[0], problem.advice
        )
        more = f" More: [how-to](../howto/{problem.key}.md)." if (howto / f"{problem.key}.md").is_file() else ""
        blocks.append(f"**{problem.title}**\n: {text}{more}")
    return "\n\n".join(blocks) + "\n"
