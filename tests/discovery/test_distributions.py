"""Installed distributions: their entry points are found as importlib.metadata finds them."""

import importlib.metadata
import sys
import zipfile

import importlib_metadata
import pytest

from lossreg.discovery.distributions import HOOKS_GROUP, LOSSES_GROUP, MANIFESTS_GROUP, Declared, declared
from lossreg.registry.entry import Failure

ENTRY_POINTS = b"[lossreg.losses]\nzipped = acme_zip:Loss\n"


def found(site):
    """Return the lines of this test's own distributions."""
    return [item for item in declared() if isinstance(item, Declared) and item.root.startswith(str(site.root))]


def library():
    """Return group, name, value, distribution and version of each line, by the standard library."""
    return {
        (group, point.name, point.value, point.dist.name.lower().replace("_", "-"), point.dist.version)
        for group in (LOSSES_GROUP, MANIFESTS_GROUP, HOOKS_GROUP)
        for point in importlib.metadata.entry_points(group=group)
    }


def test_everything_installed_here_is_found_as_the_library_finds_it(site):
    """The first-party plugins, a wheel's folder, an older tool's egg-info, comments, blanks and foreign groups."""
    site.distribution("acme_one", losses={"a": "acme:A"}, manifests={"acme": "acme:lossreg.json"}, version="2.5.dev1")
    site.raw_distribution(
        "two", b"# [x]\n\n[console_scripts]\nx=y:z\n[lossreg.losses]\n;b=c\n b = acme : B [gpu] \n[ other ]\nq=r:s\n"
    )
    site.raw_distribution("foreign", b"[console_scripts]\nno equals sign\n[x.lossreg.y]\n")
    egg = site.distribution("three", losses={"c": "acme:C"})
    (egg / "METADATA").rename(egg / "PKG-INFO")
    egg.rename(egg.with_name("three-1.0-py3.11.egg-info"))
    items = [item for item in declared() if isinstance(item, Declared)]
    mine = {tuple(item[:5]) for item in items}
    expected = {
        (LOSSES_GROUP, "a", "acme:A", "acme-one", "2.5.dev1"),
        (MANIFESTS_GROUP, "acme", "acme:lossreg.json", "acme-one", "2.5.dev1"),
        (LOSSES_GROUP, "b", "acme : B [gpu]", "two", "1.0"),
        (LOSSES_GROUP, "c", "acme:C", "three", "1.0"),
    }
    assert expected <= mine
    (site.root / "foreign-1.0.dist-info" / "entry_points.txt").unlink()  # which stops the library altogether
    (site.root / "two-1.0.dist-info" / "entry_points.txt").write_text("[lossreg.losses]\nb = acme : B [gpu]\n")
    assert mine == library()
    assert {item.root for item in items if item.distribution == "two"} == {str(site.root)}


def test_an_archive_on_the_path_is_searched(site, monkeypatch):
    """As zipped applications have it."""
    archive = site.root / "app.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped-3.1.dist-info/METADATA", "Name: zipped\nVersion: 3.1\n")
        file.writestr("zipped-3.1.dist-info/entry_points.txt", ENTRY_POINTS)
    monkeypatch.setattr(sys, "path", [*sys.path, str(archive)])
    (item,) = found(site)
    assert item[:5] == (LOSSES_GROUP, "zipped", "acme_zip:Loss", "zipped", "3.1")


def test_an_egg_on_the_path_is_searched(site, monkeypatch):
    """A folder that is itself a distribution."""
    info = site.root / "acme-2.0-py3.11.egg" / "EGG-INFO"
    info.mkdir(parents=True)
    (info / "PKG-INFO").write_text("Name: acme\nVersion: 2.0\n")
    (info / "entry_points.txt").write_bytes(ENTRY_POINTS)
    monkeypatch.setattr(sys, "path", [*sys.path, str(info.parent)])
    (item,) = found(site)
    assert item[:5] == (LOSSES_GROUP, "zipped", "acme_zip:Loss", "acme", "2.0")


class Memory(importlib.metadata.Distribution):
    """A distribution without files."""

    def read_text(self, filename):
        return {"entry_points.txt": ENTRY_POINTS.decode(), "METADATA": "Name: Of_Memory\nVersion: 7\n"}.get(filename)

    def locate_file(self, path):
        return path


class Finder:
    """A finder of sys.meta_path with one distribution."""

    def find_distributions(self, context):
        assert isinstance(context, importlib_metadata.DistributionFinder.Context)
        return [Memory()]

    def find_spec(self, name, path=None, target=None):
        return None


def test_a_foreign_finder_is_called(monkeypatch):
    """Packed applications have one."""
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert [item[:5] for item in declared() if item.distribution == "of-memory"] == [
        (LOSSES_GROUP, "zipped", "acme_zip:Loss", "of-memory", "7")
    ]


@pytest.mark.parametrize("first", ["", b"/", 5, "/nowhere", "/proc/1/fd"], ids=str)
def test_an_entry_of_the_path_that_is_no_folder_is_ignored(site, monkeypatch, first):
    """It may be missing, unreadable or no text. The empty string is the working directory."""
    site.distribution("acme", losses={"a": "acme:A"})
    monkeypatch.chdir(site.root)
    monkeypatch.setattr(sys, "path", [first, str(site.root)] if first else [first])
    assert [(item.name, item.root) for item in declared()] == [("a", str(site.root) if first else ".")]


def test_a_distribution_without_declarations_hides_an_older_copy(site, monkeypatch):
    """The first on the path is imported; its spelling does not matter."""
    site.raw_distribution("acme.losses", b"[console_scripts]\nx = y:z\n", version="2.0")
    old = site.root / "old"
    site.root = old
    site.distribution("Acme_Losses", losses={"a": "acme:A"})
    monkeypatch.setattr(sys, "path", [*sys.path, str(old)])
    assert [item for item in declared() if item.distribution == "acme-losses"] == []


def test_a_malformed_line_is_a_failure_that_shows_it(site):
    """Only in a group of lossreg; the other lines of the file are ignored."""
    site.raw_distribution("acme", b"[lossreg.losses]\na = acme:A\nb acme:B\n")
    (failure,) = (item for item in declared() if isinstance(item, Failure))
    message = "acme: its entry_points.txt cannot be read: line 'b acme:B' of [lossreg.losses] has no '='"
    assert (failure.distribution, str(failure.error)) == ("acme", message)
