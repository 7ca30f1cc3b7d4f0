"""The keywords of `register` and `register_lazy`, and the check of their metadata, which is that of a manifest."""

import re

import pytest

from lossreg import InvalidNameError, WrongBaseClassError
from lossreg.discovery.manifest import entries

METADATA = {
    "contract": {"input": "logits", "tasks": ["binary"]},
    "summary": "A loss.",
    "family": "dice",
    "example": {"size": 3},
    "renamed": {"eps": "smooth"},
}


def test_each_keyword_is_kept_in_the_entry(registry, base):
    """Those that are None are not."""
    registry.register("x", **METADATA)(type("X", (base,), {}))
    assert registry.entry("x").metadata == METADATA
    registry.register("y", **dict.fromkeys(METADATA))(type("Y", (base,), {}))
    assert registry.entry("y").metadata == {}
    more = {"parameters": {"properties": {}}, "formula": "a", "shapes": "b", "source": "c"}
    registry.register_lazy("z", "acme:Z", **METADATA, **more)
    assert registry.entry("z").metadata == METADATA | more


@pytest.mark.parametrize(
    "keyword, message",
    [
        ("tag", "register() has no keyword 'tag'; did you mean 'tags'?"),
        ("alias", "register() has no keyword 'alias'; did you mean 'aliases'?"),
        ("sumary", "register() has no keyword 'sumary'; did you mean 'summary'?"),
        (
            "zzz",
            "register() has no keyword 'zzz'; it has name, tags, aliases, contract, summary, family, example, renamed",
        ),
    ],
)
def test_another_keyword_is_a_type_error_with_the_near_one(registry, keyword, message):
    """When the decorator is made, before any class is there."""
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        registry.register("x", **{keyword: ["a"]})


def test_a_lazy_registration_has_the_same_check(registry):
    """And a manifest's further keywords."""
    with pytest.raises(TypeError, match=r"^register_lazy\(\) has no keyword 'parameter'; did you mean 'parameters'\?$"):
        registry.register_lazy("x", "acme:X", parameter={})
    with pytest.raises(TypeError, match=r"^register_lazy\(\): parameters have no properties$"):
        registry.register_lazy("x", "acme:X", parameters={})
    assert len(registry) == 0


@pytest.mark.parametrize(
    "metadata, message",
    [
        ({"contract": ["logits"]}, "contract must be an object, got list"),
        ({"summary": 5}, "summary must be text, got int"),
        ({"family": ["dice"]}, "family must be text, got list"),
        ({"example": "x"}, "example must be an object, got str"),
        ({"renamed": {"eps": 5}}, "renamed parameter eps must be text, got int"),
        ({"contract": {"implementations": []}}, "implementations must be an object, got list"),
        (
            {"contract": {"implementations": {"a": {"package": "zoo.inner"}}}},
            "an implementation's package must be a top-level one, got 'zoo.inner'",
        ),
    ],
)
def test_a_decorator_and_a_manifest_have_one_check(registry, metadata, message):
    """The same words for the same mistake."""
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        registry.register("x", **metadata)
    data = {"losses": {"x": {"target": "acme:X", **metadata}}}
    (error,) = entries(data, "acme")
    assert message in str(error)


def test_a_name_is_checked_when_the_decorator_is_made(registry, base):
    """Of a class without a given name, its own name is checked with it."""
    with pytest.raises(InvalidNameError, match="name must be a letter followed by"):
        registry.register("not a name")
    with pytest.raises(InvalidNameError, match="alias must be a letter"):
        registry.register("x", aliases=["not a name"])
    with pytest.raises(InvalidNameError, match=r"name must be a letter followed by .*, got 'a b'"):
        registry.register(type("a b", (base,), {}))


@pytest.mark.parametrize("decorate", [lambda registry: registry.register, lambda registry: registry.register("x")])
@pytest.mark.parametrize("function", [lambda a: a, len], ids=["lambda", "builtin"])
def test_a_function_is_refused_with_the_remedy(registry, decorate, function):
    """It has to be wrapped by a class."""
    remedy = r"; write a class derived from tests\.conftest\.Base that calls the function$"
    with pytest.raises(WrongBaseClassError, match=remedy):
        decorate(registry)(function)
    with pytest.raises(WrongBaseClassError, match=r"got <class 'int'>$"):
        registry.register("x")(int)
