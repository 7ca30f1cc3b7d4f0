"""Weights of pixels in sums, over ranks and batches, with absent classes, compiled and in half precision."""

import pytest
import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy

import lossreg
from lossreg_segmentation import mask_pass
from lossreg_segmentation.statistics import implementation

from .test_weight import build, gradient, tensors


def counted_passes(monkeypatch):
    """Count the passes over the pixels from here on."""
    calls, original = [], mask_pass.mask_statistics
    monkeypatch.setattr(mask_pass, "mask_statistics", lambda *a, **b: calls.append(1) or original(*a, **b))
    return calls


def sum_of(*names):
    terms = [{"name": name, "params": {"task": "multilabel"}} for name in names]
    return lossreg.build({"name": "weighted_sum", "params": {"terms": terms}})


def test_the_terms_of_a_sum_share_one_weighted_pass(monkeypatch):
    """The same weights are read once for all terms, and each term is that of the loss alone."""
    x, t, w = tensors("multilabel")
    names = ("dice", "bce", "focal")
    alone = [lossreg.build({"name": n, "params": {"task": "multilabel"}}).evaluate(x, t, weight=w) for n in names]
    calls = counted_passes(monkeypatch)
    with implementation("reference"):  # others compute the sum as one function
        output = sum_of(*names).evaluate(x, t, weight=w)
    assert len(calls) == 1
    torch.testing.assert_close(output.total, sum(each.total for each in alone))
    for name, each in zip(names, alone, strict=True):
        torch.testing.assert_close(output.components[name], each.total)
        torch.testing.assert_close(output.per_example_components[name], each.per_example)


def test_a_sum_weighs_its_terms_or_names_the_one_that_cannot():
    """A term that ranks pixels stays unweighted only where its config has the word; weight=None is no weight."""
    x, t, w = tensors("multiclass")
    terms = [{"name": name} for name in ("cross_entropy", "topk", "lovasz_softmax")]
    loss = lossreg.build({"name": "weighted_sum", "params": {"terms": terms}})
    assert loss(x, t, weight=None).equal(loss(x, t))
    with pytest.raises(lossreg.InputError, match="lovasz_softmax inside weighted_sum has no weight="):
        loss(x, t, weight=w)
    terms[2]["unweighted"] = True
    found = lossreg.build({"name": "weighted_sum", "params": {"terms": terms}}).evaluate(x, t, weight=w).components
    assert found["topk"].equal(lossreg.build("topk")(x, t, weight=w))
    assert found["lovasz_softmax"].equal(lossreg.build("lovasz_softmax")(x, t))


def test_other_weights_are_another_pass():
    """Passes of two weights are not merged, nor a weighted one with one that is not."""
    x, t, w = tensors("multilabel")
    loss = build("dice", "multilabel")
    (one,), (same,), (copy,), (plain,) = (loss.passes(x, t, weight=each) for each in (w, w, w.clone(), None))
    assert one.merged(same) is not None
    assert one.merged(copy) is None
    assert one.merged(plain) is None
    assert plain.merged(one) is None


@pytest.mark.parametrize(
    "name, task",
    [
        ("cross_entropy", "multiclass"),
        ("bce", "multilabel"),
        ("topk", "multiclass"),
        ("wasserstein_dice", "multiclass"),
    ],
)
def test_a_batch_is_one_large_image(name, task):
    """An image of little weight counts little, where each image of a mean over examples counts the same."""
    x, t, w = tensors(task)
    w[1] /= 100
    large = [each.transpose(0, 1).flatten(1, 2).unsqueeze(0) for each in (x, w)]
    target = t.flatten(0, 1).unsqueeze(0) if task == "multiclass" else t.transpose(0, 1).flatten(1, 2).unsqueeze(0)
    whole = build(name, task, batch=True)(x, t, weight=w)
    torch.testing.assert_close(whole, build(name, task)(large[0], target, weight=large[1]))
    assert abs(whole - build(name, task)(x, t, weight=w)) > 1e-4


