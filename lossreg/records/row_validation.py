"""Rows as users give them, checked and turned into columns."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from os import PathLike, fspath
from typing import Any, NoReturn

import numpy as np

from lossreg.errors import InputError, ShapeError
from lossreg.messages import printable
from lossreg.records.record_schema import COLUMNS, COMPONENT

# The columns of some rows, all equally long, or None where nothing of a column was said. Text is an object array with
# None for what is missing; numbers are masked where something is missing, and NaN where they are not a number.
Chunk = dict[str, "np.ndarray[Any, Any] | None"]

SIZE = 65_536  # rows
_INTEGERS = {"rank": 32, "step": 64, "epoch": 32}  # bits
_REQUIRED = ("loss", "weight")


def chunks(rows: object, *, size: int = SIZE) -> Iterator[Chunk]:
    """Rows in chunks of columns, checked. Never holds more than one chunk.

    Args:
        rows: an iterable of mappings, such as a list of dicts or a generator; or one mapping of columns to equally long
            lists, arrays or tensors. The columns are those of `COLUMNS` and loss_<component>; `loss` must be there.
        size: rows of a chunk, >= 1.
    Raises:
        InputError: a row or a value that cannot be one; names the row, counted from 0, and the column.
    """
    if isinstance(rows, Mapping):
        whole = columns(rows)
        for start in range(0, length(whole), size):
            yield {name: None if c is None else c[start : start + size] for name, c in whole.items()}
        return
    if isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
        raise InputError(f"records are an iterable of mappings, or a mapping of columns, got {shown(rows)}")
    waiting, first = iter(rows), 0
    while batch := list(islice(waiting, size)):
        yield _transposed(batch, first)
        first += len(batch)


def columns(given: Mapping[str, object], *, first: int = 0) -> Chunk:
    """One mapping of columns, checked. Row numbers in errors count from `first`."""
    check_names(given, "the columns")
    if given.get("loss") is None:
        raise InputError("the columns have no 'loss', which every row needs", column="loss")
    made: Chunk = dict.fromkeys(COLUMNS)
    for name, values in given.items():
        made[name] = None if values is None else column(name, values, first)
    sizes = {name: len(values) for name, values in made.items() if values is not None}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ShapeError(f"columns are equally long, got {found}", sizes=sizes)
    if made["weight"] is None:
        made["weight"] = np.ones(sizes["loss"])
    return made


def column(name: str, values: object, first: int = 0) -> np.ndarray[Any, Any]:
    """The values of one column, as a chunk has them."""
    listed = _listed(name, values)
    if name in _INTEGERS:
        return _integers(name, listed, first)
    if COLUMNS.get(name, "DOUBLE") == "VARCHAR":
        return _texts(name, listed, first)
    numbers = _floats(name, listed, first)
    if name == "weight":
        numbers = np.ma.filled(numbers, 1.0)
        if len(wrong := np.flatnonzero(~(np.isfinite(numbers) & (numbers > 0)))):
            _refuse(name, first + int(wrong[0]), float(numbers[wrong[0]]), "a finite number > 0")
    elif name == "loss" and len(wrong := np.flatnonzero(np.ma.getmaskarray(numbers))):
        _refuse(name, first + int(wrong[0]), None, "a number, also NaN or infinite")
    return numbers


def length(chunk: Chunk) -> int:
    """The number of rows."""
    return len(next(values for values in chunk.values() if values is not None))


def is_tensor(value: object) -> bool:
    """Whether a value is a tensor, without importing torch for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def shown(value: object) -> str:
    """A value that is wrong, short."""
    return f"{printable(repr(value)):.80} ({type(value).__name__})"


def check_names(given: Iterable[str], where: str) -> None:
    """That every name is a column's, and no two differ in case alone, which DuckDB takes for one.

    Raises:
        InputError: one is not. Names the nearest.
    """
    from difflib import get_close_matches

    seen: dict[str, str] = {}
    for name in given:
        component = isinstance(name, str) and len(name) > len(COMPONENT) and name.startswith(COMPONENT)
        if name not in COLUMNS and not component:
            near = get_close_matches(str(name), COLUMNS, n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COLUMNS)} and {COMPONENT}<component>"
            )
            raise InputError(f"{where}: no column is called {shown(name)}; {hint}", column=name)
        if other := seen.get(name.lower()):
            raise InputError(
                f"{where}: {printable(other)!r} and {printable(name)!r} differ in case alone; rename one", column=name
            )
        seen[name.lower()] = name


def _transposed(batch: Sequence[Any], first: int) -> Chunk:
    names: dict[str, None] = {}
    for number, row in enumerate(batch, first):
        if not isinstance(row, Mapping):
            raise InputError(
                f"row {number} is {shown(row)}, expected a mapping such as {{'loss': 0.5, 'dataset': 'a'}}", row=number
            )
        if row.keys() - names.keys():
            check_names(row, f"row {number}")
            names |= dict.fromkeys(row)
        if row.get("loss") is None:
            raise InputError(f"row {number} has no 'loss', which every row needs", row=number, column="loss")
    return columns({name: [row.get(name) for row in batch] for name in names}, first=first)


