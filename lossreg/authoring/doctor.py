"""Examination of the installed providers: each is imported, and compared with its manifest."""

from __future__ import annotations

import importlib
import platform
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from lossreg.authoring import manifest_writer
from lossreg.authoring.absent_extras import AbsentExtra, absent_extras
from lossreg.authoring.describe import unchecked
from lossreg.authoring.package_modules import PASSED_ON, torch_error
from lossreg.discovery.distributions import MANIFESTS_GROUP, declared, normalized, remarks
from lossreg.errors import LossregError, MissingLibraryError
from lossreg.messages import is_installed, with_type
from lossreg.registries import hooks, losses, parts
from lossreg.registry.entry import Entry, Failure
from lossreg.registry.registry import Registry
from lossreg.registry.requirement import installed_version

BROKEN = ("broken", "outdated")
# torchvision looks up its compiled operators in torch when it is imported.
MISMATCH = "operator torchvision::"
REMEDY = (
    "torchvision was built for another version of torch; install both together, from one index:"
    " pip install --force-reinstall torch torchvision"
)


class Provider(NamedTuple):
    """One provider: `seconds` is the time to import its losses; `problems` are in the order of its entries."""

    name: str
    distribution: str
    losses: int
    state: str
    seconds: float
    problems: tuple[str, ...]
    library: bool  # whether it describes the losses of another library
    notes: tuple[str, ...] = ()

    @property
    def broken(self) -> bool:
        """Return whether the provider itself is broken. A broken library affects only its own losses."""
        return self.state in BROKEN and not self.library


def providers() -> Iterator[Provider]:
    """Import the losses of every provider, and yield each provider as soon as it is examined.

    Without torch no loss can be imported, and every provider is "unknown".
    """
    without_torch = bool(torch_error())  # torch is shared by all, so no provider's time includes it
    packages = _packages()
    groups: dict[str, list[tuple[Registry[Any], Entry]]] = {}
    for registry in (losses, parts):  # a loss and a part may have the same name
        for entry in registry.entries():
            groups.setdefault(entry.provider, []).append((registry, entry))
    for name, entries in sorted(groups.items()):
        yield _provider(entries, "unknown") if without_torch else _examine(entries, packages.get(name))


def failures() -> list[str]:
    """List the declarations and the hooks that cannot be read."""
    found = (*losses.failures, *parts.failures, *hooks().failures)
    texts = [f"not read: {source}: {error}" for source, _, error in found]
    return list(dict.fromkeys(texts))  # both registries read the same files


def notes(examined: list[Provider]) -> Iterator[str]:
    """Yield remarks on libraries and distributions that do not affect lossreg itself."""
    if any(MISMATCH in problem for found in examined for problem in found.problems):
        yield REMEDY
    for found in examined:
        yield from found.notes
    yield from remarks()


def environment() -> Iterator[tuple[str, str]]:
    """Yield versions, the GPU, and the implementation that computes the one-pass losses on each device."""
    yield "Python", platform.python_version()
    if error := torch_error():
        yield "torch", f"cannot be imported: {error.splitlines()[0]}"
        return
    torch: Any = importlib.import_module("torch")
    cuda = torch.cuda.is_available()
    yield "torch", torch.__version__
    yield "CUDA", f"{torch.version.cuda}, {torch.cuda.get_device_name()}" if cuda else "not available"
    for package in ("triton", "numba"):
        yield package, _version(package)
    for device in ("cpu", "cuda"):
        yield f"statistics on {device}", _implementation(device) if device == "cpu" or cuda else "no such device"


def _examine(entries: list[tuple[Registry[Any], Entry]], package: str | None) -> Provider:
    start, states, problems = time.perf_counter(), set(), []
    for registry, entry in entries:
        state, problem = _load(registry, entry)
        states.add(state)
        problems += [problem] if problem else []
    seconds = time.perf_counter() - start
    state = next((bad for bad in ("broken", "missing", "disabled") if bad in states), "loaded")
    if state == "loaded" and package is not None:
        try:
            manifest_writer.check(package)
        except PASSED_ON:
            raise
        except BaseException as error:  # noqa: BLE001 - a library may raise anything while it is imported
            state, problems = "outdated", [*problems, with_type(error)]
    return _provider(entries, state, seconds, problems)._replace(notes=tuple(_notes(entries)))


