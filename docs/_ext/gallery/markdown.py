"""Pieces of Markdown that several pages of the gallery have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from lossreg.parameters.kinds import kind_of
from lossreg.registry.entry import Entry
from lossreg.search.problem import Problem
from lossreg.search.problems import PROBLEMS

_CODE = re.compile(r"`[^`]*`")
_MARKS = re.compile(r"([\\*_<>\[\]$|{}#])")


def prose(text: str) -> str:
    """Return a text of a docstring as Markdown: only its code in backticks is marked up."""
    outside = iter(_CODE.split(text))
    code = iter([*_CODE.findall(text), ""])
    return "".join(_MARKS.sub(r"\\\1", part) + next(code) for part in outside)


def parameters(schema: Mapping[str, Any]) -> str:
    """Return a definition for each parameter: its values, its default and its description."""
    required = schema.get("required", ())
    return (
        "\n\n".join(_parameter(name, part, name in required) for name, part in schema["properties"].items()) or "None."
    )


def _parameter(name: str, schema: dict[str, Any], required: bool) -> str:
    default = "required" if required else f"default `{json.dumps(schema['default'])}`" if "default" in schema else ""
    first = ", ".join(filter(None, [prose(kind_of(schema).words()), default]))
    about = schema.get("description", "")
    return f"`{name}`\n: {first}" + (f"\n\n  {prose(about[:1].upper() + about[1:])}" if about else "")


def chips(entry: Entry) -> str:
    """Return the tags of a loss, each a link to the chooser."""
    return _links((tag, f"tag={tag}") for tag in sorted(entry.tags or ()))


def problem_chips(entry: Entry) -> str:
    """Return the problems that name a loss, each a link to the chooser."""
    return _links((problem.title, f"problem={problem.key}") for problem in problems_of(entry))


def problems_of(entry: Entry) -> list[Problem]:
    """Return the problems whose advice names a loss, where it comes first before the others."""
    found = [problem for problem in PROBLEMS if entry.owns_name and entry.name in problem.losses]
    return sorted(found, key=lambda problem: problem.place(entry))


def _links(chosen: Iterable[tuple[str, str]]) -> str:
    found = " ".join(f'<a href="choose.html?{query}">{escape(text)}</a>' for text, query in chosen)
    return f'```{{raw}} html\n<p class="chips">{found}</p>\n```'


def fenced(text: str, language: str = "{code-block} text") -> str:  # a plain text block is the output of one above
    """Return a block of code."""
    return f"```{language}\n{text}\n```"


def number(value: float) -> str:
    """Return a value with three digits; below a ten-thousandth it is 0."""
    return f"{value:.3g}" if abs(value) >= 1e-4 else "0"
