"""Per-example records: which examples, captions or datasets carry the loss. Needs the extra `records`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lossreg.extras import require

if TYPE_CHECKING:
    from lossreg.records.aggregate import aggregate_by_dataset
    from lossreg.records.captions import CaptionRules, flag_bad_captions
    from lossreg.records.config import RecordConfig
    from lossreg.records.evaluation import RankError, evaluate_dataset, run_dataset_evaluation
    from lossreg.records.evaluation.ray_data import RayExecutor
    from lossreg.records.per_example import compute_per_example_loss
    from lossreg.records.report import write_report
    from lossreg.records.writer import RecordWriter

# Each is imported when it is first used: what writes records needs nothing of what reads them.
_ON_FIRST_USE = {
    "CaptionRules": "captions",
    "RankError": "evaluation",
    "RayExecutor": "evaluation.ray_data",
    "RecordConfig": "config",
    "RecordWriter": "writer",
    "aggregate_by_dataset": "aggregate",
    "compute_per_example_loss": "per_example",
    "evaluate_dataset": "evaluation",
    "flag_bad_captions": "captions",
    "run_dataset_evaluation": "evaluation",
    "write_report": "report",
}

__all__ = [
    "CaptionRules",
    "RankError",
    "RayExecutor",
    "RecordConfig",
    "RecordWriter",
    "aggregate_by_dataset",
    "compute_per_example_loss",
    "evaluate_dataset",
    "flag_bad_captions",
    "run_dataset_evaluation",
    "write_report",
]


def __getattr__(name: str) -> object:
    module = _ON_FIRST_USE.get(name)
    if module is None:
        raise AttributeError(f"module 'lossreg.records' has no attribute {name!r}")
    require("duckdb", "numpy", extra="records", use="records")
    value = getattr(import_module(f"lossreg.records.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
