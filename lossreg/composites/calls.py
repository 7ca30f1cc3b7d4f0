"""How the call of a loss made of losses becomes the calls of its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from lossreg.errors import InputError
from lossreg.loss import Loss, name_of
from lossreg.loss.calls import PerPixel, Signature, check_call, joined, signature_of, with_a_meaning
from lossreg.loss.wrappers import wrapped

Call = tuple[Sequence[Any], dict[str, Any]]


class PartCalls:
    """The calls of the parts of a loss, each with the inputs and options that it takes.

    An input that a part requires comes by its position, under any name. All others come by their names. So `sam`
    beside `dice` gets predicted_iou, and `dice` does not.

    Args:
        names: of the parts.
        unweighted: one per part, True for those that get no weight per pixel.
    """

    def __init__(self, names: Sequence[str], parts: Sequence[nn.Module], unweighted: Sequence[bool]) -> None:
        self.names = names
        self.maps: dict[str, PerPixel] = {}
        for inner in map(_inner, parts):
            self.maps.update(inner.maps() if isinstance(inner, Loss) else {})
        if all(unweighted):
            self.maps["weight"] = "weight"
        self.weights = frozenset(name for name, meaning in self.maps.items() if meaning == "weight")
        self.takes = [
            _without(_signature(part), self.weights if left_out else frozenset())
            for part, left_out in zip(parts, unweighted, strict=True)
        ]
        self.unweighted = unweighted
        self.signature = joined(self.takes)
        if all(unweighted):  # a sum around this one may have a weight
            self.signature = self.signature._replace(options=self.signature.options | self.weights)
        # The number of inputs that all parts take as they come; -1 if each needs its own.
        alike = all(each.required == self.signature.required or each.open_inputs for each in self.takes)
        self.same = self.signature.required if alike else -1
        # The places of the inputs that every call needs, by the names that the parts have for them.
        self.places: dict[str, int] = {}
        for each in (self.signature, *self.takes):
            for place, name in enumerate(each.inputs[: each.required]):
                self.places.setdefault(name, place)

    def of_parts(self, loss: Loss, name: str, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Call]:
        """Return the inputs and options of each part in a call of the loss.

        Raises:
            InputError: no part has an option of this name, an input is missing, or a part cannot use a weight.
        """
        options = with_a_meaning(loss, options)
        self.check(loss, name, inputs, options)
        given = dict(enumerate(inputs))
        given |= {self.places[key]: value for key, value in options.items() if key in self.places}
        names = self.signature.inputs
        by_name = {names[place]: value for place, value in given.items() if place < len(names)} | dict(options)
        return [_call(takes, given, by_name) for takes in self.takes]

    def check(self, loss: Loss, name: str, inputs: Sequence[Any], options: Mapping[str, Any]) -> None:
        """Raise InputError for a call that the parts cannot share."""
        takes = self.signature
        known = loss.option_names() | takes.options  # those of the loss itself as well, for messages
        if unknown := options.keys() - self.places.keys() - takes.options:
            missing = set(takes.inputs[len(inputs) : takes.required]) - options.keys()
            raise InputError(
                f"no loss inside {name} has the option {', '.join(sorted(unknown))}=; their options:"
                f" {', '.join(sorted(missing | known)) or 'none'}{_why(loss, unknown)}"
            )
        named = {takes.inputs[self.places[key]] if key in self.places else key: None for key in options}
        needs = takes.inputs[len(inputs) : takes.required]
        if any(each not in named for each in needs):
            needing = next(
                each for each, own in zip(self.names, self.takes, strict=True) if own.required == takes.required
            )
            name = f"{needing} inside {name}"
        check_call(loss, name, takes._replace(options=known), inputs, named)
        for option in self.weights & {key for key, value in options.items() if value is not None}:
            self._check_weight(name, option)

    def _check_weight(self, name: str, option: str) -> None:
        """Raise InputError if a part would silently stay without a weight that the others have."""
        for part, takes, left_out in zip(self.names, self.takes, self.unweighted, strict=True):
            if option not in takes.options and not left_out:
                raise InputError(
                    f"{part} inside {name} has no {option}=, which would weigh the other terms alone: leave {option}="
                    f" out, or let that term say so, {{name: {part}, unweighted: true}} in a weighted_sum or scheduled"
                    " (elsewhere put it into a weighted_sum of this one term)"
                )


def _call(takes: Signature, given: Mapping[int, Any], by_name: Mapping[str, Any]) -> Call:
    """Return the call of a part from all inputs by position, and all inputs and options by name."""
    if takes.open_inputs:
        inputs = [given[place] for place in sorted(given)]
    else:
        inputs = [given[place] for place in range(takes.required)]
    return inputs, {key: value for key, value in by_name.items() if key in takes.options}


def _why(loss: nn.Module, unknown: Iterable[str]) -> str:
    """Return why the losses inside a loss have not the options that others have."""
    reasons = {
        f"; {each}= has no meaning for {name_of(part)}, because {part.meaningless[each]}": None
        for part in loss.modules()
        if isinstance(part, Loss)
        for each in sorted(unknown)
        if each in part.meaningless
    }
    return "".join(reasons)


def _signature(part: nn.Module) -> Signature:
    inner = _inner(part)
    if isinstance(inner, Loss):
        return inner.signature()._replace(options=inner.option_names())
    return signature_of(type(part).forward)


def _inner(part: nn.Module) -> nn.Module:
    """Return the loss within wrappers, such as torch.compile's; the part itself if there is none."""
    inner: nn.Module | None = part
    while inner is not None and not isinstance(inner, Loss):
        inner = wrapped(inner)
    return part if inner is None else inner


def _without(takes: Signature, names: frozenset[str]) -> Signature:
    return takes._replace(options=takes.options - names)
