"""Turns what an update is given into a reading on the device."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from lossreg.health.event import HealthWarning
from lossreg.health.inputs import Inputs, take
from lossreg.health.probe import probe
from lossreg.health.reading import Reading
from lossreg.health.statistics import Activation, mask_statistics, presence

if TYPE_CHECKING:
    from torch import Tensor, nn


class Reader:
    """How tensors are read.

    Args:
        activation, ignore_index, loss: as LossMonitor has them.
    """

    def __init__(self, activation: Activation, ignore_index: int | None, loss: nn.Module | None) -> None:
        self._activation = activation
        self._ignore_index = ignore_index
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
            parts += [part.reshape(-1) for part in self._per_example(given)]
            probed, numbers = self._probed(given, step) if with_probe else ([], None)
            parts += [] if numbers is None else [numbers]
            dtype = torch.float64 if given.total.dtype == torch.float64 else torch.float32
            return Reading(
                step=step,
                values=torch.cat([part.to(dtype) for part in parts]),
                components=tuple(given.components),
                batch=given.batch or 0,
                masks=0 if given.prediction is None else given.prediction.shape[1],
                has_losses=given.losses is not None,
                has_target=given.target is not None,
                probed=probed,
                sample_ids=given.sample_ids,
            )

    def _per_example(self, given: Inputs) -> list[Tensor]:
        parts = [] if given.losses is None else [given.losses]
        if given.target is not None:
            first_is_background = self._activation == "softmax" and given.has_channels
            parts.append(presence(given.target, self._ignore_index, background=first_is_background))
        if given.prediction is not None:
            parts.append(mask_statistics(given.prediction, given.target, self._activation, self._ignore_index))
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
