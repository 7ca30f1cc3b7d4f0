"""Parameters read from a signature; manifest and class give one verdict."""

from __future__ import annotations

import inspect
import json
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict, Unpack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from lossreg import InvalidConfigError, ManifestError, losses, validate
from lossreg.parameters.from_signature import describe
from lossreg.parameters.kinds import record_of
from lossreg.registry.entry import declare

from ..budget import examples
from ..configs import junk, mutated, valid
from ..fakes import put
from ..kinds import KINDS, Module


class Options(TypedDict, total=False):
    smooth: float
    mode: Literal["a", "b"]


class Color(Enum):
    RED = object()


def make(parameters: dict[str, tuple[Any, Any]]) -> type:
    """Make a class whose constructor has these parameters, each an annotation and a default."""

    def __init__(self, **given):
        Module.__init__(self)
        self.given = given

    kind = inspect.Parameter.KEYWORD_ONLY
    self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    made = [
        inspect.Parameter(name, kind, default=default, annotation=hint) for name, (hint, default) in parameters.items()
    ]
    __init__.__signature__ = inspect.Signature([self, *made])
    __init__.__annotations__ = {name: hint for name, (hint, _) in parameters.items()}
    return type("Made", (Module,), {"__init__": __init__})


def verdict(cls, config, metadata):
    """Return the params or the problems, with the class registered as "made" with this metadata."""
    with losses.scope():
        entry = declare("made", "made:Made", (), (), metadata)._replace(cls=cls, state="loaded")
        losses.add(entry)
        return outcome(config)


def outcome(config):
    try:
        return validate(config).model_dump()
    except InvalidConfigError as error:
        return error.problems


def both(cls, config):
    """Return the verdict from the class; that from the manifest has equal values and errors."""
    from_class = verdict(cls, config, {})
    from_manifest = verdict(cls, config, {"parameters": json.loads(json.dumps(describe(cls)))})
    assert from_class == from_manifest
    assert repr(from_class) == repr(from_manifest)  # 1 is not 1.0 here
    return from_class


@pytest.mark.parametrize("hint, schema, accepted, refused", KINDS, ids=[str(kind[0])[:60] for kind in KINDS])
def test_each_kind_of_annotation(hint, schema, accepted, refused):
    """Schema, accepted and refused values are the same for class and manifest."""
    cls = make({"p": (hint, inspect.Parameter.empty)})
    assert describe(cls)["properties"] == {"p": schema}
    assert describe(cls)["required"] == ["p"]
    for value in accepted:
        checked = both(cls, {"name": "made", "params": {"p": value}})
        assert isinstance(checked, dict), checked
        if "$ref" not in json.dumps(schema):
            assert checked["params"]["p"] == value
    for value in refused:
        problems = both(cls, {"name": "made", "params": {"p": value}})
        assert isinstance(problems, tuple), value
        assert all(problem.path.startswith("params.p") for problem in problems)
    assert isinstance(both(cls, "made"), tuple)


chosen = st.dictionaries(st.sampled_from(["a", "b", "schema", "copy", "name"]), st.sampled_from(KINDS), min_size=1)


@settings(max_examples=examples(100, 300), deadline=None)
@given(chosen, st.data())
def test_manifest_and_class_give_one_verdict_on_any_signature(kinds, data):
    """Verdicts are equal for valid, invalid and random values, with and without defaults."""
    parameters = {}
    for name, (hint, _, accepted, _) in kinds.items():
        plain = [value for value in accepted if "dice" not in json.dumps(value) and not hasattr(hint, "_fields")]
        defaults = [inspect.Parameter.empty, None, *plain]
        parameters[name] = (hint, data.draw(st.sampled_from(defaults), label=f"default of {name}"))
    params = {}
    for name, (_, _, accepted, refused) in kinds.items():
        if data.draw(st.booleans()):
            params[name] = data.draw(st.sampled_from([*accepted, *refused]) | junk, label=name)
    checked = both(make(parameters), {"name": "made", "params": params})
    if isinstance(checked, dict):
        assert set(checked["params"]) == {
            name
            for name, (_, default) in parameters.items()
            if default is not inspect.Parameter.empty or name in params
        }


@settings(max_examples=examples(100, 400), deadline=None)
@given(valid() | mutated())
def test_manifest_and_class_give_one_verdict_on_first_party_losses(torch, config):
    """Shipped manifests and classes give equal verdicts."""
    from_manifest = outcome(config)
    with losses.scope():
        put(losses, [entry._replace(metadata={}) for entry in losses.entries()])
        from_class = outcome(config)
    assert repr(from_manifest) == repr(from_class)


@pytest.mark.parametrize(
    "default, schema, value",
    [
        (1, {"type": "number", "default": 1}, 0.5),
        (1.5, {"type": "number", "default": 1.5}, 2.5),
        (True, {"type": "boolean", "default": True}, False),
        ("x", {"type": "string", "default": "x"}, "y"),
        ([1], {"type": "array", "default": [1]}, ["x"]),
        (((1, 2),), {"type": "array", "default": [[1, 2]]}, []),
        (None, {"default": None}, {"anything": 1}),
    ],
)
def test_without_an_annotation_the_default_has_the_type(default, schema, value):
    """An int as default allows floats; None allows anything."""
    cls = make({"p": (inspect.Parameter.empty, default)})
    assert describe(cls)["properties"]["p"] == schema
    assert both(cls, "made")["params"]["p"] == schema["default"]
    assert both(cls, {"name": "made", "params": {"p": value}})["params"]["p"] == value


