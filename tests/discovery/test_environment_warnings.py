"""A mistyped name in the environment, or in a restriction to providers, gives one warning."""

import warnings

import pytest

from lossreg import messages
from lossreg.discovery import distributions
from lossreg.discovery.scan import warn_about_environment
from lossreg.registries import warn_unknown_providers


@pytest.fixture(autouse=True)
def _nothing_was_warned(monkeypatch):
    monkeypatch.setattr(messages, "_warned", set())


def listed(site):
    """List the losses of a new registry, as the first look-up of a process does."""
    registry = site.registry()
    registry.list()
    warn_about_environment()
    return registry


def warned(call, *arguments):
    """Return the texts of the warnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*arguments)
    return [str(each.message) for each in caught]


@pytest.mark.parametrize("variable", ["LOSSREG_DISABLE", "LOSSREG_ONLY"])
def test_unknown_names_give_a_warning(site, monkeypatch, variable):
    """The warning has them with similar ones, once in a process; right names are not in it."""
    monkeypatch.setenv(variable, "dicee, segmentation,qqqqqqqq")
    expected = (
        f"{variable}='dicee, segmentation,qqqqqqqq' in the environment: no provider or loss is called"
        " 'dicee' (did you mean 'dice'?) or 'qqqqqqqq'"
    )
    (text,) = warned(listed, site)
    assert text == expected
    assert warned(listed, site) == []
    monkeypatch.setenv(variable, "qqqqqqqq")
    (text,) = warned(listed, site)
    assert text.endswith("no provider or loss is called 'qqqqqqqq'")


@pytest.mark.parametrize("name", ["dice", "segmentation", "segmentation/dice", "jaccard, dice", "local", "", ","])
def test_known_names_give_none(site, monkeypatch, name):
    """There is no warning."""
    for variable in ("LOSSREG_DISABLE", "LOSSREG_ONLY"):
        monkeypatch.setenv(variable, name)
        assert warned(listed, site) == []


def test_a_part_and_an_unreadable_provider_may_be_disabled(site, monkeypatch):
    """A user may disable a provider because of its failure."""
    part = {"target": "acme_parts:Part", "tags": ["distance"]}
    site.package("acme_parts", {"schema": 1, "losses": {}, "parts": {"acme_part": part}})
    site.package("acme_bad", "no JSON")
    site.distribution("acme-parts", manifests={"acme_parts": "acme_parts"})
    site.distribution("acme-bad", manifests={"acme_bad": "acme_bad"})
    site.distribution("lossreg-worse", losses={"worse_loss": "no target"})
    monkeypatch.setenv("LOSSREG_DISABLE", "acme_part,acme_bad,worse")
    assert warned(listed, site) == []
    assert "acme_bad:lossreg.json is not JSON" in str(site.failures(site.registry()))


def test_strict_is_0_or_1(site, monkeypatch):
    """Any other value counts as 0, with a warning."""
    site.distribution("acme", losses={"bad": "no target"})
    monkeypatch.setenv("LOSSREG_STRICT", "yes")
    registry = site.registry()
    assert warned(registry.list) == [
        "LOSSREG_STRICT='yes' in the environment is neither '1' nor '0', and counts as '0'"
    ]
    assert site.failures(registry)
    for value in ("", "0"):
        monkeypatch.setenv("LOSSREG_STRICT", value)
        assert warned(listed, site) == []


def test_unknown_providers(monkeypatch):
    """The warning has the known providers and a similar one, once for each set of names."""
    (text,) = warned(warn_unknown_providers, {"segmentatoin", "sam"})
    assert text.startswith(
        "providers=['sam', 'segmentatoin']: no provider is called 'segmentatoin' (did you mean 'segmentation'?);"
        " providers are "
    )
    assert {"lossreg", "local", "sam", "segmentation"} <= {*text.partition("providers are ")[2].split(", ")}
    assert warned(warn_unknown_providers, ["sam", "segmentatoin"]) == []
    assert warned(warn_unknown_providers, {"sam", "local"}) == []
    assert warned(warn_unknown_providers, ()) == []


def test_names_of_losses_registered_in_code_are_known(monkeypatch):
    """The caller gives them. The similar names of a mistyped one are among them."""
    monkeypatch.setenv("LOSSREG_DISABLE", "zz_mine,zz_mina,dice")
    assert warned(warn_about_environment, {"zz_mine", "zz_mina"}) == []
    (text,) = warned(warn_about_environment, {"zz_mine"})
    assert text.endswith("no provider or loss is called 'zz_mina' (did you mean 'zz_mine'?)")


@pytest.mark.parametrize("variable", ["LOSSREG_DISABLE", "LOSSREG_ONLY"])
def test_a_mistyped_name_costs_one_scan(site, monkeypatch, variable):
    """Losses, parts and providers are taken from the same one."""
    scans = []
    scanned = distributions._scanned
    monkeypatch.setattr(distributions, "_scanned", lambda: scans.append(1) or scanned())
    monkeypatch.setenv(variable, "qqqqqqqq")
    warned(listed, site)
    assert scans == [1]
