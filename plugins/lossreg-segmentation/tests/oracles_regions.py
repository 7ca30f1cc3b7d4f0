"""Cases of the conformance kit for a loss per region, and an independent implementation of it."""

from __future__ import annotations

import torch

from lossreg.testing import MaskCase
from lossreg.testing.case import Ignoring, Options

PARAMS = {"background": "shared", "max_regions": 3, "empty_regions": True}


class RegionCase(MaskCase):
    """Masks or classes with three regions in a background."""

    def inputs(self, kind="random", *, batch=4):
        x, t = super().inputs(kind, batch=batch)
        generator = torch.Generator().manual_seed(2)
        return x, t, Options(regions=torch.randint(4, (batch, 1, *self.size), generator=generator))

    def ignoring(self, inputs):
        *_, options = inputs
        marked, poisoned, (x, t, _) = super().ignoring(inputs)
        return Ignoring(marked, poisoned, (x, t, Options(regions=options["regions"][..., :-1])))


def region_dice(x, t, *, regions, loss, **_):
    """Return the Dice loss with smooth 1, one value per image, by a loop over images, classes and regions."""
    p = x.softmax(1) if loss["params"]["task"] == "multiclass" else x.sigmoid()
    masks = torch.stack([t == c for c in range(x.shape[1])], 1).to(x.dtype) if t.ndim < x.ndim else t.to(x.dtype)
    images = []
    for image, mask, labels in zip(p, masks, regions[:, 0], strict=True):
        values = []
        for number in range(1, 4):
            if not (labels == number).any():
                continue
            inside = (labels == number) | (labels == 0)
            for own, true in zip(image, mask, strict=True):
                overlap, volume = torch.minimum(own, true)[inside].sum(), own[inside].sum() + true[inside].sum()
                values.append(1 - (2 * overlap + 1) / (volume + 1))
        images.append(torch.stack(values).mean())
    return torch.stack(images)
