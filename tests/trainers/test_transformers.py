"""Losses in the Trainer of transformers, held against a plain loop."""

import json
import os
from pathlib import Path

import duckdb
import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset

import lossreg
from lossreg.errors import InputError
from lossreg.integrations import Tracked
from lossreg.records import aggregate_by_dataset

from .data import MIX, Pictures, define_torchvision_operators, mix, net, plain_loop, trainer
from .ranks import spawn

define_torchvision_operators()
transformers = trainer("transformers")

from transformers import Trainer, TrainerCallback, TrainingArguments  # noqa: E402

from lossreg.integrations.transformers import attach  # noqa: E402
from lossreg.integrations.transformers.outputs import logits_of  # noqa: E402

IDS = {"sample_ids": "id"}
PAGE = Path(__file__).parents[2] / "docs" / "trainers" / "transformers.md"
LEARNED = {"name": "uncertainty_weighting", "params": {"terms": ["focal", "dice"]}}
PARTS = ("total_loss", "loss_focal", "loss_dice")


class Model(nn.Module):
    """The shared net, as a model of transformers that knows no labels."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, pixel_values):
        return {"logits": self.net(pixel_values)}


class Data(Pictures):
    """The shared pictures, under the names of transformers."""

    def __getitem__(self, index):
        item = super().__getitem__(index)
        return {"pixel_values": item["image"], "labels": item["mask"], "id": item["id"]}


def settings(**options):
    """Return TrainingArguments for two epochs in order, by plain SGD on the CPU, which log each step."""
    defaults = {
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "num_train_epochs": 1,
        "learning_rate": 0.1,
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0,
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return TrainingArguments("out", **defaults | options)


def make(loss=MIX, *, cls=Trainer, number=16, model=None, attached=None, tracked=None, **options):
    """Return an attached Trainer on the shared pictures."""
    loss = loss if isinstance(loss, Tracked) else Tracked(loss, **(tracked or {}))
    data = {"train_dataset": Data(number), "eval_dataset": Data(number)}
    return attach(cls(model or Model(), settings(**options), **data), loss, **(attached or {}))


def logged(trainer, key="loss"):
    """Return the values of a key in the log of the training."""
    return [row[key] for row in trainer.state.log_history if key in row]


def batches(number, size):
    """Return the batches of a plain loop over the pictures."""
    data = Pictures(number)
    return [
        {"image": data.images[first : first + size], "mask": data.masks[first : first + size]}
        for first in range(0, number, size)
    ]


def rows(folder, condition="true"):
    """Return sample, split, step, epoch, dataset and loss of all rows as they were written."""
    query = f"SELECT sample_id, split, step, epoch, dataset, loss FROM '{folder}/**/*.parquet' WHERE {condition}"
    return duckdb.sql(f"{query} ORDER BY step, sample_id").fetchall()


def norm(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients]).norm().item()


@pytest.mark.parametrize("averaged", [True, False])
@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_loss_and_gradients_are_those_of_the_whole_step(accumulate, averaged):
    """As in plain PyTorch, with eight examples for a step however they are divided."""
    expected = plain_loop(batches(16, 8), lr=0.1)
    trainer = make(
        per_device_train_batch_size=8 // accumulate,
        gradient_accumulation_steps=accumulate,
        average_tokens_across_devices=averaged,
    )
    trainer.train()
    assert logged(trainer) == pytest.approx([step["total_loss"] for step in expected.steps], rel=1e-5)
    assert logged(trainer, "grad_norm")[-1] == pytest.approx(norm(expected.gradients), rel=1e-4)
    for key in PARTS:
        assert logged(trainer, key) == pytest.approx([step[key] for step in expected.steps], rel=1e-5)
    for value, other in zip(trainer.model.parameters(), expected.model.parameters(), strict=True):
        torch.testing.assert_close(value, other)


def test_examples_of_a_smaller_micro_batch_count_as_others():
    """Ten examples in micro-batches of 4, 4 and 2 are one step, whose loss is the mean over the ten."""
    expected = plain_loop(batches(10, 10), lr=0.1)
    trainer = make(number=10, per_device_train_batch_size=4, gradient_accumulation_steps=3)
    trainer.train()
    assert logged(trainer) == pytest.approx([expected.means["total_loss"]], rel=1e-5)
    assert logged(trainer, "grad_norm") == pytest.approx([norm(expected.gradients)], rel=1e-4)


class Sums(nn.BCEWithLogitsLoss):
    """A loss of torch that takes masks."""

    def forward(self, input, target):
        return super().forward(input, target.float())


def sums(size):
    """Return the sum over each batch of the pictures, and the norm of its gradients."""
    found = []
    for batch in batches(16, size):
        model = net()
        loss = nn.functional.binary_cross_entropy_with_logits(
            model(batch["image"]), batch["mask"].float(), reduction="sum"
        )
        loss.backward()
        found.append((loss.item(), norm([value.grad for value in model.parameters()])))
    return list(zip(*found, strict=True))


class Stream(IterableDataset):
    """The first eight pictures, as a stream."""

    def __iter__(self):
        return (Data(8)[number] for number in range(8))

    def __len__(self):
        return 8


def two_processes(folder):
    """Train in several ways, and return the logs, the evaluations and the parameters."""
    torch.set_num_threads(1)
    results = {}
    for accumulate in (1, 2):
        for averaged in (True, False):
            trainer = make(
                per_device_train_batch_size=4 // accumulate,
                gradient_accumulation_steps=accumulate,
                average_tokens_across_devices=averaged,
            )
            trainer.train()
            results[f"{accumulate} {averaged}"] = shown(trainer)
    # 18 examples fill the last batches of four with the first examples.
    trainer = make(
        number=18,
        learning_rate=0,
        tracked={"records": f"{folder}/records"},
        attached={"batch_keys": IDS, "reports": f"{folder}/reports", "job": "night"},
        gradient_accumulation_steps=3,
        save_strategy="epoch",
    )
    trainer.train()
    results["padded"] = shown(trainer)
    trainer = make(LEARNED, gradient_accumulation_steps=2)
    trainer.train()
    results["learned"] = trainer.compute_loss_func.__self__.tracked.loss.log_variances.tolist()
    trainer = make(tracked={"monitor": {"rules": ["NonFinite"], "action": "stop", "every": 1}}, number=32)
    if trainer.accelerator.process_index == 1:
        trainer.train_dataset.images[16:] = float("nan")
    trainer.train()
    results["stopped at"] = trainer.state.global_step
    trainer = make(Tracked(Sums(reduction="sum")), learning_rate=0, num_train_epochs=1)
    trainer.train()
    results["sums"] = [logged(trainer), logged(trainer, "grad_norm")]
    with pytest.raises(InputError) as refused:
        attach(Trainer(Model(), settings(max_steps=1), train_dataset=Stream()), Tracked(MIX), batch_keys=IDS)
    results["refused"] = str(refused.value)
    arguments = settings(max_steps=1, accelerator_config={"dispatch_batches": False})
    loss = Tracked(MIX, records=f"{folder}/stream")
    attach(Trainer(Model(), arguments, train_dataset=Stream()), loss, batch_keys=IDS).train()
    loss.flush()
    return results


def shown(trainer):
    """Return what a training gave."""
    return {
        "log": [row for row in trainer.state.log_history if "loss" in row],
        "evaluated": trainer.evaluate(),
        "parameters": [value.tolist() for value in trainer.model.parameters()],
    }


def test_two_processes_train_as_one(folder):
    """Loss, gradients, parameters and evaluation; records and reports without padding; a loss that learns; a stop."""
    expected = plain_loop(batches(16, 8), lr=0.1)
    after = mix(expected.model(Pictures().images), Pictures().masks)
    first, second = spawn(two_processes, folder, seconds=300)
    for result in (first, second):
        for way in ("1 True", "1 False", "2 True", "2 False"):
            log, evaluated = result[way]["log"], result[way]["evaluated"]
            for key in ("loss", *PARTS):
                wanted = [step[key if key in PARTS else "total_loss"] for step in expected.steps]
                assert [row[key] for row in log] == pytest.approx(wanted, rel=1e-5), way
            assert log[-1]["grad_norm"] == pytest.approx(norm(expected.gradients), rel=1e-4)
            assert evaluated["eval_loss"] == pytest.approx(after["total_loss"].mean().item(), rel=1e-5)
            for key in PARTS:
                assert evaluated[f"eval_{key}"] == pytest.approx(after[key].mean().item(), rel=1e-5)
            for value, other in zip(result[way]["parameters"], expected.model.parameters(), strict=True):
                torch.testing.assert_close(torch.tensor(value), other)
        means = plain_loop(batches(18, 6)).means
        for key in PARTS:
            assert result["padded"]["log"][-1][key] == pytest.approx(means[key], rel=1e-5)
            assert result["padded"]["evaluated"][f"eval_{key}"] == pytest.approx(means[key], rel=1e-5)
        assert result["stopped at"] == 3
        assert result["sums"] == [pytest.approx(each, rel=1e-5) for each in sums(8)]
        assert "write TrainingArguments(..., accelerator_config={'dispatch_batches': False})" in result["refused"]
    assert sorted(row[0] for row in rows(folder / "stream")) == [f"s{number}" for number in range(8)]
    names = sorted(f"s{number}" for number in range(18))
    assert sorted(row[0] for row in rows(folder / "records", "split = 'train'")) == names
    assert sorted(row[0] for row in rows(folder / "records", "split = 'val'")) == names
    assert json.loads((folder / "reports/night_000000001.json").read_text())["overall"]["count"] == 18
    assert first["learned"] == second["learned"] != [0.0, 0.0]


class Reporter(TrainerCallback):
    """A reporting callback, which comes before those of attach."""

    def __init__(self):
        self.seen = []

    def on_log(self, args, state, control, logs=None, **options):
        self.seen.append(dict(logs))


def test_the_parts_reach_the_log_the_reporters_and_the_metrics(folder):
    """Uneven last batches count by their examples. TensorBoard shows them under train/ and eval/."""
    expected = plain_loop(batches(10, 4)).means
    reporter = Reporter()
    data = Data(10)
    arguments = settings(learning_rate=0, logging_steps=3, eval_strategy="epoch", report_to=["tensorboard"])
    trainer = Trainer(Model(), arguments, train_dataset=data, eval_dataset=data, callbacks=[reporter])
    assert attach(trainer, Tracked(MIX)) is trainer
    trainer.train()
    row = next(row for row in reporter.seen if "loss" in row)
    for key in PARTS:
        assert logged(trainer, key) == [row[key]] == pytest.approx([expected[key]], rel=1e-5)
        assert logged(trainer, f"eval_{key}") == pytest.approx([expected[key]], rel=1e-5)
    assert trainer.predict(data).metrics["test_loss_dice"] == pytest.approx(expected["loss_dice"], rel=1e-5)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next(folder.rglob("events.*")).parent)).Reload()
    shown = events.Tags()["scalars"]
    assert {"train/total_loss", "train/loss_dice", "eval/total_loss", "eval/loss_dice"} <= set(shown)


def test_the_best_checkpoint_is_the_one_with_the_least_loss():
    """By the total or by a part of it, which the metrics of an evaluation hold."""
    for metric in ("eval_total_loss", "loss_focal"):
        arguments = settings(
            num_train_epochs=3,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=True,
            metric_for_best_model=metric,
            greater_is_better=False,
        )
        model, data = Model(), Data()
        worse = torch.optim.SGD(model.parameters(), lr=0.01, maximize=True)
        trainer = Trainer(model, arguments, train_dataset=data, eval_dataset=data, optimizers=(worse, None))
        attach(trainer, Tracked(MIX)).train()
        values = logged(trainer, f"eval_{metric.removeprefix('eval_')}")
        assert values[0] < values[1] < values[2]
        assert trainer.state.best_metric == values[0]
        assert trainer.state.best_model_checkpoint.endswith("checkpoint-4")


def test_the_greatest_loss_is_not_taken_for_the_best():
    """transformers takes the greatest of a metric whose name does not end in loss. The advice is followed above."""
    with pytest.raises(InputError, match=r"the best loss_dice is the least: .* greater_is_better=False"):
        make(metric_for_best_model="eval_loss_dice")
    make(metric_for_best_model="eval_total_loss")
    named = settings(metric_for_best_model="eval_day_loss_dice")
    with pytest.raises(InputError, match=r"the best loss_dice is the least"):
        attach(Trainer(Model(), named, train_dataset=Data(), eval_dataset={"day": Data(4)}), Tracked(MIX))


def test_several_evaluations_have_their_names(folder):
    """In the metrics and as the dataset of the records."""
    trainer = make(tracked={"records": "records"}, attached={"batch_keys": IDS})
    trainer.evaluate({"day": Data(4), "night": Data(6)})
    metrics = trainer.state.log_history[-1]
    assert metrics["eval_night_total_loss"] == pytest.approx(plain_loop(batches(6, 6)).means["total_loss"], rel=1e-5)
    assert [row[4] for row in rows("records")].count("night") == 6
    assert {row[1] for row in rows("records")} == {"val"}
    trainer.train()
    assert {row[4] for row in rows("records", "split = 'train'")} == {None}


class Within(TrainerCallback):
    """An evaluation of the training's data after its second step."""

    def on_step_end(self, args, state, control, **_):
        if state.global_step == 2:
            self.metrics = self.trainer.evaluate(Data(), metric_key_prefix="train")


