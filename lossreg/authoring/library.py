"""The overlay of a provider: what the signatures of another library's losses cannot say.

A provider's `overlay.py` makes one `library = Library(...)`; `lossreg manifest build` joins it with the signatures of
the installed library. Nothing of it is imported to list, validate or build.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lossreg.contract import contract
from lossreg.errors import ManifestError
from lossreg.parameters.from_signature import described_as
from lossreg.registry.entry import check_name
from lossreg.registry.importing import import_target
from lossreg.registry.requirement import Requirement

_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Described(NamedTuple):
    """One class of the library, as its provider declares it."""

    section: str
    name: str
    target: str
    aliases: tuple[str, ...]
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    hints: Mapping[str, Any]


class Library:
    """Losses of another library.

    Args:
        package: as it is imported.
        distribution: as pip installs it.
        versions: the range that is described, such as ">=1.5,<2".
        modules: every public nn.Module in them is declared or excluded, so that a new one is noticed.
        exclude: class names that are left out, and why.
        hints: annotations of parameters by name, for every class, where the code has none or a vague one; None leaves
            the parameter out. `Tensor` takes numbers, `Annotated[nn.Module, Part("reducer")]` a part,
            `Annotated[Callable, Functions({"relu": "torch:relu"})]` a name of a function.
    """

    def __init__(
        self,
        package: str,
        distribution: str,
        versions: str,
        *,
        modules: Collection[str],
        exclude: Mapping[str, str] | None = None,
        hints: Mapping[str, Any] | None = None,
    ) -> None:
        self.requirement = Requirement(package, distribution, versions)
        self.modules = tuple(modules)
        self.exclude = dict(exclude or {})
        self.hints = dict(hints or {})
        self.described: list[Described] = []

    def loss(
        self,
        target: str,
        name: str | None = None,
        *,
        summary: str,
        tags: Iterable[str],
        input: str,
        target_kind: str,
        tasks: Sequence[str] = (),
        family: str | None = None,
        example: Mapping[str, Any] | None = None,
        hints: Mapping[str, Any] | None = None,
        **facts: Any,
    ) -> None:
        """Declare a loss.

        Args:
            target: "module:Class".
            name: snake_case without "loss"; made of the class's name by default, which is always an alias.
            summary: one line of our own.
            input, target_kind, tasks, facts: its contract. Unless stated, no values per example and no half precision.
            family: what it is known as elsewhere, such as "dice"; the name by default. A row of docs/providers.md.
            example: the least parameters that it needs, where defaults do not do.
            hints: as the library's, for this class.
        """
        stated = {"per_example": False, "half_precision": False, **facts}
        takes = contract(input=input, target=target_kind, tasks=tasks, **stated)
        metadata = {"summary": summary, "contract": takes, "family": family, "example": example}
        self._add("losses", target, name, tags, metadata, hints)

    def part(
        self,
        target: str,
        role: str,
        name: str | None = None,
        *,
        summary: str,
        example: Mapping[str, Any] | None = None,
        hints: Mapping[str, Any] | None = None,
    ) -> None:
        """Declare a part of losses: `role` says what it is, as slots ask for it, such as "reducer"."""
        self._add("parts", target, name, [role], {"summary": summary, "example": example}, hints)

    def manifest(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Section, name and description of each class, from the installed library.

        Raises:
            ManifestError: a class is not there, or one that is there is neither declared nor excluded.
        """
        self._check_complete()
        for item in self.described:
            try:
                cls = import_target(item.target)
            except Exception as error:  # a library may raise anything while it is imported
                raise ManifestError(f"{item.target} cannot be imported: {error}", source=item.target) from error
            yield (
                item.section,
                item.name,
                {
                    "target": item.target,
                    "aliases": sorted(item.aliases),
                    "tags": sorted(item.tags),
                    **item.metadata,
                    "parameters": self._parameters(cls, item),
                },
            )

    def _add(
        self,
        section: str,
        target: str,
        name: str | None,
        tags: Iterable[str],
        metadata: Mapping[str, Any],
        hints: Mapping[str, Any] | None,
    ) -> None:
        cls = target.rpartition(":")[2]
        name = check_name(name or snake_case(cls))
        aliases = () if cls == name else (cls,)
        stated = {key: value for key, value in metadata.items() if value is not None}
        self.described.append(Described(section, name, target, aliases, tuple(tags), stated, hints or {}))

    def _parameters(self, cls: type, item: Described) -> dict[str, Any]:
        schema = described_as(cls, {**self.hints, **item.hints})
        # Some of the code's own no config can hold without their hint, and some are inherited by way of **kwargs.
        own = {*inspect.signature(cls).parameters, *described_as(cls, {})["properties"], *schema["properties"]}
        unknown = item.hints.keys() - own
        if unknown:
            names = ", ".join(sorted(unknown))
            raise ManifestError(f"{item.target} has no parameter {names}; hints are for its own", source=item.target)
        for part in schema["properties"].values():
            part.pop("description", None)  # its authors' sentences stay with them
        return schema

    def _check_complete(self) -> None:
        known = {item.target.rpartition(":")[2] for item in self.described} | {*self.exclude}
        found = {name for module in self.modules for name in _losses_in(module)}
        problems = [f"{name} is new: declare or exclude it" for name in sorted(found - known)]
        problems += [f"{name} is excluded and not there" for name in sorted({*self.exclude} - found)]
        if problems:
            source = self.requirement.package
            raise ManifestError(f"{source} and its overlay differ:\n  " + "\n  ".join(problems), source=source)


def snake_case(cls: str) -> str:
    """`BCEWithLogitsLoss` as `bce_with_logits`."""
    bare = re.sub(r"(?<=.)Loss(?=$|[A-Z])", "", cls)
    return _BOUNDARY.sub("_", bare).replace("__", "_").lower()


def _losses_in(module: str) -> Iterator[str]:
    from torch import nn

    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise ManifestError(f"importing {module} raised {type(error).__name__}: {error}", source=module) from error
    for name, value in vars(found).items():
        public = not name.startswith("_") and inspect.isclass(value) and value.__name__ == name
        if public and issubclass(value, nn.Module) and f"{value.__module__}.".startswith(f"{module}."):
            yield name
