"""Packages and their files are found where Python would import them from, and nothing is imported."""

import importlib.abc
import importlib.util
import io
import json
import sys
import zipfile

import pytest

from lossreg import ManifestError
from lossreg.discovery import manifest
from lossreg.discovery.manifest import package_folder, source_file


def text(name, package):
    """Return a manifest with one loss."""
    return json.dumps({"schema": 1, "losses": {name: {"target": f"{package}.code:Loss", "tags": []}}})


@pytest.fixture
def portion(site, tmp_path, monkeypatch):
    """Make a folder on sys.path with a package within namespace packages, and a distribution that declares it."""

    def made(folder, package, name, value=None):
        site.root = tmp_path / folder
        *_, last = package.split(".")
        path = site.root.joinpath(*package.split("."))
        path.mkdir(parents=True)
        (path / "__init__.py").write_text("raise SystemExit('imported')")
        (path / "code.py").write_text("raise SystemExit('imported')")
        (path / "lossreg.json").write_text(text(name, package))
        site.distribution(f"acme-{last}", manifests={last: value or f"{package}:lossreg.json"})
        monkeypatch.syspath_prepend(site.root)
        return path

    return made


def targets(site):
    registry = site.registry()
    return {name: registry.entry(name).target for name in site.names(registry)}


def test_packages_of_one_namespace_have_a_manifest_each(site, portion):
    """In any order on sys.path, and at any depth. The namespace itself is not imported."""
    portion("one", "acme_ns.losses", "hinge_x")
    portion("two", "acme_ns.other", "margin_x")
    portion("three", "acme_ns.deep.er.more", "deep_x")
    assert targets(site) == {
        "hinge_x": "acme_ns.losses.code:Loss",
        "margin_x": "acme_ns.other.code:Loss",
        "deep_x": "acme_ns.deep.er.more.code:Loss",
    }
    assert site.failures(site.registry()) == {}
    assert not [name for name in sys.modules if name.startswith("acme_ns")]


def test_a_package_of_a_namespace_is_found_away_from_its_metadata(site, portion, tmp_path, monkeypatch):
    """As an editable install has it; also after the namespace was imported."""
    path = portion("one", "acme_ns.deep.losses", "hinge_x")
    (tmp_path / "lib").mkdir()
    info = tmp_path / "one" / "acme_losses-1.0.dist-info"
    info.rename(tmp_path / "lib" / info.name)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    assert targets(site) == {"hinge_x": "acme_ns.deep.losses.code:Loss"}
    assert package_folder("acme_ns.deep.losses") == path
    assert not [name for name in sys.modules if name.startswith("acme_ns")]
    __import__("acme_ns.deep")
    assert targets(site) == {"hinge_x": "acme_ns.deep.losses.code:Loss"}
    for name in ("acme_ns", "acme_ns.deep"):
        del sys.modules[name]


@pytest.mark.parametrize("root", ["one", "lib"])
def test_a_namespace_package_itself_has_no_manifest(site, portion, tmp_path, root):
    """Each distribution would overwrite the file of the others, or read it."""
    portion("one", "acme_ns.losses", "hinge_x", "acme_ns:lossreg.json")
    (tmp_path / "one" / "acme_ns" / "lossreg.json").write_text(text("wrong_x", "acme_ns"))
    assert targets(site) == {}
    (message,) = site.failures(site.registry()).values()
    assert message == (
        "package 'acme_ns' is a namespace package: other distributions may have a part of it, with a file of the same"
        " name. Move the manifest into a package of your own with an __init__.py, such as 'acme_ns.losses'"
    )
    with pytest.raises(ManifestError, match="'acme_ns' is a namespace package"):
        package_folder("acme_ns")


