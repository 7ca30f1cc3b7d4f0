"""The files that Ray writes of a streamed dataset, each of batches that may have different columns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lossreg.errors import InputError
from lossreg.messages import require

require("ray", extra="ray", use="executor 'ray'")

import pyarrow as pa  # type: ignore[import-untyped]  # noqa: E402
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: E402
from ray.data.block import BlockAccessor  # noqa: E402
from ray.data.datasource import Datasink  # noqa: E402

from lossreg.records.atomic_write import atomic_write  # noqa: E402
from lossreg.records.record_schema import SUFFIX, VERSION, VERSION_KEY  # noqa: E402


class Files(Datasink[None]):
    """Parquet files in a folder. Ray's own writer fails if a batch lacks a column that another has.

    Args:
        folder: where; created if it is missing.
        rows: of a file, at least; the last one may have fewer.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder, self.rows = folder, rows

    @property
    def min_rows_per_write(self) -> int:
        """Return the number of rows that Ray collects for one file."""
        return self.rows

    def write(self, blocks: Iterable[Any], ctx: Any) -> None:
        """Write the rows of all blocks as one file; a column that a block does not have is NULL there.

        Raises:
            InputError: a column is text in one batch and numbers in another.
        """
        tables = [table for block in blocks if len(table := BlockAccessor.for_block(block).to_arrow())]
        if not tables:
            return
        try:
            table = pa.concat_tables(tables, promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
            raise InputError(
                f"compute_fn returned a column of another type than in an earlier batch; give one type: {error}"
            ) from error
        self.folder.mkdir(parents=True, exist_ok=True)
        # A task that is done again replaces its file.
        with atomic_write(self.folder / f"{ctx.task_idx:06d}{SUFFIX}") as temporary:
            table = table.replace_schema_metadata({VERSION_KEY: str(VERSION)})
            pq.write_table(table, temporary, compression="zstd")
