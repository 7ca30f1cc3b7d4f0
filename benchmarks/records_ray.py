"""The cost of an evaluation without the model: rows per second in this process and on Ray, and a row's size on disk.

The model only computes a number per example, so the time is loading, writing and scheduling, until the last row is on
the disk.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset

from lossreg.records import RayExecutor, run_dataset_evaluation

BATCH = 1000


class Examples(Dataset[dict[str, Any]]):
    """Examples without an image."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"index": index, "dataset": f"dataset{index % 20}"}


def compute(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for each example."""
    index = batch["index"]
    return {
        "loss": torch.sin(index.double()).abs(),
        "sample_id": [f"img_{i:010d}" for i in index.tolist()],
        "dataset": batch["dataset"],
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--part-size", type=int, default=10_000)
    parser.add_argument("--actors", type=int, default=1)
    options = parser.parse_args()

    import ray

    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    on_ray = RayExecutor(actors=options.actors, part_size=options.part_size)
    loader = DataLoader(Examples(options.rows), BATCH)
    print(f"{'':<24}{'rows':>12}{'s':>10}{'rows/s':>12}{'bytes/row':>12}{'shards':>8}")
    jobs: list[tuple[str, Literal["local"] | RayExecutor, int]] = [
        ("local", "local", options.rows),
        ("ray, one batch", on_ray, BATCH),  # the cost of starting: actors, imports
        ("ray", on_ray, options.rows),
    ]
    for name, executor, rows in jobs:
        with tempfile.TemporaryDirectory() as folder:
            given = loader if rows == options.rows else DataLoader(Examples(rows), BATCH)
            began = time.time()
            run_dataset_evaluation(compute, given, job_name="job", step=0, out_dir=folder, executor=executor)
            shards = [path.stat() for path in Path(folder).rglob("*.parquet")]
        seconds = max(shard.st_mtime for shard in shards) - began  # the summary takes its own time
        each = sum(shard.st_size for shard in shards) / rows
        print(f"{name:<24}{rows:>12,}{seconds:>10.1f}{rows / seconds:>12,.0f}{each:>12.1f}{len(shards):>8}")
    ray.shutdown()


if __name__ == "__main__":
    main()
