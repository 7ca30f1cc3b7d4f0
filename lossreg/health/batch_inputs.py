"""What `LossMonitor.update` is given, checked and in one form, without a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex

from lossreg.errors import DTypeError, InputError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Inputs:
    """One update.

    total: 0-dim. losses: (B,) or None. prediction: (B, C, *) or None. target: masks (B, C, *), or classes (B, *), or,
    without a prediction, either; None if it was not given. as_given: the target before it was brought to that shape.
    batch: None if nothing says it.
    """

    total: Tensor
    components: Mapping[str, Tensor]
    losses: Tensor | None
    prediction: Tensor | None
    target: Tensor | None
    as_given: Tensor | None
    sample_ids: Sequence[str]
    batch: int | None

    @property
    def has_channels(self) -> bool:
        """Whether the target's second axis is that of the prediction's classes or masks."""
        return self.prediction is not None and self.target is not None and self.target.ndim == self.prediction.ndim

    @property
    def is_empty(self) -> bool:
        """A batch without examples, or of images without pixels: its loss is the mean of nothing."""
        return self.batch == 0 or (self.prediction is not None and self.prediction.numel() == 0)


def take(output: Any, prediction: Any, target: Any, sample_ids: Any) -> Inputs:
    """Check and detach.

    Raises:
        InputError: something is not what it should be, or lies on another device.
        ShapeError: sizes that do not fit.
        DTypeError: class indices that are not integers.
    """
    total, components, losses = _output(output)
    for name, tensor in (("prediction", prediction), ("target", target)):
        if tensor is not None:
            _check(name, tensor, total)
    names = _ids(sample_ids)
    sizes = {
        "losses": None if losses is None else len(losses),
        "prediction": None if prediction is None else len(prediction),
        "target": None if target is None else len(target),
        "sample_ids": None if sample_ids is None else len(names),
    }
    known = {name: size for name, size in sizes.items() if size is not None}
    if len(set(known.values())) > 1:
        shown = ", ".join(f"{name} {size}" for name, size in known.items())
        raise ShapeError(f"the monitor was given different numbers of examples: {shown}")
    prediction = None if prediction is None else prediction.detach()
    whole = None if target is None else target.detach()
    fitted = whole if prediction is None or whole is None else _fitted(prediction, whole)
    batch = next(iter(known.values()), None)
    return Inputs(total, components, losses, prediction, fitted, whole, names, batch)


def whole(step: object) -> int:
    """As an int. A tensor would be waited for, were it on a device."""
    if isinstance(step, (int, SupportsIndex)) and not hasattr(step, "detach"):
        return int(step)
    raise InputError(f"step is an integer, such as the number of the update, got {step!r:.80}")


def _output(output: Any) -> tuple[Tensor, Mapping[str, Tensor], Tensor | None]:
    """Total, components, and losses per example."""
    from torch import Tensor

    from lossreg.loss.base import LossOutput

    if isinstance(output, LossOutput):
        losses = None if output.per_example is None else output.per_example.detach()
        parts = {name: value.detach() for name, value in output.components.items()}
        return output.total.detach().mean(), parts, losses
    if isinstance(output, Tensor) and output.ndim <= 1:
        value = output.detach()
        value = value if value.is_floating_point() else value.float()
        return value.mean(), {}, value if value.ndim else None
    given = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
    raise InputError(f"the monitor takes a LossOutput, a 0-dim tensor or one of shape (B,), got {given}")


def _check(name: str, tensor: Any, total: Tensor) -> None:
    from torch import Tensor

    if not isinstance(tensor, Tensor) or tensor.ndim < 1:
        given = f"shape {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else type(tensor).__name__
        raise InputError(f"{name} must be a tensor whose first axis is the examples, got {given}")
    if name == "prediction" and (tensor.ndim < 2 or not tensor.is_floating_point()):
        raise ShapeError(
            f"prediction must be floating point of shape (B, C, *), got {tensor.dtype} {tuple(tensor.shape)};"
            " give a single mask a channel with prediction.unsqueeze(1)"
        )
    if tensor.device != total.device:
        raise InputError(f"{name} lies on {tensor.device} and the loss on {total.device}; give both on one device")


def _fitted(prediction: Tensor, target: Tensor) -> Tensor:
    """Masks of the prediction's shape, or classes (B, *)."""
    import torch

    batch, channels, *pixels = prediction.shape
    if target.shape == prediction.shape:
        return target
    if tuple(target.shape) == (batch, 1, *pixels):
        target = target.squeeze(1)
    if tuple(target.shape) != (batch, *pixels):
        raise ShapeError(
            f"prediction has shape {tuple(prediction.shape)}, so target must have that shape or"
            f" {(batch, *pixels)}, got {tuple(target.shape)}; nothing is broadcast"
        )
    if channels == 1:
        return target.unsqueeze(1)
    if target.is_floating_point() or target.dtype == torch.bool:
        raise DTypeError(
            f"a target of shape {tuple(target.shape)} for {channels} classes must hold class indices, integers, got"
            f" {target.dtype}; masks have shape {tuple(prediction.shape)}"
        )
    return target


def _ids(sample_ids: Any) -> Sequence[str]:
    """As text. Ids on another device would have to be waited for."""
    from torch import Tensor

    if sample_ids is None:
        return ()
    if isinstance(sample_ids, Tensor):
        if sample_ids.device.type != "cpu" or sample_ids.ndim != 1:
            raise InputError(
                "sample_ids are a sequence of text or integers, or a tensor of shape (B,) on the CPU, got shape"
                f" {tuple(sample_ids.shape)} on {sample_ids.device}"
            )
        return [str(number) for number in sample_ids.tolist()]
    if isinstance(sample_ids, (str, bytes)):
        raise InputError(f"sample_ids are a sequence with one id per example, got the text {sample_ids!r:.80}")
    if not isinstance(sample_ids, Iterable):
        raise InputError(f"sample_ids are a sequence with one id per example, got {sample_ids!r:.80}")
    names = list(sample_ids)
    if any(isinstance(name, Tensor) for name in names):
        raise InputError("sample_ids are text or integers, got tensors in a list; give one tensor of shape (B,)")
    return [str(name) for name in names]
