"""Thumbnails of image files, as text for a page. Any file gives a thumbnail or a reason."""

from __future__ import annotations

import base64
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 128  # pixels, of the longer side
LARGE = 320  # pixels, of the longer side of a picture that can be enlarged
MOST_PIXELS = 1 << 26  # of a decoded image: 200 MB
MOST_BYTES = 1 << 29  # of an opened file
# A fixed list: other formats start programs (EPS) or fetch files by name.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


class Thumbnail(NamedTuple):
    """A data URI and its size in pixels, or the reason why there is none.

    Args:
        is_picture: it is a picture of its own, not a mask to lay over one.
    """

    uri: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""
    is_picture: bool = False


def thumbnail(path: Path, side: int = SIDE) -> Thumbnail:
    """Make the thumbnail of an image file. No file raises an error; a broken one gives a reason."""
    return opened(path, lambda image: drawn(image, side), side)


def opened(path: Path, use: Callable[[Image], Thumbnail], side: int) -> Thumbnail:
    """Open an image file, bounded in bytes and pixels, and make a thumbnail of it; a broken one gives a reason."""
    try:
        if not path.is_file():
            return Thumbnail(reason="no file")
        if path.stat().st_size > MOST_BYTES:
            return Thumbnail(reason="too large")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is checked below
            return _opened(path, use, side)
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything on a broken file
        return Thumbnail(reason="too large" if type(error).__name__ == "DecompressionBombError" else "not an image")


def _opened(path: Path, use: Callable[[Image], Thumbnail], side: int) -> Thumbnail:
    from PIL import Image

    Image.init()  # loads the rare formats
    formats = [name for name in FORMATS if name in Image.OPEN]
    with Image.open(os.fspath(path), formats=formats) as found:
        found.draft("RGB", (2 * side, 2 * side))  # a JPEG is decoded at an eighth of its size
        if found.width * found.height > MOST_PIXELS:
            return Thumbnail(reason="too large")
        return use(found)


def drawn(image: Image, side: int = SIDE) -> Thumbnail:
    """Make the thumbnail of an image, upright."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(_plain(image))
    upright.thumbnail((side, side))
    return encoded(upright)


def encoded(image: Image, *, lossless: bool = False) -> Thumbnail:
    """Write an image as a data URI: as WebP, or where Pillow lacks it as JPEG or PNG."""
    from PIL import features

    buffer = io.BytesIO()
    kind = "webp" if features.check("webp") else "png" if lossless else "jpeg"
    if kind == "webp":
        image.save(buffer, "WEBP", quality=75, method=4, lossless=lossless)
    elif lossless:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.convert("RGB").save(buffer, "JPEG", quality=80)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Thumbnail(f"data:image/{kind};base64,{text}", image.width, image.height)


def _plain(image: Image) -> Image:
    """Convert to eight bits a channel: grey, RGB or RGBA."""
    if image.mode in _DEEP:
        return _stretched(image)
    image.load()
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _stretched(image: Image) -> Image:
    """Scale from black at the smallest value to white at the largest, because few images use all 16 bits."""
    import numpy as np
    from PIL import Image

    every = max(1, min(image.size) // (4 * SIDE))
    values = np.asarray(image)[::every, ::every].astype(np.float64)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 1.0)
    scaled = np.where(finite, values - low, 0.0) / ((high - low) or 1.0)
    return Image.fromarray((scaled * 255).round().astype(np.uint8))
