"""Losses of images, displacement fields, boxes and embeddings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from lossreg_monai.library import Count, Fraction, NonNegative, Positive, library

library.loss(
    "monai.losses:SSIMLoss",
    summary="One minus the structural similarity of two images or volumes.",
    tags=["image_quality", "regression"],
    input="images",
    target_kind="images",
    example={"spatial_dims": 2},
    hints={
        "kernel_type": Literal["gaussian", "uniform"],
        "data_range": Positive,
        "win_size": Count | list[Count],
        "kernel_sigma": Positive | list[Positive],
        "k1": NonNegative,
        "k2": NonNegative,
    },
    positional=True,
)
library.loss(
    "monai.losses:JukeboxLoss",
    summary="Squared difference of the magnitudes of the Fourier transforms.",
    tags=["image_quality", "regression", "generative"],
    input="images",
    target_kind="images",
    example={"spatial_dims": 2},
    hints={
        "spatial_dims": Count,
        "fft_signal_size": list[Count] | None,
        "fft_norm": Literal["forward", "backward", "ortho"],
    },
    positional=True,
)
library.loss(
    "monai.losses:SURELoss",
    summary="Unbiased risk estimate of a denoiser without clean images; called with the operator first.",
    tags=["image_quality", "self_supervised", "random"],
    input="images, after the operator",
    target_kind="noisy images",
    hints={"perturb_noise": Tensor | None, "eps": Positive | None},
    deterministic=False,
)
library.loss(
    "monai.losses:LocalNormalizedCrossCorrelationLoss",
    "local_ncc",
    summary="Negative squared correlation of two images within a moving window; volumes by default.",
    tags=["registration", "image_quality"],
    input="volumes",
    target_kind="volumes",
    hints={
        "spatial_dims": Literal[1, 2, 3],
        "kernel_type": Literal["rectangular", "triangular", "gaussian"],
    },
    positional=True,
)
library.loss(
    "monai.losses:GlobalMutualInformationLoss",
    summary="Negative mutual information of the intensities of two images in [0, 1].",
    tags=["registration"],
    input="images",
    target_kind="images",
    family="mutual_information",
    hints={
        "kernel_type": Literal["gaussian", "b-spline"],
        "num_bins": Annotated[int, Field(ge=2)],  # a single bin has no width: NaN
        "sigma_ratio": Positive,
    },
)
for cls, summary in [
    ("BendingEnergyLoss", "Second derivatives of a displacement field, squared."),
    ("DiffusionLoss", "First derivatives of a displacement field, squared."),
]:
    library.loss(
        f"monai.losses:{cls}",
        summary=summary,
        tags=["registration", "smoothing"],
        input="displacements",
        target_kind="none",
        needs_labels=False,
        positional=True,
    )
library.loss(
    "monai.losses:BoxGIoULoss",
    "giou",
    summary="One minus the generalised IoU of paired boxes, as corners, in two or three dimensions.",
    tags=["overlap", "regression"],
    input="boxes",
    target_kind="boxes",
    compiles=False,
)

library.loss(
    "monai.losses:BarlowTwinsLoss",
    summary="Cross-correlation of two views' embeddings, drawn to the identity.",
    tags=["embeddings", "self_supervised"],
    input="embeddings",
    target_kind="embeddings",
    hints={"lambd": NonNegative},
)
library.loss(
    "monai.losses:ContrastiveLoss",
    summary="NT-Xent of SimCLR: the two views of an image against all others in the batch.",
    tags=["embeddings", "self_supervised"],
    input="embeddings",
    target_kind="embeddings",
    family="info_nce",
    hints={"temperature": Positive, "batch_size": None},  # deprecated: MONAI uses the batch size of the call
)
library.loss(
    "monai.losses:AUCMLoss",
    summary="Margin surrogate of the area under the ROC curve, with three learned scalars.",
    tags=["classification", "binary", "imbalance", "ranking", "learnable", "logits"],
    tasks=["binary"],
    input="scores",
    target_kind="binary labels",
    has_parameters=True,
    compiles=False,
    hints={
        "margin": NonNegative,
        "imratio": Fraction | None,
        "version": Literal["v1", "v2"],
        "reduction": None,  # without effect: a batch has one value
    },
)
library.loss(
    "monai.losses:PatchAdversarialLoss",
    summary="Loss of a patch discriminator or its generator, called with whether the target is real.",
    tags=["adversarial", "generative", "logits"],
    input="scores of patches",
    target_kind="flags: is real, is for the discriminator",
    needs_labels=False,
    hints={
        "reduction": Literal["mean", "sum"],  # "none" returns a list
        "criterion": Literal["bce", "hinge", "least_squares"],
    },
)
