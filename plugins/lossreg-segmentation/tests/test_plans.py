"""A plan is found again only for what it was made for, and behaves as the terms do in torch's graph."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest
import torch

import lossreg
from lossreg_segmentation import MaskLoss, PixelMean
from lossreg_segmentation.overlap import Dice
from lossreg_segmentation.ratios import dice_loss
from lossreg_segmentation.statistics import implementation

from .cases import build, hard_target, logits, value_and_gradient

pytestmark = pytest.mark.usefixtures("compiled")


def scalar(loss, x, t):
    return loss(x, t).item()


def by_terms(loss, x, t):
    """Return the value without a plan."""
    return loss._by_terms("mean", (x, t), {}).item()


def pair(task="binary", dtype=torch.float32):
    return logits(task, dtype=dtype), hard_target(task)


CHANGES = {
    "smooth": ("dice", {}, lambda loss: setattr(loss, "smooth", 9.0)),
    "alpha": ("focal", {}, lambda loss: setattr(loss, "alpha", 0.9)),
    "gamma": ("focal", {}, lambda loss: setattr(loss, "gamma", 0.5)),
    "batch": ("dice", {}, lambda loss: setattr(loss, "batch", True)),
    "reduction": ("dice", {}, lambda loss: setattr(loss, "reduction", "sum")),
    "weight": ("bce_dice_focal", {}, lambda loss: setattr(loss, "dice_weight", 7.0)),
    "absent": ("dice", {}, lambda loss: setattr(loss, "absent", "zero")),
    "numbers in place": ("bce", {"pos_weight": 2.0}, lambda loss: loss.pos_weight.mul_(3)),
    "other numbers": ("bce", {"pos_weight": 2.0}, lambda loss: setattr(loss, "pos_weight", torch.tensor(6.0))),
    "numbers set again": ("bce", {"pos_weight": 2.0}, lambda loss: loss.class_values("pos_weight", 6.0)),
    "numbers where none were": ("bce", {}, lambda loss: loss.class_values("pos_weight", 6.0)),
    "the formula of the object": ("dice", {}, lambda loss: setattr(loss, "formula", doubled(loss))),
}


def doubled(loss):
    """Return a formula with twice the weight."""
    usual = loss.formula
    return lambda *given: {name: lossreg.Term(2 * term.values) for name, term in usual(*given).items()}


@pytest.mark.parametrize("name, params, change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_the_loss_is_a_change_of_the_value(name, params, change):
    """At once, though the tensors have the same shapes and types; as by the terms."""
    x, t = pair()
    t[0] = 0
    loss = build(name, **params)
    before = scalar(loss, x, t)
    change(loss)
    after = scalar(loss, x, t)
    expected = loss._by_terms(loss.reduction, (x, t), {}).item()
    assert after == pytest.approx(expected, rel=1e-6)
    assert abs(after - before) > 1e-4


def test_a_change_of_a_part_is_a_change_of_the_sum():
    """A weight in the list of weights, an attribute of a part, and another part."""
    x, t = pair()
    terms = [{"name": "dice", "weight": 1.0}, {"name": "bce", "weight": 1.0}]
    loss = lossreg.build({"name": "weighted_sum", "params": {"terms": terms}})
    values = [scalar(loss, x, t)]
    loss.weights[0] = 3.0
    values.append(scalar(loss, x, t))
    loss.parts[0].smooth = 50.0
    values.append(scalar(loss, x, t))
    loss.parts[1] = build("focal")
    values.append(scalar(loss, x, t))
    assert len(set(values)) == 4
    assert values[-1] == pytest.approx(by_terms(loss, x, t), rel=1e-6)


def test_tensors_of_another_kind_have_their_own_plan():
    """Shape, type and layout of logits and target; float64 logits give a float64 loss."""
    loss = build("dice", task="multilabel")
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for size in ((3, 5), (5, 3), (4, 4, 2)):
            for kind in (torch.uint8, torch.bool, torch.int64, torch.float32, torch.float16):
                x, t = logits("multilabel", size=size, dtype=dtype), hard_target("multilabel", size=size).to(kind)
                for layout in (x, x.movedim(1, -1).contiguous().movedim(-1, 1), torch.stack([x, x], -1)[..., 0]):
                    value = loss(layout, t)
                    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
                    assert value.item() == pytest.approx(by_terms(loss, layout, t), rel=1e-6)


def test_the_same_numbers_of_pixels_are_not_the_same_pixels():
    """A target (N, 1, H, W) of one mask, and (N, H, W) without the channel, are both read right after each other."""
    x, t = pair()
    loss = build("dice")
    assert scalar(loss, x, t) == scalar(loss, x, t[:, 0]) == scalar(loss, x, t)
    with pytest.raises(lossreg.ShapeError):
        loss(x, t.movedim(-1, -2))
    with pytest.raises(lossreg.ShapeError):
        loss(x, t[:2])


def test_each_choice_of_an_implementation_is_kept():
    """Also where the plan of another is there already."""
    x, t = pair()
    loss = build("dice")
    loss(x, t)
    with implementation("reference"):
        assert loss.plan(x, t) is None
    with implementation("tiled"):
        assert loss.plan(x, t).kind.implementation == "tiled"


def test_debug_checks_are_made_by_a_plan_that_is_there_already():
    x, t = pair()
    loss = build("dice")
    loss(x, t)
    with lossreg.debug_checks(), pytest.raises(lossreg.InputError, match="NaN or infinite logits"):
        loss(x * torch.nan, t)


@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
def test_a_copy_follows_its_own_options(made):
    """Its original keeps its own, though one of them has computed before the other."""
    x, t = pair()
    loss = build("dice")
    before = scalar(loss, x, t)
    other = made(loss)
    other.smooth = 20.0
    after = scalar(other, x, t)
    assert after != before
    assert scalar(loss, x, t) == before
    assert scalar(other, x, t) == after


def test_an_attribute_that_is_deleted_is_missed():
    """As by the terms, in place of the value of the plan."""
    x, t = pair()
    loss = build("dice")
    loss(x, t)
    del loss.smooth
    with pytest.raises(AttributeError, match="smooth"):
        loss(x, t)


@pytest.mark.parametrize("way", ["ignore_index", "weight"])
def test_ignored_masks_are_no_part_of_the_mean(way):
    """Of three masks of an example, two count: the loss is their mean, and that of an example without any is 0."""
    x, t = logits("multilabel", dtype=torch.float32)[:2].requires_grad_(), hard_target("multilabel")[:2]
    ignored = torch.zeros_like(t, dtype=torch.bool)
    ignored[0, 1] = ignored[1] = True
    if way == "weight":
        loss, inputs, options = build("dice", "multilabel"), (x, t), {"weight": ~ignored}
    else:
        loss, inputs, options = build("dice", "multilabel", ignore_index=255), (x, t.masked_fill(ignored, 255)), {}
    assert loss.plan(*inputs, **options) is not None
    value = loss(*inputs, **options)
    (gradient,) = torch.autograd.grad(value, x)
    alone = x[:1, [0, 2]].detach().requires_grad_()
    expected = build("dice", "multilabel")(alone, t[:1, [0, 2]]) / 2
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient[:1, [0, 2]], torch.autograd.grad(expected, alone)[0])
    assert not gradient[ignored].any()


def test_train_and_eval_keep_the_plans():
    """Trainers call them in every step. A formula may depend on the mode."""
    x, t = pair()
    loss = build("dice")
    plan = loss.plan(x, t)
    other = loss.eval().plan(x, t)
    assert loss.train().plan(x, t) is plan
    assert loss.eval().plan(x, t) is other


def test_ever_new_sizes_do_not_fill_the_memory():
    loss = build("dice")
    for size in range(1, 200):
        loss(torch.zeros(1, 1, size), torch.ones(1, 1, size))
    assert len(loss._plans) <= 64


class Halved(Dice):
    """Dice with a formula of its own."""

    def formula(self, statistics, task):
        return {"halved": lossreg.Term(super().formula(statistics, task)["dice"].values / 2)}


class Shifted(Dice):
    """Dice with terms of its own."""

    def terms_from(self, results, input, target):
        terms = super().terms_from(results, input, target)
        return {"dice": lossreg.Term(terms["dice"].values + 1)}


class Scaled(Dice):
    """Dice of other logits, with formulas of its own."""

    def passes(self, input, target):
        return super().passes(input / 2, target)

    def formulas(self, task, classes):
        return super().formulas(task, classes)


class Modal(Dice):
    """Dice with another smoothing in validation."""

    def formulas(self, task, classes):
        return {"dice": dice_loss(1.0 if self.training else 30.0)}


class Learned(Dice):
    """Dice with a smoothing that learns."""

    def __init__(self):
        super().__init__()
        self.learned = torch.nn.Parameter(torch.tensor(2.0))

    def formulas(self, task, classes):
        return {"dice": dice_loss(self.learned)}


class Renamed(Dice):
    """Dice under another name."""


@pytest.mark.parametrize(
    "kind, expected", [(Halved, lambda v: v / 2), (Shifted, lambda v: v + 1), (Renamed, lambda v: v)]
)
def test_what_a_subclass_changes_is_not_passed_over(kind, expected):
    """A formula or terms of its own; a subclass that changes neither keeps the plan."""
    x, t = pair()
    assert scalar(kind(), x, t) == pytest.approx(expected(scalar(Dice(), x, t)), rel=1e-6)
    assert (kind().plan(x, t) is None) == (kind is not Renamed)


class Weighed(MaskLoss):
    """Cross-entropy of masks with a factor of its own, which no buffer holds."""

    needs = frozenset({"valid", "cross_entropy_positive", "cross_entropy_negative"})

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def formulas(self, task, classes):
        return {"weighed": PixelMean({"cross_entropy_positive": self.factor, "cross_entropy_negative": 1.0})}


def test_a_factor_that_learns_has_a_gradient():
    """Then the terms compute. A tensor that does not learn is followed where it is changed in place."""
    x, t = pair()
    fixed = Weighed(torch.tensor(2.0))
    before = scalar(fixed, x, t)
    fixed.factor.mul_(3)
    assert scalar(fixed, x, t) == pytest.approx(by_terms(fixed, x, t), rel=1e-6)
    assert scalar(fixed, x, t) > before
    learning = Weighed(torch.nn.Parameter(torch.tensor(2.0)))
    learning(x, t).backward()
    assert learning.factor.grad > 0


def test_steps_changed_beside_formulas_are_kept():
    """Also in the class that states formulas."""
    x, t = pair()
    assert scalar(Scaled(), x, t) == pytest.approx(by_terms(Scaled(), x, t), rel=1e-6)
    assert scalar(Scaled(), x, t) != scalar(Dice(), x, t)


def test_formulas_may_depend_on_the_mode():
    x, t = pair()
    loss = Modal()
    values = scalar(loss, x, t), scalar(loss.eval(), x, t), scalar(loss.train(), x, t)
    assert values[0] == values[2] != values[1]


def test_a_smoothing_that_learns_has_a_gradient():
    x, t = pair()
    loss = Learned()
    loss(x, t).backward()
    assert loss.learned.grad != 0


def test_a_weight_that_begins_to_learn_has_a_gradient():
    """The plan made before is given up."""
    x, t = pair("multilabel")
    loss = build("dice", task="multilabel", class_weight=[1.0, 2.0, 3.0])
    loss(x, t)
    loss.class_weight.requires_grad_()
    loss(x, t).backward()
    assert loss.class_weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "name, task, params",
    [
        ("bce", "binary", {"pos_weight": [3.0]}),
        ("bce", "binary", {"pos_weight": 2.0}),
        ("cross_entropy", "multiclass", {"class_weight": [1.0, 2.0, 0.0]}),
        ("focal", "multiclass", {"alpha": [1.0, 2.0, 3.0]}),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_of_any_size_and_type(name, task, params, dtype):
    """A list of one number, and a loss that was moved to bfloat16 with its model."""
    x, t = pair(task)
    loss = build(name, task=task, **params).to(dtype)
    assert scalar(loss, x, t) == pytest.approx(by_terms(loss, x, t), rel=1e-6)


@pytest.mark.parametrize("shape", [(4, 1, 3, 5), (4, 3, 5)])
def test_a_mask_of_255_is_told_as_a_mask(shape):
    """With or without the channel: its message differs from that of class indices."""
    x, _ = pair()
    with pytest.raises(
        lossreg.InputError, match="target contains 255, masks must have values from 0 to 1; divide by 255"
    ):
        build("dice")(x, torch.full(shape, 255, dtype=torch.uint8))


def test_logits_without_dimensions():
    with pytest.raises(lossreg.ShapeError, match="add the missing dimensions"):
        build("dice")(torch.tensor(1.0), torch.tensor(1.0))


def test_an_infinite_gradient_is_no_warning():
    """A GradScaler meets one, and skips the step."""
    x, t = pair("multiclass")
    leaf = x.clone().requires_grad_()
    loss = build("cross_entropy", task="multiclass")
    assert not torch.autograd.grad(loss(leaf, t) * torch.inf, leaf)[0].isfinite().all()


def test_a_component_that_is_kept_holds_no_values_of_examples():
    """Histories of components would grow by the batch."""
    x, t = torch.zeros(1000, 1, 2), torch.ones(1000, 1, 2)
    component = build("dice").evaluate(x, t).components["dice"]
    assert component.untyped_storage().nbytes() < 100


def test_inputs_by_name():
    x, t = pair()
    loss = build("dice")
    assert loss(input=x, target=t) == loss(x, target=t) == loss(x, t)
    with pytest.raises(lossreg.InputError, match="dice has no option mask=; its options: weight"):
        loss(x, t, mask=t)
    with pytest.raises(lossreg.InputError, match="dice got input twice"):
        loss(x, t, input=x)


def test_a_gradient_can_be_differentiated_in_plain_torch():
    """create_graph=True: the first gradient is that of the kernels; the second needs the reference."""
    x, t = pair(dtype=torch.float64)
    loss = build("bce_dice_focal")
    _, expected = value_and_gradient(loss, x, t)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf, t), leaf, create_graph=True)
    torch.testing.assert_close(gradient, expected)
    with pytest.raises(lossreg.ImplementationError, match="second derivative"):
        torch.autograd.grad(gradient.square().sum(), leaf)
    with implementation("reference"):
        (gradient,) = torch.autograd.grad(loss(leaf, t), leaf, create_graph=True)
        assert torch.autograd.grad(gradient.square().sum(), leaf)[0].abs().sum() > 0


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_the_total_of_evaluate_can_be_differentiated_again(reduction):
    """Under reduction="none" the total of evaluate is a mean, in its gradient as well."""
    x, t = pair(dtype=torch.float64)
    loss = build("dice", reduction=reduction)
    leaf = x.clone().requires_grad_()
    (once,) = torch.autograd.grad(loss.evaluate(leaf, t).total, leaf)
    (again,) = torch.autograd.grad(loss.evaluate(leaf, t).total, leaf, create_graph=True)
    torch.testing.assert_close(again, once)


def test_gradients_in_batches():
    """is_grads_batched=True gives each row the gradient of one incoming gradient."""
    x, t = pair(dtype=torch.float64)
    loss = build("dice", reduction="none")
    leaf = x.clone().requires_grad_()
    (rows,) = torch.autograd.grad(loss(leaf, t), leaf, torch.eye(4, dtype=torch.float64), is_grads_batched=True)
    for number in range(4):
        (one,) = torch.autograd.grad(loss(leaf, t)[number], leaf)
        torch.testing.assert_close(rows[number], one)


def test_backward_twice():
    """With retain_graph=True the gradients add up; without it, torch's own error comes."""
    x, t = pair()
    _, expected = value_and_gradient(build("dice"), x, t)
    leaf = x.clone().requires_grad_()
    value = build("dice")(leaf, t)
    value.backward(retain_graph=True)
    value.backward()
    torch.testing.assert_close(leaf.grad, 2 * expected)
    with pytest.raises(RuntimeError, match="second time"):
        value.backward()


