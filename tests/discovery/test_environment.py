"""Environment variables, and a thousand distributions."""

import sys

import pytest

from lossreg import DisabledError, Entry, InvalidNameError, Registry, losses
from lossreg.discovery.environment import with_state
from lossreg.discovery.scan import discover

SHARED = """
    from acme_base import Module
    from acme_table import registry

    @registry.register("one")
    class One(Module): ...

    @registry.register("two")
    class Two(Module): ...
"""


def test_all_but_some_can_be_disabled(site, monkeypatch):
    """By provider or name."""
    site.plain("acme_only", "Focal", "Dice")
    site.distribution("acme", losses={"focal_x": "acme_only:Focal", "dice_x": "acme_only:Dice"})
    monkeypatch.setenv("LOSSREG_ONLY", "focal_x,lossreg")
    registry = site.registry()
    on = [name for name in registry if registry.entry(name).state == "discovered"]
    assert on == sorted(["focal_x", *(entry.name for entry in losses.entries() if entry.provider == "lossreg")])
    assert "weighted_sum" in on
    with pytest.raises(DisabledError, match="acme/dice_x is disabled: LOSSREG_ONLY=focal_x,lossreg leaves it out"):
        registry.get("dice_x")
    assert registry.get("focal_x").__name__ == "Focal"


@pytest.mark.parametrize(
    "variable, value, reason",
    [
        ("LOSSREG_ONLY", "other, else", "LOSSREG_ONLY=other, else leaves it out"),
        ("LOSSREG_ONLY", "mine", ""),
        ("LOSSREG_ONLY", " , ", ""),
        ("LOSSREG_DISABLE", "m2", "LOSSREG_DISABLE=m2 names it"),
        ("LOSSREG_DISABLE", "local/mine", "LOSSREG_DISABLE=local/mine names it"),
        ("LOSSREG_DISABLE", "min", ""),
    ],
)
def test_one_entry_is_disabled_as_those_of_a_scan_are(monkeypatch, variable, value, reason):
    """An entry registered in code goes by the same rule. A blank list excludes nothing."""
    monkeypatch.setenv(variable, value)
    entry = with_state(Entry("mine", "acme:Mine", aliases=("m2",)))
    assert (entry.state, entry.reason) == (("disabled", reason) if reason else ("discovered", ""))


def test_a_disabled_loss_stays_disabled_when_its_module_is_imported(site, monkeypatch):
    """Another loss of the same file may be in use."""
    site.module("acme_table", "registry = None")
    site.module("acme_shared", SHARED)
    site.distribution("acme", losses={"one": "acme_shared:One", "two": "acme_shared:Two"})
    site.distribution("other", losses={"two": "acme_shared:Two"})
    monkeypatch.setenv("LOSSREG_DISABLE", "two")
    registry = site.registry()
    __import__("acme_table").registry = registry
    assert registry.get("one").__name__ == "One"
    for name in ("acme/two", "other/two"):
        with pytest.raises(DisabledError):
            registry.get(name)
        assert registry.entry(name).state == "disabled"


def test_strict_raises_the_first_failure(site, monkeypatch):
    """And again at the next look, until it is fixed."""
    folder = site.distribution("acme", losses={"bad": "no target"})
    monkeypatch.setenv("LOSSREG_STRICT", "1")
    registry = site.registry()
    for _ in range(2):
        with pytest.raises(InvalidNameError, match="target must be"):
            registry.list()
    (folder / "entry_points.txt").write_text("")
    assert "dice" in registry


def test_strict_without_failures_changes_nothing(site, monkeypatch):
    """Good packages are found."""
    site.distribution("acme", losses={"good": "acme:Good"})
    monkeypatch.setenv("LOSSREG_STRICT", "1")
    assert site.names(site.registry()) == ["good"]


def test_a_thousand_distributions_are_found_completely(site):
    """Half by entry point, half by manifest; not one is imported."""
    for number in range(500):
        site.distribution(f"point-{number}", losses={f"p{number}": f"acme_p{number}:Loss"})
        loss = {"target": f"acme_m{number}:Loss", "tags": ["many"]}
        site.package(f"acme_m{number}", {"schema": 1, "losses": {f"m{number}": loss}})
        site.distribution(f"manifest-{number}", manifests={f"many{number}": f"acme_m{number}:lossreg.json"})
    registry = Registry("torch.nn:Module", name="losses", discover=discover)
    expected = sorted([*(f"p{n}" for n in range(500)), *(f"m{n}" for n in range(500))])
    assert site.names(registry) == expected
    assert registry.entry("many499/m499").tags == {"many"}
    assert site.failures(registry) == {}
    assert not [name for name in sys.modules if name.startswith(("acme_p", "acme_m"))]
