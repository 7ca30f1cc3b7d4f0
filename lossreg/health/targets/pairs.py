"""The images that belong to files of masks: whether they are there, and of the same size."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from lossreg.errors import LossregError
from lossreg.health.targets.annotations import FRAME, JSON
from lossreg.health.targets.images import LOSSLESS, LOSSY
from lossreg.health.targets.report import Mask, Target
from lossreg.messages import one_line

SUFFIXES: Final = (*LOSSY, *LOSSLESS, ".webp")
ENDINGS: Final = ("_mask", "_masks", "_seg", "_label", "_labels", "_gt", "-mask", "_segmentation")
VIDEO_ENDINGS: Final = ("_manual", "_auto")  # of the annotations of SA-V
ROTATION: Final = 0x0112  # the tag of EXIF data
TURNED: Final = (5, 6, 7, 8)  # its values that exchange height and width


class Pairs:
    """The images of a folder by their names without suffix, below the folder; and those without a mask so far."""

    def __init__(self, folder: Path) -> None:
        """List the images of a folder, at any depth.

        Raises:
            LossregError: there are none.
        """
        found = (Path(root, name) for root, _, names in os.walk(folder) for name in names if name[0] != ".")
        images = sorted(path for path in found if path.suffix.lower() in SUFFIXES)
        if not images:
            raise LossregError(f"{folder}: no images there; give --images their folder, of {', '.join(SUFFIXES)} files")
        self._by_place = {path.relative_to(folder).with_suffix("").as_posix(): path for path in images}
        self._by_stem = {path.stem: path for path in reversed(images)}
        self._by_folder: dict[str, list[Path]] = {}
        for path in images:
            self._by_folder.setdefault(path.parent.name, []).append(path)
        self.without_mask = dict.fromkeys(images, True)

    def check(self, targets: Iterable[Target], name: str) -> Iterator[Target]:
        """Yield the targets of the file with this name, with the problem of their image, if there is one."""
        for target in targets:
            # The masks of a .json file have names of their own: those of the images, or of the frames of a video.
            named = target.name.removeprefix(f"{name}, ") if name.endswith(JSON) else name
            if named.startswith(FRAME):
                found = self._frames(name.removesuffix(JSON))
            else:
                found = self._image(named.removesuffix(Path(named).suffix))
            for each in found:
                self.without_mask.pop(each, None)
            path = found[0] if found else None
            if isinstance(target, Mask) and target.values is not None:
                problem = ("no image", target.name) if path is None else _problem(path, target)
                target = target._replace(problems=(problem,) if problem else ())
            yield target

    def _image(self, place: str) -> list[Path]:
        """Return the image of a mask: at the same place, or with the same name anywhere, which may end in `_mask`."""
        for each in (place, _shorter(place, ENDINGS)):
            if found := self._by_place.get(each) or self._by_stem.get(each.rpartition("/")[2]):
                return [found]
        return []

    def _frames(self, place: str) -> list[Path]:
        """Return the frames of a video, in a folder of its name. All have one size, so one of them is compared."""
        return self._by_folder.get(_shorter(place, VIDEO_ENDINGS).rpartition("/")[2], [])


def _shorter(name: str, endings: Iterable[str]) -> str:
    return next((name.removesuffix(ending) for ending in endings if name.endswith(ending)), name)


def _problem(path: Path, mask: Mask) -> tuple[str, str] | None:
    """Return the rule and the example if the image cannot be read, or has another size than the mask."""
    import numpy as np
    from PIL import Image

    height, width = np.shape(mask.values)[-2:]
    try:
        with Image.open(path) as image:
            size, rotation = image.size, image.getexif().get(ROTATION)
    except Exception as error:  # noqa: BLE001 - a decoder may raise any error for a broken file
        return ("unreadable image", f"{path}: {one_line(error)}")
    if size == (width, height):
        return None
    if rotation in TURNED and size == (height, width):
        return ("rotated", f"{mask.name}: {width} x {height}, the image {_shown(size)} before its rotation")
    return ("size", f"{mask.name}: {width} x {height}, the image {_shown(size)}")


def _shown(size: tuple[Any, ...]) -> str:
    return f"{size[0]} x {size[1]}"
