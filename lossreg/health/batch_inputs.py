"""The arguments of `LossMonitor.update`, checked, detached and brought to one form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex

from lossreg.errors import DTypeError, InputError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class BatchInputs:
    """One batch, without a graph.

    Args:
        total: 0-dim.
        components: 0-dim each, by name.
        losses: per example, (B,), or None.
        prediction: (B, C, *), or None.
        target: masks (B, C, *) or class indices (B, *); without a prediction, either of them; or None.
        original_target: the target before it was brought to that shape, or None.
        sample_ids: one per example, or empty.
        batch: number of examples, or None if no argument has an axis of examples.
    """

    total: Tensor
    components: Mapping[str, Tensor]
    losses: Tensor | None
    prediction: Tensor | None
    target: Tensor | None
    original_target: Tensor | None
    sample_ids: Sequence[str]
    batch: int | None

    @property
    def has_channels(self) -> bool:
        """Return True if the target's second axis is that of the prediction's classes or masks."""
        return self.prediction is not None and self.target is not None and self.target.ndim == self.prediction.ndim

    @property
    def is_empty(self) -> bool:
        """Return True for a batch without examples or without pixels. Its loss is the mean of no values."""
        return self.batch == 0 or (self.prediction is not None and self.prediction.numel() == 0)


def check_batch(output: Any, prediction: Any, target: Any, sample_ids: Any) -> BatchInputs:
    """Check the arguments of an update against each other, and detach them.

    Raises:
        InputError: an argument has the wrong type, or is on another device than the loss.
        ShapeError: sizes do not fit.
        DTypeError: class indices are not integers.
    """
    total, components, losses = _output(output)
    for name, tensor in (("prediction", prediction), ("target", target)):
        if tensor is not None:
            _check_tensor(name, tensor, total)
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
        raise ShapeError(f"the arguments have different numbers of examples: {shown}")
    prediction = None if prediction is None else prediction.detach()
    original = None if target is None else target.detach()
    fitted = original if prediction is None or original is None else _fitted(prediction, original)
    batch = next(iter(known.values()), None)
    return BatchInputs(total, components, losses, prediction, fitted, original, names, batch)


def check_step(step: object) -> int:
    """Return a step as an int. Refuse a tensor: reading it would block until its device is done."""
    if isinstance(step, (int, SupportsIndex)) and not hasattr(step, "detach"):
        return int(step)
    raise InputError(f"step must be an integer, such as the number of the update, got {step!r:.80}")


def _output(output: Any) -> tuple[Tensor, Mapping[str, Tensor], Tensor | None]:
    """Return the total, the components, and the losses per example."""
    from torch import Tensor

    from lossreg.loss.output import LossOutput

    if isinstance(output, LossOutput):
        losses = None if output.per_example is None else output.per_example.detach()
        parts = {name: value.detach() for name, value in output.components.items()}
        return output.total.detach().mean(), parts, losses
    if isinstance(output, Tensor) and output.ndim <= 1:
        value = output.detach()
        value = value if value.is_floating_point() else value.float()
        return value.mean(), {}, value if value.ndim else None
    given = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
    raise InputError(f"output must be a LossOutput, a 0-dim tensor or a tensor of shape (B,), got {given}")


def _check_tensor(name: str, tensor: Any, total: Tensor) -> None:
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
        raise InputError(f"{name} is on {tensor.device} and the loss on {total.device}; move both to one device")


def _fitted(prediction: Tensor, target: Tensor) -> Tensor:
    """Return masks of the prediction's shape, or class indices (B, *)."""
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
    """Return the ids as text. Refuse ids on another device: reading them would block until it is done."""
    from torch import Tensor

    if sample_ids is None:
        return ()
    if isinstance(sample_ids, Tensor):
        if sample_ids.device.type != "cpu" or sample_ids.ndim != 1:
            raise InputError(
                "sample_ids must be a sequence of text or integers, or a tensor of shape (B,) on the CPU, got shape"
                f" {tuple(sample_ids.shape)} on {sample_ids.device}"
            )
        return [str(number) for number in sample_ids.tolist()]
    if isinstance(sample_ids, (str, bytes)):
        raise InputError(f"sample_ids must be a sequence with one id per example, got the text {sample_ids!r:.80}")
    if not isinstance(sample_ids, Iterable):
        raise InputError(f"sample_ids must be a sequence with one id per example, got {sample_ids!r:.80}")
    names = list(sample_ids)
    if any(isinstance(name, Tensor) for name in names):
        raise InputError("sample_ids must be text or integers, got tensors in a list; pass one tensor of shape (B,)")
    return [str(name) for name in names]
