"""Time and memory of the losses, forward and backward, next to those of other libraries, and the bars for ours.

All contestants of a row get the same tensors, uint8 masks or class indices, and are called in turn, so that a drift of
the machine affects all of them equally; a peer that needs float masks converts them within its time. Bytes kept are the
distinct storages saved for backward, input and target included. Extra memory is the peak beyond input, target and
gradient. The share is the share of a plain copy's bandwidth, for the bytes that must move: logits and target read
twice, the gradient written once. On a GPU several sets of tensors rotate, so that the L2 cache contains none of the
next ones, and the copy is of a gigabyte. Only losses whose value equals plain torch in float64 are timed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
from contextlib import ExitStack
from pathlib import Path

import catalogue
import memory
import peers
import rows
import torch
from bars import judge
from before import Before
from measure import Measured, measure
from rows import Row
from tables import table
from values import reference_values

from lossreg_segmentation.statistics import implementation

SECONDS = {"cpu": 4.0, "cuda": 1.5}  # per row; a GPU is lent for minutes
QUICK = 0.3


def main() -> None:
    """Print a table for each row, then the bars."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own start and stop
    options = arguments()
    device, lines, verdicts = torch.device(options.device), list[str](), list[str]()
    report(heading(device, options.wall), lines)
    chosen = [row for row in options.rows() if options.only in row.name]
    expected = reference_values(chosen, device)
    seconds = QUICK if options.quick else SECONDS[device.type]
    with ExitStack() as stack:
        before = stack.enter_context(Before(options.before)) if options.before else None
        if options.implementation != "auto":
            stack.enter_context(implementation(options.implementation))
        for row in chosen:
            measured = measure(row, expected[row.name], device, seconds, wall=options.wall, before=before)
            report([*table(row, measured), *beside_table(row, measured, before, device)], lines)
            verdicts += judge(row, measured, device.type)
    if options.implementation == "auto":
        report(["## Bars", "", *verdicts], lines)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


def beside_table(row: Row, measured: Measured, before: Before | None, device: torch.device) -> list[str]:
    """Return the speed of the earlier version, and the memory of SAM by the system's count."""
    lines = []
    if measured.before is not None:
        faster = measured.before / measured.figures[0].milliseconds
        lines += [f"{faster:.2f} times as fast as before.", ""]
    elif before:
        lines += [f"Before: {before.problem}", ""]
    if row.name == "sam" and device.type == "cpu" and Path("/proc/self/clear_refs").exists():
        os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # or the C library keeps some of what a step released
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            megabytes = fresh.apply(memory.resident, (row.name,))
        lines += [f"By the system's count of a fresh process, ours takes {megabytes:.1f} MB extra.", ""]
    return lines


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--only", default="", metavar="NAME", help="the rows whose name contains this")
    parser.add_argument(
        "--catalogue",
        dest="rows",
        action="store_const",
        const=catalogue.rows,
        default=rows.rows,
        help="other families",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the same to a file")
    parser.add_argument("--implementation", default="auto", metavar="NAME", help="implementation of our losses")
    parser.add_argument("--wall", action="store_true", help="on CUDA: wall clock, launches included, for all rows")
    parser.add_argument(
        "--before",
        type=Path,
        metavar="FOLDER",
        help="CPU: the root of an earlier version's tree, timed in turn with ours",
    )
    options = parser.parse_args()
    if options.before and options.device != "cpu":
        parser.error("--before takes steps on the CPU; leave out --device")
    return options


def report(more: list[str], lines: list[str]) -> None:
    """Print lines at once, and collect them."""
    print("\n".join(more), flush=True)
    lines += more


def heading(device: torch.device, wall: bool) -> list[str]:
    """Return the machine, the versions and the meaning of the columns."""
    cpu, info = platform.processor(), Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(": ")[1] for line in info.read_text().splitlines() if "model name" in line), cpu)
    machine = f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads"
    if device.type == "cuda":
        clock = "wall clock" if wall else "device time, small rows in wall clock"
        machine += f"; {torch.cuda.get_device_name(device)}; {clock}"
    columns = (__doc__ or "").strip().splitlines()[2:]
    return ["# Losses, forward and backward", "", f"{machine}. {', '.join(peers.versions())}.", "", *columns, ""]


if __name__ == "__main__":
    main()
