"""The examples of a batch of fastai, which the batch itself does not name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lossreg.health.rank_consensus import rank


def facts_of_batch(
    loader: Any, number: int, size: int, split: str, name_of: Callable[[Any], str | int] | None
) -> dict[str, Any]:
    """Return the names of the examples of a batch, and how many are genuine, for `Context.begin`.

    Args:
        loader: of fastai, in its iteration; others name no examples.
        number: of the batch in this epoch.
        size: number of its examples.
        split: "train" or "val", for data without items.
        name_of: a function that returns the sample_id of an item; None for the item itself.
    """
    indices = getattr(loader, "_DataLoader__idxs", None)  # in the order of this epoch; there is no other way to it
    if not isinstance(indices, list) or not getattr(loader, "bs", None):
        return {}
    first = number * loader.bs
    facts: dict[str, Any] = {}
    if hasattr(loader, "n_padded"):  # DistributedDL repeats examples at the end of the last rank
        facts["size"] = min(max(loader.n - rank() * len(indices) - first, 0), size)
    indices = indices[first : first + size]
    items: Any = getattr(loader.dataset, "items", None)
    has_items = hasattr(items, "__getitem__") and not hasattr(items, "iloc")  # a table's rows have no names
    found = [items[index] for index in indices] if has_items else indices
    if name_of is not None:
        return {**facts, "sample_ids": [name_of(item) for item in found]}
    if all(isinstance(item, Path) for item in found):
        return {**facts, "path": found}
    named = has_items and all(isinstance(item, str | int) for item in found)
    return {**facts, "sample_ids": found if named else [f"{split}/{index}" for index in indices]}
