"""The extensions of docs/_ext, as the build of the site imports them."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def extensions():
    """docs/_ext on the import path, as docs/conf.py puts it there."""
    if not (ROOT / "docs" / "conf.py").exists():
        pytest.skip("the site lies in the checkout, and only the tests are here")
    sys.path.insert(0, str(ROOT / "docs" / "_ext"))
    yield
    sys.path.remove(str(ROOT / "docs" / "_ext"))
