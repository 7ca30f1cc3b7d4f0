"""The losses of a whole dataset: computed in batches, kept as shards, summarised from there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from lossreg.errors import InputError
from lossreg.messages import printable
from lossreg.records.aggregate import aggregate_by_dataset
from lossreg.records.evaluation.batch_sampling import drawn_batches
from lossreg.records.evaluation.compute_fn import computed, first_rows, function, merged, with_ids
from lossreg.records.evaluation.distributed import Ranks, torchrun_ranks
from lossreg.records.export import export_csv, export_json
from lossreg.records.reader import connect
from lossreg.records.record_schema import SUFFIX
from lossreg.records.row_validation import Chunk, shown
from lossreg.records.shards import new_session, shard_name, write_shard

if TYPE_CHECKING:
    from lossreg.records.evaluation.ray_data import RayExecutor

Executor = Literal["local", "torchrun", "ray"]
_DIGITS = 9  # of a step in file names


def evaluate_dataset(
    compute_fn: Callable[..., Any],
    dataloader: Iterable[Any],
    sample_fraction: float = 1.0,
    max_samples: int | None = None,
    seed: int = 0,
    out_csv: str | Path | None = None,
    out_json: str | Path | None = None,
) -> dict[str, Any]:
    """Compute the losses of a dataset and summarise them per dataset and over all.

    Rows go to temporary shards (in TMPDIR), so that memory does not grow with their number.

    Args:
        compute_fn: called with each batch, without gradients; returns its rows as records are given: an iterable of
            mappings, or a mapping of columns to tensors, arrays or lists. `loss` must be there. Whether the model is
            in eval mode is its own affair.
        dataloader: gives the batches.
        sample_fraction: share of the batches to compute, in (0, 1]. Which these are depends on `seed` and the number of
            the batch alone. A plain DataLoader of a map-style dataset does not load the others.
        max_samples: rows after which it stops, >= 1; None for all.
        seed: draws other batches.
        out_csv, out_json: also write every row, or the aggregates and every example, to these files.
    Returns:
        what `aggregate_by_dataset` does.
    Raises:
        InputError: an argument out of its range, before anything is computed; no rows at all; a compute_fn that
            returned something else than rows. What it raises itself passes, with a note that says in which batch.
    """
    _check(sample_fraction, max_samples)
    compute = function(compute_fn)
    batches = drawn_batches(dataloader, sample_fraction, seed)
    with TemporaryDirectory(prefix="lossreg-evaluation-") as folder:
        rows = first_rows(computed(compute, batches), max_samples)
        if not write_rows(rows, Path(folder), "evaluation"):
            raise InputError(
                f"there are no rows: the dataloader is empty, or sample_fraction={sample_fraction} with seed={seed}"
                " draws none of its batches"
            )
        with connect(folder) as records:
            if out_csv is not None:
                export_csv(records, out_csv)
            if out_json is not None:
                export_json(records, out_json)
            return aggregate_by_dataset(records)


def run_dataset_evaluation(
    compute_fn: Callable[..., Any],
    dataloader: Any,
    job_name: str,
    step: int,
    out_dir: str | Path,
    *,
    executor: Executor | RayExecutor = "local",
    init: Mapping[str, Any] | None = None,
) -> Path:
    """Evaluate a dataset with the model of one step, in this process or many, and write what came out.

    Writes the rows to `{out_dir}/{job_name}_{step:09d}.records/` and their summary to the same name ending in .json,
    which is there whole or not at all. All executors give the same summary.

    "local": this process. "torchrun": every rank calls this with its own part of the data, as DistributedSampler gives
    it; what that pads is dropped by sample_id, which every row must have. Both begin anew when they are called again.
    "ray", or a `RayExecutor`: actors on a Ray cluster; called again after it was killed, it computes only what is
    missing, and after it was finished, nothing. Delete the directory to begin anew.

    Args:
        compute_fn: as in `evaluate_dataset`; or a class whose instances are: each process makes one, and so loads the
            model once. run, rank and step of the rows are set here.
        dataloader: gives the batches. For Ray: a map-style dataset, a sequence, a DataLoader of one in order, or a
            ray.data.Dataset whose rows have a sample_id.
        job_name: of the files; no path separators.
        step: of the optimiser, 0 to 999,999,999.
        out_dir: is made if it is missing; all processes must see it.
        executor: where it runs.
        init: keyword arguments of a compute_fn that is a class.
    Returns:
        the JSON file, on every rank.
    Raises:
        InputError: an argument that cannot be; a compute_fn that returned something else than rows.
        MissingLibraryError: Ray is not installed.
        RankError: another rank failed. No rank is left waiting.
    """
    name = _name(job_name, step)
    directory, summary = Path(out_dir) / f"{name}.records", Path(out_dir) / f"{name}.json"
    columns: dict[str, str | int] = {"run": job_name, "step": step}
    if executor in ("local", "torchrun"):
        with nullcontext(Ranks()) if executor == "local" else torchrun_ranks() as ranks:
            columns["rank"] = ranks.rank

            def rows() -> Iterator[Chunk]:
                return computed(function(compute_fn, init), enumerate(dataloader), columns)

            _on_ranks(ranks, rows, directory, summary, job_name)
        return summary
    from lossreg.records.evaluation.ray_data import RayExecutor, evaluate_on_ray

    if executor == "ray":
        executor = RayExecutor()
    if not isinstance(executor, RayExecutor):
        raise InputError(f"executor is 'local', 'torchrun', 'ray' or a RayExecutor, got {shown(executor)}")
    evaluate_on_ray(compute_fn, dataloader, directory, columns | {"rank": 0}, executor, init)
    _summarise(directory, summary)
    return summary


def write_rows(rows: Iterable[Chunk], directory: Path, run: str, rank: int = 0) -> int:
    """Write chunks as the shards of one session, one at a time in memory; returns how many shards."""
    session, number = new_session(), 0
    for number, chunk in enumerate(merged(rows), 1):
        write_shard(directory, shard_name(run, rank, session, number), chunk)
    return number


def _on_ranks(ranks: Ranks, rows: Callable[[], Iterator[Chunk]], directory: Path, summary: Path, run: str) -> None:
    """Each rank writes its rows; the first summarises them all."""

    def begin() -> None:
        if ranks.rank == 0:
            _clear(directory, summary)

    def write() -> int:
        mine = rows()
        if ranks.size > 1:
            mine = with_ids(mine, "several ranks need them, since samplers give some examples to two ranks")
        return write_rows(mine, directory, run, ranks.rank)

    ranks.together(begin)
    shards = ranks.sum(ranks.together(write))

    def end() -> None:
        if ranks.rank == 0:
            _summarise(directory, summary, shards)

    ranks.together(end)


def _clear(directory: Path, summary: Path) -> None:
    """What another evaluation of this name left: its parts may have been others."""
    summary.unlink(missing_ok=True)
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)


def _summarise(directory: Path, summary: Path, shards: int | None = None) -> None:
    here = len(list(directory.glob(f"*{SUFFIX}")))
    if shards is not None and here != shards:
        raise InputError(
            f"{printable(str(directory))} has {here} of the {shards} shards that the ranks wrote; out_dir must be a"
            " directory that all of them share"
        )
    if not here:
        raise InputError("there are no rows: the dataloader is empty, or compute_fn returned none")
    export_json(directory, summary)


def _check(sample_fraction: float, max_samples: int | None) -> None:
    if (
        isinstance(sample_fraction, bool)
        or not isinstance(sample_fraction, int | float)
        or not 0 < sample_fraction <= 1
    ):
        raise InputError(f"sample_fraction is a share of the batches in (0, 1], got {shown(sample_fraction)}")
    if max_samples is not None and (type(max_samples) is not int or max_samples < 1):
        raise InputError(f"max_samples is a number of rows >= 1, or None for all, got {shown(max_samples)}")


def _name(job_name: str, step: int) -> str:
    if not isinstance(job_name, str) or not re.fullmatch(r"[^/\\\0]+", job_name) or job_name.startswith("."):
        raise InputError(
            f"job_name is part of a file name: text without path separators that does not start with a dot, got"
            f" {shown(job_name)}"
        )
    if type(step) is not int or not 0 <= step < 10**_DIGITS:
        raise InputError(f"step is an integer from 0 to {10**_DIGITS - 1:,}, got {shown(step)}")
    return f"{job_name}_{step:0{_DIGITS}d}"
