"""Losses, the tasks they take, and tensors that fit: shared by the tests of this package."""

from __future__ import annotations

import pytest
import torch

import lossreg

NAMES = ("bce", "cross_entropy", "focal", "dice", "jaccard", "tversky", "focal_tversky", "bce_dice_focal")
OVERLAP = ("dice", "jaccard", "tversky", "focal_tversky")
INDEPENDENT = ("bce", "bce_dice_focal")
TASKS = ("binary", "multilabel", "multiclass")
CHANNELS = {"binary": 1, "multilabel": 3, "multiclass": 3}
CASES = [(name, task) for name in NAMES for task in TASKS if not (name in INDEPENDENT and task == "multiclass")]

# None of these is a default, so that a parameter that is dropped changes the value.
OWN = {
    "bce": {"pos_weight": 3.0},
    "cross_entropy": {},
    "focal": {"alpha": 0.75, "gamma": 1.5},
    "dice": {"smooth": 0.5},
    "jaccard": {"smooth": 0.5},
    "tversky": {"alpha": 0.25, "beta": 2.0, "smooth": 0.5},
    "focal_tversky": {"alpha": 0.25, "beta": 2.0, "smooth": 0.5, "gamma": 1.5},
    "bce_dice_focal": {
        "bce_weight": 0.5,
        "dice_weight": 2.0,
        "focal_weight": 3.0,
        "alpha": 0.75,
        "gamma": 1.5,
        "smooth": 0.5,
    },
}

each_case = pytest.mark.parametrize("name, task", CASES, ids=[f"{name}-{task}" for name, task in CASES])
each_name = pytest.mark.parametrize("name", NAMES)


def own(name, task):
    """Parameters that differ from every default."""
    if (name, task) == ("focal", "multiclass"):
        return {"alpha": [0.5, 2.0, 1.0], "gamma": 1.5}
    return OWN[name]


def build(name, task="auto", **params):
    """The loss from its config, as a user builds it."""
    return lossreg.build({"name": name, "params": {"task": task, **params}})


def logits(task, batch=4, size=(3, 5), dtype=torch.float64, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, CHANNELS[task], *size, generator=generator, dtype=torch.float64) * scale
    return x.to(dtype)


def hard_target(task, batch=4, size=(3, 5), seed=1):
    """Class index (N, *) for multiclass, masks (N, C, *) of 0 and 1 otherwise; int64."""
    generator = torch.Generator().manual_seed(seed)
    if task == "multiclass":
        return torch.randint(0, CHANNELS[task], (batch, *size), generator=generator)
    return torch.randint(0, 2, (batch, CHANNELS[task], *size), generator=generator)


def soft_target(task, batch=4, size=(3, 5), seed=1):
    """Masks strictly between 0 and 1; for multiclass they sum to 1 over the classes."""
    x = logits(task, batch, size, seed=seed)
    return x.softmax(1) if task == "multiclass" else x.sigmoid()


def target_of(task, kind, **sizes):
    return hard_target(task, **sizes) if kind == "hard" else soft_target(task, **sizes)


def without_class(target, task):
    """The first example loses its class 0."""
    target = target.clone()
    if task == "multiclass" and target.ndim == 3:
        target[0][target[0] == 0] = 1
    else:
        target[0, 0] = 0
    return target


def arrays(x, t):
    """Logits and target as (N, C, L) float64 arrays for the oracles."""
    masks = t.double()
    if t.ndim < x.ndim:
        masks = torch.stack([t == c for c in range(x.shape[1])], 1).double() if x.shape[1] > 1 else masks.unsqueeze(1)
    return x.double().flatten(2).numpy(), masks.flatten(2).numpy()


def value_and_gradient(loss, x, *others):
    """The loss and its gradient to the logits."""
    leaf = x.detach().clone().requires_grad_()
    value = loss(leaf, *others)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient
