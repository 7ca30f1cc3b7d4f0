"""Manifests: built from classes, compared with them, and up to date in the first-party packages."""

import json
import sys
from zlib import crc32

import pytest

from lossreg import ManifestError, losses
from lossreg.authoring import manifest_writer
from lossreg.discovery import manifest

SOURCE = '''
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from lossreg import losses


@losses.register("{first}", aliases=("{first}_loss", "aa"), tags=("t", "s"), contract={{"input": "logits"}})
class A(nn.Module):
    """Down-weight easy pixels.

        loss = -(1 - p)^gamma log p

    Args:
        gamma: focusing exponent,
            dimensionless.
        mode: what to do.
    Shapes:
        input (N, C).
    Source: Somebody 2017, eq. 5.
    """

    def __init__(self, *, gamma: Annotated[float, Field(ge=0)] = 2.0, mode: Literal["x", "y"] = "x") -> None:
        super().__init__()


@losses.register("{second}")
class B(nn.Module):
    def __init__(self, size: int, name="n"):
        super().__init__()
'''

EXPECTED_A = {
    "target": "{package}.inner.code:A",
    "aliases": ["aa", "a_loss"],
    "tags": ["s", "t"],
    "summary": "Down-weight easy pixels.",
    "formula": "loss = -(1 - p)^gamma log p",
    "shapes": "input (N, C).",
    "source": "Somebody 2017, eq. 5.",
    "contract": {"input": "logits"},
    "parameters": {
        "type": "object",
        "properties": {
            "gamma": {
                "type": "number",
                "minimum": 0,
                "default": 2.0,
                "description": "focusing exponent, dimensionless.",
            },
            "mode": {"type": "string", "enum": ["x", "y"], "default": "x", "description": "what to do."},
        },
        "required": [],
        "additionalProperties": False,
    },
}


@pytest.fixture
def package(site, request, torch):
    """A package with two losses in a subpackage, under a name of its own."""
    name = f"acme_{crc32(request.node.name.encode())}"
    site.module(f"{name}.inner.code", SOURCE.format(first="a", second="b"))
    site.module(f"{name}.__main__", "raise SystemExit('not to be imported')")
    return name


def rewrite(site, package, source):
    """Change the code, as if in a new process."""
    site.forget()
    site.module(f"{package}.inner.code", source)
    for path in site.root.rglob("__pycache__/*"):
        path.unlink()


def declared(package):
    """Return the entries of the package's manifest."""
    found = manifest.entries(manifest.read(package, "lossreg.json"), package)
    return [entry._replace(provider="acme", distribution="acme") for entry in found]


def test_a_manifest_has_the_facts_of_the_classes(package):
    """Names, aliases, tags, sections of the docstring, contract and parameters."""
    path = manifest_writer.build(package)
    assert path == manifest.package_folder(package) / "lossreg.json"
    data = json.loads(path.read_text())
    assert data["schema"] == 1
    assert list(data["losses"]) == ["a", "b"]
    expected = EXPECTED_A | {"target": f"{package}.inner.code:A", "aliases": ["a_loss", "aa"]}
    assert data["losses"]["a"] == expected
    assert data["losses"]["b"]["parameters"] == {
        "type": "object",
        "properties": {"size": {"type": "integer"}, "name": {"type": "string", "default": "n"}},
        "required": ["size"],
        "additionalProperties": False,
    }
    assert data["losses"]["b"]["tags"] == []


def test_building_registers_nothing(package):
    """It only reads a package."""
    before = losses.list()
    manifest_writer.build(package)
    assert losses.list() == before


def test_a_built_manifest_passes_the_check_and_is_reproducible(package):
    """A second build changes no byte."""
    path = manifest_writer.build(package)
    text = path.read_bytes()
    manifest_writer.check(package)
    manifest_writer.build(package)
    assert path.read_bytes() == text


def test_the_entries_of_a_manifest_are_those_of_the_code(package):
    """Round trip: the entries of the classes are read without them."""
    manifest_writer.build(package)
    first, second = declared(package)
    assert (first.full_name, first.aliases, first.tags) == ("acme/a", ("a_loss", "aa"), {"s", "t"})
    assert (second.name, second.aliases, second.tags) == ("b", (), frozenset())
    assert first.target == f"{package}.inner.code:A"


