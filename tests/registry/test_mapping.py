"""A registry as a Mapping: imports, defaults and identity."""

import sys
from collections.abc import Mapping

import pytest

from lossreg import AmbiguousNameError, DisabledError, InvalidNameError, NotFoundError, ProviderError, Registry
from lossreg.registry.entry import Discovered, declare

from ..fakes import BASE


@pytest.fixture
def two(site):
    """A registry of two modules that are not imported, one of them with an alias."""
    for name in ("dice", "focal"):
        site.plain(f"acme_map_{name}", name.title())
    registry = Registry(BASE, name="losses")
    registry.register_lazy("dice", "acme_map_dice:Dice", aliases=["dice_loss"])
    registry.register_lazy("focal", "acme_map_focal:Focal")
    return registry


def imported():
    return {name for name in sys.modules if name.startswith("acme_map_")}


def test_it_is_a_mapping_of_names(two):
    """Names, length, membership and equality import nothing; an item imports its own class."""
    assert isinstance(two, Mapping)
    assert list(two) == list(two.keys()) == two.list() == ["dice", "focal"]
    assert len(two) == 2
    assert "dice_loss" in two
    assert two == two
    assert two != Registry(BASE, name="losses")
    assert two != {}
    assert len({two, two}) == 1
    assert not imported()
    assert two["dice_loss"] is two["dice"] is two.get("dice") is sys.modules["acme_map_dice"].Dice
    assert imported() == {"acme_map_dice"}


def test_values_items_and_dict_import_every_class(two):
    """As a Mapping's do."""
    assert dict(two) == {"dice": two.get("dice"), "focal": two.get("focal")}
    assert [cls.__name__ for cls in two.values()] == ["Dice", "Focal"]
    assert [(name, cls.__name__) for name, cls in two.items()] == [("dice", "Dice"), ("focal", "Focal")]


def test_a_default_is_for_an_unknown_name_alone(site):
    """A name that exists and cannot be used is an error with its reason, also with a default."""
    site.module("acme_map_bad", "raise ImportError('no GPU')")
    entries = [
        declare("bad", "acme_map_bad:Bad", [], [], {}),
        declare("off", "acme_map:Off", [], [], {})._replace(state="disabled", reason="of a test"),
        declare("tied", "a:Tied", [], [], {}, provider="a"),
        declare("tied", "b:Tied", [], [], {}, provider="b"),
    ]
    registry = Registry(BASE, name="losses", discover=lambda: Discovered(tuple(entries)))
    assert registry.get("nothing", None) is None
    assert registry.get("nothing", default=5) == 5
    for name, error in (
        ("bad", ProviderError),
        ("off", DisabledError),
        ("tied", AmbiguousNameError),
        (5, InvalidNameError),
        (["dice"], InvalidNameError),
    ):
        with pytest.raises(error):
            registry.get(name, None)
    for look_up in (registry.get, registry.__getitem__):
        with pytest.raises(NotFoundError):
            look_up("nothing")


def test_a_class_is_looked_up_again_after_a_change(two):
    """A remembered class is forgotten with its entry, and with its replacement."""
    first = two["dice"]
    assert two["dice"] is first
    two.unregister("dice")
    with pytest.raises(NotFoundError):
        two["dice"]
    second = type("Dice", (sys.modules["acme_base"].Module,), {})
    two.register("dice")(second)
    assert two["dice"] is second
    third = type("Dice", (sys.modules["acme_base"].Module,), {})
    two.register("dice")(third)
    assert two["dice"] is third


def test_providers_are_those_that_have_entries(two):
    """Of the entries now: a provider is gone with its last entry."""
    assert two.providers == {"local"}
    undo = two.add(declare("other", "acme_map_dice:Other", None, (), {}, provider="acme"))
    assert two.providers == {"local", "acme"}
    undo()
    assert two.providers == {"local"}
    assert not imported()
