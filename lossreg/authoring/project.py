"""Project of a package: the folder with its pyproject.toml, setup.cfg or setup.py, and the facts that these state."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Mapping
from configparser import ConfigParser, Error
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from lossreg.errors import ManifestError

PYPROJECT, SETUP_CFG, SETUP_PY = FILES = ("pyproject.toml", "setup.cfg", "setup.py")
INSTALLED = ("site-packages", "dist-packages")
EXCLUDE = "tool.lossreg.manifest.exclude"


class Project(NamedTuple):
    """The files of a project: pyproject.toml, setup.cfg and the literal arguments of `setup` in setup.py."""

    folder: Path
    pyproject: Mapping[str, Any]
    setup_cfg: Mapping[str, Mapping[str, str]]
    setup_py: Mapping[str, Any]

    def at(self, place: str, default: Any = None) -> Any:
        """Return a value of pyproject.toml, such as that at "project.name"."""
        return in_table(self.pyproject, place.split("."), default)

    @property
    def backend(self) -> str:
        """Return the package that builds the wheel. Without [build-system] it is setuptools."""
        named = self.at("build-system.build-backend")
        return named.partition(".")[0].partition(":")[0] if isinstance(named, str) else "setuptools"

    @property
    def name(self) -> str:
        """Return the name of the distribution; empty if no file states it."""
        places = ("project.name", "tool.poetry.name", "tool.flit.metadata.dist-name", "tool.flit.metadata.module")
        found = [self.at(place) for place in places]
        found += [in_table(self.setup_cfg, ("metadata", "name")), self.setup_py.get("name")]
        return next((name for name in found if name and isinstance(name, str)), "")

    def text(self, name: str) -> str:
        """Return the text of another file of the folder; empty if there is none."""
        return _text(self.folder / name)

    def excluded(self) -> list[str] | None:
        """Return the modules that the manifest leaves out; None if the table does not name any.

        Raises:
            ManifestError: it is no list of text.
        """
        found = self.at(EXCLUDE)
        if found is not None and not (isinstance(found, list) and all(isinstance(name, str) for name in found)):
            raise ManifestError(
                f"{self.folder / PYPROJECT}: {EXCLUDE} is a list of modules, got {found!r:.80}; write it as"
                ' exclude = ["acme.tests*"]',
                source=str(self.folder),
            )
        return found


def in_table(table: Any, keys: tuple[str, ...] | list[str], default: Any = None) -> Any:
    """Return the value at a path of keys, or the default where a key is missing."""
    found = reduce(lambda part, key: part.get(key) if isinstance(part, Mapping) else None, keys, table)
    return default if found is None else found


def project_of(folder: Path) -> Project | None:
    """Return the project that a package's folder is in; None for an installed copy, and where no file is found.

    Raises:
        ManifestError: one of its files cannot be read.
    """
    for place in (folder, *folder.parents):
        if place.name in INSTALLED:
            return None
        if any((place / name).is_file() for name in FILES):
            return Project(place, _pyproject(place), _setup_cfg(place), _setup_py(place))
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ManifestError:
    return ManifestError(f"{path} cannot be read: {error}; mend it, as it may exclude modules", source=str(path))


def _pyproject(folder: Path) -> dict[str, Any]:
    path = folder / PYPROJECT
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise _unreadable(path, error) from error


def _setup_cfg(folder: Path) -> Mapping[str, Mapping[str, str]]:
    path, parser = folder / SETUP_CFG, ConfigParser(interpolation=None)
    try:
        parser.read_string(_text(path))
    except Error as error:
        raise _unreadable(path, error) from error
    return {name: dict(section) for name, section in parser.items()}


def _setup_py(folder: Path) -> dict[str, Any]:
    """Return the arguments of `setup(...)` that are literals. The file is not run."""
    try:
        tree = ast.parse(_text(folder / SETUP_PY))
    except (SyntaxError, ValueError):
        return {}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setup")]
    found = {}
    for keyword in (keyword for call in calls for keyword in call.keywords if keyword.arg):
        try:
            found[keyword.arg] = ast.literal_eval(keyword.value)
        except ValueError:  # computed when it runs
            continue
    return {str(key): value for key, value in found.items()}
