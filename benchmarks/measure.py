"""The measurements of one row: ours, the peers, other ways to run ours, a plain copy, and an earlier version."""

from __future__ import annotations

import cProfile
import gc
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import memory
import torch
from before import Before
from peers import Peer
from rows import Row
from timing import alternate, copied, sets_past_cache
from values import checked
from variants import KINDS
from work import Work, make_work, run

from lossreg_segmentation.statistics import chosen

COPY, FORWARD, TINY, BEFORE = "(copy)", "(forward)", "(tiny)", "(before)"
TINY_SIZE = (8, 8)  # pixels, where the time is that of the calls alone
PEER_ERRORS = (RuntimeError, TypeError, ValueError, AttributeError, AssertionError)


class Figures(NamedTuple):
    """The measurements of one contestant; zeros if it does not run, and then the peer has no loss."""

    peer: Peer
    value: float = 0.0
    milliseconds: float = float("nan")
    kept: float = 0.0
    extra: float = 0.0
    share: float = 0.0  # of a plain copy's bandwidth


class Measured(NamedTuple):
    """The measurements of a row. Times are milliseconds of a step, forward and backward."""

    figures: list[Figures]  # ours first
    variants: dict[str, float]
    forward: float
    tiny: float  # a step on 8x8 pixels
    copy: float  # moving as many bytes as the step must, at a plain copy's bandwidth
    must_move: int
    python_calls: int
    before: float | None = None  # a step of the earlier version


def measure(
    row: Row, expected: float, device: torch.device, seconds: float, *, wall: bool, before: Before | None = None
) -> Measured:
    """Measure every contestant in turn."""
    torch.compiler.reset()  # peers are compiled for the shapes of this row alone
    work, wall = make_work(row, device), wall or row.name.endswith("small")
    figures = contestants(row, work, expected)
    calls: dict[str, Callable[[Work], object]] = {
        name: partial(run, found.peer.loss) for name, found in figures.items() if found.peer.loss
    }
    source = copied(work.logits[0].detach())
    copy = torch.empty_like(source)
    ours = row.ours()
    tiny = make_work(row._replace(shape=(*row.shape[:2], *TINY_SIZE)), device)
    calls |= variants(row, work)
    calls[FORWARD] = lambda work: ours(*work.arguments)
    calls[TINY] = lambda _: run(ours, tiny)
    calls[COPY] = lambda _: copy.copy_(source)
    more = 0 if wall else sets_past_cache(work.must_move() // 2, device) - 1
    works = [work, *(make_work(row, device, seed) for seed in range(1, 1 + more))]
    for name in (FORWARD, TINY, *row.variants):
        if name in calls:
            warm(calls[name], work)
    elsewhere = {BEFORE: before.step} if before and before.choose(row) else {}
    least = 2 if seconds < 1 else 5
    times = alternate(calls, works, device, seconds=seconds, wall=wall, least=least, elsewhere=elsewhere)
    floor = work.must_move() / (2 * source.nbytes) * times[COPY]
    figures = {
        name: found._replace(milliseconds=times[name], share=floor / times[name]) if found.peer.loss else found
        for name, found in figures.items()
    }
    return Measured(
        list(figures.values()),
        {name: times[name] for name in row.variants if name in times},
        times[FORWARD],
        times[TINY],
        floor,
        work.must_move(),
        python_calls(row, work),
        times.get(BEFORE),
    )


def variants(row: Row, work: Work) -> dict[str, Callable[[Work], object]]:
    """Return a step of each variant of ours. Their bars are those of a CPU."""
    if work.target.device.type != "cpu":
        return {}
    made = {name: KINDS[name].make(row, work) for name in row.variants}
    return {name: partial(on_its_own, partial(run, *variant)) for name, variant in made.items()}


def on_its_own(step: Callable[[], object], work: Work) -> object:
    """Take a step over tensors of its own."""
    return step()


def warm(call: Callable[[Work], object], work: Work) -> None:
    """Call until everything is compiled."""
    for _ in range(3):
        call(work)


def contestants(row: Row, work: Work, expected: float) -> dict[str, Figures]:
    """Return ours and the peers by name, with values and memory, and without the loss of each that cannot be timed."""
    found = [Peer(name_of_ours(row, work), row.ours(), ours=True), *row.peers()]
    return {peer.name: first_look(peer, work, expected, row) for peer in found}


def name_of_ours(row: Row, work: Work) -> str:
    """Return our name, with the implementation for losses over sums."""
    if not row.on_sums:
        return "lossreg"
    return f"lossreg, {chosen(work.logits[0], work.target, 'softmax' if row.target == 'index' else 'sigmoid')}"


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


def python_calls(row: Row, work: Work) -> int:
    """Count the calls that Python makes in a step of ours, of functions and of built-in ones, torch's own included."""
    ours, profile = row.ours(), cProfile.Profile()
    for _ in range(3):
        run(ours, work)
    leaves = work.leaves if len(work.leaves) > 1 else work.leaves[0]
    gc.disable()  # a collection would add the calls that clear up after something else
    try:
        profile.enable()
        torch.autograd.grad(ours(*work.arguments), leaves)
        profile.disable()
    finally:
        gc.enable()
    return sum(entry.callcount for entry in profile.getstats()) - 1  # without `disable`
