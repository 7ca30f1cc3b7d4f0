"""Checks of a SAM step: its shapes, with the call that mends them."""

from __future__ import annotations

from torch import Tensor

from lossreg.errors import DTypeError, ShapeError
from lossreg_segmentation.statistics.checks import check_logits, check_target


def check_step(input: Tensor, target: Tensor, predicted_iou: Tensor, *, empty_batch: bool) -> None:
    """Check for M masks, one target for all of them, and one predicted IoU for each."""
    for role, given in (("input", input), ("target", target), ("predicted_iou", predicted_iou)):
        if not isinstance(given, Tensor):
            raise DTypeError(f"{role} must be a tensor, got {type(given).__name__}")
    check_logits(input, target, empty_batch=empty_batch)
    check_target(input, target)
    if input.ndim != 4:
        raise ShapeError(
            f"input has shape {tuple(input.shape)}, expected (N, M, H, W) logits"
            f"{_axes_of_input(input, target, predicted_iou)}"
        )
    n, _, *size = input.shape
    if target.shape not in ((n, *size), (n, 1, *size)):
        # M targets for M masks would be another loss: raise rather than guess.
        raise ShapeError(
            f"input has shape {tuple(input.shape)}, so target must have shape {(n, *size)} or {(n, 1, *size)}, one mask"
            f" that the predictions share, got {tuple(target.shape)}{_axes_of_target(input, target)}"
        )
    if predicted_iou.shape != input.shape[:2]:
        raise ShapeError(
            f"input has shape {tuple(input.shape)}, so predicted_iou must have shape {tuple(input.shape[:2])},"
            f" got {tuple(predicted_iou.shape)}{_axes_of_iou(input, predicted_iou)}"
        )
    if not predicted_iou.is_floating_point():
        raise DTypeError(f"predicted_iou must be a floating tensor, got {predicted_iou.dtype}")


def _axes_of_input(input: Tensor, target: Tensor, predicted_iou: Tensor) -> str:
    """Return how to give logits (B, P, M, H, W) of P prompts, as of Hugging Face, or of one mask (N, H, W)."""
    if input.ndim == 3:
        return "; for one mask of each target use input.unsqueeze(1)"
    if input.ndim != 5:
        return ""
    named = {"input": input, "target": target, "predicted_iou": predicted_iou}
    by_prompt = [name for name, given in named.items() if given.shape[:2] == input.shape[:2]]
    return f"; for prompts in axis 1 use .flatten(0, 1) on {', '.join(by_prompt)}"


def _axes_of_target(input: Tensor, target: Tensor) -> str:
    """Return how to give a target of another resolution, or a target for each of M objects."""
    if target.shape == input.shape:
        return (
            "; for M objects of one predicted mask each use .flatten(0, 1) on target, and"
            " .flatten(0, 1).unsqueeze(1) on input and predicted_iou"
        )
    if target.ndim > 2 and target.shape[:-2] in ((len(input),), (len(input), 1)):
        return f"; upsample the logits: F.interpolate(input, {tuple(target.shape[-2:])}, mode='bilinear')"
    return ""


def _axes_of_iou(input: Tensor, predicted_iou: Tensor) -> str:
    """Return how to give IoUs with an axis too many or missing."""
    if predicted_iou.shape == (*input.shape[:2], 1):
        return "; use predicted_iou.squeeze(2)"
    return "; use predicted_iou.unsqueeze(1)" if predicted_iou.shape == input.shape[:1] and input.shape[1] == 1 else ""
