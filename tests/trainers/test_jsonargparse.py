"""A loss on a command line of jsonargparse, which LightningCLI is built on."""

from __future__ import annotations

import pytest
import yaml
from torch import nn

import lossreg

from .data import trainer

jsonargparse = trainer("jsonargparse")

DICE = {"name": "dice", "params": {"smooth": 0.5, "batch": True, "class_weight": [1, 2], "task": "multilabel"}}
FLAGS = [
    "--model.loss.name=dice",
    "--model.loss.params.smooth=0.5",
    "--model.loss.params.batch=true",
    "--model.loss.params.class_weight=[1, 2]",
    "--model.loss.params.task=multilabel",
]


class Annotated:
    """A model whose loss is a LossConfig, as docs/howto/configs.md advises."""

    def __init__(self, loss: lossreg.LossConfig) -> None:
        self.loss = lossreg.build(loss)


class AnnotatedOrName:
    """A model with a default: the name of a loss."""

    def __init__(self, loss: lossreg.LossConfig | str = "dice") -> None:
        self.loss = lossreg.build(loss)


class Plain:
    """A model whose loss is any mapping."""

    def __init__(self, loss: dict | str) -> None:
        self.loss = lossreg.build(loss)


class Module:
    """A model that takes the loss itself."""

    def __init__(self, loss: nn.Module) -> None:
        self.loss = loss


def parser_of(cls):
    """Return a parser of a model's arguments."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(cls, "model")
    return parser


def loss_of(cls, *arguments):
    """Return the config of the loss that a command line builds."""
    parser = parser_of(cls)
    return lossreg.config_of(parser.instantiate(parser.parse_args([*arguments])).model.loss)


@pytest.mark.parametrize("cls", [Annotated, AnnotatedOrName])
def test_flags(cls):
    """Each value has its type: a number, true, a list and text."""
    assert loss_of(cls, *FLAGS) == lossreg.config_of(lossreg.build(DICE))
    assert loss_of(cls, "--model.loss.name=focal", "--model.loss.params.gamma=1e-6")["params"]["gamma"] == 1e-6


def test_nested_losses():
    """In the notation of YAML."""
    terms = "[dice, {name: bce, weight: 2, params: {task: binary}}]"
    found = loss_of(Annotated, "--model.loss.name=weighted_sum", f"--model.loss.params.terms={terms}")
    built = lossreg.build("weighted_sum", terms=yaml.safe_load(terms))
    assert found == lossreg.config_of(built)


def test_a_file_and_a_flag_over_it(folder):
    """The flag changes one parameter. The printed config gives the same loss again."""
    (folder / "a.yaml").write_text(yaml.safe_dump({"model": {"loss": DICE}}))
    found = loss_of(Annotated, "--config=a.yaml", "--model.loss.params.smooth=2")
    assert found["params"] == lossreg.validate(DICE).params | {"smooth": 2.0}
    parser = parser_of(Annotated)
    (folder / "b.yaml").write_text(parser.dump(parser.parse_args(["--config=a.yaml"])))
    assert loss_of(Annotated, "--config=b.yaml") == lossreg.config_of(lossreg.build(DICE))


def test_a_name_alone():
    """The default, and as a flag."""
    assert loss_of(AnnotatedOrName)["name"] == "dice"
    assert loss_of(AnnotatedOrName, "--model.loss=focal")["name"] == "focal"


def test_a_module_by_the_path_of_build():
    """jsonargparse calls with the names in the signature."""
    argument = "{class_path: lossreg.build, init_args: {config: {name: focal, params: {gamma: 3}}}}"
    assert loss_of(Module, f"--model.loss={argument}") == lossreg.config_of(lossreg.build("focal", gamma=3))


def test_a_mistake_is_told_with_its_path():
    """By lossreg, when it builds."""
    with pytest.raises(lossreg.InvalidConfigError, match=r"params\.smoth: unknown parameter; did you mean 'smooth'\?"):
        loss_of(Annotated, "--model.loss.name=dice", "--model.loss.params.smoth=0.5")


@pytest.mark.parametrize(("flag", "text"), [("smooth", "0.5"), ("batch", "true")])
def test_a_mapping_gets_text_and_the_message_names_the_annotation(flag, text):
    """jsonargparse knows no types of the values in a dict. The same flag reaches an annotated model as it is meant."""
    flags = ["--model.loss.name=dice", f"--model.loss.params.{flag}={text}"]
    message = rf"got the text '{text}'.*; on a command line, annotate the argument as lossreg\.LossConfig"
    with pytest.raises(lossreg.InvalidConfigError, match=message):
        loss_of(Plain, *flags)
    assert loss_of(Annotated, *flags)["params"][flag] == yaml.safe_load(text)
