"""lossreg in pytorch-ignite: LossHandler with supervised engines, and with steps of the user's own."""

import json
import logging
import re
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

import lossreg
from lossreg.integrations import Tracked
from lossreg.records import aggregate_by_dataset

from ..pages import run_blocks
from .data import MIX, Pictures, loader, net, plain_loop, trainer
from .ranks import spawn

trainer("ignite")
from ignite import distributed as idist  # noqa: E402
from ignite.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer  # noqa: E402
from ignite.handlers import Checkpoint, EarlyStopping, FastaiLRFinder, TensorboardLogger  # noqa: E402
from ignite.handlers.tensorboard_logger import OutputHandler  # noqa: E402
from ignite.metrics import Loss  # noqa: E402

from lossreg.integrations.ignite import LossHandler  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs/trainers/ignite.md"
IDS = {"sample_ids": "id"}
LEARNED = {"name": "uncertainty_weighting", "params": {"terms": ["focal", "dice"]}}
FADING = {"name": "scheduled", "params": {"terms": [{"name": "dice", "points": [[0, 0.0], [4, 1.0]]}]}}
NONFINITE = {"rules": ["NonFinite"], "every": 2, "action": "stop"}


def pair(batch, device=None, non_blocking=False):
    """Return image and mask of a batch of Pictures, as ignite's prepare_batch."""
    return batch["image"], batch["mask"]


class Job:
    """A training with validation after each epoch."""

    def __init__(self, loss, *, lr=0.1, accumulate=1, data=None, model=None, **options):
        self.loss, self.data = loss, loader() if data is None else data
        self.model = net() if model is None else model
        self.optimizer = torch.optim.SGD([*self.model.parameters(), *loss.parameters()], lr)
        self.trainer = create_supervised_trainer(
            self.model, self.optimizer, loss, prepare_batch=pair, gradient_accumulation_steps=accumulate
        )
        self.evaluator = create_supervised_evaluator(self.model, prepare_batch=pair)
        self.handler = LossHandler(loss, batch_keys=IDS, optimizer=self.optimizer, **options)
        self.handler.attach(self.trainer, self.evaluator)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: self.evaluator.run(self.data))

    def run(self, epochs=1):
        self.trainer.run(self.data, max_epochs=epochs)
        return self


def named(split, means):
    return {f"{split}/{name}": pytest.approx(value, abs=1e-6) for name, value in means.items()}


