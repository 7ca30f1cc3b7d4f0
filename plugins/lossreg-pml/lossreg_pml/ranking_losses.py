"""Losses of the order of retrieval."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from lossreg_pml.library import Fraction, PositiveFloat, PositiveInt, metric_loss


def ranking_loss(cls: str, *, summary: str, compiles: bool = False, **more: Any) -> None:
    """Declare a loss of ranks."""
    metric_loss(cls, summary=summary, tags=["ranking"], compiles=compiles, **more)


ranking_loss("FastAPLoss", summary="Average precision, by soft histograms of the distances.")
ranking_loss(
    "SmoothAPLoss",
    summary="Average precision, by sigmoids for ranks; labels in blocks of equal length.",
)
ranking_loss(
    "PNPLoss",
    summary="Number of negatives ranked before each positive.",
    hints={
        "variant": Literal["Ds", "Dq", "Iu", "Ib", "O"],
        "b": PositiveFloat,
        "anneal": PositiveFloat,
    },
)
ranking_loss(
    "RankedListLoss",
    summary="Positives within, and negatives outside, a ball around each embedding.",
    compiles=True,
    example={"margin": 0.4, "Tn": 1.0},
    hints={"margin": float, "Tn": float, "alpha": float | None, "imbalance": Fraction},
)
ranking_loss(
    "HistogramLoss",
    summary="Probability that a negative pair is more similar than a positive one.",
    hints={"n_bins": PositiveInt, "delta": Annotated[float, Field(gt=0, le=2)]},
)
