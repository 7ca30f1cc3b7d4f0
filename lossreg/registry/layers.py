"""A persistent map: changing it makes a new one, which shares most of its memory with the old one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

V = TypeVar("V")


class Layers(Generic[V]):
    """An immutable map from text, in layers of dicts: the newest first, each at least twice as long as the one before.

    So n changes, one by one, copy O(n log n) items, and a look-up reads at most log2(n) dicts. None marks a removed
    key.
    """

    __slots__ = ("_layers",)

    def __init__(self, *layers: dict[str, V | None]) -> None:
        self._layers = layers

    def get(self, key: str) -> V | None:
        """Return the value of a key, or None."""
        for layer in self._layers:
            if key in layer:
                return layer[key]
        return None

    def updated(self, changes: Mapping[str, V | None]) -> Layers[V]:
        """Return a map with these values; None removes a key."""
        if not changes:
            return self
        newest: dict[str, V | None] = dict(changes)
        older = [*self._layers]
        while older and len(older[0]) < 2 * len(newest):
            newest = {**older.pop(0), **newest}
        if not older:
            newest = {key: value for key, value in newest.items() if value is not None}
        return Layers(newest, *older)

    def merged(self) -> dict[str, V]:
        """Return all items as one dict, in the order of their first insertion."""
        found: dict[str, V | None] = {}
        for layer in reversed(self._layers):
            found.update(layer)
        return {key: value for key, value in found.items() if value is not None}


class Edits(Generic[V]):
    """Changes of a map that are collected, and then made at once."""

    __slots__ = ("_changes", "_layers")

    def __init__(self, layers: Layers[V]) -> None:
        self._layers = layers
        self._changes: dict[str, V | None] = {}

    def get(self, key: str) -> V | None:
        """Return the value of a key as it is by now, or None."""
        return self._changes[key] if key in self._changes else self._layers.get(key)

    def set(self, key: str, value: V | None) -> None:
        """Change the value of a key; None removes it."""
        self._changes[key] = value

    def made(self) -> Layers[V]:
        """Return the map with all changes."""
        return self._layers.updated(self._changes)
