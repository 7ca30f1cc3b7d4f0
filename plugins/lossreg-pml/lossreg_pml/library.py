"""pytorch-metric-learning's versions, modules and exclusions, and the annotations that its classes share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from lossreg.authoring import Functions, Library, Part

PACKAGE = "pytorch_metric_learning"

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]

Distance = Annotated[nn.Module, Part("distance")]
Reducer = Annotated[nn.Module, Part("reducer")]
Regularizer = Annotated[nn.Module, Part("regularizer")]
Miner = Annotated[nn.Module, Part("miner")]

# The library accepts any function that fills a tensor. Its own wrapper of these functions only adds arguments.
Initializer = Annotated[
    Callable[..., Any],
    Functions(
        {
            name: f"torch.nn.init:{name}_"
            for name in (
                "normal",
                "trunc_normal",
                "uniform",
                "xavier_normal",
                "xavier_uniform",
                "kaiming_normal",
                "kaiming_uniform",
                "orthogonal",
            )
        }
    ),
]

library = Library(
    PACKAGE,
    "pytorch-metric-learning",
    ">=2.9,<2.10",
    modules=[f"{PACKAGE}.{module}" for module in ("losses", "distances", "reducers", "regularizers", "miners")],
    exclude={
        "BaseMetricLossFunction": "an abstract base",
        "BaseLossWrapper": "an abstract base",
        "GenericPairLoss": "an abstract base",
        "BaseDistance": "an abstract base",
        "BaseReducer": "an abstract base",
        "BaseRegularizer": "an abstract base",
        "BaseMiner": "an abstract base",
        "BatchedDistance": "passes blocks of distances to a function of the caller and returns none",
    },
    hints={
        "distance": Distance | None,
        "reducer": Reducer | None,
        "embedding_regularizer": Regularizer | None,
        "weight_regularizer": Regularizer | None,
        "weight_init_func": Initializer,
        "num_classes": PositiveInt,
        "embedding_size": PositiveInt,
        "temperature": PositiveFloat,
        "num_bins": PositiveInt,
        "p": PositiveFloat,
        "collect_stats": None,  # fills attributes for the library's own trainers and loggers
        "mat_based_loss": None,  # set by each subclass of GenericPairLoss
        "is_inverted": None,  # set by each distance: whether larger is nearer
    },
)


def metric_loss(cls: str, name: str | None = None, *, summary: str, tags: Iterable[str] = (), **more: Any) -> None:
    """Declare a loss of embeddings (N, D) and labels (N,); `more` are options of `Library.loss`."""
    takes = {"input": "embeddings", "target_kind": "labels", **more}
    target = f"{PACKAGE}.losses:{cls}"
    library.loss(target, name, summary=summary, tags=["embeddings", "metric_learning", *tags], **takes)
