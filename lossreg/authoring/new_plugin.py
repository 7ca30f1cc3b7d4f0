"""Writer of `lossreg new-plugin`: a new distribution with one loss, from the templates beside this file."""

from __future__ import annotations

import keyword
import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from lossreg.discovery.distributions import normalized
from lossreg.discovery.first_party import FIRST_PARTY, owner_of
from lossreg.errors import InvalidNameError, LossregError
from lossreg.registry.entry import LOCAL

TEMPLATES = Path(__file__).parent / "templates" / "plugin"
SUFFIX = ".jinja"  # so that ruff, mypy and pytest ignore the templates

_DISTRIBUTION = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", re.IGNORECASE | re.ASCII)
# Other folders of the new project, and packages that it imports.
_TAKEN = {"tests", "dist", "torch", "pydantic", "pytest"}


class Names(NamedTuple):
    """Names of a distribution, of its package and of the provider of its losses."""

    distribution: str
    package: str
    provider: str


def create(name: str, directory: Path) -> Path:
    """Write a distribution into a new folder of `directory`, named like it, and return the folder.

    All or nothing: the files are written to a temporary folder, which is renamed when it is complete.

    Raises:
        InvalidNameError: no distribution, package or provider may have the name.
        LossregError: the folder is not empty, or cannot be written.
    """
    names = names_of(name)
    folder = directory / names.distribution
    try:
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise LossregError(
                f"{folder} exists and is not an empty folder; choose another name or directory, or move it away",
                folder=folder,
            )
        with tempfile.TemporaryDirectory(prefix=".new-plugin-", dir=directory) as temporary:
            complete = Path(temporary) / names.distribution
            _write(names, complete)
            complete.replace(folder)
    except OSError as error:
        raise LossregError(
            f"{folder} cannot be written: {error.strerror}; choose a directory that exists and is writable",
            folder=folder,
        ) from error
    return folder


def names_of(name: str) -> Names:
    """Derive the names from that of a distribution: "Acme.Losses" is acme-losses, with the package acme_losses.

    Raises:
        InvalidNameError: a name is malformed or taken.
    """
    if not _DISTRIBUTION.fullmatch(name):
        raise InvalidNameError(
            f"the name of a distribution consists of letters, digits, '-', '_' and '.', and begins and ends with a"
            f" letter or digit, got {name!r:.80}; for example acme-losses",
            name=name,
        )
    distribution = normalized(name)
    package, provider = distribution.replace("-", "_"), distribution.removeprefix("lossreg-")
    if owner := owner_of(provider):
        raise InvalidNameError(
            f"{name!r} gives the provider {provider!r}, which belongs to {owner}; names that are taken, with and"
            f" without 'lossreg-' before them: {', '.join([*FIRST_PARTY, LOCAL])}; for example acme-losses is free",
            name=name,
        )
    if reason := _unfit(package):
        raise InvalidNameError(
            f"{name!r} gives the package {package!r}, which {reason}; a package needs a free name that begins with a"
            " letter; for example acme-losses",
            name=name,
        )
    return Names(distribution, package, provider)


def _unfit(package: str) -> str:
    """Return the reason why no package can have this name; empty if it can."""
    if keyword.iskeyword(package):
        return "is a keyword of Python"
    if not package.isidentifier():
        return "cannot be imported"
    if package in sys.stdlib_module_names:
        return "is a module of Python's standard library"
    return "is another folder of the project, or a package that it imports" if package in _TAKEN else ""


def _write(names: Names, folder: Path) -> None:
    """Render every template. The folder `package` of the templates is renamed to the package."""
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    templates = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    for template in loader.list_templates():
        top, *rest = template.removesuffix(SUFFIX).split("/")
        path = folder.joinpath(names.package if top == "package" else top, *rest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(templates.get_template(template).render(names._asdict()), encoding="utf-8", newline="\n")
