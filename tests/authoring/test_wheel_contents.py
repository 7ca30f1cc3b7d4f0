"""The advice on wheels: given exactly where a wheel that is really built lacks the manifest, and then it has it."""

import subprocess
import sys
import zipfile

import pytest

from lossreg.authoring.project import project_of
from lossreg.authoring.wheel_contents import missing

pytestmark = pytest.mark.tools

BUILD = "from {0} import {1} as backend; backend.build_wheel('dist')"
BACKENDS = {
    "setuptools": ("setuptools", "build_meta", "setuptools.build_meta"),
    "hatchling": ("hatchling", "build", "hatchling.build"),
    "poetry-core": ("poetry.core.masonry", "api", "poetry.core.masonry.api"),
    "pdm-backend": ("pdm", "backend", "pdm.backend"),
    "flit_core": ("flit_core", "buildapi", "flit_core.buildapi"),
}
PROJECT = '[project]\nname = "acme-losses"\nversion = "1.0"\ndescription = "Losses."\n'
CFG = "[metadata]\nname = acme-losses\nversion = 1.0\n[options]\npackages = acme_losses\n"
PY = "from setuptools import setup\nsetup(name='acme-losses', version='1.0', packages=['acme_losses'], {})\n"
DATA = "\n[tool.setuptools.package-data]\n"


def pyproject(backend, *more, project=PROJECT):
    system = f'[build-system]\nrequires = ["{backend}"]\nbuild-backend = "{BACKENDS[backend][2]}"\n'
    return {"pyproject.toml": "\n".join([project, *more, system])}


CASES = {
    "setuptools": pyproject("setuptools"),
    "setuptools, other file": pyproject("setuptools", f'{DATA}acme_losses = ["*.txt"]'),
    "setuptools, other package": pyproject("setuptools", f'{DATA}acme = ["lossreg.json"]'),
    "setuptools, pattern": pyproject("setuptools", f'{DATA}acme_losses = ["*.json"]'),
    "setuptools, every package": pyproject("setuptools", f'{DATA}"*" = ["*.json"]'),
    "setuptools, everywhere": pyproject("setuptools", f'{DATA}acme_losses = ["**/*.json"]'),
    "setuptools, excluded": pyproject(
        "setuptools", f'{DATA}"*" = ["*.json"]\n[tool.setuptools.exclude-package-data]\nacme_losses = ["lossreg.json"]'
    ),
    "MANIFEST.in, include": pyproject("setuptools") | {"MANIFEST.in": "include src/acme_losses/*.json\n"},
    "MANIFEST.in, include by name alone": pyproject("setuptools") | {"MANIFEST.in": "include lossreg.json\n"},
    "MANIFEST.in, recursive": pyproject("setuptools") | {"MANIFEST.in": "recursive-include src *.json *.txt\n"},
    "MANIFEST.in, elsewhere": pyproject("setuptools") | {"MANIFEST.in": "recursive-include docs *.json\n"},
    "MANIFEST.in, global": pyproject("setuptools") | {"MANIFEST.in": "# all\nglobal-include *.json\n"},
    "MANIFEST.in, graft": pyproject("setuptools") | {"MANIFEST.in": "graft src\n"},
    "MANIFEST.in, excluded again": pyproject("setuptools") | {"MANIFEST.in": "graft src\nglobal-exclude *.json\n"},
    "MANIFEST.in, pruned": pyproject("setuptools") | {"MANIFEST.in": "graft src\nprune src/acme_losses\n"},
    "MANIFEST.in, not for wheels": pyproject("setuptools", "[tool.setuptools]\ninclude-package-data = false")
    | {"MANIFEST.in": "graft src\n"},
    "setup.cfg": {"setup.cfg": CFG + "package_dir =\n    = src\n"},
    "setup.cfg, data": {"setup.cfg": CFG + "package_dir =\n    = src\n[options.package_data]\n* = *.txt, *.json\n"},
    "setup.cfg, MANIFEST.in": {"setup.cfg": CFG + "package_dir =\n    = src\n", "MANIFEST.in": "graft src\n"},
    "setup.cfg, included": {
        "setup.cfg": CFG + "package_dir =\n    = src\ninclude_package_data = True\n",
        "MANIFEST.in": "graft src\n",
    },
    "setup.py": {"setup.py": PY.format("package_dir={'': 'src'}")},
    "setup.py, data": {"setup.py": PY.format("package_dir={'': 'src'}, package_data={'acme_losses': ['*.json']}")},
    "setup.py, included": {
        "setup.py": PY.format("package_dir={'': 'src'}, include_package_data=True"),
        "MANIFEST.in": "graft src\n",
    },
    "hatchling": pyproject("hatchling"),
    "hatchling, excluded": pyproject("hatchling", '[tool.hatch.build]\nexclude = ["*.json"]'),
    "hatchling, wheel": pyproject(
        "hatchling", '[tool.hatch.build.targets.wheel]\nexclude = ["/src/acme_losses/*.json"]'
    ),
    "hatchling, other file": pyproject("hatchling", '[tool.hatch.build]\nexclude = ["*.txt", "docs"]'),
    "hatchling, ignored": pyproject("hatchling") | {".gitignore": "# data\n*.json\n"},
    "hatchling, not ignored": pyproject("hatchling") | {".gitignore": "*.json\n!src/acme_losses/lossreg.json\n"},
    "poetry-core": pyproject("poetry-core"),
    "poetry-core, excluded": pyproject("poetry-core", '[tool.poetry]\nexclude = ["src/**/*.json"]'),
    "pdm-backend": pyproject("pdm-backend"),
    "pdm-backend, excluded": pyproject("pdm-backend", '[tool.pdm.build]\nexcludes = ["**/*.json"]'),
    "flit_core": pyproject("flit_core"),
}


def write(folder, files):
    """Write a project with its package, and return whether the advice names a change, and that change."""
    package = folder / "src" / "acme_losses"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""Losses."""\n')
    (package / "lossreg.json").write_text("{}")
    for name, text in files.items():
        (folder / name).write_text(text)


def advice(folder):
    project = project_of(folder / "src" / "acme_losses")
    assert project.folder == folder
    return missing(project, "acme_losses", "src/acme_losses/lossreg.json")


def wheel(folder, backend):
    """Build the wheel, and return the files in it."""
    module, name, _ = BACKENDS[backend]
    (folder / "dist").mkdir(exist_ok=True)
    code = BUILD.format(module, name)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = (folder / "dist").glob("*.whl")
    found = zipfile.ZipFile(path).namelist()
    assert "acme_losses/__init__.py" in found
    path.unlink()
    return found


@pytest.mark.parametrize("case", CASES)
def test_advice_is_given_exactly_where_the_wheel_lacks_the_manifest(tmp_path, case):
    """By wheels that the build backends make; with the lines of the advice it has it."""
    backend = case.partition(",")[0]
    backend = backend if backend in BACKENDS else "setuptools"
    write(tmp_path, CASES[case])
    found = advice(tmp_path)
    assert (found is None) == ("acme_losses/lossreg.json" in wheel(tmp_path, backend)), found
    if found is None or not found.lines or found.file == "setup.py":
        return
    text = (tmp_path / found.file).read_text()
    head = f"{found.action[7:-3]}\n" if found.action.startswith("add to [") else ""
    assert head in text
    lines = "\n".join(found.lines)
    (tmp_path / found.file).write_text(text.replace(head, f"{head}{lines}\n") if head else f"{text}\n{lines}\n")
    assert advice(tmp_path) is None
    assert "acme_losses/lossreg.json" in wheel(tmp_path, backend)
