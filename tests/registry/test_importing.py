"""Loading on demand: states, broken providers, and look-ups without an import."""

import sys

import pytest

from lossreg import ProviderError, Registry, WrongBaseClassError

from ..fakes import BASE, soon

REGISTERS_AND_FAILS = """
    from acme_base import Module
    from acme_table import registry

    @registry.register("one")
    class One(Module): ...

    @registry.register("two")
    class Two(Module): ...

    raise ImportError("the rest is missing")
"""


@pytest.fixture
def losses():
    return Registry(BASE, name="losses")


@pytest.fixture
def table(site, losses):
    """The registry, which modules on disk can import."""
    site.module("acme_table", "registry = None")
    __import__("acme_table").registry = losses
    return losses


def test_nothing_is_imported_until_get(site, losses):
    """No look-up of a name imports, right or wrong."""
    site.plain("acme_lazy", "Focal")
    losses.register_lazy("focal", "acme_lazy:Focal", tags=["t"], aliases=["f"])
    assert "focal" in losses
    assert losses.list() == ["focal"]
    assert losses.list_with_tags() == {"focal": ["t"]}
    assert losses.find("t & !u") == losses.filter_by_tag("t") == ["focal"]
    assert losses.entry("f").state == "discovered"
    assert "focall" not in losses
    with pytest.raises(KeyError):
        losses.get("focall")
    assert "acme_lazy" not in sys.modules
    cls = losses.get("f")
    assert cls is sys.modules["acme_lazy"].Focal
    assert losses.entry("focal").state == "loaded"
    assert losses.entry("focal").cls is losses.get("local/focal") is cls


def test_nested_classes_can_be_targets(site, losses):
    """module:Outer.Inner."""
    site.module(
        "acme_nested",
        """
        from acme_base import Module
        class Outer:
            class Inner(Module): ...
        """,
    )
    losses.register_lazy("inner", "acme_nested:Outer.Inner")
    assert losses.get("inner").__qualname__ == "Outer.Inner"


@pytest.mark.parametrize(
    "source, cause, message",
    [
        ("import not_installed_at_all", ModuleNotFoundError, "No module named 'not_installed_at_all'"),
        ("raise ImportError('needs numba')", ImportError, "ImportError: needs numba"),
        ("def broken(:", SyntaxError, "SyntaxError: invalid syntax"),
        ("raise SystemExit('no GPU here')", SystemExit, "SystemExit: no GPU here"),
        ("1 / 0", ZeroDivisionError, "ZeroDivisionError: division by zero"),
        ("class Other: ...", AttributeError, "has no attribute 'Focal'"),
        ("raise BaseException('odd')", BaseException, "BaseException: odd"),
    ],
)
def test_any_exception_of_an_import_becomes_a_provider_error(site, losses, source, cause, message):
    """The cause is chained at each look-up, and nothing else changes."""
    site.module("acme_bad", source)
    site.plain("acme_good", "Dice")
    losses.register_lazy("focal", "acme_bad:Focal", tags=["t"])
    losses.register_lazy("dice", "acme_good:Dice", tags=["t"])
    for _ in range(2):
        with pytest.raises(ProviderError, match="local/focal is installed but broken: importing acme_bad:") as caught:
            losses.get("focal")
        assert isinstance(caught.value.__cause__, cause)
        assert message in str(caught.value)
        assert losses.entry("focal").state == "broken"
        assert losses.entry("focal").error is caught.value
    assert (caught.value.name, caught.value.target, caught.value.distribution) == ("focal", "acme_bad:Focal", None)
    assert losses.list() == losses.find("t") == ["dice", "focal"]
    assert losses.get("dice").__name__ == "Dice"
    with pytest.raises(KeyError, match="unknown name 'focall' in losses; did you mean 'focal'"):
        losses.get("focall")


def test_a_missing_module_is_a_provider_error(losses):
    """Also inside a package that is not there."""
    losses.register_lazy("x", "acme_absent.inner:X")
    with pytest.raises(ProviderError, match="No module named 'acme_absent'"):
        losses.get("x")


def test_a_keyboard_interrupt_passes_through(site, losses):
    """Ctrl-C is no failure of the provider."""
    site.module("acme_slow", "raise KeyboardInterrupt")
    losses.register_lazy("x", "acme_slow:X")
    with pytest.raises(KeyboardInterrupt):
        losses.get("x")
    assert losses.entry("x").state == "discovered"


