"""The environment's variables and the reserved names hold for classes registered in code as well."""

import warnings

import pytest

import lossreg
from lossreg import (
    ConflictError,
    DisabledError,
    Entry,
    InvalidConfigError,
    InvalidNameError,
    WrongBaseClassError,
    losses,
    messages,
)

from ..fakes import like_new


@pytest.fixture
def started(site, monkeypatch):
    """Return a function that sets a variable, and gives the registry as in a new process."""

    def start(variable, value):
        monkeypatch.setenv(variable, value)
        monkeypatch.setattr(messages, "_warned", set())
        like_new(monkeypatch, losses)
        return losses

    return start


@pytest.mark.parametrize(
    "variable, value, reason",
    [
        ("LOSSREG_ONLY", "segmentation", "LOSSREG_ONLY=segmentation leaves it out"),
        ("LOSSREG_DISABLE", "mine", "LOSSREG_DISABLE=mine names it"),
        ("LOSSREG_DISABLE", "its_alias", "LOSSREG_DISABLE=its_alias names it"),
        ("LOSSREG_DISABLE", "local", "LOSSREG_DISABLE=local names it"),
        ("LOSSREG_DISABLE", "local/mine", "LOSSREG_DISABLE=local/mine names it"),
    ],
)
def test_a_class_in_code_is_disabled_like_others(torch, started, variable, value, reason):
    """By its name, alias or provider; nothing leads to it, and nobody warns that the name is unknown."""
    losses = started(variable, value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses.register("mine", aliases=["its_alias"], tags=["mine_too"])(type("Mine", (torch.nn.Module,), {}))
        losses.register_lazy("others", "acme:Lazy", tags=["t"])
        assert losses.entry("mine").state == "disabled"
    for name in ("mine", "its_alias", "local/mine"):
        with pytest.raises(DisabledError, match=f"local/mine is disabled: {reason}"):
            losses.get(name)
        with pytest.raises(InvalidConfigError, match=f"local/mine is disabled: {reason}"):
            lossreg.build(name)
    assert "mine" in losses.find("mine_too")
    assert losses.entry("others").state == ("discovered" if value.endswith(("mine", "alias")) else "disabled")


def test_a_disabled_class_in_code_takes_no_name(torch, started):
    """The package's loss keeps it."""
    losses = started("LOSSREG_DISABLE", "local/dice")
    losses.register("dice")(type("Mine", (torch.nn.Module,), {}))
    assert losses.entry("dice").full_name == "segmentation/dice"


def test_a_disabled_loss_of_ours_leaves_its_name_to_code(torch, started):
    """And to nobody else: no other library's loss stands in for it without a word."""
    losses = started("LOSSREG_DISABLE", "segmentation")
    with pytest.raises(DisabledError, match="segmentation/dice is disabled"):
        losses.get("dice")
    mine = losses.register("dice")(type("Mine", (torch.nn.Module,), {}))
    assert losses.get("dice") is mine


def test_a_name_that_nothing_has_is_told_at_the_first_look_up(torch, started):
    """Not before: a script registers first."""
    losses = started("LOSSREG_DISABLE", "mine,nothing_like_it")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses.register("mine")(type("Mine", (torch.nn.Module,), {}))
    with pytest.warns(UserWarning, match="no provider or loss is called 'nothing_like_it'$"):
        losses.list()


@pytest.mark.parametrize("provider", ["segmentation", "sam", "lossreg", "monai", "torch"])
def test_a_name_of_ours_is_no_strangers_in_code_either(provider):
    """A restriction to it would allow the stranger's losses."""
    with losses.scope(), pytest.raises(ConflictError, match=f"the provider name '{provider}' belongs to lossreg"):
        losses.add(Entry("x", "acme:X", provider=provider, distribution="acme"))


def test_other_providers_can_be_added(torch):
    """By a hook that registers in code."""
    with losses.scope():
        undo = losses.add(Entry("acme_x", "acme:X", provider="acme", distribution="acme"))
        assert losses.entry("acme_x").full_name == "acme/acme_x"
        assert "acme" in losses.providers
        undo()
        assert "acme_x" not in losses


def test_why_and_build_agree_with_the_look_up(torch, started):
    """One name, one entry: entry, explain, list, find, a restricted build and a config."""
    losses = started("LOSSREG_DISABLE", "monai")
    losses.register("gap_in_code", tags=["gap"])(type("Gap", (torch.nn.Module,), {}))
    full = "local/gap_in_code"
    assert losses.entry("gap_in_code").full_name == losses.explain("gap_in_code").winner.full_name == full
    assert losses.find("gap") == ["gap_in_code"]
    loss = lossreg.build("gap_in_code", providers={"local"})
    assert lossreg.config_of(loss)["provider"] == "local"
    with pytest.raises(InvalidConfigError, match=f"{full} is not allowed here"):
        lossreg.build("gap_in_code", providers={"segmentation"})


@pytest.mark.parametrize("provider", ["Segmentation", "SAM", "Local", "lo-cal", "to_rch"])
def test_a_spelling_of_such_a_name_is_refused_as_well(provider):
    """A reader would take it for the other."""
    with losses.scope(), pytest.raises(ConflictError, match=f"the provider name '{provider}' belongs to loss"):
        losses.add(Entry("x", "acme:X", provider=provider, distribution="acme"))


@pytest.mark.parametrize(
    "entry, message",
    [
        (Entry("a b", "m:X"), "name must be a letter followed by"),
        (Entry("x", "m.X"), 'target must be "module:qualname"'),
        (Entry("x", "m:f.<locals>.X"), "is made inside a function, where no import finds it"),
        (Entry("x", "m:class"), 'target must be "module:qualname"'),
        (Entry("x", "m:X", aliases=("a/b",)), "alias must be a letter followed by"),
        (Entry("x", "m:X", provider="a/b"), "a provider's name has letters of ASCII, digits"),
        (Entry("x", "m:X", provider="sеgmentation"), "choose another name"),  # noqa: RUF001
    ],
)
def test_an_entry_made_by_hand_is_checked(entry, message):
    """As a decorator's keywords are; a hook's answer too."""
    registry = lossreg.Registry(object, resolve=lambda name: entry)
    with pytest.raises(InvalidNameError, match=message):
        registry.add(entry)
    with pytest.raises(InvalidNameError, match=message):
        registry.entry("unknown")


@pytest.mark.parametrize(
    "metadata, message",
    [
        ({"renamed": ["eps"]}, "local/x: its renamed must be an object, got list"),
        ({"contract": "logits"}, "local/x: its contract must be an object, got str"),
        ({"parameters": {"margin": "number"}}, "local/x: its parameters have no properties"),
    ],
)
def test_metadata_made_by_hand_is_checked(metadata, message):
    """Builds of every loss would fail at it later."""
    registry = lossreg.Registry(object)
    with pytest.raises(TypeError, match=message):
        registry.add(Entry("x", "m:X", metadata=metadata))
    assert registry.list() == []


def test_a_class_in_an_entry_made_by_hand_is_checked():
    """A hook's answer too."""
    entry = Entry("x", "builtins:int", state="loaded", cls=int)
    registry = lossreg.Registry(dict, resolve=lambda name: entry)
    with pytest.raises(WrongBaseClassError, match="'local/x' cannot be registered in registry: expected a class"):
        registry.add(entry)
    with pytest.raises(WrongBaseClassError):
        registry.get("unknown")


def test_a_name_of_a_provider_in_code_is_freed_by_what_the_error_says():
    """An override would not help: it takes names of classes in code alone."""
    registry = lossreg.Registry(object)
    registry.add(Entry("x", "m:X", provider="acme"))
    with pytest.raises(ConflictError, match=r"Choose another name, or unregister 'acme/x' first$"):
        registry.add(Entry("x", "m:Other", provider="acme", owns_name=True))
    registry.unregister("acme/x")
    registry.add(Entry("x", "m:Other", provider="acme"))
    assert registry.entry("x").target == "m:Other"
