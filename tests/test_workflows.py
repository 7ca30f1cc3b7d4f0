"""The workflows of CI and of a release: they call targets of the Makefile, and publish without a password."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from .pythons import VERSIONS

ROOT = Path(__file__).parent.parent
WORKFLOWS = ROOT / ".github" / "workflows"
if not WORKFLOWS.is_dir():
    pytest.skip("the workflows lie in the checkout, and only the tests are here", allow_module_level=True)


def workflow(name):
    """Read a workflow as data."""
    return yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text())


def commands(name):
    """Return the commands of a workflow by job, with each value of the job's matrix."""
    return {name: [*_commands(job)] for name, job in workflow(name)["jobs"].items()}


def _commands(job):
    matrix = job.get("strategy", {}).get("matrix", {})
    for step in job.get("steps", []):
        if "run" in step:
            filled = [step["run"]]
            for key, values in matrix.items():
                filled = [line.replace(f"${{{{ matrix.{key} }}}}", value) for line in filled for value in values]
            yield from dict.fromkeys(filled)


def targets(lines):
    """Return the targets of make in commands; fail on any other command."""
    found = [re.fullmatch(r"make ([\w-]+)( [A-Z]+=\S.*)?", line) for line in lines]
    assert all(found), lines
    return [match[1] for match in found]


def test_the_files_are_these():
    """So that the tests below cover all files."""
    assert sorted(path.name for path in WORKFLOWS.iterdir()) == ["ci.yml", "release.yml"]


@pytest.mark.parametrize("name", ["ci", "release"])
def test_every_command_is_a_target_of_the_makefile(name):
    """So everything that CI does can be repeated locally."""
    there = set(re.findall(r"(?m)^([a-z][\w-]*):", (ROOT / "Makefile").read_text()))
    called = {target for lines in commands(name).values() for target in targets(lines)}
    assert called <= there


def test_ci_calls_every_target_that_checks():
    """On one Python; the tests without torch on all Pythons of the classifiers."""
    assert commands("ci") == {
        "make": [
            "make setup",
            "make check",
            "make test-long",
            "make docs-check",
            "make test-wheels",
            "make test-trainers",
            "make release-check",
        ],
        "pythons": [f"make test-pythons PYTHONS={version}" for version in ("3.11", "3.12", "3.13")],
    }


def test_the_pythons_of_ci_are_those_that_are_supported():
    """According to the classifiers and to tests/pythons.py."""
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    supported = [found[1] for each in classifiers if (found := re.search(r":: Python :: (3\.\d+)$", each))]
    assert workflow("ci")["jobs"]["pythons"]["strategy"]["matrix"]["python"] == supported
    assert list(VERSIONS) == supported


def test_a_release_is_checked_with_its_tag_and_published_by_its_identity():
    """After all of CI; exactly the checked files are published, with attestations, and no secret is read."""
    release = workflow("release")
    jobs = release["jobs"]
    assert release[True] == {"push": {"tags": ["v*"]}}  # YAML reads `on` as true
    assert jobs["ci"]["uses"] == "./.github/workflows/ci.yml"
    assert (jobs["build"]["needs"], jobs["publish"]["needs"]) == ("ci", "build")
    assert commands("release")["build"][-1] == 'make release-check ARGS="--tag $GITHUB_REF_NAME"'
    upload, (download, publish) = jobs["build"]["steps"][-1], jobs["publish"]["steps"]
    assert upload["with"]["path"] == download["with"]["path"] == publish["with"]["packages-dir"] == "dist/"
    assert publish["uses"].startswith("pypa/gh-action-pypi-publish@")
    assert publish["with"]["attestations"] is True
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"]
    assert "secrets" not in (WORKFLOWS / "release.yml").read_text()
