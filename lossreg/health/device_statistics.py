"""The statistics of updates: one tensor per update on the device, copied to the host once per window."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import starmap
from typing import TYPE_CHECKING, Any

from lossreg.health.batch_inputs import BatchInputs, check_batch
from lossreg.health.component_gradients import weights_and_gradients
from lossreg.health.event import HealthWarning
from lossreg.health.statistics import Activation, every_example, mask_statistics, presence
from lossreg.health.window import Example, Mask, Update, Window
from lossreg.messages import warn, with_type

if TYPE_CHECKING:
    from torch import Tensor, nn

TARGET_FIELDS = 4  # the last fields of `Mask`, which need a target


@dataclass(frozen=True, kw_only=True)
class UpdateStatistics:
    """The statistics of one update, as parts of one tensor.

    Args:
        step: number of the update.
        values: the parts, flattened and concatenated, on the device; None if the batch was empty.
        shapes: the shape of each part, in the order of `values`. Parts that do not exist are left out.
            total: (). components: (K,). losses: (B,). presence: (B, 4), as of `presence`. masks: (N, C, fields of
            `Mask`). gradients: (2, L), the weights of L components and the norms of their gradients.
        has_masks: True if the target is known to hold masks, rather than class indices.
        components: names of the K components.
        differentiated: names of the L components.
        batch: number of examples, 0 if it is unknown.
        every: masks are those of every `every`-th example.
        sample_ids: one per example, or empty.
    """

    step: int
    values: Tensor | None = None
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    has_masks: bool = False
    components: Sequence[str] = ()
    differentiated: Sequence[str] = ()
    batch: int = 0
    every: int = 1
    sample_ids: Sequence[str] = ()

    def update(self, numbers: list[float]) -> Update:
        """Return the update. numbers: those of `values`, on the host."""
        if self.values is None:
            return Update(self.step, None)
        parts = self._parts(numbers)
        none = [None] * self.batch
        presence = parts.get("presence", none)
        values = [(row[2], row[3]) for row in presence] if self.has_masks else none
        columns = zip(
            parts.get("losses", none),
            map(_is_empty, presence),
            self._masks(parts),
            self.sample_ids or none,
            values,
            strict=True,
        )
        components = dict(zip(self.components, parts["components"], strict=True))
        return Update(self.step, parts["total"], components, tuple(starmap(Example, columns)))

    def gradients(self, numbers: list[float]) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Return weights and norms of gradients by component. numbers: those of `values`, on the host."""
        weights, norms = self._parts(numbers)["gradients"]
        names = self.differentiated
        return dict(zip(names, weights, strict=True)), dict(zip(names, norms, strict=True))

    def _parts(self, numbers: list[float]) -> dict[str, Any]:
        """Return each part as a number or as nested lists."""
        parts, start = {}, 0
        for name, shape in self.shapes.items():
            end = start + math.prod(shape)
            parts[name], start = _nested(numbers[start:end], shape), end
        return parts

    def _masks(self, parts: Mapping[str, Any]) -> list[tuple[Mask, ...]]:
        """Return the masks of each example; none for an example without statistics."""
        masks: list[tuple[Mask, ...]] = [()] * self.batch
        if "masks" in parts:
            fields = None if "presence" in parts else -TARGET_FIELDS
            masks[:: self.every] = [tuple(Mask(*mask[:fields]) for mask in example) for example in parts["masks"]]
        elif "presence" in parts:
            masks = [(Mask(valid),) for _, valid, *_ in parts["presence"]]
        return masks


def to_window(pending: Sequence[UpdateStatistics], history: Sequence[float], before: Sequence[Update]) -> Window | None:
    """Copy the statistics of all updates to the host at once; return None if all batches were empty."""
    import torch

    values = [statistics.values for statistics in pending if statistics.values is not None]
    if not values:
        return None
    numbers = torch.cat(values).cpu().tolist()  # the only copy, and the only call that blocks
    updates, start = [], 0
    weights: Mapping[str, float] = {}
    gradients: Mapping[str, float] = {}
    for statistics in pending:
        end = start + (0 if statistics.values is None else len(statistics.values))
        own, start = numbers[start:end], end
        updates.append(statistics.update(own))
        if statistics.differentiated:
            weights, gradients = statistics.gradients(own)
    return Window(updates, history, weights, gradients, before)


