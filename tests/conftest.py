"""Fixtures that several files share."""

import pytest

from lossreg import Registry, losses, parts

from .fakes import Site


class Base:
    """What the classes of a test registry derive from."""


@pytest.fixture
def base():
    return Base


@pytest.fixture
def registry(base):
    """Empty, and it discovers nothing."""
    return Registry(base, name="things")


@pytest.fixture(scope="session")
def torch():
    """For a test that needs it: elsewhere, as where tests/pythons.py runs, the test is skipped and says so."""
    return pytest.importorskip("torch")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder at the head of sys.path, for packages and distributions."""
    for known in (losses, parts):  # what is installed here alone, whichever test is first
        known.list()
    root = tmp_path / "site"
    root.mkdir()
    monkeypatch.syspath_prepend(root)
    for variable in ("LOSSREG_DISABLE", "LOSSREG_ONLY", "LOSSREG_STRICT"):
        monkeypatch.delenv(variable, raising=False)
    fake = Site(root)
    yield fake
    fake.forget()


def pytest_lossreg_cases(name):
    """What the conformance kit is told of the losses made of losses."""
    from .composite_cases import CASES

    return CASES.get(name)
