"""Weights of positions in the statistics: in every implementation, against sums that are written out in float64."""

from __future__ import annotations

import re
from itertools import product

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import logsigmoid, one_hot

from lossreg import debug_checks
from lossreg.errors import DTypeError, InputError, ShapeError
from lossreg_segmentation.mask_pass import MaskPass
from lossreg_segmentation.statistics import NEGATIVES, UNIFORM, implementation, mask_statistics
from lossreg_segmentation.statistics.choice import refusal
from lossreg_segmentation.statistics.request import DIFFERENTIABLE, FIELDS

pytestmark = pytest.mark.usefixtures("compiled")

# A kernel of Numba takes seconds to compile, and Triton's interpreter half a second a program.
SLOW = [pytest.param(name, marks=pytest.mark.tools) for name in ("numba", "triton")]
IMPLEMENTATIONS = ["reference", "tiled", *SLOW]
KINDS = [("sigmoid", kind) for kind in ("hard", "soft", "shared")]
KINDS += [("softmax", kind) for kind in ("hard", "soft", "index")]
B, C, SIZE = 2, 3, (7, 11)


def skip_unless_it_runs(name):
    reason = refusal(name, torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), "sigmoid")
    if reason:
        pytest.skip(f"{name}: {reason}")


def fields(activation):
    return [name for name in FIELDS if name not in (UNIFORM if activation == "sigmoid" else NEGATIVES)]


def batch(kind, dtype=torch.float32, seed=0):
    """Return logits and a target."""
    torch.manual_seed(seed)
    x = (3 * torch.randn(B, C, *SIZE)).to(dtype)
    if kind == "index":
        return x, torch.randint(0, C, (B, *SIZE)).to(torch.uint8)
    if kind == "soft":
        return x, torch.rand(B, C, *SIZE)
    if kind == "hard":
        return x, one_hot(torch.randint(0, C, (B, *SIZE)), C).movedim(-1, 1).to(torch.uint8).contiguous()
    return x, torch.randint(0, 2, (B, 1, *SIZE)).to(torch.uint8)


def compute(name, x, t, activation, needs=None, **options):
    """Return the sums, (K, B, C), and the gradient to the logits of their products with fixed numbers."""
    needs, leaf = needs or fields(activation), x.detach().clone().requires_grad_()
    with implementation(name):
        found = mask_statistics(leaf, t, activation=activation, needs=needs, **options)
        sums = torch.stack([getattr(found, field) for field in needs]).double()
        factors = torch.linspace(0.1, 1, sums.numel(), dtype=torch.float64).view_as(sums)
        (gradient,) = torch.autograd.grad((sums * factors).sum(), leaf)
    return sums.detach(), gradient


def expected(x, t, w, activation, kept, gamma=2.0):
    """Return the same by formulas over all positions, each element times its weight where a position is kept."""
    leaf = torch.where(kept, x.double(), 0.0).requires_grad_()
    t = one_hot(torch.where(kept[:, 0], t.long(), 0), C).movedim(-1, 1) if t.ndim < x.ndim else t.expand_as(x)
    t = torch.where(kept, t.double(), 0.0)
    if activation == "sigmoid":
        p, hit = leaf.sigmoid(), leaf > 0
        above, below = -t * logsigmoid(leaf), -(1 - t) * logsigmoid(-leaf)
        focus = (p * (1 - t) + (1 - p) * t) ** gamma * (above + below)
        found = {"cross_entropy_positive": above, "cross_entropy_negative": below}
        found |= {"focal_positive": t * focus, "focal_negative": (1 - t) * focus}
    else:
        log_p = leaf.log_softmax(1)
        p, hit = log_p.exp(), one_hot(leaf.argmax(1), C).movedim(-1, 1) > 0
        found = {"cross_entropy_positive": -t * log_p, "focal_positive": -t * log_p * (1 - p) ** gamma}
        found["cross_entropy_uniform"] = -log_p
    found |= {"intersection": torch.minimum(p, t), "product": p * t, "predicted": p, "predicted_squared": p * p}
    found |= {"actual": t, "actual_squared": t * t, "valid": torch.ones_like(p)}
    found |= {"hard_intersection": hit & (t > 0.5), "hard_union": hit | (t > 0.5)}
    sums = {name: torch.where(kept, w.double() * each, 0.0).flatten(2).sum(2) for name, each in found.items()}
    sums["counted"] = kept.expand_as(x).double().flatten(2).sum(2)
    stacked = torch.stack([sums[name] for name in fields(activation)])
    factors = torch.linspace(0.1, 1, stacked.numel(), dtype=torch.float64).view_as(stacked)
    (gradient,) = torch.autograd.grad((stacked * factors).sum(), leaf)
    return stacked.detach(), torch.where(kept, gradient, 0.0)


