"""Batches for the buffer of a writer, from the arguments of its `add`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lossreg.errors import InputError
from lossreg.records.buffer import ON_DEVICE, Batch, beside, broadcast, copied, each, losses_of, repeated
from lossreg.records.config import RecordConfig
from lossreg.records.own_columns import OwnTypes, check_given
from lossreg.records.row_validation import check_names, has_values
from lossreg.records.sampling import chosen


class BatchMaker:
    """A maker of batches, which remembers the names and the types of the columns of earlier ones.

    Args:
        config: which rows are recorded.
    """

    def __init__(self, config: RecordConfig) -> None:
        self.config = config
        self._types = OwnTypes()
        self._names: dict[str, None] = {}  # of components, and columns of the user's own

    def batch(
        self, losses: Any, of_batch: Mapping[str, Any], sample_ids: Any, per_row: Mapping[str, Any], own: Any
    ) -> Batch:
        """Check the values of a call, and copy its losses. An error remembers nothing.

        Args:
            losses: a LossOutput, or (B,) numbers.
            of_batch: columns with one value, checked already.
            sample_ids: one for each example, or None.
            per_row: columns with one value for all or one for each.
            own: the user's own columns, likewise.
        Raises:
            InputError: a loss that does not split, or a value or a name that is refused.
            ShapeError: not one value per loss.
        """
        values, names, size = losses_of(losses)
        own = {} if own is None else own
        if not isinstance(own, Mapping) or not own.keys() <= self._names.keys():
            check_given(own)
        if new := [name for name in (*names, *own) if name not in self._names]:
            where = "columns" if new[-1] in own else "the components of the loss"
            check_names(dict.fromkeys([*self._names, *new]), where)
        given = {name: value for name, value in {**per_row, **own}.items() if value is not None}
        beside_losses = {name: beside(values[0], name, given[name], size) for name in ON_DEVICE if name in given}
        on_device = {name: value for name, value in beside_losses.items() if value is not None}
        metadata = {**of_batch, "weight": 1.0}
        metadata |= {name: broadcast(name, value, size) for name, value in given.items() if name not in on_device}
        if sample_ids is not None:
            metadata["sample_id"] = each("sample_id", sample_ids, size)
        if own:
            metadata |= {name: None for name in own if not _is_known(metadata.get(name))}
        mask = self._chosen(metadata, size)
        if own:
            self._types.check({name: metadata.get(name) for name in own})
        self._names |= dict.fromkeys(new)
        return Batch(size, mask, metadata, (*names, *on_device), copied([*values, *on_device.values()]))

    def _chosen(self, metadata: Mapping[str, Any], size: int) -> np.ndarray[Any, Any] | None:
        """Choose rows by the names of their samples, as a mask; None for all."""
        if self.config.fraction == 1:
            return None
        by_id, by_path = (repeated(metadata.get(name), size) for name in ("sample_id", "path"))
        names = [path if name is None else name for name, path in zip(by_id, by_path, strict=True)]
        if None in names:
            raise InputError(
                f"example {names.index(None)} has no name, and fraction={self.config.fraction} chooses samples by their"
                " names; give sample_ids= or path="
            )
        return np.array(chosen(names, self.config.fraction, self.config.seed), dtype=bool)


def _is_known(value: Any) -> bool:
    """Return whether one of the values is there, so that a user's column has a type."""
    return has_values(value) if isinstance(value, np.ndarray) else value is not None
