"""Contents of a wheel: what a project must say so that the wheel has the package's manifest.

Most build backends pack every file of a package. setuptools packs modules alone, and others may exclude a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from lossreg.authoring.project import PYPROJECT, SETUP_CFG, SETUP_PY, Project, in_table

# The lists of excluded files, by build backend.
EXCLUDES = {
    "hatchling": (
        "tool.hatch.build.exclude",
        "tool.hatch.build.targets.wheel.exclude",
        "tool.hatch.build.targets.sdist.exclude",
    ),
    "poetry": ("tool.poetry.exclude",),
    "pdm": ("tool.pdm.build.excludes",),
    "uv_build": ("tool.uv.build-backend.wheel-exclude", "tool.uv.build-backend.source-exclude"),
    "flit_core": ("tool.flit.sdist.exclude",),
    "scikit_build_core": ("tool.scikit-build.wheel.exclude", "tool.scikit-build.sdist.exclude"),
}
_KEYS = re.compile(r'"[^"]+"|[^."]+')
IGNORED = ".gitignore"
READ_IGNORED = ("hatchling", "poetry")
# These add to setuptools' files each one that git tracks.
TRACKERS = ("setuptools-scm", "setuptools_scm", "setuptools-git")


class Advice(NamedTuple):
    """Lines for a file of the project. `action`: where they belong, such as "add to"."""

    file: str
    action: str
    lines: tuple[str, ...] = ()


def addition(project: Project | None, file: str, table: str, *lines: str) -> Advice:
    """Return the advice to add lines to a table of pyproject.toml or setup.cfg, with its head if it is new."""
    keys = [key.strip('"') for key in _KEYS.findall(table)]
    data: Any = {} if project is None else project.pyproject if file == PYPROJECT else project.setup_cfg
    known = in_table(data, keys if file == PYPROJECT else [table]) is not None
    return Advice(file, f"add to [{table}] in" if known else "add to", lines if known else (f"[{table}]", *lines))


def missing(project: Project, package: str, path: str) -> Advice | None:
    """Return what to change so that the wheel has a file; None if it has.

    Args:
        package: the top-level package.
        path: the file, from the project's folder on, such as "src/acme/lossreg.json".
    """
    if project.backend == "setuptools":
        return None if _has_package_data(project, package, path) else _package_data(project, package, path)
    found = None
    for place, pattern in _patterns(project):
        if _matches(path, pattern.removeprefix("!")):
            found = None if pattern.startswith("!") else (place, pattern)  # the last that matches decides
    if found is None:
        return None
    place, pattern = found
    if place == IGNORED:
        return Advice(IGNORED, f"{pattern!r} keeps it out; add to", (f"!{path}",))
    return Advice(PYPROJECT, f"{pattern!r} keeps it out; remove it from {place} in")


def _patterns(project: Project) -> Iterator[tuple[str, str]]:
    """Yield each pattern that may keep a file out of the wheel, and its place."""
    if project.backend in READ_IGNORED:
        for line in project.text(IGNORED).splitlines():
            if line.strip() and not line.startswith("#"):
                yield IGNORED, line.strip()
    for place in EXCLUDES.get(project.backend, ()):
        for pattern in _listed(project.at(place)):
            yield place, pattern


def _package_data(project: Project, package: str, path: str) -> Advice:
    name = path.rpartition("/")[2]
    if project.at("project") or project.at("tool.setuptools"):
        key = f'"{package}"' if "." in package else package  # an unquoted key of TOML would be a table in a table
        file, table, line = PYPROJECT, "tool.setuptools.package-data", f'{key} = ["{name}"]'
        own, out = project.at(table, {}), project.at("tool.setuptools.exclude-package-data", {})
    elif project.setup_cfg.get("options"):
        file, table, line = SETUP_CFG, "options.package_data", f"{package} = {name}"
        own, out = (project.setup_cfg.get(each, {}) for each in (table, "options.exclude_package_data"))
    else:
        return Advice(SETUP_PY, "add to the arguments of setup in", (f'package_data={{"{package}": ["{name}"]}},',))
    if _names(out, package, name):
        return Advice(file, f"its exclude-package-data keeps {name} out; remove it there, in")
    if package in own:
        return Advice(file, f'add "{name}" to {package} in [{table}] of')
    return addition(project, file, table, line)


def _has_package_data(project: Project, package: str, path: str) -> bool:
    name = path.rpartition("/")[2]
    by_pyproject = project.at("tool.setuptools", {})
    tables = (
        by_pyproject.get("package-data", {}),
        project.setup_cfg.get("options.package_data", {}),
        project.setup_py.get("package_data", {}),
    )
    without = (
        by_pyproject.get("exclude-package-data", {}),
        project.setup_cfg.get("options.exclude_package_data", {}),
        project.setup_py.get("exclude_package_data", {}),
    )
    if any(_names(table, package, name) for table in without):
        return False
    return any(_names(table, package, name) for table in tables) or (
        _includes_data(project) and _is_in_sdist(project, path)
    )


def _names(table: Any, package: str, name: str) -> bool:
    """Return whether a table of files by package has a pattern for this file."""
    patterns = [pattern for key in (package, "*", "") for pattern in _listed(in_table(table, (key,)))]
    return any(fnmatchcase(name, pattern.removeprefix("**/")) for pattern in patterns)


def _listed(value: Any) -> list[str]:
    """Return the texts of a list, or those of setup.cfg, separated by commas and line breaks."""
    words = value.replace(",", "\n").splitlines() if isinstance(value, str) else value or []
    return [word.strip() for word in words if isinstance(word, str) and word.strip()]


def _includes_data(project: Project) -> bool:
    """Return whether the wheel has the data files of the source distribution."""
    stated = (
        project.at("tool.setuptools.include-package-data"),
        project.setup_py.get("include_package_data"),
        in_table(project.setup_cfg, ("options", "include_package_data")),
    )
    default = bool(project.at("project") or project.at("tool.setuptools"))  # as setuptools has it
    return next((str(value).lower() in ("true", "1", "yes", "on") for value in stated if value is not None), default)


def _is_in_sdist(project: Project, path: str) -> bool:
    requires = " ".join(_listed(project.at("build-system.requires"))).lower()
    included = any(tracker in requires for tracker in TRACKERS)
    for line in project.text("MANIFEST.in").splitlines():
        command, *words = line.partition("#")[0].split() or [""]
        if command in _COMMANDS and words and _COMMANDS[command](path, words):
            included = command in ("include", "recursive-include", "global-include", "graft")
    return included


def _include(path: str, words: list[str]) -> bool:
    folder = path.rpartition("/")[0]
    return any(pattern.rpartition("/")[0] == folder and fnmatchcase(path, pattern) for pattern in words)


def _recursive(path: str, words: list[str]) -> bool:
    return _graft(path, words[:1]) and _anywhere(path, words[1:])


def _anywhere(path: str, words: list[str]) -> bool:
    return any(fnmatchcase(path.rpartition("/")[2], pattern.removeprefix("**/")) for pattern in words)


def _graft(path: str, words: list[str]) -> bool:
    return any(path.startswith(f"{folder.rstrip('/')}/") or folder.rstrip("/") == "." for folder in words)


# The commands of MANIFEST.in. The last that matches a file decides.
_COMMANDS = {
    "include": _include,
    "exclude": _include,
    "recursive-include": _recursive,
    "recursive-exclude": _recursive,
    "global-include": _anywhere,
    "global-exclude": _anywhere,
    "graft": _graft,
    "prune": _graft,
}


def _matches(path: str, pattern: str) -> bool:
    """Return whether a pattern of a build backend, as in .gitignore, names a file or a folder that it is in."""
    parts = path.split("/")
    places = ["/".join(parts[first:last]) for last in range(1, len(parts) + 1) for first in range(last)]
    return any(fnmatchcase(place, pattern.strip("/").removeprefix("**/")) for place in places)