def test_a_package_within_one_with_code_has_no_manifest(site, portion, tmp_path):
    """To find it, Python would import the outer one, which is named."""
    portion("one", "acme_ns.losses", "hinge_x")
    (tmp_path / "one" / "acme_ns" / "__init__.py").write_text("raise SystemExit('imported')")
    assert targets(site) == {}
    (message,) = site.failures(site.registry()).values()
    assert message == (
        "a manifest must be in a top-level package, got 'acme_ns.losses'; move it to 'acme_ns', which Python would"
        " import to find 'acme_ns.losses'"
    )


@pytest.mark.parametrize("name", ["acme_ns.absent", "acme_ns.losses.code", "acme_ns.deep"])
def test_what_is_not_in_a_namespace_has_no_folder(portion, name):
    """A part that is absent, a module, and a folder without code."""
    portion("one", "acme_ns.losses", "hinge_x")
    portion("two", "acme_ns.deep.er", "deep_x")
    with pytest.raises(ManifestError, match=r"not installed, or not a package|must be in a top-level|is a namespace"):
        package_folder(name)


def test_the_file_of_a_target_within_a_namespace(portion, site):
    """Of a package, of its modules, and of a module beside packages; None where a module stands for a package."""
    path = portion("one", "acme_ns.losses", "hinge_x")
    (path.parent / "single.py").touch()
    alone = site.module("acme_alone")
    assert source_file("acme_ns.losses:X") == path / "__init__.py"
    assert source_file("acme_ns.losses.code:X") == path / "code.py"
    assert source_file("acme_ns.single:X") == path.parent / "single.py"
    assert source_file("acme_alone:X") == alone
    assert source_file("acme_alone.acme_base:X") is None
    assert source_file("acme_ns:X") is None
    assert source_file("acme_ns.absent:X") is None


def archive(site, monkeypatch, files):
    """Put a zip with a distribution that declares acme_zip on sys.path."""
    path = site.root / "app.zip"
    head = "Name: acme-zip\nVersion: 1.0\n"
    points = "[lossreg.manifests]\nzipped = acme_zip.losses:lossreg.json\ntop = acme_top\n"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {
            "acme_zip-1.0.dist-info/METADATA": head,
            "acme_zip-1.0.dist-info/entry_points.txt": points,
            "acme_zip/": "",  # Python before 3.13 finds no namespace without it
            "acme_zip/losses/": "",
            "acme_zip/losses/__init__.py": "raise SystemExit('imported')",
            "acme_top/__init__.py": "raise SystemExit('imported')",
            **files,
        }.items():
            file.writestr(name, content)
    site.distributions.add("acme-zip")
    monkeypatch.syspath_prepend(path)


def test_a_manifest_in_an_archive_is_read(site, monkeypatch):
    """Of a top-level package and of one in a namespace."""
    files = {"acme_zip/losses/lossreg.json": text("z_loss", "acme_zip"), "acme_top/lossreg.json": text("t_loss", "t")}
    archive(site, monkeypatch, files)
    assert targets(site) == {"z_loss": "acme_zip.code:Loss", "t_loss": "t.code:Loss"}
    assert not {"acme_zip", "acme_top"} & {*sys.modules}


def test_a_manifest_that_an_archive_lacks_is_for_its_authors(site, monkeypatch):
    """A user cannot write it."""
    archive(site, monkeypatch, {"acme_top/lossreg.json": text("t_loss", "t")})
    assert targets(site) == {"t_loss": "t.code:Loss"}
    (message,) = site.failures(site.registry()).values()
    assert message.endswith(
        "; the installed acme-zip 1.0 lacks it: ask its authors to add it to the wheel, with setuptools by"
        ' `"acme_zip.losses" = ["lossreg.json"]` below [tool.setuptools.package-data]'
    )


class Memory(importlib.abc.MetaPathFinder):
    """A finder of packages that are in memory alone."""

    def __init__(self, name, loader):
        self.name, self.loader = name, loader

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            return importlib.util.spec_from_loader(name, self.loader, is_package=True)
        return None


