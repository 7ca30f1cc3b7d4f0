"""Checks of whole steps on the device, other than their values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import memory
import torch
from peers import LossFunction
from rows import EXTRA_BAR, Row, rows
from torch import Tensor
from work import Work, make_work, run

import lossreg
from gpu.cases import EVEN
from gpu.device import DEVICE, DRY
from gpu.finding import Finding

ROWS = {row.name: row for row in rows()}
# Over masks, over masks that share a target, and over classes.
STEPS = ("dice", "bce_dice_focal", "sam", "dice + cross_entropy")


def same_bits() -> Iterator[Finding]:
    """Check that a second run gives the same bits as the first."""
    for name, loss, work in small_steps():
        yield Finding(f"same bits on a second run: {name}", equal(step(loss, work), step(loss, work)))


def autocast() -> Iterator[Finding]:
    """Check that half precision around a loss changes no bit of it."""
    for name, loss, work in small_steps():
        expected = step(loss, work)
        for dtype in (torch.bfloat16, torch.float16):
            with torch.autocast(DEVICE.type, dtype):
                found = step(loss, work)
            yield Finding(
                f"the same bits under autocast to {str(dtype).removeprefix('torch.')}: {name}", equal(found, expected)
            )


def peak_memory() -> Iterator[Finding]:
    """Check the memory that the largest step needs beyond input, target and gradient."""
    row = ROWS["sam bfloat16"]
    row = shrunk(row) if DRY else row
    loss, work = lossreg.build(row.config), make_work(row, DEVICE)
    for _ in range(3):  # compiles, and measures launches
        run(loss, work)
    extra = memory.extra(loss, work)
    shape = "x".join(map(str, row.shape))
    yield Finding(f"peak of {row.name} {shape}: {extra:.1f} MB extra (at most {EXTRA_BAR:g})", extra <= EXTRA_BAR)


def no_sync() -> Iterator[Finding]:
    """Check that the host never waits for the device in a step."""
    work = make_work(ROWS["dice small"], DEVICE)
    for name in ("dice", "bce_dice_focal", "focal", "jaccard"):
        loss = lossreg.build(name)
        run(loss, work)  # measures launches, which waits
        problem = ""
        with waiting_forbidden():
            try:
                torch.autograd.grad(loss(*work.arguments), work.leaves)
            except RuntimeError as error:
                problem = f": {error}"
        yield Finding(f"no sync: {name}{problem}", not problem)


@contextmanager
def waiting_forbidden() -> Iterator[None]:
    """Let torch raise where it would wait for the device."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def cuda_graph() -> Iterator[Finding]:
    """Check that a captured step follows its input when it is replayed."""
    loss, work = lossreg.build("dice"), make_work(ROWS["dice small"], DEVICE)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            run(loss, work)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step(loss, work)
    with torch.no_grad():
        work.leaves[0].copy_(torch.randn_like(work.leaves[0]))
    graph.replay()
    torch.cuda.synchronize()
    yield Finding("a CUDA graph replays", close(captured, step(loss, work)))


def compiled() -> Iterator[Finding]:
    """Check that torch.compile needs no graph break in a loss."""
    loss, work = lossreg.build("dice"), make_work(ROWS["dice small"], DEVICE)
    whole = torch.compile(loss, fullgraph=True)
    yield Finding("compiled without a graph break", close(step(whole, work), step(loss, work)))


def small_steps() -> Iterator[tuple[str, LossFunction, Work]]:
    """Yield the name, the loss and small tensors of each kind of loss."""
    for name in STEPS:
        row = shrunk(ROWS[name])
        yield name, lossreg.build(row.config), make_work(row, DEVICE)


def shrunk(row: Row) -> Row:
    """Return the row for two small images."""
    return row._replace(shape=(2, row.shape[1], *EVEN))


def step(loss: LossFunction, work: Work) -> list[Tensor]:
    """Return the value and the gradients."""
    value = loss(*work.arguments)
    return [value.detach(), *torch.autograd.grad(value, work.leaves)]


def equal(found: list[Tensor], expected: list[Tensor]) -> bool:
    """Return True if two steps have the same bits."""
    return all(map(torch.equal, found, expected))


def close(found: list[Tensor], expected: list[Tensor]) -> bool:
    """Return True if two steps differ by rounding at most."""
    return all(map(partial(torch.allclose, rtol=1e-5, atol=1e-9), found, expected))
