"""Results of hooks: an error names the hook that returned a value of no use."""

import gc
import warnings

import pytest

import lossreg
from lossreg import InvalidConfigError, NotFoundError, ProviderError, losses

WRONG = {
    "a transform returns the config": (
        "@hookimpl\ndef lossreg_transform_config(config): return dict(config)",
        "returned a mapping of 2, not used; change config in place and return nothing",
    ),
    "a transform is async": ("@hookimpl\nasync def lossreg_transform_config(config): ...", "is async, .* write `def`"),
    "a transform yields": (
        "@hookimpl\ndef lossreg_transform_config(config): yield",
        r"yields, and nothing in it ran; only a wrapper does: @hookimpl\(wrapper=True\)",
    ),
    "a build is async": ("@hookimpl\nasync def lossreg_build(entry): ...", "is async, .* write `def`"),
    "a build yields": ("@hookimpl\ndef lossreg_build(entry): yield", "yields, .* only a wrapper does"),
    "a build returns the class": (
        "from torch import nn\n@hookimpl\ndef lossreg_build(entry): return nn.Identity",
        "returned an object of type type; return an nn.Module, or None to leave it to others",
    ),
    "a wrapper forgets the module": (
        "@hookimpl(wrapper=True)\ndef lossreg_build(entry): yield",
        "returned None; a wrapper ends with `return module`, the result of its `yield`",
    ),
    "a wrapper returns its time": (
        "@hookimpl(wrapper=True)\ndef lossreg_build(entry):\n    yield\n    return 0.5",
        "returned 0.5; return an nn.Module",
    ),
}


