"""The shards in a directory of records."""

from __future__ import annotations

from pathlib import Path

from lossreg.errors import RecordsError
from lossreg.messages import printable
from lossreg.records.database import reason
from lossreg.records.record_schema import SUFFIX

WRITTEN_BY = "shards are written by lossreg.records.RecordWriter"
_NAMED = 4  # folders in a message


def find_shards(directory: Path) -> list[Path]:
    """List the shards in a directory, in the order of their names.

    Raises:
        RecordsError: the directory cannot be read, or has none. Folders in it that have some are named.
    """
    try:
        found = sorted(p for p in directory.iterdir() if p.name.endswith(SUFFIX) and not p.name.startswith("."))
    except (OSError, ValueError) as error:  # a null character in the path is a ValueError
        problems: dict[type[Exception], str] = {
            NotADirectoryError: "is a file; give its directory",
            FileNotFoundError: "does not exist; check the path",
        }
        problem = problems.get(type(error), f"cannot be read: {reason(error)}; check the path")
        raise RecordsError(
            f"{printable(str(directory))}: the directory of records {problem}", directory=directory
        ) from error
    if not found:
        hint = _below(directory) or WRITTEN_BY
        raise RecordsError(f"{printable(str(directory))}: contains no *{SUFFIX}; {hint}", directory=directory)
    return found


def _below(directory: Path) -> str:
    """Name the folders in a directory that contain shards, as those that were meant; "" of none."""
    folders = sorted({path.parent for path in directory.glob(f"*/*{SUFFIX}") if not path.name.startswith(".")})
    names = [printable(str(folder)) for folder in folders[:_NAMED]]
    more = [f"one of {len(folders) - _NAMED} more"] * (len(folders) > _NAMED)
    return f"did you mean {' or '.join(names + more)}?" if folders else ""
