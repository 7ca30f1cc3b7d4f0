"""evaluate sees a loss through the wrappers of torch, or refuses with the cure."""

from copy import deepcopy

import pytest
import torch
from torch import distributed, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.optim.swa_utils import AveragedModel

import lossreg
from lossreg import InputError, ShapeError
from lossreg.integrations import Tracked

X = torch.tensor([[[[0.5, -2.0], [1.0, 0.0]]], [[[3.0, -1.0], [0.25, 2.0]]]])
Y = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]], [[[0.0, 0.0], [1.0, 1.0]]]])
LEARNED = {"name": "uncertainty_weighting", "params": {"terms": ["dice", "bce"]}}


def compiled(module):
    return torch.compile(module, backend="eager")


def twice(module):
    return compiled(nn.DataParallel(module))


@pytest.fixture
def group(tmp_path):
    """A group of this process alone."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("wrap", [compiled, nn.DataParallel, checkpoint_wrapper, AveragedModel, twice])
@pytest.mark.parametrize("config", ["bce_dice_focal", LEARNED], ids=["fixed", "learned"])
def test_a_wrapped_loss_has_its_components_and_values_per_example(wrap, config):
    """Those that it has without the wrapper, and the gradient as well."""
    loss = lossreg.build(config)
    outer = wrap(loss)
    grads = []
    for each in (loss, outer):
        x = X.clone().requires_grad_()
        output = lossreg.evaluate(each, x, Y)
        output.total.backward()
        grads.append((output, x.grad))
    (expected, gradient), (found, found_gradient) = grads
    assert len(found.components) > 1
    assert found.components.keys() == expected.components.keys()
    torch.testing.assert_close(found.components, expected.components)
    torch.testing.assert_close(found.total, expected.total)
    torch.testing.assert_close(found.per_example, expected.per_example)
    torch.testing.assert_close(found_gradient, gradient)


@pytest.mark.parametrize("wrap", [compiled, nn.DataParallel, twice])
def test_another_module_is_called_through_its_wrapper(wrap):
    """Its one component has the name that it has without the wrapper."""
    built = lossreg.build("torch/mse")
    assert lossreg.evaluate(wrap(built), X, Y).components.keys() == lossreg.evaluate(built, X, Y).components.keys()
    with pytest.raises(ShapeError):
        lossreg.evaluate(wrap(nn.L1Loss(reduction="none")), X, Y)


def test_a_learned_loss_in_parallel_processes_is_refused_with_the_cure(group):
    """Without the call of the wrapper each process would train weights of its own, without a word."""
    loss = lossreg.build(LEARNED)
    parallel = nn.parallel.DistributedDataParallel(loss)
    sharded = fully_shard(deepcopy(loss), mesh=init_device_mesh("cpu", (1,)))
    for outer in (parallel, compiled(parallel), nn.parallel.DistributedDataParallel(compiled(deepcopy(loss))), sharded):
        what = "parameters" if outer is sharded else "gradients"
        cure = r"wrap tracked = lossreg.integrations.Tracked\(loss\) instead, call the wrapper, and read tracked.last"
        with pytest.raises(InputError, match=f"which exchanges {what} with other processes .*; {cure}"):
            lossreg.evaluate(outer, X, Y)


def test_without_gradients_a_learned_loss_is_evaluated_in_each_process(group):
    """As in a validation. Where the parameters themselves are spread over processes it is refused."""
    loss = lossreg.build(LEARNED)
    expected = lossreg.evaluate(loss, X, Y)
    with torch.no_grad():
        found = lossreg.evaluate(nn.parallel.DistributedDataParallel(loss), X, Y)
    torch.testing.assert_close(found.components, expected.components)
    sharded = fully_shard(loss, mesh=init_device_mesh("cpu", (1,)))
    with torch.no_grad(), pytest.raises(InputError, match="which exchanges parameters"):
        lossreg.evaluate(sharded, X, Y)


def test_the_cure_trains_a_learned_loss_in_parallel_processes(group):
    """As the message describes it: the gradient of its weights is that of one process."""

    loss = lossreg.build(LEARNED)
    alone = deepcopy(loss)
    lossreg.evaluate(alone, X, Y).total.backward()
    tracked = Tracked(loss)
    nn.parallel.DistributedDataParallel(tracked)(X, Y).backward()
    assert {"dice", "bce"} <= tracked.last.components.keys()
    for found, expected in zip(loss.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


def test_a_loss_whose_parameters_are_frozen_has_no_gradients_to_exchange(group):
    """So it is evaluated."""
    loss = lossreg.build(LEARNED)
    parallel = nn.parallel.DistributedDataParallel(loss)
    loss.requires_grad_(False)
    torch.testing.assert_close(lossreg.evaluate(parallel, X, Y).total, lossreg.evaluate(loss, X, Y).total)


def test_a_class_without_a_constructor_is_described_after_a_compile():
    """The first torch.compile of a process patches the constructor of nn.Module."""

    class Plain(nn.Module):
        def forward(self, input, target):
            return (input - target).abs().mean()

    compiled(Plain())(X, Y)
    with lossreg.losses.scope():
        lossreg.losses.register("plain_after_a_compile")(Plain)
        assert lossreg.validate("plain_after_a_compile").params == {}
