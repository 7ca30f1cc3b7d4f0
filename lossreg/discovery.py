"""Discovery: what installed packages declare, as entries and failures, without importing any of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from lossreg import manifest
from lossreg.entry import Discovered, Entry, Failure, check_target, declare
from lossreg.errors import ConflictError, LossregError, ManifestError
from lossreg.installed import MANIFESTS_GROUP, Declared, declared
from lossreg.registry import Registry

if TYPE_CHECKING:
    from torch import nn

# Provider and distribution. Their losses own their short names, and nobody else may use the provider's name: decided by
# the installed distribution, never by what a manifest says of itself.
FIRST_PARTY = {"lossreg": "lossreg", "segmentation": "lossreg-segmentation", "sam": "lossreg-sam"}


def discover() -> Discovered:
    """Scan the installed distributions once.

    Environment: LOSSREG_DISABLE and LOSSREG_ONLY hold providers or names, separated by commas; LOSSREG_STRICT=1 raises
    the first failure instead of keeping it.
    """
    found: dict[str, Entry] = {}
    failures: list[Failure] = []
    for item in _declared():
        failure = _add(found, item) if isinstance(item, Entry) else item
        if failure is not None:
            failures.append(failure)
    if failures and os.environ.get("LOSSREG_STRICT") == "1":
        raise failures[0].error
    return Discovered(tuple(_switched(found.values())), tuple(failures))


def _declared() -> Iterator[Entry | Failure]:
    """Manifests before single entry points, first-party ones first: whoever comes first keeps a contested name."""
    manifests: list[Declared] = []
    single: list[Declared] = []
    for item in declared():
        if isinstance(item, Failure):
            yield item
        else:
            (manifests if item.group == MANIFESTS_GROUP else single).append(item)
    manifests.sort(key=lambda item: (item.distribution not in FIRST_PARTY.values(), item.distribution, item.name))
    for item in manifests:
        yield from _from_manifest(item)
    for item in single:
        yield _from_entry_point(item)


def _from_manifest(item: Declared) -> Iterator[Entry | Failure]:
    package, _, file_name = item.value.partition(":")
    try:
        data = manifest.read(package, file_name or manifest.FILE_NAME, item.root)
    except ManifestError as error:
        yield Failure(item.value, item.distribution, error)
        return
    source = {"provider": item.name, "distribution": item.distribution, "version": item.version}
    owns_name = item.distribution == FIRST_PARTY.get(item.name)
    for found in manifest.entries(data, package, owns_name=owns_name, **source):
        yield found if isinstance(found, Entry) else Failure(item.value, item.distribution, found)


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


losses: Registry[nn.Module] = Registry("torch.nn:Module", name="losses", discover=discover)
