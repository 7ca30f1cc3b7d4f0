"""The gate of the fast implementations: plain tensors, outside of every transform, as all training loops have them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._C import _TorchDispatchModeKey as ModeKey
from torch._C._functorch import (
    get_unwrapped,
    is_batchedtensor,
    is_functorch_wrapped_tensor,
    is_legacy_batchedtensor,
)
from torch.autograd import forward_ad

# Subclasses of these libraries that only carry notes beside their values, such as torchvision's Mask.
_LIBRARIES = ("torch", "torchvision", "monai", "fastai")
_TRACED = (Tensor, torch.nn.Parameter)  # that a compiled graph passes to operators
_PLAIN_TYPES: dict[type, bool] = dict.fromkeys(_TRACED, True)
_TRACERS = (ModeKey.FAKE, ModeKey.PROXY, ModeKey.FUNCTIONAL)

# Found once, because each step calls all of them.
_is_compiling = torch.compiler.is_compiling
_is_exporting = getattr(torch.compiler, "is_exporting", bool)  # since torch 2.7
transforms_are_active = torch._C._are_functorch_transforms_active
modes = torch._C._len_torch_dispatch_stack
is_batched = is_legacy_batchedtensor
_is_tracing = torch._C._is_tracing
_strided = torch.strided

TRANSFORM = "a transform of torch.func or torch.vmap is active"
FORWARD_MODE = "forward-mode differentiation is active"


def plain(*tensors: Tensor) -> bool:
    """Return True if kernels may read these tensors at once. Takes 1 us; False inside torch.compile."""
    return not (_is_compiling() or eager_obstacle(*tensors))


def obstacle(*tensors: Tensor) -> str:
    """Return the reason why no kernel may read these tensors, in a compiled graph neither; empty if one may."""
    return _obstacle_in_graph(*tensors) if _is_compiling() else eager_obstacle(*tensors)


def is_plain_gradient(grad: Tensor) -> bool:
    """Return True if kernels may read the gradient given to a backward pass; False for many at once, as by vmap."""
    return not (is_batched(grad) or transforms_are_active() or modes())


def wants_gradient(x: Tensor) -> bool:
    """Return True if autograd, backward or in forward mode, would ask for the gradient of a tensor."""
    return has_tangent(x) or (x.requires_grad and torch.is_grad_enabled())


def has_tangent(x: Tensor) -> bool:
    """Return True if a tensor carries a tangent, which derivatives in forward mode need."""
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(x).tangent is not None


def is_capturing(device: torch.device) -> bool:
    """Return True while a CUDA graph captures launches. No tables can be copied to the device then."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def without_notes(x: Tensor) -> Tensor:
    """Return a plain tensor in place of one that only carries notes beside its values; any other as it is."""
    return x if type(x) in _TRACED or not _is_plain(type(x)) else x.as_subclass(Tensor)


def has_values(x: Tensor) -> bool:
    """Return True if the values of a tensor can be read here; a program that is being traced would repeat them."""
    if _is_compiling() or _is_tracing() or x.is_meta or not _is_plain(type(x)):
        return False
    if modes() and any(torch._C._get_dispatch_mode(key) is not None for key in _TRACERS):
        return False
    while is_functorch_wrapped_tensor(x):
        if is_batchedtensor(x):
            return False
        x = get_unwrapped(x)
    return True


def eager_obstacle(*tensors: Tensor) -> str:
    """Do the same outside of compilers, where each step comes by."""
    if transforms_are_active():
        return TRANSFORM
    if forward_ad._current_level >= 0:
        return FORWARD_MODE
    if modes():
        return "a TorchDispatchMode is active, as in make_fx and under FakeTensorMode"
    if _is_tracing():
        return "torch.jit.trace is active"
    for x in tensors:
        if type(x) is not Tensor and not _is_plain(type(x)):
            return f"{type(x).__name__} is a subclass of torch.Tensor with operators of its own"
        if x.layout is not _strided or x.is_nested:
            return "a tensor is nested" if x.is_nested else f"a tensor has the layout {x.layout}"
        if x.is_cuda and x.is_neg():  # on a CPU, NumPy reads them right
            return "a tensor is a view of negated values, which .resolve_neg() computes"
    return ""


def _obstacle_in_graph(*tensors: Tensor) -> str:
    """Do the same while torch.compile traces, which checks on later calls that nothing has changed."""
    if _is_exporting():
        return "torch.export is active, and its program must run where there are no such kernels"
    if transforms_are_active():
        return TRANSFORM
    if forward_ad._current_level >= 0:
        return FORWARD_MODE
    kinds = [type(x) for x in tensors]
    return next((f"{kind.__name__} is a subclass of torch.Tensor" for kind in kinds if kind not in _TRACED), "")


def _is_plain(kind: type) -> bool:
    """Find out, once per class, whether all of its operators are torch's own or those of a known library."""
    if kind not in _PLAIN_TYPES:
        owner = next((base for base in kind.__mro__ if "__torch_function__" in vars(base)), object)
        known = owner.__module__.partition(".")[0] in _LIBRARIES
        _PLAIN_TYPES[kind] = known and issubclass(kind, Tensor) and kind.__torch_dispatch__ is Tensor.__torch_dispatch__
    return _PLAIN_TYPES[kind]


_is_plain._dynamo_marked_constant = True  # type: ignore[attr-defined]  # a compiler cannot trace __mro__
