"""Where targets come from: files and folders. Each mask is read when it is asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from lossreg.errors import LossregError
from lossreg.health.targets.columns import read_column
from lossreg.health.targets.images import ARRAY, IMAGES, read_file, spread
from lossreg.health.targets.loaders import read_loader
from lossreg.health.targets.report import Target
from lossreg.messages import require

TABLE: Final = ".parquet"
TAKEN: Final = "a folder of PNG, TIFF or .npy files, one such file, a Parquet file with --column, or module:loader"

_LOADER = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


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
        found = read_loader(str(where), limit)
    elif column is not None or path.suffix.lower() == TABLE:
        found = read_column(path, column)
    else:
        require("numpy", "PIL", extra="targets", use="check-targets")
        found = _read_files(path, limit)
    return islice(found, limit)


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
