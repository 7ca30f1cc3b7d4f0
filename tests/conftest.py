"""Fixtures that several files share."""

import pytest

from lossreg import Registry, losses, parts
from lossreg.discovery import distributions

from .fakes import Site


class Base:
    """The base of the classes in a test registry."""


@pytest.fixture
def base():
    return Base


@pytest.fixture
def registry(base):
    """An empty registry that discovers nothing."""
    return Registry(base, name="things")


@pytest.fixture(scope="session")
def torch():
    """The module; without it, as in tests/pythons.py, the test is skipped."""
    return pytest.importorskip("torch")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder at the head of sys.path, for packages and distributions. The registries are restored after the test."""
    for known in (losses, parts):  # without the packages of this test
        known.list()
    root = tmp_path / "site"
    root.mkdir()
    monkeypatch.syspath_prepend(root)
    for variable in ("LOSSREG_DISABLE", "LOSSREG_ONLY", "LOSSREG_STRICT"):
        monkeypatch.delenv(variable, raising=False)
    fake = Site(root)
    with losses.scope(), parts.scope():
        yield fake
    fake.forget()
    distributions.forget()


def pytest_lossreg_cases(name):
    """The cases of losses made of losses, for the conformance kit."""
    from .composite_cases import CASES

    return CASES.get(name)
