"""Compiles the kernels of losses ahead of a training, by calling each loss on small tensors of the usual types."""

from __future__ import annotations

import gc
import importlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from lossreg.authoring.describe import description
from lossreg.errors import ImplementationError, InputError, LossregError, MissingLibraryError
from lossreg.messages import is_installed
from lossreg.registries import losses
from lossreg.registry.entry import Entry

if TYPE_CHECKING:
    from torch import Tensor, nn

COMPILER = "numba"  # the package whose kernels are compiled by their first call, and kept on disk
CONFIGS = (".yaml", ".yml", ".toml", ".json")
LOGITS = ("float32", "bfloat16", "float16")
TARGETS = ("uint8", "bool", "int64")
IGNORED = 255


class Warmed(NamedTuple):
    """The kernels of a loss that were not in use before: compiled now, or read from disk; and the time of all calls."""

    name: str
    compiled: int
    read: int
    seconds: float


def warm_up(
    names: Iterable[str] = (), *, logits: Sequence[str] = LOGITS, targets: Sequence[str] = TARGETS
) -> Iterator[Warmed]:
    """Call losses on tensors of these types, and yield one row for each loss.

    Args:
        names: names of losses, or config files. Without names, all losses that have kernels.
        logits: names of dtypes, such as "bfloat16".
        targets: names of dtypes of masks and class indices.
    Raises:
        ImplementationError: a named loss has no kernels, or takes inputs that are unknown here.
        InputError: an unknown dtype.
        MissingLibraryError: Numba is not installed.
    """
    if not is_installed(COMPILER):
        raise MissingLibraryError("lossreg warm-up: numba is not installed; pip install numba", name=COMPILER)
    _check("logits", logits, (*LOGITS, "float64"))
    _check("target", targets, (*TARGETS, "int32", "float32"))
    for name in names or [name for name in losses.list() if _has_kernels(losses.entry(name))]:
        before, start = _counts(), time.perf_counter()
        for loss in _losses(name):
            for input, target in _tensors(logits, targets):
                _call(name, loss, input, target)
        compiled, read = _counts()
        yield Warmed(name, compiled - before[0], read - before[1], time.perf_counter() - start)


def folders() -> list[str]:
    """Return the folders that hold the kernels of this process; none where no folder is writable."""
    return sorted({kernel.stats.cache_path for kernel in _kernels() if kernel.stats.cache_path})


def _check(option: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    if wrong := [name for name in given if name not in allowed]:
        raise InputError(f"--{option}: no dtype {wrong[0]!r}; use {', '.join(allowed)}")


def _has_kernels(entry: Entry) -> bool:
    ways: Mapping[str, Any] = (entry.metadata.get("contract") or {}).get("implementations") or {}
    return any(way["package"] == COMPILER for way in ways.values())


def _losses(name: str) -> Iterator[nn.Module]:
    """Yield a loss without ignored pixels and with some; that of a config file as it is."""
    from lossreg.config.factory import build
    from lossreg.config.files import read_config

    if name.endswith(CONFIGS):
        yield build(read_config(name))
        return
    entry = losses.entry(name)
    if not _has_kernels(entry):
        raise ImplementationError(f"{name} has no compiled kernels and needs no warm-up", implementation=COMPILER)
    yield build(name)
    if "ignore_index" in description(entry, losses)["parameters"]["properties"]:
        yield build({"name": name, "params": {"ignore_index": IGNORED}})


def _tensors(logits: Sequence[str], targets: Sequence[str]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits and masks of one channel, and logits and class indices."""
    import torch

    for channels, dtype, kind in product((1, 3), logits, targets):
        shape = (2, 8, 8) if channels > 1 else (2, 1, 8, 8)
        input = torch.zeros(2, channels, 8, 8, dtype=getattr(torch, dtype), requires_grad=True)
        yield input, torch.zeros(shape, dtype=getattr(torch, kind))


def _call(name: str, loss: nn.Module, input: Tensor, target: Tensor) -> None:
    """Call a loss and compute a gradient; do nothing for a kind of target that the loss refuses."""
    convert = getattr(loss, "warm_up_inputs", lambda *tensors: tensors)
    try:
        value = loss(*convert(input, target))
    except LossregError:
        return
    except TypeError as error:
        raise ImplementationError(
            f"{name} takes other inputs than logits and a target ({error}); warm up by a call of your own",
            implementation=COMPILER,
        ) from error
    value.mean().backward()


def _counts() -> tuple[int, int]:
    """Return the numbers of kernels that this process has compiled and has read from disk."""
    stats = [kernel.stats for kernel in _kernels() if kernel.stats.cache_path]
    return sum(sum(each.cache_misses.values()) for each in stats), sum(sum(each.cache_hits.values()) for each in stats)


def _kernels() -> list[Any]:
    """Return all compiled functions of the process, which Numba does not list."""
    kind = importlib.import_module("numba.core.dispatcher").Dispatcher
    return [each for each in gc.get_objects() if issubclass(type(each), kind)]
