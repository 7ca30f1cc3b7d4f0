"""One update's statistics: read on the device as one row of numbers, and understood on the host."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossreg.health.batch_inputs import Inputs, take
from lossreg.health.component_gradients import probe
from lossreg.health.event import HealthWarning
from lossreg.health.statistics import Activation, every_example, mask_statistics, presence
from lossreg.health.window import Example, Mask, Update, Window

if TYPE_CHECKING:
    from torch import Tensor, nn

WIDTH = len(Mask._fields)
UNLIKELY = 3  # windows of logits that all lie between 0 and 1; those of a new network may for one


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The numbers lie in this order: total, components, losses, presence, masks, weights, gradients.

    Args:
        step: of the update.
        values: 1-dim, on the device; None if the batch was empty.
        components: their names.
        batch, masks: sizes; batch is 0 if nothing was given that says it, masks if none was read.
        every: masks were read of every so many examples.
        has_losses, has_target: whether there are per-example losses, a target.
        probed: names of the components whose weights and gradients are there.
        sample_ids: of the examples, or empty.
    """

    step: int
    values: Tensor | None = None
    components: Sequence[str] = ()
    batch: int = 0
    masks: int = 0
    every: int = 1
    has_losses: bool = False
    has_target: bool = False
    probed: Sequence[str] = ()
    sample_ids: Sequence[str] = ()

    def update(self, numbers: Sequence[float]) -> Update:
        """The update, from the numbers of `values` on the host."""
        if self.values is None:
            return Update(self.step, None)
        rest = iter(numbers)
        total = next(rest)
        components = {name: next(rest) for name in self.components}
        losses = [next(rest) if self.has_losses else None for _ in range(self.batch)]
        presence = [(next(rest), next(rest)) if self.has_target else None for _ in range(self.batch)]
        read = range(0, self.batch, self.every)
        rows = {number: [self._mask([next(rest) for _ in range(WIDTH)]) for _ in range(self.masks)] for number in read}
        examples = []
        for number, found in enumerate(presence):
            empty = None if found is None or found[0] < 0 else found[0] == 0
            masks = tuple(rows.get(number, ())) if self.masks or found is None else (Mask(found[1]),)
            sample_id = self.sample_ids[number] if self.sample_ids else None
            examples.append(Example(losses[number], empty, masks, sample_id))
        return Update(self.step, total, components, tuple(examples))

    def _mask(self, row: Sequence[float]) -> Mask:
        return Mask(*row) if self.has_target else Mask(*row[:5])

    def probe(self, numbers: Sequence[float]) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Weights and norms of the gradients by component, from the same numbers; empty if it was not probed."""
        count = len(self.probed)
        last = numbers[len(numbers) - 2 * count :]
        return dict(zip(self.probed, last[:count], strict=True)), dict(zip(self.probed, last[count:], strict=True))


class Reader:
    """How tensors are read.

    Args:
        activation, ignore_index, loss: as LossMonitor has them.
    """

    def __init__(self, activation: Activation, ignore_index: int | None, loss: nn.Module | None) -> None:
        self._activation = activation
        self._ignore_index = ignore_index
        self._within: int | None = 0  # windows whose predictions lay between 0 and 1; None once that is settled
        self._loss = loss

    def read(
        self, output: Any, prediction: Any, target: Any, step: int, sample_ids: Any, *, with_probe: bool
    ) -> Reading:
        """The statistics of one update, with those of the loss's components if asked for and possible.

        Raises:
            InputError: as `take` does.
        """
        import torch

        with torch.no_grad():
            given = take(output, prediction, target, sample_ids)
            if given.is_empty:
                return Reading(step=step)
            parts = [given.total.reshape(1), *(value.reshape(1) for value in given.components.values())]
            classes = 0 if given.prediction is None else given.prediction.shape[1]
            every = every_example(given.batch or 0, classes)
            parts += [part.reshape(-1) for part in self._per_example(given, every)]
            probed, numbers = self._probed(given, step) if with_probe else ([], None)
            parts += [] if numbers is None else [numbers]
            dtype = torch.float64 if given.total.dtype == torch.float64 else torch.float32
            return Reading(
                step=step,
                values=torch.cat([part.to(dtype) for part in parts]),
                components=tuple(given.components),
                batch=given.batch or 0,
                masks=classes if every else 0,
                every=every or 1,
                has_losses=given.losses is not None,
                has_target=given.target is not None,
                probed=probed,
                sample_ids=given.sample_ids,
            )

    def doubt(self, window: Window) -> None:
        """Warn, once, if predictions are not what the activation says."""
        masks = [mask for example in window.examples() for mask in example.masks if mask.lowest is not None]
        if self._within is None or not masks:
            return
        lowest, highest = min(mask.lowest or 0.0 for mask in masks), max(mask.highest or 0.0 for mask in masks)
        within, given = 0 <= lowest <= highest <= 1, f"the predictions lie between {lowest:.3g} and {highest:.3g}"
        self._within = self._within + 1 if within and lowest < highest else None
        message = None
        if self._activation == "none":
            self._within = None
            message = None if within else f"{given}, so they are no probabilities: leave out activation='none'"
        elif self._within == UNLIKELY:
            self._within = None
            message = f"{given}, as probabilities do: give activation='none' if they are no logits"
        if message is not None:
            warnings.warn(message, HealthWarning, stacklevel=2)

    def _per_example(self, given: Inputs, every: int) -> list[Tensor]:
        parts = [] if given.losses is None else [given.losses]
        if given.target is not None:
            first_is_background = self._activation == "softmax" and given.has_channels
            has_indices = given.prediction is not None and not given.has_channels
            classes = given.prediction.shape[1] if given.prediction is not None and has_indices else None
            parts.append(presence(given.target, self._ignore_index, background=first_is_background, classes=classes))
        if given.prediction is not None and every:
            target = None if given.target is None else given.target[::every]
            parts.append(mask_statistics(given.prediction[::every], target, self._activation, self._ignore_index))
        return parts

    def _probed(self, given: Inputs, step: int) -> tuple[list[str], Tensor | None]:
        if self._loss is None or given.prediction is None or given.as_given is None:
            return [], None
        try:
            return probe(self._loss, given.prediction, given.as_given, step)
        except Exception as error:  # noqa: BLE001 - a loss that takes something else as well is no reason to stop
            self._loss = None
            warnings.warn(
                f"the components of the loss are not probed, since it cannot take (prediction, target):"
                f" {type(error).__name__}: {error}; leave out loss=",
                HealthWarning,
                stacklevel=2,
            )
            return [], None