def test_an_evaluation_of_the_training_data_is_no_training(folder):
    """Neither in the means of the log, nor in the rows, nor for the monitor."""
    options = {"learning_rate": 0, "logging_steps": 4, "num_train_epochs": 1}
    monitor = {"rules": ["NonFinite"], "every": 1}
    trainer = make(tracked={"records": "records", "monitor": monitor}, attached={"batch_keys": IDS}, **options)
    within = Within()
    within.trainer = trainer
    trainer.add_callback(within)
    trainer.train()
    means = plain_loop().means
    assert logged(trainer, "total_loss") == pytest.approx([means["total_loss"]], rel=1e-5)
    assert within.metrics["train_total_loss"] == pytest.approx(means["total_loss"], rel=1e-5)
    assert len(rows("records", "split = 'train'")) == 16
    assert {row[4] for row in rows("records", "split = 'val'")} == {"train"}


class Outputs(Model):
    """A model whose output is a tuple, or a tensor."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, pixel_values):
        return self.form(self.net(pixel_values))


@pytest.mark.parametrize("form", [tuple, list, torch.Tensor])
def test_predictions_hold_each_example(form):
    """The Trainer takes what follows the first of an output, as if that were a loss."""
    model = Outputs((lambda logits: logits) if form is torch.Tensor else (lambda logits: form([logits])))
    trainer = make(model=model)
    predictions = trainer.predict(Data(6)).predictions
    expected = net()(Pictures(6).images)
    torch.testing.assert_close(torch.tensor(predictions), expected.detach())


class Pairs(Pictures):
    """Examples that are tuples."""

    def __getitem__(self, index):
        return tuple(super().__getitem__(index).values())


def stacked(examples):
    return {"pixel_values": torch.stack([e[0] for e in examples]), "labels": torch.stack([e[1] for e in examples])}


def test_examples_may_be_tuples(folder):
    """Which a collator of the user's own takes. A key is then a number."""
    loss = Tracked(MIX, records="records")
    trainer = Trainer(Model(), settings(), train_dataset=Pairs(4), data_collator=stacked)
    attach(trainer, loss, batch_keys={"sample_ids": 2}).train()
    assert [row[0] for row in rows("records")] == ["s0", "s1", "s2", "s3"]


