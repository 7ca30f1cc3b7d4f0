"""The mask in an item of a data set: a tuple, a mapping, or one in the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lossreg.errors import LossregError

# Of items that are mappings; the first counts. Those of Hugging Face, torchvision, MONAI and albumentations are here.
KEYS: Final = (
    "mask",
    "masks",
    "segmentation_mask",
    "semantic_mask",
    "segmentation",
    "annotation",
    "seg",
    "gt",
    "target",
    "targets",
    "label",
    "labels",
)


def mask_of(item: object) -> Any:
    """Return the mask of an item, which may be the item itself.

    Of a tuple it is the first one behind the image that can be a mask, of a mapping the value under the first of
    `KEYS`. Both may hold the other.

    Raises:
        LossregError: a mapping has none of these keys, nor has one in it.
    """
    if isinstance(item, Mapping):
        return _of_mapping(item)
    if isinstance(item, (tuple, list)) and len(item) > 1:
        behind = item[1:]
        return _inside(next((each for each in behind if each is not None and _can_be(each)), behind[0]))
    return item


def _of_mapping(item: Mapping[Any, Any]) -> Any:
    for key in KEYS:
        if key in item:
            return _inside(item[key])
    for value in item.values():
        if isinstance(value, Mapping) and _can_be(value):
            return _of_mapping(value)
    raise LossregError(
        f"no mask under {', '.join(KEYS)}; the keys are {', '.join(map(str, item)):.200}; name a function that returns"
        " the masks"
    )


def _inside(found: object) -> Any:
    """Return the mask in what a tuple or a mapping holds: a mapping, or several targets, one of them a mask."""
    if isinstance(found, Mapping):
        return _of_mapping(found)
    if isinstance(found, tuple):
        masks = [each for each in found if _can_be(each)]
        return _inside(masks[0]) if 0 < len(masks) < len(found) else found
    return found


def _can_be(value: object) -> bool:
    """Return True for an image, an array of two dimensions or more, nested lists, no mask, or what holds one."""
    if isinstance(value, Mapping):
        inside = (each for each in value.values() if isinstance(each, Mapping))
        return any(key in value for key in KEYS) or any(map(_can_be, inside))
    if isinstance(value, (list, tuple)):
        return any(isinstance(each, (list, tuple)) or _can_be(each) for each in value)
    return value is None or hasattr(value, "getbands") or len(getattr(value, "shape", ())) >= 2
