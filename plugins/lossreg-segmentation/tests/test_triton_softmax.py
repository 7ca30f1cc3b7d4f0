"""The pass over classes on a GPU: its launches, and, where kernels run or are interpreted, its sums and gradient."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch.nn.functional import one_hot

from lossreg.errors import InputError
from lossreg_segmentation.statistics import triton_driver, triton_softmax, triton_targets
from lossreg_segmentation.statistics.choice import refusal
from lossreg_segmentation.statistics.reference import reference
from lossreg_segmentation.statistics.request import DIFFERENTIABLE, FIELDS, NEGATIVES, Request

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CLASSES = tuple(field for field in FIELDS if field not in NEGATIVES)
DICE_CE = ("intersection", "predicted", "actual", "cross_entropy_positive")


def request_of(needs=CLASSES, gamma=2.0, ignore=None):
    return Request("softmax", tuple(needs), gamma, ignore, 0.0)


@pytest.fixture
def launches(monkeypatch):
    """Return a list of (kernel, grid, arguments, constants): launches are recorded and do not run."""
    pytest.importorskip("triton", reason="Triton is not installed")
    found = []

    def record(kernel, grid, warps, arguments, constants):
        assert warps == 1
        found.append((kernel, grid, dict(zip(kernel.arg_names, arguments, strict=False)), constants))

    monkeypatch.setattr(triton_softmax, "start", record)
    return found


def launch_both(x, t, request):
    """Call sums and gradient; their results are not computed."""
    triton_driver.sums_parts(x, t, request)
    return triton_driver.gradient(x, t, torch.ones(len(request.needs), x.shape[0] * x.shape[1]), None, request)


# ---- the launches


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(1, 2, 1), (70000, 3, 1), (2, 21, 513**2), (2, 150, 512**2), (1, 999, 1 << 34)])
def test_programs_cover_every_pixel_and_class(launches, shape, dtype):
    """Each once; a grid has at most 65535 programs in its second dimension."""
    x = torch.empty(shape, dtype=dtype, device="meta")
    launch_both(x, torch.empty((shape[0], shape[2]), dtype=torch.int64, device="meta"), request_of())
    assert len(launches) == 2
    for _, (batch, parts), arguments, constants in launches:
        assert batch == shape[0]
        assert parts <= 65535
        pixels = arguments["steps"] * constants["V"] * constants["W"]
        assert parts * pixels >= shape[2] > (parts - 1) * pixels
        tile = constants["C_TILE"]
        assert constants["CHUNKS"] * tile >= shape[1] > (constants["CHUNKS"] - 1) * tile


@pytest.mark.parametrize(
    ("classes", "places"),
    [(2, 2), (3, 4), (19, 32), (21, 32), (33, 40), (65, 72), (133, 136), (150, 152), (1000, 1000)],
)
def test_classes_are_padded_little(classes, places):
    """To a power of two up to 32, above to a multiple of 8."""
    tile = triton_softmax.tile_of(classes, torch.float32)
    assert tile["CHUNKS"] * tile["C_TILE"] == places


@pytest.mark.parametrize("classes", [2, 3, 5, 9, 21, 32, 33, 150])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_the_classes_of_a_pixel_lie_in_one_warp(classes, dtype):
    """At most 8 in a thread, 4 in float64, so that no sum of a large pass leaves the registers."""
    tile = triton_softmax.tile_of(classes, dtype)
    assert tile["W"] * tile["LANES"] == 32
    assert tile["C_TILE"] <= tile["LANES"] * (4 if dtype == torch.float64 else 8)


def test_no_value_of_an_option_is_compiled(launches):
    """Gamma, the ignored value and sizes differ only in arguments that Triton does not specialise."""
    t = torch.empty(2, 100, dtype=torch.uint8, device="meta")
    launch_both(torch.empty(2, 21, 100, device="meta"), t, request_of(gamma=1.5, ignore=16))
    launch_both(torch.empty(2, 30, 100, device="meta"), t, request_of(gamma=3.0, ignore=255))
    assert len(launches) == 4
    for (kernel, _, one, constants), (_, _, other, same) in zip(launches[:2], launches[2:], strict=True):
        assert constants == same
        changed = {name for name in one if not isinstance(one[name], torch.Tensor) and one[name] != other[name]}
        assert {"gamma", "ignored", "C"} <= changed
        assert all(param.do_not_specialize for param in kernel.params if param.name in changed)


def test_logits_are_read_in_their_own_layout(launches):
    """Channels last: the strides of the input, no copy, and a gradient of the same strides."""
    x = torch.empty(2, 64, 32, 21, device="meta").movedim(3, 1).flatten(2)
    gradient = launch_both(x, torch.empty(2, 2048, dtype=torch.uint8, device="meta"), request_of())
    assert gradient.stride() == x.stride() == (43008, 1, 21)
    for _, _, arguments, constants in launches:
        assert arguments["x_ptr"] is x
        assert [arguments[f"x_{name}"] for name in "bcl"] == [43008, 1, 21]
        assert constants["V"] == 1


@pytest.mark.parametrize(
    ("length", "first", "adjacent"), [(512**2, 0, True), (42**2, 0, True), (513**2, 0, False), (512, 1, False)]
)
def test_a_thread_reads_adjacent_pixels_where_rows_allow_it(launches, length, first, adjacent):
    """Where every class begins at a multiple of them, and the memory at one of 16 bytes."""
    x = torch.empty(6 * length + first)[first:].view(2, 3, length)
    launch_both(x, torch.empty(2, length, dtype=torch.uint8), request_of())
    assert [constants["V"] > 1 for *_, constants in launches] == [adjacent, adjacent]


def test_offsets_beyond_32_bits_are_computed_in_64(launches):
    """Of a tile's classes and pixels."""
    for classes, length in ((21, 1 << 20), (21, 1 << 27)):
        x = torch.empty(1, classes, length, device="meta")
        launch_both(x, torch.empty(1, length, dtype=torch.uint8, device="meta"), request_of())
    assert [constants["WIDE"] for *_, constants in launches] == [False, False, True, True]


