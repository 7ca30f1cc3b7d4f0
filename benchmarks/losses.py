"""What the losses cost, forward and backward, beside those of others, and whether that meets the bars.

All contestants of a row get the same tensors, uint8 masks or class indices, and are called in turn, so that a drift of
the machine meets all of them alike; a peer that needs float masks converts them within its time. Bytes kept are the
distinct storages saved for backward, input and target included. Extra memory is the peak beyond input, target and
gradient. The share is that of a plain copy's bandwidth, for the bytes that must move: logits and target read twice,
the gradient written once.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import catalogue
import peers
import torch
from peers import Bar, LossFunction, Peer, Row, Work
from torch import Tensor

import lossreg
from lossreg_segmentation.statistics import implementation

COPY = "(copy)"
PEER_ERRORS = (RuntimeError, TypeError, ValueError, AttributeError, AssertionError)
QUEUE_CYCLES = 20_000_000  # about 10 ms of a GPU, longer than any of the losses takes to launch
Calls = dict[str, Callable[[], object]]


class Figures(NamedTuple):
    """What was measured of one contestant; nothing if it does not run, and then the peer has no loss."""

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
    for row in (row for row in options.rows() if options.only in row.name):
        with implementation(options.implementation):
            figures = measure(row, device, 0.3 if options.quick else 4.0, options.wall)
        report(table(row, figures), lines)
        verdicts += judge(row, figures, device.type)
        if row.name == "sam" and device.type == "cpu" and Path("/proc/self/clear_refs").exists():
            os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # or the C library keeps some of what a step released
            with multiprocessing.get_context("spawn").Pool(1) as fresh:
                megabytes = fresh.apply(resident, (row.name,))
            report([f"By the system's count of a fresh process, ours takes {megabytes:.1f} MB extra.", ""], lines)
    if options.implementation == "auto":
        report(["## Bars", "", *verdicts], lines)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


def arguments() -> argparse.Namespace:
    """The command line."""
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
    parser.add_argument("--implementation", default="auto", metavar="NAME", help="that of ours")
    parser.add_argument("--wall", action="store_true", help="on CUDA: wall clock, launches included, for all rows")
    return parser.parse_args()


def report(more: list[str], lines: list[str]) -> None:
    """Print at once, and keep."""
    print("\n".join(more), flush=True)
    lines += more


def heading(device: torch.device, wall: bool) -> list[str]:
    """Machine, versions and what the columns mean."""
    cpu, info = platform.processor(), Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(": ")[1] for line in info.read_text().splitlines() if "model name" in line), cpu)
    machine = f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads"
    if device.type == "cuda":
        clock = "wall clock" if wall else "device time, small rows in wall clock"
        machine += f"; {torch.cuda.get_device_name(device)}; {clock}"
    columns = (__doc__ or "").strip().splitlines()[2:]
    return ["# Losses, forward and backward", "", f"{machine}. {', '.join(peers.versions())}.", "", *columns, ""]


def measure(row: Row, device: torch.device, seconds: float, wall: bool) -> list[Figures]:
    """Figures of every contestant, ours first."""
    torch.compiler.reset()  # peers are compiled for the shapes of this row alone
    work = peers.make_work(row, device)
    contestants = [Peer(peers.name_of_ours(row, work), lossreg.build(row.config), ours=True), *row.peers()]
    figures = {peer.name: first_look(peer, work) for peer in contestants}
    calls: Calls = {name: partial(run, found.peer.loss, work) for name, found in figures.items() if found.peer.loss}
    source, copy = work.leaves[0].detach(), torch.empty_like(work.leaves[0].detach())
    calls[COPY] = lambda: copy.copy_(source)
    times = alternate(calls, device, seconds, wall or row.name.endswith("small"))
    bandwidth = 2 * source.nbytes / times.pop(COPY)
    for name, milliseconds in times.items():
        share = work.must_move() / milliseconds / bandwidth
        figures[name] = figures[name]._replace(milliseconds=milliseconds, share=share)
    return list(figures.values())


def run(loss: LossFunction, work: Work) -> Tensor:
    """Forward and backward."""
    value = loss(*work.arguments)
    torch.autograd.grad(value, work.leaves)
    return value.detach()


def first_look(peer: Peer, work: Work) -> Figures:
    """Value and memory, after calls that compile what there is to compile. Ours must run, a peer need not."""
    if peer.loss is None:
        return Figures(peer)
    try:
        value = [run(peer.loss, work).item() for _ in range(3)][-1]
        return Figures(peer, value, kept=kept(peer.loss, work), extra=extra(peer.loss, work))
    except PEER_ERRORS as error:
        if peer.ours:
            raise
        return Figures(peer._replace(loss=None, problem=f"{type(error).__name__}: {error}"))


def kept(loss: LossFunction, work: Work) -> float:
    """Bytes of the distinct storages that forward saves for backward, per logit."""
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        # The tensor is held, so that its address cannot be another's before all are counted.
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss(*work.arguments)
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values()) / work.leaves[0].numel()


def extra(loss: LossFunction, work: Work) -> float:
    """MB at the peak of a step, beyond input, target and gradient."""
    if work.leaves[0].device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(loss, work)
        peak = torch.cuda.max_memory_allocated() - before
    else:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            run(loss, work)
        # On a CPU torch keeps no statistics, but tells the profiler of every allocation and release, in their order.
        events = profile.profiler.kineto_results.events() if profile.profiler else []
        peak = max(accumulate(event.nbytes() for event in events if event.name() == "[memory]"), default=0)
    return max(0, peak - work.gradients()) / 1e6


def resident(name: str) -> float:
    """The same for ours by the system's count, which sees what torch did not allocate. Linux, in a fresh process."""
    row = next(row for row in peers.rows() if row.name == name)
    loss, work = lossreg.build(row.config), peers.make_work(row, torch.device("cpu"))
    run(loss, work)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew, from what is held now
    before = peak_bytes()
    run(loss, work)
    return (peak_bytes() - before - work.gradients()) / 1e6


