"""Losses of MONAI that are made of another loss."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from lossreg_monai.library import library

TERM: dict[str, Any] = {"input": "as the loss", "target_kind": "as the loss", "tags": ["composite"]}

library.loss(
    "monai.losses:DeepSupervisionLoss",
    summary="Weighted sum of a loss over the outputs of several levels, the target resized to each.",
    example={"loss": "monai/dice"},
    # MONAI treats any other mode as "same", without an error.
    hints={"loss": nn.Module, "weight_mode": Literal["same", "exp", "two"]},
    **TERM,
)
library.loss(
    "monai.losses:MaskedLoss",
    summary="A loss of input and target times a mask; give it one that takes probabilities.",
    example={"loss": "monai/dice"},
    # The reduction is passed on only if loss is a class, which a config cannot contain.
    hints={"loss": nn.Module, "reduction": None},
    **TERM,
)
library.loss(
    "monai.losses:MultiScaleLoss",
    summary="A loss of images smoothed at several scales; it is called with the target first.",
    example={"loss": {"name": "monai/local_ncc", "params": {"spatial_dims": 2}}},
    hints={"loss": nn.Module, "kernel": Literal["gaussian", "cauchy"]},
    **TERM,
)
