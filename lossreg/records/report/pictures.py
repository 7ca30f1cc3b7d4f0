"""The pictures of examples: the image, and its target and prediction to lay over it. Bounded in number and bytes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lossreg.errors import InputError
from lossreg.messages import printable
from lossreg.records.report.overlays import PREDICTION, TARGET, Ink, as_mask, overlay
from lossreg.records.report.sources import Finder
from lossreg.records.report.thumbnails import LARGE, MOST_PIXELS, SIDE, Thumbnail, drawn, opened, thumbnail

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_LARGE = 80  # examples that can be enlarged, about 20 kB each
MOST_SMALL = 300  # further images, about 4 kB each
MOST_CHARACTERS = 16_000_000  # of all pictures together
_FEW = 64  # colours: more are a picture and not a mask
_NONE = Thumbnail()


class Pictures(NamedTuple):
    """What the page shows of an example.

    Args:
        image: the image, or the reason why there is none.
        target, prediction: masks to lay over the image; without a URI where there is none.
        beside: a prediction that is a picture of its own.
        note: why a target or a prediction is not shown, or fits badly.
        is_large: the picture can be enlarged.
    """

    image: Thumbnail
    target: Thumbnail = _NONE
    prediction: Thumbnail = _NONE
    beside: Thumbnail = _NONE
    note: str = ""
    is_large: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels, of the image or of what lies over it."""
        found = next((one for one in (self.image, self.target, self.prediction, self.beside) if one.uri), None)
        return (found.width, found.height) if found else (0, 0)


class Album:
    """Make pictures: each image once, large ones for the first examples that ask, none beyond the bounds."""

    def __init__(self, folder: Path, target: Finder | None = None, prediction: Finder | None = None) -> None:
        self._folder = folder
        self._target, self._prediction = target, prediction
        self._small: dict[str, Thumbnail] = {}
        self._large: dict[tuple[object, ...], Pictures] = {}
        self._characters = 0

    def small(self, path: str | None) -> Pictures:
        """Return the image of a path alone, as a thumbnail."""
        if path is None:
            return Pictures(Thumbnail(reason="no path"))
        if path not in self._small:
            if len(self._small) >= MOST_SMALL or self._characters >= MOST_CHARACTERS:
                return Pictures(Thumbnail(reason="not shown"))
            self._small[path] = self._counted(thumbnail(self._folder / path, SIDE))
        return Pictures(self._small[path])

    def of(self, example: Mapping[str, Any]) -> Pictures:
        """Return the pictures of an example; beyond the bounds, its thumbnail."""
        key = tuple(example.get(name) for name in ("run", "dataset", "sample_id", "path"))
        if key not in self._large:
            if len(self._large) >= MOST_LARGE or self._characters >= MOST_CHARACTERS:
                return self.small(example.get("path"))
            self._large[key] = self._made(example)
        return self._large[key]

    def _made(self, example: Mapping[str, Any]) -> Pictures:
        path = example.get("path")
        image = Thumbnail(reason="no path") if path is None else thumbnail(self._folder / path, LARGE)
        target, prediction, beside, notes = _NONE, _NONE, _NONE, []
        if self._target:
            target = self._drawn(self._target(example), TARGET, "target_path")
            notes.append(_note("target", target, image))
        if self._prediction:
            found = self._drawn(self._prediction(example), PREDICTION, "prediction")
            notes.append(_note("prediction", found, image))
            prediction, beside = (_NONE, found) if found.is_picture else (found, _NONE)
        for one in (image, target, prediction, beside):
            self._counted(one)
        note = "; ".join(filter(None, notes))
        pictures = Pictures(image, target, prediction, beside, note)
        return pictures._replace(is_large=any(pictures.size))

    def _drawn(self, found: object, ink: Ink, parameter: str) -> Thumbnail:
        """Draw what a source gave: a path, an image, or an array."""
        from PIL import Image

        if found is None:
            return Thumbnail(reason="none")
        if isinstance(found, str | os.PathLike):
            path = self._folder / found
            if path.suffix == ".npy":
                return _of_file(path, ink)
            return opened(path, lambda image: _of_image(image, ink), LARGE)
        return _of_image(found, ink) if isinstance(found, Image.Image) else _of_array(found, ink, parameter)

    def _counted(self, made: Thumbnail) -> Thumbnail:
        self._characters += len(made.uri)
        return made


def _of_image(image: Image, ink: Ink) -> Thumbnail:
    values = as_mask(image)
    if values.ndim == 3 and image.getcolors(_FEW) is None:
        return drawn(image, LARGE)._replace(is_picture=True)
    return overlay(values, ink)


def _of_file(path: Path, ink: Ink) -> Thumbnail:
    """Draw an array from a file; its header is checked before anything else is read."""
    try:
        return _of_array(np.load(path, mmap_mode="r", allow_pickle=False), ink, "")
    except FileNotFoundError:
        return Thumbnail(reason="no file")
    except (OSError, ValueError, InputError):
        return Thumbnail(reason="not a mask")


def _of_array(values: Any, ink: Ink, parameter: str) -> Thumbnail:
    """Draw a mask, (H, W) with further dimensions of 1, or a picture, (H, W, 3)."""
    from PIL import Image

    torch = sys.modules.get("torch")
    if torch is not None and isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()
    shape = np.shape(values)
    is_picture = len(shape) == 3 and shape[-1] == 3 and shape[0] > 1
    sides = shape[:2] if is_picture or len(shape) == 2 else tuple(size for size in shape if size != 1)
    array = np.asarray(values)
    if (
        len(shape) < 2
        or len(sides) > 2
        or array.size == 0
        or array.size > 3 * MOST_PIXELS
        or array.dtype.kind not in "buif"
    ):
        raise InputError(
            f"{parameter} gave {printable(type(values).__name__)} of shape {shape} and type {array.dtype};"
            " return a path, a PIL image, a mask of numbers (H, W), a picture (H, W, 3), or None"
        )
    if not is_picture:
        return overlay(array.reshape((*(1,) * (2 - len(sides)), *sides)), ink)
    if array.dtype.kind == "f":
        array = np.nan_to_num(array.astype(np.float64)).clip(0, 1) * 255
    return drawn(Image.fromarray(array.clip(0, 255).astype(np.uint8)), LARGE)._replace(is_picture=True)


def _note(what: str, made: Thumbnail, image: Thumbnail) -> str:
    """Say why something is not shown, or that its shape is not that of the image."""
    if not made.uri:
        return "" if made.reason == "none" else f"{what}: {made.reason}"
    if not image.uri or made.is_picture:
        return ""
    ratio = (made.width * image.height) / (made.height * image.width)
    return f"the {what} has another shape than the image" if abs(ratio - 1) > 0.05 else ""
