"""The gradient of each component of a loss with respect to the prediction."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def with_terms(loss: nn.Module | None) -> nn.Module | None:
    """Return the module with terms that a wrapper of torch holds, such as DistributedDataParallel; else the module.

    Its terms are differentiated with respect to a prediction alone, so that no wrapper has anything to exchange.
    """
    from lossreg.loss.wrappers import wrapped

    inner = loss
    while inner is not None and not callable(getattr(inner, "terms", None)):
        inner = wrapped(inner)
    return loss if inner is None else inner


def weights_and_gradients(loss: Any, prediction: Tensor, target: Tensor, step: int) -> tuple[list[str], Tensor]:
    """Return the names of the terms and a tensor (2, K): their weights, and the norms of their weighted gradients.

    The gradients are those of a copy of the prediction. The training's graph and random numbers do not change, and
    nothing blocks until the device is done.

    Args:
        loss: a `Loss` that takes (prediction, target), and step= if it has such an option.
        prediction, target: those of one batch.
        step: number of the update.
    """
    import torch

    options = {"step": step} if "step" in loss.option_names() else {}
    device = prediction.device
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
        kept_random_numbers(device),
    ):
        leaf = prediction.clone().float().requires_grad_()
        terms = loss.terms(leaf, target.clone() if target.is_inference() else target, **options)
        weights, norms = [], []
        for term in terms.values():
            values = term.values if term.count is None else term.values * term.count
            weight = _weight(term.weight, leaf)
            weights.append(weight)
            norms.append(weight.abs() * _norm(values.mean(), leaf))
        return list(terms), torch.stack(weights + norms).detach().view(2, -1)


def kept_random_numbers(device: torch.device) -> AbstractContextManager[None]:
    """Return a context after which the random numbers of the CPU and of a device go on as before it."""
    from torch.random import fork_rng

    return fork_rng([] if device.type == "cpu" else [device], device_type=_random(device.type))


def _weight(weight: float | Tensor, leaf: Tensor) -> Tensor:
    """Return a weight as a 0-dim tensor. A number is filled in on the device, because copying it there would block."""
    import torch

    if isinstance(weight, torch.Tensor):
        return weight.detach().float()
    return torch.full((), weight, device=leaf.device)


def _norm(value: Tensor, leaf: Tensor) -> Tensor:
    """Return the norm of the gradient; 0 if the value does not depend on the prediction."""
    import torch

    zero = torch.zeros((), device=leaf.device)
    if not value.requires_grad:
        return zero
    gradient: Tensor | None = torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)[0]
    return zero if gradient is None else gradient.norm()


def _random(device: str) -> str:
    """Return the device type for fork_rng, which must have its own generator. The CPU's is forked in any case."""
    return "cuda" if device == "cpu" else device
