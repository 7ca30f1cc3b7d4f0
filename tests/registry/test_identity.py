"""Identity: which registrations are one entry, and which class a name leads to."""

import sys
import types

import pytest

import lossreg
from lossreg import AmbiguousNameError, ConflictError, NotFoundError, Registry
from lossreg.registry.entry import Discovered, declare
from lossreg.registry.requirement import Requirement

from ..fakes import BASE


def entry(full_name, target, tags=(), **fields):
    provider, name = full_name.split("/")
    return declare(name, target, tags, (), {}, provider=provider, distribution=provider, version="1.0", **fields)


def registry_of(*entries, base=object):
    return Registry(base, name="losses", discover=lambda: Discovered(entries))


def made_by_a_function(base, number):
    class Made(base):
        value = number

    return Made


def made_in_a_loop(base, number):
    return type("Made", (base,), {"value": number})


@pytest.mark.parametrize("make", [made_by_a_function, made_in_a_loop])
def test_classes_of_one_qualname_are_as_many_entries_as_names(registry, base, make):
    """A function, a loop, or two cells of a notebook: each name leads to its own class, tags and aliases."""
    made = [make(base, number) for number in range(4)]
    for number, cls in enumerate(made):
        registry.register(f"made{number}", tags=[f"t{number}"], aliases=[f"alias{number}"])(cls)
    assert registry.list() == ["made0", "made1", "made2", "made3"]
    for number, cls in enumerate(made):
        for name in (f"made{number}", f"alias{number}", f"local/made{number}"):
            assert registry.get(name) is cls
            assert registry.entry(name).name == f"made{number}"
        assert registry.find(f"t{number}") == [f"made{number}"]
    registry.unregister("made1")
    assert [registry.get(f"made{number}") for number in (0, 2, 3)] == [made[0], made[2], made[3]]


def test_an_alias_is_no_name_under_which_a_class_is_defined_again(registry, base):
    """Another class of the same qualname cannot take it."""
    first = registry.register("a", aliases=["x"])(made_by_a_function(base, 1))
    with pytest.raises(ConflictError, match="it is local/a"):
        registry.register("x")(made_by_a_function(base, 2))
    assert registry.get("a") is registry.get("x") is first


def test_each_of_many_alike_is_built_and_named_in_its_config(torch):
    """A power of 1, 2 and 3 of a difference of 2: 2, 4 and 8."""
    with lossreg.losses.scope() as losses:
        for power in (1, 2, 3):

            @losses.register(name=f"lp{power}")
            class Lp(torch.nn.Module):
                exponent = power

                def forward(self, input, target):
                    return (input - target).abs().pow(self.exponent).mean()

        input, target = torch.full((2, 1, 2, 2), 3.0), torch.ones(2, 1, 2, 2)
        for power, expected in ((1, 2.0), (2, 4.0), (3, 8.0)):
            loss = lossreg.build(f"lp{power}")
            assert loss(input, target).item() == expected
            assert lossreg.config_of(loss)["name"] == f"lp{power}"


def test_a_loss_renamed_in_a_notebook_has_its_new_name_in_configs(torch):
    """The class is another object, so that the old name stays with the old class."""

    def cell(name):
        @lossreg.losses.register(name=name)
        class Mine(torch.nn.Module): ...

        return Mine

    with lossreg.losses.scope():
        first, second = cell("first"), cell("second")
        assert lossreg.config_of(lossreg.build("second"))["name"] == "second"
        assert type(lossreg.build("first")) is first
        assert type(lossreg.build("second")) is second


def test_a_cell_that_is_run_again_keeps_what_it_declares_now(registry, base):
    """Older aliases are gone with the older declaration. A name that is not declared again keeps its class."""

    def cell(*names, aliases=()):
        cls = type("Mine", (base,), {})
        for name in names:
            registry.register(name, aliases=aliases)(cls)
        return cls

    older = cell("mine", "other", aliases=["old"])
    assert registry.entry("other").full_name == "local/mine"
    newer = cell("mine", aliases=["new"])
    assert registry.list() == ["mine", "other"]
    assert registry.get("mine") is registry.get("new") is newer
    assert registry.get("other") is registry.get("old") is older
    newest = cell("mine", "other")
    assert registry.list() == ["mine"]
    assert registry.get("mine") is registry.get("other") is newest
    assert "old" not in registry


