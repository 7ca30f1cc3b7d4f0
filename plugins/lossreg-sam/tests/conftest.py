"""Cases of this package for the conformance kit: the inputs of its losses, and their oracles."""

from __future__ import annotations

import pytest
import torch

from lossreg.testing import Case, Ignoring
from lossreg.testing.case import IGNORED, leaf
from lossreg_segmentation.statistics import implementation

from . import oracles, oracles_alignment, oracles_sam2
from .oracles_sam2 import IOUS, MASKS, OWN, RELEASED, SCORES


def tiles():
    """Choose the implementation of a plain installation: tests of formulas need no compiled kernel."""
    return implementation("tiled")


@pytest.fixture
def on_tiles():
    with tiles():
        yield


@pytest.fixture
def on_reference():
    with implementation("reference"):
        yield


class StepCase(Case):
    """A SAM step: masks, their common target, and the predicted IoU."""

    kinds = ("random", "empty", "full", "ignored")
    trains_masks = True

    def inputs(self, kind="random", *, batch=4):
        x, t, iou = oracles.step(batch, dtype=torch.float32)
        if kind != "random":
            t = torch.full_like(t, {"empty": 0, "full": 1, "ignored": IGNORED}[kind])
        return x.requires_grad_(self.trains_masks), t, iou.requires_grad_()

    def ignoring(self, inputs):
        x, t, *others = inputs
        marked, poison = t.clone(), x.detach().clone()
        marked[..., -1], poison[..., -1] = IGNORED, torch.nan
        poison.requires_grad_(self.trains_masks)
        cut = x.detach()[..., :-1].clone().requires_grad_(self.trains_masks)
        return Ignoring((x, marked, *others), (poison, marked, *others), (cut, t[..., :-1], *others))


class IoUCase(StepCase):
    """A SAM step whose mask logits are constants: no gradient reaches them."""

    trains_masks = False


class SceneCase(StepCase):
    """A SAM step with embeddings of its regions and texts."""

    def inputs(self, kind="random", *, batch=4):
        return *super().inputs(kind, batch=batch), *oracles_alignment.pairs(batch, dtype=torch.float32)


class PairCase(Case):
    """Embeddings of regions and texts: some texts have one caption, and one region is empty."""

    def inputs(self, kind="random", *, batch=4):
        region, text = oracles_alignment.pairs(batch, dtype=torch.float32)
        return region, text, torch.arange(batch) % 3, torch.arange(batch) != 1


class VideoCase(Case):
    """The outputs of SAM 2 for two frames of two steps."""

    kinds = ("random", "empty", "full")
    keys = (MASKS, IOUS, SCORES)

    def inputs(self, kind="random", *, batch=4):
        outs, targets = oracles_sam2.video(objects=batch, dtype=torch.float32)
        targets[0, 1] = 0
        if kind != "random":
            targets = torch.full_like(targets, {"empty": 0, "full": 1}[kind])
        return [{key: frame[key] for key in self.keys} for frame in outs], targets

    def take(self, inputs, examples):
        outs, targets = inputs
        chosen = [{key: [leaf(x[examples]) for x in frame[key]] for key in self.keys} for frame in outs]
        return chosen, targets[:, examples]


class MaskVideoCase(VideoCase):
    """Outputs without presence logits, which the defaults of SAM 2's class do not train."""

    keys = (MASKS, IOUS)


def of_sam(x, t, iou, **own):
    weights = {name: own.pop(f"{name}_weight", weight) for name, weight in SAM_WEIGHTS.items()}
    return oracles.components(x, t, iou, **own) @ list(weights.values())


def of_iou(x, t, iou, **own):
    return oracles.components(x, t, iou, **own)[:, 2]


def of_pairs(*pairs, **own):
    return oracles_alignment.contrast(*pairs, **own)


def of_scene(x, t, iou, region, text, **own):
    weight, temperature = own.pop("alignment_weight"), own.pop("temperature")
    aligned = oracles_alignment.contrast(region, text, None, t.flatten(1).any(1), temperature)
    return of_sam(x, t, iou, **own) + weight * torch.tensor(aligned).numpy()


def of_video(outs, targets, **own):
    if own.pop("preset", None) == "constructor":
        switches = {"supervise_all_iou": False, "iou_use_l1_loss": False, "pred_obj_scores": False}
        settings = RELEASED | switches | own
        outs = [frame | {SCORES: [x[:, :1] for x in frame[IOUS]]} for frame in outs]
    else:
        settings = RELEASED | own
    found, _ = oracles_sam2.per_object(outs, targets, settings)
    return found @ list(settings["weight_dict"].values())


SAM_WEIGHTS = {"focal": 20.0, "dice": 1.0, "iou": 1.0}
SAM_OWN = {"focal_weight": 3.0, "dice_weight": 2.0, "iou_weight": 0.5}

CASES = {
    "sam/sam": [StepCase(oracle=of_sam, params=SAM_OWN | {"alpha": 0.6, "gamma": 1.5, "smooth": 0.5})],
    "sam/iou_prediction": [IoUCase(oracle=of_iou, params={"threshold": 0.5})],
    "sam/text_region_contrast": [PairCase(oracle=of_pairs, params={"temperature": 0.5})],
    "sam/spatial_relevance": [
        SceneCase(oracle=of_scene, params=SAM_OWN | {"alignment_weight": 2.0, "temperature": 0.5})
    ],
    "sam/sam2": [
        VideoCase("released", oracle=of_video),
        MaskVideoCase("constructor", oracle=of_video, params={"preset": "constructor"} | OWN),
    ],
}


def pytest_lossreg_cases(name):
    cases = CASES.get(name)
    for case in cases or ():
        case.context = tiles
    return cases
