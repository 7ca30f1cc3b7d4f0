"""Stubs of hostile manifests: for any text in them the stub is Python, and holds our own statements alone."""

import ast
import json
from collections import Counter
from zlib import crc32

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lossreg import Entry, Registry
from lossreg.authoring import stubs
from lossreg.authoring.stub_names import camel
from lossreg.config import spellings
from lossreg.discovery import manifest
from lossreg.registry.entry import Discovered

HOSTILE = [
    "class",
    "None",
    "l²",
    "ﬁ",
    "__private",
    "a b",
    "a: int\nimport os\nclass B:\n    x",
    '"""',
    "\\",
    "3d",
    "typed",
    "Loss",
    "loss_config",
    "_",
    "名",
    "a.b",
    "名²",
    "",
    "\ud83d",
    "name",
    "config",
    "providers",
]
TEXT = st.sampled_from(HOSTILE) | st.text(max_size=4)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.lists(TEXT, max_size=2)
SLOTS = st.fixed_dictionaries(
    {"$ref": st.builds("#/$defs/{}".format, TEXT)},
    optional={
        "properties": st.dictionaries(TEXT, st.sampled_from([{"type": "number"}, {}, {"type": "string"}]), max_size=2),
        "required": st.lists(TEXT, max_size=2),
    },
)
SIMPLE = SLOTS | st.sampled_from([{}, {"type": "number"}, {"type": "null"}, {"$ref": "#/$defs/tensor"}, {"type": "x"}])
KINDS = st.recursive(
    SIMPLE | st.builds(lambda values: {"enum": values}, st.lists(VALUES, max_size=3)),
    lambda inner: st.one_of(
        st.builds(lambda kinds: {"anyOf": kinds}, st.lists(inner, max_size=2)),
        st.builds(lambda kinds: {"type": "array", "prefixItems": kinds}, st.lists(inner, max_size=2)),
        st.builds(lambda kind: {"type": "array", "items": kind}, inner),
        st.builds(lambda kind: {"type": "object", "additionalProperties": kind}, inner),
    ),
    max_leaves=4,
)
SCHEMAS = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(TEXT, KINDS, max_size=3)},
    optional={"required": st.lists(TEXT, max_size=2) | st.just(5)},
)
NAMES = st.sampled_from(["a", "a_params", "Config", "l²", "class", "none", "名", "a.b", "dict", "config"])
TARGETS = st.sampled_from(["acme:A", "acme.b:C.D", "acme:class", "acme:A²", "os:system", "acme:f.<locals>.A"])
PROVIDERS = st.sampled_from(["a", "3d-losses", "_", "loss", "l²", "class", "typed", "a.a", "1", "__"])
LOSSES = st.fixed_dictionaries(
    {"target": TARGETS}, optional={"parameters": SCHEMAS, "summary": TEXT, "aliases": st.lists(NAMES, max_size=2)}
)


def stub_of(losses, provider, parts=()):
    """Return the stub of a manifest's losses, as if nothing else were installed."""
    found = manifest.entries({"losses": losses}, "acme", provider=provider, distribution="acme", version="1")
    entries = tuple(entry for entry in found if isinstance(entry, Entry))
    registry = Registry("torch.nn:Module", name="losses", discover=lambda: Discovered(entries))
    nothing = Registry("torch.nn:Module", name="parts", discover=lambda: Discovered(tuple(parts)))
    with pytest.MonkeyPatch.context() as patch:
        for module in (stubs, spellings):
            patch.setattr(module, "registry_of", lambda role: registry if role == "loss" else nothing)
        return stubs.stub()


def check(text):
    """Check that a stub is Python, and consists of the statements that a stub has, with each name once."""
    names = Counter()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom):
            assert node.module in ("typing", "torch", "collections.abc") or node.module.startswith("lossreg.")
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.ClassDef):
            names[node.name] += 1
            assert all(map(is_plain, node.body)) or node.name == "_Unknown"
        elif isinstance(node, ast.Assign):
            assert ast.unparse(node.value.func) == "TypedDict"
            assert node.targets[0].id == node.value.args[0].value
            names[node.targets[0].id] += 1
        elif isinstance(node, ast.AnnAssign):
            names[node.target.id] += 1
        else:
            assert isinstance(node, ast.FunctionDef)
            assert (node.name, is_plain(node.body[0])) == ("build", True)
    text.encode()
    assert [name for name, times in names.items() if times > 1] == []


