"""The values of each class of a term, computed only when `LossOutput.per_class` is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lossreg import Term
from lossreg_segmentation.mask_pass import MaskPass


@dataclass(eq=False)
class ValuesByClass:
    """Values (B, C), divided by the pixels of each class if they are sums; NaN where a class does not count.

    Args:
        count: how much each value counts; None counts all alike.
        pixels: the pixels of each class, or a function that counts them; None for values that are no sums.
    """

    values: Tensor
    count: Tensor | None
    pixels: Tensor | Callable[[], Tensor] | None = None

    def __call__(self) -> Tensor:
        values = self.values.clone()
        if self.pixels is not None:
            pixels = self.pixels if isinstance(self.pixels, Tensor) else self.pixels()
            values = torch.where(pixels > 0, values / pixels, torch.nan)
        return values if self.count is None else torch.where(self.count > 0, values, torch.nan)


def uncounted() -> Tensor:
    """Stand for the pixels of each class until `count_pixels` replaces it."""
    raise RuntimeError("the pixels of each class are counted by count_pixels")


def count_pixels(terms: Iterable[Term], one: MaskPass, *, batch: bool) -> None:
    """Let terms of a softmax count the pixels of each class in the target of a pass, when they are read."""
    # Of the logits only the shape matters; the logits themselves would stay in memory with the output.
    x = one.input
    like = torch.zeros((), dtype=x.dtype, device=x.device).expand(x.shape)
    counting = MaskPass(like, one.target, "softmax", frozenset({"actual"}), 2.0, one.ignore_index, weight=one.weight)
    for term in terms:
        if isinstance(term.by_class, ValuesByClass) and term.by_class.pixels is uncounted:
            term.by_class.pixels = partial(_pixels, counting, batch)


def _pixels(counting: MaskPass, batch: bool) -> Tensor:
    (actual,) = (each for each in counting.compute() if each is not None)
    return actual.sum(0, keepdim=True) if batch else actual
