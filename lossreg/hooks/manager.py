"""Manager of the hooks: loads the modules of implementations, and calls them.

A distribution declares a module of implementations. The first validation, build or unknown name imports it; listing
does not:

    [project.entry-points."lossreg.hooks"]
    acme-losses = "acme_losses.hooks"

A module that cannot be imported is left out, with one warning.
"""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pluggy

from lossreg.discovery.distributions import HOOKS_GROUP, MANIFESTS_GROUP, Declared, declared
from lossreg.discovery.environment import DISABLE, ONLY, is_strict, names_in
from lossreg.discovery.first_party import owner_of
from lossreg.errors import ConflictError, LossregError, ProviderError
from lossreg.hooks import builtin, specs
from lossreg.hooks.guard import WrongResultError, guard
from lossreg.hooks.specs import NOTIFICATIONS, PROJECT
from lossreg.messages import warn, with_type
from lossreg.registry.entry import Failure
from lossreg.registry.registry import Registry

_NAME = re.compile(r"\w[\w.\-]*")  # as of providers


class Hooks:
    """The installed implementations, and lossreg's own, which are called last.

    Each implementation is called once. If one raises, the error names its plugin; a notification goes on without it.
    """

    def __init__(self) -> None:
        self.manager = _Manager(self._blame)
        self.manager.add_hookspecs(specs)
        self.manager.register(builtin, PROJECT)
        self.failures: tuple[Failure, ...] = ()
        self._distributions: dict[str, str] = {PROJECT: PROJECT}  # by plugin
        self._lock = threading.Lock()

    def load(self, registry: Registry[Any]) -> None:
        """Import the installed modules that are not loaded yet, one by one. Those that failed are tried again."""
        for item in _declared():
            if self._distributions.get(item.name) == item.distribution:
                continue
            source = f"hooks {item.name}", item.distribution
            self.failures = tuple(known for known in self.failures if known[:2] != source)
            try:
                self._add(item, registry)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001 - SystemExit too, as for losses
                self._report(item.name, item.distribution, error)

    def _add(self, item: Declared, registry: Registry[Any]) -> None:
        self._claim(item)
        try:
            module = importlib.import_module(item.value.partition(":")[0])
            if self.manager.is_registered(module):
                raise _conflict(item, f"the hooks of {item.value} are loaded under another name")
            self.manager.register(module, item.name)
            self.manager.check_pending()  # raises for a hook that does not exist
            others = [plugin for plugin in self.manager.get_plugins() if plugin is not module]
            self.manager.subset_hook_caller("lossreg_register", others)(registry=registry)
        except BaseException:  # Ctrl-C too: the next call loads them again
            if self.manager.has_plugin(item.name):
                self.manager.unregister(name=item.name)
            del self._distributions[item.name]
            raise

    def _claim(self, item: Declared) -> None:
        """Keep a name for a distribution: LOSSREG_DISABLE and LOSSREG_ONLY mean its hooks by it."""
        if not _NAME.fullmatch(item.name):
            raise _conflict(item, "a name of hooks has letters, digits, '_', '-' or '.'")
        owner = _owner(item.name) or item.distribution
        if owner == item.distribution:
            with self._lock:
                owner = self._distributions.setdefault(item.name, item.distribution)
        if owner != item.distribution:
            raise _conflict(item, f"the name {item.name!r} belongs to {owner}")

    def call(self, hook: str, **arguments: Any) -> Any:
        """Call a hook.

        Raises:
            ProviderError: an installed implementation raised an exception, which is chained.
            LossregError: raised by an implementation as its answer.
        """
        return getattr(self.manager.hook, hook)(**arguments)

    def _blame(self, hook: str, implementation: pluggy.HookImpl, error: Exception) -> None:
        """Raise the error of a call, or leave an implementation of a notification out."""
        name = implementation.plugin_name
        if hook in NOTIFICATIONS:
            with self._lock:
                is_first = self.manager.is_registered(implementation.plugin)
                if is_first:
                    self.manager.unregister(implementation.plugin)
            if is_first:
                self._report(name, self._distributions.get(name), error)
            return
        if isinstance(error, LossregError):
            raise error
        package = self._distributions.get(name)
        source = f" of {package}" if package else ""
        disable = (
            f"LOSSREG_DISABLE={name}" if package else f"lossreg.authoring.hooks().manager.unregister(name={name!r})"
        )
        raise ProviderError(
            f"{hook} of the hooks {name!r}{source} {_reason(error)}; {disable} disables them",
            name=name,
            target=HOOKS_GROUP,
            distribution=package,
        ) from error

    def _report(self, name: str, distribution: str | None, error: BaseException) -> None:
        message = f"the hooks {name!r} are broken and left out: {_reason(error).removeprefix('raised ')}"
        failure = ProviderError(message, name=name, target=HOOKS_GROUP, distribution=distribution)
        failure.__cause__ = error
        if is_strict():
            raise failure from error
        self.failures += (Failure(f"hooks {name}", distribution, failure),)
        warn(f"{message}; `lossreg doctor` shows more")


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, WrongResultError) else f"raised {with_type(error)}"


class _Manager(pluggy.PluginManager):
    """A plugin manager that guards every implementation but lossreg's own, whose exceptions are those of losses."""

    def __init__(self, blame: Callable[[str, pluggy.HookImpl, Exception], None]) -> None:
        super().__init__(PROJECT)
        self._blame = blame

    def register(self, plugin: object, name: str | None = None) -> str | None:
        registered = super().register(plugin, name)
        if plugin is not builtin:
            for caller in self.get_hookcallers(plugin) or ():
                for implementation in caller.get_hookimpls():
                    if implementation.plugin is plugin:
                        guard(caller.name, implementation, partial(self._blame, caller.name))
        return registered


_complete: Hooks | None = None
_this_thread = threading.local()


def ready(registry: Registry[Any]) -> Hooks:
    """Return the manager with all modules loaded. While a module is loaded, it gets lossreg's own hooks.

    No lock is held while importing: of several threads, the first to finish publishes.
    """
    global _complete
    if _complete is not None:
        return _complete
    hooks = Hooks()
    if getattr(_this_thread, "is_loading", False):
        return hooks
    _this_thread.is_loading = True
    try:
        hooks.load(registry)
    finally:
        _this_thread.is_loading = False
    if _complete is None:
        _complete = hooks
    return _complete


def refresh(registry: Registry[Any]) -> None:
    """Load the modules that were installed or mended since the hooks were loaded; keep the others as they are."""
    if _complete is not None:  # else the first use loads all
        _complete.load(registry)


def _declared() -> Iterator[Declared]:
    """Yield the modules of hooks, except those that the environment disables."""
    only, disabled = names_in(ONLY), names_in(DISABLE)
    for item in declared():
        if isinstance(item, Declared) and item.group == HOOKS_GROUP:
            is_allowed = not only or item.name in only
            if is_allowed and item.name not in disabled:
                yield item


def _owner(name: str) -> str | None:
    """Return the distribution whose losses are of a provider of this name."""
    if (owner := owner_of(name)) is not None:
        return owner
    manifests = (item for item in declared() if isinstance(item, Declared) and item.group == MANIFESTS_GROUP)
    return next((item.distribution for item in manifests if item.name == name), None)


def _conflict(item: Declared, reason: str) -> ConflictError:
    return ConflictError(
        f"{reason}; rename the entry point {item.name!r:.80} of {item.distribution}",
        name=item.name,
        existing=item.name,
        proposed=item.value,
    )