def events_of(trainer, level=logging.WARNING):
    """Collect the messages of an engine's logger."""
    found = []
    trainer.logger = logging.Logger("trainer")
    handler = logging.Handler(level)
    handler.emit = lambda record: found.append(record.getMessage())
    trainer.logger.addHandler(handler)
    return found


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_trains_as_a_plain_loop(accumulate):
    """Parameters, means of the epoch, and the validation after it; the last gradient too."""
    job = Job(Tracked(MIX), accumulate=accumulate).run(2)
    plain = plain_loop(lr=0.1, accumulate=accumulate, epochs=2)
    for mine, theirs in zip(job.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
        assert mine.grad is not None
    for mine, theirs in zip(job.model.parameters(), plain.gradients, strict=True):
        torch.testing.assert_close(mine.grad, theirs)
    second = [sum(step[name] for step in plain.steps[-4 // accumulate :]) * accumulate / 4 for name in plain.means]
    assert job.trainer.state.metrics == named("train", dict(zip(plain.means, second, strict=True)))


def test_means_weigh_examples():
    """Of 10 examples in batches of 4, 4 and 2, in training and validation; by the plain loop."""
    job = Job(Tracked(MIX), lr=0.0, data=loader(10)).run()
    means = plain_loop(loader(10)).means
    assert job.trainer.state.metrics == named("train", means)
    assert job.evaluator.state.metrics == named("val", means)


def test_the_loss_is_computed_once_for_each_batch(monkeypatch):
    """In training, in validation, and where the evaluator's step or a metric has called it already."""
    calls = []
    loss = Tracked("dice")
    evaluate = loss.evaluate
    monkeypatch.setattr(loss, "evaluate", lambda *inputs: calls.append(inputs) or evaluate(*inputs))
    job = Job(loss).run()
    assert len(calls) == 8

    def step(engine, batch):
        with torch.no_grad():
            return loss(job.model(batch["image"]), batch["mask"])

    own = Engine(step)
    job.handler.attach_evaluator(own, split="test")
    own.run(loader())
    assert len(calls) == 12
    assert own.state.metrics["test/total_loss"] == pytest.approx(job.evaluator.state.metrics["val/total_loss"])
    metric = create_supervised_evaluator(job.model, {"loss": Loss(loss)}, prepare_batch=pair)
    job.handler.attach_evaluator(metric)
    metric.run(loader())
    assert len(calls) == 16
    assert metric.state.metrics["loss"] == pytest.approx(metric.state.metrics["val/total_loss"])


def test_the_loss_of_an_evaluator_has_no_gradients(monkeypatch):
    """Nor the memory of their graph, where the step of the evaluator leaves gradients on."""
    loss, model, graphs = Tracked("dice"), net(), []
    evaluate = loss.evaluate
    monkeypatch.setattr(loss, "evaluate", lambda *inputs: graphs.append(torch.is_grad_enabled()) or evaluate(*inputs))
    evaluator = Engine(lambda engine, batch: (model(batch["image"]), batch["mask"]))
    LossHandler(loss).attach_evaluator(evaluator)
    evaluator.run(loader())
    assert graphs == [False] * 4


def test_loggers_see_the_metrics_in_any_order(folder):
    """A logger that was attached before the handler writes both splits, and each batch if it is given `latest`."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    loss = Tracked(MIX)
    model = net()
    engine = create_supervised_trainer(model, torch.optim.SGD(model.parameters(), 0.0), loss, prepare_batch=pair)
    evaluator = create_supervised_evaluator(model, prepare_batch=pair)
    with TensorboardLogger(log_dir="board") as board:
        board.attach(engine, OutputHandler("epoch", metric_names="all"), Events.EPOCH_COMPLETED)
        board.attach(evaluator, OutputHandler("epoch", metric_names="all"), Events.EPOCH_COMPLETED)
        each = OutputHandler("batch", output_transform=lambda _: loss.latest())
        board.attach(engine, each, Events.ITERATION_COMPLETED)
        LossHandler(loss).attach(engine, evaluator)
        engine.run(loader())
        evaluator.run(loader())
    read = EventAccumulator("board").Reload()
    means = plain_loop().means
    assert set(read.Tags()["scalars"]) == {
        *(f"epoch/{split}/{name}" for split in ("train", "val") for name in means),
        *(f"batch/train/{name}" for name in means),
    }
    assert read.Scalars("epoch/val/loss_dice")[0].value == pytest.approx(means["loss_dice"])
    assert [point.step for point in read.Scalars("batch/train/loss_dice")] == [1, 2, 3, 4]


def test_an_epoch_of_unknown_length_has_its_metrics():
    """A loader without a length: the metrics are there after the epoch."""
    job = Job(Tracked(MIX), lr=0.0)
    job.trainer.run(iter(list(loader())), max_epochs=1)
    assert job.trainer.state.metrics == named("train", plain_loop().means)


@pytest.mark.parametrize("how", ["terminate", "terminate_epoch", "max_iters"])
def test_an_epoch_that_ends_early_has_the_metrics_of_its_batches(how):
    """Two of the four batches, and nothing of them is left to the next epoch."""
    job = Job(Tracked(MIX), lr=0.0)
    if how == "max_iters":
        job.trainer.run(loader(), max_iters=2)
    else:
        with job.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), getattr(job.trainer, how)):
            job.run()
    assert job.trainer.state.metrics == named("train", plain_loop(list(loader())[:2]).means)
    job.trainer.state.max_epochs = job.trainer.state.max_iters = None
    job.run()
    assert job.trainer.state.metrics == named("train", plain_loop().means)


def test_batches_before_an_error_are_forgotten():
    """A validation that broke off does not enter the means of the next one."""
    job = Job(Tracked(MIX), lr=0.0)
    broken = [*list(loader())[:1], {"image": torch.zeros(1, 4, 8, 8), "mask": torch.zeros(1, 1, 8, 8), "id": "x"}]
    with pytest.raises(RuntimeError, match="channels"):
        job.evaluator.run(broken)
    job.evaluator.state.max_epochs = None
    job.evaluator.run(loader())
    assert job.evaluator.state.metrics == named("val", plain_loop().means)


def test_the_monitor_terminates_the_trainer():
    """A NaN in the third batch: the event is in the engine's log, and the second window is the last."""
    data = list(loader(40))
    data[2]["image"][0, 0, 0, 0] = float("nan")
    job = Job(Tracked("dice", monitor=NONFINITE), data=data)
    messages = events_of(job.trainer)
    completed = []
    job.trainer.add_event_handler(Events.COMPLETED, completed.append)
    job.run(3)
    assert job.trainer.state.iteration == 4
    assert completed == [job.trainer]
    assert any("NonFinite" in text for text in messages)


def test_events_after_the_last_window_are_logged_and_a_second_run_goes_on():
    """A window of 10 updates in a run of 4: what it holds is judged at the end."""
    data = list(loader())
    data[3]["image"][:] = float("nan")
    job = Job(Tracked("dice", monitor={"rules": ["NonFinite"], "every": 10, "action": "stop"}), data=data, lr=0.0)
    messages = events_of(job.trainer)
    job.run()
    assert any("NonFinite" in text for text in messages)
    clean = Job(Tracked("dice", monitor={"every": 10}), lr=0.0).run().run(2)
    assert clean.trainer.state.iteration == 8


def test_records_have_a_row_for_each_example_of_each_epoch(folder):
    """In both splits, with step and epoch of the trainer; a report after each epoch, with its validation."""
    Job(Tracked(MIX, records="records"), reports="reports", job="night").run(2)
    found = aggregate_by_dataset("records", together=True)["overall"]
    assert (found["count"], found["items"]) == (64, 16)
    import duckdb

    rows = duckdb.sql("SELECT split, epoch, step, count(*) FROM 'records/*.parquet' GROUP BY ALL ORDER BY ALL")
    train = [("train", epoch, 4 * epoch - 4 + step, 4) for epoch in (1, 2) for step in (1, 2, 3, 4)]
    assert rows.fetchall() == [*train, ("val", 1, 4, 16), ("val", 2, 8, 16)]
    assert sorted(path.name for path in Path("reports").iterdir()) == [
        "night_000000004.json",
        "night_000000008.json",
    ]
    reports = [json.loads(path.read_text())["runs"] for path in sorted(Path("reports").iterdir())]
    counts = [{split["split"]: split["overall"]["count"] for split in report} for report in reports]
    assert counts == [{"train": 16, "val": 16}, {"train": 32, "val": 32}]


def test_reports_come_at_any_event(folder):
    """Every third iteration."""
    job = Job(Tracked("dice", records="r"), reports="reports", report_at=Events.ITERATION_COMPLETED(every=3))
    job.run(2)
    assert sorted(path.name for path in Path("reports").iterdir()) == ["train_000000003.json", "train_000000006.json"]


def test_a_search_of_the_learning_rate_counts_nowhere_if_paused(folder):
    """FastaiLRFinder runs the trainer: in `context.paused()` it leaves no rows and no means."""
    job = Job(Tracked("dice", records="records"), reports="reports")
    finder = FastaiLRFinder()
    with (
        job.loss.context.paused(),
        finder.attach(job.trainer, {"model": job.model, "optimizer": job.optimizer}, num_iter=4) as search,
    ):
        search.run(loader())
    job.run()
    assert aggregate_by_dataset("records", together=True)["overall"]["count"] == 32
    assert job.trainer.state.metrics.keys() == {"train/total_loss", "train/loss_dice"}


def test_the_least_validation_loss_is_kept_and_stops_early(folder):
    """Checkpoint and EarlyStopping by the negative of val/total_loss: the first of two worsening epochs."""
    job = Job(Tracked(MIX), lr=0.1)
    least = Checkpoint.get_default_score_fn("val/total_loss", -1.0)
    best = Checkpoint({"model": job.model}, "kept", score_function=least, score_name="val_total_loss", n_saved=1)
    job.evaluator.add_event_handler(Events.COMPLETED, best)
    stopping = EarlyStopping(patience=1, score_function=least, trainer=job.trainer)
    job.evaluator.add_event_handler(Events.COMPLETED, stopping)
    values = []
    job.evaluator.add_event_handler(
        Events.COMPLETED, lambda: values.append(job.evaluator.state.metrics["val/total_loss"])
    )
    job.trainer.add_event_handler(Events.EPOCH_STARTED(once=3), lambda: job.optimizer.param_groups[0].update(lr=-1.0))
    job.run(6)
    assert job.trainer.state.epoch == 3
    assert values[1] < values[0] < values[2]
    (path,) = Path("kept").iterdir()
    assert float(re.search(r"=-([\d.]+)\.pt", path.name)[1]) == pytest.approx(values[1], abs=1e-4)


def test_a_resumed_training_has_each_row_once_and_the_loss_of_the_checkpoint(folder):
    """Broken off in the third epoch, and resumed from the second: 16 rows of each epoch, and its learned weights."""
    night = {"directory": "records", "run": "night"}
    job = Job(Tracked(LEARNED, records=night))
    objects = {"model": job.model, "optimizer": job.optimizer, "trainer": job.trainer, "loss": job.handler}
    saver = Checkpoint(objects, "saved", n_saved=1)
    job.trainer.add_event_handler(Events.EPOCH_COMPLETED, saver)
    job.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=10), job.trainer.terminate)
    job.run(4)
    saved = torch.load(saver.last_checkpoint, weights_only=True)
    assert saved["trainer"]["iteration"] == 8
    again = Job(Tracked(saved["loss"]["config"], records=night))
    objects = {"model": again.model, "optimizer": again.optimizer, "trainer": again.trainer, "loss": again.handler}
    Checkpoint.load_objects(objects, saved)
    assert again.loss.log_variances.tolist() == saved["loss"]["loss"]["log_variances"].tolist() != [0.0, 0.0]
    again.trainer.run(again.data)
    assert again.trainer.state.iteration == 16
    assert aggregate_by_dataset("records", together=True)["overall"]["count"] == 4 * 2 * 16
    whole = Job(Tracked(LEARNED)).run(4)
    assert again.trainer.state.metrics == {
        name: pytest.approx(value) for name, value in whole.trainer.state.metrics.items()
    }


@pytest.mark.parametrize("skip", [False, True])
def test_a_terminated_run_writes_its_records(skip, folder):
    """Also where it skips Events.COMPLETED."""
    job = Job(Tracked("dice", records="records"))
    job.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: job.trainer.terminate(skip))
    job.run()
    assert aggregate_by_dataset("records", together=True)["overall"]["count"] == 8


def test_a_checkpoint_of_a_loss_from_its_constructor_has_no_config():
    """Its state is there."""
    module = lossreg.losses.get("dice")()
    state = LossHandler(Tracked(module)).state_dict()
    assert state == {"config": None, "loss": {}}


def test_the_rows_up_to_a_checkpoint_are_on_the_disk(folder):
    """Within an epoch: a process that is killed afterwards loses none of them."""
    job = Job(Tracked("dice", records="records"))
    counts = []

    def save(engine):
        job.handler.state_dict()
        counts.append(aggregate_by_dataset("records", together=True)["overall"]["count"])

    job.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), save)
    job.run()
    assert counts == [12]


