"""Packages of losses, by every back end of docs/howto/publish_a_package.md, layout and kind of declaration."""

import json
import os
import re
import subprocess
import zipfile

import pytest

from ..environment import Environment
from .projects import AUTHORS, DECLARATIONS, LAYOUTS, back_ends, write

pytestmark = [
    pytest.mark.tools,
    pytest.mark.skipif(
        not AUTHORS.exists(), reason="the documentation lies in the checkout, and only the tests are here"
    ),
]

# Prints for each package that lossreg lists, as JSON: described parameters, the first lines of `lossreg show`, the
# problem of a mistyped parameter, and a value.
USE = """
import contextlib, io, json, sys, lossreg
from lossreg.cli import main

found = {}
for distribution, package, name in json.loads(sys.argv[1]):
    if name not in lossreg.losses.list():
        continue
    metadata = lossreg.losses.entry(f"{distribution}/{name}").metadata
    described = list(metadata.get("parameters", {}).get("properties", []))
    assert package not in sys.modules, "it was imported to list it"
    sys.argv = ["lossreg", "show", name]
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        main()
    summary = shown.getvalue().partition("\\n")[0].removeprefix(f"{distribution}/{name} ").strip()
    try:
        lossreg.validate({"name": name, "params": {"margn": 2.0}})
    except lossreg.InvalidConfigError as error:
        problem = str(error)
    import torch

    value = lossreg.build({"name": name, "params": {"margin": 2.0}})(torch.zeros(1, 1), torch.ones(1, 1)).item()
    found[distribution] = [described, summary, problem, value]
print(json.dumps(found))
"""
SHOWN = ["Hinge loss of every pixel.", "invalid loss config: params.margn: unknown parameter; did you mean 'margin'?"]
# A line declares no parameters: they are known once the class is imported. A margin of 2 and a logit of 0 cost 2.
USABLE = {"lines": [[], *SHOWN, 2.0], "manifest": [["margin"], *SHOWN, 2.0]}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("environment"))


def used(environment, projects, **options):
    """What USE prints of these projects."""
    names = json.dumps([(project.distribution, project.package, project.loss) for project in projects])
    return json.loads(environment.run("-c", USE, names, **options))


def unreadable(environment):
    """Distributions with a declaration that lossreg cannot read."""
    code = "import lossreg; lossreg.losses.list(); print(*(f.distribution for f in lossreg.losses.failures))"
    return set(environment.run("-c", code).split())


def test_the_table_names_the_back_ends():
    """Six rows are read; setuptools alone needs a line for the manifest, and uv alone one for a flat layout."""
    rows = {row.name: row for row in back_ends()}
    assert list(rows) == ["setuptools", "Hatch", "uv", "Poetry", "PDM", "Flit"]
    assert [name for name, row in rows.items() if row.manifest] == ["setuptools"]
    assert [name for name, row in rows.items() if row.flat] == ["uv"]


def setuptools():
    """The row of setuptools."""
    (row,) = (row for row in back_ends() if row.name == "setuptools")
    return row


def all_projects(folder):
    """One project for every back end, layout and declaration."""
    return [
        write(folder, back_end, layout, declaration)
        for back_end in back_ends()
        for layout in LAYOUTS
        for declaration in DECLARATIONS
    ]


# Over 10 s: 24 projects are installed twice, and all of them are used.
def test_every_back_end_in_every_layout_editable_and_as_a_wheel(environment, tmp_path):
    """As docs/howto/publish_a_package.md describes: install, build the manifest, use it at once; then the wheels."""
    projects = all_projects(tmp_path)
    expected = {project.distribution: USABLE[project.declared] for project in projects}
    manifests = [project for project in projects if project.declared == "manifest"]

    environment.pip("install", *(part for project in projects for part in ("--editable", project.folder)))
    assert unreadable(environment) == {project.distribution for project in manifests}
    said = environment.lossreg("manifest", "build", *(project.package for project in manifests), errors=True)
    assert said == ""  # nothing is left to do
    assert unreadable(environment) == set()
    assert used(environment, projects) == expected
    environment.run("-m", "pip", "uninstall", "--quiet", "--yes", *(project.distribution for project in projects))

    target = tmp_path / "target"
    environment.pip("install", "--target", target, *(project.folder for project in projects))
    assert used(environment, projects) == {}
    assert used(environment, projects, path=target) == expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_strict_editable_installs_of_setuptools(environment, tmp_path, layout):
    """It links each file that the wheel would hold: the manifest is there after a second install."""
    project = write(tmp_path, setuptools(), layout, "manifest")
    strict = ("install", "--editable", project.folder, "--config-settings", "editable_mode=strict")
    environment.pip(*strict)
    environment.lossreg("manifest", "build", project.package)
    environment.pip(*strict)
    assert (project.source / "lossreg.json").is_file()
    assert used(environment, [project]) == {project.distribution: USABLE["manifest"]}
    environment.run("-m", "pip", "uninstall", "--quiet", "--yes", project.distribution)


