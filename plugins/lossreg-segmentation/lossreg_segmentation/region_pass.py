"""One pass over logits and target that computes the sums of each region of an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from lossreg_segmentation.mask_pass import MaskPass
from lossreg_segmentation.statistics import MaskStatistics, chosen
from lossreg_segmentation.statistics.checks import check_tensors, counting
from lossreg_segmentation.statistics.plain import without_notes
from lossreg_segmentation.statistics.regions import Packing, added, checked_regions, contains, padding_mark, tiles_of
from lossreg_segmentation.statistics.request import FIELDS
from lossreg_segmentation.statistics.value_checks import check_pass, checked
from lossreg_segmentation.statistics.weights import read_weight


@dataclass(eq=False, slots=True)
class RegionPass:
    """A pass whose sums are those of each region, (B, R, C).

    regions: the number of each pixel's region, (B, 1, *) or (B, *) for all channels, or (B, C, *). A pixel whose number
    is below 0 is in no sum. count: the number of regions, R.
    """

    whole: MaskPass
    regions: Tensor | None
    count: int

    def merged(self, other: object) -> RegionPass | None:
        """Return one pass for both, if they read the same tensors in the same way; otherwise None."""
        if not isinstance(other, RegionPass) or self.regions is not other.regions or self.count != other.count:
            return None
        both = self.whole.merged(other.whole)
        return None if both is None else replace(self, whole=both)

    def compute(self) -> MaskStatistics:
        """Compute the sums."""
        whole = self._flat()
        regions = checked_regions(self.regions, self.whole.input)
        batch, channels = whole.input.shape[:2]
        if regions.shape[1] == 1:
            found = _sums(whole, regions[:, 0], self.count)
        elif whole.activation == "sigmoid":  # each mask is an image of its own
            like = whole.input.shape
            weight = None if whole.weight is None else _alone(whole.weight.expand(like))
            target = _alone(whole.target.expand(like))
            alone = replace(whole, input=_alone(whole.input), target=target, weight=weight)
            found = _sums(alone, regions.flatten(0, 1), self.count)
            found = found.view(-1, batch, channels, self.count).transpose(2, 3)
        else:  # the classes of a pixel share one softmax, so each class takes a pass with its own regions
            each = [_sums(whole, regions[:, c], self.count)[..., c] for c in range(channels)]
            found = torch.stack(each, 3)
        names = [name for name in FIELDS if name in whole.needs]
        return MaskStatistics(**dict(zip(names, found.unbind(), strict=True)))

    def _flat(self) -> MaskPass:
        """Return the pass over (B, C, L), whose target has a value for positions to ignore."""
        whole = self.whole
        input, target, weight = without_notes(whole.input), without_notes(whole.target), whole.weight
        if whole.activation == "sigmoid" and target.ndim < input.ndim:
            target = target.unsqueeze(1)
        check_tensors(input, target, whole.activation)
        if weight is not None:
            weight = read_weight(weight, input, whole.activation)
        batch, channels, *size = input.shape
        pixels = prod(size)  # not -1, which an empty batch leaves open
        classes = channels if target.ndim < input.ndim else 0
        marked, mark = padding_mark(counting(target), whole.ignore_index, classes)
        given = input, target, whole.activation, whole.ignore_index, weight
        if torch.compiler.is_compiling():
            marked = checked(*given).to(marked.dtype)
        elif mark != whole.ignore_index and contains(marked, mark):
            check_pass(*given)
        return replace(
            whole,
            input=input.reshape(batch, channels, pixels),
            target=marked.reshape((batch, pixels) if classes else (batch, target.shape[1], pixels)),
            weight=None if weight is None else weight.reshape(batch, weight.shape[1], pixels),
            ignore_index=mark,
        )


def _alone(x: Tensor) -> Tensor:
    """Return masks (B, C, L) as images of one mask, (B C, 1, L)."""
    return x.reshape(-1, 1, x.shape[2])


def packing_of(whole: MaskPass, regions: Tensor, count: int) -> Packing:
    """Return the packing of regions (B, L) for a pass over (B, C, L), by runs where Numba's kernels compute."""
    if (
        torch.compiler.is_compiling()
        or len(regions) == 0
        or chosen(whole.input, whole.target, whole.activation) != "numba"
    ):
        return tiles_of(regions, count)
    from lossreg_segmentation.statistics.numba_regions import Runs  # an optional package

    return Runs(regions, count)


def _sums(whole: MaskPass, regions: Tensor, count: int) -> Tensor:
    """Return the sums of a pass over (B, C, L) for regions (B, L), (K, B, R, C)."""
    tiles = packing_of(whole, regions, count)
    index = whole.target.ndim < whole.input.ndim
    target = tiles.pack(whole.target.unsqueeze(1) if index else whole.target, float(whole.ignore_index or 0))
    packed = replace(
        whole,
        input=tiles.pack(whole.input, 0.0),
        target=target.squeeze(1) if index else target,
        weight=None if whole.weight is None else tiles.pack(whole.weight, 0.0),
    )
    sums = torch.stack([field for field in packed.compute() if field is not None])
    return added(sums, tiles.owner, len(regions), count)
