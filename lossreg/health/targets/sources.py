"""Where targets come from: files and folders. Each mask is read when it is asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from lossreg.errors import LossregError, ShapeError
from lossreg.extras import require
from lossreg.health.targets.examine import as_array
from lossreg.health.targets.report import Flag, Mask, Unreadable

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
Target = Mask | Flag | Unreadable

IMAGES: Final = (".png", ".tif", ".tiff")
ARRAY: Final = ".npy"
TABLE: Final = ".parquet"
TAKEN: Final = "a folder of PNG, TIFF or .npy files, one such file, a Parquet file with --column, or module:loader"

_LOADER = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_GREY = ("1", "L", "P", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # PIL's modes with one value per pixel
_COLOUR = {"LA": "L", "PA": "P", "RGB": "RGB", "RGBA": "RGB"}  # mode -> without its alpha


def read_targets(where: str | Path, *, column: str | None = None, limit: int | None = None) -> Iterator[Target]:
    """Every target of a source, one at a time.

    Args:
        where: a folder of PNG, TIFF or .npy files, at any depth; one such file; a Parquet file or a folder of them,
            with `column`; or `module:loader`, which is imported and so runs its code.
        column: of Parquet: encoded PNG or TIFF, paths of such files, nested lists of numbers, or booleans or numbers
            that say whether a sample has a mask.
        limit: at most so many, spread evenly over files, arrays and datasets of known length; the first of others.
    Raises:
        LossregError: there is no such source, or it holds no targets at all.
        MissingLibraryError: what reads it is not installed.
    """
    path = Path(where)
    if not path.exists():
        if not _LOADER.fullmatch(str(where)):
            raise LossregError(f"{where}: there is no such file or folder; expected {TAKEN}")
        if column is not None:
            raise LossregError(f"--column is for Parquet files, and {where} is a loader; leave it out")
        from lossreg.health.targets.loaders import read_loader

        found = read_loader(str(where), limit)
    elif column is not None or path.suffix.lower() == TABLE:
        from lossreg.health.targets.columns import read_column

        found = read_column(path, column)
    else:
        require("numpy", "PIL", extra="targets", use="check-targets")
        found = _read_files(path, limit)
    return islice(found, limit)


def spread(items: Sequence[T], limit: int | None) -> Iterator[T]:
    """At most `limit` of them, evenly spaced."""
    count = len(items) if limit is None else min(limit, len(items))
    return (items[index * len(items) // count] for index in range(count))


def image_mask(image: Image, name: str) -> Mask | Unreadable:
    """A mask from an open image: the palette's index, and one value where the colours are alike."""
    import numpy as np

    if image.mode in _GREY:
        note = "the index into the palette is the value" if image.mode == "P" else ""
        return Mask(name, np.asarray(image), note)
    if image.mode not in _COLOUR:
        return Unreadable(name, f"an image of mode {image.mode} is no mask; save it with one value per pixel")
    plain = np.asarray(image if image.mode in ("RGB", "LA", "PA") else image.convert(_COLOUR[image.mode]))
    if image.mode in ("LA", "PA"):
        return Mask(name, plain[..., 0], "its transparency is left out")
    if (plain == plain[..., :1]).all():
        return Mask(name, plain[..., 0], f"{image.mode} of which the colours are alike: one of them is the value")
    return Unreadable(name, "a coloured image; save the class index of each pixel instead (one channel or a palette)")


def read_image(source: Any, name: str) -> Iterator[Target]:
    """The mask of a PNG, or one for each page of a TIFF. source: a path or an open binary file."""
    from PIL import Image

    try:
        with Image.open(source, formats=("PNG", "TIFF")) as image:
            pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
            for page in range(pages):
                image.seek(page)
                yield image_mask(image, name if pages == 1 else f"{name}, page {page + 1}")
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything of a broken file
        yield Unreadable(name, told(error))


def _read_files(path: Path, limit: int | None) -> Iterator[Target]:
    if path.is_file():
        if path.suffix.lower() not in (*IMAGES, ARRAY):
            raise LossregError(f"{path}: cannot be read as masks; expected {TAKEN}")
        return read_file(path, path.name, limit)
    files, others = _listed(path)
    if not files:
        raise LossregError(f"{path}: {_nothing(others)}; expected {TAKEN}")
    named = [(file, file.relative_to(path).as_posix()) for file in spread(files, limit)]
    return (target for file, name in named for target in read_file(file, name, limit))


def _listed(folder: Path) -> tuple[list[Path], list[str]]:
    """The files that may be masks, by name, and the suffixes of all others. Hidden files are passed over."""
    files, others = [], set()
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            suffix = Path(name).suffix.lower()
            if name.startswith("."):
                continue
            if suffix in (*IMAGES, ARRAY):
                files.append(Path(root, name))
            else:
                others.add(suffix or name)
    return files, sorted(others)


def _nothing(others: list[str]) -> str:
    return f"only {', '.join(others[:5])} files there" if others else "an empty folder"


def read_file(path: Path, name: str, limit: int | None) -> Iterator[Target]:
    """The masks of a PNG, TIFF or .npy file."""
    return _read_array(path, name, limit) if path.suffix.lower() == ARRAY else read_image(path, name)


def _read_array(path: Path, name: str, limit: int | None) -> Iterator[Target]:
    """(H, W), (N, H, W) or (N, C, H, W), mapped: one mask is read at a time."""
    import numpy as np

    try:
        masks = np.load(path, mmap_mode="r", allow_pickle=False)
        as_array(masks.flat[:1])  # of numbers, and any at all
    except (OSError, ValueError, EOFError, ShapeError) as error:
        yield Unreadable(name, told(error))
        return
    if masks.ndim not in (2, 3, 4):
        yield Unreadable(name, f"shape {masks.shape}; expected (H, W), (N, H, W) or (N, C, H, W)")
    elif masks.ndim == 2:
        yield Mask(name, masks)
    else:
        for index in spread(range(len(masks)), limit):
            yield Mask(f"{name}, mask {index}", masks[index])


def told(error: Exception) -> str:
    """Type and message in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
