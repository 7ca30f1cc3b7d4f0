"""Every implementation of the statistics equals plain torch in float64, in value and gradient."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lossreg_segmentation.statistics import NEGATIVES, UNIFORM, implementation, mask_statistics
from lossreg_segmentation.statistics.checks import counting
from lossreg_segmentation.statistics.choice import refusal
from lossreg_segmentation.statistics.request import DIFFERENTIABLE, FIELDS

pytestmark = pytest.mark.usefixtures("compiled")

# A kernel is compiled for each example that is the first of its kind: seconds, where tiles take milliseconds.
EXAMPLES = {"tiled": 300, "numba": 25, "triton": 25}
MORE = int(os.environ.get("LOSSREG_EXAMPLES", "0"))  # for a longer search, at random
# So that several examples share one: activation, types of logits and target, sums, gamma, ignored value.
KERNELS = [
    ("sigmoid", torch.float32, "uint8", ("intersection", "predicted", "actual"), 2.0, None),
    ("sigmoid", torch.bfloat16, "shared", tuple(f for f in FIELDS if f not in UNIFORM), 2.0, 255),
    ("sigmoid", torch.float32, "soft", ("cross_entropy_positive", "cross_entropy_negative"), 2.0, -1),
    ("sigmoid", torch.float16, "soft", ("focal_positive", "focal_negative", "valid"), 0.5, None),
    ("softmax", torch.float32, "index", ("intersection", "predicted", "actual", "cross_entropy_positive"), 2.0, 255),
    ("softmax", torch.bfloat16, "index", ("focal_positive", "valid"), 2.0, None),
    ("softmax", torch.float32, "soft", tuple(f for f in FIELDS if f not in NEGATIVES), 1.0, None),
]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

# Of a gradient's element: rounding to the dtype it is stored in. Triton's interpreter cuts bfloat16 off.
ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-3, torch.bfloat16: 2**-7}
TARGETS = ("bool", "uint8", "int64", "uint16", "soft", "shared", "index", "one-hot")


class Case(NamedTuple):
    """One random case."""

    input: torch.Tensor
    target: torch.Tensor
    activation: str
    needs: tuple[str, ...]
    gamma: float
    ignore_index: int | None
    threshold: float
    weights: torch.Tensor  # of each sum in the scalar that is differentiated, (K, B, C)
    autocast: torch.dtype | None  # under which the implementation is called, forward and backward


def make_logits(draw, shape, dtype):
    """Draw ordinary logits with runs of extremes; half of them not contiguous."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    x = torch.randn(shape, generator=generator) * draw(st.sampled_from([0.5, 4.0, 30.0]))
    for value in draw(st.lists(st.sampled_from([0.0, 1e4, -1e4, 60.0, -60.0]), max_size=3)):
        x = torch.where(torch.rand(shape, generator=generator) < 0.1, torch.tensor(value), x)
    x = x.to(dtype)
    layout = draw(st.sampled_from(["contiguous", "contiguous", "channels last", "strided"]))
    if layout == "channels last":
        return x.movedim(1, -1).contiguous().movedim(-1, 1)
    return torch.stack([x, x], -1)[..., 0] if layout == "strided" else x


def make_target(draw, kind, shape, dtype):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    batch, classes, *size = shape
    if kind == "index":
        return torch.randint(0, classes, (batch, *size), generator=generator)
    if kind == "one-hot":
        index = torch.randint(0, classes, (batch, *size), generator=generator)
        return torch.nn.functional.one_hot(index, classes).movedim(-1, 1).to(torch.int32)
    if kind == "soft":
        t = torch.rand(shape, generator=generator, dtype=torch.float64)
        t = torch.where(t < 0.2, 0.0, torch.where(t > 0.8, 1.0, t))
        return t.to(dtype)
    t = torch.randint(0, 2, (batch, 1, *size) if kind == "shared" else shape, generator=generator)
    return t.to({"bool": torch.bool, "int64": torch.int64, "uint16": torch.uint16}.get(kind, torch.uint8))


@st.composite
def kernels(draw):
    """Draw the properties that decide on the kernel, as in KERNELS."""
    activation = draw(st.sampled_from(["sigmoid", "softmax"]))
    dtype = draw(st.sampled_from([torch.float32, torch.float32, torch.bfloat16, torch.float16, torch.float64]))
    kind = draw(st.sampled_from([k for k in TARGETS if k != ("index" if activation == "sigmoid" else "shared")]))
    allowed = [name for name in FIELDS if name not in (UNIFORM if activation == "sigmoid" else NEGATIVES)]
    chosen = st.sampled_from([allowed, allowed, [f for f in allowed if f in DIFFERENTIABLE]])
    needs = draw(st.one_of(chosen, st.lists(st.sampled_from(allowed), min_size=1, unique=True)))
    gamma = draw(st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]))
    return activation, dtype, kind, needs, gamma, None if kind == "bool" else draw(st.sampled_from([None, 255, -1]))


