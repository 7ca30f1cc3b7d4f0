"""Names: full and short ones, ties, membership, and tags."""

import pytest

import lossreg
from lossreg import AmbiguousNameError, InvalidNameError, NotFoundError, Registry
from lossreg.registry.entry import Discovered, Failure, declare


def entry(full_name, target=None, *, tags=(), aliases=(), owns_name=False, **fields):
    provider, name = full_name.split("/")
    made = declare(name, target or f"{provider}_pkg:{name.title()}", tags, aliases, {})
    return made._replace(provider=provider, owns_name=owns_name, distribution=provider, version="1.0", **fields)


def registry_of(*entries, base=object, failures=()):
    return Registry(base, name="losses", discover=lambda: Discovered(entries, failures))


def test_provider_slash_name_always_works():
    """The short name may be free, tied or owned by another. The same holds for aliases."""
    registry = registry_of(entry("a/dice", aliases=["dc"]), entry("b/dice", owns_name=True), entry("c/dice"))
    for provider in "abc":
        assert registry.entry(f"{provider}/dice").provider == provider
    assert registry.entry("a/dc").full_name == "a/dice"
    assert "b/dc" not in registry


def test_a_short_name_works_while_one_provider_claims_it():
    """With two providers it works for neither."""
    registry = registry_of(entry("a/dice"))
    assert registry.entry("dice").full_name == "a/dice"
    assert registry.list() == ["dice"]
    undo = registry.add(entry("b/other", aliases=["dice2"])._replace(provider="b"))
    assert registry.list() == ["dice", "other"]
    undo()
    tied = registry_of(entry("a/dice"), entry("b/dice"), entry("b/x"))
    assert tied.list() == ["a/dice", "b/dice", "x"]


def test_a_tie_is_an_error_that_lists_the_candidates():
    """Aliases tie with names as well."""
    registry = registry_of(entry("b/dice"), entry("a/overlap", aliases=["dice"]))
    with pytest.raises(AmbiguousNameError) as caught:
        registry.get("dice")
    assert caught.value.candidates == ("a/overlap", "b/dice")
    assert caught.value.name == "dice"
    assert str(caught.value) == "'dice' is claimed by several providers; write one of a/overlap, b/dice"
    assert "dice" not in registry
    assert registry.list() == ["b/dice", "overlap"]


def test_the_owner_of_a_name_keeps_it():
    """First-party losses own their short names, in any order of installed packages."""
    ours, theirs = entry("segmentation/dice", owns_name=True), entry("monai/dice")
    for entries in ((ours, theirs), (theirs, ours)):
        registry = registry_of(*entries)
        assert registry.entry("dice").provider == "segmentation"
        assert registry.list() == ["dice", "monai/dice"]


def test_the_first_party_owns_its_names():
    """Every loss of the three packages has its short name."""
    for provider, name in (("segmentation", "dice"), ("sam", "sam"), ("lossreg", "weighted_sum")):
        assert lossreg.losses.entry(name).provider == provider
        assert lossreg.losses.entry(name).owns_name
        assert f"{name}_loss" in lossreg.losses


def test_two_providers_of_one_class_do_not_tie():
    """Both lead to the same class."""
    registry = registry_of(entry("a/dice", "x:Dice"), entry("b/dice", "x:Dice"))
    assert registry.entry("dice").target == "x:Dice"
    assert len(registry) == 2


def test_a_manifest_and_a_decorator_of_one_class_are_one_entry():
    """The manifest's name, provider and tags stay; the decorator adds the class, and its name as an alias."""
    cls = type("Dice", (), {"__module__": "acme_pkg"})
    registry = registry_of(entry("acme/dice", tags=["overlap"]))
    registry.register("dice_in_code", tags=["other"])(cls)
    assert registry.list_with_tags() == {"dice": ["overlap"]}
    found = registry.entry("dice_in_code")
    assert (found.full_name, found.state, found.cls) == ("acme/dice", "loaded", cls)


