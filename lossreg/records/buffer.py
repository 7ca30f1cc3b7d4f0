"""Buffered batches: losses, still on their device, and metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from lossreg.errors import InputError, ShapeError
from lossreg.records.column_values import Chunk, column, is_tensor
from lossreg.records.record_schema import COLUMNS, COMPONENT

ON_DEVICE = ("condition", "unconditional")  # columns that may be tensors on the device of the losses


@dataclass(frozen=True, eq=False)
class Batch:
    """One buffered batch.

    Args:
        size: number of examples.
        chosen: (size,), True for each example to record; None for all.
        metadata: by column, an array with a value per example or one value for all; None if missing.
        names: "loss", the columns of its components, and columns that were given on the device of the losses.
        values: (names, size), on the device of the losses; an array if they were no tensor.
    """

    size: int
    chosen: np.ndarray[Any, Any] | None
    metadata: dict[str, Any]
    names: tuple[str, ...]
    values: Any

    @property
    def rows(self) -> int:
        """Return the number of examples to record."""
        return self.size if self.chosen is None else int(self.chosen.sum())


def copied(values: list[Any]) -> Any:
    """Stack and copy losses to (len(values), B), because trainers scale losses in place. No device is waited for."""
    if not is_tensor(values[0]):
        return values[0][None]
    import torch

    with torch.no_grad():
        double = any(value.dtype == torch.float64 for value in values)
        return torch.stack([value.to(torch.float64 if double else torch.float32) for value in values])


def to_chunk(batches: Sequence[Batch]) -> Chunk:
    """Join the chosen rows of all batches as columns: the known ones, the components, the user's own."""
    rows = [
        dict(zip(batch.names, values, strict=True))
        for batch, values in zip(batches, _on_host([batch.values for batch in batches]), strict=True)
    ]
    sizes = [batch.size for batch in batches]
    computed = (name for batch in batches for name in batch.names)
    chunk: Chunk = {}
    for name in dict.fromkeys([*COLUMNS, *computed, *(name for batch in batches for name in batch.metadata)]):
        pairs = zip(batches, rows, strict=True)
        joined = _joined([_host(name, row[name]) if name in row else b.metadata.get(name) for b, row in pairs], sizes)
        if joined is not None or name in COLUMNS:
            chunk[name] = joined
    if all(batch.chosen is None for batch in batches):
        return chunk
    every = [np.ones(batch.size, dtype=bool) if batch.chosen is None else batch.chosen for batch in batches]
    chosen = np.concatenate(every)
    return {name: None if values is None else values[chosen] for name, values in chunk.items()}


def _host(name: str, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return values.astype(np.bool_ if COLUMNS.get(name) == "BOOLEAN" else np.float64)


def _joined(given: Sequence[Any], sizes: Sequence[int]) -> np.ndarray[Any, Any] | None:
    """Join the values of batches: an array, one value for all rows, or None. Missing numbers are masked."""
    if all(value is None for value in given):
        return None
    if any(isinstance(value, str) or getattr(value, "dtype", None) == np.object_ for value in given):
        joined = np.empty(sum(sizes), dtype=object)
        start = 0
        for value, size in zip(given, sizes, strict=True):
            joined[start : start + size] = value
            start += size
        return joined
    missing = np.repeat([value is None for value in given], sizes)
    parts = [np.broadcast_to(np.False_, size) if v is None else v for v, size in zip(given, sizes, strict=True)]
    parts = [part if np.ndim(part) else np.broadcast_to(part, size) for part, size in zip(parts, sizes, strict=True)]
    if any(np.ma.isMA(part) for part in parts):
        joined = np.ma.concatenate(parts)  # type: ignore[no-untyped-call]
        missing |= np.ma.getmaskarray(joined)
        joined = np.ma.getdata(joined)
    else:
        joined = np.concatenate(parts)
    return np.ma.MaskedArray(joined, mask=missing) if missing.any() else joined


def _on_host(values: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
    """Convert to arrays; the tensors of one device are copied together."""
    found = list(values)
    for device in dict.fromkeys(value.device for value in values if is_tensor(value)):
        import torch

        where = [number for number, value in enumerate(values) if is_tensor(value) and value.device == device]
        together = torch.cat([values[number].flatten() for number in where]).cpu().numpy()
        ends = np.cumsum([values[number].numel() for number in where])
        for number, part in zip(where, np.split(together, ends[:-1]), strict=True):
            found[number] = part.reshape(tuple(values[number].shape))
    return found


def losses_of(losses: Any) -> tuple[list[Any], tuple[str, ...], int]:
    """Return the losses and their components unchanged, the names of their columns, and the number of examples."""
    names: tuple[str, ...] = ("loss",)
    values = [losses]
    if hasattr(losses, "per_example") and hasattr(losses, "components"):
        if losses.per_example is None:
            raise InputError(
                "this LossOutput has no values per example: a term with a weight is of the whole batch, or the loss is"
                " no lossreg.Loss; record a loss that splits, such as dice without batch=True, or (B,) values"
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
        raise InputError(f"losses must be real numbers, got {losses.dtype}")
    if losses.ndim != 1:
        raise ShapeError(
            f"losses have shape {tuple(losses.shape)}, expected one per example, (B,); give the result of"
            " lossreg.evaluate or compute_per_example_loss, and not the training scalar"
        )
    return len(losses)


def beside(losses: Any, name: str, value: Any, size: int) -> Any:
    """Return the values of a column that may stay on the device of the losses, (size,); None for a value on the host.

    What an example met, such as its timestep, is drawn on the device: to read it would wait.

    Raises:
        InputError: values of another type.
        ShapeError: not `size` values.
    """
    if name not in ON_DEVICE or not is_tensor(value) or value.device.type == "cpu" or not is_tensor(losses):
        return None
    if value.device != losses.device:
        return None
    boolean = COLUMNS[name] == "BOOLEAN"
    if value.is_complex() or (str(value.dtype) == "torch.bool") != boolean:
        raise InputError(f"{name} must be {'truth values' if boolean else 'numbers'}, got {value.dtype}")
    if value.ndim == 0:
        return value.expand(size)
    if tuple(value.shape) != (size,):
        raise ShapeError(f"{name} has shape {tuple(value.shape)}, and there are {size} losses; give one per example")
    return value


def broadcast(name: str, value: Any, size: int) -> Any:
    """Check a column's value: text, path, number or None is one value for all rows, all else is one for each."""
    if value is None or isinstance(value, str | PathLike | int | float) or getattr(value, "ndim", 1) == 0:
        return single(name, value)
    return each(name, value, size)


def each(name: str, values: Any, size: int) -> np.ndarray[Any, Any]:
    """Check a column's values, one for each row.

    Raises:
        InputError: a value that the column cannot hold, or values on a device.
        ShapeError: not `size` values.
    """
    _check_host(name, values)
    made = column(name, values)
    if len(made) != size:
        raise ShapeError(f"{name}: got {len(made)}, and there are {size} losses; give one per example")
    return made


def single(name: str, value: Any) -> Any:
    """Check a column's value for all rows. A missing weight is 1."""
    if value is None:
        return 1.0 if name == "weight" else None
    _check_host(name, value)
    return column(name, [value])[0]


def _check_host(name: str, value: Any) -> None:
    if is_tensor(value) and value.device.type != "cpu":
        raise InputError(
            f"{name} is on {value.device}, and reading it would wait for the device; give it as the loader did"
        )


def repeated(value: Any, size: int) -> Any:
    """Repeat a single value for each row; leave an array unchanged."""
    return value if isinstance(value, np.ndarray) else [value] * size
