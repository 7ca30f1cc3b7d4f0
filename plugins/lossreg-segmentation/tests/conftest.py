"""Fixtures that several files share, and the settings of the conformance kit for this package."""

import pytest
import torch

from lossreg.testing import MaskCase
from lossreg.testing.case import Ignoring, Options
from lossreg_segmentation.statistics import implementation

from .cases import SHAPES, own, tasks_of
from .oracles import oracle, repeated
from .oracles_regions import PARAMS, RegionCase, region_dice
from .oracles_sets import TERMS, SetCase, set_loss


def reference():
    """Use plain torch: formulas need no compiled kernel, and test_implementations.py compares the kernels with it."""
    return implementation("reference")


def tiles():
    """Use tiles, as a plain installation does, for the conformance kit."""
    return implementation("tiled")


@pytest.fixture
def on_reference():
    with reference():
        yield


@pytest.fixture
def on_tiles():
    with tiles():
        yield


class WeightedCase(MaskCase):
    """Masks or classes whose pixels have weights 0, 1 and 2."""

    def inputs(self, kind="random", *, batch=4):
        x, t = super().inputs(kind, batch=batch)
        generator = torch.Generator().manual_seed(2)
        return x, t, Options(weight=torch.randint(3, (batch, 1, *self.size), generator=generator).float())

    def ignoring(self, inputs):
        *_, options = inputs
        marked, poisoned, (x, t, _) = super().ignoring(inputs)
        return Ignoring(marked, poisoned, (x, t, Options(weight=options["weight"][..., :-1])))


# One loss for each way to weigh pixels, with the parameters under which a repeated pixel counts twice.
WEIGHTED = {
    "cross_entropy": {},
    "bce_dice_focal": {},
    "generalized_dice": {},
    "topk": {"k": 1.0},
    "wasserstein_dice": {},
}


def pytest_lossreg_cases(name):
    provider, _, loss = name.partition("/")
    if provider != "segmentation":
        return None
    if loss == "matched":
        params = {"classes": 2, "terms": TERMS, "points": 0, "no_object": 0.25}
        # Random points alone make it random.
        return [SetCase(params=params, contract={"deterministic": True}, oracle=set_loss, context=reference)]
    if loss == "per_region":
        return [
            RegionCase(
                task,
                params={"loss": {"name": "dice", "params": {"task": task, "ignore_index": 255}}, **PARAMS},
                oracle=region_dice,
                context=tiles,
            )
            for task in ("binary", "multilabel", "multiclass")
        ]
    size = (6, 7) if loss in SHAPES else (3, 5)
    tasks = tasks_of(loss)
    cases = [
        MaskCase(task, size=size, params={"task": task} | own(loss, task), oracle=oracle(loss), context=tiles)
        for task in tasks
    ]
    if loss in WEIGHTED:
        params = {"task": tasks[-1]} | own(loss, tasks[-1]) | WEIGHTED[loss]
        cases.append(WeightedCase(tasks[-1], label="weighted", params=params, oracle=repeated(loss), context=tiles))
    return cases
