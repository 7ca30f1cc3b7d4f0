"""The pairs of a batch: which query of a level is compared with which target of its image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lossreg_segmentation.distributed import exchanging
from lossreg_segmentation.matched.assignment import assign, pairs_of
from lossreg_segmentation.matched.inputs import Level, Objects
from lossreg_segmentation.matched.points import AllPixels, RandomPoints
from lossreg_segmentation.statistics.request import sums_dtype

# From a level, the targets and their labels (B, M) to (B, Q, M).
Costs = Callable[[Level, Sequence[Objects], Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Pairs:
    """The R pairs of each of L levels, image by image. Their number is known without a look at their values."""

    levels: Sequence[Level]
    targets: Sequence[Objects]
    index: Tensor  # (L, R, 3): image, query, target

    @classmethod
    def of_least_cost(cls, levels: Sequence[Level], targets: Sequence[Objects], costs: Costs) -> Pairs:
        """Match the targets with queries of each level."""
        sizes = [len(objects.labels) for objects in targets]
        masks = levels[0].masks
        if pairs_of(masks.shape[1], sizes) == 0:
            return cls(levels, targets, torch.zeros(len(levels), 0, 3, dtype=torch.long, device=masks.device))
        with torch.no_grad():
            labels = _padded_labels(targets)
            return cls(levels, targets, assign(torch.stack([costs(one, targets, labels) for one in levels]), sizes))

    @property
    def counts(self) -> list[int]:
        """Return the number of pairs of each image."""
        queries = self.levels[0].masks.shape[1]
        return [min(queries, len(objects.labels)) for objects in self.targets]

    def masks(self, points: RandomPoints | AllPixels) -> tuple[Tensor, Tensor]:
        """Return logits and targets of all pairs where they are compared, (L R, P) each."""
        rows = [one.masks[image, query] for one, (image, query, _) in self._each_level()]
        if not self.index.numel():
            return torch.cat([row.flatten(1) for row in rows]), torch.cat([row.detach().flatten(1) for row in rows])
        found = [
            points.of_pairs(row, self.targets, target.split(self.counts))
            for row, (_, (_, _, target)) in zip(rows, self._each_level(), strict=True)
        ]
        logits, targets = zip(*found, strict=True)
        return torch.cat(logits), torch.cat(targets)

    def classes(self, no_object: int) -> Tensor:
        """Return the class of each query, (L, B, Q): that of its target, or `no_object`."""
        classes = self.index.new_full((len(self.levels), *self.levels[0].masks.shape[:2]), no_object)
        if self.index.numel():
            labels = _padded_labels(self.targets)
            level = torch.arange(len(self.levels), device=self.index.device).unsqueeze(1)
            image, query, target = self.index.unbind(2)
            classes[level, image, query] = labels[image, target]
        return classes

    def by_image(self, values: Tensor) -> Tensor:
        """Add the values of pairs, (L R,), up for each image: (L, B)."""
        parts = values.view(*self.index.shape[:2]).split(self.counts, 1) if self.targets else ()
        return torch.stack([part.sum(1) for part in parts], 1) if parts else values.view(len(self.levels), 0)

    def _each_level(self) -> list[tuple[Level, Sequence[Tensor]]]:
        return [(one, index.unbind(1)) for one, index in zip(self.levels, self.index, strict=True)]


def _padded_labels(targets: Sequence[Objects]) -> Tensor:
    return pad_sequence([objects.labels for objects in targets], batch_first=True)


def means_of_ranks(numbers: Sequence[float], like: Tensor) -> Sequence[float | Tensor]:
    """Return the mean over ranks of each number, and 1 for 0; one collective, and none with gradients off."""
    if not exchanging():
        return [number or 1.0 for number in numbers]
    dtype, device = sums_dtype(like), like.device
    # Filled on the device: a copy from the host would wait for it.
    means = torch.stack([torch.full((), float(number), dtype=dtype, device=device) for number in numbers])
    dist.all_reduce(means)
    means /= dist.get_world_size()
    return torch.where(means > 0, means, 1.0).unbind()
