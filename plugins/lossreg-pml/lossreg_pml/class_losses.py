"""Losses that learn a vector for each class; the optimiser needs their parameters."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from lossreg_pml.library import PositiveFloat, PositiveInt, metric_loss

CLASSES = {"num_classes": 4, "embedding_size": 8}


def class_loss(cls: str, name: str | None = None, *, summary: str, **more: Any) -> None:
    """Declare a loss with one or several learned vectors for each class."""
    metadata = {"example": CLASSES, "tags": ["classification", "learnable"], **more}
    metric_loss(cls, name, summary=summary, has_parameters=True, **metadata)


class_loss("ArcFaceLoss", "arcface", summary="Softmax over cosines to each class, the true angle larger by a margin.")
class_loss(
    "SubCenterArcFaceLoss",
    "subcenter_arcface",
    summary="ArcFace with several centres for each class; the nearest one counts.",
    hints={"sub_centers": PositiveInt},
)
class_loss("CosFaceLoss", "cosface", summary="Softmax over cosines to each class, the true one less a margin.")
class_loss(
    "LargeMarginSoftmaxLoss",
    summary="Softmax in which the angle to the true class counts a whole number of times.",
    hints={"margin": PositiveInt},
)
class_loss(
    "SphereFaceLoss",
    "sphereface",
    summary="Large-margin softmax with class vectors of length 1.",
    hints={"margin": PositiveInt},
)
class_loss("NormalizedSoftmaxLoss", summary="Softmax over normalised class vectors, sharpened by a temperature.")
class_loss(
    "ProxyAnchorLoss",
    summary="Each class's proxy as the anchor of all embeddings, the hard ones weighing more.",
    compiles=False,
)
class_loss("ProxyNCALoss", summary="Neighbourhood components analysis with a learned proxy for each class.")
class_loss(
    "SoftTripleLoss",
    summary="Softmax over classes with several centres each, blended by their similarity.",
    hints={"centers_per_class": PositiveInt, "gamma": PositiveFloat},
)
class_loss(
    "P2SGradLoss",
    "p2s_grad",
    summary="Squared error of the cosines to each class against 0 and 1.",
    example={"descriptors_dim": 8, "num_classes": 4},
    hints={"descriptors_dim": PositiveInt},
)
class_loss(
    "ManifoldLoss",
    summary="Random walks over embeddings and as many learned proxies, each to reach its own proxy; takes no labels.",
    tags=["learnable", "random", "self_supervised"],
    target_kind="none",
    needs_labels=False,
    deterministic=False,
    # A batch needs at least K embeddings.
    example={"l": 8, "K": 4},
    hints={
        "l": PositiveInt,
        "K": PositiveInt,
        "lambdaC": Annotated[float, Field(ge=0)],
        "alpha": Annotated[float, Field(gt=0, lt=1)],
    },
)
