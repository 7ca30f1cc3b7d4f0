"""Evaluation on a Ray cluster, which continues after it was killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from lossreg.errors import InputError, LossregError
from lossreg.messages import printable, require

require("duckdb", "numpy", extra="records", use="records")

from lossreg.records.column_values import Chunk, shown  # noqa: E402
from lossreg.records.database import open_database  # noqa: E402
from lossreg.records.evaluation.compute_fn import computed, function, joined, with_ids  # noqa: E402
from lossreg.records.evaluation.draws import Draw, plan  # noqa: E402
from lossreg.records.evaluation.ray_shards import adopt, begin, done_ids, done_parts, temporary_folder  # noqa: E402
from lossreg.records.record_schema import VERSION, VERSION_KEY  # noqa: E402
from lossreg.records.row_validation import length  # noqa: E402
from lossreg.records.shards import select  # noqa: E402


@dataclass(frozen=True)
class RayExecutor:
    """The settings of an evaluation on Ray. Each actor creates one compute_fn, and with it one model.

    Args:
        actors: processes that compute, >= 1.
        cpus, gpus: resources of the cluster for each actor, >= 0.
        part_size: examples of one shard, >= 1, rounded up to whole batches. An actor holds the rows of one part at a
            time. A job that was killed computes every unfinished part again.
        batch_size: examples of a batch, >= 1. A DataLoader has its own.
    """

    actors: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    part_size: int = 10_000
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name, least in (("actors", 1), ("part_size", 1), ("batch_size", 1), ("cpus", 0), ("gpus", 0)):
            if not (value := getattr(self, name)) >= least:
                raise InputError(f"RayExecutor: {name} must be >= {least}, got {value!r}", **{name: value})


def evaluate_on_ray(
    compute_fn: Callable[..., Any],
    data: Any,
    directory: Path,
    columns: Mapping[str, str | int],
    executor: RayExecutor,
    init: Mapping[str, Any] | None = None,
    draws: tuple[Draw, ...] = (),
) -> None:
    """Compute and write the rows of all examples that are missing in `directory`.

    Args:
        data: a map-style dataset, a sequence, or a DataLoader of one in order; or a ray.data.Dataset whose rows have
            unique sample_ids.
        columns: values of every row; with "run".
    Raises:
        InputError: data that cannot be cut into parts, or other data than those of the earlier job in `directory`.
        LossregError: Ray wrote a part in pieces.
    """
    require("ray", extra="ray", use="executor 'ray'")
    import ray.data

    maker = {"compute_fn": compute_fn, "init": init, "columns": dict(columns), "draws": draws}
    pool = _pool(executor)
    run, directory = str(columns["run"]), directory.absolute()  # workers are in other directories
    folder = temporary_folder(directory)
    if isinstance(data, ray.data.Dataset):
        session = begin(directory, {"by": "sample_id", **plan(draws)})
        adopt(directory, run, session)
        arguments = maker | {"done": done_ids(directory)}
        rows = data.map_batches(_RowsOfBatch, fn_constructor_kwargs=arguments, batch_size=executor.batch_size, **pool)
        from lossreg.records.evaluation.ray_sink import Files

        rows.write_datasink(Files(folder, executor.part_size))
    else:
        loader = _loader(data, executor)
        size = -(-executor.part_size // loader["batch_size"]) * loader["batch_size"]
        session = begin(directory, {"examples": len(loader["dataset"]), "part_size": size, **plan(draws)})
        adopt(directory, run, session)
        missing = _missing_parts(directory, len(loader["dataset"]), size)
        if not missing:
            return
        # One part is one block and one folder, from the input to the file.
        rows = ray.data.from_items(missing, override_num_blocks=len(missing)).map_batches(
            _RowsOfPart, fn_constructor_kwargs=maker | {"loader": loader, "size": size}, batch_size=1, **pool
        )
        rows.write_parquet(str(folder), compression="zstd", partition_cols=["part", "rows"])
    if incomplete := adopt(directory, run, session):
        raise LossregError(
            f"{printable(str(directory))}: Ray wrote {incomplete} files that are not complete parts; use a part_size"
            f" smaller than {executor.part_size} in a new directory"
        )


def _missing_parts(directory: Path, examples: int, size: int) -> list[dict[str, int]]:
    done = done_parts(directory)
    return [{"part": part} for part in range(-(-examples // size)) if part not in done]


def _pool(executor: RayExecutor) -> dict[str, Any]:
    """Write the arguments of `map_batches` for a pool of actors."""
    import ray.data

    strategy = ray.data.ActorPoolStrategy(size=executor.actors)
    return {"compute": strategy, "num_cpus": executor.cpus, "num_gpus": executor.gpus}


class _RowsOfPart:
    """Rows of parts of a dataset; each actor creates one instance."""

    def __init__(
        self,
        compute_fn: Any,
        init: Any,
        columns: Mapping[str, str | int],
        draws: tuple[Draw, ...],
        loader: Mapping[str, Any],
        size: int,
    ) -> None:
        self.compute, self.columns, self.draws = function(compute_fn, init, draws), columns, draws
        self.loader, self.size = loader, size

    def __call__(self, batch: Mapping[str, Any]) -> Iterator[object]:
        from torch.utils.data import DataLoader, Subset

        for part in batch["part"].tolist():
            start = part * self.size
            stop = min(start + self.size, len(self.loader["dataset"]))
            given = {**self.loader, "dataset": Subset(self.loader["dataset"], range(start, stop))}
            batches = zip(count(start // self.loader["batch_size"]), DataLoader(**given), strict=False)
            if found := list(computed(self.compute, batches, self.columns, self.draws)):
                rows = joined(found)
                yield _table(rows, {"part": part, "rows": length(rows)})


class _RowsOfBatch:
    """Rows of a streamed Ray dataset, without ids that are done; each actor creates one instance."""

    def __init__(
        self,
        compute_fn: Any,
        init: Any,
        columns: Mapping[str, str | int],
        done: frozenset[str],
        draws: tuple[Draw, ...] = (),
    ) -> None:
        self.compute, self.columns, self.draws = function(compute_fn, init, draws), columns, draws
        self.done = done
        self.numbers = count()

    def __call__(self, batch: Mapping[str, Any]) -> Iterator[object]:
        if "sample_id" not in batch:
            raise InputError(
                f"a Ray dataset needs a column sample_id, by which a killed job continues; it has {', '.join(batch)}"
            )
        todo = [str(name) not in self.done for name in batch["sample_id"].tolist()]
        if any(todo):
            left = {name: values[todo] for name, values in batch.items()}
            found = computed(self.compute, [(next(self.numbers), left)], self.columns, self.draws)
            why = "return that of the batch, by which a killed job continues"
            # One table for all draws: an id that is in a complete file has them all.
            if rows := list(with_ids(found, why)):
                yield _table(joined(rows))


def _table(chunk: Chunk, constants: Mapping[str, int] | None = None) -> object:
    """Convert a chunk to an Arrow table with the types and the version of the columns, also if a column is empty."""
    with open_database(threads=1) as connection:
        more = "".join(f", CAST({value} AS BIGINT) AS {name}" for name, value in (constants or {}).items())
        query = select(connection, chunk)
        table = connection.sql(f"SELECT *{more} FROM ({query})").to_arrow_table()
        return table.replace_schema_metadata({VERSION_KEY: str(VERSION)})


def _loader(data: Any, executor: RayExecutor) -> dict[str, Any]:
    """Return the arguments of a DataLoader of any part of the data."""
    from torch.utils.data import DataLoader, SequentialSampler

    if isinstance(data, DataLoader):
        if data.batch_size is None or not isinstance(data.sampler, SequentialSampler):
            raise InputError(
                "executor 'ray' cuts the dataset into parts by index: give a DataLoader with a batch_size and without"
                " shuffle or sampler, or the dataset"
            )
        names = ("dataset", "batch_size", "collate_fn", "num_workers", "worker_init_fn")
        return {name: getattr(data, name) for name in names}
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")) or isinstance(data, Mapping | str | bytes):
        raise InputError(
            "executor 'ray' takes a ray.data.Dataset, a dataset or sequence with len() and an index, or a DataLoader"
            f" of one, got {shown(data)}"
        )
    return {"dataset": data, "batch_size": executor.batch_size}