@pytest.mark.parametrize(
    "old, new, lines",
    [
        (
            "= 2.0",
            "= 3.0",
            [
                "- losses.a.parameters.properties.gamma.default = 2.0",
                "+ losses.a.parameters.properties.gamma.default = 3.0",
            ],
        ),
        (
            "ge=0",
            "gt=0",
            [
                "- losses.a.parameters.properties.gamma.minimum = 0",
                "+ losses.a.parameters.properties.gamma.exclusiveMinimum = 0",
            ],
        ),
        ('tags=("t", "s")', 'tags=("t",)', ['- losses.a.tags = ["s", "t"]', '+ losses.a.tags = ["t"]']),
        (
            "gamma: focusing",
            "gamma: new",
            ['+ losses.a.parameters.properties.gamma.description = "new exponent, dimensionless."'],
        ),
        (
            'register("b")',
            'register("bb")',
            ['- losses.b.target = "PACKAGE.inner.code:B"', '+ losses.bb.target = "PACKAGE.inner.code:B"'],
        ),
    ],
)
def test_drift_fails_with_a_readable_difference(site, package, old, new, lines):
    """There is a line for each place, and the command that repairs it."""
    manifest_writer.build(package)
    source = SOURCE.format(first="a", second="b")
    assert old in source
    rewrite(site, package, source.replace(old, new))
    with pytest.raises(
        ManifestError, match=f"{package}:lossreg.json differs from the code; run `lossreg manifest"
    ) as got:
        manifest_writer.check(package)
    shown = str(got.value).splitlines()
    assert shown[1:3] == ["- manifest", "+ code"]
    for line in lines:
        assert line.replace("PACKAGE", package) in shown
    assert len(shown) < 30
    assert got.value.source == package


@pytest.mark.parametrize("losses", [{"a": {"aliases": []}}, {"a": 5}, [], {"a": {"target": 7}}])
def test_a_manifest_that_is_malformed_differs_from_the_code(package, losses):
    """The message is that of a manifest edited by hand, and its remedy works."""
    path = manifest_writer.build(package)
    path.write_text(json.dumps({"schema": 1, "losses": losses}))
    with pytest.raises(ManifestError, match=f"{package}:lossreg.json differs from the code; run `lossreg manifest"):
        manifest_writer.check(package)
    manifest_writer.build(package)
    manifest_writer.check(package)


def test_a_module_that_holds_a_loss_must_be_importable(site, package):
    """A package that is not installed is an error there, and none in a module without losses."""
    manifest_writer.build(package)
    site.module(f"{package}.extra", "import acme_absent")
    manifest_writer.check(package)
    rewrite(site, package, "import acme_absent")
    with pytest.raises(ManifestError, match=f"importing {package}.inner.code raised ModuleNotFoundError"):
        manifest_writer.check(package)
    with pytest.raises(ManifestError, match=r"importing .* raised ModuleNotFoundError: No module named 'acme_absent'"):
        manifest_writer.build(package)


def test_names_that_are_swapped_survive_a_rebuild(site, package):
    """Entries of the old manifest do not conflict with the new ones; nor do new names."""
    manifest_writer.build(package)
    for first, second in (("b", "a"), ("a", "c"), ("c", "d")):
        old = declared(package)
        source = SOURCE.format(first=first, second=second).replace('"aa"', "")
        rewrite(site, package, source)
        with losses.scope():
            for entry in old:
                losses.add(entry)
            manifest_writer.build(package)
        targets = {name: loss["target"] for name, loss in manifest.read(package, "lossreg.json")["losses"].items()}
        assert targets == {first: f"{package}.inner.code:A", second: f"{package}.inner.code:B"}
        manifest_writer.check(package)


def test_a_package_without_losses_has_no_manifest(site, torch):
    """The message shows how to declare one."""
    site.package("acme_empty")
    with pytest.raises(ManifestError, match=r"acme_empty registers no loss; decorate its classes with @lossreg"):
        manifest_writer.build("acme_empty")


@pytest.mark.parametrize("module", ["acme_broken.inner", "acme_broken.inner.__init__"])
def test_a_package_that_cannot_be_imported_has_no_manifest(site, module, torch):
    """The message names the module, or the subpackage."""
    site.module(module, "1 / 0")
    with pytest.raises(ManifestError, match=r"importing acme_broken\.inner raised ZeroDivisionError") as caught:
        manifest_writer.build("acme_broken")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_package_that_is_not_there_has_no_manifest():
    """Neither has a module, or a dotted name."""
    for name in ("acme_absent", "string", "json.decoder"):
        with pytest.raises(ManifestError, match=r"not installed|top-level package"):
            manifest_writer.generate(name)


def test_the_file_of_a_target_is_found_without_import(site):
    """For modules and packages; None if there is no such file."""
    module = site.module("acme_file.inner.code")
    assert manifest.source_file("acme_file.inner.code:X") == module
    assert manifest.source_file("acme_file.inner:X") == module.with_name("__init__.py")
    assert manifest.source_file("acme_file:X") == module.parent.with_name("__init__.py")
    assert manifest.source_file("acme_file.none:X") is None
    assert manifest.source_file("acme_absent:X") is None
    assert "acme_file" not in sys.modules


@pytest.mark.parametrize("name", ["lossreg", "lossreg_segmentation", "lossreg_sam"])
def test_first_party_manifests_are_in_step(name, torch):
    """They equal the code, and an installed distribution declares them."""
    manifest_writer.check(name)
    assert manifest_writer.is_declared(name)
    assert not manifest_writer.is_declared("acme_absent")
