"""The pass over masks on a GPU: its launches, and, where kernels run or are interpreted, its sums and gradient."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from lossreg.errors import InputError
from lossreg_segmentation.statistics import triton_driver, triton_sigmoid, triton_targets
from lossreg_segmentation.statistics.choice import refusal
from lossreg_segmentation.statistics.reference import reference
from lossreg_segmentation.statistics.request import DIFFERENTIABLE, FIELDS, UNIFORM, Request

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MASKS = tuple(field for field in FIELDS if field not in UNIFORM)
SAM = ("intersection", "predicted", "actual", "valid", "focal_positive", "focal_negative", "hard_union")


def request_of(needs=MASKS, gamma=2.0, ignore=None, threshold=0.0):
    return Request("sigmoid", tuple(needs), gamma, ignore, threshold)


@pytest.fixture
def launches(monkeypatch):
    """Record launches and run none: (kernel, grid, arguments, constants)."""
    pytest.importorskip("triton", reason="Triton is not installed")
    found = []

    def record(kernel, grid, warps, arguments, constants):
        found.append((kernel, grid, dict(zip(kernel.arg_names, arguments, strict=False)), constants))

    monkeypatch.setattr(triton_sigmoid, "start", record)
    return found


def launch_both(x, t, request):
    """Call forward and backward; their results are not computed."""
    triton_driver.sums_parts(x, t, request)
    triton_driver.gradient(x, t, torch.ones(len(request.needs), x.shape[0] * x.shape[1]), None, request)


# ---- the launches


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (2, 3, 100), (1, 1, 511), (8, 1, 1 << 18), (1, 1, 513**2), (1, 1, 1 << 34)], ids=str
)
def test_programs_cover_every_position(launches, shape, dtype):
    """Each once; a grid has at most 65535 programs in its second and third dimension."""
    x = torch.empty(shape, dtype=dtype, device="meta")
    launch_both(x, x.to(torch.uint8), request_of())
    for _, (classes, tiles, batch), arguments, constants in launches:
        assert (batch, classes) == shape[:2]
        assert tiles <= 65535
        room = 16 // dtype.itemsize - 1 if constants["SHIFT"] else 0  # a mask may begin behind the first position
        assert tiles * arguments["length"] >= shape[2] + room
        assert (tiles - 1) * arguments["length"] < shape[2] + room
        assert arguments["length"] % constants["BLOCK"] == 0


def test_a_program_of_a_large_pass_adds_up_several_blocks(launches):
    """As many as leave some 2000 programs, so that the additions across threads, at the end, are few."""
    for length in (1 << 14, 1 << 18, 1 << 24):
        launch_both(torch.empty(8, 1, length, device="meta"), torch.empty(8, 1, length, device="meta"), request_of())
    steps = [arguments["length"] // constants["BLOCK"] for _, _, arguments, constants in launches]
    assert steps == [1, 1, 2, 2, 16, 16]


def test_no_value_of_an_option_is_compiled(launches):
    """Gamma, the ignored value and the threshold differ only in arguments that Triton does not specialise."""
    x = torch.empty(2, 3, 100, device="meta")
    t = torch.empty(2, 3, 100, dtype=torch.uint8, device="meta")
    launch_both(x, t, request_of(gamma=1.5, ignore=16, threshold=0.5))
    launch_both(x, t, request_of(gamma=3.0, ignore=255, threshold=0.0))
    assert len(launches) == 4
    for (kernel, _, one, constants), (_, _, other, same) in (launches[::2], launches[1::2]):
        assert constants == same
        changed = {name for name in one if not isinstance(one[name], torch.Tensor) and one[name] != other[name]}
        assert {"gamma", "ignored"} <= changed
        params = getattr(kernel, "params", [])  # an interpreted kernel has none
        assert all(param.do_not_specialize for param in params if param.name in changed)


def test_a_shorter_formula_is_compiled_for_the_usual_gammas(launches):
    """0, 1 and 2; and for passes without an ignored value, and for soft targets."""
    x = torch.empty(2, 3, 100, device="meta")
    for gamma, ignore, dtype in (
        (2.0, None, torch.uint8),
        (1.0, None, torch.uint8),
        (0.5, None, torch.uint8),
        (2.0, 255, torch.uint8),
        (2.0, None, torch.float32),
    ):
        launch_both(x, x.to(dtype), request_of(gamma=gamma, ignore=ignore))
    variants = {tuple(sorted(constants.items(), key=str)) for _, _, _, constants in launches[::2]}
    assert len(variants) == 5


@pytest.mark.parametrize(
    ("shape", "shared", "shift"),
    [((2, 3, 1024), False, 0), ((2, 3, 513**2), False, 2), ((2, 3, 513**2), True, 1), ((1, 1, 321**2), True, 2)],
    ids=str,
)
def test_rows_of_any_length_begin_at_a_vector(launches, shape, shared, shift):
    """Where a length is no multiple of 16, programs begin at the vector that holds a mask's first logit."""
    x = torch.empty(shape, device="meta")
    t = torch.empty((shape[0], 1 if shared else shape[1], shape[2]), dtype=torch.uint8, device="meta")
    launch_both(x, t, request_of())
    assert [constants["SHIFT"] for *_, constants in launches] == [shift, shift]


