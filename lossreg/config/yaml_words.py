"""What YAML 1.1 makes of words and numbers, for messages: no is false, 010 is 8, 1e-6 is text.

And what a command line makes of all values: text.
"""

from __future__ import annotations

import json
import math
from typing import Any

from lossreg.parameters.kind import Kind

_WORDS = {False: ("no", "off"), True: ("yes", "on")}


def surprising_number(written: str, number: float) -> str:
    """Explain a number in a notation that few know, and how to write each of its meanings."""
    if ":" in written:
        return f"YAML reads {written} as {number}, to base 60; write {number}, or '{written}' in quotes for the text"
    decimal = int(written.replace("_", ""))
    choices = f"write {number}, or {decimal}, or '{written}' in quotes for the text"
    return f"YAML reads {written} as {number}, in octal; {choices}"


def as_bool(value: bool, written: str | None = None) -> str:
    """Tell which words YAML reads as true or false."""
    words = written or " and ".join(_WORDS[value])
    return f"YAML reads {words} as {str(value).lower()}"


def hint(kind: Kind | None, value: Any, written: str | None) -> str:
    """Explain a refused value that YAML reads otherwise than it is written.

    Args:
        kind: of the values that are allowed; None for any text.
        written: text in the file, where it is known and surprising.
    """
    if isinstance(value, bool):
        words = [written] if written else [word for word in _WORDS[value] if kind is None or kind.takes(word)]
        if not words:
            return ""
        quoted = " or ".join(f"'{word}'" for word in words if kind is None or kind.takes(word))
        return f"; {as_bool(value, written or ' and '.join(words))}" + (f": write {quoted} in quotes" if quoted else "")
    if value is None and written is not None:
        return _null_hint(kind, written)
    return _number_hint(kind, value) if kind is not None and isinstance(value, str) else ""


def _null_hint(kind: Kind | None, written: str) -> str:
    if not written:
        return "; nothing is written there, which YAML reads as null"
    quoted = f"write '{written}' in quotes for the text" if kind is None or kind.takes(written) else ""
    if written.lower() == "null":
        return quoted and f"; {quoted}"
    return f"; YAML reads {written} as null" + (quoted and f": {quoted}")


def _number_hint(kind: Kind, value: str) -> str:
    """Explain a number that YAML 1.1 reads as text: 1e-6 lacks a dot, 1.0e6 lacks a sign, 08 is not octal."""
    try:
        number = float(value)
    except ValueError:
        return ""
    if not math.isfinite(number) or not kind.takes(number):
        return ""
    if "e" not in value.lower():
        if value.strip().lstrip("+-")[:2].isdecimal() and value.strip().lstrip("+-").startswith("0"):
            return f"; YAML takes {value} for text, as it begins with 0: write {number!r}"
        return f"; write the number without quotes: {number!r}"
    digits, exponent = f"{number:.15e}".split("e")
    mantissa = repr(float(digits.rstrip("0")))
    written = f"{mantissa}e{int(exponent):+d}"
    return f"; YAML takes {value} for text, as it wants a dot and a signed exponent: write {written}"


def command_line_hint(kind: Kind, value: Any) -> str:
    """Explain text that is a number, or an allowed value in the notation of JSON, as a command line gives it."""
    if not isinstance(value, str) or not (_number_hint(kind, value) or kind.takes(_from_json(value))):
        return ""
    return "; on a command line, annotate the argument as lossreg.LossConfig (jsonargparse) or convert it"


def _from_json(text: str) -> Any:
    """Read JSON; return the text itself if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # also for a number that is too long, and a list that is too deep
        return text
