"""Which classes count in a loss, and how much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from lossreg import Loss
from lossreg.errors import InputError, ShapeError
from lossreg_segmentation.class_numbers import as_like, chosen, moved, numbers

ClassWeights = Annotated[Sequence[Annotated[float, Field(ge=0)]], Field(min_length=2)]
Classes = Annotated[Sequence[Annotated[int, Field(ge=0)]], Field(min_length=1)]

_ONE_CHANNEL = "one channel has no background"


class ClassLoss(Loss):
    """Base of losses with numbers per class. `SegmentationLoss` documents the options."""

    class_weight: Tensor | None
    background: bool
    classes: tuple[int, ...] | None
    _class_values: dict[str, None]

    def class_values(self, name: str, values: Tensor | Sequence[float] | float | None) -> None:
        """Set numbers per class, which keep their values in a model of any type; checkpoints do not contain them."""
        self.__dict__.setdefault("_class_values", {})[name] = None  # a set in the order of its names
        setattr(self, name, None if values is None else numbers(values))

    def _apply(self, fn: Any, *arguments: Any, **options: Any) -> Any:
        found = super()._apply(fn, *arguments, **options)
        device = fn(torch.empty(0, device="cpu")).device
        for name in self._class_values:
            if isinstance(values := vars(self).get(name), Tensor):
                setattr(self, name, moved(values, device))
        return found

    def choose_classes(
        self, class_weight: ClassWeights | None, background: bool, classes: Classes | None, task: str
    ) -> None:
        """Set the weights of the classes and which of them count; check all that needs no input."""
        self.background, self.classes = background, None if classes is None else tuple(map(int, classes))
        if not background and task == "binary":
            raise InputError(f"{_ONE_CHANNEL}: leave out background=False in the task 'binary'")
        if self.classes is not None:
            _check_indices(self.classes, background)
            if task == "binary":
                self._kept(1)
        if class_weight is not None:
            if task == "binary":
                raise _wrong_number(len(class_weight), 1)
            self._check_weights(class_weight)
        self.class_values("class_weight", class_weight)

    @property
    def leaves_out(self) -> bool:
        """Return True if some classes may be left out."""
        return not self.background or self.classes is not None

    @property
    def weighs_classes(self) -> bool:
        """Return True if classes may differ in their weight."""
        return self.class_weight is not None or self.leaves_out

    def class_weights(self, like: Tensor) -> Tensor | None:
        """Return the weights of the classes, (C,), in the dtype of `like` (B, C, ...); None if all count alike."""
        weights = None if self.class_weight is None else _weights(self.class_weight, like)
        if not self.leaves_out:
            return weights
        counted = self.counted_classes(like)
        return counted if weights is None else weights * counted

    def counted_classes(self, like: Tensor) -> Tensor:
        """Return 1 for each class that counts and 0 for the others, (C,), in the dtype of `like` (B, C, ...)."""
        kept = self._kept(like.shape[1])
        if torch.compiler.is_compiling():  # which keeps no tensors
            return torch.tensor([float(c in kept) for c in range(like.shape[1])], dtype=like.dtype, device=like.device)
        return as_like(chosen(kept, like.shape[1]), like)

    def _kept(self, classes: int) -> tuple[int, ...]:
        """Return the indices of the classes that count."""
        if not self.background and classes == 1:
            raise InputError(f"{_ONE_CHANNEL}, and the input has one; leave out background=False")
        kept = self.classes or tuple(range(0 if self.background else 1, classes))
        if max(kept) >= classes:
            raise ShapeError(
                f"classes contains {max(kept)}, input has {classes} classes; give indices from 0 to {classes - 1}"
            )
        return kept

    def _check_weights(self, class_weight: ClassWeights) -> None:
        if not all(0 <= float(weight) < math.inf for weight in class_weight):
            raise InputError(f"class_weight must be finite numbers >= 0, got {class_weight}; 0 leaves a class out")
        counted = [class_weight[c] for c in self._kept(len(class_weight))]
        if not any(counted):
            which = "every class that counts" if self.leaves_out else "every class"
            raise InputError(f"class_weight is zero for {which}; give at least one class a weight above 0")


def _check_indices(classes: tuple[int, ...], background: bool) -> None:
    if not background:
        raise InputError("background=False and classes= both choose classes; leave out background=False")
    if not classes or min(classes) < 0 or len(set(classes)) < len(classes):
        raise InputError(f"classes has at least one index >= 0, each once, got {[*classes]}; name each class once")


def _weights(class_weight: Tensor, like: Tensor) -> Tensor:
    """Return the class weights in the dtype of `like` (B, C, ...); check their number."""
    classes = like.shape[1]
    if len(class_weight) != classes:
        raise _wrong_number(len(class_weight), classes)
    return as_like(class_weight, like)


def _wrong_number(weights: int, classes: int) -> ShapeError:
    return ShapeError(
        f"class_weight has {weights} weights, input has {classes} classes; give one per class"
        + (" (remove class_weight: a single class needs none)" if classes == 1 else "")
    )
