"""mask_statistics: every sum against numpy, exactly the requested sums, and only the valid positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lossreg
from lossreg_segmentation.statistics import NEGATIVES, UNIFORM, MaskStatistics, implementation, mask_statistics

from .cases import arrays, hard_target, logits, soft_target
from .oracles import sigmoid, softmax

ALL = MaskStatistics._fields
SOFTMAX = tuple(name for name in ALL if name not in NEGATIVES)
SIGMOID = tuple(name for name in ALL if name not in UNIFORM)
TARGETS = {"hard": hard_target, "soft": soft_target}


def sums(x, t, valid, activation, gamma, threshold=0.0):
    """Compute every field, (B, C), from (B, C, L) float64 arrays."""
    p = sigmoid(x) if activation == "sigmoid" else softmax(x, 1)
    hit = x > threshold if activation == "sigmoid" else x == x.max(1, keepdims=True)
    if activation == "sigmoid":
        p_t = p * t + (1 - p) * (1 - t)
        loss = -t * np.log(p) - (1 - t) * np.log(1 - p)
        positive = t * (1 - p_t) ** gamma * loss
    else:
        positive = -t * (1 - p) ** gamma * np.log(p)
    elements = {
        "intersection": (p + t - np.abs(p - t)) / 2,
        "predicted": p,
        "actual": t,
        "valid": np.ones_like(p),
        "cross_entropy_positive": -t * np.log(p),
        "focal_positive": positive,
        "hard_intersection": hit & (t > 0.5),
        "hard_union": hit | (t > 0.5),
        "predicted_squared": p**2,
        "actual_squared": t**2,
        "counted": np.ones_like(p),
        "product": p * t,
    }
    if activation == "softmax":
        elements["cross_entropy_uniform"] = -np.log(p)
    else:
        elements["cross_entropy_negative"] = -(1 - t) * np.log(1 - p)
        elements["focal_negative"] = (1 - t) * (1 - p_t) ** gamma * loss
    return {name: (np.broadcast_to(e, p.shape) * valid).sum(2) for name, e in elements.items()}


@pytest.mark.parametrize("ignore", [False, True], ids=["all", "ignored"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("task, needs", [("multilabel", SIGMOID), ("multiclass", SOFTMAX)], ids=["sigmoid", "softmax"])
def test_every_field_equals_its_sum(task, needs, kind, gamma, ignore):
    """The exponent reaches the focal sums alone; ignored positions reach none."""
    activation = "softmax" if task == "multiclass" else "sigmoid"
    x, t = logits(task), TARGETS[kind](task)
    valid = torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(3)) < (0.5 if ignore else 2)
    expected = sums(*arrays(x, t), valid.flatten(1).unsqueeze(1).numpy(), activation, gamma)
    marked = t.masked_fill(~(valid if t.ndim == 3 else valid.unsqueeze(1)), -1)
    found = mask_statistics(x, marked, activation=activation, needs=needs, gamma=gamma, ignore_index=-1)
    for name in needs:
        np.testing.assert_allclose(getattr(found, name).numpy(), expected[name], rtol=1e-11, atol=0, err_msg=name)


def test_the_threshold_moves_the_hard_sums_alone():
    """A logit is compared with the threshold; 0 is p = 1/2."""
    x = torch.tensor([[[-1.0, 0.0, 0.5, 2.0]]])
    t = torch.tensor([[[0, 1, 1, 1]]])
    needs = {"hard_intersection", "hard_union", "predicted"}
    at_zero = mask_statistics(x, t, activation="sigmoid", needs=needs)
    at_one = mask_statistics(x, t, activation="sigmoid", needs=needs, threshold=1.0)
    below = mask_statistics(x, t, activation="sigmoid", needs=needs, threshold=-2.0)
    assert [s.hard_intersection.item() for s in (at_zero, at_one, below)] == [2, 1, 3]
    assert [s.hard_union.item() for s in (at_zero, at_one, below)] == [3, 3, 4]
    assert at_zero.predicted == at_one.predicted == below.predicted


@pytest.mark.parametrize("activation, names", [("sigmoid", SIGMOID), ("softmax", SOFTMAX)])
def test_needs_gives_exactly_what_was_asked(activation, names):
    """The other fields are None; a field has the same value requested alone and with all others."""
    x, t = logits("multilabel"), hard_target("multilabel")
    everything = mask_statistics(x, t, activation=activation, needs=names)
    for name in names:
        one = mask_statistics(x, t, activation=activation, needs=[name])
        assert [field for field in ALL if getattr(one, field) is not None] == [name]
        torch.testing.assert_close(getattr(one, name), getattr(everything, name), rtol=1e-12, atol=0)
    nothing = mask_statistics(x, t, activation=activation, needs=())
    assert all(field is None for field in nothing)


def test_unknown_needs_are_refused_by_name():
    x, t = logits("binary"), hard_target("binary")
    with pytest.raises(lossreg.InputError, match=r"unknown statistics \['overlap'\]; allowed are intersection, "):
        mask_statistics(x, t, activation="sigmoid", needs={"valid", "overlap"})


@pytest.mark.parametrize("name", sorted(NEGATIVES))
def test_softmax_has_no_negatives(name):
    x, t = logits("multiclass"), hard_target("multiclass")
    with pytest.raises(lossreg.InputError, match=rf"statistics \['{name}'\] need activation='sigmoid'"):
        mask_statistics(x, t, activation="softmax", needs={name})


def test_a_mask_has_no_uniform_cross_entropy():
    """Its mean would be over classes, but an independent mask is the only class."""
    x, t = logits("binary"), hard_target("binary")
    with pytest.raises(
        lossreg.InputError, match=r"\['cross_entropy_uniform'\] need activation='softmax': independent masks"
    ):
        mask_statistics(x, t, activation="sigmoid", needs={"valid", "cross_entropy_uniform"})


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_the_uniform_cross_entropy_is_what_label_smoothing_adds(smoothing):
    """(1 - s) cross-entropy plus s times the mean over the classes of -log p, as torch.nn.functional has it."""
    x, t = logits("multiclass"), hard_target("multiclass")
    t[0, 1, 2] = -100
    needs = {"cross_entropy_positive", "cross_entropy_uniform"}
    found = mask_statistics(x, t, activation="softmax", needs=needs, ignore_index=-100)
    uniform = found.cross_entropy_uniform.mean(1).sum()
    smoothed = (1 - smoothing) * found.cross_entropy_positive.sum() + smoothing * uniform
    expected = torch.nn.functional.cross_entropy(x, t, label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(smoothed, expected, rtol=1e-12, atol=0)


def test_the_square_of_a_hard_target_is_the_target():
    """So its sum is that of the target, bit for bit; that of a soft one is smaller."""
    x = logits("multilabel")
    needs = {"actual", "actual_squared"}
    hard = mask_statistics(x, hard_target("multilabel"), activation="sigmoid", needs=needs)
    soft = mask_statistics(x, soft_target("multilabel"), activation="sigmoid", needs=needs)
    assert torch.equal(hard.actual, hard.actual_squared)
    assert (soft.actual_squared < soft.actual).all()


def test_the_type_is_float32_or_wider_and_the_shape_is_one_number_per_mask():
    t = hard_target("multilabel")
    for given in (torch.float16, torch.bfloat16, torch.float32):
        found = mask_statistics(logits("multilabel", dtype=given), t, activation="sigmoid", needs=SIGMOID)
        assert {(getattr(found, name).dtype, getattr(found, name).shape) for name in SIGMOID} == {
            (torch.float32, (4, 3))
        }
    found = mask_statistics(logits("multilabel"), t, activation="sigmoid", needs=SIGMOID)
    assert {getattr(found, name).dtype for name in SIGMOID} == {torch.float64}


def test_an_ignore_index_that_the_type_cannot_hold_ignores_nothing():
    """torch wraps -1 to 255 in uint8, so uint8 255 == -1."""
    t = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
    x = torch.zeros(1, 1, 3)
    with pytest.raises(lossreg.InputError, match="target contains 255"):
        mask_statistics(x, t, activation="sigmoid", needs={"valid"}, ignore_index=-1)
    t = t.clamp_max(1)
    assert mask_statistics(x, t, activation="sigmoid", needs={"valid"}, ignore_index=-1).valid.item() == 3
    assert mask_statistics(x, t, activation="sigmoid", needs={"valid"}, ignore_index=257).valid.item() == 3
    assert mask_statistics(x, t.bool(), activation="sigmoid", needs={"valid"}, ignore_index=-1).valid.item() == 3


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32, torch.bfloat16])
def test_ignore_index_255_is_found_in_every_type_that_holds_it(dtype):
    t = torch.tensor([[[0, 1, 255, 255]]]).to(dtype)
    found = mask_statistics(
        torch.zeros(1, 1, 4), t, activation="sigmoid", needs={"valid", "actual", "predicted"}, ignore_index=255
    )
    assert (found.valid.item(), found.actual.item()) == (2, 1)
    assert found.predicted.item() == pytest.approx(1, rel=1e-6)


def test_one_target_is_shared_by_all_masks():
    """(N, 1, *) against (N, M, *) equals the target repeated M times."""
    x, t = logits("multilabel"), hard_target("binary")
    t[1, 0, 0] = 9
    shared = mask_statistics(x, t, activation="sigmoid", needs=SIGMOID, ignore_index=9)
    repeated = mask_statistics(x, t.repeat(1, 3, 1, 1), activation="sigmoid", needs=SIGMOID, ignore_index=9)
    for name in SIGMOID:
        assert torch.equal(getattr(shared, name), getattr(repeated, name)), name


def test_one_ignored_class_ignores_the_pixel_of_softmax():
    """The probabilities of a pixel share one sum, so all of its logits count or none."""
    x = logits("multiclass").requires_grad_()
    t = soft_target("multiclass")
    t[0, 1, 2, 3] = 7
    found = mask_statistics(x, t, activation="softmax", needs=SOFTMAX, ignore_index=7)
    assert found.valid[0].tolist() == [14, 14, 14]
    t = t.clone()  # the first is kept for its gradient
    t[0, :, 2, 3] = 7
    whole = mask_statistics(x, t, activation="softmax", needs=SOFTMAX, ignore_index=7)
    for name in SOFTMAX:
        assert torch.equal(getattr(found, name), getattr(whole, name)), name
    (gradient,) = torch.autograd.grad(found.focal_positive.sum() + found.predicted[:, 0].sum(), x)
    assert gradient[0, :, 2, 3].tolist() == [0, 0, 0]


@pytest.mark.parametrize("task, needs", [("multilabel", SIGMOID), ("multiclass", SOFTMAX)], ids=["sigmoid", "softmax"])
def test_gradients_reach_the_input_through_the_prediction(task, needs):
    """The thresholded sums and the counts are constants."""
    x, t = logits(task).requires_grad_(), soft_target(task)
    found = mask_statistics(x, t, activation="softmax" if task == "multiclass" else "sigmoid", needs=needs)
    carrying = {name for name in needs if getattr(found, name).requires_grad}
    constant = {"actual", "actual_squared", "valid", "counted", "hard_intersection", "hard_union"}
    assert set(needs) - carrying == constant
    sum(getattr(found, name).sum() for name in carrying).backward()
    assert x.grad.abs().min() > 0


def test_over_batch_sums_the_examples_and_keeps_what_is_missing():
    x, t = logits("multilabel"), hard_target("multilabel")
    found = mask_statistics(x, t, activation="sigmoid", needs={"predicted", "valid"}).over_batch()
    assert found.predicted.shape == (1, 3)
    np.testing.assert_allclose(found.predicted[0].numpy(), sigmoid(x.numpy()).sum((0, 2, 3)), rtol=1e-12)
    assert found.valid.tolist() == [[60, 60, 60]]
    assert found.actual is None


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("name", ["numba", "tiled", "reference"])
def test_sums_of_a_constant_image_keep_their_digits(name):
    """Equal addends are rounded the same way each time, so that long float32 sums drift: 1 - p is 4.5e-5 here."""
    x, t = torch.full((1, 1, 512, 512), 10.0), torch.ones(1, 1, 512, 512, dtype=torch.uint8)
    with implementation(name):
        found = mask_statistics(x, t, activation="sigmoid", needs={"intersection", "predicted"})
    expected = 512 * 512 * torch.sigmoid(torch.tensor(10.0, dtype=torch.float64)).item()
    for value in (found.intersection, found.predicted):
        assert value.item() == pytest.approx(expected, abs=0.2)  # of 11.9 that are missing


@pytest.mark.parametrize("logit", [10.0, 3.0, -0.5])
def test_sums_of_a_constant_image_beside_losses_keep_their_digits(logit):
    """The sums of a pass with a pixelwise loss are products with the target."""
    x, t = torch.full((1, 1, 512, 512), logit), torch.ones(1, 1, 512, 512, dtype=torch.uint8)
    with implementation("tiled"):
        found = mask_statistics(x, t, activation="sigmoid", needs={"intersection", "predicted", "focal_positive"})
    expected = 512 * 512 * torch.sigmoid(torch.tensor(logit, dtype=torch.float64)).item()
    for value in (found.intersection, found.predicted):
        assert value.item() == pytest.approx(expected, rel=7e-7)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64])
def test_masks_of_16_bit_pictures_may_have_ignored_pixels(dtype):
    x, t = torch.randn(2, 1, 4, 4), torch.randint(0, 2, (2, 1, 4, 4))
    t[0, 0, 0] = 65535
    for name in ("reference", "auto"):
        with implementation(name):
            wide, narrow = (
                mask_statistics(x, each, activation="sigmoid", needs={"intersection", "valid"}, ignore_index=65535)
                for each in (t, t.to(dtype))
            )
        torch.testing.assert_close(narrow.intersection, wide.intersection)
        assert torch.equal(narrow.valid, wide.valid)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_digits_are_those_of_the_pass_whatever_a_model_may_round(precision, monkeypatch):
    """set_float32_matmul_precision lets torch round the factors of a product of matrices to bfloat16: none is used."""
    x, t = torch.randn(2, 1, 500, generator=torch.Generator().manual_seed(0)), torch.ones(2, 1, 500, dtype=torch.bool)
    before = torch.get_float32_matmul_precision()

    def compute():
        leaf = x.clone().requires_grad_()
        with implementation("tiled"):
            sums = mask_statistics(leaf, t, activation="sigmoid", needs=["intersection", "focal_positive"])
        (gradient,) = torch.autograd.grad((sums.intersection + sums.focal_positive).sum(), leaf)
        return torch.cat([sums.intersection.detach(), sums.focal_positive.detach(), gradient.flatten(1)], 1)

    expected = compute()
    torch.set_float32_matmul_precision(precision)
    try:
        monkeypatch.setattr(torch, "bmm", None)
        torch.testing.assert_close(compute(), expected, rtol=1e-6, atol=1e-7)
    finally:
        torch.set_float32_matmul_precision(before)
