"""What each component of a loss teaches: the gradient of every term with respect to the prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def probe(loss: Any, prediction: Tensor, target: Tensor, step: int) -> tuple[list[str], Tensor]:
    """Names of the terms; their weights and the norms of their weighted gradients, (2 K,).

    The prediction is copied out of the training's graph. Nothing else is differentiated, no random number of the
    training's is drawn, and nothing is waited for.

    Args:
        loss: a `Loss` that takes (prediction, target), and step= if it has such an option.
        prediction, target: of one batch.
    """
    import torch

    options = {"step": step} if "step" in loss.option_names() else {}
    device = prediction.device
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
        torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=_random(device.type)),
    ):
        leaf = prediction.clone().float().requires_grad_()
        terms = loss.terms(leaf, target.clone() if target.is_inference() else target, **options)
        weights, norms = [], []
        for term in terms.values():
            values = term.values if term.count is None else term.values * term.count
            weight = _weight(term.weight, leaf)
            weights.append(weight)
            norms.append(weight.abs() * _norm(values.mean(), leaf))
        return list(terms), torch.stack(weights + norms).detach()


def _weight(weight: float | Tensor, leaf: Tensor) -> Tensor:
    """0-dim. A number is filled in, since a copy of it to the device would be waited for."""
    import torch

    if isinstance(weight, torch.Tensor):
        return weight.detach().float()
    return torch.full((), weight, device=leaf.device)


def _norm(value: Tensor, leaf: Tensor) -> Tensor:
    """Of the gradient; 0 where the value does not depend on the prediction."""
    import torch

    nothing = torch.zeros((), device=leaf.device)
    if not value.requires_grad:
        return nothing
    gradient: Tensor | None = torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)[0]
    return nothing if gradient is None else gradient.norm()


def _random(device: str) -> str:
    """fork_rng knows devices with generators of their own; the CPU's is forked beside any of them."""
    return "cuda" if device == "cpu" else device