@st.composite
def cases(draw, kernel):
    activation, dtype, kind, needs, gamma, ignored = draw(kernel)
    classes = draw(st.integers(1 if activation == "sigmoid" else 2, 5))
    size = draw(st.sampled_from([(), (1,), (7,), (5, 9), (64, 33), (3, 4, 5), (150, 120)]))
    shape = (draw(st.integers(1, 3)), classes, *size)
    x = make_logits(draw, shape, dtype)
    t = make_target(draw, kind, shape, dtype)
    if ignored is not None and not (ignored < 0 and t.dtype in (torch.uint8, torch.uint16)):
        hidden = torch.rand(t.shape, generator=torch.Generator().manual_seed(5)) < draw(
            st.sampled_from([0.0, 0.3, 1.0])
        )
        t = counting(t).masked_fill(hidden, ignored).to(t.dtype)
        if t.shape == x.shape:  # ignored positions may have any value
            x = x.masked_fill(hidden, torch.nan)
    weights = torch.rand(len(needs), *shape[:2], generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    if shape[0] > 1 and draw(st.booleans()):
        weights[:, 0] = 0  # a mask without any requested gradient
    threshold = draw(st.sampled_from([0.0, 0.7]))
    autocast = draw(st.sampled_from([None, torch.bfloat16, torch.float16]))
    return Case(x, t, activation, tuple(needs), gamma, ignored, threshold, weights, autocast)


def compute(case, name, x, t):
    """Return the sums (K, B, C) in float64, and the gradient to x of their weighted sum."""
    leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    options = case._asdict()
    for key in ("input", "target", "weights", "autocast"):
        options.pop(key)
    casting = name != "reference" and case.autocast is not None
    with implementation(name), torch.autocast(DEVICE, case.autocast) if casting else nullcontext():
        found = mask_statistics(leaf, t, **options)
        sums = torch.stack([getattr(found, field) for field in case.needs]).double()
        if not DIFFERENTIABLE.intersection(case.needs):
            assert not sums.requires_grad
            return sums, torch.zeros_like(leaf)
        (gradient,) = torch.autograd.grad((sums * case.weights.to(sums.device)).sum(), leaf)
    return sums.detach(), gradient


def on_a_kink(case, x, t):
    """Return True where p is so near to a soft target that rounding decides which of the two is the minimum."""
    if not t.is_floating_point():
        return torch.zeros_like(x, dtype=torch.bool)
    p = x.double().softmax(1) if case.activation == "softmax" else x.double().sigmoid()
    near = ((p - t.double()).abs() < 1e-6) & (t > 0) & (t < 1)
    return near.any(1, keepdim=True).expand_as(x) if case.activation == "softmax" else near


def check(case, name):
    """Compare one case with the reference."""
    x, t = case.input.to(DEVICE), case.target.to(DEVICE)
    expected, slope = compute(case, "reference", x.double(), t.double() if t.is_floating_point() else t)
    sums, gradient = compute(case, name, x, t)
    assert gradient.dtype == x.dtype
    # A float32 log_softmax rounds the loss of a certain pixel to a multiple of 6e-8.
    rtol, atol = (1e-9, 1e-12) if x.dtype == torch.float64 else (1e-5, 1e-6)
    torch.testing.assert_close(sums, expected, rtol=rtol, atol=atol)
    top = slope.abs().max().item()
    kink = on_a_kink(case, x, t)
    slope, gradient = slope.masked_fill(kink, 0), gradient.masked_fill(kink, 0)
    # Terms of the order of the weights, 1, may cancel down to their rounding.
    atol = max(0.1, top) * (1e-12 if x.dtype == torch.float64 else 2e-6)
    torch.testing.assert_close(gradient.double(), slope, rtol=ROUNDING[x.dtype], atol=atol)
    if t.shape == x.shape and case.ignore_index is not None:
        assert not gradient[t == case.ignore_index].any()


def skip_unless_it_runs(name):
    """Skip the test unless the implementation runs here, on tensors of this device."""
    reason = refusal(name, torch.zeros(1, 1, 1, device=DEVICE), torch.zeros(1, 1, 1), "sigmoid")
    if reason:
        pytest.skip(f"{name}: {reason}")


def hold(name, kernel, examples):
    """Check one implementation on a number of examples."""

    @settings(max_examples=examples, deadline=None, derandomize=not MORE, suppress_health_check=list(HealthCheck))
    @given(cases(kernel))
    def holds(case):
        assume(not refusal(name, case.input.to(DEVICE), case.target, case.activation))
        # Triton's interpreter takes half a minute for a few hundred programs.
        assume(name != "triton" or DEVICE == "cuda" or case.input.numel() <= 6000)
        check(case, name)

    holds()


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: "-".join(map(str, kernel[:3])))
def test_a_compiled_kernel_equals_the_reference(kernel):
    """For any sizes, strides, ignored positions, extreme logits, thresholds and autocast."""
    skip_unless_it_runs("numba")
    hold("numba", st.just(kernel), 20)


@pytest.mark.parametrize(
    "name", ["tiled", pytest.param("numba", marks=pytest.mark.tools), pytest.param("triton", marks=pytest.mark.tools)]
)
def test_an_implementation_equals_the_reference(name):  # over 10 s: Numba compiles a kernel for most examples
    """dtype, strides, shapes, tasks, ignored, soft targets, gamma, extreme logits, autocast: any of them together."""
    skip_unless_it_runs(name)
    hold(name, kernels(), MORE or EXAMPLES[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_tie_of_prediction_and_soft_target_shares_the_gradient(name):
    """min(p, t) at p = t: half of the slope of p, as in torch.minimum."""
    skip_unless_it_runs(name)
    x = torch.zeros(1, 1, 3, device=DEVICE, requires_grad=True)
    t = torch.tensor([[[0.25, 0.5, 0.75]]], device=DEVICE)
    with implementation(name):
        found = mask_statistics(x, t, activation="sigmoid", needs=["intersection"])
    (gradient,) = torch.autograd.grad(found.intersection.sum(), x)
    assert found.intersection.item() == 1.25
    assert gradient.flatten().tolist() == [0, 0.125, 0.25]