def test_a_launch_is_planned_once(launches):
    """The second call of a kind makes 24 Python calls at most, forward and backward together."""
    x, t = torch.empty(2, 21, 4096), torch.zeros(2, 4096, dtype=torch.int64)
    factors, request, calls = torch.ones(4, 42), request_of(DICE_CE), []

    def both():
        triton_driver.sums_parts(x, t, request)
        triton_driver.gradient(x, t, factors, None, request)

    both()
    both()
    sys.setprofile(lambda frame, event, _: calls.append(frame.f_code.co_name) if event == "call" else None)
    try:
        both()
    finally:
        sys.setprofile(None)
    assert len(calls) <= 24, calls


# ---- in the interpreter, or on a GPU


@pytest.fixture
def runs(monkeypatch):
    """Skip the test unless kernels run here; forget wrong targets and plans of other tests."""
    monkeypatch.setattr(triton_targets, "_found", {})
    triton_softmax._plan.cache_clear()
    reason = refusal("triton", torch.zeros(1, 1, 1, device=DEVICE), torch.zeros(1, 1, 1), "sigmoid")
    if reason:
        pytest.skip(f"triton: {reason}")
    yield
    triton_softmax._plan.cache_clear()


def draw(shape, kind="index", seed=0):
    """Draw logits and class indices, or hard or soft targets of each class."""
    generator = torch.Generator().manual_seed(seed)
    x = 3 * torch.randn(shape, generator=generator)
    t = torch.randint(0, shape[1], (shape[0], shape[2]), generator=generator)
    if kind == "hard":
        t = one_hot(t, shape[1]).movedim(-1, 1).to(torch.uint8)
    if kind == "soft":
        t = torch.randn(shape, generator=generator).softmax(1)
    return x.to(DEVICE), t.to(DEVICE)