def wheel_of(environment, project, folder):
    """Build a wheel, and return the files of the package in it."""
    environment.pip("wheel", "--wheel-dir", folder, project.folder)
    (wheel,) = folder.glob(f"{project.distribution.replace('-', '_')}-*.whl")
    prefix = f"{project.package.replace('.', '/')}/"
    return {name.removeprefix(prefix) for name in zipfile.ZipFile(wheel).namelist() if name.startswith(prefix)}


@pytest.mark.parametrize("layout, package", [("flat", ""), ("src", ""), ("src", "acme_ns.red")])
def test_without_its_line_setuptools_leaves_the_manifest_out(environment, tmp_path, layout, package):
    """`manifest build` prints the lines of the page, and the wheel with these lines has the manifest."""
    project = write(tmp_path, setuptools()._replace(manifest=""), layout, "manifest", package)
    source = project.source.parents[project.package.count(".")]
    said = environment.lossreg("manifest", "build", project.package, path=source, errors=True)
    assert wheel_of(environment, project, tmp_path / "before") == {"__init__.py", "hinge.py"}
    lines = re.findall(r"^ +(\[tool\.setuptools.*\]|.+ = \[.+\])$", said, re.MULTILINE)
    key = f'"{package}"' if package else project.package
    assert "\n".join(lines) == setuptools().manifest.replace("acme_losses", key)
    with (project.folder / "pyproject.toml").open("a") as file:
        file.write("\n".join(["", *lines, ""]))
    assert wheel_of(environment, project, tmp_path / "after") == {"__init__.py", "hinge.py", "lossreg.json"}
    said = environment.lossreg("manifest", "build", project.package, path=source, errors=True)
    assert "for the wheel" not in said


@pytest.mark.parametrize("name", ["Hatch", "Poetry"])
def test_a_manifest_that_git_ignores_is_left_out(environment, tmp_path, name):
    """The page warns of it, and so does `manifest build`."""
    (back_end,) = (row for row in back_ends() if row.name == name)
    project = write(tmp_path, back_end, "src", "manifest")
    (project.folder / ".gitignore").write_text("*.json\n")
    subprocess.run(["git", "init", "--quiet"], cwd=project.folder, check=True)
    source = project.source.parent
    said = environment.lossreg("manifest", "build", project.package, path=source, errors=True)
    assert f"'*.json' keeps it out; add to {project.folder}/.gitignore" in said
    assert wheel_of(environment, project, tmp_path / "wheels") == {"__init__.py", "hinge.py"}


def test_an_archive_on_the_path(environment, tmp_path):
    """A wheel is one: nothing is unpacked."""
    (hatch,) = (row for row in back_ends() if row.name == "Hatch")
    projects = [write(tmp_path, hatch, "src", declaration) for declaration in DECLARATIONS]
    lines, manifest = projects
    environment.lossreg("manifest", "build", manifest.package, path=manifest.source.parent)
    environment.pip("wheel", "--wheel-dir", tmp_path / "wheels", lines.folder, manifest.folder)
    archives = sorted((tmp_path / "wheels").glob("*.whl"))
    assert len(archives) == 2
    expected = {project.distribution: USABLE[project.declared] for project in projects}
    assert used(environment, projects, path=os.pathsep.join(map(str, archives))) == expected


# Over 10 s: installs, builds manifests and uses the losses twice.
def test_packages_of_one_namespace(environment, tmp_path):
    """Two distributions share `acme_ns` (PEP 420): each has its own manifest, in one folder and in two."""
    projects = [
        write(tmp_path, setuptools(), "src", "manifest", "acme_ns.red"),
        write(tmp_path, setuptools(), "src", "manifest", "acme_ns.blue"),
        write(tmp_path, setuptools(), "src", "lines", "acme_ns.green"),
    ]
    expected = {project.distribution: USABLE[project.declared] for project in projects}
    environment.pip("install", *(part for project in projects for part in ("--editable", project.folder)))
    environment.lossreg("manifest", "build", "acme_ns.red", "acme_ns.blue")
    assert used(environment, projects) == expected
    said = environment.lossreg("manifest", "build", "acme_ns", status=1, errors=True)
    assert "'acme_ns' is a namespace package" in said
    assert "such as 'acme_ns.losses'" in said
    environment.run("-m", "pip", "uninstall", "--quiet", "--yes", *(project.distribution for project in projects))

    target = tmp_path / "target"
    environment.pip("install", "--target", target, *(project.folder for project in projects))
    assert (target / "acme_ns" / "red" / "lossreg.json").is_file()
    assert not (target / "acme_ns" / "__init__.py").exists()
    assert used(environment, projects, path=target) == expected