def some_weights(shape):
    """Return weights; a third of them is 0."""
    w = 5 * torch.rand(shape)
    return torch.where(torch.rand(shape) < 1 / 3, 0.0, w)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("activation, kind", KINDS)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_each_element_of_a_sum_is_multiplied_by_its_weight(name, activation, kind, dtype):
    """All sums and the gradient, with one weight for all masks and for each; with ignored positions; NaN logits."""
    skip_unless_it_runs(name)
    if name not in ("reference", "tiled") and dtype not in (torch.float32, torch.float64):
        pytest.skip("half types differ in how logits are read, which passes without weights show")
    x, t = batch(kind, dtype)
    mark = -1 if kind == "soft" else 255
    marked = torch.where(torch.rand(t.shape) < 0.2, torch.tensor(mark, dtype=t.dtype), t)
    for channels, ignored in product([1, C] if activation == "sigmoid" else [1], [None, mark]):
        w = some_weights((B, channels, *SIZE))
        target = t if ignored is None else marked
        kept = (target != mark).view(B, -1, *SIZE)
        kept = (kept.all(1, keepdim=True) if activation == "softmax" else kept) & (w > 0)
        kept = kept.expand_as(x)
        hidden = torch.where(kept, x, torch.nan)
        sums, gradient = compute(name, hidden, target, activation, weight=w, ignore_index=ignored)
        wanted, slope = expected(x, target, w, activation, kept)
        tight = dtype == torch.float64
        torch.testing.assert_close(sums, wanted, rtol=1e-9 if tight else 2e-5, atol=1e-9 if tight else 1e-5)
        rounding = {torch.float32: 1e-4, torch.bfloat16: 2**-7, torch.float16: 2e-3}.get(dtype, 1e-9)
        torch.testing.assert_close(gradient.double(), slope, rtol=rounding, atol=1e-9 if tight else 1e-5)
        assert not gradient[~kept].any()


@pytest.mark.parametrize("activation, kind", KINDS)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_weights_of_0_and_1_are_ignored_positions_bit_by_bit(name, activation, kind):
    """Their targets have any value, and a mask may be bool. A weight of 1 everywhere is none."""
    skip_unless_it_runs(name)
    x, t = batch(kind)
    w = torch.rand(B, 1, *SIZE) > 0.3
    away = ~(w[:, 0] if kind == "index" else w).expand_as(t)
    marked = t.masked_fill(away, -1.0 if kind == "soft" else 255)
    tolerance = 0 if name in ("reference", "tiled") else 1e-6  # compiled kernels add in another order
    exact = {"rtol": tolerance, "atol": tolerance}
    by_mark = compute(name, x, marked, activation, ignore_index=-1 if kind == "soft" else 255)
    for target in (t, marked):
        torch.testing.assert_close(compute(name, x, target, activation, weight=w), by_mark, **exact)
    ones = compute(name, x, t, activation, weight=torch.ones(B, 1, *SIZE))
    torch.testing.assert_close(ones, compute(name, x, t, activation), **exact)