def named(examples):
    batch = stacked([(e["pixel_values"], e["labels"]) for e in examples])
    return batch | {"labels": {"mask": batch["labels"]}}


def test_examples_count_where_labels_are_a_mapping():
    """Ten examples in micro-batches of 4, 4 and 2 are one step, as with labels that are a tensor."""
    loss = Tracked(MIX, adapt=lambda output, labels: (output["logits"], labels["mask"]))
    arguments = settings(gradient_accumulation_steps=3, num_train_epochs=1)
    trainer = Trainer(Model(), arguments, train_dataset=Data(10), data_collator=named)
    attach(trainer, loss).train()
    assert logged(trainer) == pytest.approx([plain_loop(batches(10, 10)).means["total_loss"]], rel=1e-5)


@pytest.mark.parametrize("removes", [True, False])
@pytest.mark.parametrize("form", ["torch", "datasets"])
def test_records_hold_each_example_with_its_step_and_epoch(removes, form):
    """The identifiers never reach the model, also where the Trainer removes unused columns."""
    data = Data(6)
    if form == "datasets":
        datasets = pytest.importorskip("datasets")
        data = datasets.Dataset.from_list([{k: v if k == "id" else v.tolist() for k, v in e.items()} for e in data])
        data = data.with_format("torch")
    loss = Tracked(MIX, records="records")
    arguments = settings(num_train_epochs=2, eval_strategy="epoch", remove_unused_columns=removes)
    trainer = Trainer(Model(), arguments, train_dataset=data, eval_dataset=data)
    attach(trainer, loss, batch_keys=IDS).train()
    trained = rows("records", "split = 'train'")
    assert [row[0] for row in trained] == ["s0", "s1", "s2", "s3", "s4", "s5"] * 2
    assert [row[2:4] for row in trained] == [(0, 0)] * 4 + [(1, 0)] * 2 + [(2, 1)] * 4 + [(3, 1)] * 2
    assert [row[2:4] for row in rows("records", "split = 'val'")] == [(2, 0)] * 6 + [(4, 1)] * 6