def _listed(name: str, values: Any) -> Sequence[Any] | np.ndarray[Any, Any]:
    """A list, or an array of one dimension."""
    if is_tensor(values):
        tensor = values.detach().cpu()
        values = tensor.double().numpy() if tensor.is_floating_point() else tensor.numpy()
    elif isinstance(values, list | tuple):
        return values
    elif hasattr(values, "__array__"):
        values = np.asanyarray(values)
    elif isinstance(values, Sequence) and not isinstance(values, str | bytes):
        return list(values)
    else:
        raise InputError(
            f"column {name!r} is {shown(values)}; expected a list, an array or a tensor with one value per row"
            " (a single row goes into a list: [{...}])",
            column=name,
        )
    array: np.ndarray[Any, Any] = values
    if array.ndim != 1:
        raise ShapeError(f"column {name!r} has shape {array.shape}, expected one value per row: (n,)", column=name)
    return array


def _texts(name: str, values: Sequence[Any] | np.ndarray[Any, Any], first: int) -> np.ndarray[Any, Any]:
    texts = values.tolist() if isinstance(values, np.ndarray) else values
    if not set(map(type, texts)) <= {str, type(None)}:
        texts = [_text(name, first + row, value) for row, value in enumerate(texts)]
    made = np.empty(len(texts), dtype=object)
    made[:] = _storable(texts)
    return made


def _text(name: str, row: int, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    if name == "path" and isinstance(value, PathLike):
        path = fspath(value)
        return path if isinstance(path, str) else path.decode(errors="backslashreplace")
    if name == "sample_id":
        number = value.item() if is_tensor(value) and value.ndim == 0 else value
        if isinstance(number, int | np.integer) and not isinstance(number, bool):
            return str(number)
    allowed = {"path": "text, a path or None", "sample_id": "text, an integer or None"}.get(name, "text or None")
    _refuse(name, row, value, allowed)


def _storable(texts: Sequence[str | None]) -> Sequence[str | None]:
    """Texts as UTF-8 has them: what it cannot hold, such as the odd bytes of a file name, is written as \\udc80."""
    try:
        "".join(filter(None, texts)).encode()
    except UnicodeEncodeError:
        return [None if text is None else text.encode(errors="backslashreplace").decode() for text in texts]
    return texts


def _integers(name: str, values: Sequence[Any] | np.ndarray[Any, Any], first: int) -> np.ndarray[Any, Any]:
    limit = 2 ** (_INTEGERS[name] - 1)
    numbers = []
    for row, value in enumerate(values.tolist() if isinstance(values, np.ndarray) else values):
        number = value.item() if is_tensor(value) and value.ndim == 0 else value
        if isinstance(number, np.integer):
            number = int(number)
        if number is not None and (type(number) is not int or not -limit <= number < limit):
            _refuse(name, first + row, value, f"an integer of {_INTEGERS[name]} bits or None")
        numbers.append(number)
    return _masked(numbers, np.int64)


def _floats(name: str, values: Sequence[Any] | np.ndarray[Any, Any], first: int) -> np.ndarray[Any, Any]:
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        return values.astype(np.float64)
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    kinds = {type(value) for value in listed}
    if not kinds <= {float, type(None)}:
        listed = [_float(name, first + row, value) for row, value in enumerate(_on_host(listed))]
    return _masked(listed, np.float64)


def _float(name: str, row: int, value: object) -> float | None:
    number = value.item() if isinstance(value, np.generic | np.ndarray) and value.ndim == 0 else value
    if number is None:
        return None
    if (
        isinstance(number, bool)
        or not isinstance(number, float | int)
        or (type(number) is int and abs(number) > 2**1023)
    ):
        _refuse(name, row, value, "a number" + (" > 0" if name == "weight" else " or None" if name != "loss" else ""))
    return float(number)


def _on_host(values: Sequence[Any]) -> Sequence[Any]:
    """The same with 0-dim tensors as floats, which leave their device together."""
    where = [row for row, value in enumerate(values) if is_tensor(value) and value.ndim == 0]
    if not where:
        return values
    import torch

    chosen = [values[row].detach() for row in where if values[row].dtype not in (torch.bool, torch.complex64)]
    if len(chosen) < len(where) or len({(value.device, value.dtype) for value in chosen}) > 1:
        chosen = [values[row].detach().cpu() for row in where]
        numbers = [value.item() for value in chosen]
    else:
        numbers = torch.stack(chosen).tolist()
    found = list(values)
    for row, number in zip(where, numbers, strict=True):
        found[row] = number
    return found


def _masked(values: Sequence[Any], dtype: type[np.generic]) -> np.ndarray[Any, Any]:
    missing = np.fromiter((value is None for value in values), dtype=bool, count=len(values))
    numbers: np.ndarray[Any, Any] = np.array([0 if value is None else value for value in values], dtype=dtype)
    return np.ma.MaskedArray(numbers, mask=missing) if missing.any() else numbers


def _refuse(name: str, row: int, value: object, allowed: str) -> NoReturn:
    raise InputError(f"row {row}, column {name!r}: expected {allowed}, got {shown(value)}", row=row, column=name)
