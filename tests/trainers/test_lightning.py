"""Lightning: the loss, its parts, its health and its records by one callback."""

import csv
import json
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, DistributedSampler

import lossreg
from lossreg import InputError
from lossreg.integrations import Tracked
from lossreg.records import aggregate_by_dataset

from ..pages import run_blocks
from .data import MIX, Pictures, loader, mix, net, plain_loop, trainer
from .ranks import spawn

trainer("lightning")

import duckdb  # noqa: E402
from lightning.pytorch import LightningModule, Trainer  # noqa: E402
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint  # noqa: E402
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger  # noqa: E402
from lightning.pytorch.tuner import Tuner  # noqa: E402
from lightning.pytorch.utilities import CombinedLoader  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

from lossreg.integrations.lightning import LossCallback  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "trainers" / "lightning.md"
LEARNED = {"name": "uncertainty_weighting", "params": {"terms": ["focal", "dice"]}}
IDS = {"sample_ids": "id"}
KEYS = ["total_loss", "loss_focal", "loss_dice"]


class Module(LightningModule):
    """Trains net() on a loss, by SGD."""

    def __init__(self, loss=MIX, lr=0.1, **options):
        super().__init__()
        self.save_hyperparameters("loss", "lr")
        self.net = net()
        self.loss = Tracked(loss, **options)
        self.gradients = []

    def training_step(self, batch, index):
        return self.loss(self.net(batch["image"]), batch["mask"])

    def validation_step(self, batch, index, dataloader_idx=0):
        self.loss(self.net(batch["image"]), batch["mask"])

    test_step = validation_step

    def on_before_optimizer_step(self, optimizer):
        self.gradients = [value.grad.clone() for value in self.net.parameters()]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.hparams.lr)


class Fails(Callback):
    """Fails after a step."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            raise RuntimeError("power cut")


def make(*callbacks, epochs=1, callback=None, logger=False, **options):
    """A quiet Trainer on the CPU with a LossCallback."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    kept = any(isinstance(each, ModelCheckpoint) for each in callbacks)
    return Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=logger,
        callbacks=[callback or LossCallback(IDS), *callbacks],
        **{"devices": 1, "enable_checkpointing": kept, **quiet, **options},
    )


def rows(name):
    """Each key of a CSVLogger with its values by step."""
    found = {}
    for row in csv.DictReader(Path(name, "metrics.csv").read_text().splitlines()):
        for key, value in row.items():
            if value and key not in ("epoch", "step"):
                found.setdefault(key, {})[int(row["step"])] = float(value)
    return found


def scalars(logger):
    """Each key of a TensorBoardLogger with its values by step."""
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    return {key: {e.step: e.value for e in events.Scalars(key)} for key in events.Tags()["scalars"]}


def count(folder="records", **of):
    """Number of recorded rows, of a split or another column."""
    where = "".join(f" AND {name} = '{value}'" for name, value in of.items())
    return duckdb.sql(f"SELECT count(*) FROM '{folder}/*.parquet' WHERE true{where}").fetchall()[0][0]


def close(found, expected):
    assert found == pytest.approx(expected, rel=1e-5)


def same(module, model):
    for own, other in zip(module.net.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(own, other)


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_parameters_and_gradients_are_those_of_a_plain_loop(accumulate):
    """With gradients accumulated over several batches as well."""
    module = Module()
    make(epochs=2, accumulate_grad_batches=accumulate).fit(module, loader())
    plain = plain_loop(lr=0.1, accumulate=accumulate, epochs=2)
    same(module, plain.model)
    for own, other in zip(module.gradients, plain.gradients, strict=True):
        torch.testing.assert_close(own, other)


def test_manual_optimisation():
    """The step counts the calls of the optimiser."""

    class Manual(Module):
        automatic_optimization = False

        def training_step(self, batch, index):
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, index))
            optimizer.step()
            steps.append(self.loss.context.step)

    steps = []
    module = Manual()
    logger = CSVLogger("log", "", "")
    make(logger=logger).fit(module, loader())
    plain = plain_loop(lr=0.1)
    same(module, plain.model)
    assert steps == [0, 1, 2, 3]
    close(list(rows("log")["train/loss_dice"].values()), [step["loss_dice"] for step in plain.steps])


