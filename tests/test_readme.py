"""The READMEs are whole where a package index shows them: the first screen, absolute links to what exists."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
pytestmark = pytest.mark.skipif(
    not README.exists(), reason="the READMEs lie in the checkout, and only the tests are here"
)

READMES = [README, *sorted(ROOT.glob("plugins/*/README.md"))]
NAMES = ["lossreg", *(path.parent.name for path in READMES[1:])]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CHECKOUT = re.compile(
    r"https://(?:github\.com/lossreg/lossreg/(?:blob|tree)|raw\.githubusercontent\.com/lossreg/lossreg)/main/([^#]+)"
)
PAGE = re.compile(r"https://lossreg\.github\.io/lossreg/(.+)\.html(?:#(.+))?")
GENERATED = ("losses/", "reference/")  # pages that the build of the site writes


@pytest.mark.parametrize("readme", READMES, ids=NAMES)
def test_links_are_absolute_and_lead_somewhere(readme):
    """A package index shows no relative link. Files of the checkout, pages of the site and their sections exist."""
    links = LINK.findall(readme.read_text())
    assert links
    assert [link for link in links if not link.startswith("https://")] == []
    for link in links:
        if file := CHECKOUT.fullmatch(link):
            assert (ROOT / file[1]).exists(), link
        elif page := PAGE.fullmatch(link):
            source = ROOT / "docs" / f"{page[1]}.md"
            assert source.exists() or page[1].startswith(GENERATED), link
            if page[2]:
                headings = re.findall(r"^#+ (.+)$", source.read_text(), re.MULTILINE)
                assert page[2] in {heading.lower().replace(" ", "-") for heading in headings}, link


@pytest.mark.parametrize("readme", READMES, ids=NAMES)
def test_a_line_that_installs_stands_above_the_first_block(readme):
    """It names the package whose README this is."""
    text = readme.read_text()
    (name,) = re.findall(r"^# (\S+)$", text[:200], re.MULTILINE)
    installs = re.search(rf"```sh\npip install '?{name}\b", text)
    assert installs is not None
    assert installs.start() < text.index("```python")


def test_the_first_screen():
    """The picture, a training in at most a dozen lines, YAML, five bullets, and the two commands of a checkout."""
    screen = README.read_text().partition("\n## ")[0]
    assert "![" in screen.partition("```")[0]
    first, *_ = re.findall(r"```python\n(.*?)```", screen, re.DOTALL)
    assert len([line for line in first.splitlines() if line]) <= 15
    assert "```yaml\n" in screen
    assert len(re.findall(r"^- \*\*", screen, re.MULTILINE)) == 5
    assert {"`make demo`", "`make test`"} <= set(re.findall(r"`make \w+`", screen))


def test_every_package_names_its_pages():
    """An index shows them beside the description; `release/metadata.py` checks their addresses."""
    for project in [ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")]:
        urls = tomllib.loads(project.read_text())["project"]["urls"]
        assert urls["Documentation"] == "https://lossreg.github.io/lossreg/", project
