"""Losses as options of a Hydra config group."""

import sys
from copy import deepcopy
from importlib.util import find_spec

import pytest

import lossreg
from lossreg import InvalidConfigError, LossregError, NotFoundError, losses
from lossreg.config.resolution import parameters
from lossreg.integrations.hydra import register_hydra_configs

if find_spec("hydra") is None:
    pytest.skip("Hydra is not installed; pip install 'lossreg[hydra]'", allow_module_level=True)

import hydra
from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from hydra.errors import ConfigCompositionException, MissingConfigException
from omegaconf import MissingMandatoryValue, OmegaConf

OURS = ["lossreg", "segmentation", "sam"]


@pytest.fixture
def config():
    """Return a function that composes: config("loss=dice"), in a program whose default is bce."""
    store = ConfigStore.instance()
    with initialize(version_base=None):  # which fills the store with Hydra's own
        before, store.repo = store.repo, deepcopy(store.repo)
        try:
            register_hydra_configs(providers=OURS)
            store.store("train", {"defaults": [{"loss": "bce"}, "_self_"], "epochs": 3})
            yield lambda *overrides: compose("train", overrides=list(overrides))
        finally:
            store.repo = before


def test_a_loss_is_chosen_and_its_parameters_overridden(config):
    """`build` accepts the composed config."""
    chosen = config("loss=dice", "loss.params.smooth=0.5")
    assert chosen.epochs == 3
    built = lossreg.config_of(lossreg.build(chosen.loss))
    assert (built["name"], built["provider"], built["params"]["smooth"]) == ("dice", "segmentation", 0.5)


def test_a_default_may_be_a_list_or_a_mapping(config):
    """Each library's losses have them, and a list of a config can be changed."""
    properties = {
        "sizes": {"type": "array", "default": [1, 2]},
        "by_class": {"type": "object", "default": {"cat": [3]}},
    }
    metadata = {"parameters": {"type": "object", "properties": properties, "required": []}}
    with losses.scope():
        losses.add(lossreg.Entry("nested_defaults", "acme_lists:Sizes", metadata=metadata))
        register_hydra_configs(names=["nested_defaults"])
    params = config("loss=nested_defaults", "loss.params.sizes=[7]").loss.params
    assert OmegaConf.to_container(params) == {"sizes": [7], "by_class": {"cat": [3]}}


def test_the_default_of_the_program_holds(config):
    """With the defaults of all of its parameters."""
    loss = config().loss
    assert loss.name == "bce"
    assert dict(loss.params) == lossreg.validate("bce").params


def test_every_option_has_the_defaults_of_its_loss(config):
    """Each first-party loss validates under its short name and as provider/name, with its required parameters.

    As Hydra stores them: composing all would take half a minute.
    """
    mine = [entry for entry in losses.entries() if entry.provider in OURS]
    assert len(mine) > 30
    for entry in mine:
        term = {"name": "dice", "of": "mask"} if entry.name == "matched" else "dice"
        given = {"terms": [term], "loss": "dice", "distances": [[0, 1], [1, 0]], "classes": 2, "target": "mask"}
        for name in (entry.name, entry.full_name):
            loss = ConfigStore.instance().load(f"loss/{name}.yaml").node
            assert loss.name == name
            required = [key for key in loss.params if OmegaConf.is_missing(loss.params, key)]
            assert required == parameters(entry)["required"]
            params = OmegaConf.to_container(loss.params) | {key: given[key] for key in required}
            if entry.name != "scheduled":  # its terms need points
                complete = lossreg.validate({"name": entry.full_name, "params": {key: given[key] for key in required}})
                assert lossreg.validate({"name": name, "params": params}) == complete


def test_provider_and_name(config):
    """A provider and a loss may have the same name."""
    assert type(lossreg.build(config("loss=sam/sam2").loss)).__name__ == "SAM2"
    assert type(lossreg.build(config("loss=sam").loss)).__name__ == "SAM"


