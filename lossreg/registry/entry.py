"""Entry: one registered class, known by name before it is imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import deepcopy
from keyword import iskeyword
from typing import Any, Literal, NamedTuple

from lossreg.errors import InvalidNameError
from lossreg.registry.frozen import Metadata
from lossreg.registry.metadata import check
from lossreg.registry.requirement import Requirement

State = Literal["discovered", "loaded", "broken", "disabled", "missing"]

LOCAL = "local"  # the provider of entries that are registered in code

_NAME = re.compile(r"[^\W\d][\w.\-]*")
_PROVIDER = re.compile(r"\w[\w.\-]*", re.ASCII)  # as distributions, which may begin with a digit; no look-alikes


class Entry(NamedTuple):  # no dataclass: importing those takes a tenth of the time that listing may take
    """One registered class. Immutable: a registry replaces it, for example when the class is loaded.

    `tags` is None while they are unknown: a package with one entry point has its tags in its code. `metadata` is plain
    data for the readers of the registry, frozen. An entry that `owns_name` wins a tie for its short name: of lossreg's
    own packages, and of classes that are registered with `override=True`. `requires` is the library that contains the
    class, if it is not the provider's own; the state is "missing" where it is not installed. `reason` explains the
    states "disabled" and "missing"; `error` is the exception of the last import.
    """

    name: str
    target: str
    provider: str = LOCAL
    aliases: tuple[str, ...] = ()
    tags: frozenset[str] | None = None
    metadata: Mapping[str, Any] = Metadata({})
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
        """Return provider/name, which always leads to this entry."""
        return f"{self.provider}/{self.name}"

    @property
    def origin(self) -> str:
        """Return target and distribution, for messages."""
        where = f" of {self.distribution} {self.version}" if self.distribution else ""
        return f"{self.target}{where}"

    @property
    def disabled_reason(self) -> str:
        """Return why the entry is disabled, as a sentence; empty if it is not."""
        return f"{self.full_name} is disabled: {self.reason}" if self.state == "disabled" else ""

    def spellings(self) -> tuple[str, ...]:
        """Return the name and the aliases."""
        return (self.name, *self.aliases)

    @property
    def package(self) -> str:
        """Return the top-level package of the target."""
        return self.target.partition(":")[0].partition(".")[0]

    def merge_declaration(self, proposed: Entry) -> Entry:
        """Return the entry with a second declaration of its class merged in. Name and provider stay.

        Tags and metadata of a manifest stay as well. Those of an entry registered in code are replaced, so that a
        notebook's cell can be run again. A target that is added to its class later leaves both as they are.
        """
        aliases = dict.fromkeys([*self.aliases, proposed.name, *proposed.aliases])
        aliases.pop(self.name, None)
        local = self.provider == LOCAL
        is_newer = local and (proposed.cls is not None or self.cls is None)
        known = self._replace(
            aliases=tuple(aliases),
            tags=proposed.tags if is_newer or self.tags is None else self.tags,
            metadata=proposed.metadata if is_newer else Metadata({**proposed.metadata, **self.metadata}),
            owns_name=self.owns_name or (local and proposed.owns_name),
        )
        return known.with_class(proposed.cls)

    def with_class(self, cls: type | None) -> Entry:
        """Return the entry with its class set. A disabled entry stays disabled, even if its module is imported."""
        if cls is None or self.disabled_reason:
            return self
        return self._replace(cls=cls, state="loaded", error=None)


class Failure(NamedTuple):
    """A declaration of a provider that could not be read. It is a value, so that it stops nothing else."""

    source: str
    distribution: str | None
    error: Exception


class Discovered(NamedTuple):
    """The result of a scan: entries, and failures.

    `remind` is called at the first look-up with all known names: it warns of others in the environment. `changed`
    returns whether packages were installed or removed since.
    """

    entries: tuple[Entry, ...] = ()
    failures: tuple[Failure, ...] = ()
    remind: Callable[[Collection[str]], None] | None = None
    changed: Callable[[], bool] = bool


def declare(
    name: str,
    target: str,
    tags: Iterable[str] | None,
    aliases: Iterable[str],
    metadata: Mapping[str, Any],
    **source: Any,
) -> Entry:
    """Check an author's declaration and make its entry. `source`: further fields of the entry."""
    for key, values in (("tags", tags), ("aliases", aliases)):
        if isinstance(values, str):
            raise InvalidNameError(f"{key} is a list of strings, got {values!r}; write [{values!r}]", name=name)
    return Entry(
        name=check_name(name),
        target=target,
        aliases=tuple(check_name(alias, "alias") for alias in aliases),
        tags=None if tags is None else frozenset(check_name(tag, "tag") for tag in tags),
        metadata=Metadata(metadata),
        **source,
    )


def checked(entry: Entry) -> Entry:
    """Check an entry that was made by hand, and return it with a copy of its metadata.

    Raises:
        InvalidNameError, TypeError, ValueError: as for a decorator.
    """
    check_provider(entry.provider)
    check(entry.metadata, f"{entry.full_name}: its")
    made = declare(entry.name, check_target(entry.target), entry.tags, entry.aliases, deepcopy({**entry.metadata}))
    return entry._replace(aliases=made.aliases, tags=made.tags, metadata=made.metadata)


def target_of(cls: type) -> str:
    """Return "module:qualname" of a class."""
    return f"{cls.__module__}:{cls.__qualname__}"


def check_name(name: object, kind: str = "name") -> str:
    """Check that a name can be typed in a config and in a tag expression, and return it."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidNameError(
            f"{kind} must be a letter followed by letters, digits, '_', '-' or '.', got {name!r:.80}", name=name
        )
    return name


def check_provider(name: object, remedy: str = "choose another name") -> str:
    """Check that the name of a provider can be typed and looks like no other, and return it."""
    if not isinstance(name, str) or not _PROVIDER.fullmatch(name):
        raise InvalidNameError(
            f"a provider's name has letters of ASCII, digits, '_', '-' or '.', got {name!r:.80}; {remedy}", name=name
        )
    return name


def check_target(target: object) -> str:
    """Check that a target is "module:qualname", and return it."""
    module, colon, qualname = target.partition(":") if isinstance(target, str) else ("", "", "")
    if "<locals>" in qualname:
        raise InvalidNameError(
            f"{target!r:.200} is made inside a function, where no import finds it; define the class at module level",
            name=target,
        )
    parts = [*module.split("."), *qualname.split(".")]
    if not colon or not all(part.isidentifier() and not iskeyword(part) for part in parts):
        raise InvalidNameError(f'target must be "module:qualname", got {target!r:.80}', name=target)
    return str(target)
