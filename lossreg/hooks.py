"""Hooks: what a package may do that data cannot say. Their specifications, and the manager that calls them.

A distribution declares a module of implementations. It is imported by the first validation or unknown name, never to
list:

    [project.entry-points."lossreg.hooks"]
    acme = "acme_losses.hooks"

One that is broken is left out, with a warning, and the call goes on without it.
"""

from __future__ import annotations

import importlib
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pluggy

from lossreg import builtin
from lossreg.entry import Entry, Failure
from lossreg.errors import LossregError, ProviderError
from lossreg.installed import HOOKS_GROUP, Declared, declared
from lossreg.switches import DISABLE, ONLY, is_strict, names_in

if TYPE_CHECKING:
    import typer
    from torch import nn

    from lossreg.registry import Registry

PROJECT = "lossreg"

_spec = pluggy.HookspecMarker(PROJECT)


@_spec
def lossreg_register(registry: Registry[Any]) -> None:
    """Add entries in code. Called once, when the module of hooks is loaded."""


@_spec
def lossreg_transform_config(config: dict[str, Any], entry: Entry | None) -> None:
    """Change one loss's config in place before it is checked: rename or migrate parameters.

    Args:
        config: {name, params} as it was given, without its nested losses' turns, which come later.
        entry: what the name leads to; None where it is unknown or missing.
    """


@_spec(firstresult=True)
def lossreg_build(entry: Entry, params: dict[str, Any]) -> nn.Module | None:
    """Make the module of a loaded entry. The first that returns one wins; a wrapper may change what it returns."""


@_spec(firstresult=True)
def lossreg_resolve_missing(name: str) -> Entry | str | None:
    """Last chance for an unknown name: an entry, or a hint for the error."""


@_spec
def lossreg_cli(app: typer.Typer) -> None:
    """Add commands to the command line. Called for `--help`, and for a command that is not lossreg's own."""


class Hooks:
    """The implementations that are installed, lossreg's own first of all. Complete once it is made."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(importlib.import_module(__name__))
        self.manager.register(builtin, PROJECT)
        self.failures: tuple[Failure, ...] = ()

    def load(self, registry: Registry[Any]) -> None:
        """Import what is installed, one by one."""
        for item in _declared():
            try:
                self._add(item, registry)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001 - SystemExit too, as for losses
                self._leave_out(item.name, item.distribution, error)

    def _add(self, item: Declared, registry: Registry[Any]) -> None:
        module = importlib.import_module(item.value.partition(":")[0])
        self.manager.register(module, item.name)
        self.manager.check_pending()  # a hook that does not exist
        others = [plugin for plugin in self.manager.get_plugins() if plugin is not module]
        self.manager.subset_hook_caller("lossreg_register", others)(registry=registry)

    def call(self, hook: str, **arguments: Any) -> Any:
        """Call a hook; an implementation that raises is left out and the call made again.

        A LossregError is an answer and not a failure, as is whatever lossreg's own implementation raises.
        """
        several = len(getattr(self.manager.hook, hook).get_hookimpls()) > 1
        before = deepcopy(arguments["config"]) if several and "config" in arguments else None
        while True:
            try:
                return getattr(self.manager.hook, hook)(**arguments)
            except LossregError:
                raise
            except Exception as error:
                culprit = self._culprit(hook, error)
                if culprit is None:
                    raise
                self._leave_out(culprit, None, error)
                if before is not None:
                    arguments["config"].clear()
                    arguments["config"].update(deepcopy(before))

    def _culprit(self, hook: str, error: Exception) -> str | None:
        """The installed plugin whose implementation raised: the innermost one in the traceback."""
        codes = {impl.function.__code__: impl.plugin_name for impl in getattr(self.manager.hook, hook).get_hookimpls()}
        innermost, traceback = PROJECT, error.__traceback__
        while traceback is not None:
            innermost = codes.get(traceback.tb_frame.f_code, innermost)
            traceback = traceback.tb_next
        return None if innermost == PROJECT else innermost

    def _leave_out(self, name: str, distribution: str | None, error: BaseException) -> None:
        with suppress(ValueError, AssertionError):  # it may not have come as far as being registered
            self.manager.unregister(name=name)
        message = f"the hooks {name!r} are broken and left out: {type(error).__name__}: {error}"
        failure = ProviderError(message, name=name, target=HOOKS_GROUP, distribution=distribution)
        failure.__cause__ = error
        if is_strict():
            raise failure from error
        self.failures += (Failure(f"hooks {name}", distribution, failure),)
        warnings.warn(f"{message}; `lossreg doctor` tells more", stacklevel=2)


_complete: Hooks | None = None
_thread = threading.local()


def ready(registry: Registry[Any]) -> Hooks:
    """The manager, with everything loaded. A module of hooks that asks for it while it is imported gets lossreg's own.

    No lock is held while importing: of several threads the first to finish publishes.
    """
    global _complete
    if _complete is not None:
        return _complete
    hooks = Hooks()
    if getattr(_thread, "loading", False):
        return hooks
    _thread.loading = True
    try:
        hooks.load(registry)
    finally:
        _thread.loading = False
    if _complete is None:
        _complete = hooks
    return _complete


def _declared() -> Iterator[Declared]:
    """Modules of hooks, but for those that the environment switches off."""
    only, disabled = names_in(ONLY), names_in(DISABLE)
    for item in declared():
        if isinstance(item, Declared) and item.group == HOOKS_GROUP:
            allowed = not only or item.name in only
            if allowed and item.name not in disabled:
                yield item
