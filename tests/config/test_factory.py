"""The factory: from a config to a module and back."""

import copy
import io
import json
import pickle
from collections.abc import Sequence
from typing import Annotated

import pytest
import torch
from pydantic import Field
from torch import nn

import lossreg
from lossreg import InvalidConfigError, LossregError, ProviderError, build, config_of, evaluate, losses, validate
from lossreg.authoring import contract
from lossreg.errors import InputError, MissingLibraryError, NotFoundError

MIXTURE = {
    "name": "weighted_sum",
    "params": {
        "terms": [
            {"name": "dice", "params": {"smooth": 0.5}, "weight": 2},
            {"name": "product", "params": {"terms": ["bce", "jaccard"]}},
            "focal",
        ]
    },
}


def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 1, 4, 4, generator=generator), torch.randint(0, 2, (3, 1, 4, 4), generator=generator).float()


@pytest.mark.parametrize("config", ["dice", {"name": "tversky", "params": {"alpha": 0.3, "beta": 0.7}}, MIXTURE])
def test_what_is_built_from_its_own_config_is_the_same(config):
    """Config and output are equal, through JSON as well."""
    module = build(config)
    again = build(json.loads(json.dumps(config_of(module))))
    assert type(again) is type(module)
    assert config_of(again) == config_of(module) == validate(config).model_dump(exclude_none=True)
    assert torch.equal(module(*batch()), again(*batch()))


def test_parameters_reach_the_constructor():
    """Nested losses are modules with their weights."""
    module = build(MIXTURE)
    assert module.parts[0].smooth == 0.5
    assert module.weights == [2.0, 1.0, 1.0]
    assert module.names == ["dice", "product", "focal"]
    assert module.parts[1].names == ["bce", "jaccard"]


def test_a_config_is_complete():
    """It has defaults, provider and version at every level."""
    config = config_of(build("dice"))
    assert config == {
        "name": "dice",
        "params": {
            "smooth": 1.0,
            "task": "auto",
            "ignore_index": None,
            "class_weight": None,
            "background": True,
            "classes": None,
            "batch": False,
            "overlap": "min",
            "absent": "score",
            "mean_over": "weights",
            "distributed": "local",
            "reduction": "mean",
        },
        "provider": "segmentation",
        "version": lossreg.__version__,
    }
    assert config_of(build(MIXTURE))["params"]["terms"][2] == {
        **config_of(build("focal")),
        "weight": 1.0,
        "unweighted": False,
    }


def saved(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    "carry", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m)), saved, nn.Module.cpu]
)
def test_the_config_travels_with_the_module(carry):
    """Copies, pickles and checkpoints of whole modules keep it, for parts as well."""
    module = build(MIXTURE)
    carried = carry(module)
    assert config_of(carried) == config_of(module)
    assert config_of(carried.parts[0])["params"]["smooth"] == 0.5
    assert torch.equal(carried(*batch()), module(*batch()))


def test_the_config_stays_out_of_the_state():
    """Checkpoints of a model with or without it are the same, and strict loading works."""
    module = build({"name": "dice", "params": {"class_weight": [1, 2]}})
    assert module.state_dict() == {}
    module.load_state_dict({}, strict=True)
    assert config_of(module)["params"]["class_weight"] == [1.0, 2.0]


def test_a_config_cannot_be_changed_from_outside():
    """config_of returns a copy."""
    module = build(MIXTURE)
    config_of(module)["params"]["terms"].clear()
    assert len(config_of(module)["params"]["terms"]) == 3


def test_a_module_that_was_not_built_has_no_config():
    """The message contains the remedy."""
    for module in (nn.L1Loss(), losses.instantiate("dice")):
        with pytest.raises(LossregError, match=r"was not built by lossreg.build.*; build it from \{name, params\}"):
            config_of(module)
    for given, kind in (("dice", "str"), (None, "NoneType")):
        with pytest.raises(LossregError, match=f"^{kind} was not built by lossreg.build"):
            config_of(given)


@pytest.fixture
def scope():
    with losses.scope() as registry:
        yield registry


def test_any_registered_module_can_be_built(scope):
    """Nested losses may be in lists and dicts or optional; an absent one stays None."""

    @scope.register("everything", tags=["t"])
    class Everything(nn.Module):
        def __init__(self, one: nn.Module, many: dict[str, nn.Module], maybe: nn.Module | None = None, p: float = 1):
            super().__init__()
            self.given = (one, many, maybe, p)

    config = {"name": "everything", "params": {"one": "dice", "many": {"a": {"name": "bce"}}}}
    module = build(config)
    one, many, maybe, p = module.given
    assert config_of(one)["name"] == "dice"
    assert list(many) == ["a"]
    assert config_of(many["a"])["name"] == "bce"
    assert (maybe, p) == (None, 1)
    assert config_of(module)["provider"] == "local"
    assert config_of(build(config_of(module))) == config_of(module)
    assert config_of(build({**config, "params": config["params"] | {"maybe": "sam"}}).given[2])["name"] == "sam"


