"""The parameters of SAM 2's loss by its own names, and the presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from lossreg.errors import InputError

COMPONENTS = ("loss_mask", "loss_dice", "loss_iou", "loss_class")

Preset = Literal["sam2.1", "constructor"]
Alpha = Annotated[float, Field(le=1)]
Gamma = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Settings:
    """Parameters by SAM 2's names. The defaults are those of its constructor, which has none for the weights."""

    weight_dict: Mapping[str, float] | None = None
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    supervise_all_iou: bool = False
    iou_use_l1_loss: bool = False
    pred_obj_scores: bool = False
    focal_gamma_obj_score: float = 0.0
    focal_alpha_obj_score: float = -1.0


PRESETS = {
    "constructor": Settings(),
    "sam2.1": Settings(
        weight_dict={"loss_mask": 20.0, "loss_dice": 1.0, "loss_iou": 1.0, "loss_class": 1.0},
        supervise_all_iou=True,
        iou_use_l1_loss=True,
        pred_obj_scores=True,
    ),
}


def weights_of(weight_dict: Mapping[str, float] | None) -> dict[str, float]:
    """Return the factor of each component, 0 for an object score without one.

    Raises:
        InputError: there are none, a key is unknown, or one is missing.
    """
    allowed = ", ".join(COMPONENTS)
    if weight_dict is None:
        raise InputError(f"preset='constructor' has no default weights; give weight_dict with {allowed}")
    if unknown := sorted(set(weight_dict) - set(COMPONENTS)):
        raise InputError(f"weight_dict has unknown keys {unknown}; allowed are {allowed}")
    if missing := [name for name in COMPONENTS[:3] if name not in weight_dict]:
        raise InputError(f"weight_dict lacks {', '.join(missing)}; give 0 for a component that is only logged")
    return {name: float(weight_dict.get(name, 0.0)) for name in COMPONENTS}
