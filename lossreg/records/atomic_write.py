"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A hidden file beside the one that is meant, which takes its place once it is on the disk.

    Whatever stops the process, the file is whole, as it was before, or not there. An error leaves nothing of it behind.

    Args:
        path: the file that is meant, in a directory that is there.
    Raises:
        OSError: what the system says when it is written or renamed.
    """
    left = hidden = path.with_name(f".{path.name}.part")
    try:
        yield hidden
        _to_disk(hidden)
        os.replace(hidden, path)
        left = path
        _to_disk(path.parent)
    except BaseException:
        with suppress(OSError):
            left.unlink()
        raise


def _to_disk(path: Path) -> None:
    """Wait until a file or the names in a directory are on the disk."""
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