def is_plain(node):
    return isinstance(node, ast.AnnAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.dictionaries(NAMES, LOSSES, min_size=1, max_size=3), PROVIDERS)
@example({"vol_hinge": {"target": "acme:A"}}, "3d-losses")
@example({"a": {"target": "acme:A"}, "a_params": {"target": "acme:B"}}, "_")
@example({"loss": {"target": "acme:A"}}, "_")
def test_the_stub_is_python_and_our_own(losses, provider):
    """Names of providers and losses, targets, roles, keys of slots, parameters, values and summaries."""
    check(stub_of(losses, provider))


def parameters(**properties):
    return {"target": "acme:A", "parameters": {"type": "object", "properties": properties}}


def slot(role, **properties):
    return {"$ref": f"#/$defs/{role}", "properties": properties}


@pytest.mark.parametrize("role", [each for each in HOSTILE if each])
def test_a_slot_of_any_role_is_written(role):
    """Also where the entries are written without a check of their schema."""
    inner = parameters(a={"$ref": f"#/$defs/{role}"}, b={"type": "array", "items": {"$ref": f"#/$defs/{role}"}})
    check(raw_stub(inner))


def raw_stub(described):
    """Return the stub of one entry that no manifest's check has seen."""
    entry = Entry("a", described["target"], "acme", tags=frozenset(), metadata=described)
    registry = Registry("torch.nn:Module", name="losses", discover=lambda: Discovered((entry,)))
    with pytest.MonkeyPatch.context() as patch:
        for module in (stubs, spellings):
            patch.setattr(module, "registry_of", lambda role: registry)
        return stubs.stub()


@pytest.mark.parametrize("key", HOSTILE)
def test_a_key_of_a_slot_is_a_key_and_no_statement(key):
    """Keys that the body of a class cannot declare are written in a call, beside those of every config."""
    text = raw_stub(parameters(terms=slot("loss", **{key: {"type": "number"}}), other=slot("loss", weight={})))
    check(text)
    if key == "name":  # of every config: the slot cannot redefine it
        return
    keys = {each.value for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Constant)}
    fields = {each.target.id for each in ast.walk(ast.parse(text)) if isinstance(each, ast.AnnAssign)}
    assert key in keys | fields


@pytest.mark.parametrize(
    "described",
    [
        parameters(x={"anyOf": []}),
        parameters(x={"type": "array", "items": {"anyOf": []}}),
        parameters(x={"type": "array", "prefixItems": []}),
        parameters(x={"enum": []}),
        {**parameters(x={}), "target": "pq:class"},
        {**parameters(x={}), "target": "pq:A²"},
        {"target": "acme:A", "parameters": {"properties": 5}},
    ],
    ids=lambda described: json.dumps(described)[:60],
)
def test_a_loss_whose_parameters_are_no_python_keeps_its_name(described):
    """Its overloads take its names, with any parameters."""
    text = raw_stub(described)
    check(text)
    assert "config: Literal['a', 'acme/a']" in text
    assert "class AcmeAConfig" in text


def test_an_untyped_target_is_a_module(site):
    """A keyword as the name of a class would be imported otherwise: the package is typed, and its file is there."""
    name = f"acme_{crc32(b'stub target')}"
    site.package(name).joinpath("py.typed").touch()
    assert f"from {name} import A as _AcmeA" in raw_stub({"target": f"{name}:A"})
    text = raw_stub({"target": f"{name}:class"})
    check(text)
    assert name not in text


@pytest.mark.parametrize(
    "name, expected",
    [
        ("3d-losses/vol_hinge", "L3dLossesVolHinge"),
        ("acme/l²", "AcmeL2"),
        ("acme/class", "AcmeClass"),
        ("名/ﬁ", "名Fi"),
        ("_", "L"),
        ("a b\nimport os", "ABImportOs"),
    ],
)
def test_camel_is_an_identifier(name, expected):
    """Of any text, as Python reads it."""
    assert camel(name) == expected
    assert expected.isidentifier()