@pytest.mark.parametrize("removes", [True, False])
def test_identifiers_may_be_numbers(removes):
    """In tensors, which the default collator would give to the model."""

    class Numbered(Data):
        def __getitem__(self, index):
            return super().__getitem__(index) | {"id": torch.tensor(index)}

    loss = Tracked(MIX, records="records")
    trainer = Trainer(Model(), settings(remove_unused_columns=removes), train_dataset=Numbered(6))
    attach(trainer, loss, batch_keys=IDS).train()
    carried = trainer.data_collator([trainer.train_dataset[1]])["lossreg"]["sample_ids"]
    assert [type(value) for value in carried] == [int]  # a tensor would go to the device
    assert [row[0] for row in rows("records")] == ["0", "1", "2", "3", "4", "5"]


def test_a_wrong_column_is_named():
    """With those that the data have."""
    with pytest.raises(InputError, match="sample_ids at 'name' of the batch, which has the keys pixel_values, labels"):
        make(attached={"batch_keys": {"sample_ids": "name"}}, dataloader_num_workers=0).train()


class Killed(TrainerCallback):
    """An end within the sixth step."""

    def on_step_end(self, args, state, control, **others):
        if state.global_step == 5:
            raise KeyboardInterrupt


def test_the_rows_of_a_checkpoint_are_written_with_it(folder):
    """Those of later steps may be lost, as these are done again."""
    trainer = make(tracked={"records": folder / "records"}, num_train_epochs=2, save_strategy="steps", save_steps=3)
    trainer.add_callback(Killed())
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert {row[2] for row in rows("records")} == {0, 1, 2}


