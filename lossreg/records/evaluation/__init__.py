"""The losses of a whole dataset, computed by one process, by the ranks of torchrun, or by Ray."""

from lossreg.records.evaluation.distributed import RankError
from lossreg.records.evaluation.evaluate import evaluate_dataset, run_dataset_evaluation

__all__ = ["RankError", "evaluate_dataset", "run_dataset_evaluation"]
