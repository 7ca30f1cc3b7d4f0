"""Hydra makes Tracked losses: from configs, options of a group, sweeps, and hydra-zen."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import lossreg
from lossreg.health import LossMonitor
from lossreg.integrations import Adapt, Tracked
from lossreg.records import aggregate_by_dataset

from ..pages import run_blocks
from .data import MIX, trainer

trainer("hydra_zen")
from hydra.errors import InstantiationException  # noqa: E402
from hydra.utils import instantiate  # noqa: E402
from hydra_zen import builds  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from omegaconf.errors import ConfigValueError  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "trainers" / "hydra.md"
TRACKED = {"_target_": "lossreg.integrations.Tracked"}
CONVERSIONS = ["none", "partial", "object", "all"]


def same(tracked, config):
    """Return whether a Tracked loss is the one of a config."""
    return isinstance(tracked, Tracked) and lossreg.config_of(tracked) == lossreg.config_of(lossreg.build(config))


@pytest.mark.parametrize("convert", CONVERSIONS)
def test_a_target_with_all_arguments(folder, convert):
    """As configs of OmegaConf or as plain data, with each conversion of containers."""
    config = TRACKED | {
        "loss": MIX,
        "adapt": {"key": "logits"},
        "monitor": {"rules": ["NonFinite"], "every": 3, "action": "stop"},
        "records": "records",
    }
    tracked = instantiate(OmegaConf.create(config), _convert_=convert)
    assert same(tracked, MIX)
    assert tracked.adapt == Adapt(key="logits")
    assert (tracked.monitor.every, [type(rule).__name__ for rule in tracked.monitor.rules]) == (3, ["NonFinite"])
    assert (folder / "records").is_dir()


@pytest.mark.parametrize("convert", CONVERSIONS)
def test_arguments_with_targets_of_their_own(convert):
    """A loss that `build` makes, an adapter and a monitor."""
    config = TRACKED | {
        "loss": {"_target_": "lossreg.build", **MIX},
        "adapt": {"_target_": "lossreg.integrations.Adapt", "channels_last": True},
        "monitor": {"_target_": "lossreg.health.LossMonitor", "rules": None, "every": 7},
    }
    tracked = instantiate(OmegaConf.create(config), _convert_=convert)
    assert same(tracked, MIX)
    assert tracked.adapt == Adapt(channels_last=True)
    assert isinstance(tracked.monitor, LossMonitor)
    assert tracked.monitor.every == 7


def test_rules_with_arguments():
    """Hydra refuses them by default; the page has the remedy."""
    rules = {"rules": [{"_target_": "lossreg.health.Plateau", "span": 5}, "NonFinite"]}
    config = OmegaConf.create(TRACKED | {"loss": "dice", "monitor": rules})
    with pytest.raises(ConfigValueError):
        instantiate(config)
    tracked = instantiate(config, _convert_="all")
    assert [getattr(rule, "span", None) for rule in tracked.monitor.rules] == [5, None]


def test_a_loss_from_another_place_of_the_config():
    """By interpolation, as of a config group."""
    config = OmegaConf.create(
        {"loss": MIX, "criterion": TRACKED | {"loss": "${loss}", "monitor": ["Collapse", "Spike"]}}
    )
    tracked = instantiate(config.criterion)
    assert same(tracked, MIX)
    assert [type(rule).__name__ for rule in tracked.monitor.rules] == ["Collapse", "Spike"]
    assert same(instantiate(config).criterion, MIX)


def test_every_problem_of_a_config_is_told():
    """Within the error of Hydra."""
    with pytest.raises(InstantiationException, match=r"(?s)params.smoth.*did you mean 'smooth'.*params.weight"):
        instantiate(TRACKED | {"loss": {"name": "dice", "params": {"smoth": 1, "weight": "x"}}})


def test_hydra_zen_makes_it_and_overrides_it():
    """By `builds`, also through its YAML."""
    config = builds(Tracked, loss=MIX, monitor="stop", hydra_convert="all")
    assert same(instantiate(config), MIX)
    assert same(instantiate(config, loss="dice"), {"name": "dice"})
    assert same(instantiate(OmegaConf.create(OmegaConf.to_yaml(config))), MIX)


def test_the_page_runs_and_its_program_sweeps(folder, monkeypatch):
    """The program of the page trains once for each loss, each with its records."""
    run_blocks(PAGE, folder, monkeypatch)
    code = re.search(r"```python\n(# train.py\n.*?)```", PAGE.read_text(), re.DOTALL)[1]
    (folder / "train.py").write_text(code)
    options = ["--multirun", "loss=dice,focal", "hydra.job.chdir=True", "hydra.sweep.dir=sweep"]
    done = subprocess.run([sys.executable, "train.py", *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "dice train/total_loss train/loss_dice\n" in done.stdout
    assert "focal train/total_loss train/loss_focal\n" in done.stdout
    for job in ("0", "1"):
        assert aggregate_by_dataset(folder / "sweep" / job / "records", together=True)["overall"]["count"] == 24