def test_resuming_goes_on_with_the_same_records_and_reports(folder):
    """A step that was done again counts once; the report of a save has all rows so far."""
    tracked = {"records": {"directory": "records", "run": "night"}}
    attached = {"batch_keys": IDS, "reports": "reports", "job": "night"}
    options = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 3, "seed": 5, "data_seed": 5}
    options["train_sampling_strategy"] = "random"
    first = make(tracked=tracked, attached=attached, **options)

    first.add_callback(Killed())
    with pytest.raises(KeyboardInterrupt):
        first.train()
    first.compute_loss_func.__self__.tracked.flush()
    second = make(tracked=tracked, attached=attached, **options)
    second.train(resume_from_checkpoint=True)
    whole = make(**options)
    whole.train()
    for value, other in zip(second.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(value, other)
    assert aggregate_by_dataset("records", together=True)["overall"]["count"] == 32
    assert sorted(os.listdir("reports")) == ["night_000000003.json", "night_000000006.json", "night_000000008.json"]
    assert json.loads(Path("reports/night_000000006.json").read_text())["overall"]["count"] == 24


def test_a_checkpoint_holds_the_loss(folder):
    """Its config builds it again; its parameters go on when the training does."""
    options = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 3, "optim": "adamw_torch"}
    options["lr_scheduler_type"] = "linear"
    whole = Tracked(LEARNED)
    make(whole, **options).train()
    assert lossreg.config_of(lossreg.build(json.loads(Path("out/checkpoint-3/loss.json").read_text()))) == (
        lossreg.config_of(whole)
    )
    other = Tracked(LEARNED)
    make(other, **options).train(resume_from_checkpoint="out/checkpoint-3")
    torch.testing.assert_close(other.loss.log_variances, whole.loss.log_variances)
    assert torch.load("out/checkpoint-8/loss.pt")["log_variances"].tolist() == whole.loss.log_variances.tolist()


def test_the_best_checkpoint_brings_its_loss():
    """What it learned fits the model that the Trainer loads at the end."""
    options = {
        "eval_strategy": "steps",
        "eval_steps": 1,
        "save_strategy": "steps",
        "save_steps": 1,
        "num_train_epochs": 2,
    }
    trainer = make(LEARNED, learning_rate=5, load_best_model_at_end=True, metric_for_best_model="total_loss", **options)
    trainer.train()
    assert trainer.state.best_global_step < trainer.state.global_step
    assert trainer.evaluate()["eval_total_loss"] == pytest.approx(trainer.state.best_metric, rel=1e-5)


def test_a_checkpoint_has_no_state_of_an_earlier_loss():
    """In the same directory."""
    options = {"save_strategy": "epoch", "num_train_epochs": 1}
    make(LEARNED, **options).train()
    make("dice", **options).train()
    assert not Path("out/checkpoint-4/loss.pt").exists()
    assert json.loads(Path("out/checkpoint-4/loss.json").read_text())["name"] == "dice"
    make("dice", **options).train(resume_from_checkpoint=True)


