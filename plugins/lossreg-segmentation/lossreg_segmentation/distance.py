"""Distances to the boundary of a mask, and the base of the losses that weight pixels by them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from typing import Annotated, Any, ClassVar, Unpack

import torch
from pydantic import Field
from torch import Tensor

from lossreg import Term
from lossreg.authoring import PerPixel
from lossreg.errors import DTypeError, ImplementationError, InputError, ShapeError
from lossreg_segmentation.dense_loss import DenseOptions, Pixels, WeightedDenseLoss, read_pixels
from lossreg_segmentation.statistics.autocast import outside_autocast
from lossreg_segmentation.statistics.checks import check_values, is_ignored

Spacing = Annotated[Sequence[Annotated[float, Field(gt=0)]], Field(min_length=1)]


def signed_distance(
    target: Tensor, *, spacing: Sequence[float] | None = None, ignore_index: int | None = None
) -> Tensor:
    """Compute the distance to the boundary of each mask: negative inside, positive outside; float32, (N, C, *).

    It is Euclidean, from a pixel to the nearest one on the other side, centre to centre: at least one pixel. A mask
    without a boundary, empty or full, is 0 everywhere. Compute the map once per target, in the data set, and pass it to
    the losses as `distance=`: they then need not compute it in every step.

    Args:
        target: masks (N, C, *), bool or values from 0 to 1; above 1/2 is inside.
        spacing: size of a pixel along each axis, > 0; None for 1, which gives distances in pixels.
        ignore_index: target value of pixels that count as outside; None for none.
    Raises:
        ShapeError: target has no axes after (N, C), or spacing not one number for each.
        InputError: values outside [0, 1], a spacing that is not positive.
        ImplementationError: SciPy is not installed.
    Numerics: exact up to rounding. SciPy always computes on the CPU: a target on a GPU is copied to it and the map
        copied back, which synchronises with the device.
    Source: Maurer et al. 2003, as scipy.ndimage.distance_transform_edt.
    """
    if not isinstance(target, Tensor) or target.is_complex():
        given = target.dtype if isinstance(target, Tensor) else type(target).__name__
        raise DTypeError(f"target must be a tensor of masks, bool, integer or float, got {given}")
    sizes = pixel_sizes(target, spacing)
    if target.device.type == "cpu" and not torch.compiler.is_compiling():
        check_values(target, target.shape[1], False, ignore_index)
    return _signed((target > 0.5) & ~is_ignored(target, ignore_index), sizes)


def _signed(inside: Tensor, sizes: Sequence[float] | None) -> Tensor:
    distance = boundary_distance(inside, sizes)
    return torch.where(inside, -distance, distance)


def pixel_sizes(masks: Tensor, spacing: Sequence[float] | None) -> list[float] | None:
    """Return the size of a pixel along each axis of masks (N, C, *); None if all are 1, which is faster in SciPy."""
    axes = masks.ndim - 2
    if axes < 1:
        raise ShapeError(f"masks have shape {tuple(masks.shape)}, expected (N, C, *): distances need an axis after C")
    if spacing is None:
        return None
    if len(spacing) != axes:
        raise ShapeError(f"spacing has {len(spacing)} sizes, masks have {axes} axes after (N, C); give one per axis")
    if not all(0 < size < math.inf for size in spacing):
        raise InputError(f"spacing must be the sizes of a pixel, positive and finite, got {list(spacing)}")
    return [float(size) for size in spacing]


# A custom operator, so that torch.compile does not trace SciPy.
@torch.library.custom_op("lossreg::boundary_distance", mutates_args=())
def boundary_distance(inside: Tensor, spacing: Sequence[float] | None) -> Tensor:
    """Return the distance of each pixel of bool masks (N, C, *) to the nearest one on the other side, float32, >= 0."""
    ndimage = _scipy_ndimage()
    if inside.numel() == 0:
        return torch.zeros(inside.shape, device=inside.device)
    masks = inside.cpu().flatten(0, 1).numpy()
    distance = partial(_mask_distance, ndimage, spacing)
    threads = min(len(masks), torch.get_num_threads())  # 1 in the workers of a data loader
    if threads == 1:
        found = [distance(mask) for mask in masks]
    else:  # SciPy releases the interpreter's lock while it searches
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(distance, masks))
    return torch.stack(found).view(inside.shape).to(inside.device)


@boundary_distance.register_fake
def _(inside: Tensor, spacing: Sequence[float] | None) -> Tensor:
    return torch.empty(inside.shape, dtype=torch.float32, device=inside.device)


@boundary_distance.register_vmap
def _(info: Any, where: Any, inside: Tensor, spacing: Sequence[float] | None) -> tuple[Tensor, int]:
    """Compute the masks of all examples in one call."""
    masks = inside.movedim(where[0], 0)
    return boundary_distance(masks.flatten(0, 1), spacing).view(masks.shape), 0


def _mask_distance(ndimage: Any, spacing: Sequence[float] | None, mask: Any) -> Tensor:
    """Return the distances of one mask, an array (*)."""
    if mask.all() or not mask.any():
        return torch.zeros(mask.shape)
    found = ndimage.distance_transform_edt(~mask, spacing)
    # The nearest outside pixel of any inside pixel is in its bounding box or one pixel beyond: search only there.
    (box,) = ndimage.find_objects(mask.view("int8"))
    box = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
    found[box] += ndimage.distance_transform_edt(mask[box], spacing)
    return torch.from_numpy(found).float()


def _scipy_ndimage() -> Any:
    """Import scipy.ndimage on first use, because only these losses need it."""
    try:
        ndimage: Any = import_module("scipy.ndimage")
    except ImportError as error:
        raise ImplementationError(
            "distances need SciPy, which is not installed: pip install 'lossreg-segmentation[boundary]', or pass"
            " maps that were computed before as distance=",
            implementation="scipy",
        ) from error
    return ndimage


class DistanceLoss(WeightedDenseLoss):
    """Base of losses that weight pixels by the distance to the target's boundary.

    Call it as `loss(input, target)` or, with a map from `signed_distance`, as `loss(input, target, distance=map)`.
    Without a map, ignored pixels count as outside.

    Args:
        spacing: size of a pixel along each axis, > 0; None for 1.
        **options: the options of `DenseLoss`.
    """

    positional = True
    per_pixel: ClassVar[Mapping[str, PerPixel]] = {"weight": "weight", "distance": "distance"}

    def __init__(self, *, spacing: Spacing | None = None, **options: Unpack[DenseOptions]) -> None:
        super().__init__(**options)
        self.spacing = spacing

    def terms(
        self, input: Tensor, target: Tensor, distance: Tensor | None = None, *, weight: Tensor | None = None
    ) -> dict[str, Term]:
        """Compute the terms by the formula; `distance` is (N, C, *), from `signed_distance`, or shared (N, 1, *)."""
        task = self.task_of(input, target)
        with outside_autocast(input):
            pixels = read_pixels(input, target, task, self.ignore_index, weight)
            sizes = pixel_sizes(pixels.target, self.spacing)
            if distance is None:
                distance = _signed(pixels.target > 0.5, sizes)
            else:
                shared = self.task == "shared" and getattr(distance, "shape", ())[1:2] == (1,)  # as their mask is
                check_map(distance, input[:, :1] if shared else input)
            # Cast first, because a power in the map's own type may overflow. Mask before the product: NaN * 0 is NaN.
            distance = distance.detach().to(pixels.logits.dtype)
            terms = self.distance_formula(pixels, torch.where(pixels.valid, distance, 0.0))
            return self.of_ranks(terms, input)

    def distance_formula(self, pixels: Pixels, distance: Tensor) -> dict[str, Term]:
        """Turn the pixels and the signed distances of their target, (B, C, *), into terms."""
        raise NotImplementedError(f"{type(self).__name__} must define distance_formula(pixels, distance)")


def check_map(distance: Tensor, input: Tensor) -> None:
    """Check that a distance map has the type, shape and device of these logits."""
    if not isinstance(distance, Tensor) or not distance.is_floating_point():
        given = distance.dtype if isinstance(distance, Tensor) else type(distance).__name__
        raise DTypeError(f"distance must be a floating tensor, from signed_distance(target), got {given}")
    if distance.shape != input.shape:
        raise ShapeError(
            f"input has shape {tuple(input.shape)}, so distance too, got {tuple(distance.shape)}; give signed_distance"
            " the masks in that shape (a target (N, *) with .unsqueeze(1), class indices one-hot)"
        )
    if distance.device != input.device:
        raise InputError(f"input is on {input.device} and distance on {distance.device}; move one with .to()")
