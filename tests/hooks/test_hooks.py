"""Hooks: each changes lossreg's behaviour, each is called once, and an error names the one that failed."""

import importlib
import logging
import re
import sys
import textwrap
import warnings
from pathlib import Path

import pytest
import torch
import typer
from torch import nn
from typer.testing import CliRunner

import lossreg
from lossreg import InvalidConfigError, NotFoundError, ProviderError, losses
from lossreg.cli import add_hook_commands
from lossreg.discovery.distributions import Installed
from lossreg.health import LossMonitor
from lossreg.hooks import builtin, specs
from lossreg.hooks import manager as hooks

from ..fakes import in_threads, put

ROOT = Path(__file__).parents[2]
TEAM = ROOT / "examples/team_hooks/team_hooks/__init__.py"
SPECIFIED = [name for name in vars(specs) if name.startswith("lossreg_")]

HEAD = "from lossreg import Entry, hookimpl\n"


@pytest.fixture
def team(installed):
    if not TEAM.exists():
        pytest.skip("the example lies in the checkout, and only the tests are here")
    installed("team_hooks", TEAM.read_text())


# ---- the six hooks, by the example


def test_entries_are_registered_in_code(team):
    """A name of the team leads to the loss, as its own name does."""
    assert type(lossreg.build("crack")) is losses.get("bce_dice_focal")


def test_configs_are_migrated_before_validation(team):
    """At any depth: `eps` is unknown to lossreg, and `smooth` to the older format."""
    assert lossreg.validate({"name": "dice", "params": {"eps": 3.0}}).params["smooth"] == 3.0
    nested = {"name": "weighted_sum", "params": {"terms": [{"weight": 1, "name": "dice", "params": {"eps": 3.0}}]}}
    assert lossreg.validate(nested).params["terms"][0]["params"]["smooth"] == 3.0


def test_without_the_hook_the_old_parameter_is_refused():
    """So it is the hook that migrates."""
    with pytest.raises(InvalidConfigError, match=re.escape("params.eps: unknown parameter")):
        lossreg.validate({"name": "dice", "params": {"eps": 3.0}})


def test_builds_are_wrapped(team, caplog):
    """The wrapper sees the loss that lossreg's own implementation made."""
    with caplog.at_level(logging.INFO, "team_hooks"):
        lossreg.build("dice")
    assert re.fullmatch(r"built segmentation/dice in \d+\.\d ms", caplog.messages[-1])


def test_a_missing_name_gets_a_hint(team):
    """The hint precedes similar names."""
    with pytest.raises(NotFoundError, match="unknown loss 'crack_v1'; write 'crack', whose empty masks count"):
        losses.get("crack_v1")


def test_commands_are_added(team):
    """lossreg's own commands are added by the same hook."""
    app = typer.Typer()
    add_hook_commands(app)
    done = CliRunner().invoke(app, ["team"])
    assert done.output == "crack: lossreg_segmentation.combined:BCEDiceFocal\n"
    assert {"doctor", "why", "plot", "new-plugin", "stubs"} <= {command.name for command in app.registered_commands}


def test_events_of_a_training_are_reported(team, caplog):
    """A monitor without sinks of its own calls the hook."""
    LossMonitor(every=1, action=lambda event: None).update(torch.tensor(torch.nan), step=3)
    assert caplog.messages[-1].startswith("training: NonFinite at step 3 (error, fault): ")


# ---- lossreg's own behaviour


def _without(monkeypatch, name):
    """Remove one of lossreg's implementations."""
    monkeypatch.delattr(builtin, name)


def test_building_is_a_hook(monkeypatch):
    """Without lossreg's implementation nothing is built."""
    _without(monkeypatch, "lossreg_build")
    with pytest.raises(lossreg.LossregError, match="the hooks made None of segmentation/dice"):
        lossreg.build("dice")


def test_a_provider_that_is_not_installed_is_named_by_a_hook(monkeypatch, site):
    """The error for `smp/nothing` has its distribution; without the implementation it does not."""
    monkeypatch.setattr(builtin, "scan", lambda: Installed([], {}, {}, {}))
    with pytest.raises(NotFoundError, match="pip install lossreg-smp"):
        losses.get("smp/nothing")
    _without(monkeypatch, "lossreg_resolve_missing")
    monkeypatch.setattr(hooks, "_complete", None)
    with pytest.raises(NotFoundError, match="unknown loss") as caught:
        losses.get("smp/nothing")
    assert "pip install" not in str(caught.value)


