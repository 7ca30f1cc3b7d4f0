"""The loss of sets of masks written independently: loops over pairs, and every assignment tried."""

from __future__ import annotations

from itertools import permutations

import torch
import torch.nn.functional as F

from lossreg.testing import Case
from lossreg.testing.case import leaf

TERMS = [
    {"of": "class", "weight": 2.0, "name": "cross_entropy"},
    {"of": "mask", "weight": 5.0, "name": "focal", "params": {"alpha": 0.7, "gamma": 1.5}},
    {"of": "mask", "weight": 3.0, "name": "dice", "params": {"smooth": 0.5, "overlap": "product"}},
]


def focal(x, t):
    p = x.sigmoid()
    return (0.7 * t * (1 - p) ** 1.5 * F.softplus(-x) + 0.3 * (1 - t) * p**1.5 * F.softplus(x)).mean()


def dice(x, t):
    p = x.sigmoid()
    return 1 - (2 * (p * t).sum() + 0.5) / (p.sum() + t.sum() + 0.5)


def best(costs):
    """Return the pairs (query, target) of least total cost, by trying all."""
    queries, targets = costs.shape
    few, many = sorted((queries, targets))
    table = costs if queries >= targets else costs.T
    found = min(permutations(range(many), few), key=lambda order: sum(table[o, k].item() for k, o in enumerate(order)))
    pairs = [(o, k) if queries >= targets else (k, o) for k, o in enumerate(found)]
    return sorted(pairs)


def match(masks, classes, targets, labels):
    """Return the pairs of one image whose masks are compared pixel by pixel."""
    costs = torch.zeros(len(masks), len(targets), dtype=torch.float64)
    for q in range(len(masks)):
        for m in range(len(targets)):
            compared = 5 * focal(masks[q], targets[m]) + 3 * dice(masks[q], targets[m])
            costs[q, m] = compared - 2 * classes[q].softmax(0)[labels[m]]
    return best(costs.detach())


def set_loss(input, target, *, no_object=0.1, **params):
    """Return the loss with TERMS of one level, whose masks have the size of the targets."""
    none, count = input["classes"].shape[2] - 1, max(sum(len(t["labels"]) for t in target), 1)
    weights = torch.ones(none + 1, dtype=torch.float64)
    weights[none] = no_object
    total, wanted = 0.0, torch.full(input["classes"].shape[:2], none)
    for b, objects in enumerate(target):
        hard = objects["masks"].double()
        for q, m in match(input["masks"][b], input["classes"][b], hard, objects["labels"]):
            wanted[b, q] = objects["labels"][m]
            x = input["masks"][b, q]
            total = total + (5 * focal(x, hard[m]) + 3 * dice(x, hard[m])) / count
    return total + 2 * F.cross_entropy(input["classes"].flatten(0, 1), wanted.flatten(), weights)


class SetCase(Case):
    """Predictions of four queries, and images with none to three objects."""

    kinds = ("random", "empty", "full")

    def inputs(self, kind="random", *, batch=4):
        generator = torch.Generator().manual_seed(0)
        input = {
            "masks": (torch.randn(batch, 4, 3, 5, generator=generator) * 2).requires_grad_(),
            "classes": torch.randn(batch, 4, 3, generator=generator).requires_grad_(),
        }
        target = []
        for objects in (2, 1, 3, 0)[:batch]:
            masks = (torch.randn(objects, 3, 5, generator=generator) > 0).long()
            masks = torch.full_like(masks, {"empty": 0, "full": 1}[kind]) if kind != "random" else masks
            target.append({"masks": masks, "labels": torch.randint(0, 2, (objects,), generator=generator)})
        return input, target

    def take(self, inputs, examples):
        input, target = inputs
        return {name: leaf(x[examples]) for name, x in input.items()}, [target[k] for k in examples]

    def misfits(self, inputs):
        """Yield one input that does not fit the others; masks of another size fit, as they are resized."""
        input, target = inputs
        yield "masks of one image", ({**input, "masks": leaf(input["masks"][:1])}, target)
        yield "logits of one class fewer", ({**input, "classes": leaf(input["classes"][..., :-1])}, target)
        yield "the targets of one image", (input, target[:1])
        yield "one label fewer", (input, [{**target[0], "labels": target[0]["labels"][:-1]}, *target[1:]])