@pytest.fixture
def raising(scope):
    """Return a function: build a loss within another, whose constructor raises an error."""

    def raises(error):
        @scope.register("refuses", contract=contract(input="logits", target="mask", tasks=["binary"]))
        class Refuses(nn.Module):
            def __init__(self, *, size: Annotated[int, Field(ge=0)] = 0):
                raise error

        return build({"name": "weighted_sum", "params": {"terms": [{"name": "refuses", "params": {"size": 3}}]}})

    return raises


@pytest.mark.parametrize(
    "error", [ValueError("size 3 is odd"), TypeError("no size"), InputError("a task"), NotFoundError("x", name="x")]
)
def test_a_constructor_that_refuses_its_arguments_makes_an_invalid_config(raising, error):
    """The problem has the place in the config and the message; the cause is chained."""
    with pytest.raises(InvalidConfigError) as caught:
        raising(error)
    assert [str(problem) for problem in caught.value.problems] == [
        f"params.terms[0].params: the constructor of local/refuses raised {type(error).__name__}: {error}"
    ]
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: device-side assert triggered"),
        MemoryError(),
        AssertionError("internal"),
        KeyError("weight"),
        NotImplementedError("later"),
        ZeroDivisionError("division by zero"),
    ],
)
def test_another_error_of_a_constructor_passes_with_a_note(raising, error):
    """The config may be right: a sweep that skips invalid configs must not skip it."""
    with pytest.raises(type(error)) as caught:
        raising(error)
    assert caught.value is error
    assert error.__notes__ == [
        "raised by the constructor of local/refuses, which the config has at params.terms[0].params"
    ]


def test_an_interrupt_in_a_constructor_passes(raising):
    """Ctrl-C ends the program."""
    with pytest.raises(KeyboardInterrupt):
        raising(KeyboardInterrupt())


def test_a_library_that_a_constructor_lacks_is_named(raising):
    """The message has the command that installs it, or the error of the import."""
    with pytest.raises(
        MissingLibraryError, match="local/refuses needs acme_gone, which is not installed; install it"
    ) as e:
        raising(ModuleNotFoundError("No module named 'acme_gone.nn'", name="acme_gone.nn"))
    assert (e.value.name, e.value.distribution) == ("refuses", "acme_gone")
    with pytest.raises(ProviderError, match="local/refuses raised ImportError: cannot import name 'x'; repair") as e:
        raising(ImportError("cannot import name 'x'", name="torch"))
    assert e.value.name == "refuses"
    given = MissingLibraryError("the extra; pip install it", name="a", distribution="b")
    with pytest.raises(MissingLibraryError) as e:
        raising(given)
    assert e.value is given


def test_a_loss_of_lossreg_refuses_its_arguments():
    """Its check of the values raises an InputError."""
    with pytest.raises(
        InvalidConfigError,
        match=r"params: the constructor of segmentation/dice raised InputError: class_weight is zero for",
    ):
        build({"name": "dice", "params": {"class_weight": [0, 0]}})


def test_a_broken_provider_is_no_invalid_config(scope):
    """The config is valid, but the package fails to import."""
    scope.register_lazy("gone", "acme_gone:Gone", parameters={"type": "object", "properties": {}, "required": []})
    assert validate("gone").name == "gone"
    with pytest.raises(ProviderError, match="local/gone is installed but broken"):
        build("gone")


def test_a_built_plain_module_can_be_evaluated(scope):
    """Its output is the total, and one component under its name."""
    scope.register("l1")(nn.L1Loss)
    total, parts = evaluate(build("l1"), torch.ones(2, 3), torch.zeros(2, 3))
    assert total.item() == 1.0
    assert {name: value.item() for name, value in parts.items()} == {"l1": 1.0}


def test_public_names_load_on_first_use():
    """All of __all__ load and are in dir; another name is an AttributeError."""
    for name in lossreg.__all__:
        assert getattr(lossreg, name) is not None
        assert name in dir(lossreg)
    with pytest.raises(AttributeError, match="module 'lossreg' has no attribute 'nothing'"):
        _ = lossreg.nothing


def test_a_whole_number_as_default_of_a_float_is_a_float_at_each_build(scope):
    """By the default, by the complete config, and within lists; an integer stays where one is meant."""

    @scope.register("whole")
    class Whole(nn.Module):
        def __init__(
            self, *, g: float = 1, each: Sequence[float] = (1, 2), n: int = 3, odd: float = -1, few: int | float = 4
        ):
            super().__init__()
            self.given = repr((g, each, n, odd, few))

    first = lossreg.build("whole")
    again = lossreg.build(lossreg.config_of(first))
    assert first.given == again.given == "(1.0, [1.0, 2.0], 3, -1.0, 4)"
    assert repr(lossreg.config_of(first)) == repr(lossreg.config_of(again))
    assert repr(lossreg.validate("dice").params["smooth"]) == "1.0"