def peak_bytes() -> int:
    """The most memory that this process has held."""
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


def alternate(calls: Calls, device: torch.device, seconds: float, wall: bool) -> dict[str, float]:
    """Median milliseconds of each call, all of them in turn, for so long and at least five rounds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[COPY]) < 5:
        for name, call in calls.items():
            times[name].append(timed(call, device, wall))
    return {name: statistics.median(found) for name, found in times.items()}


def timed(call: Callable[[], object], device: torch.device, wall: bool) -> float:
    """Milliseconds of one call."""
    if device.type == "cuda" and not wall:
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        # The host gets ahead meanwhile, as it does in training, so that launches are not waited for.
        torch.cuda._sleep(QUEUE_CYCLES)
        first.record()
        call()
        last.record()
        last.synchronize()
        return float(first.elapsed_time(last))
    synchronize = torch.cuda.synchronize if device.type == "cuda" else torch.cpu.synchronize
    synchronize()
    start = time.perf_counter()
    call()
    synchronize()
    return (time.perf_counter() - start) * 1e3


def table(row: Row, figures: list[Figures]) -> list[str]:
    """Markdown."""
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
        lines.append(f"| {peer.name} | {cells} |")
    return [*lines, ""]


def judge(row: Row, figures: list[Figures], device_type: str) -> list[str]:
    """The bars of this row, each met or missed."""
    ours, *others = figures
    found = [judge_speed(bar, others, ours, bar.cuda if device_type == "cuda" else bar.cpu) for bar in row.bars]
    if row.on_sums and row.dtype == torch.float32:
        kept = round(ours.kept, 1)  # the few sums per mask come on top of what there is per logit
        found.append((kept <= peers.KEPT_BAR, f"{kept} bytes kept per logit (at most {peers.KEPT_BAR:g})"))
    if row.on_sums:
        met = ours.extra <= peers.EXTRA_BAR
        found.append((met, f"{ours.extra:.1f} MB extra at the peak (at most {peers.EXTRA_BAR:g})"))
    return [f"- {row.name}: {'met' if met else 'MISSED'}: {text}" for met, text in found]


def judge_speed(bar: Bar, others: list[Figures], ours: Figures, least: float) -> tuple[bool, str]:
    """Whether ours is that much faster than the peer of the bar. A peer that did not run proves nothing."""
    ran = [x for x in others if x.peer.loss and x.peer.compiled is bar.compiled and bar.peer in (None, x.peer.name)]
    if not ran:
        return False, f"{bar.peer or 'every peer'} did not run"
    fastest = min(ran, key=lambda x: x.milliseconds)
    ratio = fastest.milliseconds / ours.milliseconds
    return ratio >= least, f"{ratio:.2f} times as fast as {fastest.peer.name} (at least {least:.2g})"


if __name__ == "__main__":
    main()
