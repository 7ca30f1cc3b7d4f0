"""Maps of a target, which a data set computes once: components, their cells, weights of borders, and skeletons."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from lossreg.errors import DTypeError, ImplementationError, InputError, ShapeError

LEAST = 1e-9  # border weights below it are 0: float32 would not tell them from 0 beside 1


def components(mask: Tensor, *, diagonal: bool = True) -> Tensor:
    """Return the number of the connected component of each pixel, from 1 in each mask; 0 outside. int32, (N, C, *).

        labels = components(masks)  # in the data set
        loss(input, target, regions=labels)  # a per_region loss with background: shared

    Args:
        mask: masks (N, C, *), bool or values from 0 to 1; above 1/2 is inside.
        diagonal: pixels that touch only at a corner or an edge belong together.
    Raises:
        ShapeError: not two or more axes after (N, C).
        InputError: values outside [0, 1].
        ImplementationError: SciPy is not installed.
    Source: scipy.ndimage.label.
    """
    ndimage = _library("scipy.ndimage", "boundary")

    def numbered(inside: Any) -> Any:
        return ndimage.label(inside, ndimage.generate_binary_structure(inside.ndim, inside.ndim if diagonal else 1))[0]

    return _each(_inside(mask), numbered, torch.int32)


def voronoi(labels: Tensor) -> Tensor:
    """Give each pixel the number of the nearest component, so that the cells fill the image. (N, C, *), as the labels.

        cells = voronoi(components(masks))  # in the data set
        loss(input, target, regions=cells)  # a per_region loss: the CC loss

    Args:
        labels: numbers of components, integers (N, C, *), 0 for the background. A map without a component stays 0, and
            pixels below 0, which count nowhere, stay as they are.
    Raises:
        ShapeError: not two or more axes after (N, C).
        DTypeError: labels are no integers.
        ImplementationError: SciPy is not installed.
    Numerics: Euclidean distances from centre to centre; a pixel that is as near to several components gets any of them.
    Source: scipy.ndimage.distance_transform_edt.
    """
    ndimage = _library("scipy.ndimage", "boundary")

    def cells(numbers: Any) -> Any:
        outside = numbers <= 0
        if outside.all():
            return numbers
        nearest = ndimage.distance_transform_edt(outside, return_distances=False, return_indices=True)
        found = numbers[tuple(nearest)]
        found[numbers < 0] = numbers[numbers < 0]
        return found

    return _each(_numbers(labels), cells, labels.dtype)


def border_weights(labels: Tensor, *, w0: float = 10.0, sigma: float = 5.0) -> Tensor:
    """Compute the weight of each pixel that separates touching objects; float32, (N, C, *).

        weight = 1 + w0 exp(-(d1 + d2)^2 / (2 sigma^2))

    d1 and d2 are the distances to the nearest and to the second nearest object; inside an object d1 is 0. With fewer
    than two objects all pixels weigh 1. Multiply it by weights of classes, or add them, as the paper does.

        weight = border_weights(labels)  # in the data set
        loss(input, target, weight=weight)

    Args:
        labels: numbers of objects, integers (N, C, *), such as those of `components`; 0 and below are no objects.
        w0: weight between two objects that touch, >= 0.
        sigma: width of the border, pixels, > 0.
    Raises:
        ShapeError: not two or more axes after (N, C).
        DTypeError: labels are no integers.
        InputError: a negative w0, or sigma that is not positive.
        ImplementationError: SciPy is not installed.
    Numerics: distances are exact, from centre to centre; a summand below 1e-9 is 0.
    Source: Ronneberger et al. 2015, eq. 2, with w_c = 1.
    """
    if not (0 <= w0 < math.inf and 0 < sigma < math.inf):
        raise InputError(f"w0 must be at least 0 and sigma above 0, both finite, got w0={w0} and sigma={sigma}")
    ndimage = _library("scipy.ndimage", "boundary")
    far = sigma * math.sqrt(2 * math.log(w0 / LEAST)) if w0 > LEAST else 0.0

    def weights(numbers: Any) -> Any:
        nearest, second = _two_nearest(ndimage, numbers, math.ceil(far) + 1)
        return 1 + w0 * (-((nearest + second) ** 2) / (2 * sigma**2)).exp()

    return _each(_numbers(labels), weights, torch.float32)


def _two_nearest(ndimage: Any, numbers: Any, far: int) -> tuple[Tensor, Tensor]:
    """Return the distance of each pixel to the two nearest objects; inf beyond `far` pixels of an object's box."""
    nearest, second = (torch.full(numbers.shape, math.inf, dtype=torch.float64) for _ in range(2))
    for number, box in _boxes(ndimage, numbers):
        near = tuple(slice(max(side.start - far, 0), side.stop + far) for side in box)
        distance = torch.from_numpy(ndimage.distance_transform_edt(numbers[near] != number))
        second[near] = torch.minimum(second[near], torch.maximum(nearest[near], distance))
        nearest[near] = torch.minimum(nearest[near], distance)
    return nearest, second


