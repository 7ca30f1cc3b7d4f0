"""`lossreg new-plugin`: its files work unchanged, and no error leaves half of them."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from packaging.requirements import Requirement
from typer.testing import CliRunner

import lossreg
from lossreg import InvalidNameError, LossregError, losses
from lossreg.authoring import manifest_writer
from lossreg.authoring.new_plugin import TEMPLATES, Names, create, names_of
from lossreg.cli import new_plugin as command
from lossreg.testing.conformance import CHECKS

from ..environment import Environment

FILES = [
    ".github/workflows/tests.yml",
    ".gitignore",
    "README.md",
    "acme_losses/__init__.py",
    "acme_losses/charbonnier.py",
    "acme_losses/lossreg.json",
    "acme_losses/py.typed",
    "pyproject.toml",
    "tests/conftest.py",
    "tests/test_losses.py",
]


def run(*arguments, cwd):
    """Run a program; fail with its output."""
    done = subprocess.run(list(map(str, arguments)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.tools  # over 10 s: builds and installs a wheel, and runs its tests
def test_a_new_plugin_is_built_installed_found_validated_and_passes_its_tests(tmp_path):
    """From the wheel alone, in an environment of its own: README, manifest, and the kit over every case."""
    for needed in ("build", "hatchling"):  # not pip: importing it disables the distutils of setuptools
        pytest.importorskip(needed)
    project = create("lossreg-acme", tmp_path)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", cwd=project)
    (wheel,) = (project / "dist").iterdir()
    environment = Environment(tmp_path / "venv")
    environment.pip("install", wheel)
    shutil.rmtree(project / "lossreg_acme")  # so that only the wheel is found from here on

    line = next(line for line in environment.lossreg("list").splitlines() if "acme" in line and "charbonnier " in line)
    assert re.split("  +", line)[1:3] == ["acme", "Absolute error of probabilities, smooth around 0."]
    assert line.endswith(" binary logits multilabel pixelwise segmentation")
    assert environment.lossreg("manifest", "check", "lossreg_acme") == "lossreg_acme: up to date\n"
    readme = (project / "README.md").read_text()
    (tmp_path / "loss.yaml").write_text(re.search("```yaml\n(.*?)```", readme, re.DOTALL)[1])
    assert '"ignore_index": 255' in environment.lossreg("validate", tmp_path / "loss.yaml")
    environment.run("-c", re.search("```python\n(.*?)```", readme, re.DOTALL)[1])
    outcome = environment.run("-m", "pytest", "-p", "no:cacheprovider", cwd=project)
    assert f" {2 * len(CHECKS) + 4} passed" in outcome, outcome  # two cases, and the four tests of the file
    assert re.search("failed|skipped|error", outcome) is None, outcome


@pytest.mark.tools
def test_the_files_and_the_names_in_them(tmp_path):
    """Distribution, package and provider have their names, and no placeholder is left."""
    project = create("Acme.Losses", tmp_path)
    assert project == tmp_path / "acme-losses"
    assert sorted(str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["acme-losses"]
    data = tomllib.loads((project / "pyproject.toml").read_text())
    assert data["project"]["name"] == "acme-losses"
    assert data["project"]["entry-points"] == {"lossreg.manifests": {"acme-losses": "acme_losses:lossreg.json"}}
    assert data["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["acme_losses"]}
    assert data["tool"]["pytest"]["ini_options"]["lossreg_losses"] == ["acme-losses"]
    for path in FILES:
        assert "jinja" not in (text := (project / path).read_text())
        assert re.findall(r"(?<!\$)\{\{|\{%", text) == []
    workflow = yaml.safe_load((project / ".github/workflows/tests.yml").read_text())["jobs"]["tests"]
    assert {"run": "lossreg manifest check acme_losses"} in workflow["steps"]
    assert {"python-version": "${{ matrix.python }}"} in [step.get("with") for step in workflow["steps"]]


def test_this_version_satisfies_the_dependency_of_a_new_plugin(tmp_path):
    """A release that raises the version raises the template's bound as well."""
    data = tomllib.loads((create("acme-losses", tmp_path) / "pyproject.toml").read_text())
    needed = {item.name: item.specifier for item in map(Requirement, data["project"]["dependencies"])}
    assert set(needed) == {"lossreg", "torch", "pydantic"}
    assert needed["lossreg"].contains(lossreg.__version__)


def test_the_manifest_equals_the_generated_one(tmp_path, monkeypatch):
    """If this fails, copy the expected text into the template."""
    monkeypatch.syspath_prepend(create("acme-in-step", tmp_path))
    with losses.scope():
        generated = manifest_writer.dumps(manifest_writer.generate("acme_in_step"))
    template = (TEMPLATES / "package" / "lossreg.json.jinja").read_text()
    assert template == generated.replace("acme_in_step", "{{ package }}")


