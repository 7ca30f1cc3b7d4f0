"""Adapters: from what a trainer passes to the logits and the target of a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from lossreg.errors import DTypeError, InputError, ShapeError
from lossreg.messages import did_you_mean

Mode = Literal["nearest", "nearest-exact", "bilinear", "bicubic", "trilinear", "area"]
Activation = Literal["sigmoid", "softmax"]

_AXES = {"bilinear": 2, "bicubic": 2, "trilinear": 3}  # that these modes take; the others take any number
EPSILON = 1e-7  # probabilities nearer to 0 or 1 have no finite logit in float32


@dataclass(frozen=True)
class Adapt:
    """An adapter of the input and the target of a loss. Its steps run in the order of its fields.

        Tracked("dice", adapt=Adapt(key="logits", resize="bilinear"))   # Segformer: logits at a quarter of the size

    Args:
        target_first: the trainer calls (target, input), as Keras does.
        key: where the logits are in the model's output: a key or attribute, such as "logits", or an index of a list.
        channels_last: input and masks are (N, *, C), as in Keras. They become (N, C, *).
        activation: the function that ends the model, "sigmoid" or "softmax": its probabilities become logits. Train on
            logits where you can: a probability that rounds to 0 or 1 has no gradient.
        resize: the mode of `torch.nn.functional.interpolate`, which brings the logits to the target's size.
    Raises:
        InputError: a field with another value.
    """

    target_first: bool = False
    key: str | int | None = None
    channels_last: bool = False
    activation: Activation | None = None
    resize: Mode | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("activation", get_args(Activation)), ("resize", get_args(Mode))):
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise InputError(f"adapt: {name} must be one of {', '.join(map(repr, allowed))}, got {value!r:.80}")

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """Return the inputs as the loss takes them. Others than the first two stay as they are."""
        if len(inputs) < 2:
            raise InputError(f"adapt takes the input and the target of a loss, got {len(inputs)} arguments by position")
        output, target, *others = inputs
        if self.target_first:
            output, target = target, output
        if self.key is not None:
            output = _at(output, self.key)
        output, target = plain(output), plain(target)
        if self.channels_last:
            output, target = _channels_first(output, target)
        if self.activation is not None:
            output = _logits(_tensor("activation", output), self.activation)
        if self.resize is not None:
            output = _resized(_tensor("resize", output), _tensor("resize", target), self.resize)
        return output, target, *others


def adapter_of(given: Any) -> Any:
    """Return the callable of an `adapt` argument: an Adapt, its fields as a mapping, any callable, or None."""
    if given is None or callable(given):
        return given
    if not isinstance(given, Mapping):
        raise InputError(
            f"adapt must be an Adapt, a mapping of its fields or a function of the inputs, got {given!r:.80}"
        )
    fields = list(Adapt.__dataclass_fields__)
    if unknown := sorted(map(str, set(given) - set(fields))):
        advice = did_you_mean(unknown[0], fields, otherwise=f"allowed are {', '.join(fields)}")
        raise InputError(f"adapt has no field {unknown[0]!r}; {advice}")
    return Adapt(**given)


def plain(value: Any) -> Any:
    """Return a tensor without its subclass, such as fastai's TensorImage: some of these do not mix in an operation."""
    is_subclass = isinstance(value, Tensor) and type(value) not in (Tensor, torch.nn.Parameter)
    return value.as_subclass(Tensor) if is_subclass and not _is_wrapper(value) else value


def _is_wrapper(value: Tensor) -> bool:
    """Return True for subclasses that hold other tensors, such as DTensor, and lose them as a plain tensor."""
    return hasattr(type(value), "__tensor_flatten__") or type(value).__torch_dispatch__ is not Tensor.__torch_dispatch__


def _at(output: Any, key: str | int) -> Any:
    """Return the part of a model's output at a key, an index or an attribute."""
    try:
        is_container = isinstance(output, Mapping | Sequence)
        return output[key] if is_container else getattr(output, str(key))
    except (KeyError, IndexError, TypeError, AttributeError):
        raise InputError(f"adapt: key={key!r} is not in the output of the model, {described(output)}") from None


def described(output: Any) -> str:
    """Describe the parts of a model's output, for a message."""
    name = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {name} with the keys {', '.join(map(str, output))}"
    return f"a {name} of {len(output)}" if isinstance(output, Sequence) else f"a {name}"


def _channels_first(output: Any, target: Any) -> tuple[Tensor, Tensor]:
    output, target = _tensor("channels_last", output), _tensor("channels_last", target)
    if target.ndim == output.ndim:
        # A last axis of 1 beside several classes holds class indices.
        target = target[..., 0] if target.shape[-1] == 1 < output.shape[-1] else target.movedim(-1, 1)
    return output.movedim(-1, 1), target


def _logits(probabilities: Tensor, activation: Activation) -> Tensor:
    """Invert the activation: logit for a sigmoid, log for a softmax."""
    if not probabilities.is_floating_point():
        raise DTypeError(f"adapt: activation={activation!r} inverts probabilities, got {probabilities.dtype}")
    p = _wide(probabilities)
    return torch.logit(p, EPSILON) if activation == "sigmoid" else p.clamp_min(EPSILON).log()


def _resized(output: Tensor, target: Tensor, mode: Mode) -> Tensor:
    """Resize (N, C, *) logits to the last axes of the target."""
    axes = output.ndim - 2
    size = target.shape[target.ndim - axes :]
    if axes < 1 or target.ndim < axes + 1:
        raise ShapeError(
            f"adapt: resize={mode!r} takes logits (N, C, *) and a target with the same last axes, got"
            f" {tuple(output.shape)} and {tuple(target.shape)}"
        )
    if output.shape[2:] == size:
        return output
    if axes != _AXES.get(mode, axes):
        fits = {2: "'bilinear'", 3: "'trilinear'"}.get(axes, "'nearest'")
        raise ShapeError(f"adapt: resize={mode!r} does not take logits of shape {tuple(output.shape)}; write {fits}")
    corners = False if mode in ("bilinear", "bicubic", "trilinear") else None
    with torch.autocast(output.device.type, enabled=False):
        return functional.interpolate(_wide(output), size=size, mode=mode, align_corners=corners)


def _wide(value: Tensor) -> Tensor:
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def _tensor(step: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    raise DTypeError(f"adapt: {step} takes tensors, got {described(value)}; choose its logits with key=")
