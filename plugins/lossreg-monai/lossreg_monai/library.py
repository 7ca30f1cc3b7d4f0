"""MONAI's versions, modules and exclusions, and the annotations that its losses share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from lossreg.authoring import Functions, Library

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
SpatialDims = Literal[2, 3]

library = Library(
    "monai",
    "monai",
    ">=1.6,<1.7",
    modules=["monai.losses", "monai.losses.unified_focal_loss", "monai.apps.pathology.losses"],
    exclude={"PerceptualLoss": "downloads the weights of its network when it is built"},
    hints={
        "reduction": Literal["none", "mean", "sum"],
        "size_average": None,  # deprecated in favour of reduction
        "reduce": None,
        "other_act": Annotated[
            Callable[[Tensor], Tensor],
            Functions(
                {
                    "sigmoid": "torch:sigmoid",
                    "tanh": "torch:tanh",
                    "relu": "torch:relu",
                    "softplus": "torch.nn.functional:softplus",
                    "hardsigmoid": "torch.nn.functional:hardsigmoid",
                }
            ),
        ]
        | None,
        "weight": Tensor | None,
        "gamma": NonNegative,
        "smooth_nr": NonNegative,
        "smooth_dr": NonNegative,
        "epsilon": Positive,
        "sigma": Positive,
        "lambda_dice": NonNegative,
        "lambda_ce": NonNegative,
        "lambda_focal": NonNegative,
        "lambda_gdl": NonNegative,
        "label_smoothing": Fraction,
        "iter_": Annotated[int, Field(ge=0)],
        "smooth": Positive,
        "classes": Annotated[int, Field(ge=2)],
        "num_classes": Annotated[int, Field(ge=2)],
        "spatial_dims": SpatialDims,
        "kernel_size": Count,
        "scales": list[NonNegative] | None,
        "weights": list[NonNegative] | None,
    },
)
