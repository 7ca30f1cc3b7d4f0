"""distributed="global": under DDP, uneven and empty batches train like one process with the whole batch.

With gradients off a rank computes alone.
"""

from __future__ import annotations

import warnings
from copy import deepcopy
from datetime import timedelta

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
    "topk": {"name": "topk", "params": {"distributed": "global", "task": "multilabel", "absent": "ignore"}},
    "boundary": {"name": "boundary", "params": {"distributed": "global", "task": "multiclass"}},
    "cldice of the batch": {
        "name": "cldice",
        "params": {"batch": True, "distributed": "global", "task": "multilabel", "iterations": 1, "absent": "ignore"},
    },
    "wasserstein_dice of the batch": {
        "name": "wasserstein_dice",
        "params": {"batch": True, "distributed": "global", "task": "multiclass", "weighting": "GDL"},
    },
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
# One for each loss that is global; another where sums depend on sums, or a policy reads them.
COLLECTIVES = {"weighted_sum": 2, "cldice of the batch": 2, "wasserstein_dice of the batch": 2}


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


@pytest.mark.parametrize("name", ["cross_entropy", "topk", "boundary"])
def test_examples_weigh_the_same_on_ranks_of_different_batches(name, monkeypatch):
    """One example here and three on the other rank: a quarter of the mean, times two as DDP averages, is a half."""
    images, target = batch(name)
    config = {**CONFIGS[name], "params": {**CONFIGS[name]["params"], "distributed": "local"}}
    value, expected = gradients(model(), lossreg.build(config), images[:1], target[:1])
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda examples: examples.add_(3))
    found, grads = gradients(model(), lossreg.build(CONFIGS[name]), images[:1], target[:1])
    assert found == pytest.approx(value / 2, rel=1e-9)
    for grad, whole in zip(grads, expected, strict=True):
        torch.testing.assert_close(grad, whole / 2, rtol=1e-8, atol=1e-12)


def test_the_mean_of_local_losses_is_another_where_batches_are_uneven():
    """So the test above would fail if ranks did not share their sums."""
    config = {"name": "dice", "params": {"batch": True, "task": "multilabel"}}
    images, target = batch("dice of the batch")
    loss = lossreg.build(config)
    whole = loss(model()(images), target).item()
    parts = [loss(model()(images[s]), target[s]).item() for s in (slice(0, 4), slice(4, 5))]
    assert abs(sum(parts) / 2 - whole) > 1e-4


def local(config):
    """Return the config of a rank by itself."""
    made = deepcopy(config)
    for part in (made, *made["params"].get("terms", ())):
        part["params"].pop("distributed", None)
    return made


def validate_alone(rank, folder):
    """Let rank 0 compute losses with gradients off, and rank 1 none of them; then train on both."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=300)
    )
    mine = slice(0, 4) if rank == 0 else slice(4, 5)
    values, warned = {}, []
    for name, config in CONFIGS.items():
        images, target = batch(name)
        wrapped, loss = DistributedDataParallel(model()), lossreg.build(config)
        if rank == 0:
            with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
                values[name] = loss(wrapped.module(images[mine]), target[mine]).item()
            warned += [name] * bool(caught)
        values[f"{name} in training"] = gradients(wrapped, loss, images[mine], target[mine])[0]
    torch.save((values, warned), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.tools
def test_rank_0_may_validate_alone(tmp_path):
    """It has the loss of its own batch. The ranks wait for nothing, and still train together afterwards."""
    multiprocessing.spawn(validate_alone, (tmp_path,), nprocs=2)
    (first, warned), (second, _) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name, config in CONFIGS.items():
        images, target = batch(name)
        own = lossreg.build(local(config))(model()(images[:4]), target[:4]).item()
        assert first[name] == pytest.approx(own, rel=1e-9), name
        whole = lossreg.build(local(config))(model()(images), target).item()
        assert (first[f"{name} in training"] + second[f"{name} in training"]) / 2 == pytest.approx(whole, rel=1e-9)
    assert warned == [name for name in CONFIGS if "of the batch" in name or name == "weighted_sum"]


@pytest.fixture
def one_of_two_ranks(monkeypatch):
    """One of two ranks, where any exchange would wait for the other for ever."""

    def wait(*_, **__):
        raise AssertionError("the other rank calls no loss")

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", wait)


@pytest.mark.filterwarnings("ignore:distributed='global'")
@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", CONFIGS)
def test_with_gradients_off_a_rank_is_by_itself(name, off, one_of_two_ranks):
    """In both modes of torch, called or evaluated."""
    images, target = batch(name)
    with off():
        logits = model()(images)
        expected = lossreg.build(local(CONFIGS[name])).evaluate(logits, target)
        found = lossreg.build(CONFIGS[name]).evaluate(logits, target)
        assert lossreg.build(CONFIGS[name])(logits, target).item() == pytest.approx(expected.total.item(), rel=1e-12)
    assert found.total.item() == pytest.approx(expected.total.item(), rel=1e-12)
    assert {key: value.item() for key, value in found.components.items()} == pytest.approx(
        {key: value.item() for key, value in expected.components.items()}
    )


def test_a_rank_that_computes_the_loss_of_a_batch_alone_is_warned(one_of_two_ranks):
    """The average over ranks is not the loss of the whole batch. Means over examples need no warning."""
    images, target = batch("dice of the batch")
    with torch.no_grad():
        with pytest.warns(UserWarning, match=r"batch=True: gradients are off, .* within torch\.enable_grad\(\)"):
            lossreg.build(CONFIGS["dice of the batch"])(model()(images), target)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            lossreg.build(CONFIGS["bce_dice_focal"])(model()(images), target)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_ranks_that_all_validate_have_the_loss_of_the_whole_batch_as_the_warning_advises(off, monkeypatch):
    """The other rank has the same batch, so every sum over ranks doubles."""
    images, target = batch("dice of the batch")
    both = torch.cat([images, images]), torch.cat([target, target])
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda summed: summed.mul_(2))
    with off():
        expected = lossreg.build(local(CONFIGS["dice of the batch"]))(model()(both[0]), both[1])
        logits = model()(images)
        with torch.enable_grad():
            found = lossreg.build(CONFIGS["dice of the batch"])(logits, target)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)


def test_a_rank_without_examples_has_the_loss_0():
    """In validation, and where no rank has any."""
    loss = lossreg.build({"name": "dice", "params": {"task": "multilabel", "distributed": "global"}})
    empty = torch.zeros(0, 3, 4, 4, requires_grad=True)
    assert loss(empty, torch.zeros(0, 3, 4, 4)).item() == 0
    with torch.no_grad():
        assert loss(empty, torch.zeros(0, 3, 4, 4)).item() == 0


def test_without_a_process_group_global_is_local():
    """The same config runs in one process."""
    images, target = batch("cross_entropy")
    config = CONFIGS["cross_entropy"]
    assert gradients(model(), lossreg.build(config), images, target)[0] == pytest.approx(
        gradients(model(), lossreg.build(local(config)), images, target)[0], rel=1e-12
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
