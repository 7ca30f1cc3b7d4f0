"""Values of one column, checked and turned into an array."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any, NoReturn

import numpy as np

from lossreg.errors import InputError, ShapeError
from lossreg.messages import printable
from lossreg.records.record_schema import COLUMNS, COMPONENT

# Columns of equal length, or None for a column without values. Text is an object array with None for a missing value;
# numbers are masked where a value is missing, and NaN where the value is NaN.
Chunk = dict[str, "np.ndarray[Any, Any] | None"]

_INTEGERS = {"rank": 32, "step": 64, "epoch": 32, "draw": 64}  # bits


def column(name: str, values: object, first: int = 0) -> np.ndarray[Any, Any]:
    """Check the values of one column, and turn them into an array as in `Chunk`.

    Args:
        first: the number of the first row, for errors.
    Raises:
        InputError: a value that the column cannot hold.
        ShapeError: not one value per row.
    """
    listed = _listed(name, values)
    if name in _INTEGERS:
        return _integers(name, listed, first)
    if is_own(name):
        return _own(name, listed, first)
    kind = COLUMNS.get(name, "DOUBLE")
    if kind == "VARCHAR":
        return _texts(name, listed, first)
    if kind == "BOOLEAN":
        return _booleans(name, listed, first)
    numbers = _floats(name, listed, first)
    if name == "weight":
        numbers = np.ma.filled(numbers, 1.0)
        if len(wrong := np.flatnonzero(~(np.isfinite(numbers) & (numbers > 0)))):
            _raise_wrong(name, first + int(wrong[0]), float(numbers[wrong[0]]), "a finite number > 0")
    elif name == "loss" and len(wrong := np.flatnonzero(np.ma.getmaskarray(numbers))):
        _raise_wrong(name, first + int(wrong[0]), None, "a number, also NaN or infinite")
    return numbers


def is_own(name: str) -> bool:
    """Check whether a column is one of the user's own."""
    return name not in COLUMNS and not name.startswith(COMPONENT)


def is_tensor(value: object) -> bool:
    """Check whether a value is a tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def shown(value: object) -> str:
    """Show a wrong value with its type, because 1, '1' and a NumPy scalar look alike; on one line, cut to length."""
    return f"{printable(repr(value)):.80} ({type(value).__name__})"


def _listed(name: str, values: Any) -> Sequence[Any] | np.ndarray[Any, Any]:
    """Convert values to a list or to an array of one dimension."""
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
    _raise_wrong(name, row, value, allowed)


def _storable(texts: Sequence[str | None]) -> Sequence[str | None]:
    """Escape characters that UTF-8 cannot hold, such as invalid bytes of a file name: as \\udc80."""
    try:
        "".join(filter(None, texts)).encode()
    except UnicodeEncodeError:
        return [None if text is None else text.encode(errors="backslashreplace").decode() for text in texts]
    return texts


def _integers(name: str, values: Sequence[Any] | np.ndarray[Any, Any], first: int) -> np.ndarray[Any, Any]:
    bits = _INTEGERS.get(name, 64)
    limit = 2 ** (bits - 1)
    numbers = []
    for row, value in enumerate(values.tolist() if isinstance(values, np.ndarray) else values):
        number = value.item() if is_tensor(value) and value.ndim == 0 else value
        if isinstance(number, np.integer):
            number = int(number)
        if number is not None and (type(number) is not int or not -limit <= number < limit):
            _raise_wrong(name, first + row, value, f"an integer of {bits} bits or None")
        numbers.append(number)
    return _masked(numbers, np.int64)


def _booleans(name: str, values: Sequence[Any] | np.ndarray[Any, Any], first: int) -> np.ndarray[Any, Any]:
    listed = [_scalar(value) for value in (values.tolist() if isinstance(values, np.ndarray) else values)]
    for row, value in enumerate(listed):
        if value is not None and not isinstance(value, bool):
            _raise_wrong(name, first + row, value, "True, False or None")
    return _masked(listed, np.bool_)


def _own(name: str, values: Sequence[Any] | np.ndarray[Any, Any], first: int) -> np.ndarray[Any, Any]:
    """Make an array of text, of truth values, of integers, or of floats where there is one among the numbers."""
    listed = [_scalar(value) for value in (values.tolist() if isinstance(values, np.ndarray) else values)]
    rows: dict[type, int] = {}  # of the first value of each type
    for row, value in enumerate(listed):
        if value is not None and type(value) not in rows:
            if type(value) not in (str, bool, int, float):
                _raise_wrong(name, first + row, value, "text, True, False, a number or None")
            rows[type(value)] = row
    if len(rows.keys() - {int, float}) + bool(rows.keys() & {int, float}) > 1:
        (one, row), *_, (_, other) = rows.items()
        _raise_wrong(name, first + other, listed[other], f"{one.__name__} as in row {first + row}, one type in all")
    if rows.keys() & {int, float}:
        if float in rows:
            return _floats(name, listed, first)
        return _integers(name, listed, first)
    return _masked(listed, np.bool_) if bool in rows else _texts(name, listed, first)


def _scalar(value: Any) -> Any:
    """Return Python's own value for a NumPy scalar or a tensor without dimensions."""
    return value.item() if (is_tensor(value) or isinstance(value, np.generic)) and value.ndim == 0 else value


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
        _raise_wrong(
            name, row, value, "a number" + (" > 0" if name == "weight" else " or None" if name != "loss" else "")
        )
    return float(number)


def _on_host(values: Sequence[Any]) -> Sequence[Any]:
    """Replace 0-dim tensors by floats. Tensors of one device and dtype are copied together."""
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


def _raise_wrong(name: str, row: int, value: object, allowed: str) -> NoReturn:
    raise InputError(f"row {row}, column {name!r}: expected {allowed}, got {shown(value)}", row=row, column=name)
