"""A new distribution with a loss of its own, from the templates beside this file: what `lossreg new-plugin` writes."""

from __future__ import annotations

import keyword
import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from lossreg.discovery.distributions import normalized
from lossreg.discovery.first_party import FIRST_PARTY
from lossreg.errors import InvalidNameError, LossregError
from lossreg.registry.entry import LOCAL

TEMPLATES = Path(__file__).parent / "templates" / "plugin"
SUFFIX = ".jinja"  # keeps ruff, mypy and pytest from taking the templates for files of this project

_DISTRIBUTION = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", re.IGNORECASE | re.ASCII)
# Other folders of the new project, and what its package imports.
_TAKEN = {"tests", "dist", "torch", "pydantic", "pytest"}


class Names(NamedTuple):
    """What a distribution, its package and the provider of its losses are called."""

    distribution: str
    package: str
    provider: str


def create(name: str, directory: Path) -> Path:
    """Write a distribution into a new folder of `directory`; returns the folder, which is named like it.

    All or nothing: it is written aside and moved there once it is complete.

    Raises:
        InvalidNameError: `name` cannot be one of a distribution, of its package or of a provider.
        LossregError: the folder holds something, or cannot be written.
    """
    names = names_of(name)
    folder = directory / names.distribution
    try:
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise LossregError(
                f"{folder} exists, and only a folder that is empty or not there yet is written to; choose another name"
                " or directory, or move it away",
                folder=folder,
            )
        with tempfile.TemporaryDirectory(prefix=".new-plugin-", dir=directory) as aside:
            complete = Path(aside) / names.distribution
            _write(names, complete)
            complete.replace(folder)
    except OSError as error:
        raise LossregError(
            f"{folder} cannot be written: {error.strerror}; name a directory that exists and that you may write to",
            folder=folder,
        ) from error
    return folder


def names_of(name: str) -> Names:
    """The names that follow from one of a distribution: "Acme.Losses" is acme-losses, with a package acme_losses.

    Raises:
        InvalidNameError: one of them is malformed or taken.
    """
    if not _DISTRIBUTION.fullmatch(name):
        raise InvalidNameError(
            f"a distribution's name has letters, digits, '-', '_' and '.', the first and the last of them a letter or"
            f" digit, got {name!r:.80}; for example acme-losses",
            name=name,
        )
    distribution = normalized(name)
    package, provider = distribution.replace("-", "_"), distribution.removeprefix("lossreg-")
    if owner := {**FIRST_PARTY, LOCAL: "what is registered in code"}.get(provider):
        raise InvalidNameError(
            f"{name!r} makes the provider {provider!r}, which belongs to {owner}; every name is allowed but"
            f" {', '.join([*FIRST_PARTY, LOCAL])}, with and without 'lossreg-' before it; for example acme-losses",
            name=name,
        )
    if reason := _unfit(package):
        raise InvalidNameError(
            f"{name!r} makes the package {package!r}, which {reason}; a package's name begins with a letter and is"
            " taken by nothing else; for example acme-losses",
            name=name,
        )
    return Names(distribution, package, provider)


def _unfit(package: str) -> str:
    """Why no package can have this name; empty where one can."""
    if keyword.iskeyword(package):
        return "is a keyword of Python"
    if not package.isidentifier():
        return "cannot be imported"
    if package in sys.stdlib_module_names:
        return "is a module of Python's standard library"
    return "is another folder of the project, or a package that it imports" if package in _TAKEN else ""


def _write(names: Names, folder: Path) -> None:
    """Render every template. The folder `package` of the templates gets the package's name."""
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