def expected(x, t, request):
    """Compute the sums and the gradient of the differentiable ones, weighted 1, 2, 3, ..., in float64."""
    leaf = x.detach().double().requires_grad_()
    t = t.double() if t.is_floating_point() else t
    sums = reference(leaf, t, "softmax", frozenset(request.needs), request.gamma, request.ignore_index, 0.0)
    weights = {name: 1.0 + place for place, name in enumerate(request.needs) if name in DIFFERENTIABLE}
    (slope,) = torch.autograd.grad(sum(weight * sums[name].sum() for name, weight in weights.items()), leaf)
    return torch.stack([sums[name].detach() for name in request.needs]), slope


def check(x, t, request):
    """Compare both passes with the reference; return the gradient."""
    sums, slope = expected(x, t, request)
    torch.testing.assert_close(triton_driver.forward(x, t, request).double(), sums, rtol=1e-5, atol=1e-5)
    weights = torch.arange(1.0, len(request.needs) + 1, device=x.device)[:, None, None]
    gradient = triton_driver.backward(x, t, weights.expand(sums.shape).to(x.dtype), request)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-4, atol=2e-5)
    return gradient


@pytest.mark.parametrize("classes", [2, 3, 8, 9, 21, 32, 33, 70])
def test_any_number_of_classes(runs, classes):
    """One tile, padded or not, and several; pixels that fill no block."""
    check(*draw((2, classes, 37)), request_of(gamma=1.5))


@pytest.mark.parametrize("kind", ["index", "hard", "soft"])
@pytest.mark.parametrize("classes", [5, 40])
def test_pixels_that_are_ignored(runs, classes, kind):
    """With NaN under them; one ignored class of any tile ignores the pixel."""
    x, t = draw((2, classes, 90 if classes < 32 else 34), kind)
    if kind == "index":
        t = t.to(torch.uint8)
        t[:, ::7] = 255
        x[:, 1, ::7] = torch.nan
    else:
        t[:, 0, ::7] = t[:, -1, ::11] = 255
        x[:, 0, ::7] = x[:, -1, ::11] = torch.nan
    gradient = check(x, t, request_of(ignore=255, gamma=1.0))
    assert not gradient[..., ::7].any()


@pytest.mark.parametrize("classes", [6, 40])
def test_a_layout_is_kept(runs, classes):
    """Channels last, gaps between pixels, expanded logits, rows that begin anywhere; a target in another layout."""
    x, t = draw((2, classes, 19))
    last = x.movedim(1, 2).contiguous().movedim(2, 1)
    assert check(last, t, request_of(DICE_CE)).stride() == last.stride()
    check(torch.stack([x, x], -1)[..., 0], t.T.contiguous().T, request_of(DICE_CE))
    check(x[:1].expand(2, classes, 19), t, request_of(DICE_CE))
    check(x[..., 1:], t[:, :-1], request_of(DICE_CE))
    soft = x.softmax(1).movedim(1, 2).contiguous().movedim(2, 1)
    check(x[..., :18], soft[..., 1:], request_of(DICE_CE))


@pytest.mark.parametrize(("classes", "length"), [(3, 300), (40, 300)])
def test_a_program_adds_up_several_blocks(runs, monkeypatch, classes, length):
    """Of one example, the last program fewer."""
    monkeypatch.setattr(triton_softmax, "ENOUGH_PROGRAMS", 5)
    x, t = draw((2, classes, length))
    plan = triton_softmax.plan_of(x, t, request_of())
    assert plan.sizes[-1] > 1
    assert plan.parts > 1
    check(x, t, request_of())


def test_offsets_in_64_bits_are_the_same(runs, monkeypatch):
    """As those in 32."""
    x, t = draw((2, 40, 18))
    plan = triton_softmax.plan_of(x, t, request_of())
    wide = plan._replace(sums=plan.sums | {"WIDE": True}, gradient=plan.gradient | {"WIDE": True})
    gradient = check(x, t, request_of())
    monkeypatch.setattr(triton_softmax, "plan_of", lambda *_: wide)
    assert torch.equal(check(x, t, request_of()), gradient)