@pytest.mark.parametrize("order", [("own", "latest"), ("latest", "own")])
def test_a_name_that_moves_from_class_to_class_takes_no_other_name_along(registry, base, order):
    """A loop registers each class under a name of its own, and the last one under a common name as well."""
    made = [made_by_a_function(base, number) for number in range(3)]
    for number, cls in enumerate(made):
        for kind in order:
            registry.register(f"made{number}" if kind == "own" else kind)(cls)
    assert [registry.get(f"made{number}") for number in range(3)] == made
    assert registry.get("latest") is made[2]


def test_the_same_class_object_is_one_entry_under_any_target(site):
    """A package's entry names a re-export, and a script registers the class once more: it gets an alias."""
    site.module("acme_reexport.inner", "from acme_base import Module\nclass Focal(Module): ...")
    site.module("acme_reexport.__init__", "from .inner import Focal")
    registry = registry_of(entry("acme/focal", "acme_reexport:Focal"), base=BASE)
    cls = registry.get("focal")
    registry.register("mine")(cls)
    assert registry.entry("mine").full_name == "acme/focal"
    assert registry.list() == ["focal"]


REEXPORTED = """
    from acme_base import Module
    from acme_table import registry

    @registry.register("{name}", tags=["t"], aliases=["m"])
    class Margin(Module): ...
"""


@pytest.fixture
def reexporting(site):
    """Return a function that makes a package whose entry points name a re-export."""
    site.module("acme_table", "registry = None")

    def make(decorated, **declared):
        site.module("acme_losses.margin", REEXPORTED.format(name=decorated))
        site.module("acme_losses.__init__", "from acme_losses.margin import Margin as Public")
        registry = registry_of(
            *(entry(f"acme-losses/{name}", target, None) for name, target in declared.items()), base=BASE
        )
        __import__("acme_table").registry = registry
        return registry

    return make


@pytest.mark.parametrize("first", ["get", "import"])
@pytest.mark.parametrize("decorated", ["margin", "hinge"])
def test_an_entry_point_may_name_a_re_export(reexporting, first, decorated):
    """The package is imported by a look-up or by the user: one entry, of the package, with the decorator's tags."""
    registry = reexporting(decorated, margin="acme_losses:Public")
    cls = registry.get("margin") if first == "get" else __import__("acme_losses").Public
    assert registry.list() == ["margin"]
    for name in ("margin", decorated, "m", "acme-losses/margin"):
        assert registry.get(name) is cls
        assert registry.entry(name).full_name == "acme-losses/margin"
    assert registry.list_with_tags() == {"margin": ["t"]}
    assert cls.__module__ == "acme_losses.margin"


@pytest.mark.parametrize("first", ["lazy", "import"])
def test_a_re_export_may_be_registered_in_code_under_the_name_of_its_decorator(site, reexporting, first):
    """Neither the import of the package nor the script fails, and the decorator's tags stay."""
    registry = reexporting("margin")
    site.module("acme_losses.__init__", "from acme_losses.margin import Margin")
    if first == "import":
        __import__("acme_losses")
    registry.register_lazy("margin", "acme_losses:Margin")
    assert registry.get("margin") is __import__("acme_losses").Margin
    assert registry.list() == ["margin"]
    assert registry.find("t") == ["margin"]


def test_a_target_in_code_is_not_taken_for_another_class_of_its_package(reexporting):
    """The name is refused, and the error has the remedies."""
    registry = reexporting("margin")
    registry.register_lazy("margin", "acme_losses.other:Margin")
    with pytest.raises(ConflictError, match="Choose another name, unregister the other first, or replace it with"):
        __import__("acme_losses")


