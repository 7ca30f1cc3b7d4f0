"""Read a config from a YAML, TOML or JSON file."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from lossreg.config.json_reader import read_json
from lossreg.config.places import Outline, remember
from lossreg.config.toml_reader import read_toml
from lossreg.config.yaml_reader import read_yaml
from lossreg.errors import Problem
from lossreg.messages import invalid, shown

MAX_BYTES = 2**20

_READERS: dict[str, Callable[[str], tuple[Any, Outline]]] = {
    ".json": read_json,
    ".toml": read_toml,
    ".yaml": read_yaml,
    ".yml": read_yaml,
}
_STEP = re.compile(r"\['(.*?)'\]|([^.\[\]]+)")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_config(path: str | Path, at: str | Sequence[str | int] = "") -> Any:
    """Read a config file, or the part of it at a place.

    The result is plain data. Its lines are remembered beside it, for the messages of `build` and `validate`.

    Args:
        at: the place with dots, or as a message has it: "runs.0.loss" or "runs[0].loss". A sequence of keys and indices
            can name any keys: ("model.v2", "losses", 0).
    Raises:
        InvalidConfigError: the file cannot be read or parsed, or has nothing at that place.
    """
    path = Path(path)
    value = _parse(path)
    steps = [quoted or bare for quoted, bare in _STEP.findall(at)] if isinstance(at, str) else at
    for step in steps:
        found, value = _step(value, step)
        if not found:
            has = f"; keys are {', '.join(map(str, value)):.1000}" if isinstance(value, dict) else f" in {shown(value)}"
            raise invalid([Problem(str(path), f"nothing at {at!r}: no {step!r}{has}")])
    return value


def _step(value: Any, step: str | int) -> tuple[bool, Any]:
    """Return whether a list or mapping has an index or key, and the value there; else the list or mapping itself."""
    number = int(step) if str(step).isdecimal() and len(str(step)) < 10 else -1
    if isinstance(value, list) and 0 <= number < len(value):
        return True, value[number]
    if isinstance(value, dict) and (step in value or number in value):  # YAML has numbers as keys
        return True, value[step if step in value else number]
    return False, value


def _parse(path: Path) -> Any:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise invalid([Problem(str(path), f"expected a file ending in {', '.join(_READERS)}, got {path.suffix!r}")])
    try:
        size = path.stat().st_size
        if size <= MAX_BYTES:
            value, outline = reader(_text(path.read_bytes()))
            remember(str(path), value, outline)
            return value
    except OSError as error:
        raise invalid([Problem(str(path), f"cannot be read: {error.strerror}")]) from error
    except RecursionError as error:
        raise invalid([Problem(str(path), "nested too deeply to be read")]) from error
    # PyYAML raises errors of its own code: LookupError for `!!bool x`, AttributeError for `!!timestamp x`,
    # OverflowError for a number to base 60.
    except (ValueError, LookupError, AttributeError, ArithmeticError, yaml.YAMLError) as error:
        raise invalid([Problem(str(path), f"is not valid {path.suffix[1:].upper()}: {error}")]) from error
    raise invalid([Problem(str(path), f"has {size} bytes; a loss config has at most {MAX_BYTES}")])


def _text(data: bytes) -> str:
    """Decode UTF-8, with or without the mark that editors of Windows write before it."""
    if data.startswith(_UTF_16) or b"\0" in data[:2]:
        raise ValueError("it is UTF-16; save it as UTF-8, in PowerShell by `| Out-File -Encoding utf8`")
    return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
