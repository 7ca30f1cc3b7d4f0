"""Readers of masks in .npy files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from lossreg.health.targets.arrays import as_array
from lossreg.health.targets.colours import array_mask
from lossreg.health.targets.images import MOST_PIXELS, too_many
from lossreg.health.targets.keys import KEYS
from lossreg.health.targets.report import Target, Unreadable
from lossreg.messages import one_line

if TYPE_CHECKING:
    import numpy.typing as npt

T = TypeVar("T")

ARRAYS: Final = (".npy", ".npz")
MOST_BYTES: Final = 1 << 30  # of an array that is unpacked as a whole


def read_array(path: Path, name: str, limit: int | None) -> Iterator[Target]:
    """Yield the masks of an array (H, W), (N, H, W) or (N, C, H, W). A .npy file is memory-mapped.

    Of the arrays in a .npz file, those under one of `KEYS` are the masks; without any, all of them.
    """
    import numpy as np

    if path.suffix.lower() == ".npz":
        yield from _read_arrays(path, name, limit)
        return
    try:
        masks = np.load(path, mmap_mode="r", allow_pickle=False)
        as_array(masks.flat[:1])  # raises unless it has numbers
    except Exception as error:  # noqa: BLE001 - a damaged header may raise any error
        yield Unreadable(name, one_line(error))
        return
    yield from masks_of(masks, name, limit)


def _read_arrays(path: Path, name: str, limit: int | None) -> Iterator[Target]:
    import numpy as np

    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:  # it leaves broken files open
            sizes = {info.filename.removesuffix(".npy"): info.file_size for info in arrays.zip.infolist()}
            chosen = next(([key] for key in KEYS if key in sizes), list(sizes))
            for key in chosen:
                if sizes[key] > MOST_BYTES:
                    yield Unreadable(f"{name}, {key}", "over 1 GiB; save it as .npy, which is read in parts")
                    continue
                masks = arrays[key]
                as_array(masks)  # raises unless it has numbers
                yield from masks_of(masks, f"{name}, {key}", limit)
    except Exception as error:  # noqa: BLE001 - a damaged file may raise any error
        yield Unreadable(name, one_line(error))


def masks_of(masks: npt.NDArray[Any], name: str, limit: int | None) -> Iterator[Target]:
    """Yield the masks of an array of two to four dimensions."""
    if masks.ndim not in (2, 3, 4):
        yield Unreadable(name, f"shape {masks.shape}; expected (H, W), (N, H, W) or (N, C, H, W)")
    elif masks.ndim == 2:
        yield _bounded(name, masks)
    else:
        for index in spread(range(len(masks)), limit):
            yield _bounded(f"{name}, mask {index}", masks[index])


def _bounded(name: str, values: npt.NDArray[Any]) -> Target:
    if values.size > MOST_PIXELS:
        return Unreadable(name, too_many(" x ".join(f"{side:,}" for side in values.shape)))
    return array_mask(values, name)


def spread(items: Sequence[T], limit: int | None) -> Iterator[T]:
    """Return at most `limit` items, evenly spaced."""
    count = len(items) if limit is None else min(limit, len(items))
    return (items[index * len(items) // count] for index in range(count))
