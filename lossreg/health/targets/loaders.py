"""Targets of a Dataset, a DataLoader or another iterable, named as `module:loader`."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lossreg.errors import LossregError, ShapeError
from lossreg.health.targets.array_files import spread
from lossreg.health.targets.arrays import as_array
from lossreg.health.targets.colours import array_mask, image_mask
from lossreg.health.targets.keys import mask_of
from lossreg.health.targets.report import Mask, Target, Unreadable
from lossreg.messages import one_line, require


def read_loader(name: str, limit: int | None) -> Iterator[Target]:
    """Import a loader, as `python -m` does from the current directory, and return its targets.

    Items are masks, or hold one as `mask_of` finds it. Batches of a DataLoader, and items (B, 1, H, W), are split into
    their masks. Every other item is one mask.

    Raises:
        LossregError: it cannot be imported, called without arguments, or iterated.
    """
    require("numpy", "PIL", extra="targets", use="check-targets")
    found = _called(name, _imported(name))
    if isinstance(found, Mapping):
        keys = ", ".join(map(str, found))
        raise LossregError(
            f"{name}: got a mapping with keys {keys:.200}; name a function that returns one of the values"
        )
    if isinstance(found, (str, bytes)) or not _iterable(found):
        raise LossregError(
            f"{name}: expected a Dataset, a DataLoader, an iterable or a function without arguments that returns one,"
            f" got {type(found).__name__}"
        )
    return _read(found, limit)


def _imported(name: str) -> object:
    module, _, attribute = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        found: object = importlib.import_module(module)
    except Exception as error:  # the user's own code may raise anything
        raise LossregError(f"{name}: importing {module} raised {one_line(error)}") from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            public = [each for each in dir(found) if not each.startswith("_")]
            raise LossregError(
                f"{name}: unknown name {part!r}; the public names are {', '.join(public):.200}"
            ) from error
    return found


def _called(name: str, found: object) -> object:
    """Call a class or a function, and return its result; return any other object unchanged."""
    if not (isinstance(found, type) or (callable(found) and not _iterable(found))):
        return found
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise LossregError(
            f"{name}{inspect.signature(found)} needs arguments; name a function without arguments that returns the"
            " dataset"
        ) from error
    try:
        return found()
    except Exception as error:  # the user's own code may raise anything
        raise LossregError(f"{name}: calling it raised {one_line(error)}") from error


def _iterable(found: object) -> bool:
    return hasattr(found, "__iter__") or hasattr(found, "__getitem__")


def _read(found: Any, limit: int | None) -> Iterator[Target]:
    if hasattr(found, "__getitem__") and hasattr(found, "__len__") and not _is_torch(found, "IterableDataset"):
        for index in spread(range(len(found)), limit):
            try:
                item = found[index]
            except Exception as error:  # noqa: BLE001 - a broken sample is reported; the others are read
                yield Unreadable(f"item {index}", one_line(error))
            else:
                yield from _targets(item, f"item {index}", batched=False)
        return
    batched = _is_torch(found, "DataLoader") and (found.batch_size is not None or found.batch_sampler is not None)
    name, index = "batch" if batched else "item", 0
    try:
        for index, item in enumerate(found):
            yield from _targets(item, f"{name} {index}", batched=batched)
    except Exception as error:  # noqa: BLE001 - the earlier targets are worth a report
        yield Unreadable(f"after {name} {index}", f"{one_line(error)}; no later targets are read")


def _is_torch(found: object, name: str) -> bool:
    """Return True for an instance of a class of torch.utils.data, without importing torch."""
    data = sys.modules.get("torch.utils.data")
    return data is not None and isinstance(found, getattr(data, name))


def _targets(item: object, name: str, *, batched: bool) -> Iterator[Target]:
    """Yield the masks of an item: one, or those of a batch."""
    try:
        mask = mask_of(item)
        if batched and isinstance(mask, (list, tuple)):  # of samples of different sizes
            for index, each in enumerate(mask):
                yield from _targets(each, f"{name}, item {index}", batched=False)
        elif mask is None:
            yield Mask(name, None)
        elif hasattr(mask, "getbands"):  # of PIL
            yield image_mask(mask, name)
        else:
            yield from _split(as_array(mask), name, batched)
    except LossregError as error:
        yield Unreadable(name, str(error))


def _split(values: Any, name: str, batched: bool) -> Iterator[Target]:
    if batched and values.ndim < 3:
        raise ShapeError(f"shape {values.shape}; a batch of masks is (B, H, W), (B, 1, H, W) or (B, C, H, W)")
    if values.ndim < 2:
        raise ShapeError(f"shape {values.shape}; a mask is (H, W), (1, H, W) or (C, H, W)")
    if batched or (values.ndim == 4 and values.shape[1] == 1):
        for index, each in enumerate(values):
            yield array_mask(each, f"{name}, item {index}")
    else:
        yield array_mask(values, name)
