"""Refresh: packages that are installed or removed while the process runs."""

import shutil

import pytest

import lossreg
from lossreg import ManifestError, NotFoundError, losses, parts, registries

from ..fakes import like_new

LOSS = {"target": "acme_fresh:Fresh", "tags": ["t"], "summary": "A loss."}


@pytest.fixture
def started(site, monkeypatch):
    """The registries of lossreg after their first look-up."""
    for registry in (losses, parts):
        like_new(monkeypatch, registry)
        registry.list()
    return site


def test_a_package_that_is_installed_meanwhile_is_found_after_a_refresh(started):
    """The error for its name has that advice, and following it works; losses and parts alike."""
    assert "fresh" not in losses
    data = {"schema": 1, "losses": {"fresh": LOSS}, "parts": {"fresh_part": LOSS}}
    started.package("acme_fresh", data)
    started.distribution("acme-fresh", manifests={"acme-fresh": "acme_fresh:lossreg.json"})
    for registry, name in ((losses, "fresh"), (parts, "fresh_part")):
        with pytest.raises(NotFoundError, match=r"packages were installed or removed .*: call lossreg\.refresh\(\)"):
            registry.entry(name)
    lossreg.refresh()
    assert losses.entry("fresh").full_name == "acme-fresh/fresh"
    assert parts.entry("fresh_part").metadata["summary"] == "A loss."
    with pytest.raises(NotFoundError) as caught:
        losses.entry("frosh")
    assert "refresh" not in str(caught.value)


def test_an_unknown_name_is_not_blamed_on_packages(started):
    """Where nothing was installed."""
    with pytest.raises(NotFoundError) as caught:
        losses.entry("dicee")
    assert "refresh" not in str(caught.value)


def test_a_removed_package_is_gone_and_loaded_classes_stay(torch, started):
    """A class registered in code is as it was; a loaded one of a package that stays as well."""
    started.loss("acme_stays", "Stays")
    started.distribution("acme-stays", losses={"stays": "acme_stays:Stays"})
    goes = started.distribution("acme-goes", losses={"goes": "acme_goes:Goes"})
    lossreg.refresh()
    cls = losses.get("stays")
    mine = losses.register("mine")(type("Mine", (cls,), {}))
    dice = losses.get("dice")
    assert "goes" in losses
    shutil.rmtree(goes)
    lossreg.refresh()
    assert "goes" not in losses
    assert (losses.entry("stays").state, losses.get("stays")) == ("loaded", cls)
    assert losses.get("mine") is mine
    assert losses.get("dice") is dice


def test_a_changed_manifest_is_read_again(started):
    """Metadata and further losses; a failure that was mended is gone, and its losses are there."""
    folder = started.package("acme_fresh", "{ no JSON")
    started.distribution("acme-fresh", manifests={"acme-fresh": "acme_fresh:lossreg.json"})
    lossreg.refresh()
    assert [type(each.error) for each in losses.failures if each.distribution == "acme-fresh"] == [ManifestError]
    (folder / "lossreg.json").write_text(__import__("json").dumps({"schema": 1, "losses": {"fresh": LOSS}}))
    lossreg.refresh()
    assert [each for each in losses.failures if each.distribution == "acme-fresh"] == []
    assert losses.entry("fresh").metadata["summary"] == "A loss."
    (folder / "lossreg.json").write_text(
        __import__("json").dumps({"schema": 1, "losses": {"fresh": LOSS | {"summary": "Another.", "tags": ["u"]}}})
    )
    lossreg.refresh()
    assert losses.entry("fresh").metadata["summary"] == "Another."
    assert losses.entry("fresh").tags == {"u"}


def test_a_class_in_code_belongs_to_its_package_when_that_is_installed(torch, started):
    """As if the package had been there first."""
    started.loss("acme_late", "Late")
    cls = losses.register("late_in_code", tags=["code"])(__import__("acme_late").Late)
    assert losses.entry("late_in_code").full_name == "local/late_in_code"
    started.distribution("acme-late", losses={"late": "acme_late:Late"})
    lossreg.refresh()
    for name in ("late", "late_in_code"):
        assert losses.entry(name).full_name == "acme-late/late"
        assert losses.get(name) is cls
    assert losses.entry("late").tags == {"code"}


def test_a_mended_class_is_imported_after_a_refresh(torch, started):
    """The state of a broken one is forgotten."""
    started.module("acme_broken", "raise ImportError('not yet')")
    started.distribution("acme-broken", losses={"broken_loss": "acme_broken:Broken"})
    lossreg.refresh()
    with pytest.raises(lossreg.ProviderError):
        losses.get("broken_loss")
    assert losses.entry("broken_loss").state == "broken"
    lossreg.refresh()
    assert losses.entry("broken_loss").state == "discovered"


def test_a_registry_without_packages_has_nothing_to_refresh(registry, base):
    """What it holds stays."""
    cls = registry.register("x")(type("X", (base,), {}))
    registry.refresh()
    assert registry.get("x") is cls


def test_threads_that_refresh_at_the_same_time_do_not_disturb_each_other(started, monkeypatch):
    """Python stops with a KeyError where another thread removes the same finder; all are invalidated nonetheless."""
    calls = iter([KeyError, KeyError, None])

    def invalidate():
        error = next(calls)
        if error:
            raise error("/a/finder")

    monkeypatch.setattr(registries, "invalidate_caches", invalidate)
    lossreg.refresh()
    assert next(calls, "all were made") == "all were made"
