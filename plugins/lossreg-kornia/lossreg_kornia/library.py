"""kornia's versions and modules, and the annotations that its losses share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from lossreg.authoring import Library

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

library = Library(
    "kornia",
    "kornia",
    ">=0.9,<0.10",
    modules=["kornia.losses"],
    hints={
        "reduction": Literal["none", "mean", "sum"],
        "weight": Tensor | None,
        "pos_weight": Tensor | None,
        "gamma": NonNegative,
        "eps": NonNegative,
        "max_val": Positive,
        "window_size": Count,
        "padding": Literal["same", "valid"],
        "mask": None,  # must be bool, and a config's tensors are floats
    },
)
