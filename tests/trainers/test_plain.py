"""Plain PyTorch: the loop of docs/trainers/pytorch.md, alone and in two processes."""

import copy
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, DistributedSampler

import lossreg
from lossreg.integrations import Tracked
from lossreg.records import aggregate_by_dataset

from ..pages import run_blocks
from .data import MIX, Pictures, loader, mix, net, plain_loop
from .ranks import spawn

PAGE = Path(__file__).parents[2] / "docs" / "trainers" / "pytorch.md"
LEARNED = {"name": "uncertainty_weighting", "params": {"terms": ["focal", "dice"]}}
KEYS = ["total_loss", "loss_focal", "loss_dice"]


def fit(loss, batches=None, accumulate=1, model=None, learns=None):
    """Train net(), and return it. `loss` may be wrapped in `learns`."""
    model = net() if model is None else model
    optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], 0.1)
    for number, batch in enumerate(loader() if batches is None else batches, 1):
        loss.context.begin(step=number, epoch=0, sample_ids=batch["id"])
        total = (learns or loss)(model(batch["image"]), batch["mask"])
        (total / accumulate).backward()
        if number % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
    return model


def check_equal(model, expected):
    for one, other in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(one.detach(), torch.as_tensor(other).detach())


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_it_trains_as_the_formulas_do(accumulate):
    """Parameters after training, and the means under the keys of the logs."""
    loss = Tracked(MIX)
    plain = plain_loop(lr=0.1, accumulate=accumulate)
    check_equal(fit(loss, accumulate=accumulate), plain.model.parameters())
    expected = {f"train/{name}": plain.means[name] for name in KEYS}
    assert loss.read("train") == pytest.approx(expected, rel=1e-5)
    assert loss.read("train") == {}


def test_means_of_an_uneven_last_batch_are_those_of_the_examples():
    """18 in batches of four."""
    loss, model = Tracked(MIX), net()
    with torch.no_grad():
        for batch in loader(18):
            loss(model(batch["image"]), batch["mask"])
    data = Pictures(18)
    expected = {f"val/{name}": value.mean().item() for name, value in mix(model(data.images), data.masks).items()}
    assert loss.read("val") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_scaled_total_in_half_precision(dtype):
    """The scale of GradScaler reaches neither the means nor the unscaled gradients."""
    loss, model, batch = Tracked(MIX), net(), next(iter(loader()))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with torch.autocast("cpu", dtype=dtype):
        total = loss(model(batch["image"]), batch["mask"])
    scaler.scale(total).backward()
    scaler.unscale_(optimizer)
    plain = plain_loop([batch])
    assert loss.read("train")["train/total_loss"] == pytest.approx(plain.means["total_loss"], rel=1e-2)
    for one, other in zip(model.parameters(), plain.gradients, strict=True):
        torch.testing.assert_close(one.grad, other, rtol=0.05, atol=1e-2)


def in_two(folder):
    """Train with two examples in each process; evaluate 17, one of them twice."""
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    data = Pictures()
    shared = [range(n + 2 * rank, n + 2 * rank + 2) for n in range(0, 16, 4)]
    batches = list(DataLoader(data, batch_sampler=shared))
    loss = Tracked(MIX, records=Path(folder) / "records")
    model = fit(loss, batches, model=DistributedDataParallel(net())).module
    found = {"parameters": [p.tolist() for p in model.parameters()], "train": loss.read("train")}
    sampler = DistributedSampler(Pictures(17), shuffle=False)
    left = len(range(rank, 17, 2))
    with torch.no_grad():
        for batch in DataLoader(Pictures(17), 4, sampler=sampler):
            loss.context.begin(epoch=0, sample_ids=batch["id"], size=max(0, min(left, 4)))
            loss(net()(batch["image"]), batch["mask"])
            left -= 4
    found["val"] = loss.read("val")
    report = loss.write_report(Path(folder) / "reports", "two", 4)
    learns = Tracked(LEARNED)
    fit(learns, batches, model=DistributedDataParallel(net()), learns=DistributedDataParallel(learns))
    return found | {"report": report.name, "learned": [p.tolist() for p in learns.parameters()]}


@pytest.mark.tools
def test_two_processes_are_one_with_both_batches(folder):
    """Parameters, means, rows, the report, and the parameters of a loss that learns."""
    plain, data = plain_loop(lr=0.1), Pictures(17)
    expected = {f"val/{name}": value.mean().item() for name, value in mix(net()(data.images), data.masks).items()}
    learned = Tracked(LEARNED)
    fit(learned)
    for found in spawn(in_two, folder):
        check_equal(plain.model, found["parameters"])
        check_equal(learned, found["learned"])
        assert found["train"] == pytest.approx({f"train/{name}": plain.means[name] for name in KEYS}, rel=1e-5)
        assert found["val"] == pytest.approx(expected, rel=1e-5)
        assert found["report"] == "two_000000004.json"
    rows = aggregate_by_dataset(folder / "records", together=True)["overall"]
    assert (rows["count"], rows["items"]) == (16 + 17, 17)
    assert (folder / "reports" / "two_000000004.json").exists()


