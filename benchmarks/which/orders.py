"""The statistics that which_examples.py compares: each puts the examples of a training in an order."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from lossreg.records import Filters, Ranking, rank_examples
from which.training import Training

Order = list[str]
Statistic = Callable[[Training, int], Order | None]
EVERY = 100_000  # examples of a ranking: all
SURE = "surely among the hardest 5 %"


def mean_of(column: str, sign: int = 1, *, last: bool = False) -> Statistic:
    """Order by the mean of a column over the epochs so far, or over the last alone; None where it does not exist."""

    def order(training: Training, epoch: int) -> Order | None:
        return _by_mean(training.records, column, sign, f"epoch BETWEEN {epoch if last else 1} AND {epoch}")

    return order


def mean_of_pass(name: str, column: str = "loss") -> Statistic:
    """Order by the mean of a column of an evaluation; None where there is none."""

    def order(training: Training, epoch: int) -> Order | None:
        path = training.passes.get((name, epoch))
        return None if path is None else _by_mean(path, column, 1, "true")

    return order


def ranking(training: Training, epoch: int) -> Order:
    """Order as `rank_examples` does."""
    return _names(ranked(training, epoch))


def without_condition(training: Training, epoch: int) -> Order | None:
    """Order as `rank_examples` does without the condition; None where none was recorded."""
    rows = columns(training.records, f"epoch <= {epoch}")
    if not any(value is not None for value in rows["condition"]):
        return None
    return _names(rank_examples(rows | {"condition": None, "unconditional": None}, top_k=EVERY))


def ranking_of_pass(name: str, *, minus_unconditional: bool = False) -> Statistic:
    """Order an evaluation as `rank_examples` does; on demand by how much the class lowers the loss."""

    def order(training: Training, epoch: int) -> Order | None:
        path = training.passes.get((name, epoch))
        if path is None or (minus_unconditional and "loss_unconditional" not in _known(path)):
            return None
        if not minus_unconditional:
            return _names(rank_examples(path, top_k=EVERY))
        rows = columns(path, "true", "loss_unconditional")
        pairs = zip(rows["loss"], rows.pop("loss_unconditional"), strict=True)
        return _names(rank_examples(rows | {"loss": [given - none for given, none in pairs]}, top_k=EVERY))

    return order


@cache
def ranked(training: Training, epoch: int) -> Ranking:
    """Rank the examples by the epochs so far."""
    return rank_examples(training.records, filters=Filters(epochs=f":{epoch}"), top_k=EVERY)


def ranked_shuffled(training: Training, epoch: int, seed: int) -> Ranking:
    """Rank the same losses, dealt to other examples of the data set in each epoch: then no example differs."""
    rows = columns(training.records, f"epoch <= {epoch}")
    dealt = random.Random(seed)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, key in enumerate(zip(rows["epoch"], rows["dataset"], strict=True)):
        groups.setdefault(key, []).append(number)
    names = list(rows["sample_id"])
    for numbers in groups.values():
        for number, other in zip(numbers, dealt.sample(numbers, len(numbers)), strict=True):
            names[number] = rows["sample_id"][other]
    return rank_examples(rows | {"sample_id": names}, top_k=EVERY)


def columns(directory: Path, where: str, *more: str) -> dict[str, list[Any]]:
    """Read the columns of records that a ranking needs."""
    names = ["step", "epoch", "dataset", "sample_id", "loss", "condition", "draw", "unconditional", *more]
    rows = _sql(f"SELECT {', '.join(names)} FROM {_shards(directory)} WHERE {where} ORDER BY step, draw, sample_id")
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _by_mean(directory: Path, column: str, sign: int, where: str) -> Order | None:
    if column not in _known(directory):
        return None
    query = (
        f"SELECT sample_id FROM {_shards(directory)} WHERE {where} GROUP BY ALL ORDER BY {sign} * avg({column}) DESC"
    )
    return [name for (name,) in _sql(query)]


def _known(directory: Path) -> list[str]:
    """List the columns of records."""
    return [row[0] for row in _sql(f"DESCRIBE SELECT * FROM {_shards(directory)}")]


def _names(found: Ranking) -> Order:
    return [str(example.sample_id) for example in found.examples]


def _shards(directory: Path) -> str:
    return f"read_parquet('{directory}/*.parquet')"


def _sql(query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(config={"threads": 1}) as connection:
        return connection.execute(query).fetchall()


STATISTICS: Mapping[str, Statistic] = {
    "plain mean of the losses in training": mean_of("loss"),
    "last epoch alone": mean_of("loss", last=True),
    "AUM (mean margin)": mean_of("margin", -1),
    "`rank_examples`, no condition recorded": without_condition,
    "**`rank_examples`**": ranking,
    "pass, random timestep and noise, mean loss": mean_of_pass("random"),
    "pass, mean loss": mean_of_pass("pass"),
    "pass, cleanlab's score": mean_of_pass("pass", "cleanlab"),
    "**pass, `rank_examples`**": ranking_of_pass("pass"),
    'pass with noise="common", `rank_examples`': ranking_of_pass("common"),
    "pass, `rank_examples` of the loss minus the loss without a class": ranking_of_pass(
        "pass", minus_unconditional=True
    ),
}
