"""A ranking of examples, as plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RankedExample:
    """An example, and how much more it loses than its contemporaries.

    Args:
        run: its run; None without one, or if runs are ranked together.
        split: its split, likewise.
        dataset: its data set; "" without one.
        sample_id: its name; None without one.
        path: of its image; None without one.
        caption: its caption; the smallest of several.
        looks: how often it was seen with a finite loss.
        score: how far its loss stands above that of its contemporaries, in their spread, on a scale that grows like a
            logarithm; about 0 for most.
        error: the standard error of the score; None where no example was seen twice.
        deviation: the standard deviation of the score over the looks.
        mean: the plain mean of its losses; None beyond the range of floats.
        control: it was recorded as known to be bad.
        verdict: "surely among the hardest 5 %", "high, but not seen enough", or "".
    """

    run: str | None
    split: str | None
    dataset: str
    sample_id: str | None
    path: str | None
    caption: str | None
    looks: int
    score: float
    error: float | None
    deviation: float
    mean: float | None
    control: bool
    verdict: str


@dataclass(frozen=True)
class RankedGroup:
    """A run and split, whose examples are compared with each other.

    Args:
        run: None without one, or if runs are ranked together.
        split: likewise.
        examples: their number.
        looks: how often an example was seen, on average.
        sure: how many are surely among the hardest 5 %.
        reliability: share of the differences between the examples that is not chance, 0 to 1; None if none was seen
            twice, or all lose the same.
        looks_needed: looks at each example for a reliability of 0.8; None where it is not known.
        note: where the ranking is known not to help, and what to do; "" otherwise.
    """

    run: str | None
    split: str | None
    examples: int
    looks: float
    sure: int
    reliability: float | None
    looks_needed: int | None
    note: str


@dataclass(frozen=True)
class RankedDataset:
    """A data set: the scores of its examples are relative to its own level.

    Args:
        dataset: its name; "" without one.
        examples: their number.
        level: how much more its examples lose than those of all data sets, on average, in the unit of the scores.
        sure: how many are surely among the hardest 5 %.
    """

    dataset: str
    examples: int
    level: float
    sure: int


@dataclass(frozen=True)
class Controls:
    """Examples that were recorded with `control`: known to be bad.

    Args:
        count: their number.
        first: so many examples of the ranking were read: three times as many as controls.
        found: so many controls stand among these.
    """

    count: int
    first: int
    found: int


@dataclass(frozen=True)
class Ranking:
    """The examples that lose more than their contemporaries, the most first.

    Args:
        reliability: share of the differences between the examples that is not chance, 0 to 1; of several groups, the
            mean by their examples. None if no example was seen twice, or all lose the same.
        note: where the ranking is known not to help, and what to do; "" otherwise.
        examples: the first of them.
        total: number of all examples with a finite loss.
        sure: how many are surely among the hardest 5 %.
        not_finite: rows whose loss is NaN or infinite; they enter nothing.
        controls: where the examples stand that are known to be bad; None without any.
        groups: each run and split.
        datasets: the levels of the data sets, the highest first.
    """

    reliability: float | None
    note: str
    examples: tuple[RankedExample, ...]
    total: int
    sure: int
    not_finite: int
    controls: Controls | None
    groups: tuple[RankedGroup, ...]
    datasets: tuple[RankedDataset, ...]
