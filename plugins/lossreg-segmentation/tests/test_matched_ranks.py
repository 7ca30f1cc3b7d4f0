"""matched over several ranks: the mean of their losses and gradients is that of one process with all images."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import lossreg
from lossreg_segmentation.statistics import implementation

from .oracles_sets import TERMS

CONFIG = {"name": "matched", "params": {"classes": 2, "terms": TERMS, "points": 0}}
SHARES = ([3, 1], [4, 0])  # images of each rank; their objects are 2, 0, 3 and 1
OBJECTS = (2, 0, 3, 1)


class Model(nn.Module):
    """Masks and classes of four queries from a picture."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.masks, self.classes = nn.Conv2d(2, 4, 3, padding=1).double(), nn.Linear(2, 12).double()

    def forward(self, images):
        return {"masks": self.masks(images), "classes": self.classes(images.mean((2, 3))).view(-1, 4, 3)}


def batch():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 2, 5, 6, generator=generator, dtype=torch.float64)
    target = [
        {"masks": torch.rand(m, 5, 6, generator=generator) > 0.5, "labels": torch.randint(2, (m,), generator=generator)}
        for m in OBJECTS
    ]
    return images, target


def trained(model, images, target):
    """Return the loss and its gradient to each parameter of the model."""
    with implementation("reference"):  # no process waits for kernels
        value = lossreg.build(CONFIG)(model(images), target)
        value.backward()
    return value.item(), [parameter.grad.clone() for parameter in model.parameters()]


def of_rank(shares, rank):
    images, target = batch()
    mine = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
    return images[mine], target[mine]


@pytest.mark.parametrize("shares", SHARES, ids=str)
def test_uneven_and_empty_ranks_average_to_the_whole(shares, monkeypatch):
    """Without processes: the numbers of all ranks are added up first. One collective on each rank."""
    value, expected = trained(Model(), *batch())
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: len(shares))
    told = []
    monkeypatch.setattr(dist, "all_reduce", lambda numbers: told.append(numbers.clone()))
    for rank in range(len(shares)):
        trained(Model(), *of_rank(shares, rank))
    assert len(told) == len(shares)
    monkeypatch.setattr(dist, "all_reduce", lambda numbers: numbers.copy_(sum(told)))
    found = [trained(Model(), *of_rank(shares, rank)) for rank in range(len(shares))]
    assert sum(each for each, _ in found) / len(shares) == pytest.approx(value, rel=1e-12)
    for whole, *parts in zip(expected, *(grads for _, grads in found), strict=True):
        torch.testing.assert_close(sum(parts) / len(shares), whole, rtol=1e-10, atol=1e-13)


def rank_main(rank, shares, folder):
    """Run one rank."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=len(shares))
    torch.save(trained(DistributedDataParallel(Model()), *of_rank(shares, rank)), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.tools
def test_two_processes_train_as_one_does(tmp_path):
    """Under DDP, one of them with three of the four images."""
    multiprocessing.spawn(rank_main, (SHARES[0], tmp_path), nprocs=2)
    value, expected = trained(Model(), *batch())
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert sum(each for each, _ in found) / 2 == pytest.approx(value, rel=1e-9)
    for _, grads in found:
        for grad, whole in zip(grads, expected, strict=True):
            torch.testing.assert_close(grad, whole, rtol=1e-8, atol=1e-12)


def test_with_gradients_off_a_rank_computes_alone(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    with torch.no_grad():
        assert lossreg.build(CONFIG)(Model()(batch()[0]), batch()[1]).isfinite()