def test_a_package_that_imports_its_names_when_they_are_asked_for_is_not_asked(site):
    """One of its losses is imported; a look-up does not import the others, which may lack a library."""
    site.module("acme_lazy.margin", "from acme_base import Module\nclass Margin(Module): ...")
    site.module("acme_lazy.__init__", "def __getattr__(name): raise ModuleNotFoundError('a library is missing')")
    registry = registry_of(
        entry("acme/margin", "acme_lazy.margin:Margin"), entry("acme/heavy", "acme_lazy:Heavy"), base=BASE
    )
    registry.register("margin")(__import__("acme_lazy.margin").margin.Margin)
    registry.register("other")(type("Other", (__import__("acme_base").Module,), {"__module__": "acme_lazy"}))
    assert registry.list() == ["heavy", "margin", "other"]


def test_a_package_may_register_a_second_class_of_a_declared_name(site):
    """What it declares has the short name, whether the other is imported or not."""
    site.module("acme_two.a", "from acme_base import Module\nclass First(Module): ...")
    site.module("acme_two.b", "from acme_base import Module\nclass Second(Module): ...")
    site.module("acme_two.__init__")
    registry = registry_of(entry("acme/margin", "acme_two.a:First"), base=BASE)
    assert registry.entry("margin").full_name == "acme/margin"
    second = registry.register("margin")(__import__("acme_two.b").b.Second)
    assert registry.entry("margin").full_name == "acme/margin"
    assert registry.get("local/margin") is second
    assert registry.get("margin").__name__ == "First"


def test_a_new_package_breaks_no_script(base):
    """A registered class keeps its name, and the package's loss has provider/name."""
    registry = registry_of(entry("acme/margin", "acme:Margin"), entry("beta/margin", "beta:Margin"), base=base)
    mine = registry.register("margin")(type("Mine", (base,), {}))
    assert registry.get("margin") is mine
    assert registry.explain("margin").rule == "in code"
    assert registry.list() == ["acme/margin", "beta/margin", "margin"]


def test_a_name_that_lossreg_owns_ties_with_code(base):
    """Nobody meant both: the error has both names, and the way to take the name. Following it works."""
    registry = registry_of(entry("segmentation/dice", "seg:Dice", owns_name=True), base=base)
    mine = registry.register("dice")(type("Mine", (base,), {}))
    with pytest.raises(AmbiguousNameError) as caught:
        registry.get("dice")
    assert str(caught.value) == (
        "'dice' is claimed by several providers; write one of local/dice, segmentation/dice,"
        " or register yours with override=True"
    )
    assert registry.get("local/dice") is mine
    assert registry.entry("segmentation/dice").target == "seg:Dice"
    registry.register("dice", override=True)(mine)
    assert registry.get("dice") is mine
    assert registry.explain("dice").rule == "override"
    registry.unregister("dice")
    assert registry.entry("dice").full_name == "segmentation/dice"


def test_override_replaces_another_class_in_code(registry, base):
    """Without it the second is refused; lazily registered classes take names as well."""
    registry.register("one", aliases=["uno"])(type("First", (base,), {}))
    second = type("Second", (base,), {})
    with pytest.raises(ConflictError, match="unregister the other first, or replace it with override=True"):
        registry.register("one")(second)
    registry.register("one", override=True)(second)
    assert registry.get("one") is second
    assert registry.list() == ["one"]
    assert "uno" not in registry
    registry.register_lazy("one", "acme:Lazy", override=True)
    assert registry.entry("one").target == "acme:Lazy"


def test_override_takes_an_alias_and_leaves_the_rest(registry, base):
    """The other class keeps its own name."""
    first = registry.register("one", aliases=["uno"])(type("First", (base,), {}))
    second = registry.register("uno", override=True)(type("Second", (base,), {}))
    assert registry.get("uno") is registry.get("local/uno") is second
    assert registry.get("one") is first


