"""Import of all modules of a package, for manifests: one that fails does not stop the others."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from types import ModuleType

from lossreg.errors import MissingLibraryError
from lossreg.messages import is_installed, one_line, with_type

REINSTALL_TORCH = "reinstall it: pip install --force-reinstall torch"
PASSED_ON = (KeyboardInterrupt, GeneratorExit)  # all else that an import raises is reported, also SystemExit


def import_all(package: str, exclude: Collection[str]) -> dict[str, BaseException]:
    """Import a package and all modules in it, and return the errors of those that cannot be imported."""
    failed: dict[str, BaseException] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a module under its former name warns by design
        _import_tree(package, exclude, failed)
    return failed


def _import_tree(name: str, exclude: Collection[str], failed: dict[str, BaseException]) -> None:
    # pkgutil.walk_packages would end at a subpackage that calls sys.exit, and import the excluded ones.
    try:
        module = importlib.import_module(name)
    except PASSED_ON:
        raise
    except BaseException as error:  # noqa: BLE001 - a module may raise anything, and its error is reported
        failed[name] = error
        return
    for below in _below(name, module):
        if below.rpartition(".")[2] != "__main__" and not is_excluded(below, exclude):
            _import_tree(below, exclude, failed)


def _below(name: str, module: ModuleType) -> Iterator[str]:
    for found in pkgutil.iter_modules(getattr(module, "__path__", None) or []):
        yield f"{name}.{found.name}"


def is_excluded(name: str, patterns: Collection[str]) -> bool:
    """Return whether a pattern names a module or a package that it is in."""
    parts = name.split(".")
    names = [".".join(parts[: length + 1]) for length in range(len(parts))]
    return any(fnmatchcase(each, pattern) for each in names for pattern in patterns)


def lacks_dependency(error: BaseException, package: str) -> bool:
    """Return whether an import failed because another package is not installed."""
    lacking = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    return lacking not in ("", package) and not is_installed(lacking)


def listed(failed: Mapping[str, BaseException]) -> list[str]:
    """Write a line for each module that cannot be imported."""
    return [f"  importing {name} raised {one_line(error)}" for name, error in failed.items()]


def torch_error() -> str:
    """Return the error of importing torch; empty if there is none."""
    try:
        importlib.import_module("torch")
    except PASSED_ON:
        raise
    except BaseException as error:  # noqa: BLE001 - a broken installation raises OSError and others
        return with_type(error)
    return ""


def need_torch(use: str) -> None:
    """Check that torch can be imported. Otherwise no module with losses could, and each would look wrong itself.

    Raises:
        MissingLibraryError: it cannot be imported.
    """
    if error := torch_error():
        raise MissingLibraryError(
            f"{use}: torch cannot be imported: {error}; {REINSTALL_TORCH}", name="torch", distribution="torch"
        )
