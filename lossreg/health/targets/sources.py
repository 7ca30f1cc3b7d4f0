"""The sources of targets: files, folders, Parquet and loaders. Masks are read one by one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from lossreg.errors import LossregError
from lossreg.health.targets.array_files import spread
from lossreg.health.targets.columns import read_column
from lossreg.health.targets.files import KINDS, is_known, read_file, suffix_of
from lossreg.health.targets.loaders import read_loader
from lossreg.health.targets.report import Target
from lossreg.messages import require

TABLE: Final = ".parquet"
EXPECTED: Final = (
    "a folder of PNG, TIFF, BMP, GIF, JPEG, .npy, .npz or NIfTI files, one such file, a .json file of COCO or SA-V, a"
    " Parquet file with --column, or module:loader"
)

OTHERS: Final = (
    "of HDF5 and other formats, save the masks as .npy, or give a function that returns them, as module:function"
)

_LOADER = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def read_targets(where: str | Path, *, column: str | None = None, limit: int | None = None) -> Iterator[Target]:
    """Yield the targets of a source, one at a time.

    Args:
        where: a folder of images (PNG, TIFF, BMP, GIF, JPEG), arrays (.npy, .npz) or volumes (NIfTI), at any depth; one
            such file; a .json file of COCO, SA-1B or SA-V, or a folder of them; a Parquet file or a folder of them,
            with `column`; or `module:loader`, which is imported and so runs its code. Beside other masks, JPEG files
            are taken for photographs, and left out.
        column: of Parquet: encoded images, paths of files, nested lists of numbers, or booleans or numbers
            that are true if the sample has a mask.
        limit: maximum number of targets. They are spread evenly over files, arrays and datasets of known length; of
            other sources the first are read.
    Raises:
        LossregError: there is no such source, or it holds no targets.
        MissingLibraryError: the library that reads it is not installed.
    """
    files = files_of(where, column=column, limit=limit)
    if files is not None:
        found: Iterator[Target] = (target for file in files for target in file.read())
    elif os.path.exists(where):
        found = read_column(Path(where), column)
    else:
        found = read_loader(str(where), limit)
    return islice(found, limit)


class MaskFile(NamedTuple):
    """A file of masks. name: within its folder. limit: of masks in it; None for all."""

    path: str
    name: str
    limit: int | None

    def read(self) -> Iterator[Target]:
        """Yield its masks."""
        return read_file(Path(self.path), self.name, self.limit)


def files_of(
    where: str | Path, *, column: str | None = None, limit: int | None = None, images: Path | None = None
) -> list[MaskFile] | None:
    """Return the files of a source, by name; None for Parquet and a loader, which are not read file by file.

    Args:
        where, column, limit: those of `read_targets`.
        images: the folder of their images, which Parquet and a loader cannot have.
    Raises:
        LossregError: there is no such source, or it holds no targets.
        MissingLibraryError: the library that reads it is not installed.
    """
    path = Path(where)
    if not os.path.exists(path):  # False also for a path that the system refuses, such as one with a long name
        if not _LOADER.fullmatch(str(where)):
            raise LossregError(f"{where}: no such file or folder; expected {EXPECTED}")
        if column is not None:
            raise LossregError(f"--column is for Parquet files, but {where} is a loader; leave it out")
    elif column is None and path.suffix.lower() != TABLE:
        require("numpy", "PIL", extra="targets", use="check-targets")
        return _files(path, limit)
    if images is not None:
        raise LossregError(f"--images is for files of masks, but {where} is not; leave it out")
    return None


def _files(path: Path, limit: int | None) -> list[MaskFile]:
    if path.is_file():
        if not is_known(path.name):
            raise LossregError(f"{path}: cannot be read as masks; {OTHERS}; expected {EXPECTED}")
        return [MaskFile(str(path), path.name, limit)]
    files, others = _listed(path)
    if not files:
        raise LossregError(f"{path}: {_reason(others)}; {f'{OTHERS}; ' if others else ''}expected {EXPECTED}")
    before = len(os.path.join(path, ""))  # cheaper than a Path each, of 100,000 files
    return [MaskFile(file, file[before:].replace(os.sep, "/"), limit) for file in spread(files, limit)]


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """Return the files with masks, by name, and the suffixes of all others. Hidden files are left out."""
    kinds: list[list[str]] = [[] for _ in KINDS]
    others = set()
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith("."):
                continue
            suffix = suffix_of(name)
            for kind, files in zip(KINDS, kinds, strict=True):
                if suffix in kind:
                    files.append(os.path.join(root, name))
                    break
            else:
                others.add(suffix or name)
    return next(filter(None, kinds), []), sorted(others)


def _reason(others: list[str]) -> str:
    return f"the folder holds only {', '.join(others[:5])} files" if others else "the folder is empty"
