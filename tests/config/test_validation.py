"""validate: accepted forms, completed defaults, and every message."""

from types import MappingProxyType

import pytest
import yaml

import lossreg
from lossreg import InvalidConfigError, LossConfig, validate
from lossreg.parameters import kinds
from lossreg.registry.entry import declare

from ..fakes import put

VERSION = lossreg.__version__  # of every distribution of ours
DICE = {
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
}


def problems(config, **options):
    """Return the problems of an invalid config, by path."""
    with pytest.raises(InvalidConfigError) as caught:
        validate(config, **options)
    for problem in caught.value.problems:
        assert str(problem) in str(caught.value)
        assert "{" not in problem.message.replace("{name, params", "")
    return dict(caught.value.problems)


@pytest.mark.parametrize(
    "config",
    [
        "dice",
        "dice_loss",
        "segmentation/dice",
        "segmentation/dice_loss",
        {"name": "dice"},
        {"name": "dice", "params": None},
        {"name": "dice", "params": {}},
        {"name": "dice", "params": {"smooth": 1}},
        {"name": "dice", "provider": "segmentation", "version": "9"},
        {"name": "segmentation/dice", "provider": "segmentation"},
        MappingProxyType({"name": "dice", "params": MappingProxyType({"smooth": 1.0})}),
        LossConfig(name="dice"),
        LossConfig(name="dice", params={"smooth": 1.0}, provider="segmentation"),
    ],
)
def test_each_form_of_a_config(config):
    """A name, any mapping and a LossConfig give one complete result."""
    checked = validate(config)
    assert isinstance(checked, LossConfig)
    assert checked.model_dump() == {"name": "dice", "params": DICE, "provider": "segmentation", "version": VERSION}
    assert validate(checked) == checked


def test_nested_configs_are_completed_too():
    """The keys of their slot are completed as well."""
    checked = validate({"name": "weighted_sum", "params": {"terms": ["dice", {"name": "bce_loss", "weight": 20}]}})
    first, second = checked.params["terms"]
    beside = {"weight": 1.0, "unweighted": False}
    assert first == {"name": "dice", "params": DICE, "provider": "segmentation", "version": VERSION, **beside}
    assert (second["name"], second["weight"]) == ("bce", 20.0)
    assert checked.params["normalize_weights"] is False


def test_a_result_shares_nothing_with_the_defaults_or_the_input(torch):
    """Changing it changes nothing else."""
    weights = [1.0, 2.0]
    given = {"name": "dice", "params": {"class_weight": weights}}
    validate(given).params["class_weight"].append(3.0)
    assert weights == [1.0, 2.0]
    with lossreg.losses.scope() as losses:
        losses.register("listed")(type("Listed", (torch.nn.Module,), {"__init__": lambda self, sizes=[1, 2]: None}))
        validate("listed").params["sizes"].append(3)
        assert validate("listed").params == {"sizes": [1, 2]}


def test_validating_again_and_again_keeps_nothing():
    """No record of parameters, nor its validator, is made twice."""
    config = {"name": "weighted_sum", "params": {"terms": ["dice", "bce"]}}
    validate(config)
    before = len(kinds._records)
    for _ in range(10):
        validate(config)
    assert len(kinds._records) == before