@pytest.mark.parametrize("changed", ["input", "target"])
def test_tensors_that_are_changed_before_backward_are_noticed(changed):
    x, t = pair()
    leaf = x.clone().requires_grad_()
    scaled = leaf * 1
    value = build("dice")(scaled, t)
    with torch.no_grad():
        (scaled if changed == "input" else t).zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


def test_what_is_saved_goes_through_torchs_hooks():
    """Logits and target alone, so that offloading and checkpointing reach them."""
    x, t = pair()
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        value = build("bce_dice_focal")(x.requires_grad_(), t)
    assert [tensor.data_ptr() for tensor in saved] == [x.data_ptr(), t.data_ptr()]
    value.backward()


def test_torch_may_move_what_is_saved():
    """Offloaded logits are freed until backward."""
    x, t = pair()
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor.tolist(), torch.tensor)
    logit = x.clone().requires_grad_() * 1
    with hooks:
        value = build("dice")(logit, t)
    alive = weakref.ref(logit)
    del logit
    assert alive() is None
    value.backward()


def test_a_step_is_freed_at_once():
    """Without the garbage collector: logits in a reference cycle would wait for it, a batch of memory each."""
    x, t = pair()
    gc.collect()
    gc.disable()
    try:
        logit = x.clone().requires_grad_() * 1
        value = build("dice")(logit, t)
        alive = weakref.ref(logit)
        value.backward()
        del logit, value
        assert alive() is None
    finally:
        gc.enable()


