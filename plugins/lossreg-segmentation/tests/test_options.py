"""Every parameter of every loss changes the result, and the table of them is complete."""

from __future__ import annotations

import pytest
import torch

import lossreg

from .cases import CLASSES, DENSE, HARD, INDEPENDENT, NAMES, SHAPES, SORTED, hard_target, logits
from .test_soft_overlap import NAMES as WITH_OVERLAP

pytestmark = pytest.mark.usefixtures("on_reference")

# Parameter -> two values with different results.
OWN = {
    "bce": {"pos_weight": (None, 2.0), "label_smoothing": (0.0, 0.2)},
    "cross_entropy": {"pos_weight": (None, 2.0), "label_smoothing": (0.0, 0.2)},
    "poly1": {"epsilon": (1.0, -1.0)},
    "focal": {"alpha": (0.25, [0.25, 0.5, 0.75]), "gamma": (2.0, 1.0), "pos_weight": (None, 2.0)},
    "asymmetric_focal": {"delta": (0.7, 0.5), "gamma": (2.0, 1.0)},
    "dice": {"smooth": (1.0, 0.0)},
    "squared_dice": {"smooth": (1.0, 0.0)},
    "log_cosh_dice": {"smooth": (1.0, 0.0)},
    "generalized_dice": {"weighting": ("square", "simple"), "smooth": (1.0, 0.0), "absent": ("score", "ignore")},
    "jaccard": {"smooth": (1.0, 0.0)},
    "tversky": {"alpha": (0.5, 0.7), "beta": (0.5, 0.7), "smooth": (1.0, 0.0)},
    "focal_tversky": {"alpha": (0.5, 0.7), "beta": (0.5, 0.7), "smooth": (1.0, 0.0), "gamma": (0.75, 2.0)},
    "asymmetric_focal_tversky": {"delta": (0.7, 0.5), "gamma": (0.75, 0.25), "smooth": (1.0, 0.0)},
    "mcc": {"smooth": (1e-5, 1.0)},
    "region_size": {},
    "bce_dice_focal": {
        "bce_weight": (0.4, 0.8),
        "dice_weight": (0.4, 0.8),
        "focal_weight": (0.2, 0.8),
        "alpha": (0.25, 0.75),
        "gamma": (2.0, 1.0),
        "smooth": (1.0, 0.0),
    },
    "unified_focal": {"weight": (0.5, 0.3), "delta": (0.6, 0.8), "gamma": (0.5, 0.25), "smooth": (1.0, 0.0)},
    "lovasz_hinge": {},
    "lovasz_softmax": {},
    "topk": {"k": (0.1, 0.5)},
    "ohem_cross_entropy": {"threshold": (0.7, 0.3), "min_share": (0.0625, 0.9)},
    "wasserstein_dice": {
        "distances": (None, [[0.0, 1.0, 1.0], [1.0, 0.0, 0.25], [1.0, 0.25, 0.0]]),
        "weighting": ("default", "GDL"),
        "smooth": (1.0, 0.0),
    },
    # The distances of an empty mask are 0, and so is its score.
    "boundary": {"spacing": (None, [1.0, 3.0]), "absent": ("score", "ignore")},
    "boundary_dou": {"smooth": (1e-5, 1.0)},
    "hausdorff_dt": {"alpha": (2.0, 1.0), "spacing": (None, [1.0, 3.0])},
    "hausdorff_er": {"alpha": (2.0, 1.0), "erosions": (10, 1)},
    "cldice": {"iterations": (10, 2), "smooth": (1.0, 0.1)},
}
SHARED = {
    "task": ("multilabel", "multiclass"),
    "ignore_index": (None, 1),
    "class_weight": (None, [0.5, 2.0, 1.0]),
    "background": (True, False),
    "classes": (None, [0, 2]),
    "absent": ("score", "zero"),
    "reduction": ("mean", "sum"),
}
BATCHED = (*NAMES, *SORTED, *HARD, "wasserstein_dice", "boundary_dou", "cldice")
# A refused value and its message.
REFUSED = {
    **{(name, "task"): ("multiclass", "is for binary and multilabel, got task='multiclass'") for name in INDEPENDENT},
    **{(name, "task"): ("multilabel", "is for multiclass, got task='multilabel'") for name in CLASSES},
    ("wasserstein_dice", "class_weight"): ([0.5, 2.0, 1.0], "class_weight has no meaning for WassersteinDice"),
    ("wasserstein_dice", "background"): (False, "background= and classes= have no meaning for WassersteinDice"),
    ("wasserstein_dice", "classes"): ([0, 1], "background= and classes= have no meaning for WassersteinDice"),
    ("wasserstein_dice", "absent"): ("zero", "absent='zero' has no meaning for softmax WassersteinDice"),
}


def row(name):
    """Return the parameters of a loss."""
    batch = {"batch": (False, True)} if name in BATCHED else {}
    ignored = {"ignore_index": (None, 0)} if name in (*CLASSES, *SHAPES) else {}
    return SHARED | batch | ignored | OWN[name]


ROWS = [pytest.param(name, key, id=f"{name}-{key}") for name in OWN for key in row(name)]


def tensors(name):
    """Return three masks or classes of several examples; no example has a pixel of class 1."""
    if name in SHAPES:
        return squares()
    if name in CLASSES:
        t = hard_target("multiclass")
        t[t == 1], t[1, 1:] = 2, 0
        return logits("multiclass"), t
    t = hard_target("multilabel")
    t[:, 1] = 0
    t[0, 0, 0], t[1, 0, 1:] = 1, 0
    return logits("multilabel"), t