@pytest.mark.parametrize(
    "config, path, message",
    [
        (5, "", "expected a loss name or {name, params}, got 5"),
        (None, "", "expected a loss name or {name, params}, got None"),
        (["dice"], "", "expected a loss name or {name, params}, got a list of 1"),
        ({}, "name", "missing; expected the name of a registered loss"),
        ({"nam": "dice"}, "nam", "unknown key; did you mean 'name'?"),
        ({"name": 5}, "name", "expected text, got 5"),
        ({"name": None}, "name", "expected text, got None"),
        ("dicee", "name", "unknown loss 'dicee'; did you mean 'dice'"),
        ("torch.nn.BCELoss", "name", "unknown loss 'torch.nn.BCELoss'"),
        ({"name": "dice", "provider": "sam"}, "name", "unknown loss 'sam/dice'; did you mean"),
        ({"name": "segmentation/dice", "provider": "sam"}, "name", "unknown loss"),
        ({"name": "dice", "provider": ""}, "name", "unknown loss '/dice'"),
        ({"name": "dice", "provider": 5}, "provider", "expected text, got 5"),
        ({"name": "dice", "version": 5}, "version", "expected text, got 5"),
        ({"name": "dice", "params": [1]}, "params", "expected a mapping of parameters, got a list of 1"),
        ({"name": "dice", "params": "smooth"}, "params", "expected a mapping of parameters, got the text 'smooth'"),
        ({"name": "dice", "smooth": 1}, "smooth", "unknown key; 'smooth' is a parameter of dice: put it under params"),
        ({"name": "dice", "lr": 1}, "lr", "unknown key; allowed are name, params"),
        ({"name": "dice", "params": {"smoth": 1}}, "params.smoth", "unknown parameter; did you mean 'smooth'?"),
        (
            {"name": "iou_prediction", "params": {"zzz": 1}},
            "params.zzz",
            "unknown parameter; allowed are threshold, ignore_index, distributed, reduction",
        ),
        ({"name": "dice", "params": {"smooth": -1}}, "params.smooth", "expected a number >= 0, got -1"),
        ({"name": "dice", "params": {"smooth": True}}, "params.smooth", "expected a number >= 0, got True"),
        ({"name": "dice", "params": {"smooth": [1]}}, "params.smooth", "expected a number >= 0, got a list of 1"),
        (
            {"name": "dice", "params": {"smooth": "big"}},
            "params.smooth",
            "expected a number >= 0, got the text 'big'",
        ),
        ({"name": "dice", "params": {"batch": 1}}, "params.batch", "expected true or false, got 1"),
        (
            {"name": "dice", "params": {"ignore_index": 1.5}},
            "params.ignore_index",
            "expected an integer or null, got 1.5",
        ),
        (
            {"name": "dice", "params": {"reduction": "Mean"}},
            "params.reduction",
            "expected one of 'mean', 'sum', 'none', got the text 'Mean'",
        ),
        (
            {"name": "weighted_sum"},
            "params.terms",
            "missing; expected a list of at least 1, each a loss: its name or {name, params, weight, unweighted}",
        ),
        (
            {"name": "weighted_sum", "params": {"terms": "dice"}},
            "params.terms",
            "each a loss: its name or {name, params, weight, unweighted}, got the text 'dice'",
        ),
        ({"name": "product", "params": {"terms": []}}, "params.terms", "expected a list of at least 1"),
    ],
)
def test_each_message(config, path, message):
    """Each message has the given value, the allowed ones and the remedy; there is one problem each."""
    assert message in problems(config)[path]
    assert len(problems(config)) == (2 if "nam" in (config if isinstance(config, dict) else ()) else 1)


def test_a_key_that_is_null_is_not_given():
    """jsonargparse and dataclasses write provider and version so, at any depth; params may be null as well."""
    nulls = {"provider": None, "version": None, "params": None}
    assert validate({"name": "dice"} | nulls) == validate("dice")
    nested = {"name": "weighted_sum", "params": {"terms": [{"name": "dice", "weight": 2} | nulls]}}
    assert validate(nested).params["terms"][0]["provider"] == "segmentation"


def test_nested_messages_carry_the_path():
    """The path leads through lists of losses to the parameter."""
    terms = ["dice", {"name": "dice", "params": {"smoth": 1}, "weigth": 2}, 5, {"name": "bce", "weight": "1e-6"}]
    found = problems({"name": "weighted_sum", "params": {"terms": terms}})
    assert found["params.terms[1].params.smoth"] == "unknown parameter; did you mean 'smooth'?"
    assert found["params.terms[1].weigth"] == "unknown key; did you mean 'weight'?"
    assert found["params.terms[2]"] == "expected a loss: its name or {name, params, weight, unweighted}, got 5"
    assert found["params.terms[3].weight"].startswith(
        "expected a number, got the text '1e-6'; YAML takes 1e-6 for text"
    )
    assert len(found) == 4


def test_all_problems_are_reported_at_once():
    """Missing, unknown, wrong and out-of-range values are reported at every level."""
    config = {
        "name": "weighted_sum",
        "extra": 1,
        "params": {
            "normalize": True,
            "reduction": "max",
            "terms": [{"params": {}}, {"name": "dice", "params": {"class_weight": [1, -2, "x"]}}],
        },
    }
    assert set(problems(config)) == {
        "extra",
        "params.normalize",
        "params.reduction",
        "params.terms[0].name",
        "params.terms[1].params.class_weight[1]",
        "params.terms[1].params.class_weight[2]",
    }


@pytest.mark.parametrize("text", ["1e-6", "1e6", "1E5", "1.5e6", "2e300", "-3e-7", "1.e-6", "5", "0.25", " 7 "])
def test_a_number_that_yaml_reads_as_text_is_explained(text):
    """The text in the message is the same number in YAML."""
    message = problems({"name": "weighted_sum", "params": {"terms": [{"name": "dice", "weight": text}]}})
    (found,) = message.values()
    assert f"got the text {text!r}; " in found
    advice = found.removesuffix(
        "; on a command line, annotate the argument as lossreg.LossConfig (jsonargparse) or convert it"
    )
    assert advice != found
    written = advice.rpartition(": ")[2].rpartition("write ")[2]
    assert isinstance(yaml.safe_load(written), float)
    assert yaml.safe_load(written) == float(text)


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1e999", "x", "1,5", "-5", "-1e-6"])
def test_other_text_is_not_explained_as_a_number(text):
    """Infinity and numbers out of range have no explanation: they are refused without quotes as well."""
    assert problems({"name": "dice", "params": {"smooth": text}}) == {
        "params.smooth": f"expected a number >= 0, got the text {text!r}"
    }


