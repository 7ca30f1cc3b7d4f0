"""The inputs of `matched`: levels of predictions, and the targets of each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from lossreg.authoring import debugging
from lossreg.errors import DTypeError, InputError, ShapeError
from lossreg_segmentation.statistics.plain import has_values


class Level(NamedTuple):
    """The predictions of one layer for B images, by Q queries each."""

    masks: Tensor  # (B, Q, H, W) logits
    classes: Tensor  # (B, Q, C + 1) logits, the last of no object


class Objects(NamedTuple):
    """The M objects of one image."""

    masks: Tensor  # (M, h, w)
    labels: Tensor  # (M,) from 0 to C - 1


def read_levels(input: Any, classes: int) -> list[Level]:
    """Check the predictions and return them as levels, the final one last."""
    given = [input] if isinstance(input, Mapping) else input
    if not isinstance(given, Sequence) or not given:
        raise InputError(
            'input must be {"masks": (B, Q, H, W), "classes": (B, Q, C + 1)}, or a list of them with the final one'
            f" last, got {'an empty list' if isinstance(given, Sequence) else type(input).__name__}"
        )
    levels = []
    for number, one in enumerate(given):
        where = "input" if isinstance(input, Mapping) else f"input[{number}]"
        level = Level(*_tensors(where, one, Level._fields))
        _check_level(where, level, classes)
        levels.append(level)
        for name, field, first in zip(Level._fields, level, levels[0], strict=True):
            if field.shape[:2] != first.shape[:2] or field.device != first.device:
                raise ShapeError(
                    f"{where}[{name!r}] has shape {tuple(field.shape)} on {field.device}, that of input[0]"
                    f" {tuple(first.shape)} on {first.device}; give all levels the same images, queries and device"
                )
    return levels


def _check_level(where: str, level: Level, classes: int) -> None:
    for name, field in zip(Level._fields, level, strict=True):
        if not field.is_floating_point():
            raise DTypeError(f"{where}[{name!r}] must be floating-point logits, got {field.dtype}")
    masks, shape = tuple(level.masks.shape), tuple(level.classes.shape)
    if len(masks) != 4 or 0 in masks[1:]:
        raise ShapeError(f'{where}["masks"] must be (B, Q, H, W) logits of at least one query, got shape {masks}')
    if shape != (*masks[:2], classes + 1):
        raise ShapeError(
            f'{where}["classes"] must be (B, Q, classes + 1) = {(*masks[:2], classes + 1)}, the last for no object, got'
            f" {shape}; set classes to the number of classes without it"
        )


def read_targets(target: Any, level: Level, classes: int) -> list[Objects]:
    """Check the targets and return them, one for each image."""
    images = len(level.masks)
    if isinstance(target, (Mapping, str)) or not isinstance(target, Sequence) or len(target) != images:
        given = f"{len(target)} of them" if isinstance(target, (list, tuple)) else type(target).__name__
        raise ShapeError(
            f'target must be a list of {images} dicts {{"masks": (M, h, w), "labels": (M,)}}, one for each image of'
            f" the input, got {given}"
        )
    found = []
    for number, one in enumerate(target):
        where = f"target[{number}]"
        objects = Objects(*_tensors(where, one, Objects._fields))
        _check_objects(where, objects, level)
        objects = objects._replace(labels=objects.labels.long())  # torch compares no wide unsigned numbers
        _check_labels(where, objects.labels, classes)
        found.append(objects)
    return found


def _check_objects(where: str, objects: Objects, level: Level) -> None:
    masks, labels = objects
    if masks.ndim != 3 or labels.ndim != 1 or len(masks) != len(labels) or (len(masks) and 0 in masks.shape):
        raise ShapeError(
            f'{where} has "masks" of shape {tuple(masks.shape)} and "labels" of shape {tuple(labels.shape)}, expected'
            " (M, h, w) and (M,): one mask and one label for each object"
        )
    if masks.is_complex() or labels.is_floating_point() or labels.is_complex() or str(labels.dtype) == "torch.bool":
        raise DTypeError(
            f'{where} has "masks" of {masks.dtype} and "labels" of {labels.dtype}; give masks of numbers or bool, and'
            " labels of a type of integers, as by .long()"
        )
    for name, field in zip(Objects._fields, objects, strict=True):
        if field.requires_grad:
            raise InputError(f"{where}[{name!r}] requires a gradient, which targets never get; call .detach() on it")
        if field.device != level.masks.device:
            raise InputError(
                f"{where}[{name!r}] is on {field.device} and the input on {level.masks.device}; move one with .to()"
            )


def _check_labels(where: str, labels: Tensor, classes: int) -> None:
    """Check the values of labels where that costs no wait for a device."""
    if not has_values(labels) or not (labels.device.type == "cpu" or debugging()):
        return
    wrong = ((labels < 0) | (labels >= classes)).nonzero()
    if len(wrong):
        place = int(wrong[0])
        raise InputError(
            f'{where}["labels"] holds {int(labels[place])} at place {place}; with classes={classes} labels are 0 to'
            f" {classes - 1}, and no object is not among them: renumber the labels, or set classes to their number"
        )


def _tensors(where: str, given: Any, names: Sequence[str]) -> list[Tensor]:
    """Return the tensors of these names in a mapping."""
    if not isinstance(given, Mapping) or any(name not in given for name in names):
        found = f"one with {', '.join(map(repr, given)) or 'nothing'}" if isinstance(given, Mapping) else given
        found = found if isinstance(found, str) else type(given).__name__
        raise InputError(f"{where} must be a dict with {' and '.join(map(repr, names))}, got {found}")
    for name in names:
        if not isinstance(given[name], Tensor):
            raise DTypeError(f"{where}[{name!r}] must be a tensor, got {type(given[name]).__name__}")
    return [given[name] for name in names]
