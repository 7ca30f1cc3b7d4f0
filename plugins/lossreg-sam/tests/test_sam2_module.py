"""The loss of SAM 2 as a module: the trainer's dict, reads of the masks, compilers, types and batches."""

from __future__ import annotations

import copy
import pickle
from collections import Counter

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

import lossreg
from lossreg_sam.sam2 import SAM2
from lossreg_segmentation.statistics import implementation, op

from .oracles_sam2 import (
    NAMES,
    OWN,
    RELEASED,
    SCORES,
    changed,
    gradients,
    leaves,
    video,
    with_absent,
)


def test_as_dict_fits_the_trainer_of_sam_2():
    """The trainer pops the total, scales it in place, and logs the rest."""
    outs, targets = video()
    loss = SAM2()
    found = loss.as_dict(outs, targets)
    assert tuple(found) == (*NAMES, "core_loss")
    core = found.pop("core_loss")
    expected = gradients(loss(outs, targets), outs)
    assert core.requires_grad
    assert torch.equal(core, loss(outs, targets))
    core.mul_(2)
    for one, other in zip(gradients(core, outs), expected, strict=True):
        torch.testing.assert_close(one, 2 * other)
    assert not any(value.requires_grad or value.ndim for value in found.values())
    assert sum(RELEASED["weight_dict"][k] * v.item() for k, v in found.items()) == pytest.approx(core.item() / 2)
    assert "total_loss" in loss.as_dict(outs, targets, total_key="total_loss")
    weight = torch.linspace(0, 1, targets.numel()).reshape(targets.shape)
    weighted = loss.as_dict(outs, targets, weight=weight)["core_loss"]
    assert torch.equal(weighted, loss(outs, targets, weight=weight))
    assert weighted != loss(outs, targets)
    with pytest.raises(lossreg.InputError, match="total_key='loss_mask' is the name of a component; choose another"):
        loss.as_dict(outs, targets, total_key="loss_mask")


def test_a_loss_keeps_nothing_and_changes_nothing():
    loss, (outs, targets) = SAM2(), video()
    before, given = pickle.dumps(loss), [x.clone() for x in (*leaves(outs), targets)]
    value = loss(outs, targets)
    assert loss.state_dict() == {}
    assert pickle.dumps(loss) == before
    assert all(torch.equal(one, other) for one, other in zip((*leaves(outs), targets), given, strict=True))
    for twin in (pickle.loads(before), copy.deepcopy(loss)):
        assert torch.equal(twin(outs, targets), value)


@pytest.fixture
def calls(monkeypatch):
    """Record the shapes that the passes read, and the masks with a gradient."""
    found, original = {"forward": [], "backward": []}, op._module

    class Watching:
        def __init__(self, name):
            self.module = original(name)

        def forward(self, x, *others):
            found["forward"].append(tuple(x.shape))
            return self.module.forward(x, *others)

        def backward(self, x, t, grads, *others):
            found["backward"].append((tuple(x.shape), int(grads.any(0).sum())))
            return self.module.backward(x, t, grads, *others)

    monkeypatch.setattr(op, "_module", Watching)
    return found


def test_each_step_is_read_once_and_its_chosen_masks_once_more(calls):
    """All M masks share the target in one pass; the backward pass reads one mask of each present object."""
    outs, targets = video(frames=2, masks=(3, 1), size=(4, 5))
    targets[0, 1] = 0
    SAM2()(outs, targets).backward()
    scores = (3, 4, 1)  # one more pass, over one number per object and step
    assert Counter(calls["forward"]) == {(3, 3, 20): 2, (3, 1, 20): 2, scores: 1}
    assert Counter(calls["backward"]) == {
        ((3, 3, 20), 2): 1,
        ((3, 1, 20), 2): 1,
        ((3, 3, 20), 3): 1,
        ((3, 1, 20), 3): 1,
        (scores, 12): 1,
    }


def test_without_scores_there_is_nothing_but_the_steps(calls):
    outs, targets = video(frames=2, masks=(3, 1))
    for frame in outs:
        del frame[SCORES]
    SAM2(pred_obj_scores=False)(outs, targets).backward()
    assert len(calls["forward"]) == len(calls["backward"]) == 4


@pytest.mark.tools
def test_the_loss_compiles_to_one_graph():
    """Nothing in it depends on the values of tensors."""
    torch.compiler.reset()
    outs, targets = with_absent(dtype=torch.float32)
    for params in ({}, {"preset": "constructor", "weight_dict": OWN["weight_dict"]}):
        loss = SAM2(**params)
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        value, expected = compiled(outs, targets), loss(outs, targets)
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
        for one, other in zip(gradients(value, outs), gradients(expected, outs), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-8)
    torch.compiler.reset()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32, torch.float16], ids=str)