def test_required_parameters_must_be_given(config):
    """OmegaConf's error is the cause of ours; lists of losses have Hydra's syntax."""
    with pytest.raises(InvalidConfigError, match=r"params\.terms: cannot be read: MissingMandatoryValue") as caught:
        lossreg.build(config("loss=weighted_sum").loss)
    assert isinstance(caught.value.__cause__, MissingMandatoryValue)
    loss = config("loss=weighted_sum", "loss.params.terms=[dice,{name:bce,weight:2}]").loss
    assert lossreg.validate(loss).params["terms"][1]["weight"] == 2


def test_instantiate_returns_an_option_unchanged(config):
    """It has no target. With one beside it, Hydra calls build."""
    loss = config("loss=dice").loss
    assert hydra.utils.instantiate(loss) == loss
    with_target = config("loss=dice", "+loss._target_=lossreg.build", "loss.params.smooth=0.5").loss
    assert hydra.utils.instantiate(with_target).smooth == 0.5


def test_every_problem_of_required_values_is_told(config):
    """The name as well, if it is required."""
    loss = config("loss=weighted_sum", "loss.name=???").loss
    with pytest.raises(InvalidConfigError) as caught:
        lossreg.build(loss)
    assert [problem.path for problem in caught.value.problems] == ["name", "params.terms"]


def test_a_mistyped_parameter_is_an_error_of_hydra(config):
    """And of lossreg, if it is added with a plus."""
    with pytest.raises(ConfigCompositionException, match=r"Could not override 'loss\.params\.smoth'"):
        config("loss=dice", "loss.params.smoth=0.5")
    with pytest.raises(InvalidConfigError, match=r"params\.smoth: unknown parameter; did you mean 'smooth'\?"):
        lossreg.build(config("loss=dice", "+loss.params.smoth=0.5").loss)


def test_a_value_of_the_wrong_type_is_an_error_of_lossreg(config):
    """With its path."""
    with pytest.raises(InvalidConfigError, match=r"params\.smooth: expected a number >= 0, got the text 'much'"):
        lossreg.build(config("loss=dice", "loss.params.smooth=much").loss)


def test_an_unknown_loss_is_an_error_of_hydra(config):
    """The error lists the options."""
    with pytest.raises(MissingConfigException, match=r"Could not find 'loss/dicee'[\s\S]*tversky"):
        config("loss=dicee")


def test_some_losses_in_another_group(config):
    """Under exactly the given names, aliases included."""
    register_hydra_configs("training/loss", ["dice_loss", "segmentation/bce"])
    assert config("+training/loss=dice_loss").training.loss.name == "dice_loss"
    assert config("+training/loss=segmentation/bce").training.loss.name == "segmentation/bce"
    with pytest.raises(MissingConfigException):
        config("+training/loss=dice")


def test_it_may_be_called_twice(config):
    """The options are replaced."""
    register_hydra_configs(providers=OURS)
    assert config("loss=dice").loss.name == "dice"


def test_unknown_and_forbidden_names_raise(config):
    """When they are registered, not when they are selected."""
    with pytest.raises(NotFoundError, match="unknown loss 'dicee'"):
        register_hydra_configs(names=["dicee"])
    with pytest.raises(NotFoundError, match="segmentation/dice is not allowed here; allowed providers: sam"):
        register_hydra_configs(names=["dice"], providers=["sam"])


def test_a_broken_loss_is_no_option_unless_it_is_named(config):
    """The other losses are options."""
    with losses.scope():
        losses.register_lazy("gone", "acme_gone:Gone")
        register_hydra_configs(providers=["local", "segmentation"])
        with pytest.raises(MissingConfigException):
            config("loss=gone")
        with pytest.raises(LossregError, match="acme_gone"):
            register_hydra_configs(names=["gone"])


def test_without_hydra_the_error_names_the_extra(monkeypatch):
    """The module itself can be imported."""
    monkeypatch.setitem(sys.modules, "hydra", None)
    with pytest.raises(
        LossregError, match=r"^options of Hydra: hydra is not installed; pip install 'lossreg\[hydra\]'$"
    ):
        register_hydra_configs()
