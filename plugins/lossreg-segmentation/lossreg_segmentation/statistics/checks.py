"""Checks of logits and target: types, shapes, devices and values, each with its own message."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from lossreg.authoring import warn_once
from lossreg.errors import DTypeError, InputError, ShapeError
from lossreg_segmentation.statistics import advice
from lossreg_segmentation.statistics.advice import SWAPPED
from lossreg_segmentation.statistics.plain import has_values, wants_gradient

_ROUNDED = 0.05  # sum of soft masks above 1 that half precision explains


def check_tensors(input: Tensor, target: Tensor, activation: str) -> None:
    """Check that `mask_statistics` supports the types, devices and shapes of these tensors."""
    check_logits(input, target, empty_batch=True)
    check_target(input, target)
    if target.is_complex() or target.is_quantized:
        fix = "; use target.dequantize()" if target.is_quantized else ""
        raise DTypeError(f"target must be bool, integer or float, got {target.dtype}{fix}")
    if target.device != input.device:
        raise InputError(f"input is on {input.device} and target on {target.device}; move one with .to()")
    index_shape = (input.shape[0], *input.shape[2:])
    shared = activation == "sigmoid" and target.shape == (input.shape[0], 1, *input.shape[2:])
    if target.shape == input.shape or shared:
        return
    if activation == "softmax" and target.shape == index_shape:
        if target.is_floating_point() or target.dtype == torch.bool:
            raise DTypeError(
                f"a target of shape {index_shape} must contain class indices, which are integers, got {target.dtype};"
                f" {advice.about_class_indices(input, target)}"
            )
        return
    also = f" or {index_shape}" if activation == "softmax" else ""
    raise ShapeError(
        f"input has shape {tuple(input.shape)}, so target must have shape {tuple(input.shape)}{also},"
        f" got {tuple(target.shape)}; nothing is broadcast"
    )


def check_logits(input: Tensor, target: Tensor, *, empty_batch: bool = False) -> None:
    """Check that logits are a (B, C, *) floating tensor, with at least one example unless an empty batch is allowed.

    Args:
        target: only for the question whether the two are swapped. It is not checked.
    """
    if not isinstance(input, Tensor):
        raise DTypeError(f"input must be a tensor of logits, got {type(input).__name__}{advice.about_container(input)}")
    check_layout("input", input)
    if not input.is_floating_point():
        raise DTypeError(
            f"input must be a floating tensor of logits, got {input.dtype}{advice.about_decisions(input, target)}"
        )
    if input.ndim < 2:
        question = SWAPPED if isinstance(target, Tensor) and target.ndim > input.ndim else ""
        raise ShapeError(
            f"input has shape {tuple(input.shape)}, expected (N, C, *): add the missing dimensions{question}"
        )
    if 0 in (input.shape[1:] if empty_batch else input.shape):
        raise ShapeError(f"input has shape {tuple(input.shape)}: the batch is empty; skip empty batches in the loader")


def check_target(input: Tensor, target: object) -> None:
    """Check that a target is a dense tensor, and gets no gradient: the losses have one for the input alone."""
    if not isinstance(target, Tensor):
        raise DTypeError(f"target must be a tensor, got {type(target).__name__}; use torch.as_tensor(target)")
    check_layout("target", target)
    if wants_gradient(target):
        raise InputError(
            "target requires a gradient, and only input gets one from this loss;"
            f" {advice.about_gradient(input, target)}"
        )


def check_layout(name: str, x: Tensor) -> None:
    """Check that a tensor is neither sparse nor nested."""
    if x.is_nested:
        raise InputError(f"{name} is a nested tensor; pad it with .to_padded_tensor(...) and set ignore_index")
    if x.layout is not torch.strided:
        raise InputError(f"{name} has the layout {x.layout}; use {name}.to_dense()")


def check_values(
    target: Tensor, classes: int, is_index: bool, ignore_index: int | None, input: Tensor | None = None
) -> None:
    """Check class indices for 0..classes-1, mask values for [0, 1]. Reading the values synchronises with a device.

    Values that cannot be read here, as those of a fake tensor or under vmap, are not checked.

    Args:
        input: the logits, if there are any. It is only read for the message of an error.
    """
    if target.dtype == torch.bool or target.numel() == 0 or not has_values(target):
        return
    target = counting(target)
    counted = target.masked_fill(is_ignored(target, ignore_index), 0)
    low, high = (value.item() for value in torch.aminmax(counted))
    top = classes - 1 if is_index else 1
    if low >= 0 and high <= top:  # False for NaN
        return
    wrong = high if not high <= top else low
    ignore = f"set ignore_index={int(wrong)} if it marks pixels to ignore" if float(wrong).is_integer() else ""
    if is_index:
        raise InputError(
            f"target contains class index {wrong}, input has {classes} classes (0 to {top});"
            f" {advice.about_indices(counted, wrong, ignore)}"
        )
    raise InputError(
        f"target contains {wrong}, masks must have values from 0 to 1;"
        f" {advice.about_masks(counted, wrong, ignore, input)}"
    )


def counting(target: Tensor) -> Tensor:
    """Convert a target to a type that torch can compute with. uint16, as in 16-bit PNGs, and float8 are for storage."""
    if target.is_floating_point() and target.dtype.itemsize == 1:
        return target.float()
    return target.long() if target.dtype in (torch.uint16, torch.uint32, torch.uint64) else target


def is_ignored(target: Tensor, ignore_index: int | None) -> Tensor:
    """Return True at the positions where the target equals `ignore_index`."""
    if ignore_index is None or not can_represent(target.dtype, ignore_index):
        return torch.zeros_like(target, dtype=torch.bool)
    return target == ignore_index


def can_represent(dtype: torch.dtype, ignore_index: int | None) -> bool:
    """Return True if this dtype can represent the number. torch would wrap it: uint8 == -1 would find 255."""
    if ignore_index is None or dtype.is_floating_point:
        return True
    if dtype == torch.bool:
        return ignore_index in (0, 1)
    limits = torch.iinfo(dtype)
    return limits.min <= ignore_index <= limits.max


def check_counted(
    input: Tensor, target: Tensor, activation: str, ignore_index: int | None, weight: Tensor | None = None
) -> None:
    """Check, for lossreg.debug_checks(), logits and target where they count; warn if they count nowhere."""
    if not (has_values(input) and has_values(target)):
        return
    valid = ~is_ignored(target, ignore_index)
    if target.ndim < input.ndim:
        valid = valid.unsqueeze(1)
    if activation == "softmax":
        valid = valid.all(1, keepdim=True)
        _check_exclusive(input, target, valid)
    if weight is not None:
        valid = valid & (weight > 0)
    _check_logit_values(input, valid & ~_masked_classes(input, target, activation))
    if valid.any():
        _warn_of_probabilities(input, valid)
        _warn_of_last_axis(input, target, activation)
        return
    zero = "" if weight is None else ", or weight 0"
    warnings.warn(
        f"every pixel of the batch is ignored (ignore_index={ignore_index}{zero}): the loss and its gradient are 0;"
        " check how the targets are made, or skip such batches in the loader",
        UserWarning,
        stacklevel=2,
    )


def _masked_classes(input: Tensor, target: Tensor, activation: str) -> Tensor:
    """Return True at logits of -inf, by which users leave out classes, unless the target has the class."""
    masked = input == -torch.inf
    if activation != "softmax":
        return torch.zeros_like(masked)
    if target.ndim == input.ndim:
        return masked & (target == 0)
    classes = torch.arange(input.shape[1], device=input.device).reshape(-1, *[1] * (input.ndim - 2))
    return masked & (counting(target).unsqueeze(1) != classes)


def _check_logit_values(input: Tensor, valid: Tensor) -> None:
    """Check that logits are finite at valid positions. Reading the values synchronises with a device."""
    wrong = ~torch.isfinite(input) & valid
    count = int(wrong.sum())
    if count:
        first = tuple(wrong.nonzero()[0].tolist())
        raise InputError(
            f"input contains {count} NaN or infinite logits, the first at {first}: {input[first].item()};"
            f" find the layer that produces them with torch.autograd.set_detect_anomaly(True)"
        )


def _check_exclusive(input: Tensor, target: Tensor, valid: Tensor) -> None:
    """Check that masks of exclusive classes do not overlap: their sum over the classes is at most 1."""
    if target.shape != input.shape:
        return
    added = torch.where(valid.squeeze(1), counting(target).float().sum(1), 0.0)
    if added.numel() and added.amax() > 1 + _ROUNDED:
        place = tuple(torch.unravel_index(added.argmax(), added.shape))
        fix = "use task='multilabel'"
        if input.shape[-1] > 1 and _may_be_last(input) and _is_exclusive(counting(target).float(), -1):
            fix = "those along the last axis do not overlap: if it has the classes, use .movedim(-1, 1) on both tensors"
        raise InputError(
            f"target has masks that overlap, {added.amax().item():.3g} of them at {tuple(map(int, place))} (N, *), and"
            f" the classes of task='multiclass' exclude each other; {fix}"
        )


def _warn_of_probabilities(input: Tensor, valid: Tensor) -> None:
    """Warn once if the range of the logits is that of probabilities."""
    counted = input[valid.expand_as(input)]
    lowest, highest = (value.item() for value in torch.aminmax(counted))
    if 0 <= lowest < highest <= 1:
        warn_once(
            "probabilities as logits",
            f"input ranges from {lowest:.3g} to {highest:.3g}, as probabilities do, and the loss takes logits: if the"
            " model ends in sigmoid or softmax, leave that out",
        )


def _may_be_last(input: Tensor) -> bool:
    """Return True for the shape of images (N, H, W, C) with few channels; signals (N, C, L, 1) may have it, too."""
    return input.ndim > 3 and input.shape[-1] < 5 and min(input.shape[1:-1]) > 8


def _is_exclusive(target: Tensor, axis: int) -> bool:
    """Return True if masks add up to 1 along an axis, but at values above 1, which are ignored."""
    return bool((((target.sum(axis) - 1).abs() <= _ROUNDED) | (target.amax(axis) > 1)).all())


def _warn_of_last_axis(input: Tensor, target: Tensor, activation: str) -> None:
    """Warn once if the last axis of input and target may have the channels. Exclusive classes have shown theirs."""
    if activation == "sigmoid" and target.shape == input.shape and _may_be_last(input):
        warn_once(
            "channels in the last axis",
            f"input and target have shape {tuple(input.shape)}, and the loss takes axis 1 as the channels: if the last"
            " axis has them, use .movedim(-1, 1) on both",
        )
