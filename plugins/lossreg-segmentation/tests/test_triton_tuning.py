"""The choice of a kernel's launch: measured once, only where it matters, and without effect on results."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from lossreg_segmentation.statistics import (
    choice,
    implementation,
    mask_statistics,
    triton_driver,
    triton_launch,
    triton_tuning,
)
from lossreg_segmentation.statistics.choice import refusal
from lossreg_segmentation.statistics.request import FIELDS, UNIFORM, Request
from lossreg_segmentation.statistics.triton_driver import MOST_CANDIDATES, MOST_WARPS
from lossreg_segmentation.statistics.triton_launch import LEAST_BLOCK
from lossreg_segmentation.statistics.triton_tuning import LEAST_WORK, fastest

CUDA = torch.device("cuda", 0)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TIMES = {"table": 3.0, "half": 1.0, "double": 2.0}


class Clock:
    """A timer that launches and takes the times from a table."""

    def __init__(self, times):
        self.times, self.launched = times, []

    def __call__(self, run, device):
        run()
        return self.times[self.launched[-1]]


@pytest.fixture
def choose(monkeypatch):
    """Call `fastest` on a simulated GPU; return the chosen and the measured candidates."""
    monkeypatch.setattr(triton_tuning, "_places", {})
    monkeypatch.setattr(choice, "_INTERPRETED", False)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)

    def run(times=TIMES, variant="dice", work=LEAST_WORK, device=CUDA):
        clock = Clock(times)
        return fastest(list(times), clock.launched.append, variant, work, device, clock), clock.launched

    return run


def test_the_smallest_time_wins(choose):
    """Every candidate is launched; of equal times the first wins, which is the table's."""
    assert choose() == ("half", ["table", "half", "double"])
    assert choose({"table": 1.0, "half": 1.0}, variant="focal")[0] == "table"


def test_a_variant_is_measured_once(choose):
    """And again for another variant, another device, and work of another power of two."""
    assert choose() == ("half", list(TIMES))
    slow = TIMES | {"half": 9.0}
    assert choose(slow) == ("half", [])
    assert choose(slow, work=2 * LEAST_WORK - 1) == ("half", [])
    assert choose(slow, variant="focal") == ("double", list(TIMES))
    assert choose(slow, device=torch.device("cuda", 1)) == ("double", list(TIMES))
    assert choose(slow, work=2 * LEAST_WORK) == ("double", list(TIMES))


@pytest.mark.parametrize("case", ["small", "cpu", "interpreted", "capturing", "alone"])
def test_where_it_cannot_be_measured_the_first_is_taken(choose, monkeypatch, case):
    """And nothing is cached, so that a later measurable pass is measured."""
    with monkeypatch.context() as here:
        if case == "interpreted":
            here.setattr(choice, "_INTERPRETED", True)
        if case == "capturing":
            here.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        options = {"small": {"work": LEAST_WORK - 1}, "cpu": {"device": torch.device("cpu")}}.get(case, {})
        times = {"table": 3.0} if case == "alone" else TIMES
        assert choose(times, **options) == ("table", [])
    assert choose() == ("half", list(TIMES))


def test_a_graph_that_is_captured_later_takes_what_was_measured(choose, monkeypatch):
    """A warm-up before the capture decides."""
    choose()
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert choose() == ("half", [])


class Event:
    """An event of a device on which the five launches take 5, 1, 4, 2 and 3 ms."""

    spans = (5.0, 1.0, 4.0, 2.0, 3.0)

    def __init__(self, made, enable_timing):
        assert enable_timing
        self.made, self.place = made, len(made) // 2
        made.append(self)

    def record(self, stream):
        assert stream == ("stream of", CUDA)

    def synchronize(self):
        assert self is self.made[-1]

    def elapsed_time(self, end):
        assert end.place == self.place
        return self.spans[self.place]


def test_the_timer_takes_the_median_and_leaves_out_the_first_launch(monkeypatch):
    """The first compiles. The events use the stream of the tensors' device, not of the current device."""
    events, runs = [], []
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: Event(events, enable_timing))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: ("stream of", device))
    assert triton_tuning.milliseconds(lambda: runs.append(len(events)), CUDA) == 3.0
    assert runs == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [1, 3, 16, 100, 2048, 5000, 1 << 20])
