"""The losses of a dataset: computed in batches, written as shards, and summarised from these."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from lossreg.errors import InputError
from lossreg.messages import printable
from lossreg.records.aggregate import aggregate_by_dataset
from lossreg.records.column_values import Chunk, shown
from lossreg.records.evaluation.compute_fn import computed, first_rows, function, merged, with_ids
from lossreg.records.evaluation.distributed import Ranks, torchrun_ranks
from lossreg.records.evaluation.draws import Conditions, Noise, make_draws
from lossreg.records.export import export_csv, export_json
from lossreg.records.reader import connect
from lossreg.records.record_schema import SUFFIX
from lossreg.records.sampling import chosen_batches
from lossreg.records.shards import new_session, shard_name, write_shard

if TYPE_CHECKING:
    from lossreg.records.evaluation.ray_data import RayExecutor

Executor = Literal["local", "torchrun", "ray"]
_DIGITS = 9  # of a step in file names


def evaluate_dataset(
    compute_fn: Callable[..., Any],
    dataloader: Iterable[Any],
    *,
    sample_fraction: float = 1.0,
    max_samples: int | None = None,
    seed: int = 0,
    draws: int | None = None,
    noise: Noise = "own",
    conditions: Conditions | None = None,
    out_csv: str | PathLike[str] | None = None,
    out_json: str | PathLike[str] | None = None,
) -> dict[str, Any]:
    """Compute the losses of a dataset and summarise them per dataset and over all.

    Rows go to temporary shards (in TMPDIR), so that memory does not grow with their number.

    Args:
        compute_fn: called with each batch, without gradients; returns its rows as records are given: an iterable of
            mappings, or a mapping of columns to tensors, arrays or lists. `loss` is required. It must set the model to
            eval mode itself. With `draws` it is called as compute_fn(batch, draw=draw) with each `Draw`.
        dataloader: yields the batches.
        sample_fraction: share of the batches to compute, in (0, 1]. The choice depends on `seed` and the number of the
            batch alone. A plain DataLoader of a map-style dataset does not load the others.
        max_samples: number of rows, of each draw, after which it stops, >= 1; None for all.
        seed: another seed chooses other batches, conditions and noise.
        draws: number of evaluations of every example, >= 1, for a loss that is random, such as that of a diffusion
            model: 4, or 8 if time allows. The rows have the columns `draw` and `condition`. None: one, without a draw.
        noise: "own": that of an example depends on `seed`, the draw and its sample_id. "common": all examples have the
            same noise, in pairs of opposite signs; it ranks with fewer draws, but is no measure of the mean loss. The
            examples must have one shape, and `draws` be even.
        conditions: from which distribution the draws' conditions are: an interval such as (0, 1000), or the quantile
            function of the training's sampler, from (0, 1) to the timestep. The draws divide it into equal shares, and
            all examples have the same conditions. None: the draws have none.
        out_csv, out_json: also write every row, or the aggregates and every example, to these files.
    Returns:
        the result of `aggregate_by_dataset`.
    Raises:
        InputError: an argument out of its range, before anything is computed; no rows at all; a compute_fn that
            returned invalid rows. Its own exceptions pass, with a note that names the batch.
    """
    _check(sample_fraction, max_samples)
    every = make_draws(draws, noise, conditions, seed)
    compute = function(compute_fn, draws=every)
    batches = chosen_batches(dataloader, sample_fraction, seed)
    with TemporaryDirectory(prefix="lossreg-evaluation-") as folder:
        rows = first_rows(computed(compute, batches, draws=every), max_samples, max(1, len(every)))
        if not write_rows(rows, Path(folder), "evaluation"):
            raise InputError(
                f"there are no rows: the dataloader is empty, or sample_fraction={sample_fraction} with seed={seed}"
                " chooses none of its batches"
            )
        with connect(folder) as records:
            if out_csv is not None:
                export_csv(records, out_csv)
            if out_json is not None:
                export_json(records, out_json)
            return aggregate_by_dataset(records, together=True)


def run_dataset_evaluation(
    compute_fn: Callable[..., Any],
    dataloader: Any,
    *,
    job_name: str,
    step: int,
    out_dir: str | PathLike[str],
    executor: Executor | RayExecutor = "local",
    init: Mapping[str, Any] | None = None,
    draws: int | None = None,
    noise: Noise = "own",
    conditions: Conditions | None = None,
    seed: int = 0,
) -> Path:
    """Evaluate a dataset with the model of one step, in one process or many, and write rows and summary.

    Writes the rows to `{out_dir}/{job_name}_{step:09d}.records/` and their summary to the same name ending in .json,
    which is complete or absent. The summaries of all executors differ by rounding alone.

    "local": this process. "torchrun": every rank calls this with its own part of the data, as from DistributedSampler;
    its padding is dropped by sample_id, which every row must have. Both start again if they are called again.
    "ray", or a `RayExecutor`: actors on a Ray cluster. Called again after it was killed, it computes the missing rows
    alone, and none after it was finished. Delete the directory to start again.

    Args:
        compute_fn: as in `evaluate_dataset`; or a class of it: each process creates one instance, and so loads the
            model once. run, rank and step of the rows are set here.
        dataloader: yields the batches. For Ray: a map-style dataset, a sequence, a DataLoader of one in order, or a
            ray.data.Dataset whose rows have a sample_id.
        job_name: part of the file names; no path separators.
        step: of the optimiser, 0 to 999,999,999.
        out_dir: created if it is missing; shared by all processes.
        executor: "local", "torchrun", "ray" or a `RayExecutor`.
        init: keyword arguments of a compute_fn that is a class.
        draws, noise, conditions: as in `evaluate_dataset`; the same in every process.
        seed: another seed has other conditions and noise.
    Returns:
        the JSON file, on every rank.
    Raises:
        InputError: an invalid argument; a compute_fn that returned invalid rows.
        MissingLibraryError: Ray is not installed.
        RankError: another rank failed. No rank waits for it.
    """
    name = _name(job_name, step)
    every = make_draws(draws, noise, conditions, seed)
    directory, summary = Path(out_dir) / f"{name}.records", Path(out_dir) / f"{name}.json"
    columns: dict[str, str | int] = {"run": job_name, "step": step}
    if executor in ("local", "torchrun"):
        with nullcontext(Ranks()) if executor == "local" else torchrun_ranks() as ranks:
            columns["rank"] = ranks.rank

            def rows() -> Iterator[Chunk]:
                return computed(function(compute_fn, init, every), enumerate(dataloader), columns, every)

            _on_ranks(ranks, rows, directory, summary, job_name)
        return summary
    from lossreg.records.evaluation.ray_data import RayExecutor, evaluate_on_ray

    if executor == "ray":
        executor = RayExecutor()
    if not isinstance(executor, RayExecutor):
        raise InputError(f"executor must be 'local', 'torchrun', 'ray' or a RayExecutor, got {shown(executor)}")
    evaluate_on_ray(compute_fn, dataloader, directory, columns | {"rank": 0}, executor, init, every)
    _summarise(directory, summary)
    return summary


def write_rows(rows: Iterable[Chunk], directory: Path, run: str, rank: int = 0) -> int:
    """Write chunks as the shards of one session, one at a time in memory; return the number of shards."""
    session, number = new_session(), 0
    for number, chunk in enumerate(merged(rows), 1):
        write_shard(directory, shard_name(run, rank, session, number), chunk)
    return number


def _on_ranks(ranks: Ranks, rows: Callable[[], Iterator[Chunk]], directory: Path, summary: Path, run: str) -> None:
    """Write the rows of each rank; the first rank summarises all."""

    def begin() -> None:
        if ranks.rank == 0:
            _clear(directory, summary)

    def write() -> int:
        own = rows()
        if ranks.size > 1:
            own = with_ids(own, "several ranks need them, because samplers give some examples to two ranks")
        return write_rows(own, directory, run, ranks.rank)

    ranks.together(begin)
    shards = ranks.sum(ranks.together(write))

    def end() -> None:
        if ranks.rank == 0:
            _summarise(directory, summary, shards)

    ranks.together(end)


def _clear(directory: Path, summary: Path) -> None:
    """Remove the results of an earlier evaluation of this name."""
    summary.unlink(missing_ok=True)
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)


def _summarise(directory: Path, summary: Path, shards: int | None = None) -> None:
    found = len(list(directory.glob(f"*{SUFFIX}")))
    if shards is not None and found != shards:
        raise InputError(
            f"{printable(str(directory))} has {found} of the {shards} shards that the ranks wrote; out_dir must be a"
            " directory that all of them share"
        )
    if not found:
        raise InputError("there are no rows: the dataloader is empty, or compute_fn returned none")
    export_json(directory, summary)


def _check(sample_fraction: float, max_samples: int | None) -> None:
    if (
        isinstance(sample_fraction, bool)
        or not isinstance(sample_fraction, int | float)
        or not 0 < sample_fraction <= 1
    ):
        raise InputError(f"sample_fraction must be a share of the batches in (0, 1], got {shown(sample_fraction)}")
    if max_samples is not None and (type(max_samples) is not int or max_samples < 1):
        raise InputError(f"max_samples must be a number of rows >= 1, or None for all, got {shown(max_samples)}")


def _name(job_name: str, step: int) -> str:
    if not isinstance(job_name, str) or not re.fullmatch(r"[^/\\\0]+", job_name) or job_name.startswith("."):
        raise InputError(
            f"job_name must be text without path separators that does not start with a dot, got {shown(job_name)}"
        )
    if type(step) is not int or not 0 <= step < 10**_DIGITS:
        raise InputError(f"step must be an integer from 0 to {10**_DIGITS - 1:,}, got {shown(step)}")
    return f"{job_name}_{step:0{_DIGITS}d}"
