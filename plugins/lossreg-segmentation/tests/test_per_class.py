"""`evaluate(...).per_class`: the values of each class, which trainers log as one curve per class."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import lossreg
from lossreg_segmentation.mask_pass import MaskPass

from .cases import build, hard_target, logits, marked, soft_target, some_valid, without_class

NAN = float("nan")


def by_class(name, task, x, t, **params):
    (found,) = build(name, task, **params).evaluate(x, t).per_class.values()
    return found


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-14, equal_nan=True)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
@pytest.mark.parametrize("name", ["dice", "jaccard", "focal_tversky", "mcc", "cldice"])
def test_each_class_alone_has_its_value(name, task):
    """The loss of one class of one example."""
    x, t = logits(task, size=(8, 8)), hard_target(task, size=(8, 8))
    expected = [[build(name, task, classes=[c])(x[b : b + 1], t[b : b + 1]) for c in range(3)] for b in range(4)]
    found = by_class(name, task, x, t)
    same(found, torch.tensor(expected, dtype=torch.float64))
    assert not found.requires_grad


def test_a_class_that_does_not_count_is_nan():
    """Without pixels under "ignore", left out by name, of weight 0, and where every pixel is ignored."""
    x, t = logits("multiclass"), without_class(hard_target("multiclass"), "multiclass")
    missing = [[c not in example for c in range(3)] for example in t]
    assert by_class("dice", "multiclass", x, t, absent="ignore").isnan().tolist() == missing
    assert missing[0][0]
    assert by_class("dice", "multiclass", x, t, background=False).isnan().all(0).tolist() == [True, False, False]
    assert by_class("dice", "multiclass", x, t, class_weight=[1, 0, 2]).isnan().all(0).tolist() == [False, True, False]
    ignored = marked(hard_target("multilabel"), some_valid(), 255)
    found = by_class("dice", "multilabel", logits("multilabel"), ignored, ignore_index=255)
    assert found.isnan().all(1).tolist() == [False, False, True, False]


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("target", [hard_target, soft_target])
def test_softmax_cross_entropy_by_class_is_the_mean_over_its_pixels(target, batch):
    """Summed over the pixels of the class and divided by their number; NaN without any."""
    x, t = logits("multiclass"), target("multiclass")
    t = without_class(t, "multiclass")
    masks = torch.nn.functional.one_hot(t, 3).movedim(-1, 1).double() if t.ndim == 3 else t
    summed, pixels = (-(masks * x.log_softmax(1))).flatten(2).sum(2), masks.flatten(2).sum(2)
    if batch:
        summed, pixels = summed.sum(0, keepdim=True), pixels.sum(0, keepdim=True)
    found = by_class("cross_entropy", "multiclass", x, t, batch=batch)
    same(found, torch.where(pixels > 0, summed / pixels, NAN))
    assert found.isnan().any() == (not batch)
    without = by_class("cross_entropy", "multiclass", x, t, batch=batch, background=False)
    same(without[:, 1:], found[:, 1:])
    assert without[:, 0].isnan().all()


def test_ignored_pixels_and_weights_per_pixel_are_those_of_the_loss():
    x, t = logits("multiclass"), marked(hard_target("multiclass"), some_valid(), 255)
    weight = torch.rand(4, 1, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    loss = build("cross_entropy", "multiclass", ignore_index=255)
    each = torch.nn.functional.cross_entropy(x, t, ignore_index=255, reduction="none") * weight[:, 0]
    masks = [(t == c) for c in range(3)]
    expected = torch.stack([(each * m).flatten(1).sum(1) / (weight[:, 0] * m).flatten(1).sum(1) for m in masks], 1)
    same(loss.evaluate(x, t, weight=weight).per_class["cross_entropy"], expected)
    assert expected[2].isnan().all()


def test_a_sum_has_the_values_of_its_terms():
    """Terms of the whole batch, one row; terms without classes, none."""
    x, t = logits("multiclass"), hard_target("multiclass")
    terms = ["dice", "cross_entropy", {"name": "jaccard", "params": {"batch": True}}, "lovasz_softmax", "topk"]
    found = lossreg.evaluate(lossreg.build({"name": "weighted_sum", "params": {"terms": terms}}), x, t).per_class
    shapes = {name: tuple(values.shape) for name, values in found.items()}
    assert shapes == {"dice": (4, 3), "cross_entropy": (4, 3), "jaccard": (1, 3), "lovasz_softmax": (4, 3)}
    same(found["dice"], by_class("dice", "multiclass", x, t))
    same(found["cross_entropy"], by_class("cross_entropy", "multiclass", x, t))


@pytest.mark.parametrize("name", ["dice", "cross_entropy"])
def test_nothing_is_computed_before_it_is_read(name, monkeypatch):
    """Evaluation takes one pass; reading the values per class takes the missing ones."""
    x, t = logits("multiclass").float(), hard_target("multiclass")
    loss, passes = build(name, "multiclass"), []
    compute = MaskPass.compute
    monkeypatch.setattr(MaskPass, "compute", lambda self: passes.append(self) or compute(self))
    output = loss.evaluate(x, t)
    before = len(passes)
    assert before <= 1
    assert output.per_class is output.per_class
    assert len(passes) > before


def test_an_input_that_changed_is_refused():
    """Where the values are computed from it, by a plan."""
    x, t = logits("multiclass").float(), hard_target("multiclass")
    output = build("dice", "multiclass").evaluate(x, t)
    x.mul_(2)
    with pytest.raises(lossreg.InputError, match=r"changed in place since evaluate\(\); read per_class before it"):
        _ = output.per_class


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda output: pickle.loads(pickle.dumps(output))])
def test_a_copy_of_the_output_has_the_values(duplicate):
    x, t = logits("multiclass"), hard_target("multiclass")
    output = build("dice", "multiclass").evaluate(x, t)
    same(duplicate(output).per_class["dice"], output.per_class["dice"])


def test_the_output_of_another_module_has_none():
    output = lossreg.evaluate(torch.nn.MSELoss(), torch.ones(2, 3), torch.zeros(2, 3))
    assert output.per_class == {}


@pytest.mark.tools
@pytest.mark.parametrize("name", ["dice", "cross_entropy"])
def test_compiled(name):
    x, t = logits("multiclass"), hard_target("multiclass")
    loss = build(name, "multiclass")
    output = torch.compile(loss.evaluate, fullgraph=True, backend="eager")(x, t)
    same(output.per_class[name], loss.evaluate(x, t).per_class[name])