def test_a_loss_that_learns_is_trained():
    """As in a plain loop, where the optimiser has its parameters and the gradients are cleared at each step."""
    loss, model = lossreg.build(LEARNED), net()
    optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], lr=0.1)
    for batch in batches(16, 4):
        optimizer.zero_grad()
        loss(model(batch["image"]), batch["mask"]).backward()
        optimizer.step()
    for accumulate in (1, 2):
        tracked = Tracked(LEARNED)
        make(tracked, per_device_train_batch_size=4 // accumulate, gradient_accumulation_steps=accumulate).train()
        torch.testing.assert_close(tracked.loss.log_variances, loss.log_variances)


def test_a_scheduler_of_the_user_needs_an_optimiser_with_the_parameters_of_the_loss():
    """It would not know a group that is added later."""
    loss, model, data = Tracked(LEARNED), Model(), Data()

    def trained(parameters):
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        trainer = Trainer(model, settings(), train_dataset=data, optimizers=(optimizer, scheduler))
        attach(trainer, loss).train()

    with pytest.raises(InputError, match=r"learns log_variances, which no optimiser has, .* optimizers=\(SGD"):
        trained(model.parameters())
    trained([*model.parameters(), *loss.parameters()])
    assert loss.loss.log_variances.abs().min() > 0


def test_a_schedule_gets_the_step():
    """The number of finished steps of the optimiser, also when gradients accumulate."""
    terms = [{"name": "focal", "points": [[0, 0.0], [4, 4.0]]}, {"name": "dice", "points": [[0, 1.0]]}]
    trainer = make(
        {"name": "scheduled", "params": {"terms": terms}},
        learning_rate=0,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
    )
    trainer.train()
    steps = plain_loop(batches(16, 4)).steps
    expected = [number * step["loss_focal"] + step["loss_dice"] for number, step in enumerate(steps)]
    assert logged(trainer) == pytest.approx(expected, rel=1e-5)


def test_ignored_pixels_leave_the_weight_of_an_example():
    """The Trainer would weigh micro-batches by their labels that are not -100. Here each example counts the same."""
    data = Pictures(8)
    classes = data.masks.squeeze(1).long()
    classes[:2, 2:] = -100
    model = nn.Conv2d(3, 2, 1)

    class Classes(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model

        def forward(self, pixel_values):
            return (self.net(pixel_values),)

    examples = [{"pixel_values": x, "labels": y} for x, y in zip(data.images, classes, strict=True)]
    loss = Tracked({"name": "cross_entropy", "params": {"ignore_index": -100}})
    trainer = Trainer(
        Classes(),
        settings(learning_rate=0, per_device_train_batch_size=2, gradient_accumulation_steps=4),
        train_dataset=examples,
    )
    attach(trainer, loss).train()
    values = nn.functional.cross_entropy(model(data.images), classes, ignore_index=-100, reduction="none")
    counts = (classes != -100).flatten(1).sum(1)
    expected = (values.flatten(1).sum(1) / counts).mean().item()
    assert logged(trainer) == pytest.approx([expected], rel=1e-5)


def test_segformer_needs_no_more_than_a_name():
    """Its logits have a quarter of the size of the labels."""
    config = transformers.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[7, 3],
        strides=[4, 2], num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=16, num_labels=2,
    )  # fmt: skip
    model = transformers.SegformerForSemanticSegmentation(config).eval()
    data = Pictures(4, size=32)
    labels = data.masks.squeeze(1).long()
    labels[:, :3] = 255
    examples = [{"pixel_values": x, "labels": y} for x, y in zip(data.images, labels, strict=True)]
    loss = Tracked({"name": "cross_entropy", "params": {"ignore_index": 255}})
    trainer = attach(Trainer(model, settings(num_train_epochs=3), train_dataset=examples, eval_dataset=examples), loss)
    with torch.no_grad():
        logits = model(data.images).logits
        assert logits.shape[-1] == 8
        large = nn.functional.interpolate(logits, size=(32, 32), mode="bilinear", align_corners=False)
        expected = nn.functional.cross_entropy(large, labels, ignore_index=255).item()
    assert trainer.evaluate()["eval_total_loss"] == pytest.approx(expected, rel=1e-4)
    trainer.train()
    assert trainer.evaluate()["eval_total_loss"] < expected


def test_half_precision_keeps_the_loss_in_float32():
    """Under the autocast of the Trainer."""
    trainer = make(bf16=True)
    trainer.train()
    loss = trainer.compute_loss_func.__self__.tracked
    assert loss.last.total.dtype == torch.float32
    expected = plain_loop(batches(16, 4), lr=0.1)
    assert logged(trainer) == pytest.approx([step["total_loss"] for step in expected.steps], rel=2e-2)


def test_a_sum_over_examples_stays_a_sum():
    """Also of several micro-batches."""
    loss = Tracked(Sums(reduction="sum"))
    trainer = make(loss, per_device_train_batch_size=2, gradient_accumulation_steps=4, learning_rate=0)
    trainer.train()
    assert [logged(trainer), logged(trainer, "grad_norm")] == [pytest.approx(each, rel=1e-5) for each in sums(8)]


def test_the_loss_knows_of_an_evaluation():
    """As the model does, and goes back."""

    class Seen(nn.Module):
        def forward(self, input, target):
            modes.append(self.training)
            return input.mean()

    modes = []
    make(Tracked(Seen()), number=4, eval_strategy="epoch", num_train_epochs=2).train()
    assert modes == [True, False, True, False]


def test_the_monitor_is_read_at_the_end():
    """Updates of a window that is not complete are evaluated, too."""
    trainer = make(tracked={"monitor": {"rules": ["NonFinite"], "action": "stop", "every": 100}}, number=8)
    trainer.train_dataset.images[6] = float("nan")
    trainer.train()
    assert trainer.state.log_history[-1]["health/NonFinite"] == 1


def test_means_of_a_training_that_broke_off_are_forgotten():
    """And those of an evaluation."""
    expected = plain_loop(batches(8, 4)).means["total_loss"]
    trainer = make(number=8, learning_rate=0, logging_steps=2)
    whole = trainer.train_dataset
    trainer.train_dataset = trainer.eval_dataset = Broken()
    for broken in (trainer.train, trainer.evaluate):
        with pytest.raises(ZeroDivisionError):
            broken()
    trainer.train_dataset = trainer.eval_dataset = whole
    assert trainer.evaluate()["eval_total_loss"] == pytest.approx(expected)
    trainer.train()
    assert logged(trainer, "total_loss") == [pytest.approx(expected)]


class Broken(Data):
    """Pictures that are worse, and end in an error."""

    def __getitem__(self, index):
        if index == 8:
            raise ZeroDivisionError
        item = super().__getitem__(index)
        return item | {"labels": ~item["labels"]}


def test_training_goes_on_after_its_end():
    """The monitor and the loss stay open."""
    trainer = make(LEARNED, tracked={"monitor": {"action": "stop", "every": 3}})
    trainer.train()
    trainer.train()
    assert trainer.evaluate()["eval_total_loss"] < 2


def test_a_training_of_a_new_model_begins_with_a_new_loss():
    """As in a search of hyperparameters: neither learned parameters nor a stop go on."""
    loss = Tracked(LEARNED, monitor={"rules": ["NonFinite"], "every": 1, "action": "stop"})
    data = Data()
    trainer = attach(Trainer(None, settings(), model_init=Model, train_dataset=data), loss)
    trainer.train()
    learned = loss.loss.log_variances.tolist()
    data.images[8:] = float("nan")
    trainer.train()
    assert trainer.state.global_step == 3
    data.images = Pictures().images
    trainer.train()
    assert trainer.state.global_step == 4
    assert loss.loss.log_variances.tolist() == learned


def test_a_nan_is_seen_although_the_log_hides_it():
    """The monitor stops the training, and its finding is in the log."""
    trainer = make(tracked={"monitor": {"rules": ["NonFinite"], "action": "stop", "every": 1}}, number=32)
    trainer.train_dataset.images[8:12] = float("nan")
    trainer.train()
    assert trainer.state.global_step < 8
    assert all(value == value for value in logged(trainer))
    assert logged(trainer, "health/NonFinite")[0] == 1
    assert [value != value for value in logged(trainer, "total_loss")] == [False, False, True]


def test_inputs_of_other_forms_are_adapted():
    """Logits at a quarter of the size, an output that is a tuple, and one that is a tensor."""
    logits, masks = torch.randn(2, 1, 4, 4), torch.rand(2, 1, 16, 16) > 0.5
    large = nn.functional.interpolate(logits, size=(16, 16), mode="bilinear", align_corners=False)
    for output in ({"logits": logits}, (logits, None)):
        torch.testing.assert_close(logits_of(output, masks)[0], large)
    classes = torch.zeros(2, dtype=torch.long)
    assert torch.equal(logits_of({"logits": logits[..., 0, 0]}, classes)[0], logits[..., 0, 0])
    assert logits_of(logits, masks)[0].shape == logits.shape


def test_logits_of_tokens_have_their_classes_in_the_last_axis():
    """Of as many tokens as classes, too. Other models may have them in the second."""
    logits, labels = torch.randn(2, 3, 3), torch.tensor([[0, 1, 2], [1, 1, 0]])
    expected = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    loss = Tracked("cross_entropy", adapt=logits_of)
    torch.testing.assert_close(loss({"logits": logits}, labels), expected)
    torch.testing.assert_close(loss((logits,), labels), expected)
    torch.testing.assert_close(loss(logits.movedim(-1, 1), labels), expected)
    lines = torch.randn(2, 4, 3)
    expected = nn.functional.cross_entropy(lines, labels)
    torch.testing.assert_close(loss({"logits": lines}, labels), expected)


def test_a_model_of_the_next_token_needs_an_adapter():
    """The labels are the inputs, which the model itself would shift. The advice, followed, gives its own loss."""
    config = transformers.GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config).eval()
    tokens = torch.randint(0, 9, (4, 6))
    data = [{"input_ids": row, "labels": row} for row in tokens]
    for adapt in (None, {"key": "logits", "channels_last": True}):
        with pytest.raises(InputError, match="predicts the next token") as refused:
            attach(Trainer(model, settings(), eval_dataset=data), Tracked("cross_entropy", adapt=adapt))
    adapt = eval(str(refused.value).partition("adapt=")[2].removesuffix(")"))
    trainer = attach(Trainer(model, settings(), eval_dataset=data), Tracked("cross_entropy", adapt=adapt))
    own = model(input_ids=tokens, labels=tokens).loss.item()
    assert trainer.evaluate()["eval_total_loss"] == pytest.approx(own, rel=1e-5)


