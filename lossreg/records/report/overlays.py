"""Masks as pictures to lay over an image: a tint of the foreground, and the outlines of all regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lossreg.records.report.thumbnails import LARGE, Thumbnail, encoded

if TYPE_CHECKING:
    from PIL.Image import Image

# Okabe and Ito 2008: distinguishable with any colour vision. A prediction is drawn over a target, so it is fainter.
TARGET = ((230, 159, 0), 0.42)
PREDICTION = ((86, 180, 233), 0.22)
Ink = tuple[tuple[int, int, int], float]  # colour, and how much of it the tint has

EDGE = 2  # pixels of an outline
_MANY = 64  # values: more are shades or probabilities, not classes
_IGNORED = 255  # beside other classes: pixels that count nowhere


def overlay(mask: npt.NDArray[Any], ink: Ink) -> Thumbnail:
    """Draw a mask, (H, W) or (H, W, 3), in one colour on a transparent ground; its longer side has LARGE pixels."""
    from PIL import Image

    colour, share = ink
    height, width = mask.shape[:2]
    scale = LARGE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    foreground, labels = _regions(mask)
    area = np.asarray(Image.fromarray(foreground).resize(size, Image.Resampling.BOX), dtype=np.float64)
    rows = (np.arange(size[1]) * height) // size[1]
    columns = (np.arange(size[0]) * width) // size[0]
    alpha = np.where(_edges(labels[np.ix_(rows, columns)]), 255.0, area * share)
    rgba = np.empty((size[1], size[0], 4), dtype=np.uint8)
    rgba[..., :3], rgba[..., 3] = colour, alpha.round()
    return encoded(Image.fromarray(rgba), lossless=True)


def _regions(mask: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]:
    """Return the foreground, 0 or 255, and a number for each region; nothing is drawn where it is 0."""
    if mask.ndim == 3:  # classes as colours: black is background
        values = mask.astype(np.uint32)
        labels = (values[..., 0] << 16) | (values[..., 1] << 8) | values[..., 2]
        return _white(labels > 0), labels
    if mask.dtype.kind == "f":  # probabilities, or logits where some are beyond them
        finite = np.nan_to_num(mask.astype(np.float64), nan=0.0)
        chosen = finite > (0.5 if finite.min(initial=0.0) >= 0 and finite.max(initial=0.0) <= 1 else 0.0)
        return _white(chosen), chosen
    some = np.unique(mask[:: max(1, mask.shape[0] // 512), :: max(1, mask.shape[1] // 512)])
    if len(some) > _MANY or _is_compressed(some):
        chosen = mask > some.max() / 2
        return _white(chosen), chosen
    is_class = len(some[(some != 0) & (some != _IGNORED)]) > 0
    return _white((mask != 0) & (mask != _IGNORED if is_class else True)), mask


def _is_compressed(values: npt.NDArray[Any]) -> bool:
    """Recognise black and white with the noise of a JPEG: values near 0 and near 255, and none between."""
    near = (values >= 192) & (values < _IGNORED)
    return bool(near.any() and not ((values > 63) & (values < 192)).any())


def _white(chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return chosen.astype(np.uint8) * 255


def _edges(labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Find the pixels of regions, but of the one numbered 0, that are near another region or the frame."""
    framed = np.pad(labels, EDGE)
    height, width = labels.shape
    edge = np.zeros(labels.shape, dtype=bool)
    for move in (-EDGE, -1, 1, EDGE):
        edge |= framed[EDGE + move : EDGE + move + height, EDGE:-EDGE] != labels
        edge |= framed[EDGE:-EDGE, EDGE + move : EDGE + move + width] != labels
    edge &= labels != 0
    return edge


def as_mask(image: Image) -> npt.NDArray[Any]:
    """Read the values of an image as a mask: the indices of a palette, grey values, or colours where they differ."""
    if image.mode in ("RGBA", "RGB", "LA", "PA", "CMYK", "YCbCr"):
        pixels = np.asarray(image.convert("RGBA"))
        opaque = pixels[..., 3] > 127
        colours = pixels[..., :3]
        if not colours[opaque].any() and not opaque.all():  # the mask is in the transparency
            return opaque
        colours = colours * opaque[..., None]
        grey = (colours == colours[..., :1]).all()
        return colours[..., 0] if grey else colours
    return np.asarray(image)
