"""The package of docs/start/publish.md, as it stands there: written by the command or by hand, found and checked."""

import re
import zipfile

import pytest

from lossreg import losses
from lossreg.testing.conformance import CHECKS

from ..environment import Environment
from .projects import PUBLISH, blocks

pytestmark = [
    pytest.mark.tools,
    pytest.mark.skipif(not PUBLISH.exists(), reason="the pages lie in the checkout, and only the tests are here"),
]
LOSS = {"acme_losses/hinge.py", "acme_losses/__init__.py", "tests/conftest.py"}


@pytest.fixture
def environment(tmp_path):
    """An environment in which the package can be installed."""
    return Environment(tmp_path / "environment")


def write(project, *headings):
    """Write the files of sections of the page; return their names."""
    files = {name: text for heading in headings for name, text in blocks(PUBLISH, heading).items()}
    for name, text in files.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return set(files)


def test_nobody_else_claims_its_name():
    """The page promises `lossreg show mask_hinge`, with every plugin of ours installed."""
    names = {name for entry in losses.entries() for name in (entry.name, *entry.aliases)}
    assert {"margin", "dice"} <= names
    assert "mask_hinge" not in names


def test_the_package_of_the_command(environment, tmp_path):  # over 10 s: runs pytest with the kit twice
    """The example is replaced by the loss of the page; the kit passes, finds a mistake, and the wheel is complete."""
    project = tmp_path / "acme-losses"
    environment.lossreg("new-plugin", "acme-losses", cwd=tmp_path)
    (deleted,) = re.findall(r"Delete the example with its tests, `(\S+)` and `(\S+)`", PUBLISH.read_text())
    for name in deleted:
        (project / name).unlink()
    assert write(project, "Write your loss", "Check it") == LOSS
    environment.pip("install", "--editable", project)
    environment.lossreg("manifest", "build", "acme_losses", cwd=project)
    assert "acme-losses/mask_hinge  Hinge loss of every pixel." in environment.lossreg("show", "mask_hinge")
    rows = [line for line in environment.lossreg("list").splitlines() if "  acme-losses  " in line]
    assert [row.split()[0] for row in rows] == ["mask_hinge"]
    assert kit(environment, project)[0] == f"{len(CHECKS)} passed"

    loss = project / "acme_losses" / "hinge.py"
    right = loss.read_text()
    loss.write_text(re.sub(r" +if input.shape.*\n +raise.*\n", "", right))
    output = environment.run("-m", "pytest", "-p", "no:cacheprovider", "-q", cwd=project, status=1)
    assert re.findall(r"^FAILED .*::(\w+)-", output, re.MULTILINE) == ["bad_shapes"], output
    loss.write_text(right)
    environment.run("-m", "build", "--no-isolation", "--wheel", cwd=project)
    (wheel,) = project.glob("dist/acme_losses-0.1.0-*.whl")
    assert {"acme_losses/lossreg.json", "acme_losses/hinge.py"} <= set(zipfile.ZipFile(wheel).namelist())


def test_the_package_by_hand(environment, tmp_path):  # over 10 s: runs pytest with the kit twice
    """By its line alone; then with a manifest, as the end of the page has it."""
    project = tmp_path / "acme-losses"
    assert write(project, "Write your loss", "Check it", "By hand") == {*LOSS, "pyproject.toml"}
    environment.pip("install", "--editable", project)
    shown = environment.lossreg("show", "mask_hinge")
    assert "acme-losses/mask_hinge  Hinge loss of every pixel." in shown
    assert "logit from which a right pixel costs nothing." in shown
    checks = kit(environment, project)
    assert (f"{len(CHECKS)} passed", "acme_losses has no manifest") == (checks[0], checks[-1])

    point = r'\[project\.entry-points\."lossreg\.{}"\]\n.+\n'
    (manifest,) = re.findall(point.format("manifests"), PUBLISH.read_text())
    file = project / "pyproject.toml"
    file.write_text(re.sub(point.format("losses"), manifest, file.read_text()))
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
