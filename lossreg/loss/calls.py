"""The call of a loss: the names of its inputs and options, and errors for a call that does not fit them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from torch import nn

from lossreg.errors import InputError

# The meaning of an option that has a value for each pixel, by which losses made of losses carry it along: a weight, the
# number of an object or class, a mask whose thin lines must stay, a distance in pixels.
PerPixel = Literal["weight", "labels", "mask", "distance"]


class Signature(NamedTuple):
    """The names that a call of a loss may have.

    inputs: by position; required: the number of those that every call needs; options: further names, by which a value
    may be given or left out; open_inputs and open_options: the call may have any others, too.
    """

    inputs: tuple[str, ...] = ()
    required: int = 0
    options: frozenset[str] = frozenset()
    open_inputs: bool = False
    open_options: bool = False

    def shown(self, options: Iterable[str] = ()) -> str:
        """Return the call as a user writes it, with these options."""
        return f"loss({', '.join([*self.inputs[: self.required], *(f'{name}=...' for name in sorted(options))])})"


ANY = Signature(open_inputs=True, open_options=True)


def signature_of(method: Callable[..., Any], skipped: int = 1) -> Signature:
    """Return the names of a method's call without its first parameters, self and others that no caller gives."""
    declared = [*inspect.signature(method).parameters.values()][skipped:]
    by_place = [p for p in declared if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    optional = [p for p in declared if p.default is not p.empty or p.kind is p.KEYWORD_ONLY]
    return Signature(
        tuple(p.name for p in by_place),
        sum(p.default is p.empty for p in by_place),
        frozenset(p.name for p in optional),
        any(p.kind is p.VAR_POSITIONAL for p in declared),
        any(p.kind is p.VAR_KEYWORD for p in declared),
    )


def joined(signatures: Sequence[Signature]) -> Signature:
    """Return the call of a loss that hands its inputs on to losses of these calls, each what it takes."""
    most = max(signatures, key=lambda each: each.required, default=ANY)
    names = most.inputs[: most.required]
    while len(further := {each.inputs[len(names)] for each in signatures if len(each.inputs) > len(names)}) == 1:
        names += tuple(further)  # under several names, such as weight and distance, a value must come by its name
    options = frozenset().union(*(each.options for each in signatures)) - set(most.inputs[: most.required])
    return Signature(names, most.required, options, any(each.open_inputs for each in signatures))


def check_call(loss: nn.Module, name: str, takes: Signature, inputs: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Raise InputError for a call that lacks an input, has one too many, or an option that the loss has not."""
    count = len(inputs)
    if count > len(takes.inputs) and not takes.open_inputs:
        raise InputError(
            f"{name} takes {_list(takes.inputs)}, got {count} inputs; call it as {takes.shown(takes.options)}"
        )
    by_place = takes.inputs[:count]
    if twice := [each for each in by_place if each in options]:
        raise InputError(f"{name} got {_list(twice)} twice, by position and by name; give each input once")
    unknown = set(options) - set(takes.inputs) - takes.options
    if unknown and not takes.open_options:
        raise InputError(f"{name} has no option {_list(f'{x}=' for x in sorted(unknown))}{_fix(loss, unknown, takes)}")
    if missing := [each for each in takes.inputs[count : takes.required] if each not in options]:
        raise InputError(f"{name} needs {_list(missing)}; call it as {takes.shown()}")


def with_a_meaning(loss: nn.Module, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options without those that are None and have no meaning for a loss, such as weight=None."""
    if all(value is not None for value in options.values()):
        return options
    without = {name for part in loss.modules() for name in getattr(part, "meaningless", ())}
    return {name: value for name, value in options.items() if value is not None or name not in without}


def _fix(loss: nn.Module, unknown: Iterable[str], takes: Signature) -> str:
    """Return what to do about options that a loss has not."""
    reasons = getattr(loss, "meaningless", {})
    if why := [f"{each}= has no meaning there, because {reasons[each]}" for each in sorted(unknown) if each in reasons]:
        return "; ".join(["", *why])
    built = [each for each in sorted(unknown) if each in vars(loss) or each in loss._buffers]
    if built:
        return f", which is a parameter: set {_list(built)} where the loss is built, in the params of its config"
    return f"; its options: {_list(sorted(takes.options)) or 'none'}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
