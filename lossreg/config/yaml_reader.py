"""YAML: a safe loader with bounds, which refuses keys that are written twice and outlines the lines of its values."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from lossreg.config.places import Outline, twice
from lossreg.config.plain_data import MAX_NODES

MAX_NUMBER = 400  # characters of a number

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_NUMBERS = (f"{_TAG}int", f"{_TAG}float")
_MERGE_BOTH = "write one: <<: [*a, *b]"
_REMOVE = "remove one, or write '- ' before the second if it begins a new item"
# Words and numbers for which YAML 1.1 has a value that the text does not show.
_SURPRISES = {
    f"{_TAG}bool": re.compile(r"(?!true$|false$)", re.IGNORECASE),
    f"{_TAG}null": re.compile(r""),
    f"{_TAG}int": re.compile(r"[-+]?0[0-7_]*[1-7][0-7_]*[0-7]|.*:"),  # 010 and 1:30, but not 007
    f"{_TAG}float": re.compile(r".*:"),
}


def read_yaml(text: str) -> tuple[Any, Outline]:
    """Return the data of a document, and its outline."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, Outline(1)
        data = loader.construct_document(node)
        return data, loader.outline(node, _line(node))
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """A safe loader that bounds what PyYAML does not. A limit of the file's size alone is not enough.

    Without `flatten_mapping` a file of 407 bytes with nested merges takes 11 s, and each level more ten times as long.
    Without `construct_scalar` a number to base 60, such as 1:1:1, takes time that grows with the square of its length:
    0.4 s at 64 KiB, minutes at 1 MiB.
    """

    nodes = 0

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._keys: dict[Any, Any] = {}  # of mappings, by their nodes
        self._outlines: dict[Any, Outline] = {}  # by node: an alias stands for the same one

    def outline(self, node: Any, line: int) -> Outline:
        """Outline a node that was constructed. A merged key has the line where it is written."""
        if isinstance(node, yaml.ScalarNode):
            return Outline(line, _surprise(node))
        if node not in self._outlines:
            drawn = self._outlines[node] = Outline(line)
            if isinstance(node, yaml.MappingNode):
                for key, item in [pair for pair in node.value if pair[0] in self._keys]:
                    inner = drawn.items[self._keys[key]] = self.outline(item, _line(key))
                    inner.key_written = _surprise(key)
            elif isinstance(node, yaml.SequenceNode):
                drawn.items.update((index, self.outline(item, _line(item))) for index, item in enumerate(node.value))
        return self._outlines[node]

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Count each node."""
        self._count(1)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Refuse a key that is written twice, before merges add keys, which may be overridden."""
        node = super().compose_mapping_node(anchor)
        first: dict[Any, Any] = {}  # the node of each key
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):  # another kind of key is refused when it is constructed
                found = _MERGE if key.tag == _MERGE else self.construct_object(key)
                if not isinstance(found, Hashable):
                    continue
                if found in first:
                    raise _twice(first[found], key, found)
                first[found], self._keys[key] = key, found
        return node

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


def _twice(first: Any, second: Any, key: Any) -> ValueError:
    """Return the error for two nodes that are one key, perhaps in two spellings, such as no and off."""
    advice = _MERGE_BOTH if key is _MERGE else _REMOVE
    if first.value != second.value:
        advice = f"YAML reads {first.value} and {second.value} as one key, {key!r}; {advice}"
    return twice(second.value, _line(first), _line(second), advice)


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _surprise(node: Any) -> str | None:
    """Return the text of a value without quotes that YAML reads as another value than is written."""
    surprising = _SURPRISES.get(node.tag) if isinstance(node, yaml.ScalarNode) else None  # a quoted one is text
    return node.value if surprising is not None and surprising.match(node.value) else None