def test_batches_and_means_are_logged():
    """The batches of training, and the means of every epoch over its examples: the last batch has two of 18."""
    logger = CSVLogger("log", "", "")
    fitter = make(logger=logger, epochs=2)
    module = Module(lr=0.0)
    fitter.fit(module, loader(18), loader(10))
    fitter.test(module, loader(6), verbose=False)
    found = rows("log")
    train, val, test = plain_loop(loader(18)), plain_loop(loader(10)).means, plain_loop(loader(6)).means
    for key in KEYS:
        close(found[f"train/{key}"], dict(enumerate([step[key] for step in train.steps] * 2)))
        close(found[f"train/{key}_epoch"], {4: train.means[key], 9: train.means[key]})
        close(found[f"val/{key}"], {4: val[key], 9: val[key]})
        close(found[f"test/{key}"], {10: test[key]})
    assert set(found) == {f"{split}/{key}" for split in ("train", "val", "test") for key in KEYS} | {
        f"train/{key}_epoch" for key in KEYS
    }


def test_tensorboard_has_the_same_keys():
    """In its files."""
    logger = TensorBoardLogger("log")
    make(logger=logger).fit(Module(lr=0.0), loader(18), loader(10))
    found = scalars(logger)
    train, val = plain_loop(loader(18)), plain_loop(loader(10)).means
    close(found["train/loss_focal"], dict(enumerate(step["loss_focal"] for step in train.steps)))
    close(found["train/total_loss_epoch"], {4: train.means["total_loss"]})
    close(found["val/loss_dice"], {4: val["loss_dice"]})


def test_the_progress_bar_shows_the_totals_when_asked():
    """And nothing else of the loss."""
    for shown, expected in ((False, set()), (True, {"train/total_loss", "val/total_loss"})):
        fitter = make(callback=LossCallback(prog_bar=shown))
        fitter.fit(Module(), loader(), loader())
        assert {key for key in fitter.progress_bar_metrics if "loss" in key} == expected


def test_the_callback_does_not_wait_for_the_device():
    """Between two means, it reads no number from it."""

    class Refuses(TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            assert "_local_scalar_dense" not in str(operator), "a number is read from the device"
            return operator(*args, **(kwargs or {}))

    class Watched(LossCallback):
        batches = 0

        def on_train_batch_start(self, *args):
            with Refuses():
                super().on_train_batch_start(*args)

        def on_train_batch_end(self, *args):
            Watched.batches += 1
            with Refuses():
                super().on_train_batch_end(*args)

    make(callback=Watched(IDS)).fit(Module(records="records", monitor="stop"), loader())
    assert Watched.batches == 4


def test_validation_and_test_without_training():
    """With the keys of their splits."""
    fitter = make()
    (found,) = fitter.validate(Module(), loader(10), verbose=False)
    means = plain_loop(loader(10)).means
    close(found, {f"val/{key}": value for key, value in means.items()})
    (found,) = fitter.test(Module(), loader(10), verbose=False)
    close(found, {f"test/{key}": value for key, value in means.items()})


def test_several_validation_sets_have_one_mean():
    """Over all of their examples."""
    (found, *_) = make().validate(Module(), [loader(6), loader(10)], verbose=False)
    close(found["val/total_loss"], plain_loop([*loader(6), *loader(10)]).means["total_loss"])


def test_calls_before_the_training_are_in_no_mean():
    """Of the training nor of the validation."""
    module = Module(lr=0.0)
    module.loss(torch.zeros(2, 1, 4, 4, requires_grad=True), torch.ones(2, 1, 4, 4))
    with torch.no_grad():
        module.loss(torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4))
    fitter = make()
    fitter.fit(module, loader(), loader())
    for key in ("train/total_loss_epoch", "val/total_loss"):
        close(fitter.callback_metrics[key].item(), plain_loop().means["total_loss"])


