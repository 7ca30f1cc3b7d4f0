"""One training with planted bad examples, as which_examples.py judges it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossreg.records import run_dataset_evaluation

EPOCHS = (1, 3, 10)  # a training lasts 10, and is judged after each of these


@dataclass(frozen=True, eq=False)
class Training:
    """What a training left.

    records: the losses of every example in epochs 1 to 10; a loss that needs margins has the own column `margin`.
    planted: the sample_ids of the bad examples.
    passes: the records of evaluations, by their name and the epochs of training before.
    """

    records: Path
    planted: frozenset[str]
    passes: dict[tuple[str, int], Path] = field(default_factory=dict)


def evaluate(
    training: Training, name: str, epoch: int, compute: Callable[..., Any], batches: Iterable[Any], **options: Any
) -> None:
    """Evaluate the data set with the model of this epoch, and keep the records under a name."""
    out = training.records.parent / name
    run_dataset_evaluation(compute, batches, job_name="pass", step=epoch, out_dir=out, **options)
    training.passes[name, epoch] = out / f"pass_{epoch:09d}.records"


def shares(count: int, kinds: Mapping[str, float], order: list[int]) -> dict[int, str]:
    """Choose which examples are made bad and how: of each kind its share of `count`, in the order given."""
    chosen: dict[int, str] = {}
    remaining = iter(order)
    for kind, share in kinds.items():
        chosen |= {next(remaining): kind for _ in range(round(share * count))}
    return chosen
