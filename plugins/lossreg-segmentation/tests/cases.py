"""Losses, their tasks, and matching tensors: shared by the tests of this package."""

from __future__ import annotations

import pytest
import torch

import lossreg

# The losses over sums, and the losses over pixels.
NAMES = (
    "bce",
    "cross_entropy",
    "poly1",
    "focal",
    "asymmetric_focal",
    "dice",
    "squared_dice",
    "log_cosh_dice",
    "generalized_dice",
    "jaccard",
    "tversky",
    "focal_tversky",
    "asymmetric_focal_tversky",
    "mcc",
    "region_size",
    "bce_dice_focal",
    "unified_focal",
)
SORTED = ("lovasz_hinge", "lovasz_softmax")
HARD = ("topk", "ohem_cross_entropy")
SHAPES = ("boundary", "boundary_dou", "hausdorff_dt", "hausdorff_er", "cldice")
ELSEWHERE = ("matched", "per_region")  # take other inputs, and have tests of their own
DENSE = (*SORTED, *HARD, "wasserstein_dice", *SHAPES)

OVERLAP = ("dice", "squared_dice", "log_cosh_dice", "jaccard", "tversky", "focal_tversky", "mcc")
PIXELWISE = ("cross_entropy", "poly1", "focal", "asymmetric_focal", *HARD)
INDEPENDENT = ("bce", "bce_dice_focal", "lovasz_hinge")
CLASSES = ("lovasz_softmax", "wasserstein_dice")
# Losses without a mean over classes, or without a value per class.
WITHOUT_POLICY = (*PIXELWISE, "unified_focal", "wasserstein_dice")

TASKS = ("binary", "multilabel", "multiclass")
CHANNELS = {"binary": 1, "multilabel": 3, "multiclass": 3}

# One loss per way to read tensors: shared code is tested once per way. The conformance kit tests all losses.
FAMILIES = ("cross_entropy", "dice", "bce_dice_focal", *SORTED, "topk", "wasserstein_dice", "boundary", "cldice")

# No value is a default, so that a dropped parameter changes the result.
OWN = {
    "bce": {"pos_weight": 3.0},
    "cross_entropy": {"label_smoothing": 0.2},
    "poly1": {"epsilon": 2.5},
    "focal": {"alpha": 0.75, "gamma": 1.5},
    "asymmetric_focal": {"delta": 0.8, "gamma": 1.5},
    "dice": {"smooth": 0.5},
    "squared_dice": {"smooth": 0.5},
    "log_cosh_dice": {"smooth": 0.5},
    "generalized_dice": {"weighting": "simple", "smooth": 0.5},
    "jaccard": {"smooth": 0.5},
    "tversky": {"alpha": 0.25, "beta": 2.0, "smooth": 0.5},
    "focal_tversky": {"alpha": 0.25, "beta": 2.0, "smooth": 0.5, "gamma": 1.5},
    "asymmetric_focal_tversky": {"delta": 0.8, "gamma": 0.25, "smooth": 0.5},
    "mcc": {"smooth": 2.0},
    "region_size": {},
    "bce_dice_focal": {
        "bce_weight": 0.5,
        "dice_weight": 2.0,
        "focal_weight": 3.0,
        "alpha": 0.75,
        "gamma": 1.5,
        "smooth": 0.5,
    },
    "unified_focal": {"weight": 0.3, "delta": 0.8, "gamma": 0.25, "smooth": 0.5},
    "lovasz_hinge": {},
    "lovasz_softmax": {},
    "topk": {"k": 0.3},
    "ohem_cross_entropy": {"threshold": 0.5, "min_share": 0.25},
    "wasserstein_dice": {"distances": [[0, 4, 4], [4, 0, 1], [4, 1, 0]], "weighting": "GDL", "smooth": 0.5},
    "boundary": {"spacing": [1.0, 3.0]},
    "boundary_dou": {"smooth": 0.5},
    "hausdorff_dt": {"alpha": 1.5, "spacing": [1.0, 3.0]},
    "hausdorff_er": {"alpha": 1.0, "erosions": 3},
    "cldice": {"iterations": 2, "smooth": 0.5},
}

