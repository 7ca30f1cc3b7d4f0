"""Every code block of the documentation runs, and prints the text block that follows it."""

import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
if not (ROOT / "docs" / "check").is_dir():
    pytest.skip("the documentation lies in the checkout, and only the tests are here", allow_module_level=True)

from docs.check import blocks  # noqa: E402
from docs.check.environments import ENVIRONMENTS  # noqa: E402

# Tutorials and pages for users of other libraries have tests of their own, which look at the results.
# Pages of losses are there only after a build of the site.
ELSEWHERE = ("docs/start/", "docs/coming_from/", "docs/losses/")


@pytest.mark.tools  # 2 minutes: each page in a process, with links to the packages that it names
def test_blocks_run_with_exactly_the_packages_that_their_page_names():
    """In order, in an empty folder and one namespace; warnings are errors, and text blocks are the output."""
    pages = [page for page in blocks.pages() if not str(page.relative_to(ROOT)).startswith(ELSEWHERE)]
    assert len(pages) > 30
    outcomes = blocks.run_all(pages, ENVIRONMENTS, [Path(sysconfig.get_path("purelib"))])
    assert {each.page: each.problem or each.missing for each in outcomes if each.problem or each.missing} == {}