def on_ranks(loss, shares, monkeypatch, x, t, w):
    """Return the loss of each rank and the gradients to its inputs, without processes: each adds the others' sums."""
    parts = list(zip(*(each.split(shares) for each in (x, t, w)), strict=True))
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: len(shares))
    own = []
    monkeypatch.setattr(dist, "all_reduce", lambda summed: own.append(summed.detach().clone()))
    for one, two, three in parts:
        loss(one, two, weight=three)
    whole = sum(own)
    monkeypatch.setattr(dist, "all_reduce", lambda summed: summed.copy_(whole))
    return [gradient(loss, *part) for part in parts]


@pytest.mark.parametrize("shares", [(1, 1), (3, 1), (4, 0), (0, 0)], ids=str)
@pytest.mark.parametrize(
    "name, task, batch",
    [
        ("cross_entropy", "multiclass", True),
        ("bce_dice_focal", "multilabel", True),
        ("bce_dice_focal", "multilabel", False),
        ("topk", "binary", False),
        ("boundary", "binary", False),
        ("wasserstein_dice", "multiclass", False),
    ],
)
def test_ranks_with_weights_train_as_one_process_does(name, task, shares, batch, monkeypatch):
    """Uneven and empty batches included: weights are in the sums, which the ranks add."""
    x, t, w = tensors(task, batch=sum(shares))
    options = {"batch": True} if batch else {}
    loss = build(name, task, distributed="global", **options)
    expected = gradient(loss, x, t, w) if sum(shares) else (torch.zeros((), dtype=x.dtype), x)
    found = on_ranks(loss, shares, monkeypatch, x, t, w)
    torch.testing.assert_close(sum(value for value, _ in found) / len(shares), expected[0])
    torch.testing.assert_close(torch.cat([grad for _, grad in found]) / len(shares), expected[1])


@pytest.mark.parametrize(
    "absent, expected", [("ignore", "of one mask"), ("zero", 0.0), ("false_positives", "mean of p")]
)
def test_a_mask_whose_pixels_weigh_nothing_is_absent(absent, expected):
    """Policies for absent classes see the weighted volume; a mean of p is one over weights."""
    x, t, w = tensors("binary")
    t[0], t[0, 0, 0, 0], w[0, 0, 0, 0] = 0, 1, 0.0
    loss = lossreg.build({"name": "dice", "params": {"absent": absent, "reduction": "none"}})
    value = loss(x, t, weight=w)[0]
    mean_of_p = (x.sigmoid() * w)[0].sum() / w[0].sum()
    wanted = {"of one mask": torch.zeros_like(value), "mean of p": mean_of_p}.get(expected, torch.zeros_like(value))
    torch.testing.assert_close(value, wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["dice", "bce", "topk", "boundary"])
