"""The registry: registering, refusing and undoing."""

from fractions import Fraction

import pytest

from lossreg import (
    AmbiguousNameError,
    ConflictError,
    Entry,
    InvalidNameError,
    LossregError,
    Registry,
    WrongBaseClassError,
)
from lossreg.registry.requirement import Requirement

from ..conftest import Base


@pytest.mark.parametrize("call", [lambda r: r.register, lambda r: r.register(), lambda r: r.register(tags=None)])
def test_the_name_defaults_to_that_of_the_class(registry, base, call):
    """Bare, called, and with the document's default `tags=None`."""

    class DiceLoss(base): ...

    assert call(registry)(DiceLoss) is DiceLoss
    assert registry.list() == ["DiceLoss"]


@pytest.mark.parametrize("target", [5, None, "text", len, lambda: None, Base(), dict, type])
def test_only_derived_classes_are_registered(registry, target):
    """Neither instances, functions nor foreign classes; the error carries both."""
    with pytest.raises(WrongBaseClassError, match=r"got .+") as caught:
        registry.register("x")(target)
    assert caught.value.name == "x"
    assert caught.value.target is target
    assert "expected a class derived from tests.conftest.Base, got " in str(caught.value)
    assert len(registry) == 0


def test_a_base_class_given_as_text_is_checked_too():
    """Also before its import: no class can be derived from it then."""
    registry = Registry("fractions:Fraction", name="numbers")
    registry.register(type("Half", (Fraction,), {}))
    with pytest.raises(TypeError, match=r"derived from fractions.Fraction, got <class 'int'>"):
        registry.register(int)
    assert registry.base_class is Fraction
    with pytest.raises(TypeError, match=r"derived from never_imported.module.Base"):
        Registry("never_imported.module:Base").register(int)


@pytest.mark.parametrize("name", ["", "1dice", "a b", "a/b", "dice!", "a&b", "-a", "x\n", "é è"])
def test_names_that_no_config_or_tag_expression_can_hold_are_refused(registry, base, name):
    """Names, aliases and tags; the message shows the name."""
    for arguments in ({"name": name}, {"name": "ok", "aliases": [name]}, {"name": "ok", "tags": [name]}):
        with pytest.raises(InvalidNameError, match="must be a letter followed by") as caught:
            registry.register(**arguments)(type("New", (base,), {}))
        assert caught.value.name == name
        assert repr(name) in str(caught.value)
    assert len(registry) == 0


def test_a_single_text_for_a_list_is_refused(registry, base):
    """`tags="dice"` would be four tags of one letter."""
    with pytest.raises(InvalidNameError, match=r"tags is a list of strings, got 'dice'; write \['dice'\]"):
        registry.register("x", tags="dice")(type("New", (base,), {}))
    with pytest.raises(InvalidNameError, match="aliases is a list of strings"):
        registry.register("x", aliases="dice")(type("New", (base,), {}))


@pytest.mark.parametrize("target", ["", "a", "a:", ":B", "a:B()", "a b:C", "os.system('x'):y", "a:B:C", None, 5])
def test_targets_that_are_no_import_path_are_refused(registry, target):
    """Nothing is imported."""
    with pytest.raises(InvalidNameError, match='target must be "module:qualname", got'):
        registry.register_lazy("x", target)
    assert len(registry) == 0


def test_nothing_overwrites_anything(registry, base):
    """Neither a name nor an alias of another entry can be taken; the error carries key, existing and proposed."""
    first, second = type("First", (base,), {}), type("Second", (base,), {})
    registry.register("one", aliases=["uno"])(first)
    for arguments in ({"name": "one"}, {"name": "uno"}, {"name": "two", "aliases": ["one"]}):
        with pytest.raises(ConflictError) as caught:
            registry.register(**arguments)(second)
        assert caught.value.existing.endswith(":First")
        assert caught.value.proposed.endswith(":Second")
        assert caught.value.name in ("one", "uno")
    assert registry.list() == ["one"]
    assert registry.get("one") is first


