"""Discovery: what installed packages declare, as entries and failures, without importing any of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from lossreg.discovery import manifest
from lossreg.discovery.distributions import LOSSES_GROUP, MANIFESTS_GROUP, Declared, normalized, scan
from lossreg.discovery.environment import DISABLE, ONLY, is_strict, names_in, switched, warn_once, with_near
from lossreg.discovery.first_party import FIRST_PARTY, OWNERS
from lossreg.errors import ConflictError, InvalidNameError, LossregError, ManifestError
from lossreg.messages import is_installed
from lossreg.registry.entry import Discovered, Entry, Failure, check_target, declare
from lossreg.registry.requirement import Requirement

if TYPE_CHECKING:
    pass

_PROVIDER = re.compile(r"\w[\w.\-]*")  # may begin with a digit, as the names of distributions may


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
    if is_strict() and failures:
        raise failures[0].error
    if section == "losses":
        _warn_unknown_switches(found.values())
    return Discovered(tuple(switched(found.values())), tuple(failures))


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
        _check_provider(item.name)
        data = manifest.read(package, file_name or manifest.FILE_NAME, item.root)
        library = manifest.library(data, package)
    except (InvalidNameError, ManifestError) as error:
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
    if normalized(library.distribution) in versions:
        return False
    # It may be there without metadata of this name, as a nightly build or a folder on the path.
    return not is_installed(library.package)


def _from_entry_point(item: Declared) -> Entry | Failure:
    provider = _provider(item)
    target = item.value.partition("[")[0].replace(" ", "")
    source = {"provider": provider, "distribution": item.distribution, "version": item.version}
    try:
        _check_provider(provider)
        return declare(item.name, check_target(target), None, (), {}, **source)
    except LossregError as error:
        return Failure(f"{item.distribution}: entry point {item.name!r}", item.distribution, error)


def _provider(item: Declared) -> str:
    """Who declares: a manifest's entry point is called so, one of a loss is called as the loss is."""
    return item.distribution.removeprefix("lossreg-") if item.group == LOSSES_GROUP else item.name


def _check_provider(name: str) -> None:
    if not _PROVIDER.fullmatch(name):
        raise InvalidNameError(
            f"a provider is called by letters, digits, '_', '-' or '.', got {name!r:.80}; rename the entry point",
            name=name,
        )


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


def _warn_unknown_switches(entries: Iterable[Entry]) -> None:
    """Of names in the environment that switch nothing: most often they are mistyped, and the loss stays on."""
    given = {variable: names_in(variable) for variable in (ONLY, DISABLE)}
    if not any(given.values()):
        return
    known = _switchable(entries)
    if not set().union(*given.values()) <= known:  # seldom, and it costs another scan
        known |= _switchable(item for item in _declared("parts") if isinstance(item, Entry)) | _declaring()
    for variable, names in given.items():
        if names - known:
            text = f"{variable}={os.environ[variable]!r:.200}, set in the environment: no provider or loss is called "
            warn_once((variable, os.environ[variable]), text + with_near(names - known, known))


def _switchable(entries: Iterable[Entry]) -> set[str]:
    return set().union(*({entry.provider, entry.full_name, *entry.spellings()} for entry in entries))


def _declaring() -> set[str]:
    """Providers whose declarations may not have been readable, too."""
    return {_provider(item) for item in scan()[0] if isinstance(item, Declared)}
