"""Read the sections of a loss's docstring: summary, formula, Args, Shapes and the like."""

from __future__ import annotations

import inspect
import re

_SECTION = re.compile(r"([A-Z][a-z]+):\s*(.*)")
_ARGUMENT = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \([^)]*\))?:\s*(.*)")


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
