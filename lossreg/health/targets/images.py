"""Readers of masks in PNG, TIFF and .npy files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from lossreg.errors import ShapeError
from lossreg.health.targets.arrays import as_array
from lossreg.health.targets.report import Mask, Target, Unreadable
from lossreg.messages import one_line

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

IMAGES: Final = (".png", ".tif", ".tiff")
ARRAY: Final = ".npy"

_GREY = ("1", "L", "P", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # PIL's modes with one value per pixel
_COLOUR = {"LA": "L", "PA": "P", "RGB": "RGB", "RGBA": "RGB"}  # mode -> without its alpha


def read_file(path: Path, name: str, limit: int | None) -> Iterator[Target]:
    """Yield the masks of a PNG, TIFF or .npy file. limit: of masks in an array; None for all."""
    return _read_array(path, name, limit) if path.suffix.lower() == ARRAY else read_image(path, name)


def read_image(source: Any, name: str) -> Iterator[Target]:
    """Yield the mask of a PNG, or one per page of a TIFF. source: a path or an open binary file."""
    from PIL import Image

    try:
        with Image.open(source, formats=("PNG", "TIFF")) as image:
            pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
            for page in range(pages):
                image.seek(page)
                yield image_mask(image, name if pages == 1 else f"{name}, page {page + 1}")
    except Exception as error:  # noqa: BLE001 - a decoder may raise any error for a broken file
        yield Unreadable(name, one_line(error))


def image_mask(image: Image, name: str) -> Mask | Unreadable:
    """Return the mask of an open image: one channel, palette indices, or equal colour channels."""
    import numpy as np

    if image.mode in _GREY:
        note = "palette indices are the values" if image.mode == "P" else ""
        return Mask(name, np.asarray(image), note)
    if image.mode not in _COLOUR:
        return Unreadable(name, f"image mode {image.mode} is not supported; save the mask with one value per pixel")
    plain = np.asarray(image if image.mode in ("RGB", "LA", "PA") else image.convert(_COLOUR[image.mode]))
    if image.mode in ("LA", "PA"):
        return Mask(name, plain[..., 0], "the alpha channel is ignored")
    if (plain == plain[..., :1]).all():
        return Mask(name, plain[..., 0], f"the channels of {image.mode} are equal: the first is the value")
    return Unreadable(
        name, "the image is coloured; save the class index of each pixel instead (one channel or a palette)"
    )


def spread(items: Sequence[T], limit: int | None) -> Iterator[T]:
    """Return at most `limit` items, evenly spaced."""
    count = len(items) if limit is None else min(limit, len(items))
    return (items[index * len(items) // count] for index in range(count))


def _read_array(path: Path, name: str, limit: int | None) -> Iterator[Target]:
    """Yield the masks of an array (H, W), (N, H, W) or (N, C, H, W). The file is memory-mapped."""
    import numpy as np

    try:
        masks = np.load(path, mmap_mode="r", allow_pickle=False)
        as_array(masks.flat[:1])  # raises unless it has numbers
    except (OSError, ValueError, EOFError, ShapeError) as error:
        yield Unreadable(name, one_line(error))
        return
    if masks.ndim not in (2, 3, 4):
        yield Unreadable(name, f"shape {masks.shape}; expected (H, W), (N, H, W) or (N, C, H, W)")
    elif masks.ndim == 2:
        yield Mask(name, masks)
    else:
        for index in spread(range(len(masks)), limit):
            yield Mask(f"{name}, mask {index}", masks[index])