class Reader:
    """The computation of statistics from the tensors of an update.

    Args:
        activation, ignore_index, loss: those of LossMonitor.
    """

    def __init__(self, activation: Activation, ignore_index: int | None, loss: nn.Module | None) -> None:
        self._activation = activation
        self._ignore_index = ignore_index
        self._loss = loss

    def read(
        self, output: Any, prediction: Any, target: Any, step: int, sample_ids: Any, *, with_gradients: bool
    ) -> UpdateStatistics:
        """Return the statistics of one update.

        Args:
            output, prediction, target, step, sample_ids: those of `LossMonitor.update`.
            with_gradients: differentiate the components, if the loss is known and takes (prediction, target).
        Raises:
            InputError: as `check_batch`.
        """
        import torch

        with torch.no_grad():
            given = check_batch(output, prediction, target, sample_ids)
            if given.is_empty:
                return UpdateStatistics(step=step)
            classes = 0 if given.prediction is None else given.prediction.shape[1]
            every = every_example(given.batch or 0, classes)
            names, gradients = self._gradients(given, step) if with_gradients else ([], {})
            parts = self._per_example(given, every) | gradients
            tensors = [given.total, *given.components.values(), *parts.values()]
            dtype = torch.float64 if given.total.dtype == torch.float64 else torch.float32
            return UpdateStatistics(
                step=step,
                values=torch.cat([tensor.reshape(-1).to(dtype) for tensor in tensors]),
                shapes={
                    "total": (),
                    "components": (len(given.components),),
                    **{name: tuple(part.shape) for name, part in parts.items()},
                },
                has_masks=given.has_channels,
                components=tuple(given.components),
                differentiated=names,
                batch=given.batch or 0,
                every=every or 1,
                sample_ids=given.sample_ids,
            )

    def _per_example(self, given: BatchInputs, every: int) -> dict[str, Tensor]:
        parts = {} if given.losses is None else {"losses": given.losses}
        if given.target is not None:
            first_is_background = self._activation == "softmax" and given.has_channels
            has_indices = given.prediction is not None and not given.has_channels
            classes = given.prediction.shape[1] if given.prediction is not None and has_indices else None
            found = presence(given.target, self._ignore_index, background=first_is_background, classes=classes)
            parts["presence"] = found
        if given.prediction is not None and every:
            target = None if given.target is None else given.target[::every]
            masks = mask_statistics(given.prediction[::every], target, self._activation, self._ignore_index)
            parts["masks"] = masks
        return parts

    def _gradients(self, given: BatchInputs, step: int) -> tuple[list[str], dict[str, Tensor]]:
        if self._loss is None or given.prediction is None or given.original_target is None:
            return [], {}
        try:
            names, gradients = weights_and_gradients(self._loss, given.prediction, given.original_target, step)
            return names, {"gradients": gradients}
        except Exception as error:  # noqa: BLE001 - a loss that takes other arguments must not stop the training
            self._loss = None
            message = (
                "the components of the loss are not differentiated, because its terms(prediction, target) raised"
                f" {with_type(error)}; leave out loss="
            )
            warn(message, HealthWarning)
            return [], {}


def _is_empty(presence: Sequence[float] | None) -> bool | None:
    """Return True for a target without foreground; None if there is no target, or all of it is ignored."""
    return None if presence is None or presence[0] < 0 else presence[0] == 0


def _nested(numbers: list[Any], shape: Sequence[int]) -> Any:
    """Return numbers as nested lists of a shape; of the shape () as one number."""
    if not shape:
        return numbers[0]
    for size in reversed(shape[1:]):
        numbers = [numbers[start : start + size] for start in range(0, len(numbers), size)]
    return numbers
