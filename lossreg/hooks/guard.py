"""Guards of hook implementations: an exception is attributed to the plugin that raised it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any

import pluggy

# Called with an implementation and its exception. Raises the error of the call, or returns to go on without a result.
Blame = Callable[[pluggy.HookImpl, Exception], None]


def guard(implementation: pluggy.HookImpl, blame: Blame) -> None:
    """Replace the function of an implementation by one that passes its exceptions to `blame`."""
    is_wrapper = implementation.wrapper or implementation.hookwrapper
    made = (_wrapper if is_wrapper else _plain)(implementation, implementation.function, blame)
    implementation.function = made  # type: ignore[misc]


def _plain(implementation: pluggy.HookImpl, function: Callable[..., Any], blame: Blame) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - a package may raise anything
            return blame(implementation, error)

    return call


def _wrapper(implementation: pluggy.HookImpl, function: Callable[..., Any], blame: Blame) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        wrapper = function(*args, **kwargs)
        try:
            if next(wrapper, wrapper) is wrapper:
                raise RuntimeError("a wrapper must yield once")
        except Exception as error:  # noqa: BLE001
            blame(implementation, error)
        result, inner = None, None
        try:
            result = yield
        except BaseException as error:  # noqa: BLE001 - passed to the wrapper
            inner = error
        try:
            wrapper.send(result) if inner is None else wrapper.throw(inner)
            raise RuntimeError("a wrapper must yield once")
        except StopIteration as stop:
            return stop.value
        except Exception as error:
            if error is inner:  # raised by an implementation inside, and let through
                raise
            blame(implementation, error)
        return result

    return call
