"""Where masks are compared: at random points, as in Mask2Former, or at all pixels, as in MaskFormer.

Places are in [0, 1), x before y, of a canvas that holds the targets of all images: a smaller target lies in its upper
left corner, with zeros around it. A prediction covers the canvas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lossreg.errors import InputError
from lossreg_segmentation.matched.inputs import Objects
from lossreg_segmentation.statistics.plain import has_tangent
from lossreg_segmentation.statistics.request import sums_dtype


@dataclass(frozen=True)
class RandomPoints:
    """New random points in each call, most of those of a loss where its prediction is uncertain.

    Args:
        count: points of each mask.
        oversampling: candidates for the uncertain points, as a multiple of count.
        important: share of uncertain points.
    """

    count: int
    oversampling: float
    important: float

    def of_costs(self, masks: Tensor, targets: Sequence[Objects]) -> tuple[Tensor, Tensor]:
        """Return logits (B, Q, P) and targets (B, M, P) at points that all masks of an image share."""
        if has_tangent(masks):
            raise InputError(
                "matched has no derivative in forward mode at random points, since torch's grid_sample has none: use"
                " .backward() or torch.func.grad, or set points=0"
            )
        places = _random(len(masks), self.count, masks)
        logits = F.grid_sample(masks.to(places.dtype), 2 * places.unsqueeze(1) - 1, align_corners=False)[:, :, 0]
        return logits, _of_all(targets, places)

    def of_pairs(self, masks: Tensor, targets: Sequence[Objects], chosen: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits and targets, (R, P) each, at the points of each of R pairs.

        Args:
            masks: (R, H, W), the predictions of the pairs, image by image.
            chosen: for each image the indices of its targets in the pairs.
        """
        with torch.no_grad():
            places = self._places(masks)
            parts = places.split([len(index) for index in chosen])
            size = canvas(targets)
            sampled = [_sample(t.masks, i, at, size) for t, i, at in zip(targets, chosen, parts, strict=True)]
        return _at(masks, places), torch.cat(sampled)

    def _places(self, masks: Tensor) -> Tensor:
        uncertain = int(self.important * self.count)
        candidates = _random(len(masks), int(self.oversampling * self.count), masks)
        best = _at(masks, candidates).abs().topk(uncertain, dim=1, largest=False).indices
        chosen = candidates.gather(1, best.unsqueeze(-1).expand(-1, -1, 2))
        return torch.cat([chosen, _random(len(masks), self.count - uncertain, masks)], 1)


class AllPixels:
    """All pixels: the targets' own for a loss, those of the predictions for the costs."""

    def of_costs(self, masks: Tensor, targets: Sequence[Objects]) -> tuple[Tensor, Tensor]:
        """Return logits (B, Q, P) and targets (B, M, P), whose nearest pixels to the upper left are taken."""
        height, width = canvas(targets)
        y, x = (
            ((torch.arange(own, device=masks.device) * size).div(own, rounding_mode="floor") + 0.5) / size
            for own, size in zip(masks.shape[2:], (height, width), strict=True)
        )
        places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).to(sums_dtype(masks)).flatten(0, 1)
        return masks.flatten(2).to(places.dtype), _of_all(targets, places.expand(len(masks), -1, -1))

    def of_pairs(self, masks: Tensor, targets: Sequence[Objects], chosen: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits, enlarged to the canvas, and targets, (R, P) each."""
        height, width = canvas(targets)
        wide = masks.unsqueeze(1).to(sums_dtype(masks))
        logits = F.interpolate(wide, size=(height, width), mode="bilinear", align_corners=False).flatten(1)
        padded = [
            F.pad(t.masks[i].to(wide.dtype), (0, width - t.masks.shape[2], 0, height - t.masks.shape[1])).flatten(1)
            for t, i in zip(targets, chosen, strict=True)
            if len(i)
        ]
        return logits, torch.cat(padded)


def canvas(targets: Sequence[Objects]) -> tuple[int, int]:
    """Return the height and width that hold the masks of all images; at least one pixel."""
    sizes = [objects.masks.shape[1:] for objects in targets if len(objects.masks)]
    return max([1, *[size[0] for size in sizes]]), max([1, *[size[1] for size in sizes]])


def _random(rows: int, count: int, like: Tensor) -> Tensor:
    # Always float32, so that inputs of every type have the same points.
    return torch.rand(rows, count, 2, dtype=torch.float32, device=like.device).to(sums_dtype(like))


def _at(masks: Tensor, places: Tensor) -> Tensor:
    """Interpolate masks (R, H, W) at places (R, P, 2); there are zeros around them."""
    wide = masks.unsqueeze(1).to(places.dtype)
    return F.grid_sample(wide, 2 * places.unsqueeze(1) - 1, align_corners=False)[:, 0, 0]


def _of_all(targets: Sequence[Objects], places: Tensor) -> Tensor:
    """Interpolate all targets at the places of their image, (B, P, 2), and pad them to (B, M, P)."""
    size = canvas(targets)
    every = [torch.arange(len(objects.masks), device=places.device) for objects in targets]
    sampled = [_sample(t.masks, i, at[None], size) for t, i, at in zip(targets, every, places, strict=True)]
    return pad_sequence(sampled, batch_first=True)


def _sample(masks: Tensor, index: Tensor, places: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate the masks (M, h, w) of an index (R,) at places (R or 1, P, 2) of a canvas, with zeros around them.

    Only the four pixels around a place are read, so that masks of any type and number are never copied to floats.
    """
    if not len(index):
        return places.new_zeros(0, places.shape[1])
    scale = torch.stack([torch.full((), float(edge), dtype=places.dtype, device=places.device) for edge in size[::-1]])
    position = places * scale - 0.5
    first = position.floor()
    x, y = (position - first).unbind(-1)
    left, top = first.long().unbind(-1)

    def between_columns(row: Tensor) -> Tensor:
        return torch.lerp(
            _read(masks, index, row, left, places.dtype), _read(masks, index, row, left + 1, places.dtype), x
        )

    return torch.lerp(between_columns(top), between_columns(top + 1), y)


def _read(masks: Tensor, index: Tensor, row: Tensor, column: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the pixels (R, P) at rows and columns; 0 outside of the masks."""
    height, width = masks.shape[1:]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    values = masks[index.unsqueeze(1), row.clamp(0, height - 1), column.clamp(0, width - 1)]
    return torch.where(inside, values.to(dtype), 0.0)
