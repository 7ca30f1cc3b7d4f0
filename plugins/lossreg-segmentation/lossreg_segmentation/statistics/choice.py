"""The choice of an implementation for a pass: the first that supports its tensors, or the one that the user set."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module

import torch
from torch import Tensor

from lossreg.authoring import Implementation, is_installed
from lossreg.errors import ImplementationError
from lossreg_segmentation.statistics.plain import obstacle

# In the order in which "auto" tries them.
IMPLEMENTATIONS: dict[str, Implementation] = {
    "triton": {"device": "cuda", "package": "triton"},
    "numba": {"device": "cpu", "package": "numba"},
    "tiled": {"device": "cpu", "package": ""},
    "reference": {"device": "", "package": ""},
}

_LOGITS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
_DRIVERS = {"numba": "numba_driver", "triton": "triton_driver"}
_MISSING = {
    "numba": "Numba is not installed: pip install 'lossreg-segmentation[cpu]'",
    "triton": "Triton is not installed: it comes with torch's builds for CUDA",
}
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


class Selected(threading.local):
    """The name set by `implementation`, one per thread.

    Not a ContextVar, which a compiler cannot trace. The name must be an attribute of the instance: a compiled graph
    looks at it again on every call, but never at an attribute of the class.
    """

    def __init__(self) -> None:
        self.name = "auto"


selected = Selected()


@contextmanager
def implementation(name: str) -> Iterator[None]:
    """Use one implementation inside: "triton", "numba", "tiled", "reference", or "auto" for the first that can.

    It applies to the thread that enters it, like torch.no_grad(): not to other threads, nor to those started inside.
    A gradient is computed by the implementation of its loss, in any thread. "reference" is plain torch: it alone has
    second derivatives, works under torch.func, in forward mode, in exported programs and for every kind of tensor.

    Raises:
        ImplementationError: unknown implementation. A pass that it does not support raises it too, with the reason.
    """
    if name not in ("auto", *IMPLEMENTATIONS):
        allowed = ", ".join(("auto", *IMPLEMENTATIONS))
        raise ImplementationError(f"implementation must be one of {allowed}, got {name!r}", implementation=name)
    before, selected.name = selected.name, name
    try:
        yield
    finally:
        selected.name = before


def chosen(input: Tensor, target: Tensor, activation: str, weight: Tensor | None = None) -> str:
    """Return the name of the implementation for a pass over these tensors.

    Raises:
        ImplementationError: the selected implementation does not support them.
    """
    name = selected.name
    if name != "auto":
        reason = refusal(name, input, target, activation, weight)
        if reason:
            raise ImplementationError(
                f"implementation {name!r} cannot compute this: {reason}; use 'auto' for the first that can",
                implementation=name,
            )
        return name
    return next(name for name in IMPLEMENTATIONS if not refusal(name, input, target, activation, weight))


def refusal(name: str, input: Tensor, target: Tensor, activation: str, weight: Tensor | None = None) -> str:
    """Return the reason why an implementation does not support these tensors; empty if it does."""
    if name == "reference":
        return ""
    if input.dtype not in _LOGITS:
        return f"it supports logits in float32, bfloat16, float16 and float64, got {input.dtype}"
    device = input.device.type
    if name == "triton":
        reason = _refusal_of_triton(device, target.dtype)
    elif device != "cpu":
        reason = f"it is for CPU tensors, got {device}"
    else:
        reason = unusable(name) if name == "numba" else ""
    return reason or (obstacle(input, target) if weight is None else obstacle(input, target, weight))


def unusable(name: str) -> str:
    """Return the reason why the kernels of "numba" or "triton" are unusable; empty if usable. Imports them once.

    An installed package may be broken, for example a Numba that does not support this NumPy. Other implementations
    then compute.
    """
    return _unusable(name)


# For compilers, which cannot trace an import. torch.compiler.assume_constant_result does the same, but its own imports
# take a second.
unusable._dynamo_marked_constant = True  # type: ignore[attr-defined]


@cache
def _unusable(name: str) -> str:
    if not is_installed(name):
        return _MISSING[name]
    try:
        import_module(f"{__package__}.{_DRIVERS[name]}")
    except Exception as error:  # noqa: BLE001 - a package may raise anything while it is imported
        reason = f"{name} is installed and cannot be used: {type(error).__name__}: {error}"
        warnings.warn(f"{reason}; other implementations, which are slower, compute in its place", stacklevel=3)
        return reason
    return ""


def interpreted() -> bool:
    """Return True if Triton's interpreter runs the kernels, on any device."""
    return _INTERPRETED


def _refusal_of_triton(device: str, target: torch.dtype) -> str:
    if device != "cuda" and not interpreted():
        return f"it is for CUDA tensors, got {device}"
    if reason := unusable("triton"):
        return reason
    if target in _UNSIGNED:
        return f"it supports targets in bool, uint8, signed integers and floats, got {target}"
    return ""
