"""Overlay of a provider: tags, contracts and ranges that the signatures of another library's losses do not contain.

A provider's `overlay.py` creates one `library = Library(...)`; `lossreg manifest build` joins it with the signatures of
the installed library. Listing, validating and building do not import the overlay.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lossreg.authoring.package_modules import PASSED_ON
from lossreg.contract import contract
from lossreg.errors import ManifestError
from lossreg.messages import with_type
from lossreg.parameters.constructor import constructor_parameters
from lossreg.parameters.from_signature import described_as
from lossreg.registry.entry import check_name
from lossreg.registry.importing import import_target
from lossreg.registry.requirement import Requirement

_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Described(NamedTuple):
    """Declaration of one class of the library."""

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
        package: the import name.
        distribution: the name for pip.
        versions: the versions that are described, such as ">=1.5,<2".
        modules: modules whose public nn.Modules must all be declared or excluded, so that a new one is noticed.
        exclude: the reason for each class name that is not declared.
        hints: annotations by parameter name, for every class; for parameters without annotation or with a vague one.
            None omits the parameter. `Tensor` takes numbers, `Annotated[nn.Module, Part("reducer")]` a part,
            `Annotated[Callable, Functions({"relu": "torch:relu"})]` the name of a function.
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
            name: snake_case without "loss"; derived from the class name by default. The class name is always an alias.
            summary: one line, not copied from the library.
            tags: tags for `find`.
            input, target_kind, tasks, facts: the contract. By default, no values per example and no half precision.
            family: the common name in other libraries, such as "dice"; the name by default. A row of
                docs/reference/providers.md.
            example: the smallest parameters that build it, if defaults do not suffice.
            hints: like those of the library, for this class only.
        """
        declared = {"per_example": False, "half_precision": False, **facts}
        takes = contract(input=input, target=target_kind, tasks=tasks, **declared)
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
        """Declare a part of losses; `role` is the kind of part that parameters request, such as "reducer"."""
        self._add("parts", target, name, [role], {"summary": summary, "example": example}, hints)

    def manifest(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield section, name and description of each class, from the installed library.

        Raises:
            ManifestError: a declared class does not exist, or a class is neither declared nor excluded.
        """
        self._check_complete()
        for item in self.described:
            try:
                cls = import_target(item.target)
            except PASSED_ON:
                raise
            except BaseException as error:  # a library may raise anything while it is imported
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
        given = {key: value for key, value in metadata.items() if value is not None}
        self.described.append(Described(section, name, target, aliases, tuple(tags), given, hints or {}))

    def _parameters(self, cls: type, item: Described) -> dict[str, Any]:
        schema = described_as(cls, {**self.hints, **item.hints})
        # Parameters that no config can hold without a hint, and inherited ones behind **kwargs, count as well.
        own = {*inspect.signature(cls).parameters, *constructor_parameters(cls)}
        unknown = item.hints.keys() - own
        if unknown:
            names = ", ".join(sorted(unknown))
            raise ManifestError(f"{item.target} has no parameter {names}; remove the hint", source=item.target)
        for part in schema["properties"].values():
            part.pop("description", None)  # the text is the library authors' own
        return schema

    def _check_complete(self) -> None:
        known = {item.target.rpartition(":")[2] for item in self.described} | {*self.exclude}
        found = {name for module in self.modules for name in _losses_in(module)}
        problems = [f"{name} is new; declare or exclude it" for name in sorted(found - known)]
        problems += [
            f"{name} is excluded but does not exist; remove it from exclude" for name in sorted({*self.exclude} - found)
        ]
        if problems:
            source = self.requirement.package
            raise ManifestError(f"{source} and its overlay differ:\n  " + "\n  ".join(problems), source=source)


def snake_case(cls: str) -> str:
    """Convert a class name: `BCEWithLogitsLoss` to `bce_with_logits`."""
    bare = re.sub(r"(?<=.)Loss(?=$|[A-Z])", "", cls)
    return _BOUNDARY.sub("_", bare).replace("__", "_").lower()


def _losses_in(module: str) -> Iterator[str]:
    from torch import nn

    try:
        found = importlib.import_module(module)
    except PASSED_ON:
        raise
    except BaseException as error:
        raise ManifestError(f"importing {module} raised {with_type(error)}", source=module) from error
    for name, value in vars(found).items():
        public = not name.startswith("_") and inspect.isclass(value) and value.__name__ == name
        if public and issubclass(value, nn.Module) and f"{value.__module__}.".startswith(f"{module}."):
            yield name
