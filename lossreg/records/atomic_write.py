"""Atomic writing: a file is complete, unchanged or absent, even if the process is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from lossreg.errors import LossregError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file; on success flush it to the disk and rename it to `path`.

    An error removes the temporary file. Its name is unique, so that processes may write the same `path` at once.

    Args:
        path: the file to write, in a directory that exists.
    Raises:
        OSError: the file cannot be written or renamed.
    """
    created = temporary = path.with_name(f".{path.name}.{uuid4().hex[:12]}.part")
    try:
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, path)
        created = path
        _to_disk(path.parent)
    except BaseException:
        with suppress(OSError):
            created.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, atomically, with line feeds on every system."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_figure(figure: Figure, path: Path, *, option: str) -> None:
    """Write a figure of matplotlib atomically, in the format that the suffix of `path` names.

    Args:
        figure: the figure.
        path: the file to write, such as "focal.png".
        option: the command line's option for another file, such as "--out".
    Raises:
        LossregError: the file cannot be written.
    """
    try:
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=150, format=path.suffix.lower()[1:])
    except OSError as error:
        raise LossregError(f"{path}: cannot be written: {error.strerror or error}; choose another {option}") from error


def _to_disk(path: Path) -> None:
    """Wait until the contents of a file or the names in a directory are on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        if path.is_dir():  # Windows opens no directory, and needs none
            return
        raise
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
