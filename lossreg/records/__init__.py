"""Per-example records: which examples, captions or datasets carry the loss. Needs the extra `records`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossreg.messages import require
from lossreg.registry.importing import lazy

if TYPE_CHECKING:
    from lossreg.records.aggregate import aggregate_by_dataset, aggregate_by_run
    from lossreg.records.caption_rules import CaptionRules
    from lossreg.records.captions import flag_bad_captions
    from lossreg.records.compare import compare_runs
    from lossreg.records.config import RecordConfig
    from lossreg.records.controls import plant_controls
    from lossreg.records.evaluation import RankError, evaluate_dataset, run_dataset_evaluation
    from lossreg.records.evaluation.draws import Draw
    from lossreg.records.evaluation.ray_data import RayExecutor
    from lossreg.records.filters import Filters
    from lossreg.records.per_example import compute_per_example_loss
    from lossreg.records.ranking import Ranking, rank_examples
    from lossreg.records.reader import left_out
    from lossreg.records.report import write_report
    from lossreg.records.writer import RecordWriter

# Names load on first use: writing records imports nothing that reads them.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "CaptionRules": "lossreg.records.caption_rules",
        "Draw": "lossreg.records.evaluation.draws",
        "Filters": "lossreg.records.filters",
        "RankError": "lossreg.records.evaluation",
        "Ranking": "lossreg.records.ranking",
        "RayExecutor": "lossreg.records.evaluation.ray_data",
        "RecordConfig": "lossreg.records.config",
        "RecordWriter": "lossreg.records.writer",
        "aggregate_by_dataset": "lossreg.records.aggregate",
        "aggregate_by_run": "lossreg.records.aggregate",
        "compare_runs": "lossreg.records.compare",
        "compute_per_example_loss": "lossreg.records.per_example",
        "evaluate_dataset": "lossreg.records.evaluation",
        "flag_bad_captions": "lossreg.records.captions",
        "left_out": "lossreg.records.reader",
        "plant_controls": "lossreg.records.controls",
        "rank_examples": "lossreg.records.ranking",
        "run_dataset_evaluation": "lossreg.records.evaluation",
        "write_report": "lossreg.records.report",
    },
    lambda: require("duckdb", "numpy", extra="records", use="records"),
)

__all__ = [
    "CaptionRules",
    "Draw",
    "Filters",
    "RankError",
    "Ranking",
    "RayExecutor",
    "RecordConfig",
    "RecordWriter",
    "aggregate_by_dataset",
    "aggregate_by_run",
    "compare_runs",
    "compute_per_example_loss",
    "evaluate_dataset",
    "flag_bad_captions",
    "left_out",
    "plant_controls",
    "rank_examples",
    "run_dataset_evaluation",
    "write_report",
]
