"""lossreg in MONAI's engines: LossHandler with SupervisedTrainer and SupervisedEvaluator."""

import operator
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import lossreg
from lossreg.integrations import Tracked
from lossreg.records import aggregate_by_dataset

from ..pages import run_blocks
from .data import MIX, Pictures, loader, net, plain_loop, trainer
from .ranks import spawn

trainer("ignite")
monai = trainer("monai")
from ignite.engine import Events  # noqa: E402
from monai.data import DataLoader as MonaiLoader  # noqa: E402
from monai.data import Dataset, DistributedSampler, MetaTensor  # noqa: E402
from monai.engines import EnsembleEvaluator, SupervisedEvaluator, SupervisedTrainer  # noqa: E402
from monai.handlers import (  # noqa: E402
    CheckpointLoader,
    CheckpointSaver,
    StatsHandler,
    TensorBoardStatsHandler,
    ValidationHandler,
)
from monai.inferers import SlidingWindowInferer  # noqa: E402
from monai.transforms import Activationsd, AsDiscreted, Compose  # noqa: E402

from lossreg.integrations.monai import LossHandler, class_indices  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs/trainers/monai.md"
IDS = {"sample_ids": "id"}
LEARNED = {"name": "uncertainty_weighting", "params": {"terms": ["focal", "dice"]}}
FADING = {"name": "scheduled", "params": {"terms": [{"name": "dice", "points": [[0, 0.0], [4, 1.0]]}]}}
CPU = torch.device("cpu")


def pair(batch, device=None, non_blocking=False, **_):
    """Return image and mask of a batch of Pictures, as MONAI's prepare_batch."""
    return batch["image"], batch["mask"]


class Job:
    """A training with validation after each epoch, whose key metric is the loss."""

    def __init__(
        self, loss, *, lr=0.1, data=None, epochs=1, model=None, train=(), val=(), prepare=pair, engine=None, **options
    ):
        self.loss, data = loss, loader() if data is None else data
        self.model = net() if model is None else model
        self.optimizer = torch.optim.SGD([*self.model.parameters(), *loss.parameters()], lr)
        self.handler = LossHandler(loss, **{"batch_keys": IDS} | options)
        self.evaluator = SupervisedEvaluator(
            CPU,
            data,
            self.model,
            prepare_batch=prepare,
            key_val_metric={"val/total_loss": self.handler},
            val_handlers=[*val],
            postprocessing=Compose([Activationsd("pred", sigmoid=True), AsDiscreted("pred", threshold=0.5)]),
        )
        self.trainer = SupervisedTrainer(
            CPU,
            epochs,
            data,
            self.model,
            self.optimizer,
            loss,
            prepare_batch=prepare,
            train_handlers=[ValidationHandler(1, self.evaluator), *train, self.handler],
            **engine or {},
        )

    def run(self):
        self.trainer.run()
        return self


def named(split, means):
    return {f"{split}/{name}": pytest.approx(value, abs=1e-6) for name, value in means.items()}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_trains_as_a_plain_loop(accumulate):
    """Parameters, gradients and means; decollated outputs and thresholded predictions do not matter."""
    job = Job(Tracked(MIX), epochs=2, engine={"accumulation_steps": accumulate}).run()
    plain = plain_loop(lr=0.1, accumulate=accumulate, epochs=2)
    for mine, theirs, gradient in zip(job.model.parameters(), plain.model.parameters(), plain.gradients, strict=True):
        torch.testing.assert_close(mine, theirs)
        torch.testing.assert_close(mine.grad, gradient)
    steps = 4 // accumulate
    second = {name: sum(step[name] for step in plain.steps[-steps:]) / steps for name in plain.means}
    assert job.trainer.state.metrics == named("train", second)
    with torch.no_grad():
        final = lossreg.build(MIX)(job.model(Pictures().images), Pictures().masks).item()
    assert job.evaluator.state.metrics["val/total_loss"] == pytest.approx(final)


def test_means_weigh_examples():
    """Of 10 examples in batches of 4, 4 and 2, in training and validation."""
    job = Job(Tracked(MIX), lr=0.0, data=loader(10)).run()
    means = plain_loop(loader(10)).means
    assert job.trainer.state.metrics == named("train", means)
    assert job.evaluator.state.metrics == named("val", means)


def test_the_loss_is_computed_once_for_each_batch(monkeypatch):
    """Four batches of training and four of validation."""
    calls = []
    loss = Tracked("dice")
    evaluate = loss.evaluate
    monkeypatch.setattr(loss, "evaluate", lambda *inputs: calls.append(inputs) or evaluate(*inputs))
    Job(loss).run()
    assert len(calls) == 8


