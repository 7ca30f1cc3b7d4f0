"""Guards of hook implementations: an exception or a wrong result is attributed to the plugin that it comes from."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any

import pluggy

from lossreg.errors import InvalidNameError
from lossreg.messages import shown
from lossreg.registry.entry import Entry, checked
from lossreg.registry.importing import import_target

SINGLE = ("lossreg_build", "lossreg_resolve_missing")  # the first result counts

# Called with an implementation and its exception. Raises the error of the call, or returns to go on without a result.
Blame = Callable[[pluggy.HookImpl, Exception], None]


class WrongResultError(Exception):
    """A hook returned a value that cannot be its result. The message names the cure."""


def guard(hook: str, implementation: pluggy.HookImpl, blame: Blame) -> None:
    """Replace the function of an implementation by one that passes its exceptions to `blame`."""
    is_wrapper = implementation.wrapper or implementation.hookwrapper
    made = (_wrapper if is_wrapper else _plain)(hook, implementation, implementation.function, blame)
    implementation.function = made  # type: ignore[misc]


def _plain(
    hook: str, implementation: pluggy.HookImpl, function: Callable[..., Any], blame: Blame
) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            result = function(*args, **kwargs)
            _check(hook, result)
        except Exception as error:  # noqa: BLE001 - a package may raise anything
            return blame(implementation, error)
        return result

    return call


def _check(hook: str, result: object) -> None:
    """Check the result of an implementation.

    Raises:
        WrongResultError: it is none of this hook.
    """
    if inspect.iscoroutine(result):
        result.close()  # else Python warns that nobody awaited it
        raise WrongResultError("is async, and nothing in it ran; write `def`")
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise WrongResultError("yields, and nothing in it ran; only a wrapper does: @hookimpl(wrapper=True)")
    if result is None:
        return
    if hook == "lossreg_transform_config":
        raise WrongResultError(f"returned {shown(result)}, not used; change config in place and return nothing")
    if hook == "lossreg_build" and not _is_module(result):
        raise WrongResultError(f"returned {shown(result)}; return an nn.Module, or None to leave it to others")
    if hook == "lossreg_resolve_missing" and not isinstance(result, (Entry, str)):
        raise WrongResultError(f"returned {shown(result)}; return an Entry, a hint as text, or None")
    if hook == "lossreg_resolve_missing" and isinstance(result, Entry):
        _check_entry(result)


def _check_entry(result: Entry) -> None:
    try:
        checked(result)
    except (InvalidNameError, TypeError, ValueError) as error:
        raise WrongResultError(f"returned a malformed Entry: {error}") from error


def _is_module(value: object) -> bool:
    return isinstance(value, import_target("torch.nn:Module"))  # imported before, with the class that is built


def _wrapper(
    hook: str, implementation: pluggy.HookImpl, function: Callable[..., Any], blame: Blame
) -> Callable[..., Any]:
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
            returned = stop.value
        except Exception as error:
            if error is inner:  # raised by an implementation inside, and let through
                raise
            blame(implementation, error)
            return result
        try:
            if hook == "lossreg_build" and implementation.wrapper and returned is None and result is not None:
                raise WrongResultError("returned None; a wrapper ends with `return module`, the result of its `yield`")
            if hook in SINGLE and implementation.wrapper:
                _check(hook, returned)
        except WrongResultError as error:
            blame(implementation, error)
        return returned

    return call
