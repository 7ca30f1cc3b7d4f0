"""The published JSON Schema, the manifest and the class give one verdict on every config."""

from __future__ import annotations

import re
import time
from importlib import import_module

import pytest
import torch
from jsonschema import Draft202012Validator
from torch import nn

from lossreg import InvalidConfigError, json_schema, losses, parts, validate
from lossreg.config.resolution import parameters
from lossreg.parameters.from_signature import describe

from ..budget import examples
from ..fakes import put
from ..parameters.test_annotations import (
    Level,
    Mixed,
    Model,
    Named,
    Options,
    Path,
    Point,
    Reduce,
    Weighted,
    Window,
)
from ..random_configs import NESTED, Draw


class Zoo(nn.Module):
    """A parameter of every kind that no library's loss has."""

    def __init__(
        self,
        how: Reduce,
        path: Path = Path("x"),  # noqa: B008
        level: Level | None = None,
        mixed: dict[Mixed, Reduce] = {},  # noqa: B006
        weights: dict[int, float] | None = None,
        point: Point = Point(1),  # noqa: B008
        window: Window | None = None,
        windows: list[Window] = [],  # noqa: B006
        model: Model | float = 1.0,
        options: dict[str, Options] | None = None,
        weighted: list[Weighted] | None = None,
        named: tuple[Named, ...] = (),
        by_class: dict[int, nn.Module] | None = None,
        loss_or_text: nn.Module | str = "dice",
        text_or_loss: str | nn.Module = "text",
        lists: list[nn.Module] | list[str] | None = None,
        numbers: list[float] | torch.Tensor | nn.Module | None = None,
        pair: tuple[nn.Module, int] | tuple[str, float] | None = None,
    ) -> None:
        super().__init__()


def outcome(config):
    """Return the values or the problems."""
    try:
        return validate(config).model_dump()
    except InvalidConfigError as error:
        return error.problems


def is_ragged(config, problems):
    """Return whether rows of several lengths are the only problem, which JSON Schema cannot see."""
    return all(any(map(has_ragged_rows, on_the_way(config, problem.path))) for problem in problems)


def on_the_way(config, path):
    """Yield the values that lead to the place of a problem."""
    for step in re.findall(r"[^.\[\]']+", path):
        if not isinstance(config, (list, dict)) or (isinstance(config, dict) and step not in config):
            return
        config = config[int(step) if isinstance(config, list) else step]
        yield config


def has_ragged_rows(value):
    """Return whether a value is a list of numbers alone, at any depth, that has no shape."""
    return isinstance(value, list) and are_numbers(value) and len(shapes(value)) > 1


def are_numbers(value):
    """Return whether each leaf is a number."""
    if isinstance(value, list):
        return all(map(are_numbers, value))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def shapes(value):
    """Return the shapes that the rows have, more than one if they differ."""
    if not isinstance(value, list):
        return {()}
    inner = {shape for item in value for shape in shapes(item)} or {()}
    return {(len(value), *shape) for shape in inner}


def described_anew(entry):
    """Return the schema of the parameters as the code has it now: a library's overlay, else the class."""
    if entry.requires is not None and entry.provider not in _READ:
        _READ.add(entry.provider)
        library = import_module(f"lossreg_{entry.provider}.overlay").library
        for section, name, described in library.manifest():
            _ANEW[f"{section}:{entry.provider}/{name}"] = described["parameters"]
    return _ANEW.get(f"losses:{entry.full_name}") or describe(losses.get(entry.full_name))


_READ: set[str] = set()
_ANEW: dict = {}


def compare(providers, seconds, seed):
    """Compare the verdicts on random configs of the losses of some providers; return the number of configs."""
    draw, tried, accepted = Draw(seed), 0, 0
    entries = [entry for entry in losses.entries() if entry.provider in providers]
    schemas = {entry.full_name: parameters(entry) for entry in entries}
    # A kernel of monai/multi_scale is named as a loss of kornia's: a mistake can put the one in the place of the other.
    others = (*NESTED, "kornia/cauchy")
    validators = {name: Draft202012Validator(json_schema([name, *others])) for name in schemas}
    anew = [each._replace(metadata={"parameters": described_anew(each)}) for each in entries]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, schema in schemas.items():
            drawn = draw.config(name, schema)
            configs = [drawn, *(draw.mutated(drawn) for _ in range(4))]
            outcomes = [outcome(config) for config in configs]
            with losses.scope():
                put(losses, anew)
                assert [repr(outcome(config)) for config in configs] == [repr(each) for each in outcomes]
            for config, result in zip(configs, outcomes, strict=True):
                valid, refused = validators[name].is_valid(config), isinstance(result, tuple)
                assert valid is not refused or (valid and is_ragged(config, result)), f"{config}: {result}"
            tried += len(configs)
            accepted += not isinstance(outcomes[0], tuple)
    assert accepted > tried / 5 * 0.4, "many drawn configs are valid before they are mutated"
    return tried


@pytest.fixture
def zoo():
    with losses.scope(), parts.scope():
        losses.register("zoo")(Zoo)
        yield


def test_every_kind_of_parameter(zoo, record_property):
    """The class above, with the kinds that the losses here have not."""
    tried = compare({"local"}, 2, seed=1)
    record_property("configs", tried)
    assert tried > 100


def test_first_party_losses(record_property):
    """Those of lossreg's own packages, and of torch."""
    tried = compare({"lossreg", "segmentation", "sam", "torch"}, 3, seed=2)
    record_property("configs", tried)
    assert tried > 200


@pytest.mark.tools
@pytest.mark.filterwarnings("ignore")  # of libraries, when they are imported
@pytest.mark.usefixtures("torchvision_operators")
@pytest.mark.parametrize("seed", [3, 4])
def test_losses_of_every_provider(zoo, record_property, seed):
    """All that can be imported here, for a quarter of a minute, in `make test-long` for a whole one."""
    tried = compare({*losses.providers}, examples(15, 60), seed)
    print(f"{tried} configs")
    record_property("configs", tried)
    assert tried > examples(400, 2000)
