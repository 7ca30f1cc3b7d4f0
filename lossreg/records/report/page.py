"""The page of a report: templates, and their filters for numbers and for text from data."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossreg.records.report.axes import MISSING, loss_text

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"
PARTS = ("report", "charts", "examples", "map")  # of the style and the script
MOST_CHARACTERS = 300  # of one text from data
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format, surrogate, and separators of lines and paragraphs
_JOINERS = "\u200c\u200d"  # part of words in some scripts, and of emoji


def page(found: Mapping[str, Any], *, title: str) -> str:
    """Render the contents of a report as HTML. The templates escape all text."""
    style, script = ("\n".join(_read(f"{name}.{kind}") for name in PARTS) for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        _templates()
        .get_template("report.html")
        .render(
            {
                **found,
                "title": title,
                "version": metadata.version("lossreg"),
                "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
                "style": style,
                "script": script,
                "script_hash": f"sha256-{digest}",  # of the only script that a browser runs
            }
        )
    )


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loss = jinja2.pass_context(lambda context, value: loss_text(value, context["decimals"]))
    templates.filters.update(shown=shown, count=_count, loss=loss, score=_score, short=_short)
    return templates


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def shown(text: str, most: int = MOST_CHARACTERS) -> str:
    """Prepare text from data for the page: cut to length, with marks for invisible characters."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    if not text.strip():
        return "".join(map(_mark, text))
    return "".join(
        _mark(character) if unicodedata.category(character) in _UNSEEN and character not in _JOINERS else character
        for character in text
    )


def _mark(character: str) -> str:
    code = ord(character)
    if code <= 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def _score(value: float | None) -> str:
    """Write a score: two decimals, which is as much as it is worth."""
    return MISSING if value is None else f"{value:,.2f}" if abs(value) < 1e4 else f"{value:.1e}"


def _short(value: float) -> str:
    return f"{value:.4g}"


def _count(number: int | None) -> str:
    return MISSING if number is None else f"{number:,}"
