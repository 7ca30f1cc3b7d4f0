"""Small real trainings, sound and broken, under a monitor with its defaults: its false alarms and its misses.

A sound training has 800 updates. A broken one would have 5,000, and ends when it is reported. Each runs with three
seeds, which draw the data, the weights and the batches. The monitor has its default options, and those that the guide
demands: `ignore_index` where the loss has it, `activation="none"` for probabilities, `loss=` in a few trainings.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from zoo.broken import BROKEN
from zoo.page import goals, page, sort
from zoo.run import Result, run
from zoo.sound import SOUND
from zoo.training import Training

from lossreg.records.atomic_write import write_text

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks"
QUICK_OUT = Path("runs/benchmarks")
ZOO: list[Training] = SOUND + BROKEN
console = Console(stderr=True)


def main() -> None:
    """Run the zoo, print the goals, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="of each training")
    parser.add_argument("--only", default="", metavar="NAME", help="the trainings whose name contains this")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--whole", action="store_true", help="run broken trainings to their end, too")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="default docs/benchmarks; runs/benchmarks of a part or fewer seeds"
    )
    options = parser.parse_args()
    chosen = [training for training in ZOO if options.only in training.name]
    if not chosen:
        parser.error(f"no training has {options.only!r} in its name")
    begun = time.perf_counter()
    results = run_all(chosen, options.seeds, options.processes, whole=options.whole)
    zoo = sort(chosen, results)
    for text, met in goals(zoo):
        print(f"{'met    ' if met else 'NOT met'}  {text}")
    out = options.out or (QUICK_OUT if options.only or options.seeds < 3 else DOCS)
    out.mkdir(parents=True, exist_ok=True)
    lines = ["# The monitor in a zoo of trainings", "", *(__doc__ or "").strip().splitlines()]
    lines += ["", "Written by `python benchmarks/health_zoo.py`.", "", *page(zoo)]
    write_text(out / "health_zoo.md", "\n".join(lines) + "\n")
    seconds = sum(result.seconds for result in results)
    print(f"{len(results)} runs in {time.perf_counter() - begun:.0f} s, {seconds:.0f} s of the processors;", end=" ")
    print(f"the table is in {out / 'health_zoo.md'}")
    sys.exit(not all(met for _, met in goals(zoo)))


def run_all(trainings: Sequence[Training], seeds: int, processes: int, *, whole: bool = False) -> list[Result]:
    """Run each training with each seed, the longest first, and return the results."""
    numbers = {training.name: number for number, training in enumerate(ZOO)}
    jobs = [(numbers[training.name], seed, whole) for training in trainings for seed in range(seeds)]
    with (
        ProcessPoolExecutor(processes, get_context("spawn"), initializer=_prepare) as pool,
        Progress(console=console) as progress,
    ):
        bar = progress.add_task("trainings", total=len(jobs))
        waiting = [pool.submit(run_one, *job) for job in jobs]
        for each in as_completed(waiting):
            progress.advance(bar)
            progress.console.print(line(each.result()), markup=False, soft_wrap=True, highlight=False)
    return [each.result() for each in waiting]


def line(result: Result) -> str:
    """Return a run in one line."""
    reports = ", ".join(f"{found.rule} ({found.severity}) at {found.update}" for found in result.reports)
    quality = "" if result.quality is None else f", IoU {result.quality:.2f}"
    return f"{result.name}, seed {result.seed}: {result.updates} updates{quality}, {reports or 'no report'}"


def run_one(number: int, seed: int, whole: bool) -> Result:
    """Run one training of the zoo."""
    return run(ZOO[number], seed, whole=whole)


def _prepare() -> None:
    """Use one thread: the sums of a tiny network are not worth more."""
    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
