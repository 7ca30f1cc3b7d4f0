"""The outputs of SAM 2 for a video: masks, IoUs and presence logits of each correction step of each frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from lossreg.errors import DTypeError, InputError, ShapeError

MASKS = "multistep_pred_multimasks_high_res"
IOUS = "multistep_pred_ious"
SCORES = "multistep_object_score_logits"


class Step(NamedTuple):
    """One step on one frame of N objects."""

    masks: Tensor  # (N, M, H, W) logits
    target: Tensor  # (N, H, W)
    ious: Tensor  # (N, M)
    score: Tensor | None  # (N, 1) logits of presence; None if pred_obj_scores=False
    weight: Tensor | None = None  # (N, H, W)


def read_steps(
    outs_per_frame: Sequence[Mapping[str, Any]], target_masks: Tensor, weight: Tensor | None = None, *, scores: bool
) -> list[Step]:
    """Check and return the steps of all frames. The number of steps may vary by frame, that of masks by step.

    Args:
        scores: whether presence logits are required.
    """
    if not isinstance(target_masks, Tensor):
        raise DTypeError(f"target_masks must be a tensor, got {type(target_masks).__name__}")
    if target_masks.ndim != 4:
        channel = "; use target_masks.squeeze(2)" if target_masks.ndim == 5 and target_masks.shape[2] == 1 else ""
        raise ShapeError(f"target_masks has shape {tuple(target_masks.shape)}, expected (T, N, H, W){channel}")
    if not isinstance(outs_per_frame, Sequence):
        raise InputError(f"outs_per_frame must be a list with one dict per frame, got {type(outs_per_frame).__name__}")
    if not len(outs_per_frame) or len(outs_per_frame) != target_masks.shape[0]:
        raise ShapeError(
            f"outs_per_frame has {len(outs_per_frame)} frames, target_masks {target_masks.shape[0]}:"
            f" {tuple(target_masks.shape)} is (T, N, H, W); give at least one frame, and one dict for each"
        )
    keys = (MASKS, IOUS, SCORES) if scores else (MASKS, IOUS)
    frames = zip(outs_per_frame, target_masks.unbind(), _weights(weight, target_masks), strict=True)
    return [
        step._replace(weight=own)
        for index, (outs, target, own) in enumerate(frames)
        for step in _frame(f"outs_per_frame[{index}]", outs, target, keys)
    ]


def _weights(weight: Tensor | None, target_masks: Tensor) -> Sequence[Tensor | None]:
    """Return the weights of each frame, (N, H, W)."""
    if weight is None:
        return [None] * len(target_masks)
    if not isinstance(weight, Tensor):
        raise DTypeError(f"weight must be a tensor, got {type(weight).__name__}; use torch.as_tensor(weight)")
    if weight.shape != target_masks.shape:
        raise ShapeError(
            f"target_masks has shape {tuple(target_masks.shape)}, so weight too, got {tuple(weight.shape)}; use"
            " weight.expand(...) for weights that frames or objects share"
        )
    return weight.unbind()


def _frame(where: str, outs: Mapping[str, Any], target: Tensor, keys: tuple[str, ...]) -> list[Step]:
    if not isinstance(outs, Mapping):
        raise InputError(f"{where} must be a dict of lists over steps, got {type(outs).__name__}")
    if missing := [key for key in keys if key not in outs]:
        hint = "; set pred_obj_scores=False if the model predicts no presence" if missing == [SCORES] else ""
        raise InputError(f"{where} lacks {', '.join(missing)}{hint}", missing=missing)
    for key in keys:
        if not isinstance(outs[key], Sequence):
            raise InputError(f"{where}[{key!r}] must be a list over steps, got {type(outs[key]).__name__}")
    lengths = {key: len(outs[key]) for key in keys}
    if len(set(lengths.values())) > 1 or not lengths[MASKS]:
        counted = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise ShapeError(f"{where} must have one entry per step in each list, and at least one step, got {counted}")
    steps = []
    for index in range(lengths[MASKS]):
        for key in keys:
            _check(f"{where}[{key!r}][{index}]", outs[key][index])
        score = outs[SCORES][index] if SCORES in keys else None
        steps.append(_step(f"step {index} of {where}", Step(outs[MASKS][index], target, outs[IOUS][index], score)))
    return steps


def _check(where: str, given: object) -> None:
    if not isinstance(given, Tensor):
        raise DTypeError(f"{where} must be a tensor, got {type(given).__name__}")
    if not given.is_floating_point():
        raise DTypeError(f"{where} must be a floating tensor, got {given.dtype}")


def _step(where: str, step: Step) -> Step:
    """Check that the shapes of a step fit each other, and return it."""
    n, *size = step.target.shape
    shape = tuple(step.masks.shape)
    if len(shape) != 4 or shape != (n, shape[1], *size) or 0 in shape[1:]:
        raise ShapeError(
            f"{where} has {MASKS} of shape {shape}, expected (N, M, H, W) = {(n, 'M', *size)} to fit target_masks,"
            " with at least one mask of one pixel; upsample the masks to the size of the target, as by"
            f" F.interpolate(masks, {tuple(size)}, mode='bilinear')"
        )
    for key, given, expected in ((IOUS, step.ious, shape[:2]), (SCORES, step.score, (n, 1))):
        if given is not None and tuple(given.shape) != expected:
            raise ShapeError(f"{where} has {key} of shape {tuple(given.shape)}, expected {expected}")
    return step


def alike(steps: Sequence[Step]) -> list[list[int]]:
    """Return the indices of the steps, those with the same number of masks together."""
    found: dict[int, list[int]] = {}
    for index, step in enumerate(steps):
        found.setdefault(step.masks.shape[1], []).append(index)
    return list(found.values())