def squares():
    """Return squares wide enough for several erosions: one nearly or half found, one false positive, one missed."""
    t = torch.zeros(2, 3, 13, 13, dtype=torch.int64)
    t[:, ::2, 2:11, 2:11] = 1
    x = torch.where(t > 0, 1.0, -1.5).double()
    x[:, 1, 3:10, 3:9], x[:, 2], x[1, 0, 6:] = 4.0, -4.0, -3.0
    return x, t


def value(name, params):
    task = "multiclass" if name in CLASSES else "multilabel"
    return lossreg.build({"name": name, "params": {"task": task, **params}})(*tensors(name)).item()


@pytest.mark.parametrize("name", OWN)
def test_the_table_has_exactly_the_parameters_of_the_manifest(name):
    """A new parameter without a row fails here. Others: test_(distributed, mean_over, soft_overlap)."""
    declared = lossreg.losses.entry(name).metadata["parameters"]["properties"]
    assert set(row(name)) == set(declared) - {"distributed", "mean_over", "overlap"}
    assert {"distributed", "mean_over"} <= set(declared)
    assert ("overlap" in declared) == (name in WITH_OVERLAP)


def test_the_table_has_every_loss():
    assert set(OWN) == {*NAMES, *DENSE}


@pytest.mark.parametrize("name, key", ROWS)
def test_changing_a_parameter_changes_the_result(name, key):
    """No parameter is accepted and dropped: the value changes, or it is refused."""
    if (name, key) in REFUSED:
        wrong, message = REFUSED[name, key]
        with pytest.raises(lossreg.LossregError, match=message):
            value(name, {key: wrong})
        return
    # Between examples of one size the mean over all pixels is the mean of means. One kind of pixels has no correlation.
    beside = {"ignore_index": 0} if key == "batch" and name != "mcc" else {}
    found = [value(name, {key: given} | beside) for given in row(name)[key]]
    assert abs(found[0] - found[1]) > 1e-6
    assert 0 not in found


@pytest.mark.parametrize(
    "name",
    [n for n in (*NAMES, *DENSE) if n not in ("generalized_dice", "wasserstein_dice", "boundary", "region_size")],
)
def test_each_policy_for_absent_classes_is_another_value(name):
    policies = ("score", "ignore", "zero", "false_positives")
    assert len({value(name, {"absent": absent}) for absent in policies}) == 4


@pytest.mark.parametrize("name, key, value", [("tversky", "alpha", 0.9), ("tversky", "beta", 0.9)])
def test_tversky_weighs_false_positives_by_alpha_and_false_negatives_by_beta(name, key, value):
    """Alpha and beta separately, not only their sum: on false positives only alpha counts."""
    x = torch.full((1, 1, 4, 4), 30.0)
    mask = torch.ones(1, 1, 4, 4)
    mask[..., 2:] = 0
    inputs = {"alpha": (x, mask), "beta": (torch.where(mask > 0, x, -x), torch.ones_like(mask))}
    base = {"name": name, "params": {"alpha": 0.5, "beta": 0.5, "smooth": 0.0}}
    for side, (logit, target) in inputs.items():
        before = lossreg.build(base)(logit, target).item()
        after = lossreg.build({"name": name, "params": base["params"] | {key: value}})(logit, target).item()
        # TP 8 and 8 wrong pixels: 1 - 8 / (8 + 0.9 * 8).
        assert before == pytest.approx(1 / 3, rel=1e-6)
        assert after == pytest.approx(0.9 / 1.9 if side == key else 1 / 3, rel=1e-6)


def test_tversky_contains_dice_and_jaccard():
    """alpha = beta = 1/2 with half the smooth is Dice, 1/1 is Jaccard, and gamma 1 removes the power."""
    x, t = logits("binary"), hard_target("binary")

    def value(name, **params):
        return lossreg.build({"name": name, "params": params})(x, t).item()

    assert value("tversky", smooth=0.5) == pytest.approx(value("dice", smooth=1.0), rel=1e-12)
    assert value("tversky", alpha=1, beta=1) == pytest.approx(value("jaccard"), rel=1e-12)
    assert value("focal_tversky", gamma=1.0) == pytest.approx(value("tversky"), rel=1e-12)


def test_focal_contains_cross_entropy():
    """gamma 0 without alpha is BCE; with softmax, cross-entropy."""
    x, t = logits("binary"), hard_target("binary")
    focal = lossreg.build({"name": "focal", "params": {"gamma": 0.0, "alpha": None}})
    assert focal(x, t).item() == pytest.approx(lossreg.build("bce")(x, t).item(), rel=1e-12)
    x, t = logits("multiclass"), hard_target("multiclass")
    assert focal(x, t).item() == pytest.approx(lossreg.build("cross_entropy")(x, t).item(), rel=1e-12)


def test_one_number_for_all_channels_is_the_list_of_equal_numbers():
    """pos_weight as a number and per channel; an alpha of one for every class has no effect."""
    x, t = logits("multilabel"), hard_target("multilabel")
    number, numbers = (
        lossreg.build({"name": "bce", "params": {"task": "multilabel", "pos_weight": p}})(x, t)
        for p in (2.0, [2.0] * 3)
    )
    assert torch.equal(number, numbers)
    x, t = logits("multiclass"), hard_target("multiclass")
    none, ones = (lossreg.build({"name": "focal", "params": {"alpha": a}})(x, t) for a in (None, [1.0] * 3))
    assert torch.equal(none, ones)
