"""Is every provider well? Imports all of them, one after another, and says what it found."""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

from lossreg import manifest_writer
from lossreg.discovery import hooks, losses, parts
from lossreg.entry import Entry, Failure
from lossreg.errors import LossregError, MissingLibraryError
from lossreg.installed import MANIFESTS_GROUP, declared, duplicates
from lossreg.registry import Registry

BROKEN = ("broken", "out of step")


class Provider(NamedTuple):
    """One provider: `seconds` is what importing its losses took; `problems` are told as they are met."""

    name: str
    distribution: str
    losses: int
    state: str
    seconds: float
    problems: tuple[str, ...]


def providers() -> Iterator[Provider]:
    """Every provider, as it is found. Runs their code."""
    importlib.import_module("torch")  # everybody's, so nobody's time
    packages = _packages()
    groups: dict[str, list[tuple[Registry[Any], Entry]]] = {}
    for registry in (losses, parts):  # which may share names
        for entry in registry.entries():
            groups.setdefault(entry.provider, []).append((registry, entry))
    for name, entries in sorted(groups.items()):
        yield _examine(name, entries, packages.get(name))


def findings() -> Iterator[str]:
    """What is wrong beside the losses: declarations that cannot be read, hooks, metadata found twice."""
    failures = (*losses.failures, *parts.failures, *hooks().failures)  # both registries read the same files
    yield from dict.fromkeys(f"not read: {source}: {error}" for source, _, error in failures)


def notes() -> Iterator[str]:
    """What is worth knowing and does no harm."""
    for name, roots in sorted(duplicates().items()):
        yield f"{name} is installed more than once, the first counts: {', '.join(roots)}"


def environment() -> Iterator[tuple[str, str]]:
    """What computes: torch and its device, and which implementation of the one-pass losses fits each device."""
    torch: Any = importlib.import_module("torch")
    cuda = torch.cuda.is_available()
    yield "torch", torch.__version__
    yield "CUDA", f"{torch.version.cuda}, {torch.cuda.get_device_name()}" if cuda else "not available"
    for package in ("triton", "numba"):
        yield package, _version(package)
    for device in ("cpu", "cuda"):
        yield f"statistics on {device}", _implementation(device) if device == "cpu" or cuda else "no such device"


def _examine(name: str, entries: list[tuple[Registry[Any], Entry]], package: str | None) -> Provider:
    start, states, problems = time.perf_counter(), set(), []
    for registry, entry in entries:
        state, problem = _load(registry, entry)
        states.add(state)
        problems += [problem] if problem else []
    seconds = time.perf_counter() - start
    _, first = entries[0]
    state = next((bad for bad in ("broken", "missing", "disabled", "incompatible") if bad in states), "loaded")
    if state == "loaded" and package is not None:
        try:
            manifest_writer.check(package)
        except Exception as error:  # noqa: BLE001 - a library may raise anything while it is imported
            state, problems = "out of step", [*problems, _told(error)]
    distribution = f"{first.distribution} {first.version}" if first.distribution else "registered in code"
    # One cause breaks many losses: it is told once.
    return Provider(name, distribution, len(entries), state, seconds, tuple(dict.fromkeys(problems)))


def _load(registry: Registry[Any], entry: Entry) -> tuple[str, str]:
    """The state of an entry once it was asked for, and what is wrong."""
    if entry.off:
        return entry.state, entry.reason
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            registry.get(entry.full_name)
        except MissingLibraryError as error:
            return "missing", str(error).partition(" needs ")[2]
        except LossregError as error:
            return "broken", _told(error.__cause__ or error) + _stale(entry, error.__cause__)
    outside = entry.requires.outside() if entry.requires is not None else None
    del caught  # what libraries warn of while they are imported is not asked here
    return "loaded", outside or ""


def _stale(entry: Entry, cause: BaseException | None) -> str:
    """Whether metadata is all that is left of a package."""
    module = entry.target.partition(":")[0]
    gone = isinstance(cause, ModuleNotFoundError) and f"{module}.".startswith(f"{cause.name}.")
    return f"; stale metadata: {entry.target} is nowhere" if gone else ""


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _packages() -> dict[str, str]:
    """The package of each provider that has a manifest."""
    points = [item for item in declared() if not isinstance(item, Failure)]
    return {item.name: item.value.partition(":")[0] for item in points if item.group == MANIFESTS_GROUP}


def _version(package: str) -> str:
    if find_spec(package) is None:
        return "not installed"
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "installed"


def _implementation(device: str) -> str:
    """By the contract of a loss that is computed in one pass: the first that fits."""
    if "segmentation/dice" not in losses:
        return "lossreg-segmentation is not installed"
    ways = losses.entry("segmentation/dice").metadata["contract"]["implementations"]
    for name, needs in ways.items():
        if needs["device"] in ("", device) and (not needs["package"] or find_spec(needs["package"])):
            return str(name)
    return "none"
