"""An evaluation on the machines of a Ray cluster, which goes on where a killed one stopped."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from lossreg.errors import InputError, LossregError
from lossreg.messages import printable, require
from lossreg.records.atomic_write import atomic_write
from lossreg.records.record_schema import SUFFIX

require("duckdb", "numpy", extra="records", use="records")

import duckdb  # noqa: E402

from lossreg.records.evaluation.compute_fn import computed, function, joined, with_ids  # noqa: E402
from lossreg.records.row_validation import Chunk, length, shown  # noqa: E402
from lossreg.records.shards import new_session, select, shard_name  # noqa: E402

_ASIDE = ".ray-"  # the folders that Ray writes to; a killed job leaves its own behind
_PLAN = "parts.json"


@dataclass(frozen=True)
class RayExecutor:
    """How an evaluation runs on Ray. Each actor makes one compute_fn, and with it one model.

    Args:
        actors: processes that compute, >= 1.
        cpus, gpus: what each takes of the cluster, >= 0.
        part_size: examples that become one shard, >= 1, rounded up to whole batches. An actor holds the rows of one
            part at a time, and a job that was killed computes anew what it had not yet written as a whole part.
        batch_size: examples of a batch, >= 1, where the data are no DataLoader, which has its own.
    """

    actors: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    part_size: int = 10_000
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name, least in (("actors", 1), ("part_size", 1), ("batch_size", 1), ("cpus", 0), ("gpus", 0)):
            if not (value := getattr(self, name)) >= least:
                raise InputError(f"RayExecutor: {name} is at least {least}, got {value!r}", **{name: value})


def evaluate_on_ray(
    compute_fn: Callable[..., Any],
    data: Any,
    directory: Path,
    columns: Mapping[str, str | int],
    executor: RayExecutor,
    init: Mapping[str, Any] | None = None,
) -> None:
    """Compute the rows of all examples that `directory` does not have yet, and write them there.

    Args:
        data: a map-style dataset, a sequence, or a DataLoader of one in order; or a ray.data.Dataset whose rows have a
            sample_id, each another.
        columns: what stands in every row; with "run".
    Raises:
        InputError: data that cannot be cut into parts, or other data than `directory` was begun with.
        LossregError: Ray wrote a part in pieces.
    """
    require("ray", extra="ray", use="executor 'ray'")
    import ray.data

    maker = {"compute_fn": compute_fn, "init": init, "columns": dict(columns)}
    pool: dict[str, Any] = {
        "compute": ray.data.ActorPoolStrategy(size=executor.actors),
        "num_cpus": executor.cpus,
        "num_gpus": executor.gpus,
    }
    run, directory = str(columns["run"]), directory.absolute()  # workers are in other directories
    if isinstance(data, ray.data.Dataset):
        session = _begin(directory, {"by": "sample_id"})
        _adopt(directory, run, session)
        made = data.map_batches(
            _RowsOfBatch,
            fn_constructor_kwargs=maker | {"done": _ids(directory)},
            batch_size=executor.batch_size,
            **pool,
        )
        files: dict[str, Any] = {"min_rows_per_file": executor.part_size}
    else:
        loader = _loader(data, executor)
        size = -(-executor.part_size // loader["batch_size"]) * loader["batch_size"]
        examples = len(loader["dataset"])
        session = _begin(directory, {"examples": examples, "part_size": size})
        _adopt(directory, run, session)
        done = {_number(shard) for shard in _shards(directory)}
        todo = [{"part": part} for part in range(-(-examples // size)) if part not in done]
        if not todo:
            return
        # One part is one block and one folder, from the input to the file.
        made = ray.data.from_items(todo, override_num_blocks=len(todo)).map_batches(
            _RowsOfPart, fn_constructor_kwargs=maker | {"loader": loader, "size": size}, batch_size=1, **pool
        )
        files = {"partition_cols": ["part", "rows"]}
    made.write_parquet(str(directory / f"{_ASIDE}{new_session()}"), compression="zstd", **files)
    if refused := _adopt(directory, run, session):
        raise LossregError(
            f"{printable(str(directory))}: Ray wrote {refused} files that are no whole parts; use a smaller part_size"
            f" than {executor.part_size} in a new directory"
        )


class _RowsOfPart:
    """Rows of parts of a dataset; each actor makes one."""

    def __init__(
        self, compute_fn: Any, init: Any, columns: Mapping[str, str | int], loader: Mapping[str, Any], size: int
    ) -> None:
        self.compute, self.columns, self.loader, self.size = function(compute_fn, init), columns, loader, size

    def __call__(self, batch: Mapping[str, Any]) -> Iterator[object]:
        from torch.utils.data import DataLoader, Subset

        for part in batch["part"].tolist():
            start = part * self.size
            stop = min(start + self.size, len(self.loader["dataset"]))
            given = {**self.loader, "dataset": Subset(self.loader["dataset"], range(start, stop))}
            batches = zip(count(start // self.loader["batch_size"]), DataLoader(**given), strict=False)
            if found := list(computed(self.compute, batches, self.columns)):
                rows = joined(found)
                yield _table(rows, {"part": part, "rows": length(rows)})


class _RowsOfBatch:
    """Rows of what a Ray dataset streams, but for ids that are done; each actor makes one."""

    def __init__(self, compute_fn: Any, init: Any, columns: Mapping[str, str | int], done: frozenset[str]) -> None:
        self.compute, self.columns, self.done = function(compute_fn, init), columns, done
        self.numbers = count()

    def __call__(self, batch: Mapping[str, Any]) -> Iterator[object]:
        if "sample_id" not in batch:
            raise InputError(
                f"a Ray dataset needs a column sample_id, by which a killed job goes on; it has {', '.join(batch)}"
            )
        todo = [str(name) not in self.done for name in batch["sample_id"].tolist()]
        if any(todo):
            left = {name: values[todo] for name, values in batch.items()}
            found = computed(self.compute, [(next(self.numbers), left)], self.columns)
            why = "return that of the batch, by which a killed job goes on"
            yield from (_table(chunk) for chunk in with_ids(found, why))


def _table(chunk: Chunk, constants: Mapping[str, int] | None = None) -> object:
    """A chunk as an Arrow table with the types of the columns, also where a column is empty."""
    with duckdb.connect(config={"threads": 1}) as connection:
        more = "".join(f", CAST({value} AS BIGINT) AS {name}" for name, value in (constants or {}).items())
        query = select(connection, chunk)
        return connection.sql(f"SELECT *{more} FROM ({query})").to_arrow_table()


def _loader(data: Any, executor: RayExecutor) -> dict[str, Any]:
    """What a DataLoader of any part of the data is made of."""
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


def _begin(directory: Path, plan: Mapping[str, object]) -> str:
    """The session of the job, new or that which was begun: its shards are those of one writer."""
    file = directory / _PLAN
    if file.exists():
        begun = json.loads(file.read_text())
        if begun["plan"] != plan:
            raise InputError(
                f"{printable(str(directory))} was begun with {begun['plan']}, and this is {dict(plan)};"
                " give the same data and part_size, or delete the directory"
            )
        return str(begun["session"])
    if _shards(directory):
        raise InputError(
            f"{printable(str(directory))} has records that Ray did not write; delete the directory or change job_name"
        )
    directory.mkdir(parents=True, exist_ok=True)
    session = new_session()
    with atomic_write(file) as hidden:
        hidden.write_text(json.dumps({"plan": plan, "session": session}))
    return session


def _adopt(directory: Path, run: str, session: str) -> int:
    """Make shards of what Ray wrote whole, and delete the rest; returns how many files that were."""
    refused = 0
    numbers = count(max(map(_number, _shards(directory)), default=-1) + 1)
    for folder in sorted(directory.glob(f"{_ASIDE}*")):
        for file in sorted(folder.rglob(f"*{SUFFIX}")):
            said = dict(name.split("=") for name in file.parent.relative_to(folder).parts)
            rows = _whole(file)
            if rows is None or rows != int(said.get("rows", rows)):
                refused += 1
                continue
            number = int(said["part"]) if said else next(numbers)
            with file.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(file, directory / shard_name(run, 0, session, number))
        shutil.rmtree(folder)
    return refused


def _whole(file: Path) -> int | None:
    """The rows of a Parquet file; None for one that was cut short, and has no footer."""
    try:
        with duckdb.connect(config={"threads": 1}) as connection:
            found = connection.execute("SELECT num_rows FROM parquet_file_metadata(?)", [str(file)]).fetchone()
    except duckdb.Error:
        return None
    return None if found is None else int(found[0])


def _ids(directory: Path) -> frozenset[str]:
    shards = [str(shard) for shard in _shards(directory)]
    if not shards:
        return frozenset()
    with duckdb.connect() as connection:
        found = connection.execute("SELECT DISTINCT sample_id FROM read_parquet(?)", [shards]).fetchall()
    return frozenset(row[0] for row in found)


def _shards(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def _number(shard: Path) -> int:
    return int(shard.name.split(".")[-2])