def _notes(entries: list[tuple[Registry[Any], Entry]]) -> Iterator[str]:
    """Yield remarks on the provider's own classes. The annotations of another library are not its matter."""
    for registry, entry in entries:
        cls = registry.entry(entry.full_name).cls
        if cls is not None and entry.requires is None:
            with suppress(LossregError):  # no config can call its constructor, and each such config is an error
                yield from unchecked(entry.full_name, cls)


def _provider(
    entries: list[tuple[Registry[Any], Entry]], state: str, seconds: float = 0.0, problems: Iterable[str] = ()
) -> Provider:
    _, first = entries[0]
    distribution = f"{first.distribution} {first.version}" if first.distribution else "registered in code"
    distinct = tuple(dict.fromkeys(problems))  # one cause may break many losses
    library = any(entry.requires is not None for _, entry in entries)
    return Provider(first.provider, distribution, len(entries), state, seconds, distinct, library)


def _load(registry: Registry[Any], entry: Entry) -> tuple[str, str]:
    """Import an entry; return its state and its problem, empty if there is none."""
    if entry.disabled_reason:
        return entry.state, entry.reason
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            registry.get(entry.full_name)
        except MissingLibraryError as error:
            return "missing", str(error).partition(" needs ")[2]
        except LossregError as error:
            if extra := _absent_extra(entry, error.__cause__):
                return "missing", f"{', '.join(extra.lacking)}, which is not installed; {extra.install}"
            return "broken", with_type(error.__cause__ or error) + _stale(entry, error.__cause__)
    outside = entry.requires.outside() if entry.requires is not None else None
    del caught  # warnings that libraries raise on import are ignored
    return "loaded", outside or ""


def _stale(entry: Entry, cause: BaseException | None) -> str:
    """Return a remark if the metadata of a package is installed without its code."""
    module = entry.target.partition(":")[0]
    gone = isinstance(cause, ModuleNotFoundError) and f"{module}.".startswith(f"{cause.name}.")
    return f"; stale metadata: {entry.target} does not exist" if gone else ""


def _absent_extra(entry: Entry, error: BaseException | None) -> AbsentExtra | None:
    """Return the extra of the loss's distribution that installs the module that could not be imported."""
    if not isinstance(error, ModuleNotFoundError) or not entry.distribution:
        return None
    lacking = normalized((error.name or "").partition(".")[0])  # most distributions are named like their module
    return next((extra for extra in absent_extras(entry.distribution) if lacking in extra.lacking), None)


def _packages() -> dict[str, str]:
    """Return the package of each provider that has a manifest."""
    points = [item for item in declared() if not isinstance(item, Failure)]
    return {item.name: item.value.partition(":")[0] for item in points if item.group == MANIFESTS_GROUP}


def extras() -> Iterator[AbsentExtra]:
    """Yield the extras of the providers' distributions that are not installed."""
    names = {entry.distribution for entry in losses.entries() if entry.distribution}
    for name in sorted(names):
        yield from absent_extras(name)


def _version(package: str) -> str:
    if not is_installed(package):
        return "not installed"
    version = installed_version(package) or "installed"
    return version if _imports(package) else f"{version}, cannot be imported"


def _imports(package: str) -> bool:
    try:
        importlib.import_module(package)
    except PASSED_ON:
        raise
    except BaseException:  # noqa: BLE001 - a broken package may raise anything
        return False
    return True


def _implementation(device: str) -> str:
    """Return the first implementation of the one-pass losses that fits a device, and the extra of a faster one."""
    if "segmentation/dice" not in losses:
        return "lossreg-segmentation is not installed"
    entry, faster = losses.entry("segmentation/dice"), ""
    for name, needs in entry.metadata["contract"]["implementations"].items():
        if needs["device"] not in ("", device):
            continue
        if not needs["package"] or (is_installed(needs["package"]) and _imports(needs["package"])):
            return f"{name}{faster}"
        for extra in absent_extras(entry.distribution or ""):
            if needs["package"] in extra.lacking:
                faster = f"; {name} is several times faster: {extra.install}"
    return "none"
