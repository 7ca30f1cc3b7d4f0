"""Cases of losses made of losses for the conformance kit: inputs, and formulas written independently."""

from __future__ import annotations

import numpy as np
import torch

from lossreg.testing import MaskCase, Options
from lossreg.testing.case import leaf
from lossreg_segmentation.statistics import implementation

BCE, DICE = {"name": "bce"}, {"name": "dice"}


def on_tiles():
    """Choose sums in plain torch: tests of formulas need no compiled kernel."""
    return implementation("tiled")


def bce(input, target):
    x, t = input.numpy(), target.double().numpy()
    return (np.logaddexp(0, x) - t * x).reshape(len(x), -1).mean(1)


def dice(input, target):
    p, t = (each.reshape(len(each), -1) for each in (1 / (1 + np.exp(-input.numpy())), target.double().numpy()))
    return 1 - (2 * np.minimum(p, t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)


def weighted_sum(input, target, **params):
    return 0.5 * bce(input, target) + 3 * dice(input, target)


def product(input, target, **params):
    return bce(input, target).mean() * dice(input, target).mean()


def uncertainty(input, target, **params):
    """Add the terms: every log variance starts at 0."""
    return bce(input, target) + dice(input, target)


def scheduled(input, target, **params):
    """Compute the sum at step 15: 0.5, before its first point, and 3, half way from 1 to 5."""
    return 0.5 * bce(input, target) + 3 * dice(input, target)


def levels(inputs, target, **params):
    """Add both levels: the coarse one has weight 1/2 and every second pixel, from the second on."""
    fine, coarse = inputs
    return dice(fine, target) + dice(coarse, target[..., 1::2, 1::2]) / 2


def power(input, target, **params):
    """Raise -log of the score to 0.3."""
    return (-np.log(1 - dice(input, target))) ** 0.3


def targeted(input, _, mirrored, **params):
    """Compute Dice of the further target."""
    return dice(input, mirrored)


def points(input, target, **params):
    """Interpolate every point by hand between the centres of its four pixels."""
    torch.manual_seed(0)
    places = torch.rand(*input.shape[:2], params["points"], 2)
    height, width = input.shape[2:]
    found = torch.zeros(2, len(input), params["points"], dtype=torch.float64)
    for n in range(len(input)):
        for k, (across, down) in enumerate(places[n, 0].tolist()):
            x, y = (min(max(at * size - 0.5, 0), size - 1) for at, size in ((across, width), (down, height)))
            left, top = min(int(x), width - 2), min(int(y), height - 2)
            for row, share in ((top, 1 - (y - top)), (top + 1, y - top)):
                for column, part in ((left, 1 - (x - left)), (left + 1, x - left)):
                    found[0, n, k] += share * part * input[n, 0, row, column]
                    found[1, n, k] += share * part * target[n, 0, row, column]
    return dice(*found).mean()


class StepCase(MaskCase):
    """Inputs with a step half way through a schedule."""

    def inputs(self, kind="random", *, batch=4):
        return *super().inputs(kind, batch=batch), Options(step=15)


class LevelsCase(MaskCase):
    """Two levels, the second of half the resolution."""

    def inputs(self, kind="random", *, batch=4):
        input, target = super().inputs(kind, batch=batch)
        return [input, leaf(input[..., ::2, ::2])], target

    def misfits(self, inputs):
        """Yield a target of fewer examples; one of another resolution fits, as it is resized."""
        levels, target = inputs
        yield "a target of one example", (levels, target[:1])


class TargetedCase(MaskCase):
    """Inputs with a further target: the mask, mirrored."""

    def inputs(self, kind="random", *, batch=4):
        input, target = super().inputs(kind, batch=batch)
        return input, target, Options(mirrored=target.flip(-1))

    def misfits(self, inputs):
        """Yield further targets that do not fit; that of the call, which this loss alone does not read, may be any."""
        input, target, options = inputs
        yield "a further target of one example", (input, target, Options(mirrored=options["mirrored"][:1]))


def binary(**options):
    return [MaskCase("binary", context=on_tiles, **options)]


TERMS = [DICE, BCE]
WEIGHED = [{"weight": 0.5, **BCE}, {"weight": 3.0, **DICE}]
POINTS = [{"points": [[20, 0.5], [30, 9.0]], **BCE}, {"points": [[10, 1.0], [20, 5.0]], **DICE}]
SAMPLED = {"loss": {**DICE, "params": {"ignore_index": 255}}, "ignore_index": 255, "points": 7, "important": 0.0}

CASES = {
    "lossreg/weighted_sum": binary(params={"terms": WEIGHED}, oracle=weighted_sum),
    "lossreg/product": binary(params={"terms": TERMS}, oracle=product),
    "lossreg/uncertainty_weighting": binary(params={"terms": TERMS}, oracle=uncertainty),
    "lossreg/scheduled": [StepCase("binary", context=on_tiles, params={"terms": POINTS}, oracle=scheduled)],
    "lossreg/deep_supervision": [
        LevelsCase("binary", size=(4, 6), context=on_tiles, params={"loss": DICE}, oracle=levels)
    ],
    "lossreg/power": [
        MaskCase("binary", context=on_tiles, params={"loss": DICE, "exponent": 0.3, "log": True}, oracle=power)
    ],
    "lossreg/targeted": [
        TargetedCase("binary", context=on_tiles, params={"loss": DICE, "target": "mirrored"}, oracle=targeted)
    ],
    "lossreg/point_sampled": binary(size=(4, 6), params=SAMPLED, oracle=points),
}
