"""Import of targets: the class of an entry, its check, and the errors of both."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any

from lossreg.errors import DisabledError, MissingLibraryError, ProviderError, WrongBaseClassError
from lossreg.registry.entry import Entry, target_of


def lazy(
    package: str, names: Mapping[str, str], prepare: Callable[[], None] = lambda: None
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make `__getattr__` and `__dir__` of a package whose names are imported on first use (PEP 562).

    Args:
        package: its `__name__`.
        names: the module of each name; the name of a submodule has that submodule.
        prepare: called before each import, such as a check that an extra is installed.
    """

    def __getattr__(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        prepare()
        module = importlib.import_module(names[name])
        value = module if names[name] == f"{package}.{name}" else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names})

    return __getattr__, __dir__


def import_target(target: str) -> Any:
    """Import "module:qualname". This runs the provider's code, which can raise anything."""
    module_name, _, qualname = target.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def find_imported(target: str) -> object:
    """Return the object of "module:qualname" if its module is imported already and has it; else None.

    A module's `__getattr__` is not called: most of them import another module.
    """
    module_name, _, qualname = target.partition(":")
    found: Any = sys.modules.get(module_name)
    for part in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found


def is_importing(module: str) -> bool:
    """Return whether a module is being imported at this moment."""
    return bool(getattr(getattr(sys.modules.get(module), "__spec__", None), "_initializing", False))


def load(entry: Entry, check: Callable[[object], None]) -> type:
    """Import the class of an entry and check it.

    Raises:
        DisabledError: the entry is disabled.
        MissingLibraryError: the library that contains the class is not installed.
        ProviderError: the import raised another exception, which is chained.
        WrongBaseClassError: raised by `check`.
    """
    if entry.disabled_reason:
        raise DisabledError(entry.disabled_reason, name=entry.name, reason=entry.reason)
    try:
        cls = import_target(entry.target)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except ModuleNotFoundError as cause:
        if entry.requires is None or cause.name != entry.requires.package:
            raise _broken(entry, cause) from cause
        raise MissingLibraryError(
            f"{entry.full_name} needs {entry.requires.distribution}, which is not installed; {entry.requires.install}",
            name=entry.name,
            distribution=entry.requires.distribution,
        ) from cause
    except BaseException as cause:  # SystemExit too: a module may call sys.exit() when a dependency is missing
        raise _broken(entry, cause) from cause
    check(cls)
    if entry.requires is not None:
        entry.requires.warn_outside(entry.provider)
    return cls  # type: ignore[no-any-return]


def _broken(entry: Entry, cause: BaseException) -> ProviderError:
    outside = entry.requires.outside() if entry.requires is not None else None
    hint = f"; {outside}; {entry.requires.install}" if entry.requires is not None and outside else ""
    return ProviderError(
        f"{entry.full_name} is installed but broken: importing {entry.origin} raised"
        f" {type(cause).__name__}: {cause}{hint}",
        name=entry.name,
        target=entry.target,
        distribution=entry.distribution,
    )


def check_base(cls: object, base: type | str, name: str, registry: str) -> None:
    """Check that a class is derived from `base`, which as "module:qualname" may not have been imported yet."""
    if isinstance(base, str):
        # No class can be derived from one that was never imported.
        imported = base.partition(":")[0] in sys.modules
        base_class = import_target(base) if imported else None
    else:
        base_class = base
    if base_class is not None and isinstance(cls, type) and issubclass(cls, base_class):
        return
    shown = (base if isinstance(base, str) else target_of(base)).replace(":", ".")
    is_function = isinstance(cls, (FunctionType, BuiltinFunctionType))
    hint = f"; write a class derived from {shown} that calls the function" if is_function else ""
    raise WrongBaseClassError(
        f"{name!r} cannot be registered in {registry}: expected a class derived from {shown}, got {cls!r:.200}{hint}",
        name=name,
        target=cls,
    )
