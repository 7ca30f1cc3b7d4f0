"""The tools that the tests of trainers share, held against lossreg in a plain loop."""

import os
import time
import warnings

import pytest
import torch
from torch import distributed

import lossreg

from .data import MIX, Pictures, loader, mix, mmseg_heads, net, plain_loop, trainer
from .ranks import spawn

trainer("torch")


def test_the_formulas_are_those_of_the_losses():
    """Of focal and dice: the plain loop is an oracle for MIX."""
    data = Pictures()
    logits = net()(data.images).detach()
    out = lossreg.evaluate(lossreg.build(MIX), logits, data.masks)
    expected = mix(logits, data.masks)
    torch.testing.assert_close(out.per_example, expected["total_loss"])
    for name, value in out.components.items():
        torch.testing.assert_close(value, expected[f"loss_{name}"].mean())


def test_pictures_and_nets_are_the_same_each_time():
    """So two trainers get equal data and equal parameters."""
    assert torch.equal(Pictures().images, Pictures().images)
    assert torch.equal(net()[0].weight, net()[0].weight)
    assert len(Pictures(pairs=True)[3]) == 2
    assert Pictures()[3]["id"] == "s3"
    assert 0.1 < Pictures().masks.float().mean() < 0.5


def test_accumulated_batches_are_one_large_batch():
    """Steps, gradients and parameters of the plain loop."""
    large = plain_loop(loader(batch_size=8), lr=0.1)
    small = plain_loop(loader(batch_size=2), lr=0.1, accumulate=4)
    assert len(large.steps) == len(small.steps) == 2
    assert small.means == pytest.approx(large.means)
    for one, other in zip(large.gradients, small.gradients, strict=True):
        torch.testing.assert_close(one, other)
    for one, other in zip(large.model.parameters(), small.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def report(offset):
    """Sum the ranks over gloo."""
    distributed.init_process_group("gloo")
    value = torch.tensor(float(distributed.get_rank() + offset))
    distributed.all_reduce(value)
    return {"rank": int(os.environ["RANK"]), "sum": value.item()}


def fail_on_rank_1():
    """Fail on one rank alone."""
    assert os.environ["RANK"] == "0", "rank 1 must not run"
    wait()


def wait():
    """Wait for ever."""
    time.sleep(3600)


@pytest.mark.tools
def test_ranks_share_a_group_and_return_their_results():
    """In the order of the ranks."""
    assert spawn(report, 3) == [{"rank": 0, "sum": 7.0}, {"rank": 1, "sum": 7.0}]


@pytest.mark.tools
def test_the_error_of_a_rank_is_shown_at_once():
    """Although the other rank waits for it."""
    with pytest.raises(AssertionError, match="rank 1 must not run"):
        spawn(fail_on_rank_1, seconds=600)


@pytest.mark.tools
def test_ranks_that_wait_for_ever_are_ended():
    """At the limit."""
    with pytest.raises(AssertionError, match=r"exit codes \[None, None\] in 1 s"):
        spawn(wait, seconds=1)


def test_warnings_of_others_are_ignored():
    """But not those about a line of the tests."""
    warnings.warn_explicit("old", DeprecationWarning, "there.py", 1, module="lightning.pytorch")
    with pytest.raises(DeprecationWarning, match="old"):
        warnings.warn("old", DeprecationWarning, stacklevel=1)


def test_a_file_of_a_missing_trainer_is_skipped_with_the_command_that_runs_it():
    """As all are in the environment of development."""
    with pytest.raises(pytest.skip.Exception, match="make test-trainers"):
        trainer("no_such_trainer")


def test_heads_of_mmsegmentation_compute_without_compiled_operators():
    """Their losses come from a config, which is a place for those of lossreg."""
    trainer("mmseg")
    head = mmseg_heads().FCNHead(in_channels=4, channels=4, num_classes=2, num_convs=0, concat_input=False)
    assert head([torch.ones(2, 4, 8, 8)]).shape == (2, 2, 8, 8)
