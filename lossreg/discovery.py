"""Discovery: what installed packages declare, as entries and failures, without importing any of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from importlib_metadata import Distribution, EntryPoint, EntryPoints, entry_points

from lossreg import manifest
from lossreg.entry import Discovered, Entry, Failure, check_target, declare
from lossreg.errors import ConflictError, LossregError, ManifestError
from lossreg.registry import Registry

if TYPE_CHECKING:
    from torch import nn

LOSSES_GROUP = "lossreg.losses"
MANIFESTS_GROUP = "lossreg.manifests"

# Provider and distribution. Their losses own their short names, and nobody else may use the provider's name: decided by
# the installed distribution, never by what a manifest says of itself.
FIRST_PARTY = {"lossreg": "lossreg", "segmentation": "lossreg-segmentation", "sam": "lossreg-sam"}

_FOLDER = re.compile(r"(.+)-([^-]+)\.dist-info")


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
    points, unreadable = _entry_points()
    yield from unreadable
    described = [(*_distribution(point.dist), point) for point in points.select(group=MANIFESTS_GROUP)]
    described.sort(key=lambda found: (found[0] not in FIRST_PARTY.values(), found[0], found[2].name))
    for distribution, version, point in described:
        yield from _from_manifest(point, distribution, version)
    for point in points.select(group=LOSSES_GROUP):
        distribution, version = _distribution(point.dist)
        try:
            target = point.value.partition("[")[0].replace(" ", "")
            source = {
                "provider": distribution.removeprefix("lossreg-"),
                "distribution": distribution,
                "version": version,
            }
            yield declare(point.name, check_target(target), None, (), {}, **source)
        except LossregError as error:
            yield Failure(f"{distribution}: entry point {point.name!r}", distribution, error)


def _from_manifest(point: EntryPoint, distribution: str, version: str) -> Iterator[Entry | Failure]:
    package, _, file_name = point.value.partition(":")
    try:
        root = None if point.dist is None else str(point.dist.locate_file(""))
        data = manifest.read(package, file_name or manifest.FILE_NAME, root)
    except ManifestError as error:
        yield Failure(point.value, distribution, error)
        return
    source = {"provider": point.name, "distribution": distribution, "version": version}
    for item in manifest.entries(data, package, owns_name=distribution == FIRST_PARTY.get(point.name), **source):
        yield item if isinstance(item, Entry) else Failure(point.value, distribution, item)


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


def _entry_points() -> tuple[EntryPoints, list[Failure]]:
    """All entry points; where the file of one distribution cannot be parsed, those of the others."""
    with suppress(TypeError, ValueError, OSError):  # a line without "=", of whatever group; bytes that are not UTF-8
        return entry_points(), []
    points: dict[str, list[EntryPoint]] = {}
    failures = []
    for distribution in Distribution.discover():
        name, _ = _distribution(distribution)
        try:
            points.setdefault(name, list(distribution.entry_points))  # the first on the path is the one imported
        except (TypeError, ValueError, OSError) as error:
            cause = ManifestError(f"{name}: its entry_points.txt cannot be read: {error}", source=name)
            failures.append(Failure(name, name, cause))
    return EntryPoints(point for found in points.values() for point in found), failures


def _distribution(distribution: Distribution | None) -> tuple[str, str]:
    """Name and version, from the folder `acme-1.0.dist-info`; else from two lines of the metadata.

    `Distribution.name` parses all of the metadata, which costs several times the scan.
    """
    folder = _FOLDER.fullmatch(getattr(getattr(distribution, "_path", None), "name", ""))
    if folder:
        return folder[1].lower().replace("_", "-"), folder[2]
    fields = {"name": "unknown", "version": "unknown"}
    text = ""
    with suppress(UnicodeDecodeError):
        text = (distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or "") if distribution else ""
    for line in text.splitlines():
        key, separator, value = line.partition(":")
        if not separator:  # the header ends at the first blank line
            break
        if key.lower() in fields:
            fields[key.lower()] = value.strip()
    return fields["name"].lower().replace("_", "-"), fields["version"]


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
