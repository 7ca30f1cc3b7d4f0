"""Both alignment losses as modules: state, compilers, ranks, invalid inputs."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

import lossreg
from lossreg_sam.spatial_relevance import SpatialRelevance
from lossreg_sam.text_region_contrast import TextRegionContrast

from .oracles import step
from .oracles_alignment import CAPTION, VALID, pairs, scene


def test_a_loss_keeps_nothing_and_changes_nothing():
    region, text = pairs()
    for loss in (TextRegionContrast(learnable_temperature=True), SpatialRelevance()):
        before = pickle.dumps(loss)
        inputs = (region, text) if isinstance(loss, TextRegionContrast) else (*step(5), region, text)
        value = loss(*inputs)
        assert pickle.dumps(loss) == before
        for twin in (pickle.loads(before), copy.deepcopy(loss)):
            assert torch.equal(twin(*inputs), value)


# Ranks.

SHARES = [3, 0, 2]  # pairs on each rank, of five


def losses():
    return {
        "same captions": (TextRegionContrast(distributed="global", learnable_temperature=True), CAPTION),
        "own captions": (TextRegionContrast(distributed="global"), None),
        "spatial relevance": (SpatialRelevance(distributed="global"), CAPTION),
    }


def gradients(loss, caption, mine):
    """Compute the loss of some of the pairs, and its gradients to all of them and to the parameters."""
    given = scene()
    inputs = given if isinstance(loss, SpatialRelevance) else given[3:]
    value = loss(*(each[mine] for each in inputs), *([] if caption is None else [caption[mine]]))
    wanted = [each for each in (*inputs, *loss.parameters()) if each.requires_grad]
    return value.item(), torch.autograd.grad(value, wanted, materialize_grads=True)


def rank_main(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=len(SHARES))
    first = sum(SHARES[:rank])
    mine = slice(first, first + SHARES[rank])
    torch.save({name: gradients(*case, mine) for name, case in losses().items()}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.tools
def test_ranks_contrast_with_each_other_as_one_process_does(tmp_path):
    """Their losses and gradients average to those of the whole batch, of uneven and empty shares."""
    multiprocessing.spawn(rank_main, (tmp_path,), nprocs=len(SHARES))
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(len(SHARES))]
    for name, case in losses().items():
        value, expected = gradients(*case, slice(None))
        assert sum(each[name][0] for each in found) / len(SHARES) == pytest.approx(value, rel=1e-6), name
        for index, whole in enumerate(expected):
            mean = sum(each[name][1][index] for each in found) / len(SHARES)
            torch.testing.assert_close(mean, whole, rtol=1e-6, atol=1e-12, msg=name)


@pytest.mark.parametrize("name", losses())
def test_with_gradients_off_a_rank_contrasts_its_own_pairs(name, monkeypatch):
    """So that rank 0 may validate alone. A warning names the way to the contrast with all pairs."""
    loss, caption = losses()[name]
    expected, _ = gradients(loss, caption, slice(None))

    def wait(*_, **__):
        raise AssertionError("the other ranks call no loss")

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 4)
    monkeypatch.setattr(dist, "get_rank", lambda: 2)
    for exchange in ("all_reduce", "all_gather"):
        monkeypatch.setattr(dist, exchange, wait)
    inputs = scene() if isinstance(loss, SpatialRelevance) else scene()[3:]
    with torch.no_grad(), pytest.warns(UserWarning, match=r"a contrast: gradients are off, .* torch\.enable_grad\(\)"):
        found = loss(*inputs, *([] if caption is None else [caption]))
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_the_mean_of_local_contrasts_is_another():
    """So the test above would notice ranks that do not share their negatives."""
    region, text = pairs()
    whole = TextRegionContrast()(region, text)
    local = [TextRegionContrast()(region[s], text[s]) * 2.5 for s in (slice(0, 3), slice(3, 5))]
    assert abs(sum(local) / 5 - whole) > 1e-2


def test_without_a_process_group_global_is_local():
    region, text = pairs()
    expected = TextRegionContrast()(region, text, CAPTION, VALID)
    found = TextRegionContrast(distributed="global")(region, text, CAPTION, VALID)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda r, t: (r.tolist(), t), lossreg.DTypeError, "region must be .* tensor of embeddings, got list"),
        (
            lambda r, t: (r, t.long()),
            lossreg.DTypeError,
            "text must be .* tensor of embeddings, got torch.int64",
        ),
        (
            lambda r, t: (r, t[:1]),
            lossreg.ShapeError,
            r"region has shape \(5, 4\) and text \(1, 4\), expected \(N, D\)",
        ),
        (lambda r, t: (r[0], t[0]), lossreg.ShapeError, r"region has shape \(4,\) and text \(4,\), expected \(N, D\)"),
        (lambda r, t: (r[:, :0], t[:, :0]), lossreg.ShapeError, r"\(5, 0\), expected \(N, D\) each"),
        (lambda r, t: (r[:0], t[:0]), lossreg.ShapeError, "the batch is empty; skip empty batches in the loader"),
        (lambda r, t: (r, t, CAPTION[:1]), lossreg.ShapeError, r"caption has shape \(1,\), expected \(5,\): one value"),
        (lambda r, t: (r, t, CAPTION * 1.0), lossreg.DTypeError, "caption must be integers, .* got torch.float32"),
        (lambda r, t: (r, t, ["a"] * 5), lossreg.DTypeError, "caption must be a tensor, got list"),
        (lambda r, t: (r, t, None, VALID[:, None]), lossreg.ShapeError, r"valid has shape \(5, 1\), expected \(5,\)"),
        (
            lambda r, t: (r, t, None, VALID.int()),
            lossreg.InputError,
            "valid must be a bool tensor, .* got torch.int32; use ",
        ),
    ],
)
def test_wrong_pairs_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        TextRegionContrast()(*change(*pairs()))


def test_spatial_relevance_takes_one_region_for_each_target():
    x, t, iou, region, text = scene()
    with pytest.raises(lossreg.ShapeError, match=r"and region \(4, 4\); give one embedding for each of the 5 targets"):
        SpatialRelevance()(x, t, iou, region[1:], text[1:])
    with pytest.raises(lossreg.ShapeError, match=r"target must have shape \(5, 4, 5\)"):
        SpatialRelevance()(x, t[:1], iou, region, text)


@pytest.mark.parametrize("cls", [TextRegionContrast, SpatialRelevance])
def test_options_that_do_not_exist_are_refused(cls):
    with pytest.raises(lossreg.InputError, match="distributed='global' is a mean over all ranks, got reduction='sum'"):
        cls(distributed="global", reduction="sum")
    with lossreg.losses.scope() as registry:
        if "under_test" not in registry:
            registry.register("under_test")(cls)
        for params in ({"temperature": 0.001}, {"temperature": "hot"}, {"temprature": 0.1}):
            with pytest.raises(lossreg.InvalidConfigError, match=next(iter(params))):
                lossreg.build({"name": "under_test", "params": params})