# Logits at which a naive formula divides by 0 or has an infinite slope.
SHARP = {
    "poly1": {"epsilon": -1.0},
    "focal": {"gamma": 0.25},
    "asymmetric_focal": {"gamma": 0.25},
    "dice": {"smooth": 0.0},
    "squared_dice": {"smooth": 0.0},
    "log_cosh_dice": {"smooth": 0.0},
    "generalized_dice": {"smooth": 0.0},
    "jaccard": {"smooth": 0.0},
    "tversky": {"smooth": 0.0},
    "focal_tversky": {"smooth": 0.0, "gamma": 0.25},
    "asymmetric_focal_tversky": {"smooth": 0.0},
    "mcc": {"smooth": 0.0},
    "bce_dice_focal": {"smooth": 0.0, "gamma": 0.25},
    "unified_focal": {"smooth": 0.0, "gamma": 0.25},
    "ohem_cross_entropy": {"threshold": 0.01, "min_share": 0.0},
    "wasserstein_dice": {"smooth": 0.0},
    "hausdorff_dt": {"alpha": 0.25},
    "boundary_dou": {"smooth": 0.0},
    "cldice": {"smooth": 0.0, "iterations": 2},
}


def tasks_of(name):
    """Return the tasks of a loss."""
    return TASKS[:2] if name in INDEPENDENT else TASKS[2:] if name in CLASSES else TASKS


CASES = [(name, task) for name in NAMES for task in tasks_of(name)]
DENSE_CASES = [(name, task) for name in DENSE for task in tasks_of(name)]
EVERY_CASE = CASES + DENSE_CASES

each_case = pytest.mark.parametrize("name, task", CASES, ids=["-".join(case) for case in CASES])
every_case = pytest.mark.parametrize("name, task", EVERY_CASE, ids=["-".join(case) for case in EVERY_CASE])
each_family = pytest.mark.parametrize(
    "name, task", [pytest.param(name, task, id=f"{name}-{task}") for name in FAMILIES for task in tasks_of(name)]
)
each_name = pytest.mark.parametrize("name", NAMES)
every_name = pytest.mark.parametrize("name", (*NAMES, *DENSE))


def own(name, task):
    """Return parameters that differ from every default."""
    if (name, task) == ("focal", "multiclass"):
        return {"alpha": [0.5, 2.0, 1.0], "gamma": 1.5}
    return OWN[name]


def fits(name, task, options):
    """Return True if shared options have a meaning for the loss; other tests read the error where they have none."""
    if "class_weight" in options and (CHANNELS[task] == 1 or name == "wasserstein_dice"):
        return False
    if "batch" in options and name not in (*NAMES, *SORTED, *HARD, "wasserstein_dice"):
        return False
    if name == "generalized_dice":
        return options.get("absent", "ignore") == "ignore"
    return not ("absent" in options and task == "multiclass" and name in WITHOUT_POLICY)


def build(name, task="auto", **params):
    """Build the loss from its config, as a user does."""
    return lossreg.build({"name": name, "params": {"task": task, **params}})


def logits(task, batch=4, size=(3, 5), dtype=torch.float64, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, CHANNELS[task], *size, generator=generator, dtype=torch.float64) * scale
    return x.to(dtype)


def hard_target(task, batch=4, size=(3, 5), seed=1):
    """Return class indices (N, *) for multiclass, masks (N, C, *) of 0 and 1 otherwise; int64."""
    generator = torch.Generator().manual_seed(seed)
    if task == "multiclass":
        return torch.randint(0, CHANNELS[task], (batch, *size), generator=generator)
    return torch.randint(0, 2, (batch, CHANNELS[task], *size), generator=generator)


def soft_target(task, batch=4, size=(3, 5), seed=1):
    """Return masks strictly between 0 and 1; for multiclass they sum to 1 over the classes."""
    x = logits(task, batch, size, seed=seed)
    return x.softmax(1) if task == "multiclass" else x.sigmoid()


def target_of(task, kind, **sizes):
    return hard_target(task, **sizes) if kind == "hard" else soft_target(task, **sizes)


def some_valid():
    """Return a mask of valid pixels, (4, 3, 5); the third example has none."""
    valid = torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(5)) < 0.6
    valid[2] = False
    return valid


def marked(target, valid, index=7):
    """Return the target with `index` at the pixels that are not valid."""
    return target.masked_fill(~(valid if target.ndim == 3 else valid.unsqueeze(1)), index)


def without_class(target, task):
    """Remove class 0 from the first example."""
    target = target.clone()
    if task == "multiclass" and target.ndim == 3:
        target[0][target[0] == 0] = 1
    else:
        target[0, 0] = 0
    return target


def arrays(x, t):
    """Return logits and target as (N, C, L) float64 arrays for the oracles."""
    masks = t.double()
    if t.ndim < x.ndim:
        masks = torch.stack([t == c for c in range(x.shape[1])], 1).double() if x.shape[1] > 1 else masks.unsqueeze(1)
    return x.double().flatten(2).numpy(), masks.flatten(2).numpy()


def value_and_gradient(loss, x, *others):
    """Return the loss and its gradient to the logits."""
    leaf = x.detach().clone().requires_grad_()
    value = loss(leaf, *others)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient
