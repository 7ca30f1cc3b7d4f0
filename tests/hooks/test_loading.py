"""Loading of hooks: their names, installs during a session, and interrupts."""

import pytest

import lossreg
from lossreg import InvalidConfigError, NotFoundError, losses
from lossreg.hooks import manager as hooks

from ..fakes import in_threads
from .conftest import HEAD

HINT = "@hookimpl\ndef lossreg_resolve_missing(name): return 'ask {0}'\n"


def _hint():
    with pytest.raises(NotFoundError) as caught:
        losses.get("nothing_of_the_kind")
    return str(caught.value)


# ---- names


@pytest.mark.parametrize("name, owner", [("segmentation", "lossreg-segmentation"), ("acme", "acme-losses")])
def test_hooks_cannot_take_the_name_of_anothers_provider(site, name, owner):
    """LOSSREG_ONLY and LOSSREG_DISABLE mean both by it: one could neither allow nor disable one without the other."""
    site.package("acme", {"schema": 1, "losses": {}})
    site.distribution("acme-losses", manifests={"acme": "acme:lossreg.json"}, hooks={"acme": "acme_hooks"})
    site.module("acme_hooks", HEAD + HINT.format("acme"))
    site.module("stranger", HEAD + HINT.format("a stranger"))
    site.distribution("a-stranger", hooks={name: "stranger"})
    with pytest.warns(UserWarning, match=f"the name '{name}' belongs to {owner}; rename the entry point"):
        assert "ask acme" in _hint()


@pytest.mark.parametrize("name", ["a,b", "my hooks", "acme:hooks"])
def test_a_name_that_no_variable_can_hold_is_refused(site, name):
    """LOSSREG_DISABLE separates names by commas."""
    site.module("stranger", HEAD + HINT.format("a stranger"))
    site.raw_distribution("stranger", f"[lossreg.hooks]\n{name} = stranger\n".encode())
    with pytest.warns(UserWarning, match="a name of hooks has letters, digits, '_', '-' or '.'; rename the entry"):
        assert "a stranger" not in _hint()


# ---- a session that goes on


def test_refresh_loads_what_was_installed_since(installed):
    """Hooks that are loaded stay loaded, and are not registered twice."""
    counting = "calls = []\n@hookimpl\ndef lossreg_register(registry): calls.append(1)\n"
    installed("early", counting)
    before = lossreg.registries.hooks()
    installed("late", HINT.format("the late ones"))
    assert "the late ones" not in _hint()
    hooks.refresh(losses)
    assert "ask the late ones" in _hint()
    assert lossreg.registries.hooks() is before
    assert before.manager.get_plugin("early").calls == [1]


def test_refresh_tries_broken_hooks_again(installed):
    """A mended module works, and its failure is gone from the list that `lossreg doctor` shows."""
    installed("mended", "import a_library_that_is_installed_later")
    with pytest.warns(UserWarning, match="the hooks 'mended' are broken and left out"):
        lossreg.build("dice")
    with pytest.warns(UserWarning, match="the hooks 'mended' are broken and left out"):
        hooks.refresh(losses)
    assert len(lossreg.registries.hooks().failures) == 1
    installed("a_library_that_is_installed_later", HINT.format("nobody"))
    hooks.refresh(losses)
    assert not lossreg.registries.hooks().failures


def test_refresh_before_the_first_use_loads_nothing(installed):
    """The first use will."""
    installed("late", "raise RuntimeError('boom')")
    hooks.refresh(losses)
    assert hooks._complete is None


# ---- interrupts

INTERRUPTED = {
    "at import": "{once}",
    "while it registers": "@hookimpl\ndef lossreg_register(registry):\n    {once}",
    "after it registered": "@hookimpl\ndef lossreg_register(registry):\n    {add}\n    {once}",
}
ONCE = "sys.interrupts.pop()() if sys.interrupts else None"
ADD = "registry.register_lazy('interrupted', 'acme:Gone')"


@pytest.mark.parametrize("is_refresh", [False, True])
@pytest.mark.parametrize("source", INTERRUPTED.values(), ids=INTERRUPTED)
def test_hooks_that_were_interrupted_are_loaded_by_the_next_use(installed, monkeypatch, source, is_refresh):
    """Ctrl-C leaves neither a half-loaded module nor a failure."""

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.interrupts", [interrupt], raising=False)
    if is_refresh:
        lossreg.build("dice")
    text = source.format(once=ONCE, add=ADD)
    installed("slow", f"import sys\n{HINT.format('the slow ones')}\n{text}")
    load = (lambda: hooks.refresh(losses)) if is_refresh else (lambda: lossreg.build("dice"))
    with pytest.raises(KeyboardInterrupt):
        load()
    load()
    assert not lossreg.registries.hooks().failures
    assert "ask the slow ones" in _hint()
    with pytest.raises(InvalidConfigError, match="parms: unknown key"):
        lossreg.validate({"name": "dice", "parms": {}})


def test_entries_that_were_registered_before_an_error_stay(installed):
    """The other hooks of the module are left out."""
    source = """
        @hookimpl
        def lossreg_register(registry):
            registry.register_lazy("first_of_two", "lossreg_segmentation.overlap:Dice")
            raise RuntimeError("boom")
    """
    installed("half", source)
    with pytest.warns(UserWarning, match="the hooks 'half' are broken and left out: RuntimeError: boom"):
        lossreg.build("dice")
    assert type(lossreg.build("first_of_two")).__name__ == "Dice"


def test_threads_that_load_at_the_same_time_have_all_names(installed):
    """Each may call lossreg_register: an entry that is added again changes nothing."""
    source = """
        calls = []
        @hookimpl
        def lossreg_register(registry):
            from torch import nn
            class Zed(nn.Module): ...
            calls.append(1)
            registry.register("zed")(Zed)
    """
    installed("zed_hooks", source)
    built = in_threads(4, lambda _: type(lossreg.build("zed")).__name__)
    assert built == ["Zed"] * 4
    assert not lossreg.registries.hooks().failures