def test_the_same_class_defined_again_is_one_entry_with_the_newer_class(registry, base):
    """A notebook cell that is run twice, or a module that is reloaded."""

    def cell(tags):
        @registry.register("loss", tags=tags)
        class Loss(base): ...

        return Loss

    first, second = cell(["a"]), cell(["b"])
    assert first is not second
    assert registry.list() == ["loss"]
    assert registry.get("loss") is second
    assert registry.list_with_tags() == {"loss": ["b"]}


def test_two_names_for_one_class_are_one_entry(registry, base):
    """Stacked decorators give an alias."""

    @registry.register("outer")
    @registry.register("inner")
    class Loss(base): ...

    assert registry.list() == ["inner"]
    assert registry.entry("inner").aliases == ("outer",)
    assert registry.get("outer") is registry.get("local/outer") is Loss


def test_unregister_forgets_all_names_of_an_entry(registry, base):
    """The names are free again."""
    registry.register("one", aliases=["uno"])(type("First", (base,), {}))
    registry.unregister("uno")
    assert registry.list() == []
    assert "one" not in registry
    assert "uno" not in registry
    with pytest.raises(KeyError):
        registry.get("one")
    with pytest.raises(KeyError):
        registry.unregister("one")
    other = registry.register("uno")(type("Second", (base,), {}))
    assert registry.get("uno") is other


def test_a_lazy_registration_returns_what_undoes_it(registry):
    """Once; undoing twice is harmless."""
    undo = registry.register_lazy("x", "some.module:X", aliases=["y"], tags=["t"])
    assert registry.list() == ["x"]
    undo()
    undo()
    assert registry.list() == []
    assert "y" not in registry


def test_undoing_keeps_a_later_entry_of_the_name(registry, base):
    """Another class may have the name by then."""
    undo = registry.register_lazy("x", "some.module:X")
    registry.unregister("x")
    other = registry.register("x")(type("Other", (base,), {}))
    undo()
    assert registry.get("x") is other


def test_undoing_a_second_declaration_restores_the_first(registry):
    """The alias is removed, the entry stays."""
    registry.register_lazy("x", "some.module:X", tags=["t"])
    undo = registry.register_lazy("again", "some.module:X")
    assert registry.entry("again").name == "x"
    undo()
    assert "again" not in registry
    assert registry.list_with_tags() == {"x": ["t"]}


def test_a_scope_undoes_everything(registry, base):
    """Also when it is left by an exception."""
    kept = registry.register("kept", tags=["t"])(type("Kept", (base,), {}))

    def work():
        with registry.scope() as inside:
            assert inside is registry
            registry.register("new")(type("New", (base,), {}))
            registry.unregister("kept")
            assert registry.list() == ["new"]
            raise LossregError("stop")

    with pytest.raises(LossregError, match="stop"):
        work()
    assert registry.list() == ["kept"]
    assert registry.get("kept") is kept


def test_a_name_of_a_described_library_can_be_registered_in_code(registry):
    """A new provider of two hundred losses breaks no notebook: its class wins, the other entry stays."""
    library = Requirement("otherlib", "other-lib", ">=1")
    registry.add(Entry("contrastive", "otherlib:Contrastive", "other", requires=library))
    assert registry.entry("contrastive").provider == "other"

    @registry.register("contrastive")
    class Own(Base): ...

    assert registry.get("contrastive") is Own
    assert registry.entry("other/contrastive").target == "otherlib:Contrastive"
    assert {*registry.list()} == {"contrastive", "other/contrastive"}


def test_two_providers_still_tie_for_a_name_that_a_library_claims(registry):
    """Only entries in code take precedence: an installed package never changes the entry of a name."""
    library = Requirement("otherlib", "other-lib", ">=1")
    registry.add(Entry("contrastive", "otherlib:Contrastive", "other", requires=library))
    registry.add(Entry("contrastive", "acme:Contrastive", "acme"))
    with pytest.raises(AmbiguousNameError, match="write one of acme/contrastive, other/contrastive"):
        registry.entry("contrastive")
