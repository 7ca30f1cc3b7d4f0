"""Entries are immutable all the way down; copies of them can be changed."""

import copy
import json
import pickle

import pytest

import lossreg
from lossreg import Entry, losses, validate
from lossreg.registry.frozen import Metadata

CHANGES = (
    lambda m: m["contract"].update(x=1),
    lambda m: m["contract"].pop("input"),
    lambda m: m["contract"].setdefault("x", 1),
    lambda m: m["contract"].clear(),
    lambda m: m["contract"].popitem(),
    lambda m: m["contract"].__ior__({"x": 1}),
    lambda m: m["contract"].__setitem__("input", 1),
    lambda m: m["contract"].__delitem__("input"),
    lambda m: m["contract"]["tasks"].append("x"),
    lambda m: m["contract"]["tasks"].extend(["x"]),
    lambda m: m["contract"]["tasks"].insert(0, "x"),
    lambda m: m["contract"]["tasks"].remove("binary"),
    lambda m: m["contract"]["tasks"].pop(),
    lambda m: m["contract"]["tasks"].sort(),
    lambda m: m["contract"]["tasks"].reverse(),
    lambda m: m["contract"]["tasks"].clear(),
    lambda m: m["contract"]["tasks"].__setitem__(0, "x"),
    lambda m: m["contract"]["tasks"].__delitem__(0),
    lambda m: m["contract"]["tasks"].__iadd__(["x"]),
    lambda m: m["contract"]["tasks"].__imul__(2),
    lambda m: m["parameters"]["properties"]["smooth"].update(default=99.0),
)


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_metadata_cannot_be_changed(number):
    """Neither a manifest's nor the parts nested in it; the default of a config stays."""
    metadata = losses.entry("dice").metadata
    before = json.dumps(dict(metadata))
    with pytest.raises(TypeError, match=r"metadata of an entry cannot be changed; change a copy\.deepcopy of it"):
        CHANGES[number](metadata)
    assert json.dumps(dict(losses.entry("dice").metadata)) == before
    assert validate("dice").params["smooth"] == 1.0


def test_the_mapping_itself_has_no_way_to_be_changed():
    """The metadata of no entry is that of another."""
    metadata = Entry("a", "b:C").metadata
    with pytest.raises(TypeError):
        metadata["k"] = 1
    assert dict(Entry("x", "y:Z").metadata) == {}


def test_what_the_author_changes_later_changes_no_entry(registry, base):
    """In a decorator, a lazy registration and an entry."""
    contract = {"tasks": ["binary"]}
    registry.register("a", contract=contract)(type("A", (base,), {}))
    registry.register_lazy("b", "m:B", contract=contract)
    registry.add(Entry("c", "m:C", metadata={"contract": contract}))
    contract["tasks"].append("changed")
    contract["more"] = 1
    for name in "abc":
        assert registry.entry(name).metadata["contract"] == {"tasks": ["binary"]}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda metadata: json.loads(json.dumps(dict(metadata)))])
def test_a_copy_can_be_changed(duplicate):
    """It is the remedy in the message."""
    metadata = losses.entry("dice").metadata
    copied = duplicate({**metadata})
    copied["contract"]["tasks"].append("x")
    assert "x" not in metadata["contract"]["tasks"]


def test_metadata_is_sent_between_processes_and_stays_frozen():
    """An entry is pickled with it."""
    metadata = pickle.loads(pickle.dumps(losses.entry("dice").metadata))
    assert isinstance(metadata, Metadata)
    assert dict(metadata) == dict(losses.entry("dice").metadata)
    with pytest.raises(TypeError, match="cannot be changed"):
        metadata["contract"]["tasks"].append("x")
    assert repr(metadata) == repr({**metadata})


def test_a_value_is_the_same_object_at_each_reading():
    """The record of a schema is remembered by its identity."""
    metadata = lossreg.losses.entry("dice").metadata
    assert metadata["parameters"] is lossreg.losses.entry("dice").metadata["parameters"]