def test_candidates_are_few_and_cover_every_position(length, dtype):
    """The table's first; no block that is mostly empty, no duplicate."""
    x = torch.empty(2, 3, length, dtype=dtype, device="meta")
    table = triton_launch.tiles_of(x, Request("sigmoid", FIELDS, 2.0, None, 0.0))
    candidates = triton_driver._candidates(table, length)
    assert candidates[0] == table
    assert len(set(candidates)) == len(candidates) <= MOST_CANDIDATES
    for tiles in candidates:
        assert LEAST_BLOCK <= tiles.block <= max(LEAST_BLOCK, 2 * length)
        assert 1 <= tiles.warps <= MOST_WARPS
        assert tiles.per_row == -(-length // tiles.block)
        assert tiles.programs == 6 * tiles.per_row


def test_a_variant_tells_code_apart_and_not_numbers():
    """A gamma or an ignored value that changes while training costs one measurement, not one for each."""

    def variant(gamma=3.0, ignore=255, needs=FIELDS, dtype=torch.float32, target=torch.uint8):
        t = torch.empty(1, 1, 9, dtype=target)
        x = torch.empty(1, 1, 9, dtype=dtype)
        request = Request("sigmoid", needs, gamma, ignore, 0.0)
        candidates = triton_driver._candidates(triton_launch.tiles_of(x, request), 9)
        return triton_driver._variant("kernel", candidates, triton_launch.constants_of(FIELDS, t, request), x, t)

    same = {variant(), variant(gamma=3.5), variant(ignore=7)}
    others = [{"gamma": 2.0}, {"ignore": None}, {"needs": FIELDS[:2]}, {"dtype": torch.float16}]
    others += [{"target": torch.int64}, {"target": torch.float32}]
    assert len(same) == 1
    assert len(same | {variant(**other) for other in others}) == 1 + len(others)


def gradient_of(x, t):
    """Return the gradient of all sums together, by the GPU kernels."""
    leaf = x.clone().requires_grad_()
    with implementation("triton"):
        found = mask_statistics(leaf, t, activation="sigmoid", needs=set(FIELDS) - UNIFORM, gamma=1.5, ignore_index=-1)
    (gradient,) = torch.autograd.grad(
        sum(field.sum() for field in found if field is not None and field.requires_grad), leaf
    )
    return gradient


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_every_candidate_gives_the_same_bits(monkeypatch, dtype, soft):
    """The gradient does not depend on the candidate that a process measures as the fastest."""
    x = torch.randn(1, 2, 2100, generator=torch.Generator().manual_seed(0)).to(dtype).to(DEVICE)
    if reason := refusal("triton", x, x, "sigmoid"):
        pytest.skip(f"triton: {reason}")
    t = torch.rand(1, 2, 2100, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    t = (t if soft else t.round()).masked_fill(t < 0.1, -1).to(dtype if soft else torch.int64)
    expected, taken = gradient_of(x, t), []
    for place in range(MOST_CANDIDATES):

        def take(candidates, *_, place=place):
            taken.append(candidates[place])
            return candidates[place]

        monkeypatch.setattr(triton_driver, "fastest", take)
        assert torch.equal(gradient_of(x, t), expected)
    assert len(set(taken)) == MOST_CANDIDATES


def test_what_is_added_in_an_order_keeps_to_the_table(monkeypatch):
    """The sums, and the gradient of classes: another launch would give other bits."""
    x, t = torch.randn(1, 3, 50, device=DEVICE, requires_grad=True), torch.zeros(1, 50, dtype=torch.int64).to(DEVICE)
    if reason := refusal("triton", x, t, "softmax"):
        pytest.skip(f"triton: {reason}")
    monkeypatch.setattr(triton_driver, "fastest", None)
    with implementation("triton"):
        classes = mask_statistics(x, t, activation="softmax", needs=["predicted"])
        masks = mask_statistics(x, x > 0, activation="sigmoid", needs=["predicted"])
    torch.autograd.grad(classes.predicted[0, 0], x)
    with pytest.raises(TypeError, match="not callable"):
        torch.autograd.grad(masks.predicted[0, 0], x)


@pytest.mark.tools
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, on which the tests above run")
def test_the_launches_in_the_interpreter():
    """The tests above, in a separate process."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-k", "same_bits or keeps_to_the_table", str(Path(__file__))]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert "7 passed" in run.stdout