@pytest.mark.parametrize("hint", [range, type[int], bytes])
@pytest.mark.parametrize("default", [1, "x", None, [1]])
def test_an_annotation_that_no_data_stands_for_leaves_the_parameter_out(hint, default):
    """The constructor has its default: a value of another type is no promise kept."""
    cls = make({"p": (hint, default)})
    assert describe(cls)["properties"] == {}
    assert isinstance(both(cls, {"name": "made", "params": {"p": default}}), tuple)


def test_a_default_that_no_config_can_hold_leaves_the_parameter_out():
    """Only the constructor has it. An infinite default with a type leaves a parameter without default."""
    cls = make({"a": (range, print), "b": (inspect.Parameter.empty, Color.RED), "c": (float, float("inf"))})
    assert describe(cls) == {
        "type": "object",
        "properties": {"c": {"type": "number"}},
        "required": [],
        "additionalProperties": False,
    }
    assert both(cls, "made")["params"] == {}


@pytest.mark.parametrize("hint", [float, int, list[int], Literal["a"], Module, list[Module], Annotated[str, Field()]])
def test_none_as_a_default_is_allowed_as_a_value(hint):
    """`weight: float = None` is usual in older code: a completed config must be valid."""
    cls = make({"p": (hint, None)})
    completed = both(cls, "made")
    assert completed["params"] == {"p": None}
    assert both(cls, {"name": "made", "params": completed["params"]})["params"] == {"p": None}


def test_the_whole_chain_of_constructors_counts():
    """**kwargs means the next constructor's parameters; the nearest declaration wins; descriptions are collected."""

    class Grand(Module):
        """Base.

        Args:
            mode: grand's mode.
            hidden: not passed on.
        """

        def __init__(self, mode="x", hidden=1):
            super().__init__()

    class Parent(Grand):
        """Middle.

        Args:
            smooth: added.
        """

        def __init__(self, *args, smooth: float = 1.0, mode: Literal["x", "y"] = "y", **kwargs: Any):
            super().__init__(mode, **kwargs)

    class Child(Parent):
        def __init__(self, gamma: Annotated[float, Field(ge=0)] = 1, /, *, alpha: float, **options: Unpack[Options]):
            super().__init__(**options)

    assert list(describe(Parent)["properties"]) == ["smooth", "mode", "hidden"]
    described = describe(Child)
    assert described["required"] == ["alpha"]
    assert described["properties"] == {
        "alpha": {"type": "number"},
        "smooth": {"type": "number", "default": 1.0, "description": "added."},
        "mode": {"type": "string", "enum": ["x", "y"], "default": "y", "description": "grand's mode."},
        "hidden": {"type": "number", "default": 1, "description": "not passed on."},
    }


def test_an_annotation_that_exists_for_type_checkers_only_is_passed_over():
    """The defaults still have types."""

    class Lazy(Module):
        def __init__(self, a: NotImported = 1.5, b: float = 2.0):  # noqa: F821
            super().__init__()

    assert describe(Lazy)["properties"]["a"] == {"type": "number", "default": 1.5}


def test_parameters_of_a_class_that_is_not_ours(torch):
    """Annotations of torch are read."""
    reduction = describe(torch.nn.L1Loss)["properties"]["reduction"]
    assert (reduction["type"], reduction["default"]) == ("string", "mean")


@pytest.mark.parametrize(
    "part", [5, {"type": "number", "minimum": "x"}, {"anyOf": 5}, {"type": "string", "pattern": "("}, {"type": ["x"]}]
)
def test_a_manifest_whose_parameters_are_garbage_is_a_manifest_error(part):
    """Reading a manifest finds most of it; the rest is found on first use: listing does not import pydantic."""
    with pytest.raises(ManifestError, match="the schema of the parameters cannot be read"):
        record_of({"type": "object", "properties": {"p": part}, "required": []}).check({"p": 1})


def test_ctrl_c_while_a_schema_is_compiled_is_no_error_of_the_schema(monkeypatch):
    """pydantic's core raises it as text; the next call compiles the schema."""
    import pydantic_core

    record = record_of({"type": "object", "properties": {"p": {"type": "number"}}, "required": []})

    def interrupted(*_):
        raise pydantic_core.SchemaError('Error building "literal" validator:\n  KeyboardInterrupt: ')

    with monkeypatch.context() as patch:
        patch.setattr(pydantic_core, "SchemaValidator", interrupted)
        with pytest.raises(KeyboardInterrupt):
            record.check({"p": 1.0})
        with pytest.raises(KeyboardInterrupt):
            record.fields["p"].takes(1.0)
    assert record.check({"p": 1.0}) == {"p": 1.0}


def test_a_description_is_made_once():
    """A second call returns the same object."""
    cls = make({"p": (float, 1.0)})
    assert describe(cls) is describe(cls)
