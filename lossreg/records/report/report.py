"""A report of records as one HTML file, that asks nothing of a network: `write_report`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lossreg.errors import InputError, LossregError
from lossreg.messages import require
from lossreg.records.atomic_write import atomic_write

MOST_EXAMPLES = 1000  # of one list: more are no page to read


def write_report(
    records: Iterable[Mapping[str, Any]] | Mapping[str, Sequence[Any]] | str | Path,
    path: str | Path,
    *,
    title: str | None = None,
    top_k: int = 20,
    images: str | Path = ".",
    memory_limit: str = "1GB",
) -> Path:
    """Write what the records say as one HTML file: statistics, distributions, examples, captions, loss over steps.

    The file holds everything that it shows, small pictures of the examples included; it asks nothing of a network.
    It is written aside and moved to its place once it is complete.

    Args:
        records: mappings, a mapping of columns, or a directory of shards.
        path: the file; what was there is replaced.
        title: its heading; by default the runs or the directory.
        top_k: how many examples each list has, 1 to 1000.
        images: the folder from which relative paths of images are read.
        memory_limit: what DuckDB may use, such as "500MB" or "4GB"; beyond it, it writes to disk.
    Raises:
        MissingLibraryError: duckdb or pillow is not installed.
        InputError: the records, `top_k` or `memory_limit` are not valid.
        LossregError: the records cannot be read, or the file cannot be written.
    """
    require("duckdb", "numpy", "PIL", extra="records", use="records")
    from lossreg.records.reader import connect
    from lossreg.records.report.gather import contents
    from lossreg.records.report.page import page

    if not isinstance(top_k, int) or isinstance(top_k, bool) or not 1 <= top_k <= MOST_EXAMPLES:
        raise InputError(
            f"top_k is how many examples a list has, an integer of 1 to {MOST_EXAMPLES}, got {top_k!r:.80}"
        )
    path = Path(path)
    with connect(records, memory_limit=memory_limit) as connection:
        if path.is_dir() or not path.parent.is_dir():
            raise LossregError(f"{path} cannot be written: name a file in a directory that exists")
        found = contents(connection, top_k=top_k, images=Path(images))
    _write(path, page(found, title=title or _title(records)))
    return path


def _title(records: object) -> str:
    return f"Loss records: {Path(records).resolve().name}" if isinstance(records, (str, Path)) else "Loss records"


def _write(path: Path, text: str) -> None:
    try:
        with atomic_write(path) as hidden:
            hidden.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    except OSError as error:
        raise LossregError(
            f"{path} cannot be written: {error.strerror or error}; make room or choose another file"
        ) from error
