"""Discovery: what installed packages declare, as entries and failures, without importing any of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lossreg import manifest
from lossreg.entry import Discovered, Entry, Failure, check_target, declare
from lossreg.errors import ConflictError, LossregError, ManifestError
from lossreg.installed import LOSSES_GROUP, MANIFESTS_GROUP, Declared, normalized, scan
from lossreg.registry import Registry
from lossreg.requirement import Requirement

if TYPE_CHECKING:
    from torch import nn

    from lossreg.hooks import Hooks

# Provider and distribution. Nobody else may use the provider's name, and the losses of owners own their short names:
# decided by the installed distribution, never by what a manifest says of itself.
OWNERS = {"lossreg": "lossreg", "segmentation": "lossreg-segmentation", "sam": "lossreg-sam"}
LIBRARIES = ("torch", "monai", "kornia", "smp", "pml", "timm")  # described by lossreg-<name>; ties are theirs to share
FIRST_PARTY = OWNERS | {name: f"lossreg-{name}" for name in LIBRARIES}


def discover(section: str = "losses") -> Discovered:
    """Scan the installed distributions once, for losses or for parts of them.

    Environment: LOSSREG_DISABLE and LOSSREG_ONLY hold providers or names, separated by commas; LOSSREG_STRICT=1 raises
    the first failure instead of keeping it.
    """
    found: dict[str, Entry] = {}
    failures: list[Failure] = []
    for item in _declared(section):
        failure = _add(found, item) if isinstance(item, Entry) else item
        if failure is not None:
            failures.append(failure)
    if failures and os.environ.get("LOSSREG_STRICT") == "1":
        raise failures[0].error
    return Discovered(tuple(_switched(found.values())), tuple(failures))


def _declared(section: str) -> Iterator[Entry | Failure]:
    """Manifests before single entry points, first-party ones first: whoever comes first keeps a contested name."""
    manifests: list[Declared] = []
    single: list[Declared] = []
    found, versions = scan()
    for item in found:
        if isinstance(item, Failure):
            yield item
        else:
            {MANIFESTS_GROUP: manifests, LOSSES_GROUP: single}.get(item.group, []).append(item)
    manifests.sort(key=lambda item: (item.distribution not in FIRST_PARTY.values(), item.distribution, item.name))
    for item in manifests:
        yield from _from_manifest(item, section, versions)
    for item in single if section == "losses" else ():
        yield _from_entry_point(item)


def _from_manifest(item: Declared, section: str, versions: Mapping[str, str]) -> Iterator[Entry | Failure]:
    package, _, file_name = item.value.partition(":")
    try:
        data = manifest.read(package, file_name or manifest.FILE_NAME, item.root)
        library = manifest.library(data, package)
    except ManifestError as error:
        yield Failure(item.value, item.distribution, error)
        return
    source = {
        "provider": item.name,
        "distribution": item.distribution,
        "version": item.version,
        "owns_name": item.distribution == OWNERS.get(item.name),
        "requires": library,
    }
    if library is not None and _is_missing(library, versions):
        reason = f"{library.distribution} is not installed; {library.install}"
        source |= {"state": "missing", "reason": reason}
    for found in manifest.entries(data, package, section, **source):
        yield found if isinstance(found, Entry) else Failure(item.value, item.distribution, found)


def _is_missing(library: Requirement, versions: Mapping[str, str]) -> bool:
    # A library may be there without metadata of this name, as a nightly build or a folder on the path.
    return normalized(library.distribution) not in versions and find_spec(library.package) is None


def _from_entry_point(item: Declared) -> Entry | Failure:
    provider = item.distribution.removeprefix("lossreg-")
    target = item.value.partition("[")[0].replace(" ", "")
    source = {"provider": provider, "distribution": item.distribution, "version": item.version}
    try:
        return declare(item.name, check_target(target), None, (), {}, **source)
    except LossregError as error:
        return Failure(f"{item.distribution}: entry point {item.name!r}", item.distribution, error)


def _add(found: dict[str, Entry], entry: Entry) -> Failure | None:
    """Add an entry unless its provider/name is taken: the same target twice is one entry, another one a failure."""
    owner = FIRST_PARTY.get(entry.provider, entry.distribution)
    if owner != entry.distribution:
        # Otherwise build(config, providers={"segmentation"}) would let a stranger's losses in.
        message = f"{entry.full_name} of {entry.distribution}: the provider name {entry.provider!r} belongs to {owner}"
        return _conflict(entry, f"{message}; rename the entry point", str(owner))
    first = found.setdefault(entry.full_name, entry)
    if first.target == entry.target:
        return None
    message = f"{entry.full_name} is declared by {first.distribution} ({first.target}) and by {entry.distribution}"
    return _conflict(entry, f"{message} ({entry.target}); the first is kept. Rename one of the providers", first.target)


def _conflict(entry: Entry, message: str, existing: str) -> Failure:
    error = ConflictError(message, name=entry.full_name, existing=existing, proposed=entry.target)
    return Failure(entry.full_name, entry.distribution, error)


def _switched(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries as the environment allows them."""
    only, disabled = _names("LOSSREG_ONLY"), _names("LOSSREG_DISABLE")
    if not only and not disabled:
        yield from entries
        return
    for entry in entries:
        names = {entry.provider, entry.full_name, *entry.spellings()}
        reason = ""
        if only and not names & only:
            reason = f"LOSSREG_ONLY={os.environ['LOSSREG_ONLY']} leaves it out"
        elif names & disabled:
            reason = f"LOSSREG_DISABLE={os.environ['LOSSREG_DISABLE']} names it"
        yield entry._replace(state="disabled", reason=reason) if reason else entry


def _names(variable: str) -> set[str]:
    return {name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()}


def hooks() -> Hooks:
    """What installed packages do at lossreg's hooks. They are imported by the first call."""
    from lossreg.hooks import ready

    return ready(losses)


def _resolve_missing(name: str) -> Entry | str | None:
    answer: Entry | str | None = hooks().call("lossreg_resolve_missing", name=name)
    return answer


losses: Registry[nn.Module] = Registry("torch.nn:Module", name="losses", discover=discover, resolve=_resolve_missing)
# What losses are made of and is no loss: distances, reducers, miners. A part's role is one of its tags.
parts: Registry[nn.Module] = Registry("torch.nn:Module", name="parts", discover=partial(discover, "parts"))
