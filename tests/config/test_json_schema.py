"""json_schema: valid JSON Schema, which accepts what validate accepts."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from lossreg import (
    DisabledError,
    InvalidConfigError,
    MissingLibraryError,
    NotFoundError,
    ProviderError,
    json_schema,
    losses,
    parts,
    validate,
)
from lossreg.cli import app
from lossreg.registry.entry import declare

from ..budget import examples
from ..configs import junk, mutated, valid
from ..fakes import put


class Plain:
    """A loaded class without parameters."""


@pytest.fixture(scope="module")
def validator():
    return Draft202012Validator(json_schema())


def is_valid(config):
    try:
        validate(config)
    except InvalidConfigError:
        return False
    return True


def test_it_is_a_json_schema():
    """Of 2020-12, as plain JSON."""
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


@settings(max_examples=examples(120, 500), deadline=None)
@given(st.one_of(valid(), mutated(), junk))
def test_the_schema_accepts_what_validate_accepts(validator, config):
    """On first-party losses.

    Three differences are intended, and the generated configs avoid them: in JSON Schema 1.0 is an integer, nesting and
    size have no bounds, and text may contain any character.
    """
    assert validator.is_valid(config) is is_valid(config)


def test_the_intended_differences(validator):
    """As documented above."""
    assert validator.is_valid({"name": "dice", "params": {"ignore_index": 1.0}})
    assert not is_valid({"name": "dice", "params": {"ignore_index": 1.0}})


@pytest.mark.parametrize(
    "config, expected",
    [
        ("dice", True),
        ("dice_loss", True),
        ("segmentation/dice", True),
        ("weighted_sum", False),
        ("dicee", False),
        ({"name": "dice"}, True),
        ({"name": "dice", "params": None}, True),
        ({"name": "weighted_sum", "params": None}, False),
        ({"name": "dice", "parms": {}}, False),
        ({"name": "dice", "weight": 1}, False),
        ({"name": "dice", "params": {"smooth": "1e-6"}}, False),
        ({"name": "dice", "params": {"smoth": 1}}, False),
        ({"name": "dice", "provider": "segmentation"}, True),
        ({"name": "dice", "provider": None, "version": None}, True),
        ({"name": "weighted_sum", "params": {"terms": [{"name": "bce", "provider": None}]}}, True),
        ({"name": "dice", "provider": "sam"}, False),
        ({"name": "segmentation/dice", "provider": "sam"}, False),
        ({"name": "weighted_sum", "params": {"terms": ["dice", {"name": "bce", "weight": 2}]}}, True),
        ({"name": "weighted_sum", "params": {"terms": [{"name": "bce", "wieght": 2}]}}, False),
        ({"name": "product", "params": {"terms": [{"name": "bce", "weight": 2}]}}, False),
        ({"name": "product", "params": {"terms": [{"name": "weighted_sum", "params": {"terms": ["sam"]}}]}}, True),
        ({"name": "product", "params": {"terms": []}}, False),
    ],
)
def test_by_example(validator, config, expected):
    """Schema and validate both."""
    assert validator.is_valid(config) is expected
    assert is_valid(config) is expected


def test_some_losses():
    """The schema contains the named losses, nested ones included, with all their names."""
    validator = Draft202012Validator(json_schema(["dice_loss", "weighted_sum"]))
    assert validator.is_valid("dice")
    assert not validator.is_valid("bce")
    assert validator.is_valid({"name": "weighted_sum", "params": {"terms": ["dice"]}})
    assert not validator.is_valid({"name": "weighted_sum", "params": {"terms": ["bce"]}})
    with pytest.raises(NotFoundError, match="unknown loss 'dicee'"):
        json_schema(["dicee"])


def test_descriptions_and_defaults_are_there_for_editors():
    """Of the loss and of its parameters."""
    (rule,) = json_schema(["dice"])["$defs"]["loss"]["$defs"]["open"]["else"]["allOf"]
    assert rule["if"]["properties"]["name"]["enum"] == [
        "dice",
        "dice_loss",
        "segmentation/dice",
        "segmentation/dice_loss",
    ]
    variant = rule["then"]
    assert variant["description"].startswith("Overlap as the Dice")
    smooth = variant["properties"]["params"]["properties"]["smooth"]
    assert smooth["default"] == 1.0
    assert smooth["description"].startswith("added to numerator")


def test_a_broken_loss_is_left_out_unless_it_is_named():
    """It has no valid config."""
    with losses.scope():
        losses.register_lazy("gone", "acme_gone:Gone")
        validator = Draft202012Validator(json_schema())
        assert not validator.is_valid("gone")
        assert validator.is_valid("dice")
        with pytest.raises(ProviderError):
            json_schema(["gone"])


def test_a_tied_name_needs_its_provider():
    """As for validate: configs from config_of must be valid."""
    with losses.scope():
        tied = [
            declare("tied", f"acme:{p}", (), ("dice",), {})._replace(provider=p, cls=Plain, state="loaded")
            for p in "ab"
        ]
        put(losses, tied)
        validator = Draft202012Validator(json_schema())
        for config, expected in (
            ("tied", False),
            ("a/tied", True),
            ({"name": "tied"}, False),
            ({"name": "tied", "provider": "a"}, True),
            ({"name": "tied", "provider": "c"}, False),
            ({"name": "tied", "provider": None}, False),
            ({"name": "dice"}, True),
            ({"name": "dice", "provider": "b"}, True),
            ({"name": "dice", "provider": None}, True),
        ):
            assert validator.is_valid(config) is expected, config
            assert is_valid(config) is expected, config


def test_an_alias_that_is_the_name_of_another_loss_is_not_its_name():
    """provider/name wins over provider/alias."""
    with losses.scope():
        pair = [
            declare(name, f"acme:{name}", (), aliases, {})._replace(provider="a", cls=Plain, state="loaded")
            for name, aliases in (("one", ["two"]), ("two", []))
        ]
        put(losses, pair)
        validator = Draft202012Validator(json_schema())
        for config in ("a/two", {"name": "a/two"}, {"name": "two", "provider": "a"}, {"name": "a/one"}):
            assert validator.is_valid(config) is is_valid(config) is True, config
        assert validate("a/two").name == "two"


@pytest.fixture
def slotted():
    """A loss of every kind of slot, and parts for it."""
    slots = {
        "reducer": {"anyOf": [{"$ref": "#/$defs/reducer"}, {"type": "null"}], "default": None},
        "either": {"anyOf": [{"$ref": "#/$defs/loss"}, {"type": "array", "items": {"$ref": "#/$defs/loss"}}]},
        "matrix": {"$ref": "#/$defs/tensor"},
        "act": {"enum": ["relu", "sigmoid"], "functions": {"relu": "torch:relu", "sigmoid": "torch:sigmoid"}},
        "smooth": {"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}]},
        "functions": {"type": "integer"},
    }
    inner = {"inner": {"$ref": "#/$defs/distance"}}
    with losses.scope(), parts.scope():
        losses.register_lazy("slotted", "acme:Slotted", parameters={"properties": slots, "required": []})
        for name, tag, properties in (("mean_of", "reducer", inner), ("l2", "distance", {}), ("hard", "miner", {})):
            described = {"type": "object", "properties": properties, "required": [], "additionalProperties": False}
            parts.register_lazy(name, f"acme:{name}", tags=[tag], parameters=described)
        yield Draft202012Validator(json_schema(["slotted"]))


@pytest.mark.parametrize(
    "params, expected",
    [
        ({"reducer": None}, True),
        ({"reducer": "mean_of"}, True),
        ({"reducer": {"name": "local/mean_of", "params": {"inner": "l2"}}}, True),
        ({"reducer": {"name": "mean_of", "params": {"inner": "mean_of"}}}, False),
        ({"reducer": "l2"}, False),
        ({"reducer": "slotted"}, False),
        ({"reducer": 1}, False),
        ({"reducer": {"name": "mean_of", "parms": {}}}, False),
        ({"either": "slotted"}, True),
        ({"either": ["slotted", {"name": "slotted"}]}, True),
        ({"either": "mean_of"}, False),
        ({"either": [None]}, False),
        ({"matrix": 1.5}, True),
        ({"matrix": [[1, 2], [3, 4]]}, True),
        ({"matrix": [["1"]]}, False),
        ({"matrix": True}, False),
        ({"act": "relu"}, True),
        ({"act": "tanh"}, False),
        ({"smooth": None}, True),
        ({"smooth": 0}, True),
        ({"smooth": -1}, False),
        ({"smooth": "1"}, False),
        ({"functions": 3}, True),
        ({"functions": "relu"}, False),
    ],
)
def test_parts_tensors_and_functions(slotted, params, expected):
    """Schema and validate both."""
    config = {"name": "slotted", "params": params}
    assert slotted.is_valid(config) is expected
    assert is_valid(config) is expected


def test_a_definition_for_each_role_in_use(slotted):
    """Parts within parts are included, other roles are not; targets of functions are left out."""
    assert slotted.schema["$defs"].keys() == {"loss", "tensor", "reducer", "distance"}
    assert json_schema(["dice"])["$defs"].keys() == {"loss"}
    assert "torch:relu" not in json.dumps(slotted.schema)
    Draft202012Validator.check_schema(slotted.schema)


@pytest.mark.parametrize(
    "term, path, message",
    [
        ({"name": "dice", "params": {"smoth": 1}}, ".params", "'smoth' was unexpected"),
        ({"name": "bce", "wieght": 2}, "", "'wieght' was unexpected"),
        ({"name": "dice", "params": {"smooth": -1}}, ".params.smooth", "minimum of 0"),
        ({"name": "dice", "params": {"class_weight": [1, -2]}}, ".params.class_weight[1]", "minimum of 0"),
        ({"name": "dicee"}, ".name", "is not one of"),
        ("dicee", "", "is not one of"),
        (7, "", "7 is not of type 'string', 'object'"),
        ({"name": "weighted_sum"}, "", "'params' is a required property"),
    ],
)
def test_the_only_error_is_where_the_mistake_is(validator, term, path, message):
    """Variants of other names add no errors, at any depth."""
    flat = {"name": "weighted_sum", "params": {"terms": ["dice", term]}}
    deep = {"name": "product", "params": {"terms": [flat]}}
    for config, prefix in ((flat, "$.params.terms[1]"), (deep, "$.params.terms[0].params.terms[1]")):
        (error,) = validator.iter_errors(config)
        assert error.json_path == prefix + path
        assert message in error.message


def test_only_some_providers():
    """Only their losses are valid, nested ones included; an unknown provider is an error."""
    validator = Draft202012Validator(json_schema(providers=["lossreg", "segmentation"]))
    assert validator.is_valid({"name": "product", "params": {"terms": ["dice"]}})
    assert not validator.is_valid("sam")
    assert not validator.is_valid({"name": "product", "params": {"terms": ["sam"]}})
    with pytest.raises(NotFoundError, match=r"no loss is of provider 'segmentatoin'; providers are .*segmentation"):
        json_schema(providers=["segmentatoin"])


def test_at_a_place_in_a_larger_file():
    """As with `lossreg validate --at`, the rest of the file is not checked."""
    validator = Draft202012Validator(json_schema(["dice"], at="training.loss"))
    assert validator.is_valid({"training": {"loss": "dice", "epochs": 3}, "data": []})
    for wrong in ({}, {"training": {}}, {"training": {"loss": "bce"}}, "dice"):
        assert not validator.is_valid(wrong)


def test_names_come_before_aliases():
    """As editors offer them: snake_case, class names, then provider/name."""
    with losses.scope():
        losses.register_lazy("zeta", "acme:Zeta", aliases=["AlphaLoss"], parameters={"properties": {}, "required": []})
        mapping = json_schema(["dice", "zeta"])["$defs"]["loss"]["$defs"]["open"]["else"]
    enum = mapping["properties"]["name"]["enum"]
    assert enum[:4] == ["dice", "dice_loss", "zeta", "AlphaLoss"]
    assert enum[4:] == ["local/zeta", "local/AlphaLoss", "segmentation/dice", "segmentation/dice_loss"]


def test_it_stays_compact():
    """Each parameter is described once, for any number of slots."""
    ours = {"lossreg", "segmentation", "sam"}
    described = [dict(entry.metadata) for entry in losses.entries() if entry.provider in ours]
    text = json.dumps(json_schema(providers=ours))
    assert [text.count(json.dumps(metadata["summary"])) for metadata in described] == [1] * len(described)
    assert len(text) < sum(len(json.dumps(metadata)) for metadata in described)


# ---- schemas of some losses


NOTHING = {
    "no names": ([], None, "names has no loss; write names=None"),
    "another provider": (
        ["dice"],
        ["sam"],
        "segmentation/dice is of none of the given providers, sam; add segmentation",
    ),
    "one of two": (["sam", "dice"], ["sam"], "segmentation/dice is of none of the given providers, sam"),
    "no provider": (None, [], "providers is empty; write providers=None, or leave it out"),
    "no provider for a loss": (["dice"], [], "providers is empty"),
}


@pytest.mark.parametrize("names, providers, message", NOTHING.values(), ids=NOTHING)
def test_a_schema_of_nothing_is_refused(names, providers, message):
    """It would accept no config, and nobody wants that."""
    with pytest.raises(NotFoundError, match=re.escape(message)):
        json_schema(names, providers=providers)


def test_the_cure_for_a_loss_of_another_provider_works():
    """Both ways."""
    Draft202012Validator(json_schema(["sam", "dice"], providers=["sam", "segmentation"]))
    Draft202012Validator(json_schema(["sam"], providers=["sam"]))


def test_the_command_says_so_too():
    """And exits with an error."""
    done = CliRunner().invoke(app, ["schema", "dice", "--provider", "sam"])
    assert done.exit_code != 0
    assert isinstance(done.exception, NotFoundError) or "segmentation/dice is of none" in done.output


def test_a_provider_with_broken_losses_alone_is_refused():
    """They have no valid config."""
    with losses.scope():
        losses.register_lazy("gone", "acme_gone:Gone")
        with pytest.raises(NotFoundError, match="no loss of local can be described; `lossreg doctor` shows"):
            json_schema(providers=["local"])


def test_a_part_that_nothing_provides_is_never_valid(slotted):
    """A loss whose miners are switched off has no valid miner, and a schema without empty lists."""
    with parts.scope():
        parts.unregister("mean_of")
        schema = json_schema(["slotted"])
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator(schema)
        for params, expected in (({"reducer": None}, True), ({"reducer": "mean_of"}, False), ({"reducer": {}}, False)):
            config = {"name": "slotted", "params": params}
            assert validator.is_valid(config) is expected is is_valid(config), config


def test_losses_that_all_need_parameters_are_no_bare_names():
    """The message is of the type."""
    validator = Draft202012Validator(json_schema(["weighted_sum"]))
    (error,) = validator.iter_errors("weighted_sum")
    assert error.message == "'weighted_sum' is not of type 'object'"


def _empty_lists(schema, path=""):
    """The places of empty lists that 2020-12 forbids, or that editors cannot compile."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("allOf", "anyOf", "oneOf", "enum", "prefixItems") and value == []:
                yield f"{path}/{key}"
            yield from _empty_lists(value, f"{path}/{key}")
    if isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from _empty_lists(value, f"{path}/{index}")


@pytest.mark.tools  # takes seconds
@settings(max_examples=examples(20, 100), deadline=None)
@given(st.data())
def test_every_schema_is_a_json_schema(data):
    """Of any losses, providers and switches; or it is refused."""
    entries = [entry for entry in losses.entries() if entry.state in ("discovered", "loaded")]
    names = data.draw(st.none() | st.lists(st.sampled_from([entry.full_name for entry in entries]), max_size=4))
    providers = data.draw(st.none() | st.sets(st.sampled_from(sorted(losses.providers)), max_size=5))
    off = data.draw(
        st.sets(st.sampled_from(sorted(parts.providers)), max_size=5) if parts.providers else st.just(set())
    )
    with losses.scope(), parts.scope():
        for entry in parts.entries():
            if entry.provider in off:
                parts.unregister(entry.full_name)
        try:
            schema = json_schema(names, providers=providers, at=data.draw(st.sampled_from(["", "a.b"])))
        except (NotFoundError, DisabledError, MissingLibraryError):
            return
    Draft202012Validator.check_schema(schema)
    assert [*_empty_lists(schema)] == []