def test_a_decorator_gives_every_entry_its_class():
    """Both entries have the class."""
    cls = type("Dice", (), {"__module__": "x"})
    registry = registry_of(entry("a/dice", "x:Dice"), entry("b/dice", "x:Dice"))
    registry.register("dice")(cls)
    assert registry.get("a/dice") is registry.get("b/dice") is cls


def test_containers():
    """`in`, len and iter agree with list; `in` accepts any object; a tie counts as two losses."""
    registry = registry_of(entry("a/x", aliases=["y"]), entry("b/z"), entry("c/z"))
    assert list(registry) == registry.list() == ["b/z", "c/z", "x"]
    assert len(registry) == 3
    assert "x" in registry
    assert "y" in registry
    assert "a/x" in registry
    for absent in ("z", "nothing", "", "/", "a/", "/x", 5, None, b"x", ["x"]):
        assert absent not in registry
    assert [each.full_name for each in registry.entries()] == ["b/z", "c/z", "a/x"]


def test_repr_does_not_discover():
    """A debugger or a log line must not start a scan."""
    registry = registry_of(entry("a/x"), base="torch.nn:Module")
    assert repr(registry) == "Registry('torch.nn:Module', name='losses', entries=undiscovered)"
    registry.list()
    assert repr(registry) == "Registry('torch.nn:Module', name='losses', entries=1)"


def test_discovery_runs_once():
    """Before the first look-up, and never again."""
    scans = []
    registry = Registry(object, discover=lambda: scans.append(1) or Discovered((entry("a/x"),)))
    assert scans == []
    registry.list(), registry.entry("x"), len(registry), registry.failures
    assert scans == [1]


@pytest.mark.parametrize("name", [5, None, b"dice", ["dice"], {}])
def test_a_name_is_text(name):
    """Any other object is an error that shows its type."""
    registry = registry_of(entry("a/x"))
    for look_up in (registry.get, registry.entry, registry.explain, registry.unregister):
        with pytest.raises(InvalidNameError, match=f"a name is a string, got {type(name).__name__}"):
            look_up(name)


def test_a_mistyped_name_gets_suggestions():
    """At most three, aliases included, and provider/name for a name with a slash."""
    registry = registry_of(entry("a/dice", aliases=["dice_loss"]), entry("a/focal"))
    with pytest.raises(NotFoundError) as caught:
        registry.get("dise")
    assert str(caught.value) == "unknown name 'dise' in losses; did you mean 'dice'?"
    with pytest.raises(NotFoundError, match="unknown name 'a/dise' in losses; did you mean 'a/dice'"):
        registry.get("a/dise")
    assert caught.value.suggestions == ("dice",)
    with pytest.raises(
        NotFoundError, match=r"^unknown name 'quite else' in losses; losses.list\(\) shows every name$"
    ) as caught:
        registry.get("quite else")
    assert caught.value.suggestions == ()


def test_the_error_for_a_mistyped_name_has_the_failures():
    """The loss may be in a package with broken declarations."""
    failure = Failure("acme:lossreg.json", "acme", ValueError("is not JSON"))
    registry = registry_of(entry("a/dice"), failures=(failure,))
    with pytest.raises(NotFoundError, match=r"not read: acme:lossreg.json: is not JSON"):
        registry.get("acme_loss")
    assert registry.failures == (failure,)


def test_find_combines_tags():
    """The expression of the documentation, on four entries."""
    registry = registry_of(
        entry("p/a", tags=["segmentation", "binary"]),
        entry("p/b", tags=["segmentation", "multilabel", "experimental"]),
        entry("p/c", tags=["segmentation"]),
        entry("p/d", tags=["multilabel", "segmentation"]),
    )
    assert registry.find("segmentation & (binary | multilabel) & !experimental") == ["a", "d"]
    assert registry.find("!binary") == ["b", "c", "d"]
    assert registry.filter_by_tag("multilabel") == ["b", "d"]
