"""The pinned versions of the environments of `make setup` and `make trainers`."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
if not (ROOT / "constraints.txt").exists():
    pytest.skip("the constraints lie in the checkout, and only the tests are here", allow_module_level=True)

PIN = re.compile(r"([\w.-]+)==\S+")


def lines(path):
    """The lines of a file of requirements, without comments."""
    found = (line.partition("#")[0].strip() for line in (ROOT / path).read_text().splitlines())
    return [line for line in found if line]


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(path):
    """The packages of a file of constraints, where each has an exact version."""
    pins = [PIN.fullmatch(line) for line in lines(path)]
    assert all(pins)
    return {normal(pin[1]) for pin in pins}


def test_both_environments_share_the_versions_of_what_both_have():
    """A package stands in one of the files, so that they cannot differ."""
    assert pinned("constraints.txt") & pinned("tests/trainers/constraints.txt") == set()


def test_every_trainer_has_a_pinned_version():
    """And every other package that the tests of trainers require; ours come from the checkout."""
    required = lines("tests/trainers/requirements.txt") + lines("tests/trainers/alone.txt")
    names = {normal(re.match(r"[\w.-]+", line)[0]) for line in required}
    extras = next(line for line in required if line.startswith("lossreg[")).removeprefix("lossreg[").rstrip("]")
    trainers = {"hydra": "hydra-core", "ignite": "pytorch-ignite", "records": "duckdb"}
    names |= {trainers.get(extra, extra) for extra in extras.split(",")}
    ours = {"lossreg", "lossreg-segmentation", "lossreg-sam", "lossreg-torch"}
    assert names - ours <= pinned("constraints.txt") | pinned("tests/trainers/constraints.txt")