def test_renamed_parameters_are_migrated_by_a_hook(monkeypatch):
    """The warning has the new name; the new one wins where both are given."""
    entry = losses.entry("dice")
    renamed = {**entry.metadata, "renamed": {"epsilon": "smooth"}}
    put(losses, [entry._replace(metadata=renamed)])
    with pytest.warns(
        DeprecationWarning, match="segmentation/dice: the parameter 'epsilon' was renamed; write 'smooth'"
    ):
        assert lossreg.validate({"name": "dice", "params": {"epsilon": 3.0}}).params["smooth"] == 3.0
    with pytest.raises(InvalidConfigError, match=r"params\.epsilon: unknown parameter"):
        lossreg.validate({"name": "dice", "params": {"epsilon": 3.0, "smooth": 1.0}})
    _without(monkeypatch, "lossreg_transform_config")
    monkeypatch.setattr(hooks, "_complete", None)
    with pytest.raises(InvalidConfigError, match=r"params\.epsilon: unknown parameter"):
        lossreg.validate({"name": "dice", "params": {"epsilon": 3.0}})


# ---- broken ones


BROKEN_AT_IMPORT = {
    "raises": "raise RuntimeError('boom')",
    "exits": "raise SystemExit(3)",
    "no_such_hook": "@hookimpl\ndef lossreg_biuld(entry): ...",
    "wrong_arguments": "@hookimpl\ndef lossreg_build(entry, parameters): ...",
    "raises_on_register": "@hookimpl\ndef lossreg_register(registry):\n    raise RuntimeError('boom')",
    "syntax": "def",
}


@pytest.mark.parametrize("source", BROKEN_AT_IMPORT.values(), ids=BROKEN_AT_IMPORT)
def test_broken_hooks_are_left_out_with_a_warning(installed, source):
    """One warning; the other hooks and every build go on; the failure is kept for `doctor`."""
    installed("bad_hooks", source)
    installed("good_hooks", "@hookimpl\ndef lossreg_resolve_missing(name): return 'see the good ones'")
    with pytest.warns(UserWarning, match="the hooks 'bad_hooks' are broken and left out") as caught:
        lossreg.build("dice")
    assert len(caught) == 1
    with pytest.raises(NotFoundError, match="see the good ones"):
        losses.get("nothing_of_the_kind")
    (failure,) = lossreg.registries.hooks().failures
    assert (failure.source, failure.distribution) == ("hooks bad_hooks", "bad-hooks")
    assert failure.error.__cause__ is not None


COUNTED = "calls = []\n@hookimpl{mark}\ndef {hook}({argument}):\n    calls.append(1)\n{body}\n"
BROKEN_WHEN_CALLED = {
    "build": ("lossreg_build", "entry", "", "    raise RuntimeError('boom')"),
    "wrapper before": ("lossreg_build", "entry", "(wrapper=True)", "    raise RuntimeError('boom')\n    yield"),
    "wrapper after": ("lossreg_build", "entry", "(wrapper=True)", "    yield\n    raise RuntimeError('boom')"),
    "old wrapper": ("lossreg_build", "entry", "(hookwrapper=True)", "    yield\n    raise RuntimeError('boom')"),
    "transform": ("lossreg_transform_config", "config", "", "    config['name'] = 5\n    raise RuntimeError('boom')"),
    "resolve": ("lossreg_resolve_missing", "name", "", "    raise RuntimeError('boom')"),
}


@pytest.mark.filterwarnings("ignore::pluggy.PluggyTeardownRaisedWarning")
@pytest.mark.parametrize("hook, argument, mark, body", BROKEN_WHEN_CALLED.values(), ids=BROKEN_WHEN_CALLED)
def test_a_hook_that_raises_is_named_in_the_error_and_called_once(installed, hook, argument, mark, body):
    """The exception is chained, and the next call meets the same hook again."""
    installed("bad_hooks", COUNTED.format(hook=hook, argument=argument, mark=mark, body=body))
    name = "nothing_of_the_kind" if hook == "lossreg_resolve_missing" else "dice"
    for count in (1, 2):
        with pytest.raises(
            ProviderError, match=f"{hook} of the hooks 'bad_hooks' of bad-hooks raised RuntimeError: boom"
        ) as caught:
            lossreg.build(name)
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert (caught.value.name, caught.value.distribution) == ("bad_hooks", "bad-hooks")
        assert "LOSSREG_DISABLE=bad_hooks disables them" in str(caught.value)
        assert len(importlib.import_module("bad_hooks").calls) == count


