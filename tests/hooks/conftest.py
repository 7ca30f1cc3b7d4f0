"""Fixtures of the hooks' tests: packages with hooks, loaded again for every test."""

import textwrap

import pytest

from lossreg import losses
from lossreg.hooks import manager as hooks

HEAD = "from lossreg import Entry, hookimpl\n"


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    """Load the hooks again for every test, and restore the registry after it."""
    monkeypatch.setattr(hooks, "_complete", None)
    with losses.scope():
        yield


@pytest.fixture
def installed(site):
    """Install a distribution whose module of hooks has this source."""

    def install(name, source):
        site.module(name, source if source.startswith('"""') else HEAD + textwrap.dedent(source))
        site.distribution(name, hooks={name: name})

    return install
