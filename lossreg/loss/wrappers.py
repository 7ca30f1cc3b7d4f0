"""Wrappers of a loss: the module that each holds, and those that exchange gradients or parameters between processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_SHARDED = "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel"
_PARALLEL = "torch.nn.parallel.distributed.DistributedDataParallel"

# The name that each wrapper has for its module. By names: none of them is imported.
_HELD = {
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    _PARALLEL: "module",
    _SHARDED: "_fsdp_wrapped_module",
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.CheckpointWrapper": "_checkpoint_wrapped_module",
    "torch.optim.swa_utils.AveragedModel": "module",
    "lossreg.integrations.tracked.Tracked": "loss",
}
_EXCHANGED = {_PARALLEL: "gradients", _SHARDED: "parameters", "torch.distributed.fsdp.FSDPModule": "parameters"}


def wrapped(module: nn.Module) -> nn.Module | None:
    """Return the module within a wrapper; None for any other module, which decides itself what it computes."""
    for name in _bases(module):
        if name in _HELD:
            return module._modules.get(_HELD[name], vars(module).get(_HELD[name]))
    return None


def exchanged(module: nn.Module) -> str:
    """Return "gradients" or "parameters" if calls of a module exchange them with other processes; else ""."""
    return next((_EXCHANGED[name] for name in _bases(module) if name in _EXCHANGED), "")


def _bases(module: nn.Module) -> list[str]:
    return [f"{base.__module__}.{base.__name__}" for base in type(module).__mro__]
