"""Marks of the tests that look at pages in a browser. To import it skips a file where that is impossible."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if not (ROOT / "docs" / "check").is_dir():
    pytest.skip("the checks of the site lie in the checkout, and only the tests are here", allow_module_level=True)
pytest.importorskip("selenium", reason="selenium is not installed, so no browser can be driven")

from docs.check.browser import CHROMIUM, DRIVER  # noqa: E402

LOOKS = [
    pytest.mark.tools,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # selenium leaves the driver's pipe to the collector
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed, so no page can be looked at"
    ),
]
