"""A weight for each pixel: `loss(input, target, weight=w)`."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

import lossreg

from .cases import NAMES, fits, own, tasks_of

WEIGHTED = ("topk", "ohem_cross_entropy", "wasserstein_dice", "boundary", "hausdorff_dt")
UNWEIGHTED = ("lovasz_hinge", "lovasz_softmax", "hausdorff_er", "cldice")
CASES = [pytest.param(name, task, id=f"{name}-{task}") for name in (*NAMES, *WEIGHTED) for task in tasks_of(name)]
each_case = pytest.mark.parametrize("name, task", CASES)
pytestmark = pytest.mark.usefixtures("on_reference")


def build(name, task, **params):
    return lossreg.build({"name": name, "params": {"task": task, **own(name, task), **params}})


def tensors(task, size=(4, 5), batch=2):
    """Return logits, target, and weights: a third is 0, the others are from 0.25 to 2."""
    generator = torch.Generator().manual_seed(0)
    channels = 1 if task == "binary" else 3
    x = torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64)
    if task == "multiclass":
        t = torch.randint(3, (batch, *size), generator=generator)
    else:
        t = torch.randint(2, x.shape, generator=generator)
    w = 0.25 + 1.75 * torch.rand(batch, 1, *size, generator=generator, dtype=torch.float64)
    return x, t, w * (torch.rand(w.shape, generator=generator) > 1 / 3)


def gradient(loss, x, t, w):
    leaf = x.clone().requires_grad_()
    value = loss(leaf, t, weight=w)
    value.backward()
    return value.detach(), leaf.grad


@each_case
def test_pixels_of_weight_zero_are_ignored(name, task):
    """Weights 0 and 1 are ignore_index: the same value and gradient, also where the logit is NaN."""
    x, t, w = tensors(task)
    kept = w > 0
    marked = t.masked_fill(~(kept.squeeze(1) if task == "multiclass" else kept), 255)
    expected = gradient(build(name, task, ignore_index=255), x, marked, None)
    value, grad = gradient(build(name, task), torch.where(kept, x, torch.nan), t, kept.double())
    torch.testing.assert_close((value, grad), expected)
    assert (grad[(~kept).expand(grad.shape)] == 0).all()


@each_case
def test_a_weight_of_one_everywhere_changes_nothing(name, task):
    x, t, w = tensors(task)
    loss = build(name, task)
    torch.testing.assert_close(gradient(loss, x, t, torch.ones_like(w)), gradient(loss, x, t, None))


@pytest.mark.parametrize("name, task", [case for case in CASES if case.values[0] not in ("boundary", "hausdorff_dt")])
def test_a_pixel_of_weight_two_counts_as_two_pixels(name, task):
    """A row of weights 0, 1, 2 equals the row with pixels left out, kept and repeated."""
    x, t, _ = tensors(task, size=(12,))
    times = torch.tensor([0, 1, 2] * 4)
    every = {"topk": {"k": 1.0}, "ohem_cross_entropy": {"min_share": 1.0}}.get(name, {})
    loss = build(name, task, **every)
    repeated = loss(x.repeat_interleave(times, -1), t.repeat_interleave(times, -1))
    torch.testing.assert_close(loss(x, t, weight=times.double().expand(2, 1, 12)), repeated)


@pytest.mark.parametrize("name, task", [case for case in CASES if case.values[0] not in WEIGHTED[2:]])
def test_a_mean_over_weights_has_no_unit(name, task):
    """Weights that add up to 0.01 give the loss of weights a thousand times as large, if `smooth` is 0."""
    x, t, w = tensors(task)
    smooth = {"smooth": 0.0} if "smooth" in own(name, task) else {}
    loss = build(name, task, **smooth)
    torch.testing.assert_close(gradient(loss, x, t, w / 1000), gradient(loss, x, t, w))


@pytest.mark.parametrize("over, whole", [("weights", lambda w: w.sum()), ("pixels", lambda w: (w > 0).sum())])
def test_binary_cross_entropy_is_that_of_torch(over, whole):
    """torch divides by the number of pixels; with weights above 0 that is mean_over pixels."""
    x, t, w = tensors("multilabel")
    w = w + 0.1
    found = build("bce", "multilabel", pos_weight=None, mean_over=over, batch=True)(x, t, weight=w)
    summed = binary_cross_entropy_with_logits(x, t.double(), weight=w, reduction="none").sum()
    torch.testing.assert_close(found, summed / whole(w.expand(x.shape)))
    if over == "pixels":
        torch.testing.assert_close(found, binary_cross_entropy_with_logits(x, t.double(), weight=w))


@pytest.mark.parametrize("over", ["weights", "pixels"])
@pytest.mark.parametrize("class_weight", [None, [0.5, 2.0, 1.0]])
def test_cross_entropy_is_that_of_torch_times_the_weights(over, class_weight):
    """Weights of classes and pixels multiply; mmseg divides by the number of pixels, nnU-Net's mask by the weights."""
    x, t, w = tensors("multiclass")
    factors = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float64)
    options = {"label_smoothing": 0.0, "class_weight": class_weight, "mean_over": over}
    loss = build("cross_entropy", "multiclass", batch=True, **options)
    pixels = cross_entropy(x, t, weight=factors, reduction="none") * w[:, 0]
    divisor = (w > 0).sum() if over == "pixels" else (w[:, 0] * (1 if factors is None else factors[t])).sum()
    torch.testing.assert_close(loss(x, t, weight=w), pixels.sum() / divisor)


