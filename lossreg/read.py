"""Read a config from a YAML, TOML or JSON file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from lossreg.errors import Problem
from lossreg.plain import invalid, shown

MAX_BYTES = 2**20


def read_config(path: str | Path, at: str = "") -> Any:
    """What a config file holds at a dotted place, such as "training.loss" or "runs.0.loss".

    Raises:
        InvalidConfigError: the file cannot be read or parsed, or has nothing at that place.
    """
    path = Path(path)
    value = _parse(path)
    for step in filter(None, at.split(".")):
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            has = f"keys {', '.join(map(str, value))}" if isinstance(value, dict) else shown(value)
            raise invalid([Problem(str(path), f"nothing at {at!r}: {step!r} is not there, which has {has}")])
    return value


def _parse(path: Path) -> Any:
    parsers: dict[str, Callable[[str], Any]] = {
        ".json": json.loads,
        ".toml": tomllib.loads,
        ".yaml": yaml.safe_load,
        ".yml": yaml.safe_load,
    }
    parser = parsers.get(path.suffix.lower())
    if parser is None:
        raise invalid([Problem(str(path), f"expected a file ending in {', '.join(parsers)}, got {path.suffix!r}")])
    try:
        size = path.stat().st_size
        if size <= MAX_BYTES:
            return parser(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise invalid([Problem(str(path), f"cannot be read: {error.strerror}")]) from error
    except RecursionError as error:
        raise invalid([Problem(str(path), "nested too deeply to be read")]) from error
    # PyYAML lets errors of its own code out: LookupError of `!!bool x`, AttributeError of `!!timestamp x`.
    except (ValueError, LookupError, AttributeError, yaml.YAMLError) as error:
        raise invalid([Problem(str(path), f"is no valid {path.suffix[1:].upper()}: {error}")]) from error
    raise invalid([Problem(str(path), f"has {size} bytes; a loss config has at most {MAX_BYTES}")])