def test_a_learned_loss_is_trained_or_refused():
    """The message names the remedy, and following it trains the weights."""
    loss, model = Tracked(LEARNED), net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def run(trains, **options):
        engine = create_supervised_trainer(model, trains, loss, prepare_batch=pair)
        LossHandler(loss, **options).attach(engine)
        engine.run(loader())

    with pytest.raises(lossreg.InputError, match=r"log_variances.*\[\*model.parameters\(\), \*loss.parameters\(\)\]"):
        run(optimizer, optimizer=optimizer)
    with pytest.raises(lossreg.InputError, match=r"LossHandler\(\.\.\., optimizer=optimizer\)"):
        run(optimizer)
    assert loss.log_variances.tolist() == [0.0, 0.0]
    optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], 0.1)
    run(optimizer, optimizer=optimizer)
    assert 0.0 not in loss.log_variances.tolist()


def test_a_schedule_has_the_step_of_the_trainer():
    """Dice fades in over 4 steps; the validation has the step of its trainer."""
    job = Job(Tracked(FADING), lr=0.0)
    weights = []
    job.trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda: weights.append((job.loss.last.total / job.loss.last.components["dice"]).item()),
    )
    job.run()
    assert weights == pytest.approx([0.25, 0.5, 0.75, 1.0])
    metrics = job.evaluator.state.metrics
    assert metrics["val/total_loss"] == pytest.approx(metrics["val/loss_dice"])


