"""Distances, reducers, regularizers and miners: the parts of the library's losses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor

from lossreg_pml.library import PACKAGE, Fraction, PositiveInt, Reducer, library

Difficulty = Literal["hard", "semihard", "easy", "all"]
Range = tuple[float, float] | None


def part(cls: str, role: str, name: str, summary: str, **more: Any) -> None:
    """Declare a part. Its name omits its role, unless two parts would then share the name."""
    library.part(f"{PACKAGE}.{role}s:{cls}", role, name, summary=summary, **more)


part("LpDistance", "distance", "lp_distance", "Lp distance, to a power.")
part("SNRDistance", "distance", "snr", "Variance of the difference over that of the query.")
part(
    "DotProductSimilarity",
    "distance",
    "dot_product_similarity",
    "Dot product, of normalised embeddings by default.",
)
part(
    "CosineSimilarity",
    "distance",
    "cosine_similarity",
    "Dot product of normalised embeddings.",
    hints={"normalize_embeddings": None},  # settled by the class
)

part("MeanReducer", "reducer", "mean", "Mean.")
part("SumReducer", "reducer", "sum", "Sum.")
part(
    "AvgNonZeroReducer",
    "reducer",
    "avg_non_zero",
    "Mean of the values above 0.",
    hints={"high": float | None, "low": None},  # settled by the class: 0
)
part(
    "ThresholdReducer",
    "reducer",
    "threshold",
    "Mean of the values above low and below high; at least one of these must be given.",
    example={"low": 0.0},
    hints={"low": float | None, "high": float | None},
)
part(
    "ClassWeightedReducer",
    "reducer",
    "class_weighted",
    "Mean of the values, each times the weight of its anchor's label.",
    example={"weights": [1.0, 1.0, 1.0, 1.0]},
    hints={"weights": Tensor},
)
part("DivisorReducer", "reducer", "divisor", "Sum over a divisor of the loss's own: for margin and proxy_anchor.")
part(
    "PerAnchorReducer",
    "reducer",
    "per_anchor",
    "Mean over the pairs of each anchor, then another reducer; not for triplets.",
    hints={"aggregation_func": None},  # takes a function
)
part(
    "MultipleReducers",
    "reducer",
    "multiple_reducers",
    "Another reducer for each named part of a loss, such as pos_loss.",
    example={"reducers": {"pos_loss": "mean", "neg_loss": "mean"}},
    hints={"reducers": dict[str, Reducer], "default_reducer": Reducer | None},
)
part(
    "DoNothingReducer",
    "reducer",
    "do_nothing",
    "No reduction: the loss returns a dict, and can be no part of another.",
)

part("LpRegularizer", "regularizer", "lp_regularizer", "Lp norm of each vector, to a power.")
part("ZeroMeanRegularizer", "regularizer", "zero_mean", "Absolute sum of each vector.")
part("CenterInvariantRegularizer", "regularizer", "center_invariant", "Spread of the lengths of the class vectors.")
part("RegularFaceRegularizer", "regularizer", "regular_face", "Similarity of each class vector to its nearest other.")
part(
    "SparseCentersRegularizer",
    "regularizer",
    "sparse_centers",
    "Distances among the centres of each class, for losses with several.",
    example={"num_classes": 4, "centers_per_class": 2},
    hints={"centers_per_class": Annotated[int, Field(ge=2)]},
)

part("AngularMiner", "miner", "angular", "Triplets whose angle at the negative is above a number of degrees.")
part(
    "BatchEasyHardMiner",
    "miner",
    "batch_easy_hard",
    "One positive and one negative for each anchor, of a chosen difficulty.",
    hints={
        "pos_strategy": Difficulty,
        "neg_strategy": Difficulty,
        "allowed_pos_range": Range,
        "allowed_neg_range": Range,
    },
)
part(
    "BatchHardMiner",
    "miner",
    "batch_hard",
    "The hardest positive and the hardest negative of each anchor.",
    hints={
        "allowed_pos_range": Range,
        "allowed_neg_range": Range,
        "pos_strategy": None,  # settled by the class: hard
        "neg_strategy": None,
    },
)
part("DistanceWeightedMiner", "miner", "distance_weighted", "Negatives drawn evenly over their distances.")
part(
    "EmbeddingsAlreadyPackagedAsTriplets",
    "miner",
    "packaged_triplets",
    "Rows as they come: anchor, positive, negative, anchor, ...",
)
part("HDCMiner", "miner", "hdc", "The hardest share of all pairs.", hints={"filter_percentage": Fraction})
part("MultiSimilarityMiner", "miner", "multi_similarity", "Pairs harder than an anchor's hardest other, less epsilon.")
part("PairMarginMiner", "miner", "pair_margin", "Positives beyond one margin, negatives short of another.")
part(
    "TripletMarginMiner",
    "miner",
    "triplet_margin",
    "Triplets that violate a margin, or the hard or semihard of them.",
    hints={"type_of_triplets": Difficulty},
)
part(
    "UniformHistogramMiner",
    "miner",
    "uniform_histogram",
    "Pairs drawn evenly over a histogram of their distances.",
    hints={"pos_per_bin": PositiveInt, "neg_per_bin": PositiveInt},
)
