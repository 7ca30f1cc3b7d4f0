"""Read a config from a YAML, TOML or JSON file."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from lossreg.config.plain_data import MAX_DEPTH, MAX_NODES
from lossreg.errors import Problem
from lossreg.messages import invalid, shown

MAX_BYTES = 2**20
MAX_NUMBER = 400  # characters of a number in YAML

_MERGE = "tag:yaml.org,2002:merge"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
# A dotted key of TOML. tomllib's memory grows with the square of its parts: without a limit 16 KiB take 260 MB.
_PART = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+"""
_LONG_KEY = re.compile(rf"(?<![\w-]){_PART}(?:\.[ \t]*+{_PART}){{{MAX_DEPTH}}}")


def read_config(path: str | Path, at: str | Sequence[str | int] = "") -> Any:
    """Read a config file, or the part of it at a place.

    Args:
        at: the place with dots, such as "training.loss" or "runs.0.loss". A sequence of keys and indices can name keys
            that contain dots: ("model.v2", "losses", 0).
    Raises:
        InvalidConfigError: the file cannot be read or parsed, or has nothing at that place.
    """
    path = Path(path)
    value = _parse(path)
    steps = [step for step in at.split(".") if step] if isinstance(at, str) else at
    for step in steps:
        found, value = _step(value, step)
        if not found:
            has = f"; keys are {', '.join(map(str, value)):.1000}" if isinstance(value, dict) else f" in {shown(value)}"
            raise invalid([Problem(str(path), f"nothing at {at!r}: no {step!r}{has}")])
    return value


def _step(value: Any, step: str | int) -> tuple[bool, Any]:
    """Return whether a list or mapping has an index or key, and the value there; else the list or mapping itself."""
    if isinstance(value, list) and str(step).isdecimal() and int(step) < len(value):
        return True, value[int(step)]
    if isinstance(value, dict) and step in value:
        return True, value[step]
    return False, value


def _parse(path: Path) -> Any:
    parsers: dict[str, Callable[[str], Any]] = {
        ".json": json.loads,
        ".toml": _toml,
        ".yaml": _yaml,
        ".yml": _yaml,
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
    # PyYAML raises errors of its own code: LookupError for `!!bool x`, AttributeError for `!!timestamp x`,
    # OverflowError for a number to base 60.
    except (ValueError, LookupError, AttributeError, ArithmeticError, yaml.YAMLError) as error:
        raise invalid([Problem(str(path), f"is not valid {path.suffix[1:].upper()}: {error}")]) from error
    raise invalid([Problem(str(path), f"has {size} bytes; a loss config has at most {MAX_BYTES}")])


def _toml(text: str) -> Any:
    if _LONG_KEY.search(text):
        raise ValueError(f"a dotted key has more than {MAX_DEPTH} parts")
    return tomllib.loads(text)


def _yaml(text: str) -> Any:
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    """A safe loader that bounds what PyYAML does not. A limit of the file's size alone is not enough.

    Without `flatten_mapping` a file of 407 bytes with nested merges takes 11 s, and each level more ten times as long.
    Without `construct_scalar` a number to base 60, such as 1:1:1, takes time that grows with the square of its length:
    0.4 s at 64 KiB, minutes at 1 MiB.
    """

    nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Count each node."""
        self._count(1)
        return super().compose_node(parent, index)

    def flatten_mapping(self, node: Any) -> None:
        """Count the keys that merges such as `<<: [*a, *a]` copy, before they are copied."""
        for key, value in node.value:
            for part in value.value if key.tag == _MERGE and isinstance(value, yaml.SequenceNode) else [value]:
                if key.tag == _MERGE and isinstance(part, yaml.MappingNode):
                    self._count(len(part.value))
                    self.flatten_mapping(part)
                    self._count(len(part.value))
        super().flatten_mapping(node)

    def construct_scalar(self, node: Any) -> Any:
        """Refuse long numbers."""
        if node.tag in _NUMBERS and len(node.value) > MAX_NUMBER:
            raise ValueError(f"a number has {len(node.value)} characters; at most {MAX_NUMBER} are read")
        return super().construct_scalar(node)

    def _count(self, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise ValueError(f"it holds more than {MAX_NODES} values")
