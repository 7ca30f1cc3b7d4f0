"""Metadata that the signatures of PIQ's losses do not have: ranges, inputs and tags."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor

from lossreg.authoring import Library

PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
PositiveInt = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]

# A sum of similarities is clamped to 1 and subtracted from 1: two or more images have no cost and no gradient.
NOT_SUMMED = {"reduction": Literal["none", "mean"]}

DOWNLOADS = "downloads the weights of a network when it is built"
NO_GRADIENT = "measures whole sets of features, without a gradient"

library = Library(
    "piq",
    "piq",
    ">=0.8,<0.9",
    modules=["piq"],
    exclude={
        "BRISQUELoss": "downloads the support vectors of its model when it is called",
        "CLIPIQA": DOWNLOADS,
        "ContentLoss": DOWNLOADS,
        "DISTS": DOWNLOADS,
        "LPIPS": DOWNLOADS,
        "PieAPP": DOWNLOADS,
        "StyleLoss": DOWNLOADS,
        "FID": NO_GRADIENT,
        "GS": NO_GRADIENT,
        "IS": NO_GRADIENT,
        "MSID": NO_GRADIENT,
        "PR": NO_GRADIENT,
    },
    hints={
        "data_range": PositiveFloat,
        "reduction": Literal["none", "mean", "sum"],
        "kernel_size": PositiveInt,
        "kernel_sigma": PositiveFloat,
        "k1": NonNegativeFloat,
        "k2": NonNegativeFloat,
        "scale_weights": Tensor | None,
    },
)


def _similarity(cls: str, name: str | None = None, *, summary: str, compiles: bool = False, **metadata: Any) -> None:
    """Declare a comparison of two images. Most read the range of the pixels, and so do not compile."""
    library.loss(
        f"piq:{cls}",
        name,
        summary=summary,
        tags=["image_quality", "regression"],
        input="images",
        target_kind="images",
        positional=True,
        compiles=compiles,
        **metadata,
    )


# Structure in windows.
_similarity("SSIMLoss", summary="One minus structural similarity: brightness, contrast and structure of windows.")
_similarity(
    "MultiScaleSSIMLoss",
    "ms_ssim",
    summary="One minus structural similarity over scales; five of them need images of 161 pixels a side.",
)
_similarity(
    "InformationWeightedSSIMLoss",
    "iw_ssim",
    summary="One minus structural similarity over scales, where windows weigh by their information.",
    hints={"blk_size": PositiveInt, "sigma_nsq": PositiveFloat},
)
_similarity(
    "VIFLoss",
    summary="One minus the share of the reference's visual information that survives; the reference comes second.",
    hints={"sigma_n_sq": PositiveFloat, **NOT_SUMMED},
)

# Gradients and colours.
_similarity("GMSDLoss", summary="Deviation of the similarity of gradient magnitudes.", hints={"t": PositiveFloat})
_similarity(
    "MultiScaleGMSDLoss",
    "ms_gmsd",
    summary="Deviation of the similarity of gradient magnitudes over scales, with or without colour.",
    hints={
        "alpha": Annotated[float, Field(ge=0, lt=2)],  # at 2 the compared terms cancel out
        "beta1": NonNegativeFloat,
        "beta2": NonNegativeFloat,
        "beta3": NonNegativeFloat,
        "t": PositiveFloat,
    },
)
_similarity(
    "MDSILoss",
    summary="Deviation of the similarity of gradients and colours, pooled by powers.",
    hints={
        "c1": PositiveFloat,
        "c2": PositiveFloat,
        "c3": PositiveFloat,
        "alpha": Share,
        "beta": NonNegativeFloat,
        "gamma": NonNegativeFloat,
        "rho": PositiveFloat,
        "q": PositiveFloat,
        "o": PositiveFloat,
        "combination": Literal["sum", "mult"],
    },
)

# Features and salience.
_similarity(
    "FSIMLoss",
    summary="One minus the similarity of phase congruency and gradients; grey images need chromatic: false.",
    hints={
        "scales": PositiveInt,
        "orientations": PositiveInt,
        "min_length": PositiveInt,
        "mult": PositiveInt,
        "sigma_f": PositiveFloat,
        "delta_theta": PositiveFloat,
        "k": NonNegativeFloat,
        **NOT_SUMMED,
    },
)
_similarity(
    "VSILoss",
    summary="One minus the similarity of salience, gradients and colours, where salient places weigh more.",
    hints={
        "c1": PositiveFloat,
        "c2": PositiveFloat,
        "c3": PositiveFloat,
        "alpha": NonNegativeFloat,
        "beta": NonNegativeFloat,
        "omega_0": PositiveFloat,
        "sigma_f": PositiveFloat,
        "sigma_d": PositiveFloat,
        "sigma_c": PositiveFloat,
    },
)
_similarity(
    "SRSIMLoss",
    summary="One minus the similarity of gradients, where salient places by the spectral residual weigh more.",
    hints={"scale": PositiveFloat, "sigma": PositiveFloat, "gaussian_size": PositiveInt, **NOT_SUMMED},
)

# Transforms.
_similarity(
    "HaarPSILoss",
    "haarpsi",
    summary="One minus the similarity of Haar wavelet coefficients.",
    # The third scale has the weights of the first two: fewer scales have no weights, more do not fit them.
    hints={"scales": Literal[3], "c": PositiveFloat, "alpha": PositiveFloat},
)
_similarity(
    "DSSLoss",
    summary="One minus the similarity of the subbands of the discrete cosine transform.",
    hints={
        "dct_size": PositiveInt,
        "sigma_weight": PositiveFloat,
        "sigma_similarity": PositiveFloat,
        "percentile": Annotated[float, Field(gt=0, le=1)],
        **NOT_SUMMED,
    },
)

# Losses of one image, and of features.
library.loss(
    "piq:TVLoss",
    "total_variation",
    summary="Total variation of an image, smallest for smooth ones.",
    tags=["image_quality", "smoothing"],
    input="images",
    target_kind="none",
    needs_labels=False,
    positional=True,
    hints={"norm_type": Literal["l1", "l2", "l2_squared"]},
)
library.loss(
    "piq:KID",
    summary="Kernel inception distance: maximum mean discrepancy of two batches of features by a polynomial kernel.",
    tags=["embeddings", "generative", "image_quality", "random"],
    input="embeddings",
    target_kind="embeddings",
    deterministic=False,  # subsets are sampled
    hints={
        "degree": PositiveInt,
        "gamma": PositiveFloat | None,
        "coef0": NonNegativeFloat,
        "n_subsets": PositiveInt,
        "subset_size": Annotated[int, Field(ge=2)] | None,  # one feature alone has no unbiased estimate
        # The variance would be a second value, which no loss returns.
        "ret_var": None,
        "var_at_m": None,
    },
)
