"""Objects of SAM 2 that are merged into categories."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lossreg.errors import DTypeError, InputError, ShapeError

MASKS = "multistep_pred_multimasks_high_res"
IOUS = "multistep_pred_ious"
SCORES = "multistep_object_score_logits"
ABSENT = -1024.0  # the logit of an absent object, as in SAM 2; half precision can hold it

ObjectCategories = Sequence[int] | Mapping[int, int] | Tensor


def merge_objects(
    outs_per_frame: Sequence[Mapping[str, Any]], obj_to_category: ObjectCategories, *, categories: int | None = None
) -> list[dict[str, list[Tensor]]]:
    """Merge the objects in SAM 2's outputs into categories, each an object for the loss `sam2`.

    The logits of a category are the maximum over its objects, for each pixel of each of the M masks, so that its mask
    is the union of theirs. Its logit of presence is the maximum, its predicted IoU the mean. A category without
    objects is absent: its logits are -1024, its predicted IoU is 0, and no gradient flows from it.

    Example:
        Two cells are category 0, a vessel is category 2, and category 1 has no objects:

            outputs = merge_objects(model(batch), [0, 0, 2])
            loss = lossreg.build("sam2")(outputs, merge_targets(batch.masks, [0, 0, 2]))

    Args:
        outs_per_frame: a dict for each frame, of lists over steps: multistep_pred_multimasks_high_res (N, M, H, W),
            multistep_pred_ious (N, M), multistep_object_score_logits (N, 1). The result has no other keys.
        obj_to_category: the category, an integer >= 0, of each of the N objects, the same in every frame: a list, a
            tensor (N,), which the host reads, or a dict from the number of an object to its category.
        categories: the number of categories, >= 1. None for the greatest category + 1, which may vary by batch.
    Raises:
        ShapeError: a tensor has another number of objects than obj_to_category.
        InputError: a category is negative or not below `categories`; a frame is no dict of lists with masks.
        DTypeError: a category is no integer; an output is no tensor.
    """
    members = _members(obj_to_category, categories)
    return [_frame(f"outs_per_frame[{index}]", frame, members) for index, frame in enumerate(outs_per_frame)]


def merge_targets(masks: Tensor, obj_to_category: ObjectCategories, *, categories: int | None = None) -> Tensor:
    """Merge the target masks of objects into those of categories: the union over the objects of each, (T, C, H, W).

    Example:
        `merge_targets(torch.eye(2).reshape(1, 2, 1, 2), [1, 1])` is `[[[[0., 0.]], [[1., 1.]]]]`.

    Args:
        masks: (T, N, H, W), of bool or numbers.
        obj_to_category: as for `merge_objects`. The mask of a category without objects is empty.
        categories: as for `merge_objects`.
    Raises:
        ShapeError, InputError, DTypeError: as `merge_objects`.
    """
    members = _members(obj_to_category, categories)
    if not isinstance(masks, Tensor) or masks.ndim != 4:
        given = f"shape {tuple(masks.shape)}" if isinstance(masks, Tensor) else type(masks).__name__
        raise ShapeError(f"masks must be a tensor (T, N, H, W), got {given}")
    return _merged("masks.transpose(0, 1)", masks.transpose(0, 1), members, 0).transpose(0, 1)


def _frame(where: str, frame: Mapping[str, Any], members: list[list[int]]) -> dict[str, list[Tensor]]:
    if not isinstance(frame, Mapping) or MASKS not in frame:
        raise InputError(f"{where} must be a dict with {MASKS}; give the list that SAM 2's model returns")
    merged = {}
    for key, absent, rule in ((MASKS, ABSENT, Tensor.amax), (IOUS, 0.0, Tensor.mean), (SCORES, ABSENT, Tensor.amax)):
        if key not in frame:
            continue
        if not isinstance(frame[key], Sequence):
            raise InputError(f"{where}[{key!r}] must be a list over steps, got {type(frame[key]).__name__}")
        steps = enumerate(frame[key])
        merged[key] = [_merged(f"{where}[{key!r}][{step}]", given, members, absent, rule) for step, given in steps]
    return merged


def _members(obj_to_category: ObjectCategories, categories: int | None) -> list[list[int]]:
    """Return the objects of each category."""
    given: Any = obj_to_category.tolist() if isinstance(obj_to_category, Tensor) else obj_to_category
    if isinstance(given, Mapping):
        if {*given} != {*range(len(given))}:
            raise InputError(f"the keys of obj_to_category must be the objects 0 to N - 1, got {[*given]!r:.200}")
        given = [given[index] for index in range(len(given))]
    found = [_integer(category) for category in given] if isinstance(given, Iterable) else [_integer(given)]
    if any(category < 0 for category in found):
        raise InputError(f"obj_to_category has {min(found)}; count categories from 0, or leave out the object")
    needed = max(found, default=0) + 1
    count = needed if categories is None else categories
    if count < needed:
        raise InputError(f"obj_to_category needs categories={needed} or more, got {categories}")
    return [[index for index, each in enumerate(found) if each == category] for category in range(count)]


def _integer(category: object) -> int:
    if not isinstance(category, bool):
        try:
            return operator.index(category)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise DTypeError(
        f"obj_to_category must have one integer for each object, got {category!r:.80}; number the categories from 0"
    )


def _merged(
    where: str,
    given: Tensor,
    members: list[list[int]],
    absent: float,
    rule: Callable[[Tensor, int], Tensor] = Tensor.amax,
) -> Tensor:
    """Merge the first dimension of a tensor: by a rule over the objects of each category."""
    if not isinstance(given, Tensor):
        raise DTypeError(f"{where} must be a tensor, got {type(given).__name__}")
    objects = sum(map(len, members))
    if given.ndim == 0 or len(given) != objects:
        raise ShapeError(
            f"{where} has shape {tuple(given.shape)}, obj_to_category has {objects} objects; give it one category for"
            " each object"
        )
    empty = given.new_full(given.shape[1:], absent)
    return torch.stack([rule(given[indices], 0) if indices else empty for indices in members])
