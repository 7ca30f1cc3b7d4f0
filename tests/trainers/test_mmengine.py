"""lossreg in MMEngine: the loss by its config, the hook that logs, watches and records, checkpoints and ranks."""

import json
import math
from itertools import count
from pathlib import Path

import pytest
import torch

import lossreg
from lossreg import InputError
from lossreg.health import HealthWarning
from lossreg.integrations import Tracked
from lossreg.records.reader import connect

from ..pages import run_blocks
from .data import MIX, Pictures, loader, mix, net, plain_loop, trainer
from .ranks import spawn

trainer("mmengine.runner")  # quiet about what it imports
from mmengine.config import Config  # noqa: E402
from mmengine.evaluator import Evaluator  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402
from mmengine.model import BaseModel, MMDistributedDataParallel  # noqa: E402
from mmengine.optim import OptimWrapper, OptimWrapperDict  # noqa: E402
from mmengine.registry import MODELS  # noqa: E402
from mmengine.runner import Runner  # noqa: E402

from lossreg.integrations.mmengine import LossHook  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "trainers" / "mmengine.md"
LOSS = {"type": "lossreg", **MIX}
LEARNS = {"type": "lossreg", "name": "uncertainty_weighting", "params": {"terms": ["focal", "dice"]}}
_number = count()


class Net(BaseModel):
    """The shared net with a loss, which it calls in validation as well."""

    def __init__(self, loss=LOSS, **others):
        super().__init__()
        self.net = net()
        self.loss = MODELS.build(loss)
        self.others = torch.nn.ModuleDict({name: MODELS.build(config) for name, config in others.items()})

    def forward(self, image, mask, id, mode="tensor"):
        logits, mask = self.net(torch.stack(list(image))), torch.stack(list(mask))
        losses = {"loss": self.loss(logits, mask)}
        losses |= {f"loss_{name}": loss(logits, mask) for name, loss in self.others.items()}
        return losses if mode == "loss" else list(logits)


def batches(number=16, batch_size=4, sampler="DefaultSampler", **options):
    """A loader's config in MMEngine's form, in the order of the pictures."""
    order = {"type": sampler, "shuffle": False}
    return {"dataset": Pictures(number), "batch_size": batch_size, "sampler": order, "num_workers": 0, **options}


def runner(
    model=None, *, train=None, val=None, epochs=1, lr=0.0, accumulate=1, hooks=({"type": "LossHook"},), **options
):
    """A runner in the current folder, which stays in its process."""
    validation = {} if val is None else {"val_dataloader": val, "val_cfg": {}, "val_evaluator": Evaluator([])}
    return Runner(
        **{
            "model": Net() if model is None else model,
            "work_dir": "work",
            "train_dataloader": batches() if train is None else train,
            "train_cfg": {"by_epoch": True, "max_epochs": epochs},
            "optim_wrapper": {"optimizer": {"type": "SGD", "lr": lr}, "accumulative_counts": accumulate},
            "default_hooks": {"logger": {"type": "LoggerHook", "interval": 1}},
            "custom_hooks": list(hooks),
            "experiment_name": f"run{next(_number)}",
            "default_scope": "mmengine",
            "log_level": "INFO",
            **validation,
            **options,
        }
    )


def scalars():
    """What the visualizer wrote, in order."""
    (path,) = Path("work").rglob("scalars.json")
    return [json.loads(line) for line in path.read_text().splitlines()]


def logged():
    """The lines of the runner's log."""
    return "\n".join(path.read_text() for path in Path("work").rglob("*.log"))


def rows(split, folder="records"):
    """The rows of a split as (epoch, step, sample_id, loss), in order."""
    with connect(folder) as connection:
        columns = "epoch, step, sample_id, loss"
        return connection.execute(f"SELECT {columns} FROM records WHERE split = '{split}' ORDER BY ALL").fetchall()


