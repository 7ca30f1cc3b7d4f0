"""Entry: one registered class, known by name before it is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from lossreg.errors import InvalidNameError
from lossreg.registry.requirement import Requirement

State = Literal["discovered", "loaded", "broken", "disabled", "incompatible", "missing"]

LOCAL = "local"  # the provider of what is registered in code and was not discovered

_NAME = re.compile(r"[^\W\d][\w.\-]*")
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.([^\W\d]\w*|<locals>))*")


class Entry(NamedTuple):  # no dataclass: importing those takes a tenth of the time that listing may take
    """What is known of one registered class. Immutable; a registry replaces it when more is known.

    `tags` is None until they are known: a package that declares one entry point tells them only once it is loaded.
    `metadata` is plain data that the registry carries and does not read. `owns_name` settles a tie for the short name.
    `requires` is a library that the class lies in, if it is not the provider's own; without it the state is missing.
    """

    name: str
    target: str
    provider: str = LOCAL
    aliases: tuple[str, ...] = ()
    tags: frozenset[str] | None = None
    metadata: Mapping[str, Any] = {}
    distribution: str | None = None
    version: str | None = None
    owns_name: bool = False
    requires: Requirement | None = None
    state: State = "discovered"
    cls: type | None = None
    error: BaseException | None = None
    reason: str = ""

    @property
    def full_name(self) -> str:
        """provider/name, which is always available."""
        return f"{self.provider}/{self.name}"

    @property
    def origin(self) -> str:
        """Where it comes from, for messages."""
        where = f" of {self.distribution} {self.version}" if self.distribution else ""
        return f"{self.target}{where}"

    @property
    def off(self) -> str:
        """Why it is not to be used, if it is switched off; empty otherwise."""
        return f"{self.full_name} is {self.state}: {self.reason}" if self.state in ("disabled", "incompatible") else ""

    def spellings(self) -> tuple[str, ...]:
        """Every short name that leads here."""
        return (self.name, *self.aliases)

    def declared_again(self, proposed: Entry) -> Entry:
        """The same target declared once more: keeps name and provider, learns what is new.

        What a provider's manifest says stays; what was registered in code is replaced, as a notebook's user expects.
        """
        aliases = dict.fromkeys([*self.aliases, proposed.name, *proposed.aliases])
        aliases.pop(self.name, None)
        local = self.provider == LOCAL
        known = self._replace(
            aliases=tuple(aliases),
            tags=proposed.tags if local or self.tags is None else self.tags,
            metadata=proposed.metadata if local else {**proposed.metadata, **self.metadata},
        )
        return known.with_class(proposed.cls)

    def with_class(self, cls: type | None) -> Entry:
        """This entry once its class is known. One that is switched off stays so, whoever imports its module."""
        if cls is None or self.off:
            return self
        return self._replace(cls=cls, state="loaded", error=None)


class Failure(NamedTuple):
    """A provider whose declarations could not be read. A value: it stops nothing else."""

    source: str
    distribution: str | None
    error: Exception


class Discovered(NamedTuple):
    """What a scan found."""

    entries: tuple[Entry, ...] = ()
    failures: tuple[Failure, ...] = ()


def declare(
    name: str,
    target: str,
    tags: Iterable[str] | None,
    aliases: Iterable[str],
    metadata: Mapping[str, Any],
    **source: Any,
) -> Entry:
    """An entry from what an author wrote, checked. `source`: further fields, of where it was found."""
    for what, values in (("tags", tags), ("aliases", aliases)):
        if isinstance(values, str):
            raise InvalidNameError(f"{what} is a list of strings, got {values!r}; write [{values!r}]", name=name)
    return Entry(
        name=check_name(name),
        target=target,
        aliases=tuple(check_name(alias, "alias") for alias in aliases),
        tags=None if tags is None else frozenset(check_name(tag, "tag") for tag in tags),
        metadata=metadata,
        **source,
    )


def target_of(cls: type) -> str:
    """module:qualname."""
    return f"{cls.__module__}:{cls.__qualname__}"


def check_name(name: object, what: str = "name") -> str:
    """Refuse what cannot be typed in a config or a tag expression."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidNameError(
            f"{what} must be a letter followed by letters, digits, '_', '-' or '.', got {name!r:.80}", name=name
        )
    return name


def check_target(target: object) -> str:
    """Refuse what is no "module:qualname"."""
    if not isinstance(target, str) or not _TARGET.fullmatch(target):
        raise InvalidNameError(f'target must be "module:qualname", got {target!r:.80}', name=target)
    return target
