"""Rows from a compute_fn, batch by batch: checked, in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from lossreg.errors import InputError
from lossreg.messages import printable
from lossreg.records.column_values import Chunk, shown
from lossreg.records.row_validation import SIZE, chunks, length


def function(compute_fn: Callable[..., Any], init: Mapping[str, Any] | None = None) -> Callable[[Any], object]:
    """Create the compute_fn from a class, with the keyword arguments `init`; return a function unchanged.

    Raises:
        InputError: it cannot be called, or it is a function and there are arguments.
    """
    if not callable(compute_fn):
        raise InputError(f"compute_fn must be a function of a batch, or a class of one, got {shown(compute_fn)}")
    if isinstance(compute_fn, type):
        made: object = compute_fn(**(init or {}))
        if not callable(made):
            raise InputError(f"compute_fn {compute_fn.__name__} is a class without __call__(self, batch)")
        return made
    if init:
        raise InputError(
            f"init has {', '.join(init)}, but compute_fn is not a class; use functools.partial",
            init=dict(init),
        )
    return compute_fn


def computed(
    compute: Callable[[Any], object], batches: Iterable[tuple[int, Any]], columns: Mapping[str, str | int] | None = None
) -> Iterator[Chunk]:
    """Yield the rows of each batch. `compute` runs without gradients.

    Args:
        compute: returns the rows of a batch: an iterable of mappings, or a mapping of columns.
        batches: each with its number, for errors.
        columns: values of every row, such as the run; `compute` must not return these columns.
    Raises:
        InputError: `compute` returned invalid rows; names the batch. Its own exceptions pass, with a note that names
            the batch.
    """
    import torch

    for number, batch in batches:
        try:
            with torch.no_grad():
                found = list(chunks(compute(batch)))  # a generator runs here
        except InputError as error:
            raise type(error)(f"batch {number}: compute_fn returned invalid rows: {error}") from error
        except Exception as error:
            error.add_note(f"lossreg: compute_fn failed in batch {number}, counted from 0")
            raise
        for chunk in found:
            yield _completed(chunk, columns or {}, number)


def merged(small: Iterable[Chunk], *, size: int = SIZE) -> Iterator[Chunk]:
    """Join chunks to chunks of at least `size` rows, but the last."""
    parts: list[Chunk] = []
    rows = 0
    for chunk in small:
        parts.append(chunk)
        rows += length(chunk)
        if rows >= size:
            yield joined(parts)
            parts, rows = [], 0
    if rows:
        yield joined(parts)


def joined(parts: list[Chunk]) -> Chunk:
    """Join several chunks to one."""
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _column(name, parts) for name in names}


def first_rows(given: Iterable[Chunk], count: int | None) -> Iterator[Chunk]:
    """Yield the first `count` rows; no further chunk is computed."""
    if count is None:
        yield from given
        return
    for chunk in given:
        yield {name: None if values is None else values[:count] for name, values in chunk.items()}
        count -= length(chunk)
        if count <= 0:
            return


def with_ids(given: Iterable[Chunk], why: str) -> Iterator[Chunk]:
    """Check that all rows have a sample_id, and yield the chunks unchanged.

    Raises:
        InputError: a row has none; `why` ends the message.
    """
    for chunk in given:
        ids = chunk["sample_id"]
        if ids is None or None in ids:
            raise InputError(f"a row of compute_fn has no sample_id; {why}", column="sample_id")
        yield chunk


def _completed(chunk: Chunk, columns: Mapping[str, str | int], number: int) -> Chunk:
    rows = length(chunk)
    for name, value in columns.items():
        if chunk[name] is not None:
            raise InputError(
                f"batch {number}: compute_fn returned a column {name!r}, which the evaluation sets to"
                f" {printable(repr(value))}; leave it out",
                column=name,
            )
        chunk[name] = np.full(rows, value, dtype=object if isinstance(value, str) else np.int64)
    return chunk


def _column(name: str, parts: list[Chunk]) -> np.ndarray[Any, Any] | None:
    columns = [part.get(name) for part in parts]
    first = next((values for values in columns if values is not None), None)
    if first is None:
        return None
    filled = [
        _missing(first.dtype, length(part)) if values is None else values
        for values, part in zip(columns, parts, strict=True)
    ]
    if any(np.ma.isMA(values) for values in filled):
        return np.ma.concatenate(filled)  # type: ignore[no-any-return, no-untyped-call]
    return np.concatenate(filled)


def _missing(dtype: np.dtype[Any], rows: int) -> np.ndarray[Any, Any]:
    if dtype.kind == "O":
        return np.full(rows, None, dtype=object)
    return np.ma.masked_all(rows, dtype=dtype)  # type: ignore[no-any-return, no-untyped-call]
