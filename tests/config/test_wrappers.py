"""config_of finds a loss within the wrappers of torch, and in no other module."""

from collections import OrderedDict
from copy import deepcopy

import pytest
import torch
from torch import distributed, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.optim.swa_utils import AveragedModel

from lossreg import LossregError, build, config_of

# Its weights are learned: DistributedDataParallel takes no module without parameters.
LEARNED = {"name": "uncertainty_weighting", "params": {"terms": ["dice", {"name": "focal", "params": {"gamma": 3}}]}}


def compiled(module):
    return torch.compile(module, backend="eager")


class Mine(nn.Module):
    """A user's module with one child, under the name that wrappers of torch use."""

    def __init__(self, module):
        super().__init__()
        self.module = module


class OwnParallel(nn.DataParallel):
    """A user's kind of wrapper."""


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """A group of this process alone."""
    file = tmp_path_factory.mktemp("group") / "store"
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def compiled_parallel(module):
    return compiled(nn.DataParallel(module))


WRAPPERS = [compiled, nn.DataParallel, OwnParallel, checkpoint_wrapper, AveragedModel, compiled_parallel]


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("outer", [deepcopy, nn.DataParallel, checkpoint_wrapper])
def test_the_config_of_a_wrapped_loss_is_found(wrap, outer):
    """A wrapper around another one, too."""
    loss = build(LEARNED)
    assert config_of(outer(wrap(loss))) == config_of(loss)


def test_wrappers_of_several_processes(group):
    """DistributedDataParallel, and both kinds of sharding: the newer one changes the class of the module."""
    loss = build(LEARNED)
    expected = config_of(loss)
    parallel = nn.parallel.DistributedDataParallel(deepcopy(loss))
    for wrapped in (parallel, compiled(parallel), nn.parallel.DistributedDataParallel(compiled(deepcopy(loss)))):
        assert config_of(wrapped) == expected
    sharded = fully_shard(deepcopy(loss), mesh=init_device_mesh("cpu", (1,)))
    assert config_of(sharded) == config_of(compiled(sharded)) == expected


def test_the_older_kind_of_sharding():
    """It needs an accelerator to be made in full; the name for its module is its own constant."""
    from torch.distributed.fsdp._common_utils import FSDP_WRAPPED_MODULE

    loss = build(LEARNED)
    sharded = FullyShardedDataParallel.__new__(FullyShardedDataParallel)
    nn.Module.__init__(sharded)
    sharded._modules[FSDP_WRAPPED_MODULE] = loss
    assert config_of(sharded) == config_of(loss)


@pytest.mark.parametrize(
    "hold",
    [
        Mine,
        lambda loss: nn.Sequential(OrderedDict(module=loss, more=nn.ReLU())),
        lambda loss: nn.ModuleDict({"module": loss, "other": nn.L1Loss()}),
        lambda loss: compiled(Mine(loss)),
        lambda loss: compiled(nn.L1Loss()),
        lambda loss: nn.DataParallel(nn.L1Loss()),
    ],
)
def test_another_module_that_holds_a_loss_has_no_config(hold):
    """Its own code decides what it computes, also where its child has the name that a wrapper uses."""
    other = hold(build("dice"))
    with pytest.raises(LossregError, match=f"{type(other).__name__} was not built by lossreg.build"):
        config_of(other)
