"""Thumbnails of image files, as text for a page. Any file gives a thumbnail or a reason."""

from __future__ import annotations

import base64
import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 128  # pixels, of the longer side
MOST_PIXELS = 1 << 26  # of a decoded image: 200 MB
MOST_BYTES = 1 << 29  # of an opened file
# A fixed list: other formats start programs (EPS) or fetch files by name.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


class Thumbnail(NamedTuple):
    """A data URI and its size in pixels, or the reason why there is none."""

    uri: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""


def thumbnail(path: Path) -> Thumbnail:
    """Make the thumbnail of an image file. No file raises an error; a broken one gives a reason."""
    try:
        if not path.is_file():
            return Thumbnail(reason="no file")
        if path.stat().st_size > MOST_BYTES:
            return Thumbnail(reason="too large")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is checked below
            return _thumbnail(path)
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything on a broken file
        return Thumbnail(reason="too large" if type(error).__name__ == "DecompressionBombError" else "not an image")


def _thumbnail(path: Path) -> Thumbnail:
    from PIL import Image, ImageOps, features

    Image.init()  # loads the rare formats
    formats = [name for name in FORMATS if name in Image.OPEN]
    with Image.open(os.fspath(path), formats=formats) as opened:
        opened.draft("RGB", (2 * SIDE, 2 * SIDE))  # a JPEG is decoded at an eighth of its size
        if opened.width * opened.height > MOST_PIXELS:
            return Thumbnail(reason="too large")
        image = ImageOps.exif_transpose(_plain(opened))
    image.thumbnail((SIDE, SIDE))
    webp = features.check("webp")
    buffer = io.BytesIO()
    if webp:
        image.save(buffer, "WEBP", quality=75, method=4)
    else:
        image.convert("RGB").save(buffer, "JPEG", quality=80)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Thumbnail(f"data:image/{'webp' if webp else 'jpeg'};base64,{text}", image.width, image.height)


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
