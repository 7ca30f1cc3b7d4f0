"""The example of the README, copied as it stands: it is found, shown, built, and passes the conformance kit."""

import re

import pytest

from lossreg import losses
from lossreg.testing.conformance import CHECKS

from ..environment import Environment
from .projects import README, back_ends, blocks

pytestmark = [
    pytest.mark.tools,
    pytest.mark.skipif(not README.exists(), reason="the README lies in the checkout, and only the tests are here"),
]

FILES = {"acme_losses/hinge.py", "conftest.py", "pyproject.toml"}
# What every project has besides; the README leaves it out.
PROJECT = '\n[project]\nname = "acme-losses"\nversion = "0.1.0"\n\n[build-system]\n'


@pytest.fixture
def project(tmp_path):
    """A folder with the files of the README, and the build back end Hatch."""
    code = blocks(README, "Write a loss in your own package")
    assert set(code) == FILES
    (hatch,) = (row for row in back_ends() if row.name == "Hatch")
    code["pyproject.toml"] += PROJECT + hatch.system
    code["acme_losses/__init__.py"] = ""
    for name, text in code.items():
        path = tmp_path / "acme-losses" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "acme-losses"


def test_nobody_else_claims_its_name():
    """The README promises `lossreg show mask_hinge`, with every plugin of ours installed."""
    names = {name for entry in losses.entries() for name in (entry.name, *entry.aliases)}
    assert {"margin", "dice"} <= names
    assert "mask_hinge" not in names


def test_it_is_shown_and_passes_every_check(project, tmp_path):  # over 10 s: runs pytest with the kit twice
    """By its line alone; then with a manifest, as the next paragraph of the README has it."""
    environment = Environment(tmp_path / "environment")
    environment.pip("install", "--editable", project)
    shown = environment.lossreg("show", "mask_hinge")
    assert "acme-losses/mask_hinge  Hinge loss of every pixel." in shown
    assert "logit from which a right pixel costs nothing." in shown
    checks = kit(environment, project)
    assert (f"{len(CHECKS)} passed", "acme_losses has no manifest") == (checks[0], checks[-1])

    declaration = '\n[project.entry-points."lossreg.manifests"]\nacme-losses = "acme_losses:lossreg.json"\n'
    with (project / "pyproject.toml").open("a") as file:
        file.write(declaration)
    environment.pip("install", "--editable", project)
    environment.lossreg("manifest", "build", "acme_losses")
    assert kit(environment, project, "-k", "manifest_in_step") == ["1 passed"]
    line = next(line for line in environment.lossreg("list").splitlines() if line.startswith("mask_hinge "))
    assert re.split("  +", line)[1:] == ["acme-losses", "Hinge loss of every pixel.", "binary segmentation"]


def kit(environment, project, *options):
    """Run pytest; return the number of tests that passed, and the reasons why a check does not apply."""
    output = environment.run("-m", "pytest", "-p", "no:cacheprovider", *options, cwd=project)
    assert re.search("failed|skipped|error|warning", output) is None, output
    (passed,) = re.findall(r"(\d+ passed)\b", output.splitlines()[-1])
    return [passed, *re.findall(r"not applicable to \d+: (.+)", output)]