def test_outputs_of_models_and_evaluators_are_adapted():
    """A model that returns a dict, by `adapt`; an evaluator with an output of its own, by `output_transform`."""

    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, image):
            return {"logits": self.net(image)}

    job = Job(Tracked(MIX, adapt={"key": "logits"}), lr=0.0, model=Wrapped()).run()
    assert job.evaluator.state.metrics == named("val", plain_loop().means)
    named_output = {"output_transform": lambda x, y, y_pred: {"y_pred": y_pred, "y": y}}
    evaluator = create_supervised_evaluator(job.model, prepare_batch=pair, **named_output)
    job.handler.attach_evaluator(evaluator)
    evaluator.run(loader())
    assert evaluator.state.metrics == named("val", plain_loop().means)
    alone = create_supervised_evaluator(
        job.model, prepare_batch=pair, output_transform=lambda x, y, y_pred: {"out": y_pred, "mask": y}
    )
    job.handler.attach_evaluator(alone)
    with pytest.raises(lossreg.InputError, match="output_transform=lambda"):
        alone.run(loader())
    job.handler.output_transform = lambda output: (output["out"], output["mask"])
    alone.state.max_epochs = None
    alone.run(loader())
    assert alone.state.metrics == named("val", plain_loop().means)


def test_mixed_precision_trains_and_validates():
    """In bfloat16, by a step under autocast and outputs of the evaluator: the metrics are near those of float32."""
    loss, model = Tracked(MIX), net()
    optimizer = torch.optim.SGD(model.parameters(), 0.0)

    def step(engine, batch):
        with torch.autocast("cpu", torch.bfloat16):
            total = loss(model(batch["image"]), batch["mask"])
        total.backward()
        optimizer.step()

    def evaluate(engine, batch):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return model(batch["image"]), batch["mask"]

    engine, evaluator = Engine(step), Engine(evaluate)
    LossHandler(loss, batch_keys=IDS).attach(engine, evaluator)
    engine.run(loader())
    evaluator.run(loader())
    means = plain_loop().means
    for split, state in (("train", engine.state), ("val", evaluator.state)):
        expected = {f"{split}/{name}": pytest.approx(value, rel=0.01) for name, value in means.items()}
        assert state.metrics == expected
    assert loss.last.total.dtype == torch.float32