@pytest.mark.parametrize("name", ["topk", "ohem_cross_entropy"])
@pytest.mark.parametrize("over", ["weights", "pixels"])
def test_the_hardest_pixels_are_chosen_without_weights(name, over):
    """The hardest half of four pixels, of weights 3 and 0.5."""
    x = torch.tensor([[[2.0, -1.0, -3.0, 1.0]]], dtype=torch.float64)
    t, w = torch.ones(1, 1, 4), torch.tensor([[[1.0, 3.0, 0.5, 1.0]]])
    half = {"k": 0.5} if name == "topk" else {"threshold": 1e-9, "min_share": 0.5}
    first, second = torch.log1p(torch.exp(-x[0, 0, 1:3])).tolist()
    expected = (3 * first + 0.5 * second) / (3.5 if over == "weights" else 2)
    assert build(name, "binary", mean_over=over, **half)(x, t, weight=w).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", UNWEIGHTED)
def test_a_loss_without_weights_says_why(name):
    """A loss that ranks or moves pixels has no weights, and a weight is never left out in silence."""
    task = tasks_of(name)[0]
    x, t, w = tensors(task)
    message = rf"^{name} has no option weight=; weight= has no meaning there, because it"
    with pytest.raises(lossreg.InputError, match=message):
        build(name, task)(x, t, weight=w)
    inside = lossreg.build({"name": "power", "params": {"loss": name}})
    with pytest.raises(
        lossreg.InputError, match=rf"no loss inside power .*; weight= has no meaning for {name}, because"
    ):
        inside(x, t, weight=w)


@pytest.mark.parametrize("name", UNWEIGHTED)
def test_no_weight_may_be_given_to_every_loss(name):
    """A training loop gives weight=None to any loss, alone and inside others; an unknown name stays an error."""
    task = tasks_of(name)[0]
    x, t, _ = tensors(task)
    alone, inner = build(name, task), {"name": name, "params": {"task": task}}
    terms = [inner, {"name": "dice", "params": {"task": task}}]
    power, of_one, of_two = (
        lossreg.build({"name": outer, "params": params})
        for outer, params in (
            ("power", {"loss": inner}),
            ("weighted_sum", {"terms": [inner]}),
            ("weighted_sum", {"terms": terms}),
        )
    )
    for loss in (alone, power, of_one, of_two):
        assert torch.equal(loss(x, t, weight=None), loss(x, t))
        assert torch.equal(loss.evaluate(x, t, weight=None).total, loss(x, t))
        assert torch.equal(loss.per_example(x, t, weight=None), loss.per_example(x, t))
    with pytest.raises(lossreg.InputError, match=f"{name} has no option wieght=; its options: none"):
        alone(x, t, wieght=None)


@each_case
def test_evaluate_has_the_weighted_values(name, task):
    """Total, components and values per example are those of the weighted loss."""
    if not fits(name, task, {}):
        pytest.fail("every case has a meaning")
    x, t, w = tensors(task)
    loss = build(name, task)
    output = loss.evaluate(x, t, weight=w)
    torch.testing.assert_close(output.total, loss(x, t, weight=w))
    torch.testing.assert_close(output.per_example, loss.per_example(x, t, weight=w))
    alone = torch.stack([loss(x[i : i + 1], t[i : i + 1], weight=w[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(output.per_example, alone)


@each_case
def test_a_weight_of_none_is_no_weight(name, task):
    x, t, _ = tensors(task)
    loss = build(name, task)
    assert loss(x, t, weight=None).equal(loss(x, t))
