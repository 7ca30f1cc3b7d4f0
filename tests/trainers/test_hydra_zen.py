"""Losses in configs that hydra-zen makes of calls."""

from __future__ import annotations

import pytest

import lossreg

from .data import MIX, trainer

hydra_zen = trainer("hydra_zen")

from hydra_zen import builds, instantiate, just, to_yaml, zen  # noqa: E402 - of trainer()
from omegaconf import OmegaConf  # noqa: E402

FOCAL = {"name": "focal", "params": {"gamma": 3}}


def same(loss, config):
    """Return whether a loss is the one of a config."""
    return lossreg.config_of(loss) == lossreg.config_of(lossreg.build(config))


@pytest.mark.parametrize("convert", ["none", "partial", "object", "all"])
def test_a_call_of_build(convert):
    """By name and params, by parameters, and by a config; with each conversion of containers."""
    for given, expected in (
        (builds(lossreg.build, name="focal", params={"gamma": 3}, hydra_convert=convert), FOCAL),
        (builds(lossreg.build, name="focal", gamma=3, hydra_convert=convert), FOCAL),
        (builds(lossreg.build, FOCAL, hydra_convert=convert), FOCAL),
        (builds(lossreg.build, **MIX, hydra_convert=convert), MIX),
    ):
        assert same(instantiate(given), expected)
        assert same(instantiate(OmegaConf.create(to_yaml(given))), expected)  # as Hydra saves it


def test_parameters_of_a_call_are_overridden():
    """When it is instantiated."""
    config = builds(lossreg.build, name="focal", params={"gamma": 3})
    assert same(instantiate(config, params={"gamma": 1}), {"name": "focal", "params": {"gamma": 1}})


def test_a_task_function_gets_the_config_or_the_loss():
    """`zen` instantiates a config with a target, and passes on plain data."""

    def task(loss):
        return loss

    assert same(zen(task)(OmegaConf.create({"loss": {"_target_": "lossreg.build", **FOCAL}})), FOCAL)
    assert same(lossreg.build(zen(task)(OmegaConf.create({"loss": FOCAL}))), FOCAL)
    assert same(instantiate(just(FOCAL) | {"_target_": "lossreg.build"}), FOCAL)


def test_a_class_of_a_loss():
    """Without a config of lossreg."""
    assert instantiate(builds(lossreg.losses.get("dice"), smooth=0.5)).smooth == 0.5