def test_a_target_means_the_same_in_every_type(dtype):
    outs, targets = with_absent()
    torch.testing.assert_close(SAM2()(outs, targets.to(dtype)), SAM2()(outs, targets), rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("gammas", [{}, {"focal_gamma": 0.5, "focal_gamma_obj_score": 0.5}], ids=["", "gamma 1/2"])
def test_any_finite_prediction_has_a_finite_loss_and_gradient(dtype, gammas):
    outs, targets = video(dtype=dtype)
    for factor in (lambda x: 1e4, lambda x: -1e4, lambda x: x.detach().sign() * 1e4, lambda x: 0.0):
        extreme = changed(outs, lambda x, f=factor: (torch.zeros_like(x) + f(x)).detach().requires_grad_())
        for target in (targets, targets * 0, targets * 0 + 1):
            value = SAM2(**gammas)(extreme, target)
            assert value.dtype == torch.float32
            assert value.isfinite()
            assert all(gradient.isfinite().all() for gradient in gradients(value, extreme))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_equals_float32_of_the_rounded_input(dtype):
    outs, targets = video(dtype=dtype)
    expected = SAM2()(changed(outs, torch.Tensor.float), targets)
    assert torch.equal(SAM2()(outs, targets), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(SAM2()(outs, targets), expected)


def test_the_reference_gives_the_same():
    outs, targets = with_absent()
    found = SAM2()(outs, targets)
    with implementation("reference"):
        torch.testing.assert_close(found, SAM2()(outs, targets), rtol=1e-12, atol=0)


def test_the_order_of_objects_changes_nothing_and_the_mean_is_over_them():
    outs, targets = with_absent()
    values = SAM2().evaluate(outs, targets).per_example
    order = torch.tensor([2, 0, 1])
    permuted = SAM2().evaluate(changed(outs, lambda x: x[order]), targets[:, order])
    torch.testing.assert_close(permuted.per_example, values[order], rtol=1e-12, atol=0)
    for n in range(3):
        alone = SAM2()(changed(outs, lambda x, n=n: x[n : n + 1]), targets[:, n : n + 1])
        torch.testing.assert_close(alone.detach(), values[n], rtol=1e-12, atol=0)


def test_a_batch_without_objects_costs_zero_and_stays_connected():
    """num_objects is at least 1."""
    outs, targets = video(objects=0)
    value = SAM2()(outs, targets)
    assert value == 0
    value.backward()
    assert all(x.grad is not None for x in leaves(outs))


SHARES = [3, 0, 1]  # objects on each rank, of four


def rank_main(rank, shares, folder):
    """Run one rank: the loss of its share, the gradient, and the numbers sent to the others."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=len(shares))
    original, sizes = dist.all_reduce, []

    def counting(tensor, *arguments, **options):
        sizes.append(tensor.numel())
        return original(tensor, *arguments, **options)

    dist.all_reduce = counting
    first = sum(shares[:rank])
    mine = slice(first, first + shares[rank])
    outs, targets = with_absent(objects=4)
    value = SAM2()(changed(outs, lambda x: x[mine]), targets[:, mine])
    torch.save((value.item(), gradients(value, outs), sizes), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.tools
def test_ranks_share_the_number_of_objects(tmp_path):
    """The ranks' losses and gradients average to those of all objects together, by one number sent."""
    ranks = len(SHARES)
    multiprocessing.spawn(rank_main, (SHARES, tmp_path), nprocs=ranks)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(ranks)]
    outs, targets = with_absent(objects=4)
    value = SAM2()(outs, targets)
    assert sum(each[0] for each in found) / ranks == pytest.approx(value.item(), rel=1e-10)
    for index, whole in enumerate(gradients(value, outs)):
        torch.testing.assert_close(sum(each[1][index] for each in found) / ranks, whole, rtol=1e-9, atol=1e-13)
    assert [each[2] for each in found] == [[1]] * ranks


@pytest.mark.parametrize("objects", [0, 1, 3])
def test_with_gradients_off_a_rank_divides_by_its_own_objects(objects, monkeypatch):
    """So that rank 0 may validate alone: it does not wait for the number of the others."""
    outs, targets = video(objects=objects)
    expected = SAM2()(outs, targets).item()

    def wait(*_, **__):
        raise AssertionError("the other ranks call no loss")

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 4)
    monkeypatch.setattr(dist, "all_reduce", wait)
    with torch.no_grad():
        assert SAM2()(outs, targets).item() == pytest.approx(expected, rel=1e-12)


def test_fewer_objects_than_ranks_count_as_one_each(monkeypatch):
    """As in SAM 2: one object on four ranks is divided by 1, not by 1/4."""
    outs, targets = video(objects=1)
    expected = SAM2()(outs, targets)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 4)
    monkeypatch.setattr(dist, "all_reduce", lambda objects: objects)
    assert torch.equal(SAM2()(outs, targets), expected)
