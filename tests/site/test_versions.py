"""The list of versions in the sidebar: it leads to the same page of another version, or to its first page."""

import shutil
import time

from .looking import LOOKS, ROOT  # first, because it skips the file where the next ones are absent

# isort: split
import pytest
from selenium.webdriver.support.ui import Select, WebDriverWait

from docs.check.browser import browser, served
from docs.check.publish import publish

pytestmark = LOOKS

PAGE = """<!doctype html><html data-content_root="{root}"><link rel="icon" href="data:,">
<div id="versions" data-page="{page}" data-version="{version}"></div><script src="{root}versions.js"></script>"""


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """Two versions. The page a/new.html is in the newer one alone."""
    sites = tmp_path_factory.mktemp("sites")
    for version, pages in {
        "0.1": ("index.html", "a/old.html"),
        "0.2": ("index.html", "a/old.html", "a/new.html"),
    }.items():
        built = tmp_path_factory.mktemp("built")
        shutil.copy(ROOT / "docs" / "_static" / "versions.js", built)
        for page in pages:
            (built / page).parent.mkdir(exist_ok=True)
            root = "../" * page.count("/") or "./"
            (built / page).write_text(PAGE.format(root=root, page=page, version=version))
        publish(built, sites, version)
    return sites


@pytest.mark.parametrize(
    "page, there",
    [("a/old.html", "0.1/a/old.html"), ("0.2/a/old.html", "0.1/a/old.html"), ("0.2/a/new.html", "0.1/")],
)
def test_another_version_is_opened(sites, page, there):
    """From the root and from a folder; a page that the other version lacks leads to its first page."""
    with served(sites) as address, browser() as opened:
        opened.open(address + page)
        wait = WebDriverWait(opened.driver, 20)
        found = Select(wait.until(lambda driver: driver.find_element("css selector", "#versions select")))
        assert [option.text for option in found.options] == ["0.2", "0.1"]
        assert found.first_selected_option.text == "0.2"
        found.select_by_visible_text("0.1")
        wait.until(lambda driver: driver.current_url == address + there)
        time.sleep(0.1)  # so that the last request ends before the server does
