"""What a compute_fn makes of the batches of a dataset: rows, checked, in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from lossreg.errors import InputError
from lossreg.messages import printable
from lossreg.records.row_validation import SIZE, Chunk, chunks, length, shown


def function(compute_fn: Callable[..., Any], init: Mapping[str, Any] | None = None) -> Callable[[Any], object]:
    """A compute_fn that is a class, made with the keyword arguments `init`; a function as it is.

    Raises:
        InputError: it cannot be called, or a function was given arguments.
    """
    if not callable(compute_fn):
        raise InputError(f"compute_fn is a function of a batch, or a class of one, got {shown(compute_fn)}")
    if isinstance(compute_fn, type):
        made: object = compute_fn(**(init or {}))
        if not callable(made):
            raise InputError(f"compute_fn is a class without __call__(self, batch): {compute_fn.__name__}")
        return made
    if init:
        raise InputError(
            f"init has {', '.join(init)}, and compute_fn is no class that takes them; use functools.partial",
            init=dict(init),
        )
    return compute_fn


def computed(
    compute: Callable[[Any], object], batches: Iterable[tuple[int, Any]], columns: Mapping[str, str | int] | None = None
) -> Iterator[Chunk]:
    """The rows of each batch. `compute` runs without gradients.

    Args:
        compute: rows of a batch: an iterable of mappings, or a mapping of columns.
        batches: each with its number, for errors.
        columns: what stands in every row, such as the run; `compute` cannot say it.
    Raises:
        InputError: what `compute` returned are no rows; the number of the batch is in the message. Its own exceptions
            pass, with a note that says in which batch.
    """
    import torch

    for number, batch in batches:
        try:
            with torch.no_grad():
                found = list(chunks(compute(batch)))  # which may be a generator
        except InputError as error:
            raise type(error)(f"batch {number}: compute_fn returned no rows of records: {error}") from error
        except Exception as error:
            error.add_note(f"lossreg: compute_fn failed in batch {number}, counted from 0")
            raise
        for chunk in found:
            yield _completed(chunk, columns or {}, number)


def merged(small: Iterable[Chunk], *, size: int = SIZE) -> Iterator[Chunk]:
    """The same rows in chunks of at least `size`, but the last."""
    waiting: list[Chunk] = []
    rows = 0
    for chunk in small:
        waiting.append(chunk)
        rows += length(chunk)
        if rows >= size:
            yield joined(waiting)
            waiting, rows = [], 0
    if rows:
        yield joined(waiting)


def joined(parts: list[Chunk]) -> Chunk:
    """The rows of several chunks as one."""
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _column(name, parts) for name in names}


def first_rows(some: Iterable[Chunk], count: int | None) -> Iterator[Chunk]:
    """The first `count` rows; what would give more is not asked for it."""
    if count is None:
        yield from some
        return
    for chunk in some:
        yield {name: None if values is None else values[:count] for name, values in chunk.items()}
        count -= length(chunk)
        if count <= 0:
            return


def with_ids(some: Iterable[Chunk], why: str) -> Iterator[Chunk]:
    """The same chunks, all of whose rows have a sample_id.

    Raises:
        InputError: one has none; the message goes on with `why`.
    """
    for chunk in some:
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
    given = [part.get(name) for part in parts]
    there = next((values for values in given if values is not None), None)
    if there is None:
        return None
    filled = [
        _missing(there.dtype, length(part)) if values is None else values
        for values, part in zip(given, parts, strict=True)
    ]
    if any(np.ma.isMA(values) for values in filled):
        return np.ma.concatenate(filled)  # type: ignore[no-any-return, no-untyped-call]
    return np.concatenate(filled)


def _missing(dtype: np.dtype[Any], rows: int) -> np.ndarray[Any, Any]:
    if dtype.kind == "O":
        return np.full(rows, None, dtype=object)
    return np.ma.masked_all(rows, dtype=dtype)  # type: ignore[no-any-return, no-untyped-call]