def test_the_gradient_is_scaled_like_any_other():
    """By a GradScaler's factor, by weights per example, and by zero."""
    x, t = pair()
    _, expected = value_and_gradient(build("dice"), x, t)
    for factor in (65536.0, 0.0, -1.0):
        _, scaled = value_and_gradient(lambda *inputs, f=factor: build("dice")(*inputs) * f, x, t)
        torch.testing.assert_close(scaled, expected * factor)
    weights = torch.tensor([0.0, 1.0, 2.0, 3.0])
    each = build("dice", reduction="none")
    _, weighted = value_and_gradient(lambda *inputs: (each(*inputs) * weights).sum(), x, t)
    torch.testing.assert_close(weighted, expected * 4 * weights.view(4, 1, 1, 1))


def test_validation_builds_no_graph():
    x, t = pair()
    with torch.no_grad():
        assert not build("dice")(x.requires_grad_(), t).requires_grad
    with torch.inference_mode():
        assert build("dice")(x, t).is_inference()


def test_losses_with_a_plan():
    """These losses, over plain tensors, are one function; focal_tversky is a power of a ratio."""
    x, t = pair()
    planned = {name for name in NAMES if build(name).plan(x, t) is not None}
    assert planned == {*NAMES} - {"focal_tversky", "log_cosh_dice", "generalized_dice", "mcc"}


NAMES = ("dice", "jaccard", "tversky", "squared_dice", "bce", "focal", "cross_entropy", "poly1", "bce_dice_focal")
NAMES += ("focal_tversky", "log_cosh_dice", "generalized_dice", "mcc")
