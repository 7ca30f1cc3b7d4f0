"""Losses of images, depth and flow."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from lossreg_kornia.library import Fraction, NonNegative, Positive, library

IMAGES: dict[str, Any] = {"input": "images", "target_kind": "images"}

for cls, summary in [
    ("CauchyLoss", "Logarithm of one plus half the squared error: outliers count little."),
    ("CharbonnierLoss", "Square root of one plus the squared error, less one: a smooth absolute error."),
    ("GemanMcclureLoss", "Squared error over itself plus four, doubled: outliers are bounded by 2."),
    ("WelschLoss", "One minus the exponential of minus half the squared error: outliers are bounded by 1."),
]:
    library.loss(f"kornia.losses:{cls}", summary=summary, tags=["regression", "image_quality"], **IMAGES)

library.loss(
    "kornia.losses:PSNRLoss",
    summary="Negative peak signal-to-noise ratio in decibels; of equal images minus infinity.",
    tags=["image_quality", "regression"],
    example={"max_val": 1.0},
    **IMAGES,
)
library.loss(
    "kornia.losses:SSIMLoss",
    summary="Half of one minus the structural similarity.",
    tags=["image_quality", "regression"],
    example={"window_size": 5},
    positional=True,
    **IMAGES,
)
library.loss(
    "kornia.losses:SSIM3DLoss",
    "ssim_3d",
    summary="Half of one minus the structural similarity of volumes.",
    tags=["image_quality", "regression"],
    input="volumes",
    target_kind="volumes",
    family="ssim",
    example={"window_size": 5},
    positional=True,
)
library.loss(
    "kornia.losses:MS_SSIMLoss",
    "ms_ssim",
    family="ms_ssim_l1",
    summary="Gaussian-weighted absolute error with 2.5 % of multi-scale structural similarity, times 200.",
    tags=["image_quality", "regression", "mixture"],
    hints={
        "sigmas": Annotated[list[Positive], Field(min_length=1)],
        "data_range": Positive,
        "K": tuple[NonNegative, NonNegative],
        "alpha": Fraction,
        "compensation": Positive,
    },
    positional=True,
    **IMAGES,
)
library.loss(
    "kornia.losses:TotalVariation",
    summary="Sum of absolute differences of neighbouring pixels, for each channel of each image.",
    tags=["image_quality", "smoothing"],
    input="images",
    target_kind="none",
    needs_labels=False,
    positional=True,
)
library.loss(
    "kornia.losses:InverseDepthSmoothnessLoss",
    summary="Absolute differences of neighbouring inverse depths, less where the image has an edge.",
    tags=["depth", "smoothing", "self_supervised"],
    input="inverse depth",
    target_kind="images",
    needs_labels=False,
    positional=True,
)
library.loss(
    "kornia.metrics:AEPE",
    "endpoint_error",
    summary="Length of the difference of flow vectors; its gradient is NaN where they are equal.",
    tags=["regression", "registration"],
    input="flow",
    target_kind="flow",
)
