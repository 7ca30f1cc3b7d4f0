"""Undoing: it removes exactly the addition, at any order of the additions."""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossreg import ConflictError, NotFoundError, Registry
from lossreg.registry.entry import Discovered, declare

from ..fakes import BASE


def seen(registry):
    """Return everything that a reader of a registry sees."""
    names = {name: (entry.full_name, entry.aliases, entry.tags, entry.cls) for name, entry in names_of(registry)}
    return names, registry.declarations


def names_of(registry):
    return [(name, registry.entry(name)) for name in registry.list()]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from("tu")), max_size=5), st.data())
def test_undoing_in_any_order_leaves_the_rest(additions, data):
    """As if the undone ones had never been added, and the others had been added alone."""
    registry, kept = Registry(object), Registry(object)
    undos = []
    for target, name, tag in additions:
        try:
            undos.append((target, name, tag, registry.register_lazy(name, f"m:{target.upper()}", tags=[tag])))
        except ConflictError:
            continue
    gone = data.draw(st.sets(st.sampled_from(range(len(undos))))) if undos else set()
    for number in data.draw(st.permutations(sorted(gone))):
        undos[number][-1]()
        undos[number][-1]()  # the second time does nothing
    for number, (target, name, tag, _) in enumerate(undos):
        if number not in gone:
            kept.register_lazy(name, f"m:{target.upper()}", tags=[tag])
    assert seen(registry) == seen(kept)


def test_undoing_a_second_name_keeps_the_loaded_class(site):
    """Its alias is gone, and the class is not imported again."""
    site.plain("acme_undo", "Focal")
    registry = Registry(BASE)
    registry.register_lazy("x", "acme_undo:Focal")
    undo = registry.register_lazy("again", "acme_undo:Focal")
    cls = registry.get("x")
    undo()
    assert (registry.entry("x").state, registry.entry("x").cls) == ("loaded", cls)
    assert "again" not in registry


def test_undoing_the_first_declaration_gives_the_name_of_the_second(registry):
    """Only that declaration is removed."""
    undo = registry.register_lazy("first", "m:X", tags=["t"])
    registry.register_lazy("second", "m:X", tags=["u"])
    assert registry.list() == ["first"]
    undo()
    assert registry.list_with_tags() == {"second": ["u"]}
    assert registry.entry("second").full_name == "local/second"


def test_undoing_an_addition_to_a_package_restores_its_entry(base):
    """Tags and aliases are those of the manifest again."""
    known = declare("dice", "acme:Dice", ["overlap"], ["d"], {"summary": "S"}, provider="acme")
    registry = Registry(base, discover=lambda: Discovered((known,)))
    before = registry.entry("dice")
    undo = registry.register_lazy("mine", "acme:Dice", tags=["other"])
    assert registry.entry("mine").full_name == "acme/dice"
    undo()
    assert registry.entry("dice") == before
    assert "mine" not in registry


@pytest.fixture
def meanwhile(registry, monkeypatch):
    """Return a function that lets another thread act once, between the look-up of a name and what follows."""
    entry = type(registry).entry

    def race(act):
        def raced(self, name):
            found = entry(self, name)
            monkeypatch.setattr(type(registry), "entry", entry)
            act()
            return found

        monkeypatch.setattr(type(registry), "entry", raced)

    return race


def test_unregister_removes_what_the_name_leads_to_at_that_moment(registry, base, meanwhile):
    """Another thread replaces the entry between look-up and removal: nothing of it is left behind."""
    registry.register("x")(type("First", (base,), {}))

    def replace():
        registry.unregister("x")
        registry.register("y", aliases=["x"])(type("Second", (base,), {}))

    meanwhile(replace)
    registry.unregister("x")
    assert registry.list() == []
    assert registry.declarations == ()


def test_unregister_after_another_thread_did_is_an_unknown_name(registry, base, meanwhile):
    """The error is that of the look-up."""
    registry.register("x")(type("First", (base,), {}))
    meanwhile(lambda: registry.unregister("x"))
    with pytest.raises(NotFoundError, match="unknown name 'x'"):
        registry.unregister("x")


def test_nothing_keeps_a_removed_class_alive(registry, base):
    """Neither after unregister, nor after a scope, nor after a replacement."""

    def add(name, **keywords):
        cls = registry.register(name, **keywords)(type("Gone", (base,), {"__module__": __name__}))
        registry.get(name)
        return weakref.ref(cls)

    removed = add("removed")
    registry.unregister("removed")
    with registry.scope():
        scoped = add("scoped")
    replaced = add("replaced")
    newer = add("replaced")
    gc.collect()
    assert [reference() for reference in (removed, scoped, replaced)] == [None] * 3
    assert newer() is registry.get("replaced")


def test_nothing_keeps_a_registry_alive(base):
    """Its classes go with it."""
    registry = Registry(base)
    cls = weakref.ref(registry.register("x")(type("X", (base,), {})))
    table = weakref.ref(registry._table)
    del registry
    gc.collect()
    assert cls() is None
    assert table() is None
