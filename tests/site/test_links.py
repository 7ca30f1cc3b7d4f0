"""The check of links: each planted fault is found, and a sound site has none."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if not (ROOT / "docs" / "check").is_dir():
    pytest.skip("the checks of the site lie in the checkout, and only the tests are here", allow_module_level=True)

from docs.check.addresses import published  # noqa: E402
from docs.check.html_links import problems  # noqa: E402

REPOSITORY = "https://code.example/blob/main"
SOUND = """
<link rel="stylesheet" href="style.css"><script src="a/b.js"></script><link rel="canonical" href="https://x.example/">
<h2 id="here">Here</h2><a href="#here">a</a><a href="a/other.html#there">b</a><a href="https://y.example/">c</a>
<a href="a/">d</a><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="><a href="">top</a>
"""


@pytest.fixture
def site(tmp_path):
    """A sound site of three pages."""
    folder = tmp_path / "site"
    (folder / "a").mkdir(parents=True)
    (folder / "index.html").write_text(SOUND)
    (folder / "a" / "other.html").write_text('<p id="there"></p><a href="../index.html#here">x</a>')
    (folder / "a" / "index.html").write_text("<p>a</p>")
    (folder / "a" / "b.js").write_text("")
    (folder / "style.css").write_text("@font-face { src: url(fonts/a.woff2) } a { background: url('data:x') }")
    return folder


def test_a_sound_site_has_no_problem(site):
    """Links to pages, folders, anchors and other sites; resources that lie in the site."""
    assert list(problems(site)) == []


@pytest.mark.parametrize(
    "planted, problem",
    [
        ('<a href="gone.html">a</a>', "new.html: gone.html: there is no such page"),
        ('<a href="#gone">a</a>', "new.html: #gone: the page has no such anchor"),
        ('<a href="a/other.html#here">a</a>', "new.html: a/other.html#here: the page has no such anchor"),
        ('<script src="https://cdn.example/a.js"></script>', "new.html: https://cdn.example/a.js: comes from outside"),
        ('<img src="//cdn.example/a.png">', "new.html: //cdn.example/a.png: comes from outside"),
        ('<link rel="stylesheet" href="gone.css">', "new.html: gone.css: there is no such file"),
        ('<span class="katex-error">x</span>', "new.html: 1 formulas that KaTeX cannot read"),
    ],
    ids=["page", "anchor", "anchor of a page", "script", "picture", "style", "formula"],
)
def test_a_planted_fault_is_found(site, planted, problem):
    """Each by itself."""
    (site / "new.html").write_text(planted)
    assert list(problems(site)) == [problem]


def test_a_style_that_fetches_is_found(site):
    """A font of another server is an outside request."""
    (site / "style.css").write_text("@font-face { src: url(https://fonts.example/a.woff2) }")
    assert list(problems(site)) == ["style.css: https://fonts.example/a.woff2: comes from outside"]


def test_links_to_the_repository_lead_to_files(site, tmp_path):
    """A file that was moved is found, in links to files and to folders."""
    (tmp_path / "lossreg").mkdir()
    folder = REPOSITORY.replace("blob", "tree")
    links = (f"{REPOSITORY}/lossreg", f"{REPOSITORY}/gone.py#L3", f"{folder}/gone", "https://code.example/issues")
    (site / "new.html").write_text("".join(f'<a href="{link}">a</a>' for link in links))
    assert list(problems(site, REPOSITORY, tmp_path)) == [
        f"new.html: {REPOSITORY}/gone.py#L3: there is no such file in the repository",
        f"new.html: {folder}/gone: there is no such file in the repository",
    ]


def test_links_to_the_published_site_lead_to_pages(site, tmp_path):
    """Those of READMEs and messages, which are read elsewhere."""
    address = "https://x.example/lossreg/"
    (tmp_path / "README.md").write_text(
        f"[a]({address}) [b]({address}a/other.html#there) [c]({address}gone.html). [d]({address}index.html#gone)"
    )
    assert list(published(site, tmp_path, address)) == [
        f"README.md: {address}gone.html: there is no such page",
        f"README.md: {address}index.html#gone: the page has no such anchor",
    ]