def test_a_schedule_follows_the_step_of_the_context():
    """From weight 0 at step 0 to 1 at step 10."""
    loss = Tracked({"name": "scheduled", "params": {"terms": [{"points": [[0, 0], [10, 1]], "name": "dice"}]}})
    batch = next(iter(loader()))
    dice = mix(net()(batch["image"]), batch["mask"])["loss_dice"].mean()
    for step, weight in ((0, 0), (5, 0.5), (10, 1)):
        loss.context.begin(step=step)
        torch.testing.assert_close(loss(net()(batch["image"]), batch["mask"]), weight * dice)


def test_nan_stops_the_loop():
    """At the batch that has it."""
    loss, steps = Tracked("dice", monitor={"rules": ["NonFinite"], "every": 1, "action": "stop"}), []
    for step, batch in enumerate(loader()):
        if step == 1:
            batch["image"][0, 0, 0, 0] = float("nan")
        loss(net()(batch["image"]), batch["mask"])
        steps.append(loss.should_stop)
    assert steps == [False, True, True, True]
    assert [event.rule for event in loss.events()][:1] == ["NonFinite"]


def resume(folder, until=None, start=0):
    """Train on 18 examples to a step, with a checkpoint after two; or go on from it."""
    night = {"directory": folder / "records", "run": "night"}
    loss, model = Tracked(LEARNED, records=night), net()
    if start:
        saved = torch.load(folder / "last.pt")
        loss = Tracked(saved["config"], records=night)
        loss.load_state_dict(saved["loss"])
        model.load_state_dict(saved["model"])
    optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], 0.1)
    for step, batch in list(enumerate(loader(18)))[start:until]:
        loss.context.begin(step=step, epoch=0, sample_ids=batch["id"])
        loss(model(batch["image"]), batch["mask"]).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step == 1:
            state = {"model": model.state_dict(), "loss": loss.state_dict(), "config": lossreg.config_of(loss)}
            torch.save(copy.deepcopy(state), folder / "last.pt")
    loss.close()
    return [*model.parameters(), *loss.parameters()]


def test_a_training_goes_on_from_its_checkpoint(folder):
    """The loss comes from the config in it; no row is lost, and none counts twice."""
    (folder / "whole").mkdir()
    (folder / "cut").mkdir()
    whole = resume(folder / "whole")
    resume(folder / "cut", until=3)
    for one, other in zip(resume(folder / "cut", start=2), whole, strict=True):
        torch.testing.assert_close(one, other)
    rows = aggregate_by_dataset(folder / "cut" / "records", together=True)["overall"]
    assert (rows["count"], rows["items"]) == (18, 18)


class Whole(nn.Module):
    """A module that holds its loss, as trainers want it."""

    def __init__(self, loss):
        super().__init__()
        self.net, self.loss = net(), loss

    def forward(self, image, mask):
        return self.loss(self.net(image), mask)


def test_copies_and_averages_of_a_module_keep_its_state():
    """Its keys are those with the bare loss; the copy counts for itself."""
    batch = next(iter(loader()))
    whole = Whole(Tracked(LEARNED))
    whole(batch["image"], batch["mask"]).backward()
    average = AveragedModel(whole)
    assert list(whole.state_dict()) == list(Whole(lossreg.build(LEARNED)).state_dict())
    assert lossreg.config_of(average.module.loss) == lossreg.config_of(whole.loss)
    again = copy.deepcopy(whole)
    again(batch["image"], batch["mask"])
    assert whole.loss.read("train") == again.loss.read("train")


@pytest.mark.tools
def test_a_compiled_loss_is_read_from_the_one_that_you_made():
    """Total and means are those without compilation."""
    batch, loss = next(iter(loader())), Tracked(MIX)
    total = torch.compile(loss, backend="eager")(net()(batch["image"]), batch["mask"])
    expected = mix(net()(batch["image"]), batch["mask"])
    torch.testing.assert_close(total, expected["total_loss"].mean())
    assert loss.read("train")["train/loss_dice"] == pytest.approx(expected["loss_dice"].mean().item(), rel=1e-5)


@pytest.mark.tools
def test_the_page_runs(folder, monkeypatch):
    """In order, as a user would paste it; each example has a row for each call that used it."""
    run_blocks(PAGE, folder, monkeypatch)
    rows = aggregate_by_dataset(folder / "runs" / "records", together=True)["overall"]
    assert (rows["count"], rows["items"]) == (16 * 5, 16)