@pytest.mark.parametrize("activation, kind", KINDS)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_a_whole_weight_is_a_position_that_occurs_so_often(name, activation, kind):
    """In every sum but `counted`."""
    skip_unless_it_runs(name)
    x, t = (each.flatten(2)[..., :20] if each.ndim > 3 else each.flatten(1)[..., :20] for each in batch(kind))
    often = torch.arange(20) % 4
    needs = [field for field in fields(activation) if field != "counted"]
    weighted, _ = compute(name, x, t, activation, needs, weight=often.float().expand(B, 1, 20))
    repeated, _ = compute(name, x.repeat_interleave(often, -1), t.repeat_interleave(often, -1), activation, needs)
    torch.testing.assert_close(weighted, repeated, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation, kind", KINDS)
def test_sums_and_gradients_are_linear_in_the_weights(activation, kind, on_reference):
    """Twice the weights give twice the sums, but of `counted`."""
    x, t = batch(kind, torch.float64)
    w = some_weights((B, 1, *SIZE)).double()
    needs = [field for field in fields(activation) if field != "counted"]
    sums, slope = compute("reference", x, t, activation, needs, weight=w)
    twice = compute("reference", x, t, activation, needs, weight=2 * w)
    torch.testing.assert_close(twice, (2 * sums, 2 * slope))


@pytest.mark.parametrize("activation, kind", KINDS)
def test_the_reference_is_differentiable_twice_with_weights(activation, kind, on_reference):
    x, t = (
        each[:1, ..., :2, :2].double() if each.is_floating_point() else each[:1, ..., :2, :2] for each in batch(kind)
    )
    w = torch.tensor([[0.0, 0.5], [2.0, 1.0]]).expand(1, 1, 2, 2)
    needs = [field for field in fields(activation) if field in DIFFERENTIABLE]

    def sums(x):
        found = mask_statistics(x, t, activation=activation, needs=needs, weight=w)
        return tuple(getattr(found, name) for name in needs)

    assert torch.autograd.gradcheck(sums, x.double().requires_grad_())


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_a_weight_has_the_shape_of_a_target(name):
    """(B, 1, *) or (B, *), and strides of any kind."""
    skip_unless_it_runs(name)
    x, t = batch("index")
    w = torch.rand(*SIZE, B).movedim(-1, 0)
    whole = compute(name, x, t, "softmax", weight=w.unsqueeze(1).contiguous())
    torch.testing.assert_close(compute(name, x, t, "softmax", weight=w), whole)
    for masks in (x[:, :1], x):
        one = compute(name, masks, t[:, None] == 0, "sigmoid", weight=w.unsqueeze(1))
        torch.testing.assert_close(compute(name, masks, t[:, None] == 0, "sigmoid", weight=w), one)


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        ([1.0], DTypeError, r"weight must be a tensor, got list; use torch.as_tensor\(weight\)"),
        (torch.ones(2, 1, 4, dtype=torch.long), DTypeError, r"floating or bool, got torch.int64; use weight.float\(\)"),
        (torch.ones(2, 1, 4, requires_grad=True), InputError, r"which no loss gives to it; use weight.detach\(\)"),
        (torch.ones(2, 1, 4, device="meta"), InputError, r"input is on cpu and weight on meta; move one with .to\(\)"),
        (torch.tensor(1.0), ShapeError, r"shape \(2, 3, 4\) or \(2, 1, 4\) or \(2, 4\), got \(\); .*weight.expand"),
        (torch.ones(2, 3, 1), ShapeError, r"\(2, 3, 4\) or \(2, 1, 4\) or \(2, 4\), got \(2, 3, 1\)"),
        (
            torch.ones(2, 1, 4).to_sparse(),
            InputError,
            r"weight has the layout torch.sparse_coo; use weight.to_dense\(\)",
        ),
    ],
    ids=["list", "integers", "gradient", "device", "one number", "broadcast", "sparse"],
)
def test_a_weight_that_does_not_fit_is_refused_with_the_remedy(weight, error, message):
    """Each message has the call that mends it."""
    with pytest.raises(error, match=message):
        mask_statistics(torch.zeros(2, 3, 4), torch.ones(2, 3, 4), activation="sigmoid", needs=["valid"], weight=weight)


def test_the_classes_of_a_pixel_have_one_weight():
    """The message names the option for weights of classes."""
    x, t = batch("index")
    message = r"must have shape \(2, 1, 7, 11\) or \(2, 7, 11\), got \(2, 3, 7, 11\); .* weigh classes by class_weight"
    with pytest.raises(ShapeError, match=message):
        mask_statistics(x, t, activation="softmax", needs=["valid"], weight=torch.ones_like(x))


@pytest.mark.parametrize("activation, kind", [("sigmoid", "shared"), ("softmax", "index"), ("softmax", "hard")])
@pytest.mark.parametrize("wrong", [-0.5, float("nan"), float("inf")])
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_negative_and_infinite_weights_are_refused(name, wrong, activation, kind):
    """One is enough, also where the target is ignored; a wrong target is found beside weights."""
    skip_unless_it_runs(name)
    if name == "triton":
        pytest.skip("a device reads no values of weights but under debug_checks()")
    x, t = batch(kind)
    w = torch.ones(B, 1, *SIZE)
    w[1, 0, 6, 10] = wrong
    with pytest.raises(InputError, match=f"weight contains {re.escape(str(wrong))}, weights must be finite and >= 0"):
        compute(name, x, t, activation, weight=w)
    t[..., 0, 0] = 7
    with pytest.raises(InputError, match="target contains"):
        compute(name, x, t, activation, weight=torch.ones(B, 1, *SIZE))


def test_debugging_checks_logits_that_weigh():
    """A NaN at weight 0 is none."""
    x, t = batch("shared")
    x[0, 0, 0, 0], w = torch.nan, torch.ones(B, 1, *SIZE)
    with debug_checks():
        with pytest.raises(InputError, match="1 NaN or infinite logits"):
            compute("tiled", x, t, "sigmoid", weight=w)
        w[0, 0, 0, 0] = 0
        compute("tiled", x, t, "sigmoid", weight=w)


def test_passes_are_merged_if_they_have_the_same_tensor_of_weights():
    x, t = batch("shared")
    w = torch.ones(B, 1, *SIZE)

    def merged(one, other):
        first = MaskPass(x, t, "sigmoid", frozenset({"valid"}), weight=one)
        return first.merged(MaskPass(x, t, "sigmoid", frozenset({"predicted"}), weight=other))

    assert merged(w, w).weight is w
    assert merged(w, w.clone()) is merged(w, None) is merged(None, w) is None


