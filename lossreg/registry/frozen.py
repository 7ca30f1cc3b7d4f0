"""Frozen copies of plain data: an entry can be read by anybody and changed by nobody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, NoReturn


def _refuse(self: object, *_: object, **__: object) -> NoReturn:
    raise TypeError("the metadata of an entry cannot be changed; change a copy.deepcopy of it")


class FrozenDict(dict[str, Any]):
    """A dict that refuses every change. Its copies can be changed."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {key: deepcopy(value, memo) for key, value in self.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return frozen, (dict(self),)


class FrozenList(list[Any]):
    """A list that refuses every change. Its copies can be changed."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [deepcopy(value, memo) for value in self]

    def __reduce__(self) -> tuple[Any, ...]:
        return frozen, ([*self],)


def frozen(value: Any) -> Any:
    """Return a frozen copy of nested dicts and lists; anything else as it is."""
    if isinstance(value, (FrozenDict, FrozenList)):
        return value
    if isinstance(value, Mapping):
        return FrozenDict((key, frozen(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return FrozenList(frozen(item) for item in value)
    return value


class Metadata(Mapping[str, Any]):
    """Metadata of an entry, frozen. A value is copied when it is first read: listing reads none of them."""

    __slots__ = ("_given", "_read")

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._read: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        if key not in self._read:
            # Of several threads all get the first one's copy: caches hold it by its identity.
            return self._read.setdefault(key, frozen(self._given[key]))
        return self._read[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def __repr__(self) -> str:
        return repr({**self})

    def __reduce__(self) -> tuple[Any, ...]:
        return Metadata, (dict(self._given),)
