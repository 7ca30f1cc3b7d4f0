"""A loss over sums on a GPU: its launches, and, where kernels run or are interpreted, that it equals its terms."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch.autograd import profiler_legacy

import lossreg
from lossreg_segmentation.one_function import device_tables, lookup
from lossreg_segmentation.one_function.device_tables import DeviceTables
from lossreg_segmentation.one_function.tables import Table
from lossreg_segmentation.ratios import dice_loss
from lossreg_segmentation.statistics import choice, implementation, triton_sigmoid, triton_softmax

from .test_one_function import MORE, cases, outcome, same

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# A device launches nothing for these.
FREE = (
    "empty",
    "view",
    "reshape",
    "detach",
    "alias",
    "unbind",
    "select",
    "as_strided",
    "flatten",
    "unsqueeze",
    "slice",
)
# NumPy's warnings, in the interpreter.
INFINITE = pytest.mark.filterwarnings("ignore:(invalid|divide|overflow):RuntimeWarning")
DICE = ("intersection", "predicted", "actual")
BOTH = {"name": "weighted_sum", "params": {"terms": [{"name": "dice"}, {"name": "cross_entropy", "weight": 0.5}]}}
MANY = {
    "name": "weighted_sum",
    "params": {
        "terms": [
            {"name": "dice", "params": {"task": "multilabel", "absent": "ignore", "ignore_index": 255}},
            {"name": "bce_dice_focal", "params": {"task": "multilabel", "ignore_index": 255}, "weight": 0.5},
            {"name": "poly1", "params": {"task": "multilabel", "class_weight": [1, 2, 0.5], "ignore_index": 255}},
        ]
    },
}


@pytest.fixture
def launches(monkeypatch):
    """Record the names of launched kernels and run none."""
    pytest.importorskip("triton", reason="Triton is not installed")
    from lossreg_segmentation.one_function import device

    found = []
    monkeypatch.setattr(choice, "_INTERPRETED", True)
    for module in (triton_sigmoid, triton_softmax, device):
        monkeypatch.setattr(module, "start", lambda kernel, *_: found.append(kernel.__name__))
    with implementation("triton"):
        yield found


@pytest.fixture
def runs():
    """Skip where no kernel can run."""
    if reason := choice.refusal("triton", torch.ones(1, 2, 1, device=DEVICE), torch.ones(1, device=DEVICE), "sigmoid"):
        pytest.skip(f"no kernel runs here, but in the tests of processes: {reason}")
    with implementation("triton"):
        yield


def operators(compute):
    """Return the operators of torch that launch work on a device, in their order."""
    with profiler_legacy.profile() as profiled:  # the other one takes seconds to start
        compute()
    found = []
    for event in profiled.function_events:
        parent = event.cpu_parent
        while parent is not None and not parent.name.startswith("aten::"):
            parent = parent.cpu_parent
        name = event.name.removeprefix("aten::")
        if parent is None and name != event.name and not name.removeprefix("_").removeprefix("new_").startswith(FREE):
            found.append(name)
    return found


def masks(*shape, task="masks", dtype=torch.float32):
    """Return logits and a target; `task` is that of the target."""
    generator = torch.Generator().manual_seed(3)
    x = (2 * torch.randn(shape, generator=generator)).to(dtype)
    if task == "classes":
        return x.to(DEVICE), torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator).to(DEVICE)
    channels = 1 if task == "shared" else shape[1]
    t = torch.rand((shape[0], channels, *shape[2:]), generator=generator) < 0.3
    return x.to(DEVICE), t.to(torch.uint8).to(DEVICE)


# ---- the launches of a step


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ("dice", "masks"),
        ("bce", "masks"),
        ("focal", "masks"),
        ("jaccard", "masks"),
        ("tversky", "masks"),
        ("poly1", "masks"),
        ("bce_dice_focal", "masks"),
        (MANY, "masks"),
        ("dice", "classes"),
        ({"name": "focal", "params": {"ignore_index": 255}}, "classes"),
        (BOTH, "classes"),
    ],
    ids=str,
)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_step_is_four_launches(launches, config, task, reduction):
    """The sums, their finish, the sum over examples and the gradient; nothing is copied, and nothing waits."""
    x, t = masks(2, 3, 40, task=task)
    loss = lossreg.build(config)
    loss.reduction = reduction
    if "task" in vars(loss) and task == "masks":
        loss.task = "multilabel"
    x.requires_grad_()
    loss(x, t)  # makes the plan
    launches.clear()
    one = torch.ones((), device=DEVICE)
    assert operators(lambda: torch.autograd.grad(loss(x, t), x, one)) == [reduction]
    kind = "sigmoid" if task == "masks" else "softmax"
    assert launches == [f"{kind}_sums", "finish", f"{kind}_gradient"]


@pytest.mark.parametrize(
    ("name", "kernels"),
    [("sam", ["sigmoid_sums", "finish", "sigmoid_gradient"]), ("iou_prediction", ["sigmoid_sums", "finish"])],
)
def test_predicted_numbers_add_one_launch(launches, name, kernels):
    """Their gradient."""
    x, t = masks(2, 3, 8, 8, task="shared")
    predicted = torch.rand(2, 3, device=DEVICE).requires_grad_()
    loss = lossreg.build(name)
    x.requires_grad_()
    loss(x, t, predicted)
    launches.clear()
    one = torch.ones((), device=DEVICE)
    step = lambda: torch.autograd.grad(loss(x, t, predicted), [x, predicted], one, allow_unused=True)  # noqa: E731
    assert operators(step) == ["mean", "mul"]
    assert launches == kernels


def test_an_evaluation_adds_one_launch(launches):
    """The means of all components at once."""
    loss, (x, t) = lossreg.build(BOTH), masks(2, 3, 40, task="classes")
    loss.evaluate(x, t)
    launches.clear()
    assert operators(lambda: loss.evaluate(x, t)) == ["mean", "mean"]
    assert launches == ["softmax_sums", "finish"]


def test_other_layouts_are_not_copied(launches):
    """The gradient has the layout of the logits."""
    x, t = masks(2, 3, 8, 8, task="classes")
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    loss = lossreg.build(BOTH)
    loss(x, t)
    found, one = [], torch.ones((), device=DEVICE)
    assert operators(lambda: found.extend(torch.autograd.grad(loss(x, t), x, one))) == ["mean"]
    assert found[0].stride() == x.stride()


def test_very_many_partial_sums_are_added_by_a_launch_of_their_own(launches):
    """One program for each example would take longer than that launch."""
    x, t = torch.empty(1, 200, 1 << 16, device=DEVICE), torch.empty(1, 1 << 16, dtype=torch.long, device=DEVICE)
    lossreg.build(BOTH)(x, t)
    assert launches == ["softmax_sums", "add_parts", "finish"]


@pytest.mark.parametrize(
    ("params", "classes"), [({"batch": True}, 3), ({"task": "multilabel"}, 257)], ids=["one image", "257 classes"]
)
def test_the_general_way_computes_the_rest(launches, params, classes):
    """A batch as one image, and more classes than a program can hold."""
    x, t = masks(2, classes, 4, task="masks" if classes > 3 else "classes")
    assert lossreg.build({"name": "dice", "params": params}).plan(x, t) is None


def test_no_plan_is_made_in_a_capture(monkeypatch):
    """Its tables could not be copied to the device. The first call after it makes the plan."""
    monkeypatch.setattr(lookup, "eager_obstacle", lambda *_: "")
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    made = SimpleNamespace(buffers=[])
    cuda = torch.device("cuda:0")
    there = [SimpleNamespace(shape=(2, 3), dtype=torch.float32, device=cuda, requires_grad=False) for _ in range(2)]
    loss = lossreg.build("dice")
    assert lookup.found_plan(loss, lambda *_: made, there) is None
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert lookup.found_plan(loss, lambda *_: made, there) is made
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert lookup.found_plan(loss, lambda *_: None, there) is made


def test_no_sum_is_planned_in_a_capture(launches, monkeypatch):
    """Neither of losses that have their plans."""
    from lossreg_segmentation.one_function import device

    loss, (x, t) = lossreg.build(BOTH), masks(2, 3, 4, task="classes")
    for part in loss.parts:
        assert part.plan(x, t) is not None
    monkeypatch.setattr(device, "is_capturing", lambda _: True)
    assert loss.plan(x, t) is None


def test_another_stream_waits_once_for_the_tables(monkeypatch):
    """A copy of the first call may still run. In a capture, which torch begins by waiting, nothing may wait."""
    waits = []
    there = DeviceTables([Table({"dice": dice_loss(1.0)})], DICE, 1, torch.device("cpu"), "sigmoid")
    assert there.copied_on is None
    there.copied_on = SimpleNamespace(synchronize=lambda: waits.append(1))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: "another")
    monkeypatch.setattr(device_tables, "is_capturing", lambda _: True)
    there.wait()
    assert waits == []
    monkeypatch.setattr(device_tables, "is_capturing", lambda _: False)
    there.wait()
    there.wait()
    assert waits == [1]


# ---- the numbers


def test_dice_by_hand(runs):
    """p = 1/2 everywhere, and two of four pixels are the target: 1 - (2 + 1) / (2 + 2 + 1) = 2/5.

    The slope of p is -2 / 5 at a target pixel, and 3 / 25 everywhere; that of a logit, p (1 - p) = 1/4 of it.
    """
    x, t = torch.zeros(1, 1, 4, device=DEVICE, requires_grad=True), torch.tensor([[[1, 1, 0, 0]]], device=DEVICE)
    loss = lossreg.build({"name": "dice", "params": {"smooth": 1.0}})
    value = loss(x, t)
    (gradient,) = torch.autograd.grad(value, x)
    assert value.item() == pytest.approx(0.4, abs=1e-6)
    expected = torch.tensor([-0.4 + 0.12, -0.4 + 0.12, 0.12, 0.12], device=DEVICE) / 4
    torch.testing.assert_close(gradient.flatten(), expected)


def held(config, x, t, reduction, *, evaluated):
    """Compare a loss with its terms."""
    loss = lossreg.build(config)
    loss.reduction = reduction
    by_terms = outcome(lambda leaf: loss._by_terms(reduction, (leaf, t), {}), x)
    same(outcome(lambda leaf: loss(leaf, t), x), by_terms, x.dtype)
    if not evaluated:
        return
    output = loss.evaluate(x, t)
    loss.plan = lambda *_: None
    expected = loss.evaluate(x, t)
    same((output.total, None), (expected.total, None), x.dtype)
    for found, known in (
        (output.components, expected.components),
        (output.per_example_components, expected.per_example_components),
    ):
        assert list(found) == list(known)
        for key, value in known.items():
            same((found[key], None), (value, None), x.dtype)
    same((output.per_example, None), (expected.per_example, None), x.dtype)


@pytest.mark.tools  # 15 s in the interpreter
@INFINITE
def test_equals_the_terms(runs):
    """Random losses and sums of them, options, layouts of options per class, numbers up to infinity and NaN."""
    planned = []

    # Not made smaller, which takes the interpreter minutes.
    @settings(
        max_examples=MORE or 60,
        deadline=None,
        derandomize=not MORE,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        cases().filter(lambda case: case[1][0, 0].numel() < 20 and not case[3]),  # weights have no plan here
        st.sampled_from(["mean", "sum", "none"]),
        st.booleans(),
    )
    def holds(case, reduction, evaluated):
        config, x, t, _ = case
        x, t = x.to(DEVICE), t.to(DEVICE)
        if lossreg.build(config).plan(x, t) is None:
            return  # test_one_function.py compares these
        planned.append(config)
        held(config, x, t, reduction, evaluated=evaluated)

    holds()
    assert len(planned) > 20


@INFINITE
def test_an_infinite_sum_is_no_part_of_other_terms(runs):
    """With a logit of infinity at a pixel outside of the target, the cross-entropy is infinite and Dice is not."""
    x, t = masks(2, 1, 12)
    x[0, 0, 0], t[0, 0, 0] = torch.inf, 0
    config = {"name": "weighted_sum", "params": {"terms": [{"name": "dice"}, {"name": "bce", "weight": 0.0}]}}
    output = lossreg.build(config).evaluate(x, t)
    assert output.components["bce"].isinf()
    assert output.total.isfinite()
    held(config, x, t, "mean", evaluated=True)


@pytest.mark.parametrize("absent", ["ignore", "zero", "false_positives"])
def test_masks_without_target_pixels(runs, absent):
    """Each policy, with weights of classes, beside a mask that is ignored as a whole."""
    x, t = masks(2, 3, 12)
    t[0, 1], t[1, 0] = 0, 255
    params = {"task": "multilabel", "absent": absent, "ignore_index": 255, "class_weight": [1.0, 2.0, 0.5]}
    held({"name": "dice", "params": params}, x, t, "none", evaluated=False)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_predicted_numbers(runs, reduction):
    """The errors of predicted IoUs and their gradient, with a mask that is ignored as a whole."""
    x, t = masks(2, 3, 4, 5, task="shared")
    t[1] = 255
    predicted = torch.rand(2, 3, generator=torch.Generator().manual_seed(4)).to(DEVICE)
    loss = lossreg.build({"name": "sam", "params": {"ignore_index": 255}})

    def of(compute):
        leaves = [x.clone().requires_grad_(), predicted.clone().requires_grad_()]
        value = compute(leaves[0], t, leaves[1])
        return [value.detach(), *torch.autograd.grad(value, leaves, torch.full_like(value, 0.7))]

    loss.reduction = reduction
    found = of(loss)
    for got, wanted in zip(found, of(lambda *inputs: loss._by_terms(reduction, inputs, {})), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-7)
    assert found[2].any()


def test_the_same_bits(runs, monkeypatch):
    """On every run, however the partial sums are added."""
    from lossreg_segmentation.one_function import device

    x, t = masks(2, 1, 3000)
    loss = lossreg.build("bce_dice_focal")
    first, second = outcome(lambda leaf: loss(leaf, t), x), outcome(lambda leaf: loss(leaf, t), x)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    monkeypatch.setattr(device, "MOST_PARTS", 0)
    same(outcome(lambda leaf: loss(leaf, t), x), first, x.dtype)


def test_gradients_of_gradients_and_of_many_at_once(runs):
    """Steps that torch can differentiate compute them, so that the first gradient is the same."""
    x, t = masks(2, 1, 12)
    loss = lossreg.build("dice")
    loss.reduction = "none"
    x.requires_grad_()
    (plain,) = torch.autograd.grad(loss(x, t).sum(), x)
    (again,) = torch.autograd.grad(loss(x, t).sum(), x, create_graph=True)
    torch.testing.assert_close(again.detach(), plain)
    each = torch.eye(2, device=DEVICE)
    (batched,) = torch.autograd.grad(loss(x, t), x, each, is_grads_batched=True)
    torch.testing.assert_close(batched.sum(0), plain)
    assert not batched[0, 1].any()


@pytest.mark.tools
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, on which the tests above run")
def test_the_kernels_in_the_interpreter():
    """The tests above, in a separate process."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__))]
    command += ["--deselect", f"{Path(__file__).relative_to(Path.cwd())}::test_the_kernels_in_the_interpreter"]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert "skipped" not in run.stdout
