"""The sources of targets: files, folders, Parquet and loaders. Masks are read one by one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from lossreg.errors import LossregError
from lossreg.health.targets.array_files import spread
from lossreg.health.targets.columns import read_column
from lossreg.health.targets.files import SUFFIXES, read_file
from lossreg.health.targets.images import LOSSY
from lossreg.health.targets.loaders import read_loader
from lossreg.health.targets.report import Target
from lossreg.messages import require

TABLE: Final = ".parquet"
EXPECTED: Final = (
    "a folder of PNG, TIFF, BMP, GIF, JPEG or .npy files, one such file, a Parquet file with --column, or module:loader"
)

_LOADER = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def read_targets(where: str | Path, *, column: str | None = None, limit: int | None = None) -> Iterator[Target]:
    """Yield the targets of a source, one at a time.

    Args:
        where: a folder of PNG, TIFF, BMP, GIF, JPEG or .npy files, at any depth; one such file; a Parquet file or a
            folder of them, with `column`; or `module:loader`, which is imported and so runs its code.
        column: of Parquet: encoded PNG or TIFF, paths of such files, nested lists of numbers, or booleans or numbers
            that are true if the sample has a mask.
        limit: maximum number of targets. They are spread evenly over files, arrays and datasets of known length; of
            other sources the first are read.
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
        found = read_loader(str(where), limit)
    elif column is not None or path.suffix.lower() == TABLE:
        found = read_column(path, column)
    else:
        require("numpy", "PIL", extra="targets", use="check-targets")
        found = _read_files(path, limit)
    return islice(found, limit)


def _read_files(path: Path, limit: int | None) -> Iterator[Target]:
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise LossregError(f"{path}: cannot be read as masks; expected {EXPECTED}")
        return read_file(path, path.name, limit)
    files, others = _listed(path)
    if not files:
        raise LossregError(f"{path}: {_reason(others)}; expected {EXPECTED}")
    named = [(file, file.relative_to(path).as_posix()) for file in spread(files, limit)]
    return (target for file, name in named for target in read_file(file, name, limit))


def _listed(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the files with masks, by name, and the suffixes of all others. Hidden files are left out.

    Beside other masks, JPEG files are the photographs.
    """
    files: list[Path] = []
    photographs: list[Path] = []
    others = set()
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            suffix = Path(name).suffix.lower()
            if name.startswith("."):
                continue
            if suffix in SUFFIXES:
                (photographs if suffix in LOSSY else files).append(Path(root, name))
            else:
                others.add(suffix or name)
    return files or photographs, sorted(others)


def _reason(others: list[str]) -> str:
    return f"the folder holds only {', '.join(others[:5])} files" if others else "the folder is empty"