@pytest.mark.tools
@pytest.mark.parametrize("activation, kind", [("sigmoid", "soft"), ("softmax", "index")])
def test_weights_pass_through_compiled_graphs(activation, kind):
    """As an operator of its own beside that of passes without weights, which exported programs name."""
    x, t = batch(kind)
    w, needs = some_weights((B, 1, *SIZE)), fields(activation)

    def total(x, t, w):
        found = mask_statistics(x, t, activation=activation, needs=needs, weight=w)
        return sum(getattr(found, name).sum() for name in needs)

    compiled = torch.compile(total, backend="aot_eager", fullgraph=True)
    slopes = []
    for compute_total in (total, compiled):
        leaf = x.clone().requires_grad_()
        value = compute_total(leaf, t, w)
        value.backward()
        slopes.append((value.detach(), leaf.grad))
    torch.testing.assert_close(*slopes)
    call = (x.requires_grad_(), t, w, activation, needs, 2.0, None, 0.0, "tiled")
    assert set(torch.library.opcheck(torch.ops.lossreg.mask_sums_weighted, call).values()) == {"SUCCESS"}


def test_tensors_without_values_give_shapes():
    """Meta tensors, and fake ones with a gradient, with weights and without."""
    x, t = batch("shared")
    for w in (None, torch.ones(B, 1, *SIZE)):
        meta = None if w is None else w.to("meta")
        found = mask_statistics(x.to("meta"), t.to("meta"), activation="sigmoid", needs=["product"], weight=meta)
        assert found.product.shape == (B, C)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            fake = mode.from_tensor(x).requires_grad_()
            found = mask_statistics(fake, mode.from_tensor(t), activation="sigmoid", needs=["product"], weight=w)
            (slope,) = torch.autograd.grad(found.product.sum(), fake)
        assert slope.shape == x.shape


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64], ids=str)
@pytest.mark.parametrize("activation, kind", [("sigmoid", "shared"), ("softmax", "index")])
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_unsigned_targets_are_as_others(name, activation, kind, dtype):
    """Also with an ignored value and weights; Triton's kernels leave them to the reference."""
    skip_unless_it_runs(name)
    if name == "triton":
        pytest.skip("it supports targets in bool, uint8, signed integers and floats")
    x, t = batch(kind)
    t[..., :2, :] = 255
    for options in ({}, {"weight": some_weights((B, 1, *SIZE))}):
        found = compute(name, x, t.to(dtype), activation, ignore_index=255, **options)
        known = compute(name, x, t.long(), activation, ignore_index=255, **options)
        torch.testing.assert_close(found, known, rtol=1e-6, atol=1e-6)  # vectors of another width round otherwise


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("kind", ["hard", "soft", "index"])
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("low", [float("-inf"), torch.finfo(torch.float32).min])
def test_a_logit_of_minus_infinity_excludes_a_class(name, kind, gamma, low):
    """Its cross-entropy and focal sums are 0, and those of the other classes are as if there were two."""
    skip_unless_it_runs(name)
    if name == "numba" and gamma != 2:
        pytest.skip("a kernel for each gamma takes seconds to compile, and the formula is the same")
    torch.manual_seed(0)
    x, index = torch.randn(B, 2, 9), torch.randint(0, 2, (B, 9))
    t = index if kind == "index" else one_hot(index, 2).movedim(-1, 1)
    t = t.float() if kind == "soft" else t
    needs = ["cross_entropy_positive", "focal_positive", "intersection", "predicted"]
    wanted = compute("reference", x.double(), t.double() if kind == "soft" else t, "softmax", needs, gamma=gamma)
    wide = torch.cat([x, torch.full((B, 1, 9), low)], 1)
    if kind != "index":
        t = torch.cat([t, torch.zeros_like(t[:, :1])], 1)
    leaf = wide.requires_grad_()
    with implementation(name):
        found = mask_statistics(leaf, t, activation="softmax", needs=needs, gamma=gamma)
    sums = torch.stack([getattr(found, field) for field in needs])
    torch.testing.assert_close(sums[..., :2].double(), wanted[0], rtol=1e-5, atol=1e-5)
    assert sums[..., 2].abs().max() < 1e-30
    factors = torch.linspace(0.1, 1, wanted[0].numel()).view_as(wanted[0])
    (slope,) = torch.autograd.grad((sums[..., :2] * factors).sum(), leaf)
    torch.testing.assert_close(slope[:, :2].double(), wanted[1], rtol=1e-4, atol=1e-6)
    assert slope[:, 2].abs().max() < 1e-30
