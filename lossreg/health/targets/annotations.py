"""Masks in annotation files: COCO, SA-1B and SA-V."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lossreg.errors import LossregError, ShapeError
from lossreg.health.targets.array_files import spread
from lossreg.health.targets.images import MOST_PIXELS, too_many
from lossreg.health.targets.report import Mask, Target, Unreadable
from lossreg.health.targets.rle import decode
from lossreg.messages import one_line

if TYPE_CHECKING:
    import numpy.typing as npt

JSON: Final = ".json"
FRAME: Final = "frame "  # begins the name of a mask of a video
KINDS: Final = "COCO (images and annotations), SA-1B (image and annotations) or SA-V (masklet)"


def read_annotations(path: Path, name: str, limit: int | None) -> Iterator[Target]:
    """Yield the masks of a .json file.

    Of COCO, one mask per image, whose values are the places of its categories among all, from 1. Of SA-1B, one mask
    per image with all its objects. Of SA-V, one mask per object and frame.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        yield Unreadable(name, one_line(error))
        return
    if not isinstance(content, dict):
        content = {}
    if isinstance(content.get("masklet"), list):
        yield from _of_video(content["masklet"], name, limit)
    elif isinstance(content.get("annotations"), list) and isinstance(content.get("images"), list):
        yield from _of_coco(content, name, limit)
    elif isinstance(content.get("annotations"), list) and isinstance(content.get("image"), dict):
        yield _of_image(content["image"], content["annotations"], {}, name)
    else:
        keys = ", ".join(map(str, content))
        yield Unreadable(name, f"expected {KINDS}, got {f'the keys {keys:.100}' if keys else 'none of their keys'}")


def _of_video(frames: list[Any], name: str, limit: int | None) -> Iterator[Target]:
    objects = [frame if isinstance(frame, list) else [] for frame in frames]
    places = [(frame, number) for frame, inside in enumerate(objects) for number in range(len(inside))]
    for frame, number in spread(places, limit):
        where = f"{name}, {FRAME}{frame}, object {number}"
        try:
            yield Mask(where, decode(objects[frame][number]))
        except ShapeError as error:
            yield Unreadable(where, str(error))


def _of_coco(content: dict[str, Any], name: str, limit: int | None) -> Iterator[Target]:
    try:
        of_image = defaultdict(list)
        for annotation in content["annotations"]:
            of_image[annotation["image_id"]].append(annotation)
        named = {category["id"] for category in content.get("categories", ())}
        categories = sorted(named | {annotation.get("category_id", 1) for annotation in content["annotations"]})
        images = [(image, of_image[image["id"]]) for image in content["images"]]
    except (KeyError, TypeError, AttributeError) as error:
        yield Unreadable(name, f"expected {KINDS}: {one_line(error)}")
        return
    values = {category: number for number, category in enumerate(categories, start=1)}
    for image, inside in spread(images, limit):
        yield _of_image(image, inside, values, f"{name}, {image.get('file_name', image['id'])}")


def _of_image(image: dict[str, Any], annotations: list[dict[str, Any]], values: dict[Any, int], name: str) -> Target:
    import numpy as np

    try:
        height, width = int(image["height"]), int(image["width"])
        if height * width > MOST_PIXELS:
            return Unreadable(name, too_many(f"{height:,} x {width:,}"))
        mask = np.zeros((height, width), np.uint8 if len(values) < 256 else np.int32)
        for annotation in annotations:
            segmentation = annotation["segmentation"]
            found = decode(segmentation) if isinstance(segmentation, dict) else _polygons(segmentation, mask.shape)
            mask[found > 0] = values.get(annotation.get("category_id", 1), 1)
    except (LossregError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        return Unreadable(name, one_line(error))
    return Mask(name, mask)


def _polygons(polygons: list[list[float]], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Draw polygons of points x, y, x, y. Pixels on their border may differ from those of pycocotools."""
    import numpy as np
    from PIL import Image, ImageDraw

    image = Image.new("L", (shape[1], shape[0]))
    for polygon in polygons:
        ImageDraw.Draw(image).polygon([float(number) for number in polygon], fill=1)
    return np.asarray(image)
