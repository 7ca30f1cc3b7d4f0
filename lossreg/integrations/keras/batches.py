"""Loaders for Keras, whose batches name their examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import torch
from torch.utils.data import DataLoader

from lossreg.integrations.context import BatchKeys, facts_of

FACTS = "_lossreg_facts"  # attribute of a target: Keras passes nothing else of a batch to a loss


class KerasBatches(DataLoader[Any]):
    """A loader of dicts or tuples as the pairs that Keras takes. Records get the ids, which Keras does not pass on.

        model.fit(KerasBatches(loader, "image", "mask", {"sample_ids": "id"}), callbacks=[LossCallback()])

    Args:
        loader: of the batches.
        x, y: where a batch has the input and the target of the model: keys, or indices of a tuple.
        batch_keys: where a batch has sample_ids, dataset, path and caption. None for the keys of these names.
    """

    def __init__(
        self, loader: DataLoader[Any], x: str | int, y: str | int, batch_keys: BatchKeys | None = None
    ) -> None:
        super().__init__(loader.dataset, batch_size=loader.batch_size)  # what Keras reads of a loader
        self.loader = loader
        self.x, self.y = x, y
        self.batch_keys = batch_keys

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:  # type: ignore[override]
        for batch in self.loader:
            target = keras.tree.map_structure(torch.as_tensor, batch[self.y])
            facts = facts_of(batch, self.batch_keys)
            for each in keras.tree.flatten(target):
                setattr(each, FACTS, facts)  # the one way to the loss that Keras leaves
            yield batch[self.x], target
