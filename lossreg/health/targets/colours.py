"""The mask in an open image: one channel, a palette, an alpha channel, or colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lossreg.health.targets.report import Coloured, Mask, Unreadable

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

GREY: Final = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # PIL's modes with one value per pixel
COLOUR: Final = ("LA", "PA", "RGB", "RGBA")
MOST_COLOURS: Final = 256  # of classes; photographs have more
MOST_SHOWN: Final = 4  # colours in a note


def image_mask(image: Image, name: str) -> Mask | Coloured | Unreadable:
    """Return the mask of an open image: one channel, palette indices, equal colour channels, or else the alpha channel.

    A coloured image is returned as `Coloured`, because the class of a colour is unknown; black alone is no class.
    """
    import numpy as np

    if image.mode in GREY:
        return Mask(name, np.asarray(image))
    if image.mode == "P":
        return _indices(image, name)
    if image.mode not in COLOUR:
        return Unreadable(name, f"image mode {image.mode} is not supported; save the mask with one value per pixel")
    bands = image.split()
    if image.mode in ("LA", "PA", "RGBA") and _is_alpha(*bands):
        return Mask(name, np.asarray(bands[-1]), "the alpha channel is the mask", alpha=True)
    if image.mode in ("LA", "PA"):
        return Mask(name, np.asarray(bands[0]), "the alpha channel is ignored")
    if _equal(*bands[:3]):
        return Mask(name, np.asarray(bands[0]), f"the channels of {image.mode} are equal: the first is the value")
    found = image.convert("RGB").getcolors(MOST_COLOURS)
    most_first = sorted(found or (), key=lambda row: (-row[0], row[1]))
    return Coloured(name, tuple(_hex(colour) for _, colour in most_first))


def array_mask(values: npt.NDArray[Any], name: str) -> Mask | Coloured | Unreadable:
    """Return an array of bytes (H, W, 3) or (H, W, 4) as the image that it is, and any other as a mask."""
    if values.ndim == 3 and values.shape[-1] in (3, 4) and min(values.shape[:2]) > 4 and values.dtype.name == "uint8":
        from PIL import Image

        return image_mask(Image.fromarray(values), name)
    return Mask(name, values)


def _is_alpha(*bands: Image) -> bool:
    """Return True if the colours are the same everywhere and the last band, the alpha channel, is not."""
    *colours, alpha = [band.getextrema() for band in bands]
    return all(low == high for low, high in colours) and alpha[0] != alpha[1]


def _equal(red: Image, green: Image, blue: Image) -> bool:
    from PIL.ImageChops import difference

    return all(difference(red, other).getbbox() is None for other in (green, blue))


def _indices(image: Image, name: str) -> Mask:
    import numpy as np

    colours = image.getpalette("RGB") or []
    used = [index for index, count in enumerate(image.histogram()[:256]) if count]
    palette = tuple((index, _hex(colours[3 * index : 3 * index + 3])) for index in used if 3 * index + 2 < len(colours))
    shown = ", ".join(f"{index} is {colour}" for index, colour in palette[:MOST_SHOWN])
    return Mask(name, np.asarray(image), f"palette indices are the values: {shown}", palette)


def _hex(colour: Any) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)