def _boxes(ndimage: Any, numbers: Any) -> list[tuple[int, Any]]:
    """Return each number above 0 with the box around its pixels."""
    found, places = torch.from_numpy(numbers).unique(return_inverse=True)
    boxes = ndimage.find_objects((places + 1).numpy())
    return [(number, box) for number, box in zip(found.tolist(), boxes, strict=True) if number > 0]


def hard_skeleton(target: Tensor, *, tube: int = 2) -> Tensor:
    """Compute the centre lines of each mask, widened to tubes inside of it; of the target's type, (N, C, *).

        skeleton = hard_skeleton(masks)  # in the data set
        loss(input, target, skeleton=skeleton)  # a targeted loss, such as skeleton recall

    Args:
        target: masks (N, C, H, W) or (N, C, D, H, W), bool or values from 0 to 1; above 1/2 is inside.
        tube: number of pixels by which the lines are widened, >= 0; 0 leaves them thin.
    Raises:
        ShapeError: not two or three axes after (N, C).
        InputError: values outside [0, 1], or a negative tube.
        ImplementationError: scikit-image is not installed.
    Numerics: one connected object stays one, and holes stay open, but for what the tube closes.
    Source: Kirchhoff et al. 2024 (skeleton recall), of each class alone; skimage.morphology.skeletonize.
    """
    if isinstance(tube, bool) or not isinstance(tube, int) or tube < 0:
        raise InputError(f"tube must be a number of pixels >= 0, got {tube!r}")
    inside = _inside(target)
    if inside.ndim not in (4, 5):
        raise ShapeError(f"target has shape {tuple(target.shape)}, expected (N, C, H, W) or (N, C, D, H, W)")
    morphology = _library("skimage.morphology", "skeleton")
    ndimage = _library("scipy.ndimage", "boundary")

    def lines(mask: Any) -> Any:
        thin = morphology.skeletonize(mask) > 0
        return (ndimage.binary_dilation(thin, iterations=tube) if tube else thin) & mask

    return _each(inside, lines, target.dtype)


def _each(maps: Tensor, change: Callable[[Any], Any], dtype: torch.dtype) -> Tensor:
    """Return the map of each example and channel changed, as arrays of NumPy (*)."""
    if maps.numel() == 0:
        return maps.to(dtype)
    found = [torch.as_tensor(change(one)) for one in maps.cpu().flatten(0, 1).numpy()]
    return torch.stack(found).view(maps.shape).to(maps.device, dtype)


def _inside(mask: Tensor) -> Tensor:
    if not isinstance(mask, Tensor) or mask.is_complex():
        raise DTypeError(f"expected a tensor of masks, bool, integer or float, got {_given(mask)}")
    _check_axes(mask)
    values = mask.to(torch.float64)
    wrong = values[~((values >= 0) & (values <= 1))]
    if len(wrong):
        raise InputError(
            f"a mask contains {wrong[0].item():g}, expected values from 0 to 1; give one mask for each number, as"
            " mask == 1 and mask == 2, or mask == 255 for masks of 0 and 255"
        )
    return values > 0.5


def _numbers(labels: Tensor) -> Tensor:
    if (
        not isinstance(labels, Tensor)
        or labels.is_floating_point()
        or labels.is_complex()
        or labels.dtype == torch.bool
    ):
        raise DTypeError(f"labels must be a tensor of integers, from components(masks), got {_given(labels)}")
    _check_axes(labels)
    return labels.long()


def _given(maps: object) -> str:
    """Return the type of an argument that is no map, and for an array its remedy."""
    if isinstance(maps, Tensor):
        return str(maps.dtype)
    return type(maps).__name__ + ("; use torch.as_tensor() on it" if hasattr(maps, "__array__") else "")


def _check_axes(maps: Tensor) -> None:
    """Refuse maps (N, H, W), whose rows would be images of one dimension."""
    if maps.ndim < 4:
        advice = (
            "unsqueeze(1) for images (N, H, W), unsqueeze(2) for lines (N, C, L)" if maps.ndim == 3 else "[None, None]"
        )
        raise ShapeError(f"a map has shape {tuple(maps.shape)}, expected (N, C, H, W) or more: add axes by {advice}")


def _library(name: str, extra: str) -> Any:
    """Import a library on first use, because only these functions need it."""
    try:
        return import_module(name)
    except ImportError as error:
        library = "scikit-image" if name.startswith("skimage") else "SciPy"
        raise ImplementationError(
            f"this needs {library}, which is not installed: pip install 'lossreg-segmentation[{extra}]'",
            implementation=library.lower(),
        ) from error