def test_an_evaluator_without_a_trainer_counts_too(folder):
    """A test after the training: its split is "test", and its rows have no step."""
    loss = Tracked(MIX, records="records")
    evaluator = create_supervised_evaluator(net(), prepare_batch=pair)
    LossHandler(loss, batch_keys=IDS).attach_evaluator(evaluator, split="test")
    evaluator.run(loader())
    assert evaluator.state.metrics == named("test", plain_loop().means)
    loss.flush()
    assert aggregate_by_dataset("records", together=True)["overall"]["count"] == 16


def test_an_evaluation_before_the_step_of_an_iteration_leaves_the_batch_as_it_is(folder):
    """Its training batch is one of training, with its own examples, also where the evaluator has smaller batches."""
    job = Job(Tracked(MIX, records="records"), lr=0.0)
    job.trainer.add_event_handler(Events.ITERATION_STARTED, lambda: job.evaluator.run(loader(6)))
    job.run()
    assert job.trainer.state.metrics == named("train", plain_loop().means)
    import duckdb

    rows = duckdb.sql("SELECT sample_id FROM 'records/*.parquet' WHERE split = 'train'")
    assert {name for (name,) in rows.fetchall()} == {f"s{n}" for n in range(16)}


def test_an_evaluator_has_not_the_split_of_the_trainer():
    """Its examples would be in the means and the records of training, and the monitor would see them."""
    job = Job(Tracked(MIX))
    with pytest.raises(lossreg.InputError, match="write another name, such as split='train_set'"):
        job.handler.attach_evaluator(create_supervised_evaluator(job.model, prepare_batch=pair), split="train")