@pytest.mark.parametrize("body", ["    return", "    yield\n    yield"])
def test_a_wrapper_that_does_not_yield_once_is_named(installed, body):
    """Neither never nor twice."""
    source = f"@hookimpl(wrapper=True)\ndef lossreg_build(entry):\n{body}\n    if False: yield\n"
    installed("bad_hooks", source)
    with pytest.raises(ProviderError, match="'bad_hooks' of bad-hooks raised RuntimeError: a wrapper must yield once"):
        lossreg.build("dice")


def test_the_others_are_called_once_where_one_raises(installed):
    """Nothing is called again: the hooks after it are not called, those before it once."""
    count = "calls = []\n@hookimpl(tryfirst=True)\ndef lossreg_transform_config(config): calls.append(1)"
    installed("good_hooks", count)
    installed("bad_hooks", "@hookimpl\ndef lossreg_transform_config(config): raise RuntimeError('boom')")
    with pytest.raises(ProviderError, match="bad_hooks"):
        lossreg.validate("dice")
    assert importlib.import_module("good_hooks").calls == [1]


NOTIFIED = {
    "plain": "@hookimpl\ndef lossreg_health_event(event):\n    raise {error}('boom')",
    "wrapper": "@hookimpl(wrapper=True)\ndef lossreg_health_event(event):\n    yield\n    raise {error}('boom')",
}


@pytest.mark.parametrize("error", ["RuntimeError", "lossreg.InvalidNameError"])
@pytest.mark.parametrize("source", NOTIFIED.values(), ids=NOTIFIED)
def test_a_notified_hook_that_raises_is_left_out_with_one_warning(installed, source, error):
    """The other hooks get the event, once; the failure is kept for `doctor`."""
    installed("a_hooks", "events = []\n@hookimpl\ndef lossreg_health_event(event): events.append(event)")
    installed("bad_hooks", "import lossreg\n" + source.format(error=error))
    installed("c_hooks", "events = []\n@hookimpl\ndef lossreg_health_event(event): events.append(event)")
    found = lossreg.registries.hooks()
    with pytest.warns(UserWarning, match="the hooks 'bad_hooks' are broken and left out: .*boom") as caught:
        found.call("lossreg_health_event", event="first")
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.call("lossreg_health_event", event="second")
    for name in ("a_hooks", "c_hooks"):
        assert importlib.import_module(name).events == ["first", "second"]
    (failure,) = found.failures
    assert (failure.source, failure.distribution) == ("hooks bad_hooks", "bad-hooks")


def test_a_wrapper_may_catch_the_error_of_a_constructor(installed):
    """And build something else."""

    class Refusing(nn.Module):
        def __init__(self, size: int):
            raise ValueError("no size is right")

    losses.register("refusing")(Refusing)
    source = """
        from torch import nn
        @hookimpl(wrapper=True)
        def lossreg_build(entry):
            try:
                return (yield)
            except ValueError:
                return nn.Identity()
    """
    installed("catching", textwrap.dedent(source))
    assert isinstance(lossreg.build({"name": "refusing", "params": {"size": 3}}), nn.Identity)


def test_a_constructor_that_refuses_is_not_the_fault_of_a_wrapper(installed):
    """Its exception passes through the wrapper, which stays."""

    class Refusing(nn.Module):
        def __init__(self, size: int):
            raise ValueError("no size is right")

    losses.register("refusing")(Refusing)
    installed("wrapping", "@hookimpl(wrapper=True)\ndef lossreg_build(entry):\n    return (yield)")
    with pytest.raises(InvalidConfigError, match="raised ValueError: no size is right"):
        lossreg.build({"name": "refusing", "params": {"size": 3}})
    assert not lossreg.registries.hooks().failures


def test_an_error_of_lossregs_is_an_answer(installed):
    """A hook may refuse a config with an error of lossreg."""
    source = "@hookimpl\ndef lossreg_transform_config(config):\n    raise lossreg.InvalidNameError('not in this team')"
    installed("strict_hooks", f"import lossreg\n{source}")
    with pytest.raises(lossreg.InvalidNameError, match="not in this team"):
        lossreg.validate("dice")


