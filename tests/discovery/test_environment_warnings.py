"""What is mistyped in a switch of the environment, or in a restriction to providers, is said once."""

import warnings

import pytest

from lossreg import registries
from lossreg.discovery import environment as switches
from lossreg.registries import warn_unknown_providers


@pytest.fixture(autouse=True)
def _nothing_was_said(monkeypatch):
    monkeypatch.setattr(switches, "_warned", set())
    monkeypatch.setattr(registries, "_providers_checked", set())


def said(call, *arguments):
    """The texts of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*arguments)
    return [str(each.message) for each in caught]


@pytest.mark.parametrize("variable", ["LOSSREG_DISABLE", "LOSSREG_ONLY"])
def test_names_that_switch_nothing(site, monkeypatch, variable):
    """With near names, where it was set, and the ones that are right left out; once in a process."""
    monkeypatch.setenv(variable, "dicee, segmentation,qqqqqqqq")
    expected = (
        f"{variable}='dicee, segmentation,qqqqqqqq', set in the environment: no provider or loss is called"
        " 'dicee' or 'qqqqqqqq'; did you mean 'dice'"
    )
    (text,) = said(site.registry().list)
    assert text.startswith(expected)
    assert said(site.registry().list) == []
    monkeypatch.setenv(variable, "qqqqqqqq")
    (text,) = said(site.registry().list)
    assert text.endswith("no provider or loss is called 'qqqqqqqq'.")


@pytest.mark.parametrize("name", ["dice", "segmentation", "segmentation/dice", "jaccard, dice", "", ","])
def test_names_that_switch_something(site, monkeypatch, name):
    """Nothing is said."""
    for variable in ("LOSSREG_DISABLE", "LOSSREG_ONLY"):
        monkeypatch.setenv(variable, name)
        assert said(site.registry().list) == []


def test_a_part_and_a_provider_that_cannot_be_read_may_be_switched_off(site, monkeypatch):
    """The latter is what whoever sees its failure would try."""
    part = {"target": "acme_parts:Part", "tags": ["distance"]}
    site.package("acme_parts", {"schema": 1, "losses": {}, "parts": {"acme_part": part}})
    site.package("acme_bad", "no JSON")
    site.distribution("acme-parts", manifests={"acme_parts": "acme_parts"})
    site.distribution("acme-bad", manifests={"acme_bad": "acme_bad"})
    site.distribution("lossreg-worse", losses={"worse_loss": "no target"})
    monkeypatch.setenv("LOSSREG_DISABLE", "acme_part,acme_bad,worse")
    assert said(site.registry().list) == []
    assert "acme_bad:lossreg.json is not JSON" in str(site.failures(site.registry()))


def test_strict_is_0_or_1(site, monkeypatch):
    """Another value is said to count as 0, and does."""
    site.distribution("acme", losses={"bad": "no target"})
    monkeypatch.setenv("LOSSREG_STRICT", "yes")
    registry = site.registry()
    assert said(registry.list) == [
        "LOSSREG_STRICT='yes', set in the environment, is neither '1' nor '0', and counts as '0'"
    ]
    assert site.failures(registry)
    for value in ("", "0"):
        monkeypatch.setenv("LOSSREG_STRICT", value)
        assert said(site.registry().list) == []


def test_unknown_providers(monkeypatch):
    """Which there are, and a near one; once for each set of names."""
    (text,) = said(warn_unknown_providers, {"segmentatoin", "sam"})
    assert text.startswith(
        "providers=['sam', 'segmentatoin']: no provider is called 'segmentatoin'; did you mean 'segmentation'?"
        " Providers are "
    )
    assert {"lossreg", "local", "sam", "segmentation"} <= {*text.partition("Providers are ")[2].split(", ")}
    assert said(warn_unknown_providers, ["sam", "segmentatoin"]) == []
    assert said(warn_unknown_providers, {"sam", "local"}) == []
    assert said(warn_unknown_providers, ()) == []
