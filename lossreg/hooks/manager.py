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
from typing import TYPE_CHECKING, Any

import pluggy

from lossreg.discovery.distributions import HOOKS_GROUP, Declared, declared
from lossreg.discovery.environment import DISABLE, ONLY, is_strict, names_in
from lossreg.errors import ConflictError, LossregError, ProviderError
from lossreg.hooks import builtin
from lossreg.registry.entry import Entry, Failure

if TYPE_CHECKING:
    import typer
    from torch import nn

    from lossreg.health.event import HealthEvent
    from lossreg.registry.registry import Registry

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


@_spec
def lossreg_health_event(event: HealthEvent) -> None:
    """Take note of what a LossMonitor found in a training: send it on, count it."""


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
            added: list[object] = []
            try:
                self._add(item, registry, added)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001 - SystemExit too, as for losses
                for plugin in filter(self.manager.is_registered, added):
                    self.manager.unregister(plugin)
                self._report(item.name, item.distribution, error)

    def _add(self, item: Declared, registry: Registry[Any], added: list[object]) -> None:
        module = importlib.import_module(item.value.partition(":")[0])
        if self.manager.has_plugin(item.name) or self.manager.is_registered(module):
            raise ConflictError(
                f"hooks called {item.name!r} or of {item.value} are there already; rename the entry point",
                name=item.name,
                existing=item.name,
                proposed=item.value,
            )
        added.append(module)
        self.manager.register(module, item.name)
        self.manager.check_pending()  # a hook that does not exist
        others = [plugin for plugin in self.manager.get_plugins() if plugin is not module]
        self.manager.subset_hook_caller("lossreg_register", others)(registry=registry)

    def call(self, hook: str, **arguments: Any) -> Any:
        """Call a hook; an implementation that raises is left out and the call made again.

        A LossregError is an answer and not a failure, as is whatever lossreg's own implementation raises.
        """
        while True:
            caller = getattr(self.manager.hook, hook)
            implementations = caller.get_hookimpls()
            several = len(implementations) > 1
            given = {key: _copied(value) for key, value in arguments.items()} if several else arguments
            try:
                found = caller(**given)
            except LossregError:
                raise
            except Exception as error:
                culprit = _culprit(implementations, error)
                if culprit is None:
                    raise
                if self.manager.is_registered(culprit.plugin):  # another thread may have been first
                    self.manager.unregister(culprit.plugin)
                    self._report(culprit.plugin_name, None, error)
                continue
            if several and "config" in arguments:  # it is changed in place
                arguments["config"].clear()
                arguments["config"].update(given["config"])
            return found

    def _report(self, name: str, distribution: str | None, error: BaseException) -> None:
        message = f"the hooks {name!r} are broken and left out: {type(error).__name__}: {error}"
        failure = ProviderError(message, name=name, target=HOOKS_GROUP, distribution=distribution)
        failure.__cause__ = error
        if is_strict():
            raise failure from error
        self.failures += (Failure(f"hooks {name}", distribution, failure),)
        warnings.warn(f"{message}; `lossreg doctor` tells more", stacklevel=2)


def _culprit(implementations: list[pluggy.HookImpl], error: Exception) -> pluggy.HookImpl | None:
    """The installed implementation that raised: the innermost one in the traceback."""
    codes = {implementation.function.__code__: implementation for implementation in implementations}
    innermost, traceback = None, error.__traceback__
    while traceback is not None:
        innermost = codes.get(traceback.tb_frame.f_code, innermost)
        traceback = traceback.tb_next
    return innermost if innermost is not None and innermost.plugin is not builtin else None


def _copied(value: Any) -> Any:
    """Plain data anew, whatever else is in it as it is: a hook that fails leaves nothing changed."""
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if type(value) is list else value


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