def test_logits_are_read_in_their_own_layout(launches):
    """Channels last: the strides of input, target and gradient, and no copy."""
    x = torch.empty(2, 700, 3, device="meta").movedim(2, 1)
    t = torch.empty(2, 1, 700, dtype=torch.uint8, device="meta")
    launch_both(x, t, request_of())
    for _, _, arguments, _ in launches:
        assert arguments["x_ptr"] is x
        assert [arguments[f"x_{name}"] for name in "bcl"] == [2100, 1, 3]
        assert [arguments[f"t_{name}"] for name in "bcl"] == [700, 0, 1]
    assert [launches[1][2][f"dx_{name}"] for name in "bcl"] == [2100, 1, 3]
    assert triton_driver.gradient(x, t, torch.ones(len(MASKS), 6), None, request_of()).stride() == x.stride()


def test_a_launch_is_planned_once(launches):
    """The second call of a kind makes 20 Python calls at most, forward and backward together."""
    x, t = torch.empty(8, 1, 4096), torch.zeros(8, 1, 4096, dtype=torch.uint8)
    factors, request, calls = torch.ones(3, 8), request_of(SAM[:3]), []
    for _ in range(2):
        triton_driver.sums_parts(x, t, request)
        triton_driver.gradient(x, t, factors, None, request)
    sys.setprofile(lambda frame, event, _: calls.append(frame.f_code.co_name) if event == "call" else None)
    try:
        triton_driver.sums_parts(x, t, request)
        triton_driver.gradient(x, t, factors, None, request)
    finally:
        sys.setprofile(None)
    assert len(calls) <= 20, calls


# ---- targets out of range


@pytest.fixture
def cells(monkeypatch):
    monkeypatch.setattr(triton_targets, "_found", {})


@pytest.mark.parametrize(
    ("activation", "words"),
    [
        ("sigmoid", "divide masks of 0 and 255 by 255, or set ignore_index"),
        ("softmax", "correct the number of classes"),
    ],
)
def test_a_wrong_target_is_told_once(cells, activation, words):
    """By the next call after the kernel has stored a number, with the fix."""
    device = torch.device("cpu")
    cell = triton_targets.cell(device, activation)
    assert triton_targets.cell(device, activation) is cell
    cell.fill_(1)
    with pytest.raises(InputError, match=words) as raised:
        triton_targets.cell(device, activation)
    assert "an earlier call on cpu" in str(raised.value)
    assert "lossreg.debug_checks()" in str(raised.value)
    assert triton_targets.cell(device, activation) is cell


# ---- in the interpreter, or on a GPU


@pytest.fixture
def runs(cells):
    """Skip the test unless kernels run here."""
    reason = refusal("triton", torch.zeros(1, 1, 1, device=DEVICE), torch.zeros(1, 1, 1), "sigmoid")
    if reason:
        pytest.skip(f"triton: {reason}")


def draw(shape, shared=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = 3 * torch.randn(shape, generator=generator)
    t = torch.randint(0, 2, (shape[0], 1, *shape[2:]) if shared else shape, generator=generator)
    return x.to(DEVICE), t.to(torch.uint8).to(DEVICE)


def expected(x, t, request):
    """Compute the sums and the gradient of the differentiable ones, weighted 1, 2, 3, ..., in float64."""
    leaf = x.detach().double().requires_grad_()
    t = t.double() if t.is_floating_point() else t
    sums = reference(leaf, t, "sigmoid", frozenset(request.needs), request.gamma, request.ignore_index, 0.0)
    weights = {name: 1.0 + place for place, name in enumerate(request.needs) if name in DIFFERENTIABLE}
    (slope,) = torch.autograd.grad(sum(weight * sums[name].sum() for name, weight in weights.items()), leaf)
    return torch.stack([sums[name].detach() for name in request.needs]), slope


def check(x, t, request):
    """Compare both passes with the reference; return the gradient."""
    sums, slope = expected(x, t, request)
    torch.testing.assert_close(triton_driver.forward(x, t, request).double(), sums, rtol=1e-5, atol=1e-5)
    weights = torch.arange(1.0, len(request.needs) + 1, device=x.device)[:, None, None]
    gradient = triton_driver.backward(x, t, weights.expand(sums.shape).to(x.dtype), request)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-4, atol=1e-5)
    return gradient


@pytest.mark.parametrize("length", [7, 225, 800])
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_masks_of_any_length(runs, length, shared):
    """Masks that begin anywhere within 16 bytes, with their own target or one for all; ignored positions."""
    x, t = draw((2, 3, length), shared)
    check(x, t, request_of())
    check(x, t.masked_fill(x[:, : t.shape[1]] > 2, 255), request_of(ignore=255, gamma=0.7))