def test_parts_add_up_and_the_scale_multiplies(runs, monkeypatch):
    """`sums_parts` and `gradient` are what forward and backward consist of."""
    (x, t), request = draw((2, 3, 200)), request_of()
    parts = triton_driver.sums_parts(x, t, request)
    assert parts.shape == (len(CLASSES), 6, 4)
    torch.testing.assert_close(parts.sum(-1).view(-1, 2, 3), triton_driver.forward(x, t, request))
    factors = torch.rand(len(CLASSES), 6, device=DEVICE)
    scaled = triton_driver.gradient(x, t, factors, torch.tensor(0.25, device=DEVICE), request)
    torch.testing.assert_close(scaled, 0.25 * triton_driver.gradient(x, t, factors, None, request))


def test_an_example_without_factors_is_not_read(runs):
    """Its gradient is 0 even where a logit is NaN; a factor of any class of any tile makes it read."""
    x, t = draw((2, 40, 20))
    x[0, 3, 7] = torch.nan
    factors = torch.zeros(2, 80, device=DEVICE)
    factors[1, -1] = 1
    gradient = triton_driver.gradient(x, t, factors, None, request_of(["intersection", "predicted"]))
    assert not gradient[0].any()
    p = x[1].double().softmax(0)
    own = torch.zeros_like(p)
    own[-1] = 1
    torch.testing.assert_close(gradient[1].double(), p[-1] * (own - p), rtol=1e-5, atol=1e-7)


def test_the_same_bits_on_every_run(runs):
    """Of sums and gradient, whose additions have a fixed order."""
    (x, t), request = draw((1, 21, 70)), request_of(DICE_CE)
    assert torch.equal(triton_driver.sums_parts(x, t, request), triton_driver.sums_parts(x, t, request))
    assert torch.equal(check(x, t, request), check(x, t, request))


@pytest.mark.parametrize("classes", [3, 40])
def test_of_equal_logits_the_first_is_predicted(runs, classes):
    """And all have the same gradient; the other classes are far behind."""
    x = torch.full((1, classes, 4), -40.0, device=DEVICE)
    x[:, -2:] = 5
    t = torch.full((1, 4), classes - 2, device=DEVICE)
    sums = triton_driver.forward(x, t, request_of(["hard_intersection", "hard_union", "cross_entropy_positive"]))
    assert sums[0, 0, -2:].tolist() == [4, 0]
    assert sums[1, 0, -2:].tolist() == [4, 0]
    torch.testing.assert_close(sums[2, 0, -2].item() / 4, 0.6931471805599453, rtol=1e-6, atol=0)
    gradient = triton_driver.backward(x, t, torch.ones(1, 1, classes, device=DEVICE), request_of(DICE_CE[3:]))
    torch.testing.assert_close(gradient[0, -2:, 0], torch.tensor([-0.5, 0.5], device=DEVICE))