def test_half_precision_is_that_of_the_same_numbers(name, dtype):
    """Logits and weights in half precision are read as they are and summed in float32."""
    x, t, w = tensors("binary")
    x, w = x.to(dtype), w.to(dtype)
    loss = build(name, "binary")
    torch.testing.assert_close(
        loss(x, t, weight=w).double(), loss(x.double(), t, weight=w.double()), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", ["dice", "bce", "generalized_dice", "topk"])
def test_a_class_whose_pixels_weigh_nothing_counts_nowhere(name):
    """The loss of three masks, one of weight 0, is that of the other two."""
    x, t, w = tensors("multilabel")
    weight = w.expand(x.shape).clone()
    weight[:, 1] = 0
    loss = build(name, "multilabel")
    torch.testing.assert_close(loss(x, t, weight=weight), loss(x[:, ::2], t[:, ::2], weight=weight[:, ::2]))


def test_a_bool_weight_is_a_mask():
    x, t, w = tensors("binary")
    loss = build("dice", "binary")
    assert loss(x, t, weight=w > 0).equal(loss(x, t, weight=(w > 0).double()))


@pytest.mark.parametrize("name", ["dice", "topk"])
@pytest.mark.parametrize(
    "change, error, message",
    [
        (
            lambda w: w.long(),
            lossreg.DTypeError,
            r"weight must be floating or bool, got torch.int64; use weight.float\(\)",
        ),
        (lambda w: w[..., :-1], lossreg.ShapeError, "so weight must have shape"),
        (lambda w: w[0, 0, 0, 0], lossreg.ShapeError, "so weight must have shape"),
        (lambda w: w.expand(-1, 3, -1, -1), lossreg.ShapeError, "classes of a pixel have one weight.*class_weight"),
        (lambda w: w.requires_grad_(), lossreg.InputError, r"weight requires a gradient.*use weight.detach\(\)"),
        (lambda w: -w, lossreg.InputError, "weights must be finite and >= 0"),
        (lambda w: w / 0, lossreg.InputError, "weights must be finite and >= 0"),
        (lambda w: w.numpy(), lossreg.DTypeError, "weight must be a tensor, got ndarray"),
    ],
)
def test_a_weight_that_is_none_is_refused(name, change, error, message):
    """By the losses over sums and by those over pixels alike."""
    x, t, w = tensors("multiclass")
    with pytest.raises(error, match=message):
        build(name, "multiclass")(x, t, weight=change(w))


@pytest.mark.parametrize("name", ["dice", "topk"])
def test_a_weight_of_all_masks_needs_no_channel(name):
    """(N, *) is (N, 1, *), in the losses over sums and in those over pixels."""
    x, t, w = tensors("multilabel")
    one = w[:, :1]
    loss = build(name, "multilabel")
    assert loss(x, t, weight=one[:, 0]).equal(loss(x, t, weight=one))


def test_all_of_a_call_may_come_by_name():
    """Weights come by name alone: the third input of other losses is a distance or a predicted IoU."""
    x, t, w = tensors("multiclass")
    loss = build("cross_entropy", "multiclass")
    assert loss(x, t, weight=w).equal(loss(input=x, target=t, weight=w))
    assert loss.evaluate(x, t, weight=w).total.equal(lossreg.evaluate(loss, input=x, target=t, weight=w).total)
    message = r"cross_entropy takes input, target, got 3 inputs; call it as loss\(input, target, weight=\.\.\.\)"
    with pytest.raises(lossreg.InputError, match=message):
        loss(x, t, w)


def test_a_weight_of_none_takes_the_fast_way(monkeypatch):
    """A trainer that always passes weight= pays nothing where it has none."""
    x, t, _ = tensors("binary")
    with implementation("tiled"):
        loss = build("dice", "binary")
        expected = loss(x, t)
        calls = counted_passes(monkeypatch)
        assert loss(x, t, weight=None).equal(expected)
    assert not calls


def test_masked_losses_of_nnunet():
    """nnU-Net's loss_mask: sums over the mask for Dice of the batch, and cross-entropy by the mask's pixels."""
    x, t, w = tensors("multiclass")
    mask, p, one_hot = (w > 0).double(), x.softmax(1), torch.nn.functional.one_hot(t, 3).movedim(-1, 1).double()
    axes = (0, 2, 3)
    overlap, predicted, actual = ((each * mask).sum(axes) for each in (p * one_hot, p, one_hot))
    dice = 1 - ((2 * overlap + 1e-5) / (predicted + actual + 1e-5)).mean()
    options = {"task": "multiclass", "batch": True, "smooth": 1e-5}
    torch.testing.assert_close(lossreg.build({"name": "dice", "params": options})(x, t, weight=mask), dice)
    pixels = cross_entropy(x, t, reduction="none") * mask[:, 0]
    found = lossreg.build({"name": "cross_entropy", "params": {"batch": True}})(x, t, weight=mask)
    torch.testing.assert_close(found, pixels.sum() / mask.sum())


@pytest.mark.tools
@pytest.mark.parametrize(
    "name, task", [("bce_dice_focal", "multilabel"), ("cross_entropy", "multiclass"), ("topk", "binary")]
)
def test_a_weighted_loss_compiles_to_one_graph(name, task):
    x, t, w = tensors(task)
    loss = build(name, task)
    compiled = torch.compile(lambda *given: loss(*given[:2], weight=given[2]), backend="aot_eager", fullgraph=True)
    leaf = x.clone().requires_grad_()
    value = compiled(leaf, t, w)
    value.backward()
    torch.testing.assert_close((value.detach(), leaf.grad), gradient(loss, x, t, w))