@pytest.mark.parametrize("source", ["class Focal: ...", "def Focal(): ...", "Focal = 5", "import acme_base as Focal"])
def test_a_target_of_the_wrong_kind_is_refused(site, losses, source):
    """A TypeError that shows the target, kept on the entry."""
    site.module("acme_kind", source)
    losses.register_lazy("focal", "acme_kind:Focal")
    with pytest.raises(WrongBaseClassError, match=r"expected a class derived from acme_base\.Module, got ") as caught:
        losses.get("focal")
    assert losses.entry("focal").state == "broken"
    assert losses.entry("focal").error is caught.value


def test_a_broken_entry_is_tried_again(site, losses):
    """The user may have installed the missing package."""
    path = site.module("acme_fixed", "raise ImportError('missing')")
    losses.register_lazy("focal", "acme_fixed:Focal")
    with pytest.raises(ProviderError):
        losses.get("focal")
    path.unlink()
    site.plain("acme_fixed", "FocalLossThatIsLonger", "Focal")
    assert losses.get("focal").__name__ == "Focal"
    assert losses.entry("focal").state == "loaded"
    assert losses.entry("focal").error is None


def test_a_module_may_register_while_it_is_loaded(site, table):
    """Manifest and decorator make one entry, with the class of the decorator."""
    site.module(
        "acme_registers",
        """
        from acme_base import Module
        from acme_table import registry

        @registry.register("focal", tags=["t"])
        class Focal(Module): ...
        """,
    )
    table.register_lazy("focal_lazy", "acme_registers:Focal")
    assert soon(table.get, "focal_lazy") is table.get("focal") is sys.modules["acme_registers"].Focal
    assert len(table) == 1
    assert table.list_with_tags() == {"focal_lazy": ["t"]}


def test_a_module_that_looks_itself_up_while_loading_is_broken(site, table):
    """A circular import is an error, as in Python, and no deadlock."""
    site.module(
        "acme_circular",
        """
        from acme_base import Module
        from acme_table import registry
        registry.get("focal")
        class Focal(Module): ...
        """,
    )
    table.register_lazy("focal", "acme_circular:Focal")
    with pytest.raises(ProviderError, match="partially initialized module 'acme_circular'"):
        soon(table.get, "focal")
    assert table.entry("focal").state == "broken"


def test_modules_that_import_each_other_and_register_both_load(site, table):
    """If Python can import them."""
    for this, other in (("a", "b"), ("b", "a")):
        site.module(
            f"acme_ring_{this}",
            f"""
            from acme_base import Module
            from acme_table import registry
            import acme_ring_{other}

            @registry.register("{this}")
            class Focal(Module): ...
            """,
        )
    table.register_lazy("lazy_a", "acme_ring_a:Focal")
    table.register_lazy("lazy_b", "acme_ring_b:Focal")
    assert soon(table.get, "lazy_b").__module__ == "acme_ring_b"
    assert table.get("a").__module__ == "acme_ring_a"
    assert len(table) == 2


def test_a_module_that_fails_after_it_registered_stays_broken(site, table):
    """Its decorators have run, but all of its losses are broken."""
    site.module("acme_half", REGISTERS_AND_FAILS)
    table.register_lazy("lazy", "acme_half:One")
    for name in ("lazy", "lazy", "one", "two", "two"):
        with pytest.raises(ProviderError, match="the rest is missing"):
            soon(table.get, name)
    assert table.entry("lazy").state == table.entry("two").state == "broken"


def test_unknown_tags_are_known_after_loading(site, table):
    """filter_by_tag and find load entries with unknown tags. Each failure is isolated, and each entry is tried once."""
    site.module(
        "acme_tags",
        """
        from acme_base import Module
        from acme_table import registry

        @registry.register("tagged", tags=["t", "u"])
        class Tagged(Module): ...
        class Bare(Module): ...
        """,
    )
    site.module("acme_bad", "raise SystemExit(1)")
    for name, target in (("bad", "acme_bad:X"), ("tagged", "acme_tags:Tagged"), ("bare", "acme_tags:Bare")):
        table.register_lazy(name, target)
    assert {each.tags for each in table.entries()} == {None}
    assert soon(table.filter_by_tag, "t") == table.find("t & u") == ["tagged"]
    assert table.find("!t") == ["bare"]
    assert table.list_with_tags() == {"bad": [], "bare": [], "tagged": ["t", "u"]}
    assert [table.entry(name).state for name in ("bad", "bare", "tagged")] == ["broken", "loaded", "loaded"]


def test_an_entry_removed_while_it_loads_stays_removed(site, table):
    """Loading does not add the entry again."""
    site.module(
        "acme_removed",
        """
        from acme_base import Module
        from acme_table import registry
        registry.unregister("focal")
        class Focal(Module): ...
        """,
    )
    table.register_lazy("focal", "acme_removed:Focal")
    assert soon(table.get, "focal").__name__ == "Focal"
    assert "focal" not in table