@pytest.mark.parametrize("source, message", WRONG.values(), ids=WRONG)
def test_a_wrong_result_is_an_error_that_names_the_hook_and_the_cure(installed, source, message):
    """Also at the second build: nothing is left out without a word."""
    installed("wrong_hooks", source)
    hook = "lossreg_" + source.partition("def lossreg_")[2].partition("(")[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(ProviderError, match=f"{hook} of the hooks 'wrong_hooks' of wrong-hooks {message}"):
                lossreg.build("dice")
        gc.collect()  # a coroutine that nobody awaited would warn


@pytest.mark.parametrize("answer", ["['a']", "3", "{'name': 'dice'}", "lambda: None"])
def test_an_answer_for_a_missing_name_is_an_entry_or_text(installed, answer):
    """Neither is guessed from anything else."""
    installed("wrong_hooks", f"@hookimpl\ndef lossreg_resolve_missing(name): return {answer}")
    with pytest.raises(ProviderError, match=r"returned .*; return an Entry, a hint as text, or None; LOSSREG_DISABLE="):
        losses.get("nothing_of_the_kind")


@pytest.mark.parametrize(
    "answer, message",
    [
        ("Entry('a b', 'm:X')", "name must be a letter"),
        ("Entry('x', 'm:X', metadata={'renamed': ['eps']})", "local/x: its renamed must be an object, got list"),
    ],
)
def test_a_malformed_entry_for_a_missing_name_is_told_with_its_hook(installed, answer, message):
    """The user did not write it."""
    source = f"from lossreg import Entry\n@hookimpl\ndef lossreg_resolve_missing(name): return {answer}"
    installed("wrong_hooks", source)
    with pytest.raises(ProviderError, match=f"'wrong_hooks' of wrong-hooks returned a malformed Entry: {message}"):
        losses.get("nothing_of_the_kind")


@pytest.mark.parametrize("hook", ["lossreg_register(registry)", "lossreg_health_event(event)"])
def test_a_notification_that_did_not_run_is_left_out_with_a_warning(installed, hook):
    """An async function only makes a coroutine."""
    installed("wrong_hooks", f"@hookimpl\nasync def {hook}: ...")

    def use():
        lossreg.build("dice")
        lossreg.registries.hooks().call("lossreg_health_event", event=None)

    with pytest.warns(UserWarning, match="the hooks 'wrong_hooks' are broken and left out: is async, and nothing"):
        use()


def test_the_advice_for_hooks_that_were_registered_by_hand_works():
    """No variable of the environment knows them."""

    class Broken:
        @lossreg.hookimpl
        def lossreg_build(self):
            raise ZeroDivisionError

    lossreg.authoring.hooks().manager.register(Broken(), "mine")
    with pytest.raises(ProviderError) as caught:
        lossreg.build("dice")
    advice = str(caught.value).partition("; ")[2].removesuffix(" disables them")
    assert advice == "lossreg.authoring.hooks().manager.unregister(name='mine')"
    lossreg.authoring.hooks().manager.unregister(name="mine")
    lossreg.build("dice")


def test_the_advice_for_installed_hooks_works(installed, monkeypatch):
    """The variable of the message lets the next process build."""
    installed("wrong_hooks", "@hookimpl\ndef lossreg_build(entry): raise ZeroDivisionError")
    with pytest.raises(ProviderError, match="; LOSSREG_DISABLE=wrong_hooks disables them"):
        lossreg.build("dice")
    monkeypatch.setenv("LOSSREG_DISABLE", "wrong_hooks")
    monkeypatch.setattr("lossreg.hooks.manager._complete", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lossreg.build("dice")


# ---- configs and hooks

MIGRATION = """
@hookimpl
def lossreg_transform_config(config):
    params = config["params"]
    if "eps" in params:
        params["smooth"] = params.pop("eps")
"""
OLD = {"name": "dice", "params": {"eps": 2.0}}


@pytest.mark.parametrize("config", ["dice", {"name": "dice"}, {"name": "dice", "params": None}])
def test_a_hook_sees_a_mapping_of_parameters(installed, config):
    """Also where the config has none, or null."""
    installed("migrating", MIGRATION)
    for _ in range(2):
        assert lossreg.validate(config).params["smooth"] == 1.0
        assert lossreg.validate(OLD).params["smooth"] == 2.0


@pytest.mark.parametrize(
    "config, message",
    [
        ({"name": "dice", "params": []}, "params: expected a mapping of parameters, got a list of 0"),
        ({"name": "dice", "params": 3}, "params: expected a mapping of parameters, got 3"),
        ({"name": "dice", "params": "eps"}, "params: expected a mapping of parameters, got the text 'eps'"),
        ({}, "name: missing"),
        ({"params": {"eps": 1}}, "name: missing"),
        ({"name": 3}, "name: expected text, got 3"),
    ],
)
def test_a_wrong_config_is_told_as_such_and_switches_no_hook_off(installed, config, message):
    """A config may come from anybody, and the hooks serve all others."""
    installed("migrating", MIGRATION)
    for _ in range(2):
        with pytest.raises(InvalidConfigError, match=message):
            lossreg.validate(config)
        assert lossreg.validate(OLD).params["smooth"] == 2.0
    assert not lossreg.registries.hooks().failures


@pytest.mark.parametrize(
    "change, message",
    [
        ("config[3] = 4", r"\['3'\]: unknown key; allowed are name, params"),
        ("config['params'][3] = 4", r"params\['3'\]: unknown parameter"),
        ("config['params'][None] = 4", "params: keys must be text, got None"),
    ],
)
def test_a_key_that_a_hook_writes_is_read_as_those_of_users(installed, change, message):
    """A number is text, and anything else is refused."""
    installed("key_hooks", f"@hookimpl\ndef lossreg_transform_config(config): {change}")
    with pytest.raises(InvalidConfigError, match=message):
        lossreg.build("dice")


def test_a_config_at_which_a_hook_raises_fails_alone(installed):
    """The error names the hook, and the next config is migrated."""
    installed("migrating", MIGRATION + "        params['smooth'] / 0 if params['smooth'] == 3 else None")
    with pytest.raises(ProviderError, match="_transform_config of the hooks 'migrating' of migrating raised Zero"):
        lossreg.validate({"name": "dice", "params": {"eps": 3}})
    assert lossreg.validate(OLD).params["smooth"] == 2.0
    assert not lossreg.registries.hooks().failures


def test_a_hook_may_name_an_entry_of_a_known_class(installed):
    """At the first call as at the second."""
    source = """
        @hookimpl
        def lossreg_resolve_missing(name):
            if name == "crk":
                return Entry("crk", "lossreg_segmentation.overlap:Dice", provider="acme")
    """
    installed("naming", source)
    for _ in range(2):
        assert type(lossreg.build("crk")).__name__ == "Dice"
        assert lossreg.build("acme/crk") is not None
    with pytest.raises(NotFoundError):
        losses.get("crk2")
