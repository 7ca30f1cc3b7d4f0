"""Declarations of decorators: part of the snapshot, as the entries are."""

import sys

import pytest

from lossreg import Registry
from lossreg.registry.entry import Discovered, declare

from ..fakes import BASE

SOURCE = """
    from acme_base import Module
    from acme_table import registry

    @registry.register("declared")
    class Declared(Module): ...
"""


def test_a_declaration_is_kept_as_the_decorator_made_it(base):
    """The manifest's name and tags are in the entry, the decorator's in the declaration."""
    cls = type("Dice", (base,), {"__module__": "acme_pkg"})
    known = declare("dice", "acme_pkg:Dice", ["overlap"], [], {"summary": "Of the manifest."}, provider="acme")
    registry = Registry(base, discover=lambda: Discovered((known,)))
    registry.register("mine", tags=["other"], summary="Of the code.")(cls)
    (declared,), entry = registry.declarations, registry.entry("mine")
    assert (declared.name, declared.tags, declared.metadata["summary"]) == ("mine", {"other"}, "Of the code.")
    assert (entry.name, entry.tags, entry.metadata["summary"]) == ("dice", {"overlap"}, "Of the manifest.")
    assert declared.cls is entry.cls is cls


def test_a_scope_leaves_no_declaration(registry, base):
    """A removed one is back, and a replaced one is as it was."""
    kept = registry.register("kept", tags=["a"])(type("Kept", (base,), {"__module__": __name__}))
    before = registry.declarations
    with registry.scope():
        registry.register("new")(type("New", (base,), {"__module__": __name__}))
        registry.register("again", tags=["b"])(kept)
        registry.unregister("kept")
        assert [entry.target for entry in registry.declarations] == [f"{__name__}:New"]
    assert registry.declarations == before


def test_an_entry_that_is_removed_has_no_declaration(registry, base):
    """So that no manifest contains it."""
    registry.register("again")(registry.register("x")(type("X", (base,), {})))
    assert [entry.name for entry in registry.declarations] == ["x", "again"]
    registry.unregister("x")
    assert registry.declarations == ()


def test_undoing_a_lazy_registration_keeps_what_a_decorator_declared(registry, base):
    """Undoing removes what it added, and nothing else."""
    undo = registry.register_lazy("y", f"{__name__}:Y", tags=["lazy"])
    cls = registry.register("y", tags=["code"])(type("Y", (base,), {"__module__": __name__}))
    undo()
    assert [entry.cls for entry in registry.declarations] == [cls]
    assert registry.get("y") is cls
    assert registry.list_with_tags() == {"y": ["code"]}


def test_a_module_that_is_imported_in_a_scope_keeps_its_declarations(site):
    """Its decorators will not run again, and a manifest is made from them; its entries are undone."""
    site.module("acme_table", "registry = None")
    registry = Registry(BASE)
    __import__("acme_table").registry = registry
    site.module("acme_declared", SOURCE)
    with registry.scope():
        __import__("acme_declared")
        assert registry.list() == ["declared"]
    assert registry.list() == []
    (declared,) = registry.declarations
    assert declared.cls is sys.modules["acme_declared"].Declared


@pytest.mark.parametrize("count", [1, 300])
def test_many_declarations(registry, base, count):
    """None is lost."""
    for number in range(count):
        registry.register(f"n{number}")(type(f"N{number}", (base,), {}))
    assert len(registry.declarations) == count