@pytest.mark.parametrize("kind", ["index", "hard", "soft"])
@pytest.mark.parametrize("classes", [3, 40])
def test_a_class_that_is_left_out_has_no_loss_unless_it_is_the_target(runs, classes, kind):
    """Then it is infinite, that of its class alone; the gradients are those of the probabilities."""
    x, t = torch.full((1, classes, 2), -torch.inf), torch.tensor([[0, 1]])
    x[0, 1:3, 0] = x[0, :2, 1] = 0.0
    if kind != "index":
        t = one_hot(t, classes).movedim(-1, 1).to(torch.float32 if kind == "soft" else torch.uint8)
    x, t, request = x.to(DEVICE), t.to(DEVICE), request_of(["cross_entropy_positive", "focal_positive"], gamma=1.0)
    sums = triton_driver.forward(x, t, request)[:, 0].cpu()
    assert sums[:, 0].tolist() == [torch.inf] * 2
    assert sums[:, 1].tolist() == pytest.approx([0.6931472, 0.3465736])
    assert not sums[:, 2:].any()
    of_ce = torch.zeros(2, 1, classes, device=DEVICE)
    of_ce[0] = 1
    gradient = triton_driver.backward(x, t, of_ce, request)[0].cpu()
    expected = torch.zeros(classes, 2)
    expected[:3, 0], expected[:2, 1] = torch.tensor([-1, 0.5, 0.5]), torch.tensor([0.5, -0.5])
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize(
    ("gamma", "classes", "kind"),
    [(0.0, 4, "index"), (1.0, 4, "hard"), (2.0, 4, "soft"), (1.5, 4, "index"), (2.0, 34, "index"), (1.5, 34, "soft")],
)
def test_confident_pixels_keep_their_digits(runs, gamma, classes, kind):
    """1 - p = n exp(-logit) / (1 + n exp(-logit)) for n other classes of logit 0: right to 4e-6 of each power of it."""
    logits = torch.arange(1, 31, 2 if classes < 32 else 7, dtype=torch.float64)
    x = torch.zeros(len(logits), classes, 1)
    x[:, 1, 0] = logits
    t = torch.ones(len(logits), 1, dtype=torch.int64)
    if kind != "index":
        t = one_hot(t, classes).movedim(-1, 1).to(torch.float32 if kind == "soft" else torch.uint8)
    x, t = x.to(DEVICE), t.to(DEVICE)
    others = (classes - 1) * torch.exp(-logits)
    rest, nll = others / (1 + others), torch.log1p(others)
    ones = torch.ones(1, len(logits), classes, device=DEVICE)
    for field, power in (("cross_entropy_positive", 0.0), ("focal_positive", gamma)):
        request = request_of([field], gamma=gamma)
        loss, slope = rest**power * nll, -(rest**power) * (rest + power * (1 - rest) * nll)
        sums = triton_driver.forward(x, t, request).double().cpu()
        torch.testing.assert_close(sums[0, :, 1], loss, rtol=4e-6 * (1 + power), atol=1e-36)
        gradient = triton_driver.backward(x, t, ones, request)[..., 0].double().cpu()
        torch.testing.assert_close(gradient[:, 1], slope, rtol=4e-6 * (1 + power), atol=1e-36)
        torch.testing.assert_close(gradient[:, 0], -slope / (classes - 1), rtol=4e-6 * (1 + power), atol=1e-36)


@pytest.mark.parametrize(
    ("kind", "wrong", "dtype", "ignore"),
    [
        ("index", "classes", torch.int64, None),
        ("index", 254, torch.uint8, 255),
        ("index", -1, torch.int32, None),
        ("index", 1 << 40, torch.int64, None),
        ("hard", 2, torch.uint8, 255),
        ("hard", -1, torch.int8, None),
        ("soft", 1.5, torch.float32, None),
        ("soft", float("nan"), torch.float32, -1),
    ],
)
def test_a_wrong_target_makes_the_sums_of_its_example_nan(runs, kind, wrong, dtype, ignore):
    """At least those of its class, and of no other example; the call itself succeeds and the next one raises."""
    classes = 40 if ignore else 5
    x, t = draw((2, classes, 30), kind)
    t = t.to(dtype)
    t[(1, 7) if kind == "index" else (1, -1, 7)] = wrong if wrong != "classes" else classes
    request = request_of(ignore=ignore)
    sums = triton_driver.forward(x, t, request)
    assert sums[:, 1, -1].isnan().all()
    assert not sums[:, 0].isnan().any()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    with pytest.raises(InputError, match="correct the number of classes"):
        triton_driver.forward(x, t, request)
    right = draw((2, classes, 30), kind)
    assert not triton_driver.forward(*right, request).isnan().any()


@pytest.mark.tools
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, on which the tests above run")
def test_the_kernels_in_the_interpreter():
    """The tests above, in a separate process."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not tools"]
    command += ["-k", "not option_is_compiled", str(Path(__file__))]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert "skipped" not in run.stdout