def test_attaching_again_changes_nothing():
    """The means count each batch once."""
    job = Job(Tracked(MIX, monitor={"every": 2}), lr=0.0)
    job.handler.attach(job.trainer, job.evaluator)
    job.handler.attach_evaluator(job.evaluator, split="test")
    job.run()
    assert job.trainer.state.metrics == named("train", plain_loop().means)
    assert job.evaluator.state.metrics == named("val", plain_loop().means)


def test_another_loss_is_refused_with_the_remedy():
    """A plain loss has no means to publish."""
    with pytest.raises(lossreg.InputError, match=r"got Dice; write loss = Tracked\(\.\.\.\)"):
        LossHandler(lossreg.build("dice"))


def test_reports_without_records_are_refused_before_the_training():
    """By the remedy."""
    with pytest.raises(lossreg.InputError, match=r"Tracked\(\.\.\., records='runs/7/records'\)"):
        LossHandler(Tracked("dice"), reports="reports")


def two_ranks(folder):
    """Train on two ranks whose samplers pad 9 examples to 10, by MIX and with learned weights."""
    idist.initialize("gloo")
    data = Pictures(9)
    batches = DataLoader(data, batch_size=2, sampler=DistributedSampler(data, shuffle=False))
    records = {"records": f"{folder}/records"}
    found = []
    for loss, lr, options in ((Tracked(MIX), 0.0, {}), (Tracked(LEARNED, **records), 0.1, {"reports": folder})):
        model = torch.nn.parallel.DistributedDataParallel(net())
        job = Job(loss, lr=lr, data=batches, model=model, **options).run(2)
        values = [*model.parameters(), *(value.grad for value in model.parameters()), *loss.parameters()]
        found.append([value.double().sum().item() for value in values])
        found.append([job.trainer.state.metrics, job.evaluator.state.metrics])
    idist.finalize()
    return [*found, loss.log_variances.tolist()]


def test_two_ranks_agree(folder):
    """On parameters, gradients, learned weights and means, which are those of one process; padding has no row."""
    one, other = spawn(two_ranks, folder)
    assert one == other
    means = plain_loop(loader(9)).means
    assert one[1] == [named("train", means), named("val", means)]
    assert 0.0 not in one[-1]
    found = aggregate_by_dataset("records", together=True)["overall"]
    assert (found["count"], found["items"]) == (2 * 2 * 9, 9)
    assert sorted(path.name for path in Path().glob("*.json")) == ["train_000000003.json", "train_000000006.json"]
    splits = json.loads(Path("train_000000006.json").read_text())["runs"]
    assert [(split["split"], split["overall"]["count"]) for split in splits] == [("train", 18), ("val", 18)]


def test_the_page(folder, monkeypatch):
    """Its blocks run, and print what they show."""
    run_blocks(PAGE, folder, monkeypatch)