@pytest.mark.parametrize("accumulate", [1, 4])
def test_training_equals_the_plain_loop(accumulate):
    """The parameters after an epoch with and without accumulation, beside a hook that logs the parts."""
    run = runner(lr=0.1, accumulate=accumulate, train=batches(batch_size=4 // accumulate))
    run.train()
    expected = plain_loop(loader(batch_size=4 // accumulate), lr=0.1, accumulate=accumulate)
    for found, parameter in zip(run.model.net.parameters(), expected.model.parameters(), strict=True):
        torch.testing.assert_close(found, parameter)


def test_parts_are_in_the_log_and_the_total_is_trained_once():
    """MMEngine sums all keys with "loss"; the parts are in the message hub alone."""
    run = runner()
    run.train()
    first = plain_loop().steps[0]
    hub = run.message_hub
    for name, value in first.items():
        assert hub.get_scalar(f"train/{name}").data[0][0] == pytest.approx(value)
    assert hub.get_scalar("train/loss").data[0][0] == pytest.approx(first["total_loss"])
    line = next(line for line in logged().splitlines() if "Epoch(train)" in line)
    assert f"loss: {first['total_loss']:.4f}  total_loss: {first['total_loss']:.4f}" in line
    assert f"loss_focal: {first['loss_focal']:.4f}  loss_dice: {first['loss_dice']:.4f}" in line


def test_means_of_an_epoch_are_over_its_examples():
    """Six pictures in batches of four: in training and validation, for visualizers and as metrics."""
    run = runner(train=batches(6), val=batches(10), epochs=2)
    run.train()
    rows = scalars()
    expected = plain_loop(loader(6)).means
    found = [row for row in rows if "train/total_loss" in row]
    assert [row["step"] for row in found] == [1, 2]
    for name, value in expected.items():
        assert found[0][f"train/{name}"] == pytest.approx(value)
    expected = plain_loop(loader(10)).means
    found = [row for row in rows if "val/total_loss" in row]
    assert [row["step"] for row in found] == [1, 2]
    for name, value in expected.items():
        assert found[0][f"val/{name}"] == pytest.approx(value)
    assert f"val/total_loss: {expected['total_loss']:.4f}" in logged()


def test_training_by_iterations_has_means_between_validations():
    """At the step of each validation, and none without training."""
    options = {"train_cfg": {"by_epoch": False, "max_iters": 5, "val_interval": 2}}
    run = runner(train=batches(sampler="InfiniteSampler"), val=batches(4), **options)
    run.train()
    found = [(row["step"], row["train/total_loss"]) for row in scalars() if "train/total_loss" in row]
    steps = [step["total_loss"] for step in plain_loop().steps]
    assert [step for step, _ in found] == [2, 4, 5]
    assert [value for _, value in found] == pytest.approx([sum(steps[:2]) / 2, sum(steps[2:]) / 2, steps[0]])


def test_testing_has_means():
    """In the metrics of a test."""
    run = runner(test_dataloader=batches(6), test_cfg={}, test_evaluator=Evaluator([]))
    metrics = run.test()
    assert metrics["test/total_loss"] == pytest.approx(plain_loop(loader(6)).means["total_loss"])


def test_validation_alone():
    """Without training before it."""
    metrics = runner(val=batches(6)).val()
    assert metrics["val/total_loss"] == pytest.approx(plain_loop(loader(6)).means["total_loss"])


def test_the_best_checkpoint_has_the_least_loss_and_the_config():
    """`save_best="val/total_loss"`, and a loss that the checkpoint's config rebuilds."""
    save = {"type": "CheckpointHook", "interval": 1, "save_best": "val/total_loss", "rule": "less"}
    run = runner(val=batches(8), epochs=3, lr=0.1, default_hooks={"checkpoint": save})
    run.train()
    values = [row["val/total_loss"] for row in scalars() if "val/total_loss" in row]
    assert len(values) == 3
    assert run.message_hub.get_info("best_score") == pytest.approx(min(values))
    checkpoint = torch.load(run.message_hub.get_info("best_ckpt"), weights_only=False)
    assert checkpoint["meta"]["loss"] == lossreg.config_of(lossreg.build(MIX))
    assert not [name for name in checkpoint["state_dict"] if "loss" in name]


def test_a_monitor_stops_the_training():
    """At the end of the epoch, as EarlyStoppingHook does; its event is in the log."""
    loss = LOSS | {"monitor": {"rules": ["NonFinite"], "every": 1, "action": "stop"}}
    model = Net(loss)
    torch.nn.init.constant_(model.net[2].bias, math.nan)
    run = runner(model, epochs=3)
    run.train()
    assert run.epoch == 1
    assert "NonFinite" in logged()


def test_the_last_events_and_rows_are_written_at_the_end():
    """Of a monitor that evaluates more rarely than the training has batches, and without a checkpoint."""
    model = Net(LOSS | {"monitor": {"rules": ["NonFinite"], "every": 50}, "records": "records"})
    torch.nn.init.constant_(model.net[2].bias, math.nan)
    run = runner(model)
    with pytest.warns(HealthWarning, match="NonFinite"):
        run.train()
    assert "NonFinite" in logged()
    assert len(rows("train")) == 16


def test_records_have_each_example_once():
    """Two epochs and their validations, with ids of the batch, and a report with each checkpoint."""
    hooks = [{"type": "LossHook", "batch_keys": {"sample_ids": "id"}, "reports": "reports", "job": "seg"}]
    save = {"checkpoint": {"type": "CheckpointHook", "interval": 1}}
    run = runner(Net(LOSS | {"records": "records"}), val=batches(6), epochs=2, hooks=hooks, default_hooks=save)
    run.train()
    train = [row[:3] for row in rows("train")]
    assert train == sorted((e, 4 * e + n // 4, f"s{n}") for e in range(2) for n in range(16))
    assert [(row[0], row[2]) for row in rows("val")] == [(e, f"s{n}") for e in range(2) for n in range(6)]
    data = Pictures()
    losses = mix(net()(data.images), data.masks)["total_loss"].tolist()
    assert [row[3] for row in rows("val")] == pytest.approx(losses[:6] * 2)
    assert sorted(path.name for path in Path("reports").iterdir()) == ["seg_000000004.json", "seg_000000008.json"]


class Interrupt(Hook):
    """Ends a training in its third epoch, when the rows of two of its batches are written."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 9:  # those before the checkpoint are
            assert len(rows("train", "parts")) == 32
        if runner.iter == 10:
            runner.model.loss.flush()
            raise KeyboardInterrupt


def test_resuming_goes_on_with_the_same_records(monkeypatch):
    """Each row once, the parameters of a training without a stop, and the step of a schedule."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # MMEngine's checkpoints hold its own objects
    terms = [{"name": "dice", "points": [[0, 1], [12, 0]]}, {"name": "focal", "points": [[0, 0], [12, 20]]}]
    loss = {"type": "lossreg", "name": "scheduled", "params": {"terms": terms}}
    hook = {"type": "LossHook", "batch_keys": {"sample_ids": "id"}}
    options = {"epochs": 3, "lr": 0.1, "default_hooks": {"checkpoint": {"type": "CheckpointHook", "interval": 1}}}
    whole = runner(Net(loss | {"records": "whole"}), hooks=[hook], **options)
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        runner(
            Net(loss | {"records": {"directory": "parts", "run": "night"}}), hooks=[hook, Interrupt()], **options
        ).train()
    options |= {"load_from": "work/epoch_2.pth", "resume": True}
    resumed = runner(Net(loss | {"records": {"directory": "parts", "run": "night"}}), hooks=[hook], **options)
    resumed.train()
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert len(rows("train", "whole")) == 48
    assert rows("train", "parts") == rows("train", "whole")


def test_two_losses_have_their_places():
    """In all keys, and in the config of a checkpoint."""
    model = Net(LOSS | {"records": "records"}, first={"type": "lossreg", "name": "focal"})
    model.others["first"] = Tracked("dice")  # by hand
    hooks = [LossHook(reports="reports", job="two")]
    run = runner(model, val=batches(8), hooks=hooks, default_hooks={"checkpoint": {"type": "CheckpointHook"}})
    run.train()
    assert [path.name for path in Path("reports").iterdir()] == ["two-loss_000000004.json"]
    values = {name: value for row in scalars() for name, value in row.items() if name.startswith("val/")}
    means = plain_loop(loader(8)).means
    assert values["val/loss/total_loss"] == pytest.approx(means["total_loss"])
    assert values["val/others.first/total_loss"] == pytest.approx(means["loss_dice"])
    assert values["val/others.first/loss_dice"] == pytest.approx(means["loss_dice"])
    checkpoint = torch.load("work/epoch_1.pth", weights_only=False)
    assert {name: config["name"] for name, config in checkpoint["meta"]["loss"].items()} == {
        "loss": "weighted_sum",
        "others.first": "dice",
    }


def test_a_loss_that_is_not_called_is_not_logged_again():
    """A model may call it in some iterations alone."""
    model = Net()
    calls = count()
    total = model.loss
    model.forward = lambda image, mask, id, mode: (
        {"loss": total(model.net(torch.stack(image)), torch.stack(mask))}
        if next(calls) % 2 == 0
        else {"loss": model.net(torch.stack(image)).mean()}
    )
    run = runner(model)
    run.train()
    assert len(run.message_hub.get_scalar("train/total_loss").data[0]) == 2


class Parts(Net):
    """A model that returns all that it knows."""

    def forward(self, **batch):
        super().forward(**batch)
        return self.loss.latest("train", "") | {"loss": self.loss.last.total.clone().requires_grad_()}


def test_a_model_that_returns_parts_is_refused():
    """MMEngine would train total and parts together."""
    with pytest.raises(
        InputError, match=r"total_loss, loss_focal, loss_dice of one loss.*return \{'loss': total\} alone"
    ):
        runner(Parts()).train()


def test_a_model_without_a_loss_is_refused():
    """The hook would do nothing."""
    model = Net()
    model.loss = torch.nn.Identity()
    with pytest.raises(InputError, match=r"finds no loss in the model; write self.loss = MODELS.build\(dict"):
        runner(model).train()


def test_reports_need_records():
    """Before the training, not at its first checkpoint."""
    with pytest.raises(InputError, match="reports need records: write dict"):
        runner(hooks=[LossHook(reports="reports")]).train()


def test_a_loss_that_learns_is_trained_with_the_model():
    """As a part of it; an optimiser without its parameters is refused."""
    run = runner(Net(LEARNS), lr=0.1)
    run.train()
    weights = next(run.model.loss.parameters())
    assert weights.abs().min() > 0.01
    model = Net(LEARNS)
    optimizer = {"optimizer": torch.optim.SGD(model.net.parameters(), lr=0.1)}
    with pytest.raises(InputError, match=r"the loss learns .*; give the optimiser model\.parameters\(\)"):
        runner(model, optim_wrapper=optimizer).train()


def test_several_optimisers():
    """One of them must have the parameters of a loss."""
    model, hook = Net(LEARNS), LossHook()
    parts = {"net": model.net, "loss": model.loss}
    wrappers = {name: OptimWrapper(torch.optim.SGD(part.parameters(), lr=0.1)) for name, part in parts.items()}
    run = runner(model, hooks=[hook])
    run.optim_wrapper = OptimWrapperDict(**wrappers)
    hook.before_run(run)
    hook.before_train(run)
    run.optim_wrapper = OptimWrapperDict(net=wrappers["net"])
    with pytest.raises(InputError, match="the loss learns"):
        hook.before_train(run)


def two_ranks(folder):
    """Train and validate on this rank's share of nine pictures, which MMEngine fills up to ten."""
    torch.distributed.init_process_group("gloo")  # MMEngine itself needs a GPU for it
    hooks = [{"type": "LossHook", "batch_keys": {"sample_ids": "id"}, "reports": f"{folder}/reports", "job": "two"}]
    save = {"checkpoint": {"type": "CheckpointHook"}}
    run = runner(
        MMDistributedDataParallel(Net(LEARNS | {"records": f"{folder}/records"})),
        train=batches(9, 3),
        val=batches(9, 3),
        lr=0.1,
        hooks=hooks,
        default_hooks=save,
        launcher="pytorch",
        work_dir=f"{folder}/work",
    )
    run.train()
    model = run.model.module
    return [value.tolist() for value in model.loss.parameters()], run.message_hub.get_scalar(
        "val/val/total_loss"
    ).current()


def test_two_ranks(folder):
    """They keep a learned loss equal, and record and average each example once; rank 0 writes the report."""
    (first, mean), (second, other) = spawn(two_ranks, folder)
    assert first == second
    assert first[0] != [0.0, 0.0]
    assert mean == other
    for split in ("train", "val"):
        assert sorted(row[2] for row in rows(split, folder / "records")) == [f"s{n}" for n in range(9)]
    assert mean == pytest.approx(sum(row[3] for row in rows("val", folder / "records")) / 9)
    assert [path.name for path in (folder / "reports").iterdir()] == ["two_000000002.json"]


@pytest.mark.parametrize("name", ["seg", "dice"])
def test_a_key_that_mmengine_would_not_train_is_refused(name):
    """It sums what has "loss" in its key."""
    with pytest.raises(InputError, match=f"write loss_name='loss_{name}'"):
        MODELS.build({"type": "lossreg", "name": "dice", "loss_name": name})


def test_the_loss_from_a_config_file(folder):
    """With custom_imports, as MMEngine's users write it; errors name the mistake."""
    (folder / "config.py").write_text(
        "custom_imports = dict(imports=['lossreg.integrations.mmengine'])\n"
        "loss = dict(type='lossreg', name='dice', smooth=0.5, loss_weight=0.4)\n"
        f"mix = dict(type='lossreg', **{MIX!r})\n"
    )
    config = Config.fromfile("config.py")
    assert lossreg.config_of(MODELS.build(config.mix)) == lossreg.config_of(lossreg.build(MIX))
    loss = MODELS.build(config.loss)
    logits, mask = torch.tensor([[[[8.0, -8.0]]]]), torch.tensor([[[[1, 1]]]])
    expected = 0.4 * lossreg.build("dice", smooth=0.5)(logits, mask)
    torch.testing.assert_close(loss(logits, mask), expected)
    assert loss.loss_name == "loss_dice"
    with pytest.raises(lossreg.InvalidConfigError, match="did you mean 'dice'"):
        MODELS.build({"type": "lossreg", "name": "dise"})
    with pytest.raises(InputError, match="loss_weight must be >= 0, got -1"):
        MODELS.build({"type": "lossreg", "name": "dice", "loss_weight": -1})


def test_the_page_runs(folder, monkeypatch):
    """In order, as a user would paste it."""
    run_blocks(PAGE, folder, monkeypatch)
