"""A report of records as one HTML file that needs no network: `write_report`."""

from __future__ import annotations

from os import PathLike
from os.path import isdir
from pathlib import Path
from typing import TYPE_CHECKING

from lossreg.errors import InputError, LossregError
from lossreg.messages import require
from lossreg.records.atomic_write import atomic_write

if TYPE_CHECKING:
    from lossreg.records.filters import Filters
    from lossreg.records.reader import Records
    from lossreg.records.report.sources import Source

MOST_EXAMPLES = 1000  # of one list: a page with more is unreadable


def write_report(
    records: Records,
    path: str | PathLike[str],
    *,
    title: str | None = None,
    top_k: int = 20,
    images: str | PathLike[str] = ".",
    target_path: Source | None = None,
    prediction: Source | None = None,
    filters: Filters | None = None,
    memory_limit: str = "1GB",
) -> Path:
    """Write a report as one HTML file: which examples lose most and how sure that is, data sets, loss over steps.

    The file contains everything it shows, pictures of the examples included; it needs no network. It is complete or
    absent.

    ```python
    write_report("records", "report.html", target_path="masks/{stem}.png")
    ```

    Args:
        records: as for `aggregate_by_dataset`.
        path: the file; an existing file is replaced.
        title: its heading; the directory by default.
        top_k: number of examples in each list, 1 to 1000.
        images: the folder of relative paths of images, targets and predictions.
        target_path: where the target of an example is, to be drawn over its image: a template with fields {path},
            {name}, {stem}, {suffix}, {parent} (of the image), {dataset}, {sample_id} or a column of your own; the name
            of your own column of paths; or a function that takes an example and returns a path, a PIL image, a mask
            (H, W), or None. An example is a mapping: run, split, dataset, sample_id, path, caption, control, looks,
            score, mean, and your own columns.
        prediction: the same for its prediction. A picture in colour, (H, W, 3), stands beside the image.
        filters: which rows; None for all.
        memory_limit: memory of DuckDB, such as "500MB" or "4GB"; further data go to disk. A connection has its own.
    Returns:
        the file.
    Raises:
        MissingLibraryError: duckdb or pillow is not installed.
        InputError: the records, an argument or what a function returned is not valid.
        LossregError: the records cannot be read, or the file cannot be written.
    """
    require("duckdb", "numpy", "PIL", extra="records", use="records")
    from lossreg.records.filters import filtered
    from lossreg.records.reader import connect, own_columns
    from lossreg.records.report.gather import contents
    from lossreg.records.report.page import page
    from lossreg.records.report.pictures import Album
    from lossreg.records.report.sources import finder

    if not isinstance(top_k, int) or isinstance(top_k, bool) or not 1 <= top_k <= MOST_EXAMPLES:
        raise InputError(f"top_k must be an integer from 1 to {MOST_EXAMPLES}, got {top_k!r:.80}")
    path = Path(path)
    with connect(records, memory_limit=memory_limit) as connection:
        if isdir(path) or not isdir(path.parent):  # a name that is too long is an error to Path.is_dir
            raise LossregError(f"{path} cannot be written: name a file in a directory that exists")
        own = own_columns(connection)
        album = Album(Path(images), finder(target_path, "target_path", own), finder(prediction, "prediction", own))
        with filtered(connection, filters):
            found = contents(connection, top_k=top_k, album=album)
    _write(path, page(found, title=title or _title(records)))
    return path


def _title(records: object) -> str:
    return f"Loss records: {Path(records).resolve().name}" if isinstance(records, str | PathLike) else "Loss records"


def _write(path: Path, text: str) -> None:
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    except OSError as error:
        raise LossregError(
            f"{path} cannot be written: {error.strerror or error}; make room or choose another file"
        ) from error
