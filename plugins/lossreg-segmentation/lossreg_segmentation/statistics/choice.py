"""Which implementation computes a pass: the first that can, or the one that was asked for."""

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

# In the order in which "auto" asks them.
IMPLEMENTATIONS: dict[str, Implementation] = {
    "triton": {"device": "cuda", "package": "triton"},
    "numba": {"device": "cpu", "package": "numba"},
    "tiled": {"device": "cpu", "package": ""},
    "reference": {"device": "", "package": ""},
}

MAX_CLASSES = 256  # of softmax in a triton kernel: all classes of a pixel lie in one program's registers

_LOGITS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
_DRIVERS = {"numba": "numba_driver", "triton": "triton_driver"}
_MISSING = {
    "numba": "Numba is not installed: pip install 'lossreg-segmentation[cpu]'",
    "triton": "Triton is not installed: it comes with torch's builds for CUDA",
}
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

# No ContextVar: a compiler cannot trace one, while it guards on a global and compiles anew when it changes.
_asked_for = "auto"


@contextmanager
def implementation(name: str) -> Iterator[None]:
    """Compute by this implementation inside: "triton", "numba", "tiled", "reference", or "auto" for the first that can.

    Of the whole process, as torch's own backend switches are. "reference" is plain torch: it alone has second
    derivatives, forward-mode derivatives and vmap.

    Raises:
        ImplementationError: no such implementation. A pass that it cannot take raises too, with the reason.
    """
    global _asked_for
    if name not in ("auto", *IMPLEMENTATIONS):
        allowed = ", ".join(("auto", *IMPLEMENTATIONS))
        raise ImplementationError(f"implementation is one of {allowed}, got {name!r}", implementation=name)
    before, _asked_for = _asked_for, name
    try:
        yield
    finally:
        _asked_for = before


def chosen(input: Tensor, target: Tensor, activation: str) -> str:
    """The implementation of a pass over these tensors.

    Raises:
        ImplementationError: the one that was asked for cannot take them.
    """
    if _asked_for != "auto":
        reason = refusal(_asked_for, input, target, activation)
        if reason:
            raise ImplementationError(
                f"implementation {_asked_for!r} cannot compute this: {reason}; use 'auto' for the first that can",
                implementation=_asked_for,
            )
        return _asked_for
    return next(name for name in IMPLEMENTATIONS if not refusal(name, input, target, activation))


def refusal(name: str, input: Tensor, target: Tensor, activation: str) -> str:
    """Why an implementation cannot take these tensors; empty if it can."""
    if name == "reference":
        return ""
    if input.dtype not in _LOGITS:
        return f"its logits are float32, bfloat16, float16 or float64, got {input.dtype}"
    device = input.device.type
    if name == "triton":
        return _refusal_of_triton(device, input.shape[1], target.dtype, activation)
    if device != "cpu":
        return f"it is for CPU tensors, got {device}"
    return unusable(name) if name == "numba" else ""


def unusable(name: str) -> str:
    """Say why the kernels of "numba" or "triton" cannot be used at all; empty if they can. Imports them, once.

    What is installed may be broken, as a Numba that does not know this NumPy is. Other implementations compute then.
    """
    return _unusable(name)


# For compilers, which cannot trace an import. As torch.compiler.assume_constant_result does, which takes a second to
# import what it needs.
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
    """Whether Triton's interpreter runs the kernels, on any device."""
    return _INTERPRETED


def _refusal_of_triton(device: str, classes: int, target: torch.dtype, activation: str) -> str:
    if device != "cuda" and not interpreted():
        return f"it is for CUDA tensors, got {device}"
    if reason := unusable("triton"):
        return reason
    if target in _UNSIGNED:
        return f"its targets are bool, uint8, signed integers or floats, got {target}"
    if activation == "softmax" and classes > MAX_CLASSES:
        return f"softmax over {classes} classes, at most {MAX_CLASSES} fit"
    return ""
