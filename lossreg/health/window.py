"""What the rules read: the statistics of the last updates, as numbers on the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Mask(NamedTuple):
    """One class or mask of one example. None: no prediction, or no target, was given; means are over valid pixels.

    valid: share of the pixels that are not ignored. predicted: mean probability. spread: standard deviation of the
    probability over the pixels. lowest, highest: of the prediction as it was given. target: mean of the target.
    foreground: share of pixels whose target is above 0.5. wrong: share of pixels whose probability is off by more than
    0.5. stuck: share of pixels off by more than 0.9999, where a sigmoid or softmax has no gradient left.
    """

    valid: float
    predicted: float | None = None
    spread: float | None = None
    lowest: float | None = None
    highest: float | None = None
    target: float | None = None
    foreground: float | None = None
    wrong: float | None = None
    stuck: float | None = None


class Example(NamedTuple):
    """One example of a batch.

    loss: None if the loss was given for the batch alone. empty: whether its target has no foreground; None without a
    target, and where all of it is ignored. sample_id: None if none was given.
    """

    loss: float | None = None
    empty: bool | None = None
    masks: tuple[Mask, ...] = ()
    sample_id: str | None = None


class Update(NamedTuple):
    """One call of `LossMonitor.update`. loss: the total, None if the batch was empty; components: before weights."""

    step: int
    loss: float | None
    components: Mapping[str, float] = {}
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Window:
    """The updates between two readings.

    Args:
        updates: in order, at least one.
        history: finite totals before them, oldest first; as many as the rules ask for at most.
        weights: factor of each component in the total at the last update; empty if the monitor was not given the loss.
        gradients: norm of the gradient of each weighted component with respect to the prediction at the last update;
            empty as above.
    """

    updates: Sequence[Update]
    history: Sequence[float] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    gradients: Mapping[str, float] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """Of the last update."""
        return self.updates[-1].step

    def examples(self) -> Iterator[Example]:
        """Those of all updates."""
        for update in self.updates:
            yield from update.examples

    def losses(self) -> list[tuple[int, float]]:
        """Step and total of each update whose batch was not empty."""
        return [(update.step, update.loss) for update in self.updates if update.loss is not None]


def ids(examples: Sequence[Example]) -> tuple[str, ...]:
    """Of the examples that have one, each once."""
    return tuple(dict.fromkeys(example.sample_id for example in examples if example.sample_id is not None))
