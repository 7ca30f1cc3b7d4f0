"""The gate of the fast implementations: plain tensors, outside of every transform, as all training loops have them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

# Subclasses that torch computes with as with a plain tensor: only a note or a name is added to their values.
_PLAIN_TYPES: dict[type, bool] = {Tensor: True, torch.nn.Parameter: True}
_LIBRARIES = ("torch", "torchvision", "monai", "fastai")

# Read once: each step asks all of them.
_is_compiling = torch.compiler.is_compiling
_transforms_are_active = torch._C._are_functorch_transforms_active
_modes = torch._C._len_torch_dispatch_stack
_is_tracing = torch._C._is_tracing
_strided = torch.strided


def plain(*tensors: Tensor) -> bool:
    """Return True if a kernel may read the memory of these tensors; a gradient is then a usual backward pass."""
    return not obstacle(*tensors)


def obstacle(*tensors: Tensor) -> str:
    """Return the reason why no kernel may read these tensors here; empty if one may. Takes less than 1 us."""
    if _is_compiling():
        return "torch.compile or torch.export is active"
    if _transforms_are_active():
        return "a transform of torch.func is active"
    if _modes():
        return "a TorchDispatchMode is active, as in make_fx and under FakeTensorMode"
    if _is_tracing():
        return "torch.jit.trace is active"
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation is active"
    for x in tensors:
        if not _PLAIN_TYPES.get(type(x)) and not _is_plain(type(x)):
            return f"{type(x).__name__} is a subclass of torch.Tensor with operators of its own"
        if x.layout is not _strided:
            return f"a tensor has the layout {x.layout}"
        if x.is_neg():
            return "a tensor is a view of negated values, which .resolve_neg() computes"
    return ""


def _is_plain(kind: type) -> bool:
    """Find out, once per class, whether all of its operators are torch's own or those of a known library."""
    if kind not in _PLAIN_TYPES:
        owner = next(base for base in kind.__mro__ if "__torch_function__" in vars(base))
        known = owner.__module__.partition(".")[0] in _LIBRARIES
        _PLAIN_TYPES[kind] = known and kind.__torch_dispatch__ is Tensor.__torch_dispatch__
    return _PLAIN_TYPES[kind]
