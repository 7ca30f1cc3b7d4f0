"""What waits to be written: the losses of batches, on their device, and what was said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossreg.errors import InputError, ShapeError
from lossreg.records.record_schema import COLUMNS, COMPONENT
from lossreg.records.row_validation import Chunk, column, is_tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch.

    Args:
        size: its examples.
        followed: (size,), which of them are kept; None for all.
        said: by column an array with a value per example, or one value for all; None where nothing was said.
        names: "loss", and the columns of its components.
        values: (names, size), on the device of the losses; an array where they were no tensor.
    """

    size: int
    followed: np.ndarray[Any, Any] | None
    said: dict[str, Any]
    names: tuple[str, ...]
    values: Any


def kept(values: list[Any]) -> Any:
    """(len(values), B), a copy, since trainers scale losses in place. Nothing waits for the device."""
    if not is_tensor(values[0]):
        return values[0][None]
    import torch

    with torch.no_grad():
        double = any(value.dtype == torch.float64 for value in values)
        return torch.stack([value.to(torch.float64 if double else torch.float32) for value in values])


def gathered(batches: Sequence[Batch]) -> Chunk:
    """The rows of all batches that are followed."""
    chunk: Chunk = dict.fromkeys(COLUMNS)
    for name in batches[0].said:
        chunk[name] = _joined(name, batches)
    chunk |= _numbers(batches)
    if all(batch.followed is None for batch in batches):
        return chunk
    every = [np.ones(batch.size, dtype=bool) if batch.followed is None else batch.followed for batch in batches]
    chosen = np.concatenate(every)
    return {name: None if values is None else values[chosen] for name, values in chunk.items()}


def _joined(name: str, batches: Sequence[Batch]) -> np.ndarray[Any, Any] | None:
    said = [batch.said[name] for batch in batches]
    if all(value is None for value in said):
        return None
    if COLUMNS[name] == "VARCHAR":
        made = np.empty(sum(batch.size for batch in batches), dtype=object)
        start = 0
        for value, batch in zip(said, batches, strict=True):
            made[start : start + batch.size] = value
            start += batch.size
        return made
    missing = np.repeat([value is None for value in said], [batch.size for batch in batches])
    parts = [np.broadcast_to(0 if value is None else value, b.size) for value, b in zip(said, batches, strict=True)]
    return _masked(np.concatenate(parts), missing)


def _numbers(batches: Sequence[Batch]) -> Chunk:
    """The losses and components, masked where a batch has no such component."""
    names = list(dict.fromkeys(name for batch in batches for name in batch.names))
    size = sum(batch.size for batch in batches)
    made = {name: np.zeros(size) for name in names}
    missing = {name: np.ones(size, dtype=bool) for name in names}
    start = 0
    for batch, values in zip(batches, _on_host([batch.values for batch in batches]), strict=True):
        for name, row in zip(batch.names, values, strict=True):
            made[name][start : start + batch.size] = row
            missing[name][start : start + batch.size] = False
        start += batch.size
    return {name: _masked(values, missing[name]) for name, values in made.items()}


def _masked(values: np.ndarray[Any, Any], missing: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ma.MaskedArray(values, mask=missing) if missing.any() else values


def _on_host(values: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
    """The same as arrays; those of one device leave it in one copy."""
    found = list(values)
    for device in dict.fromkeys(value.device for value in values if is_tensor(value)):
        import torch

        where = [number for number, value in enumerate(values) if is_tensor(value) and value.device == device]
        whole = torch.cat([values[number].flatten() for number in where]).cpu().numpy()
        ends = np.cumsum([values[number].numel() for number in where])
        for number, part in zip(where, np.split(whole, ends[:-1]), strict=True):
            found[number] = part.reshape(tuple(values[number].shape))
    return found


def losses_of(losses: Any) -> tuple[list[Any], tuple[str, ...], int]:
    """The losses and their components as given, what their columns are called, and the number of examples."""
    names: tuple[str, ...] = ("loss",)
    values = [losses]
    if hasattr(losses, "per_example") and hasattr(losses, "components"):
        if losses.per_example is None:
            raise InputError(
                "this LossOutput has no values per example: a term that weighs is of the whole batch, or the loss is no"
                " lossreg.Loss; record one that splits, such as dice without batch=True, or (B,) values"
            )
        values = [losses.per_example, *losses.per_example_components.values()]
        names += tuple(f"{COMPONENT}{name}" for name in losses.per_example_components)
    elif isinstance(losses, list | tuple) and losses and all(map(is_tensor, losses)):
        import torch

        values = [torch.stack(list(losses))]
    elif not is_tensor(losses):
        values = [column("loss", losses)]
    size = _size(values[0])
    for name, value in zip(names, values, strict=True):
        if tuple(value.shape) != (size,):
            raise ShapeError(f"{name} has shape {tuple(value.shape)}, and there are {size} losses; expected ({size},)")
    return values, names, size


def _size(losses: Any) -> int:
    if is_tensor(losses) and (losses.is_complex() or str(losses.dtype) == "torch.bool"):
        raise InputError(f"losses are real numbers, got {losses.dtype}")
    if losses.ndim != 1:
        raise ShapeError(
            f"losses have shape {tuple(losses.shape)}, expected one per example, (B,); give what lossreg.evaluate or"
            " compute_per_example_loss returns, and not the training scalar"
        )
    return len(losses)


def each(name: str, values: Any, size: int) -> np.ndarray[Any, Any]:
    """A value for each row, as a column has them.

    Raises:
        InputError: a value that the column cannot take, or that lies on a device.
        ShapeError: not as many as `size`.
    """
    _check_host(name, values)
    made = column(name, values)
    if len(made) != size:
        raise ShapeError(f"{name}: got {len(made)}, and there are {size} losses; give one per example")
    return made


def one(name: str, value: Any) -> Any:
    """A value for all rows, as a column has it."""
    if value is None:
        return 1.0 if name == "weight" else None
    _check_host(name, value)
    return column(name, [value])[0]


def _check_host(name: str, value: Any) -> None:
    if is_tensor(value) and value.device.type != "cpu":
        raise InputError(
            f"{name} lies on {value.device}, and reading it would wait for the device; give it as the loader did"
        )


def spread(value: Any, size: int) -> Any:
    """A value for each row, of one for all or one for each."""
    return value if isinstance(value, np.ndarray) else [value] * size