@pytest.mark.tools  # over 10 s: mypy reads torch without a cache
@pytest.mark.parametrize("tool", ["ruff check --no-cache", "ruff format --check --no-cache", "mypy --cache-dir cache"])
def test_the_code_passes_the_checks_of_its_pyproject(tmp_path, tool):
    """ruff with imports sorted, and mypy --strict, without a complaint."""
    name, *arguments = tool.split()
    pytest.importorskip(name)
    run(sys.executable, "-m", name, *arguments, cwd=create("acme-losses", tmp_path))


@pytest.mark.parametrize(
    "name, names",
    [
        ("acme", Names("acme", "acme", "acme")),
        ("Acme__Losses.2", Names("acme-losses-2", "acme_losses_2", "acme-losses-2")),
        ("lossreg-acme", Names("lossreg-acme", "lossreg_acme", "acme")),
        ("samples", Names("samples", "samples", "samples")),
        ("lossreg-pydantic", Names("lossreg-pydantic", "lossreg_pydantic", "pydantic")),
    ],
)
def test_names_follow_from_the_distribution(name, names):
    """Normalised as packaging does; the provider omits the prefix 'lossreg-'."""
    assert names_of(name) == names


@pytest.mark.parametrize(
    "name, message",
    [
        ("", "got ''; for example acme-losses"),
        ("-acme", "and begins and ends with a letter or digit, got '-acme'"),
        ("acme-", "got 'acme-'"),
        ("acme losses", "consists of letters, digits, '-', '_' and '.', and begins"),
        ("../acme", "got '../acme'"),
        ("acmé", "got 'acmé'"),
        ("acme\n", r"got 'acme\n'"),
        ("3d-losses", "'3d-losses' gives the package '3d_losses', which cannot be imported"),
        ("Class", "'Class' gives the package 'class', which is a keyword of Python; a package needs a free name"),
        ("json", "the package 'json', which is a module of Python's standard library"),
        ("tests", "the package 'tests', which is another folder of the project, or a package that it imports"),
        ("Pydantic", "the package 'pydantic', which is another folder"),
        ("sam", "the provider 'sam', which belongs to lossreg-sam; names that are taken, with and without"),
        ("lossreg.segmentation", "the provider 'segmentation', which belongs to lossreg-segmentation"),
        ("lossreg", "the provider 'lossreg', which belongs to lossreg"),
        ("local", "the provider 'local', which belongs to losses that are registered in code"),
    ],
)
def test_an_invalid_name_raises(tmp_path, name, message):
    """The error names the allowed names; nothing is written."""
    with pytest.raises(InvalidNameError) as error:
        create(name, tmp_path)
    assert message in str(error.value)
    assert error.value.name == name
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["acme-losses", "acme-losses/notes.txt"])
def test_existing_files_are_not_overwritten(tmp_path, file):
    """A file of that name, or a folder with files."""
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(LossregError, match="acme-losses exists and is not an empty folder; choose another"):
        create("acme-losses", tmp_path)
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]
    assert path.read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path):
    """Such as a new repository."""
    (tmp_path / "acme-losses").mkdir()
    assert (create("acme-losses", tmp_path) / "pyproject.toml").exists()


def test_a_missing_directory_raises(tmp_path):
    """It is not created, because it may be a typo."""
    with pytest.raises(
        LossregError, match="cannot be written: No such file or directory; choose a directory that exists and is"
    ):
        create("acme-losses", tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch, failure):
    """Neither the folder nor the temporary one beside it."""
    write, written = Path.write_text, []

    def full(path, *arguments, **options):
        if len(written) == 3:
            raise failure
        written.append(path)
        return write(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(LossregError if isinstance(failure, OSError) else KeyboardInterrupt):
        create("acme-losses", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(written) == 3


@pytest.fixture
def invoke():
    app = typer.Typer()
    command.add_to(app)
    app.callback()(lambda: None)  # one command alone would take its own name for an argument
    return lambda *arguments: CliRunner().invoke(app, ["new-plugin", *map(str, arguments)])


def test_the_command_prints_the_next_steps(tmp_path, monkeypatch, invoke):
    """Three commands; in the current directory unless another is named."""
    monkeypatch.chdir(tmp_path)
    shown = 'acme is ready; next:\n  cd acme\n  pip install --editable ".[dev]"\n  pytest\n'
    assert invoke("acme").output == shown
    assert (tmp_path / "acme" / "pyproject.toml").exists()
    (tmp_path / "my losses").mkdir()
    assert "\n  cd 'my losses/acme'\n" in invoke("acme", "my losses").output


def test_the_command_passes_errors_on(invoke):
    """The command line prints it and exits with 1."""
    assert isinstance(invoke("json").exception, InvalidNameError)
    assert invoke().exit_code == 2


@pytest.mark.tools
def test_writing_imports_neither_torch_nor_the_package(tmp_path):
    """It takes no longer than listing."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom lossreg.authoring.new_plugin import create\n"
        "create('acme', Path())\nassert not {'torch', 'pydantic', 'acme'} & set(sys.modules)\n"
    )
    run(sys.executable, "-c", code, cwd=tmp_path)
