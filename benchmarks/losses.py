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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import catalogue
import memory
import peers
import torch
from peers import Bar, Peer, Row
from timing import alternate, copied, sets_past_cache
from values import checked, reference_values
from work import Work, make_work, run

import lossreg
from lossreg_segmentation.statistics import chosen, implementation

COPY = "(copy)"
PEER_ERRORS = (RuntimeError, TypeError, ValueError, AttributeError, AssertionError)


class Figures(NamedTuple):
    """The measurements of one contestant; zeros if it does not run, and then the peer has no loss."""

    peer: Peer
    value: float = 0.0
    milliseconds: float = float("nan")
    kept: float = 0.0
    extra: float = 0.0
    share: float = 0.0


def main() -> None:
    """Print a table for each row, then the bars."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own start and stop
    options = arguments()
    device, lines, verdicts = torch.device(options.device), list[str](), list[str]()
    report(heading(device, options.wall), lines)
    rows = [row for row in options.rows() if options.only in row.name]
    expected = reference_values(rows, device)
    for row in rows:
        with implementation(options.implementation):
            figures = measure(row, expected[row.name], device, 0.3 if options.quick else 4.0, options.wall)
        report(table(row, figures), lines)
        verdicts += judge(row, figures, device.type)
        if row.name == "sam" and device.type == "cpu" and Path("/proc/self/clear_refs").exists():
            os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # or the C library keeps some of what a step released
            with multiprocessing.get_context("spawn").Pool(1) as fresh:
                megabytes = fresh.apply(memory.resident, (row.name,))
            report([f"By the system's count of a fresh process, ours takes {megabytes:.1f} MB extra.", ""], lines)
    if options.implementation == "auto":
        report(["## Bars", "", *verdicts], lines)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


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
        default=peers.rows,
        help="other families",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the same to a file")
    parser.add_argument("--implementation", default="auto", metavar="NAME", help="implementation of our losses")
    parser.add_argument("--wall", action="store_true", help="on CUDA: wall clock, launches included, for all rows")
    return parser.parse_args()


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


def measure(row: Row, expected: float, device: torch.device, seconds: float, wall: bool) -> list[Figures]:
    """Measure every contestant, ours first."""
    torch.compiler.reset()  # peers are compiled for the shapes of this row alone
    work, wall = make_work(row, device), wall or row.name.endswith("small")
    contestants = [Peer(name_of_ours(row, work), lossreg.build(row.config), ours=True), *row.peers()]
    figures = {peer.name: first_look(peer, work, expected, row) for peer in contestants}
    calls: dict[str, Callable[[Work], object]] = {
        name: partial(run, found.peer.loss) for name, found in figures.items() if found.peer.loss
    }
    source = copied(work.leaves[0].detach())
    copy = torch.empty_like(source)
    calls[COPY] = lambda work: copy.copy_(source)
    more = 0 if wall else sets_past_cache(work.must_move() // 2, device) - 1
    works = [work, *(make_work(row, device, seed) for seed in range(1, 1 + more))]
    times = alternate(calls, works, device, seconds=seconds, wall=wall)
    bandwidth = 2 * source.nbytes / times.pop(COPY)
    for name, milliseconds in times.items():
        share = work.must_move() / milliseconds / bandwidth
        figures[name] = figures[name]._replace(milliseconds=milliseconds, share=share)
    return list(figures.values())


def name_of_ours(row: Row, work: Work) -> str:
    """Return our name, with the implementation for losses over sums."""
    if not row.on_sums:
        return "lossreg"
    logits, target, *_ = work.arguments
    return f"lossreg, {chosen(logits, target, 'softmax' if row.target == 'index' else 'sigmoid')}"


def first_look(peer: Peer, work: Work, expected: float, row: Row) -> Figures:
    """Measure value and memory, after calls that compile. Ours must run, a peer need not."""
    if peer.loss is None:
        return Figures(peer)
    try:
        value = [run(peer.loss, work).item() for _ in range(3)][-1]
        kept, extra = memory.kept(peer.loss, work), memory.extra(peer.loss, work)
        return Figures(checked(peer, value, expected, row), value, kept=kept, extra=extra)
    except PEER_ERRORS as error:
        if peer.ours:
            raise
        return Figures(peer._replace(loss=None, problem=f"{type(error).__name__}: {error}"))


def table(row: Row, figures: list[Figures]) -> list[str]:
    """Return the row's table in Markdown."""
    lines = [f"## {row.name}, {'x'.join(map(str, row.shape))}, {str(row.dtype).removeprefix('torch.')}", ""]
    columns = ("loss", "ms", "times ours", "bytes kept per logit", "extra MB", "share of copy", "value")
    lines += [f"| {' | '.join(columns)} |", "|---" + "|--:" * 6 + "|"]
    for peer, value, ms, saved, more, share in figures:
        if peer.loss:
            cells = (
                f"{ms:.3g} | {ms / figures[0].milliseconds:.2f} | {saved:.1f} | {more:.1f} | {share:.0%} | {value:.5f}"
            )
        else:
            cells = " ".join(peer.problem.replace("|", "/").split())[:160] + " |" * 5
        lines.append(f"| {peer.name}{f' ({peer.differs})' if peer.differs else ''} | {cells} |")
    return [*lines, ""]


def judge(row: Row, figures: list[Figures], device_type: str) -> list[str]:
    """Return the bars of this row, each met or missed."""
    ours, *others = figures
    found = [judge_speed(bar, others, ours, bar.cuda if device_type == "cuda" else bar.cpu) for bar in row.bars]
    if row.on_sums and row.dtype == torch.float32:
        kept = round(ours.kept, 1)  # the few sums per mask come on top of the bytes per logit
        found.append((kept <= peers.KEPT_BAR, f"{kept} bytes kept per logit (at most {peers.KEPT_BAR:g})"))
    if row.on_sums:
        met = ours.extra <= peers.EXTRA_BAR
        found.append((met, f"{ours.extra:.1f} MB extra at the peak (at most {peers.EXTRA_BAR:g})"))
    return [f"- {row.name}: {'met' if met else 'MISSED'}: {text}" for met, text in found]


def judge_speed(bar: Bar, others: list[Figures], ours: Figures, least: float) -> tuple[bool, str]:
    """Return True if ours is as much faster than the bar's peer as required, and the text; False if no peer ran."""
    ran = [x for x in others if x.peer.loss and x.peer.compiled is bar.compiled and bar.peer in (None, x.peer.name)]
    if not ran:
        return False, f"{bar.peer or 'every peer'} did not run"
    fastest = min(ran, key=lambda x: x.milliseconds)
    ratio = fastest.milliseconds / ours.milliseconds
    return ratio >= least, f"{ratio:.2f} times as fast as {fastest.peer.name} (at least {least:.2g})"


if __name__ == "__main__":
    main()
