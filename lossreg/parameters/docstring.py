"""Read the sections of a loss's docstring: summary, formula, Args, Shapes and the like."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

_SECTION = re.compile(r"([A-Z][a-z]+):\s*(.*)")
_ARGUMENT = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \([^)]*\))?:\s*(.*)")


class Math(NamedTuple):
    """Formulas in TeX, and the sentence that names their letters, which stand between dollars."""

    formulas: tuple[str, ...]
    where: str


def sections(text: str | None) -> dict[str, str]:
    """Return paragraphs by heading in lower case.

    "summary" is the first line, "formula" the indented lines between it and the first heading.
    """
    lines = inspect.cleandoc(text or "").splitlines()
    found: dict[str, list[str]] = {"summary": lines[:1]}
    current = "formula"
    for line in lines[1:]:
        heading = _SECTION.fullmatch(line)
        if heading:
            current = heading[1].lower()
            found.setdefault(current, []).append(heading[2])
        elif current != "formula" or line.startswith(" ") or not line.strip():
            found.setdefault(current, []).append(line)
    cleaned = {name: inspect.cleandoc("\n".join(["", *body])).strip() for name, body in found.items()}
    return {name: body for name, body in cleaned.items() if body}


def arguments(text: str | None) -> dict[str, str]:
    """Return the description of each parameter in the section "Args"."""
    found: dict[str, list[str]] = {}
    body: list[str] = []
    for line in sections(text).get("args", "").splitlines():
        start = _ARGUMENT.fullmatch(line)
        if start:
            body = [start[2]]
            found |= dict.fromkeys(start[1].split(", "), body)  # `alpha, beta: ...` describes both
        else:
            body.append(line.strip())
    return {name: " ".join(part for part in body if part) for name, body in found.items()}


def mathematics(tex: str) -> Math:
    """Read the section "Math", which is the key `tex` of a manifest.

        L = 1 - \\frac{2\\,TP + s}
            {P + T + s}
        where $s$ is `smooth` (1).

    Each line is a formula, and an indented line continues it. The sentence begins with "where" and is the last.
    """
    head, where = [*re.split(r"(?m)^(?=where\b)", tex, maxsplit=1), ""][:2]
    formulas = re.sub(r"\n[ \t]+", " ", head).splitlines()
    return Math(tuple(line.strip() for line in formulas if line.strip()), " ".join(where.split()))
