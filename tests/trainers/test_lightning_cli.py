"""LightningCLI: the loss and the callback on the command line and in YAML."""

import csv
from pathlib import Path

import pytest
import torch
import yaml

import lossreg
from lossreg import InvalidConfigError
from lossreg.integrations import Tracked

from ..pages import BLOCK
from .data import MIX, loader, net, plain_loop, trainer

trainer("lightning")
trainer("jsonargparse")

from lightning.pytorch import LightningModule  # noqa: E402
from lightning.pytorch.cli import LightningCLI  # noqa: E402

from lossreg.integrations.lightning import LossCallback  # noqa: E402

CALLBACK = "lossreg.integrations.lightning.LossCallback"
QUIET = {
    "accelerator": "cpu",
    "max_epochs": 1,
    "log_every_n_steps": 1,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "logger": {
        "class_path": "lightning.pytorch.loggers.CSVLogger",
        "init_args": {"save_dir": "log", "name": "", "version": ""},
    },
}


class Base(LightningModule):
    """Trains net() without changing it."""

    def training_step(self, batch, index):
        return self.loss(self.net(batch["image"]), batch["mask"])

    def train_dataloader(self):
        return loader()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


class Configured(Base):
    """A module that takes the config of a loss.

    Args:
        loss: the loss, by name and parameters.
    """

    def __init__(self, loss: lossreg.LossConfig) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net, self.loss = net(), Tracked(loss)


class Given(Base):
    """A module that takes the loss itself."""

    def __init__(self, loss: Tracked) -> None:
        super().__init__()
        self.net, self.loss = net(), loss


def run(cls, *arguments, **config):
    """Fit a module by a command line and a file, and return the CLI."""
    Path("config.yaml").write_text(yaml.safe_dump({"trainer": QUIET} | config))
    return LightningCLI(cls, args=["fit", "--config=config.yaml", *arguments])


def totals():
    """The logged totals of the batches."""
    values = [row["train/total_loss"] for row in csv.DictReader(Path("log/metrics.csv").read_text().splitlines())]
    return [float(value) for value in values if value]


def test_a_loss_by_flags():
    """By name, with a parameter."""
    cli = run(Configured, "--model.loss.name=dice", "--model.loss.params.smooth=0.5")
    assert lossreg.config_of(cli.model.loss) == lossreg.config_of(lossreg.build("dice", smooth=0.5))


def test_the_callback_and_a_loss_in_yaml():
    """The callback with arguments of its own, beside a mixture."""
    callback = {"class_path": CALLBACK, "init_args": {"batch_keys": {"sample_ids": "id"}, "prog_bar": True}}
    cli = run(Configured, model={"loss": MIX}, trainer=QUIET | {"callbacks": [callback]})
    (callback,) = [each for each in cli.trainer.callbacks if isinstance(each, LossCallback)]
    assert (callback.batch_keys, callback.prog_bar, callback.reports) == ({"sample_ids": "id"}, True, None)
    assert totals() == pytest.approx([step["total_loss"] for step in plain_loop().steps])


def test_the_callback_by_flags():
    """With a folder for reports; the loss then has records, or it is refused."""
    flags = [f"--trainer.callbacks+={CALLBACK}", "--trainer.callbacks.reports=reports", "--trainer.callbacks.job=night"]
    with pytest.raises(lossreg.InputError, match="reports need records"):
        run(Configured, *flags, model={"loss": {"name": "dice"}})


def test_a_tracked_loss_in_yaml():
    """With its monitor, records and adapter as plain data."""
    loss = {
        "class_path": "lossreg.integrations.Tracked",
        "init_args": {
            "loss": MIX,
            "monitor": {"action": "stop", "every": 2, "rules": ["NonFinite"]},
            "records": "records",
            "adapt": {"resize": "bilinear"},
        },
    }
    cli = run(Given, model={"loss": loss}, trainer=QUIET | {"callbacks": [{"class_path": CALLBACK}]})
    tracked = cli.model.loss
    assert lossreg.config_of(tracked) == lossreg.config_of(lossreg.build(MIX))
    assert (tracked.monitor.every, tracked.monitor.action, tracked.adapt.resize) == (2, "stop", "bilinear")
    assert [*Path("records").glob("*.parquet")]
    assert totals() == pytest.approx([step["total_loss"] for step in plain_loop().steps])


def test_the_file_of_the_page():
    """As it stands there."""
    page = Path(__file__).parents[2] / "docs" / "trainers" / "lightning.md"
    (text,) = [code for language, code in BLOCK.findall(page.read_text()) if language == "yaml"]
    config = yaml.safe_load(text)
    cli = run(Given, model=config["model"], trainer=QUIET | config["trainer"])
    assert [path.name for path in Path("runs/reports").iterdir()] == ["run_000000004.json"]
    assert lossreg.config_of(cli.model.loss)["name"] == "dice"


@pytest.mark.parametrize("monitor", ["stop", ["Collapse", "NonFinite"], None])
def test_a_name_and_the_short_forms_of_a_monitor(monitor):
    """As in code."""
    loss = {"class_path": "lossreg.integrations.Tracked", "init_args": {"loss": "dice", "monitor": monitor}}
    tracked = run(Given, model={"loss": loss}).model.loss
    rules = [type(rule).__name__ for rule in tracked.monitor.rules] if tracked.monitor else None
    assert rules == monitor if monitor != "stop" else tracked.monitor.action == "stop"


def test_a_checkpoint_of_the_command_line_rebuilds_the_loss():
    """Its hyperparameters are plain data, as in the file hparams.yaml."""
    cli = run(Configured, "--model.loss.name=dice", "--model.loss.params.smooth=0.5")
    path = cli.trainer.checkpoint_callback.best_model_path
    loaded = Configured.load_from_checkpoint(path)
    assert loaded.loss.loss.smooth == 0.5
    saved = [torch.load(path)["hyper_parameters"], yaml.safe_load(Path("log/hparams.yaml").read_text())]
    for each in saved:
        assert each["loss"]["name"] == "dice"


def test_the_help_names_the_fields(capsys):
    """Of the loss, and of the callback."""
    for argument, texts in (
        ("--help", ["--model.loss.name NAME", "--model.loss.params PARAMS"]),
        (f"--trainer.callbacks.help={CALLBACK}", ["--trainer.callbacks.batch_keys", "--trainer.callbacks.reports"]),
    ):
        with pytest.raises(SystemExit, match="0"):
            LightningCLI(Configured, args=["fit", argument])
        printed = capsys.readouterr().out
        for text in texts:
            assert text in printed


def test_a_mistake_is_refused_with_the_remedy():
    """By lossreg, when the module is made; the parser knows the fields of a config alone."""
    with pytest.raises(InvalidConfigError, match="did you mean 'dice'"):
        run(Configured, "--model.loss.name=dise")
    with pytest.raises(InvalidConfigError, match="unknown parameter; did you mean 'smooth'"):
        run(Configured, "--model.loss.name=dice", "--model.loss.params.smoth=0.5")
