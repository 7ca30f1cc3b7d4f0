"""Metadata that the signatures of torch.nn's losses do not have: ranges, inputs and tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from lossreg.authoring import Functions, Library

Count = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

Distance = Annotated[
    Callable[[Tensor, Tensor], Tensor],
    Functions(
        {
            "euclidean": "torch.nn.functional:pairwise_distance",
            "squared_euclidean": "lossreg_torch.distances:squared_euclidean",
            "manhattan": "lossreg_torch.distances:manhattan",
            "chebyshev": "lossreg_torch.distances:chebyshev",
            "cosine": "lossreg_torch.distances:cosine",
        }
    ),
]

library = Library(
    "torch",
    "torch",
    ">=2.13,<2.14",
    modules=["torch.nn.modules.loss", "torch.nn.modules.adaptive"],
    exclude={
        "NLLLoss2d": "an old name of NLLLoss",
        "AdaptiveLogSoftmaxWithLoss": "returns more than its loss; adaptive_log_softmax.py returns that alone",
    },
    hints={
        "reduction": Literal["none", "mean", "sum"],
        "size_average": None,  # deprecated in favour of reduction, as is reduce
        "reduce": None,
        "device": None,  # module.to(...) sets both
        "dtype": None,
        "eps": NonNegativeFloat,
        "label_smoothing": Share,
    },
)

# Values, compared one by one.
library.loss(
    "torch.nn:L1Loss",
    summary="Absolute error.",
    tags=["regression"],
    input="values",
    target_kind="values",
)
library.loss(
    "torch.nn:MSELoss",
    summary="Squared error.",
    tags=["regression"],
    input="values",
    target_kind="values",
)
library.loss(
    "torch.nn:SmoothL1Loss",
    summary="Squared error over twice beta where it is below beta, absolute error beyond.",
    tags=["regression"],
    input="values",
    target_kind="values",
    hints={"beta": NonNegativeFloat},
)
library.loss(
    "torch.nn:HuberLoss",
    summary="Half the squared error where it is below delta, delta times the absolute error beyond.",
    tags=["regression"],
    input="values",
    target_kind="values",
    hints={"delta": PositiveFloat},
)
library.loss(
    "torch.nn:PoissonNLLLoss",
    summary="Negative log-likelihood of counts, from the logarithm of their Poisson rate.",
    tags=["regression"],
    input="log-rates",
    target_kind="counts",
)
library.loss(
    "torch.nn:GaussianNLLLoss",
    summary="Negative log-likelihood of values under a normal distribution whose variance is predicted too.",
    tags=["regression"],
    input="values",
    target_kind="values, and predicted variances",
    compiles=False,  # it reads whether a variance is negative
)

# Distributions and classes.
library.loss(
    "torch.nn:KLDivLoss",
    summary="Kullback-Leibler divergence of the predicted from the target distribution.",
    tags=["classification"],
    input="log-probabilities",
    target_kind="probabilities",
    hints={"reduction": Literal["none", "mean", "sum", "batchmean"]},
)
library.loss(
    "torch.nn:BCELoss",
    summary="Binary cross-entropy of independent probabilities.",
    tags=["binary", "classification", "multilabel", "pixelwise", "probabilities", "segmentation"],
    input="probabilities",
    target_kind="mask",
    tasks=["binary", "multilabel"],
)
library.loss(
    "torch.nn:BCEWithLogitsLoss",
    summary="Binary cross-entropy of independent logits, with a weight of the positives.",
    tags=["binary", "classification", "imbalance", "logits", "multilabel", "pixelwise", "segmentation"],
    input="logits",
    target_kind="mask",
    tasks=["binary", "multilabel"],
    family="bce",
)
library.loss(
    "torch.nn:CrossEntropyLoss",
    summary="Cross-entropy of classes that exclude each other; weights of classes, label smoothing.",
    tags=["classification", "logits", "multiclass", "pixelwise", "segmentation", "smoothing"],
    input="logits",
    target_kind="class index",
    tasks=["multiclass"],
)
library.loss(
    "torch.nn:NLLLoss",
    summary="Negative log-likelihood of the class: cross-entropy that begins at log-probabilities.",
    tags=["classification", "multiclass", "pixelwise", "segmentation"],
    input="log-probabilities",
    target_kind="class index",
    tasks=["multiclass"],
)
library.loss(
    "torch.nn:LinearCrossEntropyLoss",
    summary="Cross-entropy of a linear layer that it holds and learns.",
    tags=["classification", "embeddings", "learnable", "multiclass", "smoothing"],
    input="embeddings",
    target_kind="class index",
    tasks=["multiclass"],
    has_parameters=True,
    example={"in_features": 16, "num_classes": 5},
    hints={
        "in_features": Count,
        "num_classes": Count,
        "out_features": list[Count],
        "options": None,  # an object with settings of its chunks, which change no value
    },
)
library.loss(
    "torch.nn:MultiLabelSoftMarginLoss",
    summary="Binary cross-entropy of independent logits, averaged over the classes of each example.",
    tags=["classification", "logits", "multilabel"],
    input="logits",
    target_kind="multi-hot labels",
    tasks=["multilabel"],
    family="bce",
)
library.loss(
    "torch.nn:SoftMarginLoss",
    summary="Logistic loss of scores whose targets are -1 and 1.",
    tags=["binary", "classification", "logits"],
    input="logits",
    target_kind="signs",
    tasks=["binary"],
)
library.loss(
    "torch.nn:MultiMarginLoss",
    summary="Hinge on how far the score of the class lies above every other score.",
    tags=["classification", "logits", "multiclass"],
    input="logits",
    target_kind="class index",
    tasks=["multiclass"],
    hints={"p": Literal[1, 2]},
)
library.loss(
    "torch.nn:MultiLabelMarginLoss",
    summary="Hinge on how far the scores of an example's classes lie above those of all others.",
    tags=["classification", "logits", "multilabel", "ranking"],
    input="logits",
    target_kind="class indices, ended by -1",
    tasks=["multilabel"],
)
library.loss(
    "torch.nn:CTCLoss",
    "ctc",
    summary="Connectionist temporal classification: a sequence of classes, over all its alignments with the input.",
    tags=["sequence"],
    input="log-probabilities of each step",
    target_kind="sequences of class indices, and the lengths of both",
    compiles=False,  # its inner tensor's size depends on the lengths
    hints={"blank": NonNegativeInt},
)

# Pairs and triplets.
library.loss(
    "torch.nn:HingeEmbeddingLoss",
    summary="The distance of similar pairs, and a hinge on the distance of dissimilar ones.",
    tags=["embeddings", "metric_learning"],
    input="distances",
    target_kind="signs",
)
library.loss(
    "torch.nn:CosineEmbeddingLoss",
    summary="Brings the directions of alike embeddings together, and pushes those of others apart up to a margin.",
    tags=["embeddings", "metric_learning"],
    input="embeddings, in pairs",
    target_kind="signs",
)
library.loss(
    "torch.nn:MarginRankingLoss",
    summary="Hinge on the difference of two scores; the target is the sign of the larger one.",
    tags=["ranking"],
    input="scores, in pairs",
    target_kind="signs",
)
library.loss(
    "torch.nn:TripletMarginLoss",
    summary="Hinge on how much nearer an anchor is to its positive than to its negative.",
    tags=["embeddings", "metric_learning"],
    input="embeddings",
    target_kind="embeddings of a positive and of a negative",
    needs_labels=False,
    hints={"margin": PositiveFloat, "p": PositiveFloat},
)
library.loss(
    "torch.nn:TripletMarginWithDistanceLoss",
    summary="Triplet margin with a distance that is a parameter.",
    tags=["embeddings", "metric_learning"],
    input="embeddings",
    target_kind="embeddings of a positive and of a negative",
    needs_labels=False,
    family="triplet_margin",
    hints={"margin": PositiveFloat, "distance_function": Distance},
)
