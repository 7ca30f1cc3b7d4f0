"""Ten million records: written by RecordWriter and ranked, beside the plain mean, and the memory of a fresh process.

A million examples are seen ten times each, in batches of 256, once without a noise level and once at a random one. Four
in a hundred lose twice as much. The page docs/benchmarks/records.md is made of it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import torch

from lossreg.records import RecordWriter, rank_examples
from lossreg.records.atomic_write import write_text
from lossreg.records.examples import example_rows
from lossreg.records.reader import connect

ROWS, LOOKS, BATCH = 10_000_000, 10, 256
BAD = 0.04
FIRST = 1000  # examples of a ranking
OUT = Path(__file__).parent.parent / "docs" / "benchmarks"


def main() -> None:
    """Print the figures, and write them to the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="number of rows")
    parser.add_argument("--memory-limit", default="1GB", help="of DuckDB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="default docs/benchmarks; runs/benchmarks with other --rows"
    )
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.step, options.memory_limit, options.threads)))
        return
    lines = list(page(options.rows, options.memory_limit, options.threads))
    out = options.out or (OUT if options.rows == ROWS else Path("runs/benchmarks"))
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "records.md", "\n".join(lines) + "\n")
    print(f"\n{out / 'records.md'}")


def page(rows: int, memory_limit: str, threads: int) -> Iterator[str]:
    """Yield the lines of the page, and print them."""
    for line in (
        "# Records: written and ranked",
        "",
        f"{rows:,} rows of {rows // LOOKS:,} examples, by `benchmarks/records_rank.py`: {threads} threads, DuckDB"
        f" {duckdb.__version__} with memory_limit={memory_limit}. Memory is the peak of a process that does nothing",
        f"else. Found: of the planted {BAD:.0%}, those among the first {FIRST:,}.",
        "",
        "| | seconds | processor seconds | memory, MiB | found |",
        "|---|--:|--:|--:|--:|",
    ):
        print(line)
        yield line
    for condition in (False, True):
        kind = "with a condition" if condition else "without"
        with TemporaryDirectory() as name:
            line = f"| written, {kind} | {write(Path(name), rows, condition=condition):.1f} | | | |"
            print(line, flush=True)
            yield line
            for step, words in STEPS.items():
                arguments = ["--measure", name, "--step", step, "--memory-limit", memory_limit]
                command = [sys.executable, __file__, *arguments, "--threads", str(threads)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                seconds, processor, peak, found = json.loads(done.stdout)
                line = f"| {words}, {kind} | {seconds:.1f} | {processor:.1f} | {peak:,.0f} | {found:.0%} |"
                print(line, flush=True)
                yield line


def write(directory: Path, rows: int, *, condition: bool) -> float:
    """Write the records; return the seconds of that, without making the losses and names."""
    examples, random = rows // LOOKS, np.random.default_rng(0)
    bad, seconds = int(examples * BAD), 0.0
    writer = RecordWriter(directory, run="benchmark")
    for epoch in range(LOOKS):
        order = random.permutation(examples)
        for start in range(0, examples, BATCH):
            chosen = order[start : start + BATCH]
            step = (epoch * examples + start) // BATCH
            t = random.random(len(chosen))
            losses = (1 + (chosen < bad)) * np.exp(-3 * step * BATCH / rows) * random.gamma(3, size=len(chosen))
            losses = torch.from_numpy(losses * np.exp(-4 * t) if condition else losses)
            levels = t.tolist() if condition else None
            names = [f"{'bad' if number < bad else 'good'} {number:08d}" for number in chosen]
            begun = time.perf_counter()
            writer.add(
                losses, sample_ids=names, dataset="images", split="train", step=step, epoch=epoch, condition=levels
            )
            seconds += time.perf_counter() - begun
    begun = time.perf_counter()
    writer.close()
    return seconds + time.perf_counter() - begun


def measure(directory: Path, step: str, memory_limit: str, threads: int) -> tuple[float, float, float, float]:
    """Run a step; return its seconds, processor seconds, the peak memory in MiB, and the share of bad ones it found."""
    with connect(directory, memory_limit=memory_limit, threads=threads) as connection:
        begun, used = time.perf_counter(), time.process_time()
        names = _RUN[step](connection)
        times = time.perf_counter() - begun, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return (*times, peak, sum(name.startswith("bad") for name in names) / max(1, len(names)))


def by_mean(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Name the first examples by the plain mean of their losses."""
    order = f"ORDER BY favg(finite) DESC, key LIMIT {FIRST}"
    query = f"SELECT key FROM {example_rows(connection)} GROUP BY dataset, key {order}"
    return [key for (key,) in connection.execute(query).fetchall()]


def by_ranking(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Name the first examples of the ranking."""
    return [one.sample_id or "" for one in rank_examples(connection, top_k=FIRST).examples]


STEPS = {"mean": "ranked by the plain mean", "ranking": "ranked by `rank_examples`"}
_RUN: dict[str, Callable[[duckdb.DuckDBPyConnection], list[str]]] = {"mean": by_mean, "ranking": by_ranking}

if __name__ == "__main__":
    main()
