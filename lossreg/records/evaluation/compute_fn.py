"""Rows from a compute_fn, batch by batch: checked, in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import Signature, signature
from typing import Any

import numpy as np

from lossreg.errors import InputError
from lossreg.messages import printable
from lossreg.records.column_values import Chunk, shown
from lossreg.records.evaluation.draws import Draw
from lossreg.records.own_columns import OwnTypes
from lossreg.records.row_validation import SIZE, chunks, length


def function(
    compute_fn: Callable[..., Any], init: Mapping[str, Any] | None = None, draws: Sequence[Draw] = ()
) -> Callable[..., object]:
    """Create the compute_fn from a class, with the keyword arguments `init`; return a function unchanged.

    Raises:
        InputError: it cannot be called, it is a function and there are arguments, or it takes no `draw` where there are
            draws.
    """
    if not callable(compute_fn):
        raise InputError(f"compute_fn must be a function of a batch, or a class of one, got {shown(compute_fn)}")
    if isinstance(compute_fn, type):
        made: object = compute_fn(**(init or {}))
        if not callable(made):
            raise InputError(f"compute_fn {compute_fn.__name__} is a class without __call__(self, batch)")
        return _taking(made, draws)
    if init:
        raise InputError(
            f"init has {', '.join(init)}, but compute_fn is not a class; use functools.partial",
            init=dict(init),
        )
    return _taking(compute_fn, draws)


def computed(
    compute: Callable[..., object],
    batches: Iterable[tuple[int, Any]],
    columns: Mapping[str, str | int] | None = None,
    draws: Sequence[Draw] = (),
) -> Iterator[Chunk]:
    """Yield the rows of each batch, of each draw in turn. `compute` runs without gradients.

    Args:
        compute: returns the rows of a batch: an iterable of mappings, or a mapping of columns.
        batches: each with its number, for errors.
        columns: values of every row, such as the run; `compute` must not return these columns.
        draws: given to `compute` as the keyword argument `draw`; without draws it is called once, with the batch alone.
    Raises:
        InputError: `compute` returned invalid rows; names the batch. Its own exceptions pass, with a note that names
            the batch.
    """
    types = OwnTypes()
    for number, batch in batches:
        for draw in draws or (None,):
            added = dict(columns or {}) if draw is None else {**(columns or {}), "draw": draw.number}
            for chunk in _found(compute, batch, number, draw):
                types.check(chunk, f"batch {number}: compute_fn returned invalid rows: ")
                if draw is not None and draw.condition is not None and chunk.get("condition") is None:
                    chunk["condition"] = np.full(length(chunk), draw.condition)
                yield _completed(chunk, added, number)


def _found(compute: Callable[..., object], batch: Any, number: int, draw: Draw | None) -> list[Chunk]:
    import torch

    try:
        with torch.no_grad():
            returned = compute(batch) if draw is None else compute(batch, draw=draw)
            try:
                return list(chunks(returned))  # a generator runs here
            except InputError as error:
                raise type(error)(f"batch {number}: compute_fn returned invalid rows: {error}") from error
    except Exception as error:
        error.add_note(f"lossreg: compute_fn failed in batch {number}, counted from 0")
        raise


def _taking(compute: Callable[..., object], draws: Sequence[Draw]) -> Callable[..., object]:
    """Check that the function takes a draw where there are some, and can do without where there are none."""
    try:
        taken = signature(compute)
    except (TypeError, ValueError):  # a builtin may have none
        return compute
    if draws and not _fits(taken, draw=None):
        raise InputError(
            f"draws={len(draws)} calls compute_fn(batch, draw=...), which takes {taken}; give it a parameter `draw`,"
            " and use draw.condition and draw.noise(ids, like=images) in place of a random timestep and noise"
        )
    if not draws and not _fits(taken) and _fits(taken, draw=None):
        raise InputError(f"compute_fn takes {taken}, and there are no draws; add draws=4")
    return compute


def _fits(taken: Signature, **options: object) -> bool:
    try:
        taken.bind(None, **options)
    except TypeError:
        return False
    return True


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


def first_rows(given: Iterable[Chunk], count: int | None, draws: int = 1) -> Iterator[Chunk]:
    """Yield the first `count` rows of each draw; no further chunk is computed."""
    if count is None:
        yield from given
        return
    left = [count] * draws
    for chunk in given:
        draw = 0 if (column := chunk.get("draw")) is None or draws == 1 else int(column[0])
        if left[draw] > 0:
            yield {name: None if values is None else values[: left[draw]] for name, values in chunk.items()}
        left[draw] -= length(chunk)
        if max(left) <= 0:
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
        if chunk.get(name) is not None:
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