def test_strictness_raises_at_once(installed, monkeypatch):
    """LOSSREG_STRICT=1 raises every failure."""
    monkeypatch.setenv("LOSSREG_STRICT", "1")
    installed("bad_hooks", "raise RuntimeError('boom')")
    with pytest.raises(ProviderError, match="the hooks 'bad_hooks' are broken and left out: RuntimeError: boom"):
        lossreg.build("dice")


@pytest.mark.parametrize("switch", ["LOSSREG_DISABLE", "LOSSREG_ONLY"])
def test_hooks_are_disabled_by_name(installed, monkeypatch, switch):
    """Their module is not imported."""
    installed("bad_hooks", "raise RuntimeError('boom')")
    monkeypatch.setenv(switch, "bad_hooks" if switch == "LOSSREG_DISABLE" else "segmentation,lossreg")
    lossreg.build("dice")
    assert "bad_hooks" not in sys.modules


# ---- loading


def test_listing_loads_no_hooks(installed):
    """Nor do `in` and `find`."""
    installed("bad_hooks", "raise RuntimeError('boom')")
    assert "dice" in losses
    losses.find("overlap")
    assert hooks._complete is None


def test_a_module_of_hooks_may_build_while_it_is_imported(installed):
    """It gets lossreg's own hooks, since the others are not complete."""
    installed("early_hooks", "import lossreg\nloss = lossreg.build('dice')")
    lossreg.build("dice")
    assert type(importlib.import_module("early_hooks").loss).__name__ == "Dice"


def test_every_hook_is_documented():
    """docs/reference/hooks.md has a section on each, with a block that runs (see test_docs)."""
    page = ROOT / "docs/reference/hooks.md"
    if not page.exists():
        pytest.skip("the documentation lies in the checkout, and only the tests are here")
    text = page.read_text()
    assert len(SPECIFIED) == 6
    for name in SPECIFIED:
        assert getattr(specs, name).__doc__
        section = text.partition(f"## `{name}")[2].partition("\n## ")[0]
        assert "```python" in section, name
        assert f"def {name}(" in section, name


def test_a_second_plugin_of_a_name_leaves_the_first_alone(site):
    """A distribution can neither replace lossreg's own hooks nor remove them."""
    site.module("fine_hooks", HEAD + "@hookimpl\ndef lossreg_resolve_missing(name): return 'ask the fine ones'")
    site.module("late_hooks", "")
    site.distribution("a-fine", hooks={"hooks": "fine_hooks"})
    site.distribution("b-late", hooks={"hooks": "late_hooks", "lossreg": "late_hooks"})
    with pytest.warns(UserWarning, match="belongs to (a-fine|lossreg); rename the entry point") as caught:
        lossreg.build("dice")
    assert len(caught) == 2
    with pytest.raises(NotFoundError, match="ask the fine ones"):
        losses.get("nothing_of_the_kind")


def test_threads_that_meet_one_broken_notification_give_one_warning(installed):
    """Both go on, and it is left out once."""
    source = """
        import threading
        meeting = threading.Barrier(2)
        @hookimpl
        def lossreg_health_event(event):
            meeting.wait(timeout=120)
            raise RuntimeError('boom')
    """
    installed("bad_hooks", textwrap.dedent(source))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = lossreg.registries.hooks()
        in_threads(2, lambda _: found.call("lossreg_health_event", event=None))
    assert len([warning for warning in caught if "broken and left out" in str(warning.message)]) == 1


def test_a_name_that_a_hook_registers_is_migrated_from_the_first_time(installed):
    """The hooks are loaded before the name is looked up."""
    source = """
        from torch import nn

        class Zed(nn.Module):
            def __init__(self, smooth: float = 1.0):
                super().__init__()

        @hookimpl
        def lossreg_register(registry):
            registry.register("zed", renamed={"eps": "smooth"})(Zed)
    """
    installed("zed_hooks", textwrap.dedent(source))
    with pytest.warns(DeprecationWarning, match="'eps' was renamed; write 'smooth'"):
        assert lossreg.validate({"name": "zed", "params": {"eps": 2.0}}).params == {"smooth": 2.0}