def test_statistics_see_the_metrics_in_any_order(caplog):
    """StatsHandler and TensorBoardStatsHandler before the handler; `latest` for each batch."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    caplog.set_level("INFO")
    loss = Tracked(MIX)
    stats = StatsHandler(name=None, output_transform=lambda _: loss.latest())
    board = TensorBoardStatsHandler(log_dir="board", output_transform=lambda _: None)
    Job(loss, lr=0.0, train=[stats, board], val=[StatsHandler(name=None, iteration_log=False)]).run()
    board.close()
    lines = [record.getMessage() for record in caplog.records]
    (train,) = [line for line in lines if "Metrics" in line and "train/" in line]
    assert "train/loss_dice: 0.6761" in train
    assert "train/total_loss: 2.7606" in train
    (val,) = [line for line in lines if "Metrics" in line and "val/" in line]
    assert "val/loss_focal: 0.1042" in val
    assert any("Iter: 1/4 -- train/loss_dice:" in line for line in lines)
    scalars = EventAccumulator("board").Reload().Tags()["scalars"]
    assert {"train/total_loss", "train/loss_focal", "train/loss_dice"} <= set(scalars)


@pytest.mark.parametrize("name", ["val/total_loss", "val/loss_dice", "val_loss"])
def test_the_least_key_metric_is_the_best(name, folder):
    """The second of three epochs; the saver keeps it by the negative sign."""
    loss, model = Tracked(MIX), net()
    handler = LossHandler(loss)
    saver = CheckpointSaver("kept", {"model": model}, save_key_metric=True, key_metric_negative_sign=True)
    evaluator = SupervisedEvaluator(
        CPU,
        loader(),
        model,
        prepare_batch=pair,
        key_val_metric={name: handler},
        val_handlers=[saver, handler],
    )
    values = []
    for epoch, scale in enumerate([1.0, 0.1, 30.0], 1):
        with torch.no_grad():
            for mine, first in zip(model.parameters(), net().parameters(), strict=True):
                mine.copy_(first * scale)
            oracle = {"val/loss_dice": "dice"}.get(name, MIX)
            values.append(lossreg.build(oracle)(model(Pictures().images), Pictures().masks).item())
        evaluator.run(epoch)
        assert evaluator.state.metrics[name] == pytest.approx(values[-1])
    best = values.index(min(values))
    assert evaluator.state.best_metric_epoch == best + 1
    assert evaluator.state.best_metric == pytest.approx(min(values))
    (path,) = Path("kept").iterdir()
    assert path.name == f"model_key_metric=-{min(values):.4f}.pt"


def test_a_comparison_of_the_users_own_is_kept():
    """And a metric that is not the key changes nothing."""

    def lower(new, best):
        return new < best - 0.1

    handler = LossHandler(Tracked("dice"))
    options = {"prepare_batch": pair, "key_val_metric": {"val/total_loss": handler}}
    assert SupervisedEvaluator(CPU, loader(), net(), metric_cmp_fn=lower, **options).metric_cmp_fn is lower
    assert SupervisedEvaluator(CPU, loader(), net(), **options).metric_cmp_fn is operator.lt


def test_a_key_metric_that_the_loss_does_not_have_is_named():
    """With the names that it has."""
    handler = LossHandler(Tracked(MIX))
    evaluator = SupervisedEvaluator(CPU, loader(), net(), prepare_batch=pair, key_val_metric={"val/loss_dise": handler})
    with pytest.raises(lossreg.InputError, match="no val/loss_dise; did you mean 'val/loss_dice'"):
        evaluator.run()


def test_the_monitor_terminates_the_trainer(caplog):
    """A NaN in the third batch: the event is in the trainer's log, and the second window is the last."""
    data = list(loader(40))
    data[2]["image"][0, 0, 0, 0] = float("nan")
    monitor = {"rules": ["NonFinite"], "every": 2, "action": "stop"}
    job = Job(Tracked("dice", monitor=monitor), data=data, epochs=3).run()
    assert job.trainer.state.iteration == 4
    assert any("NonFinite" in r.getMessage() and r.name == job.trainer.logger.name for r in caplog.records)


def test_records_have_a_row_for_each_example_of_each_epoch(folder):
    """In both splits, with ids of the batch; a report after each epoch, with its validation."""
    Job(Tracked(MIX, records="records"), epochs=2, reports="reports", job="night").run()
    found = aggregate_by_dataset("records", together=True)["overall"]
    assert (found["count"], found["items"]) == (64, 16)
    assert sorted(path.name for path in Path("reports").iterdir()) == ["night_000000004.json", "night_000000008.json"]


def rows(columns):
    import duckdb

    return duckdb.sql(f"SELECT DISTINCT {columns} FROM 'records/*.parquet' ORDER BY ALL").fetchall()