def test_only_losses_of_the_given_providers_are_allowed():
    """The restriction holds at any depth; a config cannot contain it."""
    mixture = {"name": "weighted_sum", "params": {"terms": ["dice"]}}
    assert validate("dice", providers=["segmentation"]).name == "dice"
    assert validate(mixture, providers={"segmentation", "lossreg"})
    assert problems(mixture, providers={"lossreg", "sam"}) == {
        "params.terms[0].name": "segmentation/dice is not allowed here; allowed providers: lossreg, sam"
    }
    assert "allowed providers: none" in problems("dice", providers=[])["name"]
    with pytest.raises(InvalidConfigError):
        lossreg.build(mixture, providers={"sam"})
    assert "unknown key" in problems({"name": "dice", "providers": ["sam"]})["providers"]


def test_nesting_is_bounded():
    """At most sixteen losses may be within the outermost."""

    def nested(levels):
        return {"name": "product", "params": {"terms": [nested(levels - 1)]}} if levels else "dice"

    assert validate(nested(16)).name == "product"
    (message,) = problems(nested(17)).values()
    assert message == "losses are nested deeper than 16"
    assert "or contains itself" in problems(nested(60))[""]


def test_the_number_of_problems_is_bounded():
    """A hundred are reported, with a note: each costs a search for similar names."""
    found = problems({"name": "dice", "params": {f"smoth{number}": 1 for number in range(900)}})
    assert len(found) == 101
    assert found[""] == "not checked further after 100 problems"


def test_a_disabled_or_ambiguous_loss_is_a_problem():
    """The problem is at the name in the config."""
    with lossreg.losses.scope() as losses:
        tied = [declare("tied", f"{provider}:X", (), (), {})._replace(provider=provider) for provider in "ab"]
        off = declare("off", "a:Off", (), (), {})._replace(state="disabled", reason="LOSSREG_DISABLE=off names it")
        put(losses, [*tied, off])
        assert problems("tied") == {"name": "'tied' is claimed by several providers; write one of a/tied, b/tied"}
        with pytest.raises(lossreg.LossregError, match="local/off is disabled: LOSSREG_DISABLE=off names it"):
            validate("off")


def test_a_restriction_names_the_allowed_loss_of_the_same_name():
    """Following the advice leads to a loss that is allowed; where there is none, there is no advice."""
    with lossreg.losses.scope() as losses:

        def described(provider, name):
            return declare(name, f"{provider}:X", (), (), {"parameters": {}})._replace(provider=provider)

        put(losses, [described(provider, "tied") for provider in ("aaa", "bbb", "ccc")])
        put(losses, [described("aaa", "dice")])
        refused = "is not allowed here; allowed providers"
        assert problems("tied", providers={"aaa"}) == {
            "name": f"bbb/tied or ccc/tied {refused}: aaa; write aaa/tied",
        }
        assert problems("tied", providers={"sam"}) == {
            "name": f"aaa/tied or bbb/tied or ccc/tied {refused}: sam",
        }
        assert problems("dice", providers={"aaa"}) == {"name": f"segmentation/dice {refused}: aaa; write aaa/dice"}
        assert problems({"name": "dice", "provider": "segmentation"}, providers={"aaa"}) == {
            "name": f"segmentation/dice {refused}: aaa; write aaa/dice"
        }
        assert problems("bce", providers={"aaa"}) == {"name": f"segmentation/bce {refused}: aaa"}
        for written in ("aaa/tied", "aaa/dice"):
            assert validate(written, providers={"aaa"}).provider == "aaa"


@pytest.mark.parametrize("name, meant", [("DICE", "dice"), ("Dice", "dice"), ("BCE", "bce"), ("FOCALL", "focal")])
def test_a_name_in_another_case_is_suggested(name, meant):
    """Names are in small letters, and papers write them in capitals."""
    assert problems(name)["name"].startswith(f"unknown loss '{name}'; did you mean '{meant}'")
    found = problems({"name": "dice", "params": {"SMOOTH": 1.0}})
    assert found == {"params.SMOOTH": "unknown parameter; did you mean 'smooth'?"}