class WithReader(importlib.abc.Loader):
    """A loader that has resources, as `importlib.resources` reads them."""

    def get_resource_reader(self, name):
        return self

    def open_resource(self, name):
        return io.BytesIO({"lossreg.json": text("memory_loss", "acme_memory")}[name].encode())


class WithData(importlib.abc.Loader):
    """A loader that has data by path, as older ones."""

    def get_data(self, path):
        return {"lossreg.json": text("memory_loss", "acme_memory")}[path].encode()


@pytest.mark.parametrize("loader", [WithReader(), WithData()], ids=["reader", "data"])
@pytest.mark.parametrize("name", ["acme_memory", "acme_ns.memory"])
def test_a_loader_reads_its_own_files(site, portion, monkeypatch, loader, name):
    """As in packed applications, and for a package within a namespace. A file that it lacks is a failure."""
    portion("one", "acme_ns.losses", "hinge_x")
    monkeypatch.setattr(sys, "meta_path", [Memory(name, loader), *sys.meta_path])
    site.distribution("memory", manifests={"memory": name})
    assert targets(site)["memory_loss"] == "acme_memory.code:Loss"
    with pytest.raises(ManifestError, match=f"{name}:other.json cannot be read: KeyError: 'other.json'; `lossreg man"):
        manifest.read(name, "other.json")
    with pytest.raises(ManifestError, match=f"package '{name}' lies in no folder"):
        package_folder(name)


@pytest.mark.parametrize("is_wheel", [True, False])
def test_the_remedy_for_a_missing_manifest(site, tmp_path, monkeypatch, is_wheel):
    """Its authors have to add it to a wheel; in a development install `lossreg manifest build` writes it."""
    site.package("acme")
    folder = site.distribution("acme-losses", manifests={"acme": "acme"}, version="2.0")
    (folder / "RECORD").touch()
    if not is_wheel:
        (tmp_path / "lib").mkdir()
        folder.rename(tmp_path / "lib" / folder.name)
        monkeypatch.syspath_prepend(tmp_path / "lib")
    (message,) = site.failures(site.registry()).values()
    built = (
        "the installed acme-losses 2.0 lacks it: ask its authors to add it to the wheel, with setuptools by"
        ' `"acme" = ["lossreg.json"]` below [tool.setuptools.package-data]'
    )
    remedy = built if is_wheel else "`lossreg manifest build acme` writes it"
    assert message == f"acme:lossreg.json cannot be read: No such file or directory; {remedy}"


def test_a_frozen_application_has_its_manifests_beside_its_code(site, monkeypatch):
    """PyInstaller puts the data of packages into folders, without an __init__.py. A file that it left out is named."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    (site.package("acme") / "__init__.py").unlink()
    (site.root / "acme" / "lossreg.json").write_text(text("x_loss", "acme"))
    site.distribution("acme", manifests={"acme": "acme"})
    site.module("acme_left.code")
    site.distribution("left", manifests={"left": "acme_left"})
    assert targets(site) == {"x_loss": "acme.code:Loss"}
    (message,) = site.failures(site.registry()).values()
    assert message.endswith(
        "; the application was packed without it: add --collect-all acme_left to the options of PyInstaller"
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-le"])
def test_a_manifest_in_an_encoding_of_json_is_read(site, encoding):
    """Editors of Windows write a mark of the byte order."""
    (site.package("acme") / "lossreg.json").write_bytes(text("x_loss", "acme").encode(encoding))
    site.distribution("acme", manifests={"acme": "acme"})
    assert targets(site) == {"x_loss": "acme.code:Loss"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_number_that_json_does_not_have_is_refused(site, number):
    """Python's reader takes it, and it would be in the JSON Schema."""
    site.package("acme", text("x_loss", "acme").replace("[]", number))
    site.distribution("acme", manifests={"acme": "acme"})
    (message,) = site.failures(site.registry()).values()
    assert message == f"acme:lossreg.json is not JSON: the number {number} is not finite"
