"""Links of pages, the sidebar, and the pages that are written before a build."""

from pathlib import Path
from types import SimpleNamespace

import pytest

ADDRESS = "https://code.example/blob/main"


@pytest.fixture
def docs(tmp_path):
    """A checkout with a file outside docs/ and two pages."""
    for name in ("lossreg/cli.py", "docs/guide.md", "docs/conf.py", "docs/howto/mix.md", "docs/howto/mix.svg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    return tmp_path / "docs"


@pytest.mark.parametrize(
    "link, became",
    [
        ("../../lossreg/cli.py#L3", f"{ADDRESS}/lossreg/cli.py#L3"),
        ("../../lossreg", "https://code.example/tree/main/lossreg"),
        ("../guide.md#a", "../guide.md#a"),
        ("mix.svg", "mix.svg"),
        ("../conf.py", f"{ADDRESS}/docs/conf.py"),
        ("../../nothing.py", "../../nothing.py"),  # left for Sphinx to report
        ("https://x.example/lossreg", "https://x.example/lossreg"),
    ],
)
def test_links_out_of_the_folder_lead_to_the_repository(docs, link, became):
    """Files and folders; a link to a page stays, one in a block of code too."""
    from repository import absolute

    code = f"```python\n[a]({link})\n```\n"
    assert absolute(f"[a]({link})\n{code}", docs / "howto", docs, ADDRESS) == f"[a]({became})\n{code}"


def test_links_of_an_included_file_are_those_of_the_page_that_shows_it(docs):
    """The changelog lies above docs/, and its page within."""
    from repository import absolute

    text = "[a](docs/guide.md#x) [b](lossreg/cli.py)"
    shown = absolute(text, docs.parent, docs, ADDRESS, docs / "howto")
    assert shown == f"[a](../guide.md#x) [b]({ADDRESS}/lossreg/cli.py)"


def test_a_page_holds_the_file_that_it_includes(docs):
    """And is built again when the file changes."""
    from repository import read

    (docs.parent / "CHANGELOG.md").write_text("# Changes\n[a](docs/guide.md)\n")
    noted = []
    app = SimpleNamespace(
        srcdir=str(docs),
        config=SimpleNamespace(repository_url=ADDRESS),
        env=SimpleNamespace(note_dependency=noted.append),
    )
    source = ["```{include} ../CHANGELOG.md\n```\n"]
    read(app, "changelog", source)
    assert source == ["# Changes\n[a](guide.md)\n\n"]
    assert noted == [str((docs.parent / "CHANGELOG.md").resolve())]


def test_the_sidebar_has_every_page_once():
    """A folder's index stands for its pages; a page without a place stands under "More"."""
    from contents import of_folder, sidebar

    names = {
        "index",
        "start/install",
        "start/zoo",
        "trainers/index",
        "trainers/b",
        "losses/index",
        "losses/dice",
        "new",
    }
    assert sidebar(names) == {
        "Start": ["start/install", "start/zoo"],
        "Losses": ["losses/index"],
        "Replace a loss": ["trainers/index"],
        "More": ["new"],
    }
    assert of_folder("losses/index", "", names) == ["losses/dice"]


def test_pages_of_a_folder_are_in_the_order_of_its_index():
    """Those that it does not link come last, by name."""
    from contents import of_folder

    names = {f"trainers/{name}" for name in ("index", "keras", "ignite", "a", "b")}
    text = "[i](ignite.md) [k](keras.md#x)"
    assert of_folder("trainers/index", text, names) == [
        "trainers/ignite",
        "trainers/keras",
        "trainers/a",
        "trainers/b",
    ]


def test_generated_files_are_written_when_they_change(tmp_path):
    """A page that stays as it is keeps its time, so that Sphinx does not read it again."""
    from generated import write

    path = tmp_path / "a" / "b.md"
    assert [write(path, "x"), write(path, "x"), write(path, "y")] == [True, False, True]
    assert path.read_text() == "y"


def test_the_command_line_reference_has_every_command():
    """With its help, its arguments and its options; also commands of groups, and those that a hook adds."""
    from cli_reference import page

    text = page()
    for heading in (
        "## `lossreg show`",
        "## `lossreg docs`",
        "### `lossreg records worst`",
        "### `lossreg manifest build`",
    ):
        assert f"\n{heading}\n" in text
    assert "```text\nlossreg validate [OPTIONS] {FILE...}\n```\n\n`FILE...`\n: YAML, TOML or JSON files." in text
    assert "Only these tags, e.g. 'binary & (overlap \\| sam) & !mixture'." in text


def test_the_python_reference_has_every_public_name():
    """Under the heading of its kind; packages that were imported are not names."""
    from python_reference import page

    import lossreg

    text = page(lossreg)
    for name in lossreg.__all__:
        assert f":: {name}\n" in text
    functions, classes = text.partition("## Functions")[2].partition("## Classes")[::2]
    assert ".. autofunction:: build\n" in functions
    assert ".. autoclass:: Loss\n   :members:\n" in classes
    assert ".. autoexception:: ShapeError\n" in classes.partition("## Errors")[2]


def test_llms_txt_lists_pages_by_section():
    """With absolute addresses, and a sentence where a page has one."""
    pytest.importorskip("sphinx", reason="sphinx is not installed, so no site can be built")
    from llms import listing

    pages = {"guide": ("Guide", ""), "start/install": ("Install", "One line."), "losses": ("Losses", "All.")}
    assert listing(pages, "https://x.example/", "Losses by name.") == (
        "# lossreg\n\n> Losses by name.\n\n"
        "## Start\n\n- [Install](https://x.example/start/install.html): One line.\n\n"
        "## More\n\n- [Guide](https://x.example/guide.html)\n- [Losses](https://x.example/losses.html): All.\n"
    )


def test_the_style_of_formulas_is_that_of_the_katex_that_draws_them():
    """A style of another version draws them wrong, and nothing reports it."""
    katex = pytest.importorskip("sphinxcontrib.katex", reason="sphinxcontrib-katex is not installed")
    style = (Path(__file__).parents[2] / "docs/_static/katex/katex.min.css").read_text()
    assert f'content:"{katex.katex_version}"' in style