def test_the_provider_of_a_shared_name_does_not_change_with_imports(site):
    """Two providers describe one class: before, after and between their imports the name leads to the same."""
    site.module("acme_shared", "from acme_base import Module\nclass Far(Module): ...")
    for order in (("aaa", "bbb"), ("bbb", "aaa")):
        registry = registry_of(*(entry(f"{provider}/far", "acme_shared:Far") for provider in order), base=BASE)
        seen = [registry.entry("far").full_name]
        for name in ("far", "bbb/far", "aaa/far"):
            registry.get(name)
            seen.append(registry.entry("far").full_name)
        registry.register("again")(registry.get("far"))
        assert {*seen, registry.entry("far").full_name} == {"aaa/far"}
        assert registry.list() == ["bbb/far", "far"]


def test_an_alias_that_an_import_reveals_takes_no_known_name(site):
    """Its package declared one name; `provider/alias` leads to it, and the short alias where nobody else has it."""
    site.module("acme_table", "registry = None")
    site.module("acme_reveals.margin", REEXPORTED.format(name="dice").replace('"m"', '"m", "free"'))
    site.module("acme_reveals.__init__")
    registry = registry_of(
        entry("acme/one", "acme_reveals.margin:Margin"), entry("kornia/dice", "k:D"), entry("monai/m", "m:M"), base=BASE
    )
    __import__("acme_table").registry = registry
    before = {name: registry.entry(name).full_name for name in ("one", "dice", "m")}
    registry.get("one")
    assert {name: registry.entry(name).full_name for name in before} == before
    for name in ("acme/dice", "acme/m", "free"):
        assert registry.entry(name).full_name == "acme/one"


def test_a_file_that_is_imported_under_two_names_is_told(registry, base, monkeypatch):
    """A script that runs and is imported as well: the message has the cause."""
    for name in ("acme_twin", "scripts.acme_twin"):
        module = types.ModuleType(name)
        module.__file__ = "scripts/acme_twin.py"
        monkeypatch.setitem(sys.modules, name, module)
    registry.register("mine")(type("Mine", (base,), {"__module__": "acme_twin"}))
    with pytest.raises(
        ConflictError, match=r"one file, imported as acme_twin and as scripts\.acme_twin; import it under"
    ):
        registry.register("mine")(type("Mine", (base,), {"__module__": "scripts.acme_twin"}))


def test_a_described_library_comes_after_code_and_ties_with_others(base):
    """As before an installed package of one's own."""
    library = Requirement("library", "library")
    registry = registry_of(entry("a/x", "a:X", requires=library), entry("b/x", "b:X"), base=base)
    with pytest.raises(AmbiguousNameError, match=r"write one of a/x, b/x$"):
        registry.get("x")
    mine = registry.register("x")(type("Mine", (base,), {}))
    assert registry.get("x") is mine


def test_a_hook_may_answer_with_any_entry(base):
    """Of a class that another provider has, of one in code, or of another name: at the first call."""
    answers = {
        "crk": declare("crk", "seg:Dice", (), (), {}, provider="acme"),
        "short": declare("short", "seg:Dice", (), (), {}),
        "other": declare("renamed", "acme:Renamed", (), (), {}, provider="acme"),
    }
    known = entry("segmentation/dice", "seg:Dice")
    registry = Registry(base, name="losses", discover=lambda: Discovered((known,)), resolve=answers.get)
    for _ in range(2):
        assert registry.entry("crk").full_name == "acme/crk"
        assert registry.entry("short").full_name == "segmentation/dice"
    assert registry.entry("other").full_name == "acme/renamed"
    with pytest.raises(NotFoundError):
        registry.entry("nothing")


def test_a_hook_that_answers_with_anything_else_is_named(base):
    """A list is no hint."""
    registry = Registry(base, name="losses", resolve=lambda name: [name])
    with pytest.raises(TypeError, match=r"answer to the unknown name 'a' must be an Entry or a hint, got \['a'\]"):
        registry.entry("a")
