"""Scan: the declarations of installed packages as entries and failures. No package is imported."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from lossreg.discovery import distributions, manifest
from lossreg.discovery.distributions import LOSSES_GROUP, MANIFESTS_GROUP, Declared, Installed
from lossreg.discovery.environment import is_strict, names_of, warn_unknown, with_states
from lossreg.discovery.first_party import FIRST_PARTY, OWNERS, owner_of
from lossreg.errors import ConflictError, InvalidNameError, LossregError, ManifestError
from lossreg.messages import is_installed
from lossreg.registry.entry import Discovered, Entry, Failure, check_provider, check_target, declare


def discover(section: str = "losses") -> Discovered:
    """Return the losses, or the parts of losses, of the installed distributions.

    LOSSREG_DISABLE and LOSSREG_ONLY in the environment list providers or names, separated by commas. LOSSREG_STRICT=1
    raises the first failure instead of keeping it.
    """
    installed = distributions.scan()
    found: dict[str, Entry] = {}
    failures: list[Failure] = []
    for item in _declared(section, installed):
        failure = _add(found, item) if isinstance(item, Entry) else item
        if failure is not None:
            failures.append(failure)
    if is_strict() and failures:
        distributions.forget()  # the user may mend the file and try again
        raise failures[0].error
    return Discovered(tuple(with_states(found.values())), tuple(failures))


def warn_about_environment(known: Collection[str] = ()) -> None:
    """Warn about names in LOSSREG_ONLY and LOSSREG_DISABLE that match nothing.

    Args:
        known: further names and providers, such as those of losses registered in code.
    """
    warn_unknown(lambda: {*known} | _declared_names(distributions.scan()))


def _declared(section: str, installed: Installed) -> Iterator[Entry | Failure]:
    """Yield manifests before single entry points, first-party ones first: the first keeps a contested name."""
    manifests: list[Declared] = []
    single: list[Declared] = []
    for item in installed.declared:
        if isinstance(item, Failure):
            yield item
        else:
            {MANIFESTS_GROUP: manifests, LOSSES_GROUP: single}.get(item.group, []).append(item)
    for item in sorted(manifests, key=_order):
        yield from _from_manifest(item, section, installed)
    for item in sorted(single, key=_order) if section == "losses" else ():
        yield _from_entry_point(item)


def _order(item: Declared) -> tuple[bool, str, str, str]:
    """Return a key that does not depend on sys.path, or on the order of lines in a file."""
    return item.distribution not in FIRST_PARTY.values(), item.distribution, item.name, item.value


def _from_manifest(item: Declared, section: str, installed: Installed) -> Iterator[Entry | Failure]:
    package = item.value.partition(":")[0]
    try:
        _check_provider(item)
        data = _read(item, installed)
        library = manifest.library(data, package)
    except (ConflictError, InvalidNameError, ManifestError) as error:
        yield Failure(item.value, item.distribution, error)
        return
    source = {
        "provider": item.name,
        "distribution": item.distribution,
        "version": item.version,
        "owns_name": item.distribution == OWNERS.get(item.name),
        "requires": library,
    }
    # By its code: metadata may be left over, or have another name, as a nightly build's.
    if library is not None and not is_installed(library.package):
        reason = f"{library.distribution} is not installed; {library.install}"
        source |= {"state": "missing", "reason": reason}
    for found in manifest.entries(data, package, section, **source):
        yield found if isinstance(found, Entry) else Failure(item.value, item.distribution, found)


def _read(item: Declared, installed: Installed) -> dict[str, Any]:
    """Read a manifest, once for losses and parts."""
    known = installed.manifests.get(item)
    if known is None:
        package, _, file_name = item.value.partition(":")
        try:
            known = manifest.read(package, file_name or manifest.FILE_NAME, item.root or None, item)
        except ManifestError as error:
            known = error
        installed.manifests[item] = known
    if isinstance(known, LossregError):
        raise known
    return known


def _from_entry_point(item: Declared) -> Entry | Failure:
    target = item.value.partition("[")[0].replace(" ", "")
    source = {"provider": _provider(item), "distribution": item.distribution, "version": item.version}
    try:
        _check_provider(item)
        return declare(item.name, check_target(target), None, (), {}, **source)
    except LossregError as error:
        return Failure(f"{item.distribution}: entry point {item.name!r}", item.distribution, error)


def _provider(item: Declared) -> str:
    """Return the provider: the name of a manifest's entry point, or the distribution of a loss's entry point."""
    return item.distribution.removeprefix("lossreg-") if item.group == LOSSES_GROUP else item.name


def _check_provider(item: Declared) -> None:
    """Refuse a name that cannot be typed, and those of others, which build(config, providers=...) trusts."""
    name = _provider(item)
    remedy = "rename the entry point"
    if item.group == LOSSES_GROUP:  # named by the distribution
        remedy = f"declare a manifest in the group {MANIFESTS_GROUP}, whose entry point names the provider"
    check_provider(name, remedy)
    owner = owner_of(name)
    if owner not in (None, item.distribution):
        text = f"the provider name {name!r} of {item.distribution} belongs to {owner}; {remedy}"
        raise ConflictError(text, name=name, existing=str(owner), proposed=item.distribution)


def _add(found: dict[str, Entry], entry: Entry) -> Failure | None:
    """Add an entry, or return a failure if its provider/name is taken by another target."""
    first = found.setdefault(entry.full_name, entry)
    if first.target == entry.target:
        return None
    what = "losses" if first.distribution == entry.distribution else "providers"
    error = ConflictError(
        f"{entry.full_name} is declared by {first.distribution} ({first.target}) and by {entry.distribution}"
        f" ({entry.target}); the first is kept. Rename one of the {what}",
        name=entry.full_name,
        existing=first.target,
        proposed=entry.target,
    )
    return Failure(entry.full_name, entry.distribution, error)


def _declared_names(installed: Installed) -> set[str]:
    """Return the names of losses and parts, and the providers with declarations that may be unreadable."""
    entries = [item for section in manifest.SECTIONS for item in _declared(section, installed)]
    names = [names_of(item) for item in entries if isinstance(item, Entry)]
    return set().union(*names) | {_provider(item) for item in installed.declared if isinstance(item, Declared)}
