"""The choice of an implementation for a pass: the first that supports its tensors, or the one that the user set."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module

import torch
from torch import Tensor

from lossreg.authoring import Implementation, is_installed
from lossreg.errors import ImplementationError

# In the order in which "auto" tries them.
IMPLEMENTATIONS: dict[str, Implementation] = {
    "triton": {"device": "cuda", "package": "triton"},
    "numba": {"device": "cpu", "package": "numba"},
    "tiled": {"device": "cpu", "package": ""},
    "reference": {"device": "", "package": ""},
}

MAX_CLASSES = 256  # of softmax in a triton kernel: one program has all classes of a pixel in its registers

_LOGITS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
_DRIVERS = {"numba": "numba_driver", "triton": "triton_driver"}
_MISSING = {
    "numba": "Numba is not installed: pip install 'lossreg-segmentation[cpu]'",
    "triton": "Triton is not installed: it comes with torch's builds for CUDA",
}
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

# A global instead of a ContextVar: a compiler cannot trace a ContextVar, but recompiles when a global changes.
_selected = "auto"


@contextmanager
def implementation(name: str) -> Iterator[None]:
    """Use one implementation inside: "triton", "numba", "tiled", "reference", or "auto" for the first that can.

    It applies to the whole process, like torch's own backend switches. "reference" is plain torch: it alone has second
    derivatives, forward-mode derivatives and vmap.

    Raises:
        ImplementationError: unknown implementation. A pass that it does not support raises it too, with the reason.
    """
    global _selected
    if name not in ("auto", *IMPLEMENTATIONS):
        allowed = ", ".join(("auto", *IMPLEMENTATIONS))
        raise ImplementationError(f"implementation must be one of {allowed}, got {name!r}", implementation=name)
    before, _selected = _selected, name
    try:
        yield
    finally:
        _selected = before


def chosen(input: Tensor, target: Tensor, activation: str) -> str:
    """Return the name of the implementation for a pass over these tensors.

    Raises:
        ImplementationError: the selected implementation does not support them.
    """
    if _selected != "auto":
        reason = refusal(_selected, input, target, activation)
        if reason:
            raise ImplementationError(
                f"implementation {_selected!r} cannot compute this: {reason}; use 'auto' for the first that can",
                implementation=_selected,
            )
        return _selected
    return next(name for name in IMPLEMENTATIONS if not refusal(name, input, target, activation))


def refusal(name: str, input: Tensor, target: Tensor, activation: str) -> str:
    """Return the reason why an implementation does not support these tensors; empty if it does."""
    if name == "reference":
        return ""
    if input.dtype not in _LOGITS:
        return f"it supports logits in float32, bfloat16, float16 and float64, got {input.dtype}"
    device = input.device.type
    if name == "triton":
        return _refusal_of_triton(device, input.shape[1], target.dtype, activation)
    if device != "cpu":
        return f"it is for CPU tensors, got {device}"
    return unusable(name) if name == "numba" else ""


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


def _refusal_of_triton(device: str, classes: int, target: torch.dtype, activation: str) -> str:
    if device != "cuda" and not interpreted():
        return f"it is for CUDA tensors, got {device}"
    if reason := unusable("triton"):
        return reason
    if target in _UNSIGNED:
        return f"it supports targets in bool, uint8, signed integers and floats, got {target}"
    if activation == "softmax" and classes > MAX_CLASSES:
        return f"it supports softmax over at most {MAX_CLASSES} classes, got {classes}"
    return ""
