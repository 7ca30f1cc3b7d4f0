"""Losses of edges, sizes and regions over several ranks train as one process with the whole batch does."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import lossreg
from lossreg_segmentation.statistics import implementation

SHARED = {"distributed": "global", "ignore_index": 255}
MASKS = {**SHARED, "task": "multilabel", "absent": "ignore"}
CLASSES = {**SHARED, "task": "multiclass"}
CONFIGS = {
    "boundary_dou": {"name": "boundary_dou", "params": MASKS},
    "boundary_dou of the batch": {"name": "boundary_dou", "params": {**CLASSES, "batch": True}},
    "region_size": {"name": "region_size", "params": CLASSES},
    "region_size of the batch": {"name": "region_size", "params": {**MASKS, "batch": True}},
    "regions": {"name": "per_region", "params": {"loss": {"name": "dice", "params": MASKS}, "max_regions": 3}},
    "regions of classes": {
        "name": "per_region",
        "params": {
            "loss": {
                "name": "weighted_sum",
                "params": {
                    "terms": [
                        {"name": "cross_entropy", "params": CLASSES},
                        {"name": "dice", "params": {**CLASSES, "class_weight": [1, 2, 0.5]}, "weight": 3},
                    ]
                },
            },
            "background": "shared",
            "max_regions": 2,
        },
    },
    "size beside regions": {
        "name": "weighted_sum",
        "params": {
            "terms": [
                {"name": "per_region", "params": {"loss": {"name": "dice", "params": MASKS}, "max_regions": 3}},
                {"name": "region_size", "params": MASKS, "weight": 0.5},
            ]
        },
    },
}
SHARES = ([4, 1], [5, 0], [0, 5])  # images of each of two ranks


class Model(nn.Module):
    """Logits of three masks or classes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(2, 3, 3, padding=1).double()

    def forward(self, images):
        return self.layer(images)


def batch(name):
    """Return images and targets, and the map of regions if the loss takes one; image 2 is ignored whole."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(5, 2, 6, 7, generator=generator, dtype=torch.float64)
    size = (5, 6, 7) if "multiclass" in str(CONFIGS[name]) else (5, 3, 6, 7)
    target = torch.randint(0, 3 if len(size) == 3 else 2, size, generator=generator)
    target[2], target[..., :2] = 255, 255
    if len(size) == 4:
        target[1, 2] = 0
    regions = torch.randint(-1, 3, (5, 1, 6, 7), generator=generator)
    regions[3] = -1
    return images, target, {"regions": regions} if "regions" in name else {}


def of_rank(name, shares, rank):
    """Return the share of a rank."""
    images, target, maps = batch(name)
    mine = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
    return images[mine], target[mine], {key: value[mine] for key, value in maps.items()}


def trained(model, name, images, target, maps):
    """Return the loss and its gradient to each parameter of the model."""
    model.zero_grad()
    with implementation("tiled"):  # no process waits for kernels
        value = lossreg.build(CONFIGS[name])(model(images), target, **maps)
        value.backward()
    return value.item(), [parameter.grad.clone() for parameter in model.parameters()]


def assert_mean_is(found, whole):
    """Assert that the mean of the ranks' losses and gradients is that of one process."""
    (value, expected), ranks = whole, len(found)
    assert sum(each for each, _ in found) / ranks == pytest.approx(value, rel=1e-10)
    for one, *parts in zip(expected, *(grads for _, grads in found), strict=True):
        torch.testing.assert_close(sum(parts) / ranks, one, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", [name for name in CONFIGS if "beside" not in name])
@pytest.mark.parametrize("shares", SHARES[:2], ids=str)
def test_uneven_and_empty_ranks_average_to_the_whole(shares, name, monkeypatch):
    """Without processes: the numbers of all ranks are added up first."""
    whole = trained(Model(), name, *batch(name))
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    told = []
    monkeypatch.setattr(dist, "all_reduce", lambda numbers: told.append(numbers.clone()))
    for rank in range(2):
        trained(Model(), name, *of_rank(name, shares, rank))
    rounds = len(told) // 2
    summed = [told[each] + told[each + rounds] for each in range(rounds)]
    found = []
    for rank in range(2):
        answers = iter(summed)
        monkeypatch.setattr(dist, "all_reduce", lambda numbers, answers=answers: numbers.copy_(next(answers)))
        found.append(trained(Model(), name, *of_rank(name, shares, rank)))
    assert_mean_is(found, whole)


def rank_main(rank, folder):
    """Run one rank, with each share in turn."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {
        (name, str(shares)): trained(DistributedDataParallel(Model()), name, *of_rank(name, shares, rank))
        for name in CONFIGS
        for shares in SHARES
    }
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.tools  # each rank imports torch
def test_two_processes_train_as_one_does(tmp_path):
    """Under DDP, with uneven batches, and with one rank that has no image."""
    multiprocessing.spawn(rank_main, (tmp_path,), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name in CONFIGS:
        whole = trained(Model(), name, *batch(name))
        for shares in SHARES:
            found = [results[name, str(shares)] for results in ranks]
            assert_mean_is(found, whole)
            # DDP has averaged the gradients, so both ranks have those of the whole.
            torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["boundary_dou", "region_size", "regions"])
def test_local_ranks_have_another_mean(name, monkeypatch):
    """With "local", the default, each rank has the mean of its own images: a rank of one weighs as one of four."""
    monkeypatch.setitem(CONFIGS, name, _local(CONFIGS[name]))
    value, _ = trained(Model(), name, *batch(name))
    found = [trained(Model(), name, *of_rank(name, [4, 1], rank))[0] for rank in range(2)]
    assert (4 * found[0] + found[1]) / 5 == pytest.approx(value, rel=1e-12)
    assert abs(sum(found) / 2 - value) > 1e-4


def _local(config):
    """Return a config without distributed="global", at any depth."""
    if isinstance(config, dict):
        return {key: _local(value) for key, value in config.items() if key != "distributed"}
    return [*map(_local, config)] if isinstance(config, list) else config