def test_files_of_meta_tensors_are_paths_and_ids(folder):
    """From MONAI's metadata, without batch_keys; ids of the batch are preferred."""
    pictures = Pictures(4)
    data = [
        {
            "image": MetaTensor(pictures.images[n], meta={"filename_or_obj": f"scans/{n}.nii"}),
            "label": MetaTensor(pictures.masks[n].float()),
            "id": f"p{n}",
        }
        for n in range(4)
    ]
    batches = MonaiLoader(Dataset(data), batch_size=2)
    options = {"data": batches, "prepare": monai.engines.default_prepare_batch, "lr": 0.0}
    job = Job(Tracked(MIX, records="records"), batch_keys=None, **options).run()
    assert job.evaluator.state.metrics == named("val", plain_loop(loader(4, 2)).means)
    files = [(f"scans/{n}.nii", f"scans/{n}.nii") for n in range(4)]
    assert rows("path, sample_id") == files
    Job(Tracked(MIX, records="records"), batch_keys=IDS, **options).run()
    assert rows("path, sample_id") == sorted([*files, *((f"scans/{n}.nii", f"p{n}") for n in range(4))])


def test_files_of_the_old_metadata_are_paths(folder):
    """A dict beside the image, as older transforms write it; batches of pairs have theirs in the image."""
    loss = Tracked("dice", records="records")
    handler = LossHandler(loss)
    assert handler._facts({"image": torch.zeros(1), "image_meta_dict": {"filename_or_obj": ["a.nii"]}}) == {
        "path": ["a.nii"],
        "sample_ids": ["a.nii"],
    }
    image = MetaTensor(torch.zeros(1, 1, 4, 4), meta={"filename_or_obj": ["b.nii"]})
    assert handler._facts([image, torch.zeros(1)])["path"] == ["b.nii"]
    assert handler._facts([torch.zeros(1), torch.zeros(1)]) == {}
    named_by_the_user = LossHandler(loss, batch_keys={"path": 1})
    assert named_by_the_user._facts([image, ["c.nii"]]) == {"path": ["c.nii"], "sample_ids": ["c.nii"]}
    assert handler._facts(torch.zeros(1)) == {}


def test_a_validation_before_the_training_is_step_0(folder):
    """As ValidationHandler(exec_at_start=True) makes it: its rows are apart from those of later ones."""
    loss, model = Tracked("dice", records="records"), net()
    handler = LossHandler(loss, batch_keys=IDS)
    evaluator = SupervisedEvaluator(CPU, loader(), model, prepare_batch=pair, val_handlers=[handler])
    engine = SupervisedTrainer(
        CPU,
        1,
        loader(),
        model,
        torch.optim.SGD(model.parameters(), 0.1),
        loss,
        prepare_batch=pair,
        train_handlers=[handler, ValidationHandler(1, evaluator, exec_at_start=True)],
    )
    engine.run()
    assert rows("split, epoch, step") == [*(("train", 1, step) for step in (1, 2, 3, 4)), ("val", 0, 0), ("val", 1, 4)]


def test_a_resumed_training_has_each_row_once_and_the_loss_of_the_checkpoint(folder):
    """Broken off in the third epoch, and resumed by CheckpointLoader from the second."""

    def job(loss, train=()):
        made = Job(loss, epochs=4)
        made.objects = {
            "model": made.model,
            "optimizer": made.optimizer,
            "trainer": made.trainer,
            "loss": made.handler,
        }
        return made

    night = {"directory": "records", "run": "night"}
    first = job(Tracked(LEARNED, records=night))
    CheckpointSaver("saved", first.objects, save_interval=1, n_saved=1).attach(first.trainer)
    first.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=10), first.trainer.terminate)
    first.run()
    (path,) = Path("saved").iterdir()
    saved = torch.load(path, weights_only=True)
    assert saved["trainer"]["iteration"] == 8
    again = job(Tracked(saved["loss"]["config"], records=night))
    CheckpointLoader(str(path), again.objects).attach(again.trainer)
    again.run()
    assert again.trainer.state.iteration == 16
    assert aggregate_by_dataset("records", together=True)["overall"]["count"] == 4 * 2 * 16
    whole = Job(Tracked(LEARNED), epochs=4).run()
    expected = {name: pytest.approx(value) for name, value in whole.trainer.state.metrics.items()}
    assert again.trainer.state.metrics == expected
    assert again.loss.log_variances.tolist() == pytest.approx(whole.loss.log_variances.tolist())


def test_a_learned_loss_is_trained_or_refused():
    """The optimiser is the trainer's."""
    trained = Job(Tracked(LEARNED)).run()
    assert 0.0 not in trained.loss.log_variances.tolist()
    lacking = Job(Tracked(LEARNED))
    lacking.trainer.optimizer = torch.optim.SGD(lacking.model.parameters(), 0.1)
    with pytest.raises(lossreg.InputError, match=r"log_variances.*\[\*model.parameters\(\), \*loss.parameters\(\)\]"):
        lacking.run()


