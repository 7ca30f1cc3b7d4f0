"""Tracked on several ranks: one all-reduce for each read, learned losses that stay equal, records and reports."""

import json

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

import lossreg
from lossreg import InputError
from lossreg.integrations import Tracked
from lossreg.integrations.learnable import add_to_optimizer, check_trained, keep_equal

from ..trainers.data import MIX, Pictures, mix, net
from ..trainers.ranks import spawn

LEARNED = {"name": "uncertainty_weighting", "params": {"terms": ["focal", "dice"]}}


def part(start, stop):
    examples = [Pictures()[n] for n in range(start, stop)]
    return torch.stack([each["image"] for each in examples]), torch.stack([each["mask"] for each in examples])


def _uneven():
    """Rank 0 has 8 and 3 examples, rank 1 has 5, and rank 1 alone has a validation."""
    distributed.init_process_group("gloo")
    rank, calls = distributed.get_rank(), []
    tracked, model = Tracked(MIX), net()
    for start, stop in ([(0, 8), (8, 11)], [(11, 16)])[rank]:
        image, mask = part(start, stop)
        tracked(model(image), mask)
    with torch.no_grad():
        if rank == 1:
            tracked(model(part(0, 4)[0]), part(0, 4)[1])
        before = distributed.all_reduce
        distributed.all_reduce = lambda *a, **k: (calls.append(1), before(*a, **k))[1]
        return {"train": tracked.read(), "val": tracked.read("val"), "reductions": len(calls), "again": tracked.read()}


@pytest.mark.tools
def test_means_are_those_of_one_process():
    """For uneven batches, and for a rank without a call: it has the total, whose name every rank knows."""
    with torch.no_grad():
        all_of_them, four = mix(net()(part(0, 16)[0]), part(0, 16)[1]), mix(net()(part(0, 4)[0]), part(0, 4)[1])
    first, second = spawn(_uneven)
    expected = {f"train/{name}": values.mean().item() for name, values in all_of_them.items()}
    assert first["train"] == pytest.approx(expected, rel=1e-5)
    assert second["train"] == first["train"]
    assert second["val"] == pytest.approx({f"val/{k}": v.mean().item() for k, v in four.items()}, rel=1e-5)
    assert first["val"] == {"val/total_loss": second["val"]["val/total_loss"]}
    assert first["reductions"] == 2
    assert first["again"] == second["again"] == {}


def _different():
    distributed.init_process_group("gloo")
    tracked = Tracked(["dice", "focal"][distributed.get_rank()])
    tracked(*_batch())
    alone = tracked.read(reduce=False)
    tracked(*_batch())
    try:
        tracked.read()
    except InputError as error:
        return [str(error), list(alone)]


def _batch():
    image, mask = part(0, 4)
    return net()(image), mask


@pytest.mark.tools
def test_ranks_with_different_components_are_told():
    """Their means cannot be named. Each rank can still read its own."""
    first, second = spawn(_different)
    assert "the components of the loss differ between ranks; this one has total_loss, loss_dice" in first[0]
    assert "or read with reduce=False" in second[0]
    assert first[1] == ["train/total_loss", "train/loss_dice"]


def _learn(how):
    """Train three steps on the halves of a batch; return the learned weights and the model's first bias."""
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    tracked, model = Tracked(LEARNED), DistributedDataParallel(net())
    with torch.no_grad():
        tracked.loss.log_variances += rank  # keep_equal begins with those of rank 0
    called = DistributedDataParallel(tracked) if how == "wrapped" else tracked
    if how == "hooked":
        keep_equal(tracked)
        keep_equal(tracked)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5)
    add_to_optimizer(tracked, optimizer)
    add_to_optimizer(tracked, optimizer)
    for _ in range(3):
        for start in (0, 4):  # two micro-batches
            image, mask = part(8 * rank + start, 8 * rank + start + 4)
            (called(model(image), mask) / 2).backward()
        optimizer.step()
        optimizer.zero_grad()
    return [tracked.loss.log_variances.tolist(), model.module[0].bias.tolist(), len(optimizer.param_groups)]


@pytest.mark.tools
@pytest.mark.parametrize("how", ["wrapped", "hooked"])
def test_a_learned_loss_stays_equal_on_all_ranks(how):
    """In DistributedDataParallel, or by hooks where the trainer wraps the model alone: as one process trains it."""
    loss, model = lossreg.build(LEARNED), net()
    groups = [{"params": model.parameters()}, {"params": loss.parameters(), "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.1, weight_decay=0.5)
    for _ in range(3):
        image, mask = part(0, 16)
        loss(model(image), mask).backward()
        optimizer.step()
        optimizer.zero_grad()
    for weights, bias, groups in spawn(_learn, how):
        assert weights == pytest.approx(loss.log_variances.tolist(), rel=1e-5)
        assert bias == pytest.approx(model[0].bias.tolist(), rel=1e-4, abs=1e-6)
        assert groups == 2


def test_a_learned_loss_without_an_optimiser_is_told():
    """Its weights would stay as they are, without a word."""
    loss, model = Tracked(LEARNED), net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(InputError, match=r"the loss learns log_variances, which no optimiser has, .*; add them"):
        check_trained(loss, [optimizer], "add them")
    add_to_optimizer(loss, optimizer)
    check_trained(loss, [optimizer], "add them")
    check_trained(Tracked("dice"), [], "add them")
    check_trained(loss.requires_grad_(False), [], "add them")


def _record(folder):
    tracked = Tracked("dice", records=f"{folder}/records")  # before the group: the rank is that of the first write
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    image, mask = part(8 * rank, 8 * rank + 8)
    tracked.context.begin(step=1, epoch=0, sample_ids=[f"s{n}" for n in range(8 * rank, 8 * rank + 8)])
    tracked(net()(image), mask)
    path = tracked.write_report(f"{folder}/reports", "job", 1)
    distributed.barrier()
    tracked.close()
    return [str(path), tracked.records.rank]


@pytest.mark.tools
def test_a_report_has_the_examples_of_all_ranks(tmp_path):
    """Each rank writes its records, and then rank 0 the report."""
    pytest.importorskip("duckdb")
    (first, zero), (second, one) = spawn(_record, tmp_path)
    assert (zero, one) == (0, 1)
    assert first == second
    found = json.loads((tmp_path / "reports" / "job_000000001.json").read_text())
    assert len(found["items"]) == 16
    with torch.no_grad():
        expected = mix(net()(part(0, 16)[0]), part(0, 16)[1])["loss_dice"].mean().item()
    assert found["overall"]["mean"] == pytest.approx(expected, rel=1e-6)


@pytest.fixture
def group():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_a_sharded_one_is_whole(group):
    """fully_shard replaces the parameters, which this module and the loss share: value, gradient, means, output."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    class Trained(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.loss = net(), Tracked(LEARNED)

        def forward(self, image, mask):
            return self.loss(self.net(image), mask)

    alone, sharded = Trained(), Trained()
    fully_shard(sharded, mesh=init_device_mesh("cpu", (1,)))
    for each in (alone, sharded):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.1)
        for _ in range(2):
            each(*part(0, 4)).backward()
            optimizer.step()
            optimizer.zero_grad()
    weights = sharded.loss.loss.log_variances
    assert weights is sharded.loss.log_variances
    torch.testing.assert_close(weights.full_tensor(), alone.loss.log_variances.data)
    assert sharded.loss.read() == pytest.approx(alone.loss.read())
    assert sharded.loss.last.per_example.shape == (4,)
