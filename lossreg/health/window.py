"""The input of the rules: the statistics of the last updates, as numbers on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

Row = TypeVar("Row")


class Mask(NamedTuple):
    """Statistics of one class or mask of one example. Means and shares are over its valid pixels.

    Fields that need the prediction, or the target, are None without it.

    valid: share of the pixels that are not ignored. predicted: mean probability. spread: standard deviation of the
    probability over the pixels. lowest, highest: range of the prediction before any activation. positive: share of
    pixels with a probability above 0.5. target: mean of the target. foreground: share of pixels with a target above
    0.5. wrong: share of pixels with a probability off by more than 0.5. stuck: share of pixels off by more than 0.9999,
    where a sigmoid or softmax has no gradient left.
    """

    valid: float
    predicted: float | None = None
    spread: float | None = None
    lowest: float | None = None
    highest: float | None = None
    positive: float | None = None
    target: float | None = None
    foreground: float | None = None
    wrong: float | None = None
    stuck: float | None = None


class Example(NamedTuple):
    """One example of a batch.

    loss: None if only the batch has a loss. empty: True if its target has no foreground; None without a target, or if
    all of it is ignored. masks: one per class. sample_id: None without an id. values: lowest and highest value of the
    target's masks; None without masks.
    """

    loss: float | None = None
    empty: bool | None = None
    masks: tuple[Mask, ...] = ()
    sample_id: str | None = None
    values: tuple[float, float] | None = None


class Update(NamedTuple):
    """One call of `LossMonitor.update`. loss: the total, None if the batch was empty. components: without weights."""

    step: int
    loss: float | None
    components: Mapping[str, float] = {}
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Window:
    """The updates between two evaluations of the rules.

    Args:
        updates: in order, at least one.
        history: finite totals before them, oldest first; at most the largest `Rule.history`.
        weights: factor of each component in the total at the last update; empty if the monitor has no loss.
        gradients: norm of the gradient of each weighted component with respect to the prediction at the last update;
            empty if the monitor has no loss.
        before: updates before them, oldest first, for rules that need more examples; a few hundred examples at most.
    """

    updates: Sequence[Update]
    history: Sequence[float] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    gradients: Mapping[str, float] = field(default_factory=dict)
    before: Sequence[Update] = ()

    @property
    def step(self) -> int:
        """Return the step of the last update."""
        return self.updates[-1].step

    def examples(self) -> Iterator[Example]:
        """Yield the examples of all updates."""
        for update in self.updates:
            yield from update.examples

    def last(self, rows_of: Callable[[Update], Sequence[Row]], least: int) -> list[Row]:
        """Return the rows of the window's updates, and of as many before them as `least` needs.

        Empty if the window has no row itself: then there is nothing new to judge.

        Args:
            rows_of: the rows of an update, such as its examples with a target.
            least: number of rows for which earlier updates are taken, >= 1.
        """
        rows = [row for update in self.updates for row in rows_of(update)]
        earlier: list[Row] = []
        for update in reversed(self.before) if rows else ():
            if len(rows) + len(earlier) >= least:
                break
            earlier = [*rows_of(update), *earlier]
        return earlier + rows

    def losses(self) -> list[tuple[int, float]]:
        """Return step and total of each update with a batch that was not empty."""
        return [(update.step, update.loss) for update in self.updates if update.loss is not None]


def ids(examples: Sequence[Example]) -> tuple[str, ...]:
    """Return the ids of the examples that have one, without duplicates."""
    return tuple(dict.fromkeys(example.sample_id for example in examples if example.sample_id is not None))