def test_smoothing_of_labels_belongs_to_the_loss():
    """That of the Trainer would do nothing."""
    sizes = {"vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    config = transformers.BertConfig(**sizes, num_attention_heads=2, num_labels=3)
    model = transformers.BertForSequenceClassification(config)
    data = [{"input_ids": torch.tensor([n, 1]), "labels": n % 3} for n in range(4)]
    with pytest.raises(InputError, match=r"leave it at 0.*Tracked\(torch.nn.CrossEntropyLoss\(label_smoothing=0.1\)"):
        attach(Trainer(model, settings(label_smoothing_factor=0.1)), Tracked("cross_entropy"))
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    trainer = attach(Trainer(model, settings(), eval_dataset=data), Tracked(loss))
    logits = model.eval()(input_ids=torch.tensor([[n, 1] for n in range(4)])).logits
    expected = loss(logits, torch.tensor([0, 1, 2, 0])).item()
    assert trainer.evaluate()["eval_total_loss"] == pytest.approx(expected, rel=1e-5)


def test_logits_of_tokens_are_told_by_name():
    """They have the classes in their last axis."""
    logits, labels = torch.randn(2, 5, 3), torch.tensor([[0, 1, 2, 2, -100], [1, 1, 0, -100, 2]])
    config = {"name": "cross_entropy", "params": {"ignore_index": -100}}
    loss = Tracked(config, adapt={"key": "logits", "channels_last": True})
    rows = [nn.functional.cross_entropy(*pair) for pair in zip(logits, labels, strict=True)]
    torch.testing.assert_close(loss({"logits": logits}, labels), torch.stack(rows).mean())


def test_an_adapter_of_the_user_is_kept():
    """Called with the output of the model and the labels."""
    loss = Tracked("dice", adapt=lambda output, labels: (output["logits"] * 0, labels))
    expected = 1 - (Pictures(4).masks.flatten(1).sum(1) + 1) / (Pictures(4).masks.flatten(1).sum(1) + 129)
    assert make(loss, number=4).evaluate()["eval_total_loss"] == pytest.approx(expected.mean().item(), rel=1e-5)


class Divided(Trainer):
    """A Trainer that would divide a loss by the accumulation."""

    loss_is_scaled_for_ga = False


def test_a_trainer_that_divides_the_loss_does_not_divide_this_one():
    """It has its scale already."""
    expected = plain_loop(batches(16, 8), lr=0.1)
    trainer = make(cls=Divided, gradient_accumulation_steps=2)
    trainer.train()
    assert logged(trainer) == pytest.approx([step["total_loss"] for step in expected.steps], rel=1e-5)


def test_the_loss_goes_to_the_device_of_the_trainer(monkeypatch):
    """Its weights of classes lie beside the logits."""
    devices = []
    monkeypatch.setattr(Tracked, "to", lambda self, device: devices.append(device))
    trainer = make()
    assert devices == [trainer.args.device]


class Masked(Model):
    """A model that would compute a loss of its own from other labels."""

    def forward(self, pixel_values, mask_labels=None):
        assert mask_labels is None
        return super().forward(pixel_values)


class Parts(Trainer):
    """A Trainer that takes the target from elsewhere."""

    loss = None

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        masks = inputs.pop("mask_labels")
        outputs = model(**inputs)
        loss = self.loss(outputs, masks)
        return (loss, outputs) if return_outputs else loss


class Scaled(Parts):
    loss_is_scaled_for_ga = False


class Through(Trainer):
    """A Trainer that leaves the loss to its parent."""

    def compute_loss(self, *arguments, **options):
        return super().compute_loss(*arguments, **options)


class ThroughScaled(Through):
    loss_is_scaled_for_ga = True


def test_a_trainer_with_its_own_loss_must_say_how_it_is_scaled():
    """The advice, followed, gives the loss and the gradients of the whole step."""
    for cls in (Parts, Through):
        with pytest.raises(InputError, match=rf"{cls.__name__} overrides compute_loss: .*_ga = False .*= True if"):
            make(cls=cls)
    expected = plain_loop(batches(16, 8), lr=0.1)
    for cls, model, label in ((Scaled, Masked(), "mask_labels"), (ThroughScaled, Model(), "labels")):
        Scaled.loss = Tracked(MIX)
        examples = [{"pixel_values": one["pixel_values"], label: one["labels"]} for one in Data()]
        arguments = settings(gradient_accumulation_steps=2)
        trainer = attach(cls(model, arguments, train_dataset=examples, eval_dataset=examples), Scaled.loss)
        trainer.train()
        assert logged(trainer) == pytest.approx([step["total_loss"] for step in expected.steps], rel=1e-5)
        assert logged(trainer, "loss_dice") == pytest.approx([step["loss_dice"] for step in expected.steps], rel=1e-5)
        assert logged(trainer, "grad_norm")[-1] == pytest.approx(norm(expected.gradients), rel=1e-4)
        after = mix(expected.model(Pictures().images), Pictures().masks)["loss_dice"].mean().item()
        assert trainer.evaluate()["eval_loss_dice"] == pytest.approx(after, rel=1e-5)


def test_wrong_arguments_are_refused():
    """Each with its remedy."""
    plain = Trainer(Model(), settings(), train_dataset=Data())
    with pytest.raises(InputError, match=r"got str; write attach\(trainer, Tracked"):
        attach(plain, "dice")
    with pytest.raises(InputError, match=r"reports need records: write Tracked\(..., records="):
        attach(plain, Tracked("dice"), reports="reports")
    attach(plain, Tracked("dice"))
    with pytest.raises(InputError, match="already: make a Trainer without one"):
        attach(plain, Tracked("dice"))
    data = [{"pixel_values": image} for image in Pictures().images]
    with pytest.raises(InputError, match="passes no 'labels': name the target so in the data collator"):
        attach(Trainer(Model(), settings(), train_dataset=data), Tracked("dice")).train()


def test_the_page_runs_as_it_stands(folder, capsys):
    """And prints the text below it."""
    code, text = PAGE.read_text().split("```python\n")[1].split("```\n")[0], PAGE.read_text().split("```text\n")[1]
    exec(compile(code, str(PAGE), "exec"), {"__name__": "page"})
    assert capsys.readouterr().out.splitlines()[-1] == text.splitlines()[0]
    shown = {path.name for path in folder.rglob("*")}
    assert {"night_000000005.json", "night_000000010.json", "loss.json"} <= shown
    assert lossreg.build(lossreg.read_config("runs/7/checkpoint-10/loss.json")).ignore_index == 255
