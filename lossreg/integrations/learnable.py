"""Losses with parameters of their own: they are trained, and stay equal on all ranks."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from lossreg.errors import InputError
from lossreg.health.rank_consensus import world_size


def parameters_of(loss: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a loss that are learned."""
    return [parameter for parameter in loss.parameters() if parameter.requires_grad]


def add_to_optimizer(loss: nn.Module, optimizer: Optimizer) -> None:
    """Add the parameters of a loss to an optimiser that lacks them, in a group without weight decay."""
    lacking = _lacking(loss, [optimizer])
    if lacking:
        optimizer.add_param_group({"params": lacking, "weight_decay": 0.0})


def check_trained(loss: nn.Module, optimizers: Iterable[Optimizer], how: str) -> None:
    """Check that optimisers have the parameters of a loss.

    Args:
        loss: the module.
        optimizers: of the training.
        how: the remedy, for the message.
    Raises:
        InputError: a parameter of the loss is in no optimiser, and would stay as it is.
    """
    if lacking := _lacking(loss, optimizers):
        names = ", ".join(name for name, value in loss.named_parameters() if any(value is each for each in lacking))
        raise InputError(f"the loss learns {names}, which no optimiser has, so that it would never change; {how}")


def keep_equal(loss: nn.Module) -> None:
    """Average the gradients of a loss over the ranks, for a trainer that wraps the model and not the loss.

    The ranks begin with the parameters of rank 0. A second call does nothing.
    """
    if world_size() < 2:
        return
    for parameter in parameters_of(loss):
        if not getattr(parameter, "_lossreg_equal", False):
            distributed.broadcast(parameter.data, 0)
            parameter.register_post_accumulate_grad_hook(_average)
            parameter._lossreg_equal = True  # type: ignore[attr-defined]


def _average(parameter: Tensor) -> None:
    if parameter.grad is not None:
        # A gradient accumulated before is equal on all ranks already, so that its average is itself.
        distributed.all_reduce(parameter.grad)
        parameter.grad /= world_size()


def _lacking(loss: nn.Module, optimizers: Iterable[Optimizer]) -> list[nn.Parameter]:
    groups = (group for optimizer in optimizers for group in optimizer.param_groups)
    known = {id(parameter) for group in groups for parameter in group["params"]}
    return [parameter for parameter in parameters_of(loss) if id(parameter) not in known]