def test_the_sanity_check_counts_nowhere():
    """Neither in the records nor in the means: 16 + 2 * 10 rows."""
    module = Module(lr=0.0, records="records")
    fitter = make(num_sanity_val_steps=2, epochs=2, check_val_every_n_epoch=1)
    fitter.fit(module, loader(), loader(10))
    assert (count(split="train"), count(split="val")) == (32, 20)
    assert aggregate_by_dataset("records", together=True)["overall"]["count"] == 52
    close(fitter.callback_metrics["val/total_loss"].item(), plain_loop(loader(10)).means["total_loss"])


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("mode", ["sequential", "min_size"])
def test_the_padding_of_a_sampler_counts_nowhere(rank, drop_last, mode):
    """Of 17 examples on two ranks, rank 1 has the first again at its end. Loaders that are combined are not judged."""

    class Combined(Module):
        def validation_step(self, batch, index, dataloader_idx=0):
            super().validation_step(batch[0] if isinstance(batch, list) else batch, index)

    data = Pictures(17)
    sampler = DistributedSampler(data, 2, rank, shuffle=False, drop_last=drop_last)
    loaders = CombinedLoader([DataLoader(data, 4, sampler=sampler)], mode)
    make(callback=LossCallback()).validate(Combined(records="records"), loaders, verbose=False)
    genuine = [9, 8][rank] if mode == "sequential" else 9
    assert count() == (8 if drop_last else genuine)


def test_rows_are_written_with_each_checkpoint():
    """The process may be killed after it."""

    class Looks(Callback):
        rows = 0

        def on_train_epoch_start(self, trainer, *_):
            Looks.rows = count() if trainer.current_epoch else 0

    make(ModelCheckpoint("kept"), Looks(), epochs=2).fit(Module(records="records"), loader(), loader(6))
    assert Looks.rows == 22


