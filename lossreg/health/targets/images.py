"""Readers of masks in image files."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from lossreg.health.targets.colours import image_mask
from lossreg.health.targets.report import Target, Unreadable
from lossreg.messages import one_line

if TYPE_CHECKING:
    from PIL.Image import Image

LOSSLESS: Final = (".png", ".tif", ".tiff", ".bmp", ".gif")
LOSSY: Final = (".jpg", ".jpeg")
FORMATS: Final = ("PNG", "TIFF", "BMP", "GIF", "JPEG")  # PIL's names; a file may have the wrong suffix
_LOCK = threading.Lock()
MOST_PIXELS: Final = 1 << 27  # of a mask; a file of some KB may hold any number of equal ones
SMALL: Final = ("1", "L", "P", "I;16", "I;16B", "I;16L", "I;16N")  # modes of at most two bytes; others have four


def read_image(source: Any, name: str) -> Iterator[Target]:
    """Yield the mask of an image, or one per page of a TIFF or GIF. source: a path or an open binary file."""
    from PIL import Image

    try:
        with _opened(source) as image:
            pages = getattr(image, "n_frames", 1)
            for page in range(pages):
                image.seek(page)
                page_name = name if pages == 1 else f"{name}, page {page + 1}"
                most = MOST_PIXELS if image.mode in SMALL else MOST_PIXELS // 2
                if image.width * image.height > most:
                    yield Unreadable(page_name, too_many(f"{image.width:,} x {image.height:,}", most))
                else:
                    yield image_mask(image, page_name)
    except Image.DecompressionBombError:
        yield Unreadable(name, too_many("far too many"))
    except Exception as error:  # noqa: BLE001 - a decoder may raise any error for a broken file
        yield Unreadable(name, one_line(error))


def too_many(pixels: str, most: int = MOST_PIXELS) -> str:
    """Return the reason for not reading a mask of so many pixels."""
    return f"{pixels} pixels, but a mask may have up to {most:,}; cut it into tiles, as training does"


def _opened(source: Any) -> Image:
    """Open an image, without the warning about many pixels, which have a bound here."""
    from PIL import Image

    with _LOCK, warnings.catch_warnings():  # the filters of warnings belong to all threads
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(source, formats=FORMATS)
