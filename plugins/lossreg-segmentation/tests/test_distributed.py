"""distributed="global": under DDP, uneven and empty batches train like one process with the whole batch."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import lossreg

CONFIGS = {
    "dice of the batch": {"name": "dice", "params": {"batch": True, "distributed": "global", "task": "multilabel"}},
    "focal of the batch": {
        "name": "focal",
        "params": {"batch": True, "distributed": "global", "task": "multiclass", "class_weight": [1.0, 2.0, 0.5]},
    },
    "bce_dice_focal": {
        "name": "bce_dice_focal",
        "params": {"distributed": "global", "task": "multilabel", "ignore_index": 255, "absent": "ignore"},
    },
    "cross_entropy": {"name": "cross_entropy", "params": {"distributed": "global", "task": "multiclass"}},
    "weighted_sum": {
        "name": "weighted_sum",
        "params": {
            "terms": [
                {"name": "dice", "params": {"distributed": "global", "batch": True, "task": "multilabel"}},
                {"weight": 3, "name": "bce", "params": {"distributed": "global", "task": "multilabel"}},
            ]
        },
    },
}
SHARES = {1: [5], 2: [4, 1], 4: [1, 0, 3, 1]}  # examples on each rank, of five
COLLECTIVES = {"weighted_sum": 2}  # one for each loss that is global


def model():
    """Build a small model, the same on every rank."""
    torch.manual_seed(0)
    return nn.Conv2d(2, 3, 3, padding=1).double()


def batch(name):
    """Return images and targets of the whole batch."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(5, 2, 6, 7, generator=generator, dtype=torch.float64)
    if CONFIGS[name]["params"].get("task") == "multiclass":
        return images, torch.randint(0, 3, (5, 6, 7), generator=generator)
    masks = torch.randint(0, 2, (5, 3, 6, 7), generator=generator)
    masks[1, 2] = 0
    return images, masks


def gradients(module, loss, images, target):
    """Return the loss and its gradient to each parameter of the model."""
    module.zero_grad()
    value = loss(module(images), target)
    value.backward()
    return value.item(), [p.grad.clone() for p in module.parameters()]


def rank_main(rank, shares, folder):
    """Run one rank."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=len(shares))
    original, sizes, results = dist.all_reduce, [], {}

    def counting(tensor, *arguments, **options):
        sizes.append(tensor.numel() * tensor.element_size())
        return original(tensor, *arguments, **options)

    first = sum(shares[:rank])
    mine = slice(first, first + shares[rank])
    for name, config in CONFIGS.items():
        images, target = batch(name)
        wrapped, loss = DistributedDataParallel(model()), lossreg.build(config)
        dist.all_reduce = counting
        value, grads = gradients(wrapped, loss, images[mine], target[mine])
        dist.all_reduce = original
        results[name] = (value, grads, list(sizes))
        sizes.clear()
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.tools  # over 10 s: each rank imports torch
@pytest.mark.parametrize("ranks", SHARES)
def test_ranks_train_as_one_process_does(ranks, tmp_path):
    """The averages of gradients and losses equal those of the whole batch, with one small collective."""
    multiprocessing.spawn(rank_main, (SHARES[ranks], tmp_path), nprocs=ranks)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(ranks)]
    for name, config in CONFIGS.items():
        value, expected = gradients(model(), lossreg.build(config), *batch(name))
        of_ranks = [results[name] for results in found]
        assert sum(each[0] for each in of_ranks) / ranks == pytest.approx(value, rel=1e-9), name
        for _, grads, sizes in of_ranks:
            for grad, whole in zip(grads, expected, strict=True):
                torch.testing.assert_close(grad, whole, rtol=1e-8, atol=1e-12, msg=name)
            assert len(sizes) == COLLECTIVES.get(name, 1), name
            assert max(sizes) < 4096


@pytest.mark.parametrize("name", CONFIGS)
def test_two_ranks_of_one_batch_train_as_one_process_does_with_both_halves(name, monkeypatch):
    """Without processes: the other rank has the same batch, so every sum over ranks doubles."""
    images, target = batch(name)
    both = torch.cat([images, images]), torch.cat([target, target])
    value, expected = gradients(model(), lossreg.build(CONFIGS[name]), *both)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda summed: summed.mul_(2))
    found, grads = gradients(model(), lossreg.build(CONFIGS[name]), images, target)
    assert found == pytest.approx(value, rel=1e-9)
    for grad, whole in zip(grads, expected, strict=True):  # the mean of two equal gradients
        torch.testing.assert_close(grad, whole, rtol=1e-8, atol=1e-12)


def test_the_mean_of_local_losses_is_another_where_batches_are_uneven():
    """So the test above would fail if ranks did not share their sums."""
    config = {"name": "dice", "params": {"batch": True, "task": "multilabel"}}
    images, target = batch("dice of the batch")
    loss = lossreg.build(config)
    whole = loss(model()(images), target).item()
    parts = [loss(model()(images[s]), target[s]).item() for s in (slice(0, 4), slice(4, 5))]
    assert abs(sum(parts) / 2 - whole) > 1e-4


def test_without_a_process_group_global_is_local():
    """The same config runs in one process."""
    images, target = batch("cross_entropy")
    config = CONFIGS["cross_entropy"]
    local = {"name": "cross_entropy", "params": {"task": "multiclass"}}
    assert gradients(model(), lossreg.build(config), images, target)[0] == pytest.approx(
        gradients(model(), lossreg.build(local), images, target)[0], rel=1e-12
    )


def test_an_empty_batch_of_one_process_is_refused_but_of_a_rank_it_is_not():
    """An empty batch is allowed only if other ranks may have examples."""
    x, t = torch.zeros(0, 3, 4, 4), torch.zeros(0, 3, 4, 4)
    with pytest.raises(lossreg.ShapeError, match="the batch is empty; skip empty batches in the loader"):
        lossreg.build({"name": "dice", "params": {"task": "multilabel"}})(x, t)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_global_is_a_mean(reduction):
    """DDP averages, so no other reduction is possible."""
    with pytest.raises(
        lossreg.InvalidConfigError, match="distributed='global' is a mean over all ranks, got reduction="
    ):
        lossreg.build({"name": "dice", "params": {"distributed": "global", "reduction": reduction}})
