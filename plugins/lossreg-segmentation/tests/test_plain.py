"""The gate of the fast implementations: plain tensors, and the places where no tensor is plain."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from lossreg_segmentation.statistics.plain import obstacle, plain


class Named(torch.Tensor):
    """A subclass that adds nothing to the operators."""


class Doubled(torch.Tensor):
    """A subclass whose operators are its own."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return super().__torch_function__(function, types, args, kwargs or {})


def numbers():
    return torch.zeros(2, 1, 3)


@pytest.mark.parametrize(
    "x",
    [
        numbers(),
        numbers().requires_grad_(),
        torch.nn.Parameter(numbers()),
        torch.nn.Buffer(numbers()),
        numbers().as_subclass(Named),
        numbers().bfloat16().transpose(1, 2),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_a_training_loop_has_is_plain(x):
    """With gradients off, too, in inference mode, under autocast and with a default device."""
    t = torch.zeros(2, 1, 3, dtype=torch.uint8)
    assert plain(x, t)
    with torch.no_grad(), torch.autocast("cpu"), torch.device("meta"):
        assert plain(x, t)
    with torch.inference_mode():
        assert plain(x, torch.zeros(2, 1, 3))


@pytest.mark.parametrize(
    "x, reason",
    [
        (numbers().as_subclass(Doubled), "Doubled is a subclass of torch.Tensor with operators of its own"),
        (FakeTensorMode().from_tensor(numbers()), "FakeTensor is a subclass of torch.Tensor"),
        (numbers().to_sparse(), "a tensor has the layout torch.sparse_coo"),
    ],
    ids=["function", "fake", "sparse"],
)
def test_other_tensors_say_what_they_are(x, reason):
    """As input and as target."""
    assert obstacle(numbers(), x).startswith(reason)
    assert obstacle(x, numbers()).startswith(reason)


@pytest.mark.parametrize(
    "transform, reason",
    [
        (lambda seen: torch.func.grad(seen)(numbers()), "a transform of torch.func or torch.vmap is active"),
        (lambda seen: torch.vmap(seen)(numbers()), "a transform of torch.func or torch.vmap is active"),
        (lambda seen: make_fx(seen)(numbers()), "a TorchDispatchMode is active"),
        (lambda seen: torch.jit.trace(seen, numbers()), "torch.jit.trace is active"),
    ],
    ids=["grad", "vmap", "make_fx", "trace"],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*:DeprecationWarning")
def test_inside_a_transform_nothing_is_plain(transform, reason):
    """A tensor from outside of it, neither, because its gradient may be taken there."""
    found, outside = [], numbers()

    def seen(x):
        found.append((obstacle(x, x), obstacle(outside, outside)))
        return x.sum()

    transform(seen)
    assert all(text.startswith(reason) for text in found[0])
    assert plain(outside)


@pytest.mark.parametrize(
    "context, reason",
    [
        (forward_ad.dual_level, "forward-mode differentiation is active"),
        (lambda: FlopCounterMode(display=False), "a TorchDispatchMode is active"),
        (FakeTensorMode, "a TorchDispatchMode is active"),
    ],
)
def test_inside_a_mode_nothing_is_plain(context, reason):
    """Even a tensor that was made before."""
    x = numbers()
    with context():
        assert obstacle(x).startswith(reason)
    assert plain(x)