def test_a_layout_is_kept(runs):
    """Channels last, gaps between positions, expanded masks; a target in another layout."""
    x, t = draw((2, 3, 700))
    last = x.movedim(1, 2).contiguous().movedim(2, 1)
    assert check(last, t, request_of()).stride() == last.stride()
    check(torch.stack([x, x], -1)[..., 0], t.movedim(1, 2).contiguous().movedim(2, 1), request_of())
    check(x[:1].expand(2, 3, 700), t[:1].expand(2, 3, 700), request_of())
    check(x[..., 3:], t[..., 1:-2], request_of())


def test_more_examples_than_a_grid_has_are_several_launches(runs, monkeypatch):
    """With the same sums and gradient."""
    x, t = draw((5, 2, 40))
    gradient = check(x, t, request_of())
    monkeypatch.setattr(triton_sigmoid, "MOST_PROGRAMS", 2)
    assert torch.equal(check(x, t, request_of()), gradient)


def test_parts_add_up_and_the_scale_multiplies(runs, monkeypatch):
    """`sums_parts` and `gradient` are what forward and backward consist of."""
    monkeypatch.setattr(triton_sigmoid, "WARPS", 1)
    triton_sigmoid._plan.cache_clear()
    (x, t), request = draw((1, 2, 600)), request_of()
    parts = triton_driver.sums_parts(x, t, request)
    assert parts.shape == (len(MASKS), 2, 5)
    torch.testing.assert_close(parts.sum(-1).view(-1, 1, 2), triton_driver.forward(x, t, request))
    factors = torch.rand(len(MASKS), 2, device=DEVICE)
    scaled = triton_driver.gradient(x, t, factors, torch.tensor(0.25, device=DEVICE), request)
    torch.testing.assert_close(scaled, 0.25 * triton_driver.gradient(x, t, factors, None, request))
    triton_sigmoid._plan.cache_clear()


def test_the_same_bits_on_every_run(runs):
    """Of sums and gradient, whose additions have a fixed order."""
    (x, t), request = draw((1, 1, 2000)), request_of()
    assert torch.equal(triton_driver.sums_parts(x, t, request), triton_driver.sums_parts(x, t, request))
    assert torch.equal(check(x, t, request), check(x, t, request))


@pytest.mark.parametrize("gamma", [2.0, 1.5])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_confident_pixels_keep_their_digits(runs, gamma, dtype):
    """At logits of -20 to 20 each loss and its gradient are right to 1e-5 of themselves."""
    x = torch.tensor([-20.0, -12, -3, 3, 12, 20], device=DEVICE).repeat_interleave(2).view(12, 1, 1)
    t = torch.tensor([0, 1] * 6, device=DEVICE).to(dtype).view(12, 1, 1)
    needs = ["cross_entropy_positive", "cross_entropy_negative", "focal_positive", "focal_negative", "predicted"]
    for field in needs:
        request = request_of([field], gamma=gamma)
        sums, slope = expected(x, t, request)
        torch.testing.assert_close(triton_driver.forward(x, t, request).double(), sums, rtol=1e-5, atol=1e-36)
        found = triton_driver.backward(x, t, torch.ones(1, 12, 1, device=DEVICE), request)
        torch.testing.assert_close(found.double(), slope, rtol=1e-5, atol=1e-36)


@pytest.mark.parametrize(
    ("wrong", "dtype", "ignore"),
    [
        (255, torch.uint8, None),
        (2, torch.int64, 255),
        (-1, torch.int32, None),
        (1 << 40, torch.int64, None),
        (1.5, torch.float32, None),
        (-0.25, torch.float64, None),
        (float("nan"), torch.float32, -1),
    ],
)
def test_a_wrong_target_makes_the_sums_of_its_mask_nan(runs, wrong, dtype, ignore):
    """Those of no other mask; the call itself succeeds and the next one raises."""
    x, t = draw((2, 2, 100))
    t = t.to(dtype)
    t[1, 0, 37] = wrong
    sums = triton_driver.forward(x, t, request_of(ignore=ignore))
    assert sums[:, 1, 0].isnan().all()
    assert sums.isnan().sum() == len(MASKS)
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    with pytest.raises(InputError, match="set ignore_index to the value that marks pixels to ignore"):
        triton_driver.forward(x, t, request_of(ignore=ignore))
    assert not triton_driver.forward(x, t.masked_fill(t != 0, 1), request_of()).isnan().any()


@pytest.mark.parametrize(("dtype", "ignore"), [(torch.uint8, 255), (torch.int16, -1), (torch.float32, 255)])
def test_the_advice_on_a_wrong_target_helps(runs, dtype, ignore):
    """With its ignore_index the same target is right."""
    x, t = draw((2, 2, 100))
    t = t.to(dtype)
    t[:, :, ::7] = ignore
    check(x, t, request_of(ignore=ignore))
    check(x, t, request_of(ignore=ignore))


@pytest.mark.tools
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, on which the tests above run")
def test_the_kernels_in_the_interpreter():
    """The tests above, in a separate process."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not tools", str(Path(__file__))]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert "skipped" not in run.stdout