def test_records_have_step_epoch_and_examples():
    """Validation has the step that its parameters come from."""
    make(epochs=2).fit(Module(lr=0.0, records="records"), loader(), loader(2))
    found = duckdb.sql("SELECT split, epoch, step, sample_id FROM 'records/*.parquet' ORDER BY ALL").fetchall()
    train = [("train", n // 16, n // 4, f"s{n % 16}") for n in range(32)]
    assert found == sorted(train + [("val", e, 4 * e + 4, f"s{n}") for e in range(2) for n in range(2)])


@pytest.mark.parametrize("keys", [IDS, {"sample_ids": 2}, None])
def test_examples_by_the_keys_of_a_batch(keys):
    """Of a dict, of a tuple, or by the names of the facts."""

    class Step(Module):
        def training_step(self, batch, index):
            image, mask, _ = batch.values() if isinstance(batch, dict) else batch
            return self.loss(self.net(image), mask)

    data = [tuple(each.values()) for each in Pictures(4)]
    if keys != {"sample_ids": 2}:
        data = [{"image": x, "mask": y, "id" if keys else "sample_ids": name} for x, y, name in data]
    make(callback=LossCallback(keys)).fit(Step(records="records"), DataLoader(data, batch_size=2))
    assert count(sample_id="s3") == 1


def test_a_wrong_key_names_those_of_the_batch():
    """At the first batch."""
    with pytest.raises(InputError, match="batch_keys wants sample_ids at 'name' of the batch, which has the keys im"):
        make(callback=LossCallback({"sample_ids": "name"})).fit(Module(), loader())


class Sized(Module):
    """Has loaders of a batch size that a search may change."""

    batch_size = 2

    def train_dataloader(self):
        return loader(16, self.batch_size)

    val_dataloader = train_dataloader


@pytest.mark.parametrize("search", ["lr_find", "scale_batch_size"])
def test_a_search_counts_nowhere(search):
    """For the learning rate or the batch size. The training after it counts."""
    module = Sized(records="records")
    fitter = make(callback=LossCallback(IDS, "reports"))
    options = {"num_training": 8} if search == "lr_find" else {"max_trials": 2, "steps_per_trial": 2}
    getattr(Tuner(fitter), search)(module, **options)
    module.loss.flush()
    assert not list(Path("records").iterdir())
    assert not Path("reports").exists()
    assert module.loss.read("train") == {}
    fitter.fit(module)
    assert count(split="train") == 16


def test_calls_outside_of_the_trainer_count_as_before():
    """The context is the caller's again, after an error as well."""
    for callbacks in ([], [Fails(2)]):
        module = Module()
        try:
            make(*callbacks).fit(module, loader())
        except RuntimeError:
            module.loss.read("train")
        module.loss(torch.zeros(2, 1, 4, 4, requires_grad=True), torch.ones(2, 1, 4, 4))
        assert module.loss.context == type(module.loss.context)()
        assert set(module.loss.read("train")) == {f"train/{key}" for key in KEYS}


@pytest.mark.parametrize("every", [1, 3, 50])
def test_a_monitor_stops_the_training(every):
    """Once its window of updates is complete: NaN comes with the second batch. Its event is in the logger."""
    batches = [*loader(40)]
    batches[1]["image"][0] = torch.nan
    module = Module(monitor={"rules": ["NonFinite"], "every": every, "action": "stop"})
    fitter = make(logger=CSVLogger("log", "", ""), callback=LossCallback(IDS))
    fitter.fit(module, DataLoader(batches, batch_size=None))
    assert fitter.global_step == {1: 2, 3: 3, 50: 10}[every]
    assert rows("log")["health/NonFinite"] == {1: 1.0}
    assert module.loss.should_stop


def test_events_reach_tensorboard_whatever_steps_are_logged():
    """One at the step of each."""
    batches = [*loader(12)]
    batches[1]["image"][0] = torch.nan
    logger = TensorBoardLogger("log")
    module = Module(monitor={"rules": ["NonFinite"], "every": 1})
    with pytest.warns(lossreg.health.HealthWarning, match="NonFinite at step 1.*Samples: s4"):
        make(logger=logger, log_every_n_steps=50).fit(module, DataLoader(batches, batch_size=None))
    assert scalars(logger)["health/NonFinite"] == {1: 1.0}


def test_a_module_may_be_fitted_again():
    """Its monitor goes on."""
    module = Module(monitor="stop", records="records")
    for _ in range(2):
        make().fit(module, loader())
    assert count() == 32


def test_rows_are_written_when_the_training_fails():
    """Those of the batches before."""
    with pytest.raises(RuntimeError, match="power cut"):
        make(Fails(3)).fit(Module(records="records"), loader())
    assert count() == 12


def test_a_checkpoint_of_a_failed_training_has_no_report():
    """The rank that failed saves it alone, and a report waits for all ranks."""
    kept = ModelCheckpoint("kept", save_on_exception=True)
    with pytest.raises(RuntimeError, match="power cut"):
        make(kept, Fails(3), callback=LossCallback(IDS, "reports")).fit(Module(records="records"), loader())
    assert [*Path("kept").iterdir()]
    assert not Path("reports").exists()


def test_checkpoints_by_the_least_validation_loss():
    """A learning rate so large that the second epoch is worse; EarlyStopping sees the key as well."""
    kept = ModelCheckpoint("kept", monitor="val/total_loss", save_top_k=1)
    fitter = make(kept, EarlyStopping("val/total_loss", patience=1), epochs=9)
    seen = []
    fitter.callbacks.append(Seen(seen))
    fitter.fit(Module(lr=60.0), loader(), loader())
    assert len(seen) < 9
    assert kept.best_model_score.item() == min(seen) != seen[-1]


class Seen(Callback):
    """Keeps the validation loss of each epoch."""

    def __init__(self, seen):
        self.seen = seen

    def on_validation_end(self, trainer, *_):
        if not trainer.sanity_checking:
            self.seen.append(trainer.callback_metrics["val/total_loss"].item())


@pytest.mark.parametrize("step", [4, 7])
def test_a_resumed_run_goes_on_with_its_records(step):
    """It fails after the first epoch or in the second, and does the batches after the checkpoint again."""
    make(epochs=3).fit(Module(records="whole"), loader(), loader(6))
    kept, night = ModelCheckpoint("kept", save_last=True), {"directory": "parts", "run": "night"}
    with pytest.raises(RuntimeError, match="power cut"):
        make(kept, FailsLate(step), epochs=3).fit(Module(records=night), loader(), loader(6))
    make(epochs=3).fit(Module(records=night), loader(), loader(6), ckpt_path="kept/last.ckpt")
    whole, parts = (aggregate_by_dataset(folder, together=True)["overall"] for folder in ("whole", "parts"))
    assert whole["count"] == 3 * 16 + 3 * 6
    close([parts[key] for key in ("count", "mean", "variance")], [whole[key] for key in ("count", "mean", "variance")])


class FailsLate(Callback):
    """Fails in the batch after a step, when checkpoints of that step are written."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            raise RuntimeError("power cut")


@pytest.mark.parametrize(
    "config",
    [
        MIX,
        "dice",
        lossreg.LossConfig(**MIX),
        lossreg.validate(MIX),
        lossreg.config_of(lossreg.build(MIX)),
    ],
)
def test_a_checkpoint_rebuilds_the_loss(config):
    """It is plain data, which Lightning loads without trust. It has no names of ours among the parameters."""
    kept = ModelCheckpoint("kept", save_last=True)
    module = Module(config)
    make(kept).fit(module, loader())
    content = torch.load("kept/last.ckpt", weights_only=True)
    assert lossreg.config_of(lossreg.build(content["hyper_parameters"]["loss"])) == lossreg.config_of(module.loss)
    assert [name for name in content["state_dict"] if not name.startswith("net.")] == []
    loaded = Module.load_from_checkpoint("kept/last.ckpt")
    assert lossreg.config_of(loaded.loss) == lossreg.config_of(module.loss)


def test_configs_within_other_hyperparameters():
    """In lists and mappings, too."""

    class Several(Module):
        def __init__(self, losses):
            super().__init__()
            self.save_hyperparameters("losses")

    make(ModelCheckpoint("kept", save_last=True)).fit(
        Several({"all": [lossreg.LossConfig(name="dice"), 3, (1, 2)]}), loader()
    )
    content = torch.load("kept/last.ckpt", weights_only=True)["hyper_parameters"]
    assert content["losses"] == {"all": [{"name": "dice", "params": {}}, 3, (1, 2)]}


def test_a_report_with_every_checkpoint():
    """Named by job and step. At step 4 every example has been trained on once, and validated."""
    kept = ModelCheckpoint("kept", every_n_epochs=1, save_top_k=-1)
    make(kept, epochs=2, callback=LossCallback(IDS, "reports", job="cracks")).fit(
        Module(lr=0.0, records="records"), loader(), loader(6)
    )
    first, second = sorted(Path("reports").iterdir())
    assert (first.name, second.name) == ("cracks_000000004.json", "cracks_000000008.json")
    items = json.loads(first.read_text())["items"]
    seen = [*(("train", f"s{n}") for n in range(16)), *(("val", f"s{n}") for n in range(6))]
    assert sorted((item["split"], item["sample_id"]) for item in items) == sorted(seen)
    assert sum(item["count"] for item in items) == 22


def test_learned_weights_are_trained():
    """As children of the module: self.parameters() has them."""
    module = Module(LEARNED)
    make(epochs=2).fit(module, loader())
    plain, weights = net(), torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([*plain.parameters(), weights], 0.1)
    for batch in [*loader()] * 2:
        values = mix(plain(batch["image"]), batch["mask"])
        losses = torch.stack([values["loss_focal"].mean(), values["loss_dice"].mean()])
        (losses * (-weights).exp() + weights / 2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    same(module, plain)
    torch.testing.assert_close(module.state_dict()["loss.log_variances"], weights.detach())


def test_learned_weights_that_no_optimiser_has_are_refused():
    """With the remedy, before the first batch."""

    class Forgets(Module):
        def configure_optimizers(self):
            return torch.optim.SGD(self.net.parameters(), 0.1)

    with pytest.raises(InputError, match=r"the loss learns log_variances.*make the optimiser of self.parameters\(\)"):
        make().fit(Forgets(LEARNED), loader())
    make().validate(Forgets(LEARNED), loader(), verbose=False)


def test_optimisers_of_copies_are_not_judged():
    """Some strategies train flat copies of all parameters, in which none is found."""

    class Flat(Module):
        def configure_optimizers(self):
            values = torch.cat([value.detach().flatten() for value in self.parameters()])
            return torch.optim.SGD([torch.nn.Parameter(values)], 0.1)

    make().fit(Flat(LEARNED), loader())


def test_a_schedule_follows_the_optimiser_steps():
    """Over two batches each. The factor of dice rises from 0 by 1 a step."""
    config = {"name": "scheduled", "params": {"terms": [{"name": "dice", "points": [[0, 0.0], [10, 10.0]]}]}}
    make(accumulate_grad_batches=2).fit(Module(config, lr=0.0, records="records"), loader(), loader())
    found = duckdb.sql(
        "SELECT split, step, sum(loss) / sum(loss_dice) FROM 'records/*.parquet' WHERE step > 0 GROUP BY ALL ORDER BY 1"
    ).fetchall()
    assert found == [("train", 1, pytest.approx(1)), ("val", 2, pytest.approx(2))]


class Two(LightningModule):
    """Has two losses. Every other batch calls the first alone."""

    def __init__(self):
        super().__init__()
        self.net = net()
        self.heads = torch.nn.ModuleDict(
            {"mask": Tracked(MIX, monitor="stop"), "edge": Tracked("dice", records="edge")}
        )

    def training_step(self, batch, index):
        logits = self.net(batch["image"])
        loss = self.heads["mask"](logits, batch["mask"])
        return loss if index % 2 else loss + self.heads["edge"](logits, batch["mask"])

    def validation_step(self, batch, index):
        for head in self.heads.values():
            head(self.net(batch["image"]), batch["mask"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


def test_several_losses_have_their_names_in_the_keys():
    """A loss that a batch does not call has no new value there, although the validation before it does."""
    logger, callback = CSVLogger("log", "", ""), LossCallback(IDS, "reports")
    fitter = make(ModelCheckpoint("kept"), callback=callback, logger=logger, epochs=2, val_check_interval=1)
    fitter.fit(Two(), loader(), loader())
    found = rows("log")
    assert list(found["train/heads.mask/loss_focal"]) == list(range(8))
    steps = [step["loss_dice"] for step in plain_loop().steps]
    close(
        list(found["train/heads.edge/total_loss"].values()), [steps[n] for n in (0, 0, 2, 2)] * 2
    )  # Lightning repeats
    close(found["val/heads.mask/total_loss"][3], plain_loop().means["total_loss"])
    close(found["val/heads.edge/total_loss"][3], plain_loop().means["loss_dice"])
    assert Path("reports/run_heads.edge_000000008.json").exists()


def test_a_loss_made_by_configure_model():
    """After the setup of callbacks."""

    class Late(Module):
        def __init__(self):
            super().__init__()
            del self.loss

        def configure_model(self):
            self.loss = Tracked(MIX)

    fitter = make()
    fitter.fit(Late(), loader())
    assert "train/total_loss_epoch" in fitter.callback_metrics
    (found,) = make().validate(Late(), loader(10), verbose=False)
    close(found["val/total_loss"], plain_loop(loader(10)).means["total_loss"])


def test_outputs_are_adapted():
    """A model that returns a dict."""

    class Dict(Module):
        def training_step(self, batch, index):
            return self.loss({"logits": self.net(batch["image"])}, batch["mask"])

    module = Dict(adapt={"key": "logits"})
    make().fit(module, loader())
    same(module, plain_loop(lr=0.1).model)


def test_a_module_without_a_loss_is_refused():
    """With the line to write."""

    class Bare(Module):
        def __init__(self):
            super().__init__()
            self.loss = lossreg.build(MIX)

    with pytest.raises(InputError, match=r"finds no loss: write self.loss = Tracked\(loss\) in __init__"):
        make().fit(Bare(), loader())


def test_reports_without_records_are_refused():
    """Before the first batch, with the line to write."""
    with pytest.raises(InputError, match=r"reports need records: write self.loss = Tracked\(..., records='runs/7/re"):
        make(callback=LossCallback(reports="reports")).fit(Module(), loader())


def two_ranks(folder):
    """Train and validate on two ranks, on 17 examples and then on 3, and return parameters and means."""
    torch.set_num_threads(1)
    found = []
    for name, config, number in (("fixed", MIX, 17), ("learned", LEARNED, 3)):
        module = Module(config, records=f"{folder}/{name}", monitor="stop")
        kept = ModelCheckpoint(f"{folder}/kept", monitor="val/total_loss")
        fitter = make(
            kept,
            callback=LossCallback(IDS, f"{folder}/reports", name),
            logger=CSVLogger(folder, name, ""),
            devices=2,
            strategy="ddp",
            num_sanity_val_steps=1,
            epochs=2,
        )
        fitter.fit(module, loader(16, 8), loader(number, 2))  # Lightning shuffles: an epoch is one step
        found.append(
            {
                "net": [value.tolist() for value in module.net.parameters()],
                "loss": [value.tolist() for value in module.loss.parameters()],
                "metrics": {key: value.item() for key, value in fitter.callback_metrics.items()},
                "best": kept.best_model_score.item(),
            }
        )
    return found


def test_two_ranks_are_one(folder):
    """Parameters, means and rows of a plain loop, although the sampler pads 17 examples to 18, and 3 to 4.

    DistributedDataParallel wraps the module, and with it the parameters of a loss that learns.
    """
    (fixed, learned), (other, also_learned) = spawn(two_ranks, folder, seconds=300)
    plain = plain_loop(loader(16, 16), lr=0.1, epochs=2)
    for own, expected in zip(fixed["net"], plain.model.parameters(), strict=True):
        torch.testing.assert_close(torch.tensor(own), expected.detach())
    module = Module()
    module.net.load_state_dict(plain.model.state_dict())
    (means,) = make().validate(module, loader(17), verbose=False)
    for key, value in means.items():
        close(fixed["metrics"][key], value)
        close(rows("fixed")[key][1], value)
    close(fixed["metrics"]["train/total_loss_epoch"], plain.steps[1]["total_loss"])
    assert fixed["net"] == other["net"]
    assert fixed["best"] == other["best"] == pytest.approx(means["val/total_loss"])
    assert {key for key, value in fixed["metrics"].items() if value != other["metrics"][key]} <= {
        f"train/{key}" for key in KEYS
    }
    assert (learned["net"], learned["loss"]) == (also_learned["net"], also_learned["loss"])
    assert learned["loss"] != [[0.0, 0.0]]
    assert [count(name, split=split) for name in ("fixed", "learned") for split in ("train", "val")] == [32, 34, 32, 6]
    assert sorted(path.name for path in Path("reports").glob("fixed*")) == [f"fixed_{n:09d}.json" for n in (1, 2)]


def other_package():
    """Train by pytorch_lightning, the other name of the package, imported before the callback and after it."""
    import pytorch_lightning

    class Old(pytorch_lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.loss = net(), Tracked(MIX)

        training_step, configure_optimizers = Module.training_step, Two.configure_optimizers

    found = []
    for hidden in (True, False):
        if hidden:
            kept = {name: sys.modules.pop(name) for name in [*sys.modules] if name.split(".")[0] == "lightning"}
        sys.modules.pop("lossreg.integrations.lightning")
        callback = import_module("lossreg.integrations.lightning").LossCallback()
        sys.modules.update(kept)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        fitter = pytorch_lightning.Trainer(accelerator="cpu", max_epochs=1, callbacks=[callback], **quiet)
        fitter.fit(Old(), loader())
        mean = fitter.callback_metrics["train/total_loss_epoch"].item()
        found.append([isinstance(callback, pytorch_lightning.Callback), mean])
    return found


def test_the_package_of_the_other_name():
    """Its Trainer takes the callback; its command line takes callbacks of its own class alone."""
    (((is_own, mean), (is_own_too, mean_too)),) = spawn(other_package, processes=1, seconds=300)
    assert (is_own, is_own_too) == (True, False)
    close([mean, mean_too], [plain_loop().means["total_loss"]] * 2)


def test_the_page_runs(folder, monkeypatch):
    """Its blocks, with their output."""
    run_blocks(PAGE, folder, monkeypatch)