def test_a_schedule_has_the_step_of_the_trainer():
    """The factor is 1 after 4 steps, in the validation as well."""
    metrics = Job(Tracked(FADING)).run().evaluator.state.metrics
    assert metrics["val/total_loss"] == pytest.approx(metrics["val/loss_dice"])


def test_labels_of_one_channel_are_class_indices():
    """As to_onehot_y=True of MONAI's own loss, whose value it is; another label is refused."""
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    label = torch.arange(128).reshape(2, 1, 8, 8).remainder(3).float()
    theirs = monai.losses.DiceLoss(to_onehot_y=True, softmax=True, smooth_nr=1.0, smooth_dr=1.0)(logits, label)
    mine = Tracked("dice", adapt=class_indices)(logits, label)
    torch.testing.assert_close(mine, theirs)
    with pytest.raises(lossreg.ShapeError, match=r"labels \(N, 1, \*\), got \(2, 3, 8, 8\); leave out adapt="):
        Tracked("dice", adapt=class_indices)(logits, logits)


def test_windows_of_an_inferer_are_one_prediction():
    """SlidingWindowInferer in the validation: the loss is of the whole picture."""
    model = torch.nn.Conv2d(3, 1, 1)
    handler = LossHandler(Tracked("dice"))
    inferer = SlidingWindowInferer(roi_size=(8, 8), overlap=0.0)
    evaluator = SupervisedEvaluator(CPU, loader(), model, prepare_batch=pair, inferer=inferer, val_handlers=[handler])
    evaluator.run()
    with torch.no_grad():
        expected = lossreg.build("dice")(model(Pictures().images), Pictures().masks).item()
    assert evaluator.state.metrics["val/total_loss"] == pytest.approx(expected)


def test_an_evaluator_with_other_outputs_has_an_output_transform():
    """An ensemble has no pred: the message names the remedy."""

    def ensemble(**options):
        handler = LossHandler(Tracked(MIX), **options)
        evaluator = EnsembleEvaluator(
            CPU, loader(), [net(), net()], ["one", "two"], prepare_batch=pair, val_handlers=[handler]
        )
        evaluator.run()
        return evaluator.state.metrics

    with pytest.raises(lossreg.InputError, match=r"no pred and label; choose .* output_transform=lambda"):
        ensemble()
    mean = ensemble(output_transform=lambda output: ((output["one"] + output["two"]) / 2, output["label"]))
    assert mean == named("val", plain_loop().means)


def test_a_trainer_without_one_optimizer_is_given_it():
    """Such as a GanTrainer: several optimisers are searched for the weights of the loss."""
    loss = Tracked(LEARNED)
    optimizers = [torch.optim.SGD(net().parameters(), 0.1), torch.optim.SGD(loss.parameters(), 0.1)]
    for job in (known := Job(loss, optimizer=optimizers), unknown := Job(Tracked(LEARNED))):
        job.trainer.optimizer = None
    known.trainer.fire_event(Events.STARTED)
    with pytest.raises(lossreg.InputError, match=r"LossHandler\(\.\.\., optimizer=optimizer\)"):
        unknown.trainer.fire_event(Events.STARTED)


def two_ranks(folder):
    """Train on two ranks whose samplers pad 9 examples to 10, or do not."""
    torch.distributed.init_process_group("gloo")
    found = []
    for even in (True, False):
        data = Pictures(9)
        batches = DataLoader(data, batch_size=1, sampler=DistributedSampler(data, even, shuffle=False))
        records = f"{folder}/{even}"
        if even:
            model = torch.nn.parallel.DistributedDataParallel(net())
            job = Job(Tracked(LEARNED, records=records), data=batches, model=model, epochs=2).run()
            found += [job.loss.log_variances.tolist(), job.trainer.state.metrics, job.evaluator.state.metrics]
        loss = Tracked(MIX, records=f"{records}-val")
        handler = LossHandler(loss, batch_keys=IDS)
        evaluator = SupervisedEvaluator(CPU, batches, net(), prepare_batch=pair, val_handlers=[handler])
        evaluator.run()
        found.append(evaluator.state.metrics)
        loss.flush()
    return found


def test_two_ranks_agree(folder):
    """On learned weights and means, which are those of one process, also where one has a batch more."""
    one, other = spawn(two_ranks, folder)
    assert one == other
    assert 0.0 not in one[0]
    means = plain_loop(loader(9)).means
    assert one[3] == one[4] == named("val", means)
    found = aggregate_by_dataset("True", together=True)["overall"]
    assert (found["count"], found["items"]) == (2 * 2 * 9, 9)


def test_the_page(folder, monkeypatch):
    """Its blocks run, and print what they show."""
    run_blocks(PAGE, folder, monkeypatch)
