"""The gallery: pages in step with the manifests, pictures of what a loss does, and a cache of them."""

import json
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="sphinx is not installed, so no site can be built")

ROOT = Path(__file__).parents[2]
if not (ROOT / "docs" / "_ext").is_dir():
    pytest.skip("the site lies in the checkout, and only the tests are here", allow_module_level=True)
sys.path.append(str(ROOT / "docs" / "_ext"))

from gallery import cache, chooser, comparison, front, libraries, loss_page  # noqa: E402
from gallery.entries import LIBRARIES, link, of_library, ours, registered  # noqa: E402
from gallery.markdown import parameters, prose  # noqa: E402

sys.path.pop()

VALUES = dict.fromkeys((*comparison.COLUMNS, "mistaken", "nothing"), 0.12345)
DRAWN = {"panels": ["value", "gradient", "empty", "absent", "shift"], "values": VALUES}
UNDRAWN = {"reason": "sam/x cannot be drawn: its input is 'embeddings'; losses that can be drawn: lossreg list"}

each_loss = pytest.mark.parametrize("entry", ours(), ids=lambda entry: entry.name)


@each_loss
def test_a_page_has_all_that_the_manifest_knows(entry, torch):
    """Its summary, each parameter with its default, its formula, its shapes, its aliases and each tag as a link."""
    text = loss_page.page(entry, DRAWN)
    assert text.startswith(f"# {entry.name}\n")
    assert prose(entry.metadata["summary"]) in text
    for name, schema in entry.metadata["parameters"]["properties"].items():
        (found,) = re.findall(rf"^`{name}`\n: (.+)$", text, re.MULTILINE)
        assert found.endswith(f"default `{json.dumps(schema['default'])}`" if "default" in schema else "")
    assert "## Formula\n\n$$" in text
    assert entry.metadata["shapes"].splitlines()[0] in text
    assert all(f"`{alias}`" in text for alias in entry.aliases)
    assert all(f'href="choose.html?tag={tag}"' in text for tag in entry.tags)


@each_loss
def test_a_page_shows_a_config_that_builds(entry, torch):
    """The YAML and the Python block are the same config."""
    import yaml

    import lossreg

    text = loss_page.page(entry, DRAWN)
    (given,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    config = yaml.safe_load(given)["loss"]
    built = lossreg.build(config)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(code, names)
    assert type(names["loss"]) is type(built)
    assert repr(names["loss"]) == repr(built)


def test_a_page_places_each_panel(torch):
    """Curves first, those of an empty mask with the cost of a blob in words, and those of shapes."""
    (entry,) = (each for each in ours() if each.name == "dice")
    text = loss_page.page(entry, DRAWN)
    places = [text.index(f"losses/segmentation/dice/{panel}.svg") for panel in DRAWN["panels"]]
    headings = [text.index(f"## {each}") for each in ("Value and gradient", "An empty mask", "A shape that is wrong")]
    assert headings[0] < places[0] < places[1] < headings[1] < places[2] < places[3] < headings[2] < places[4]
    assert "costs 0.123, and one of a small blob 0.123" in text
    assert "push-dice.png" in text


def test_a_loss_that_cannot_be_drawn_has_a_page_with_the_reason(torch):
    """Without pictures."""
    (entry,) = (each for each in ours() if each.name == "text_region_contrast")
    text = loss_page.page(entry, UNDRAWN)
    assert "This loss has none: sam/x cannot be drawn: its input is 'embeddings'." in text
    assert ".svg" not in text
    assert ".png" not in text


def test_the_front_has_a_card_for_each_loss_and_library():
    """Each once, in a family of its own."""
    text = front.page(ours(), {entry.name: DRAWN for entry in ours()})
    links = re.findall(r"^:link: (\w+)$", text, re.MULTILINE)
    assert sorted(links) == sorted([*(entry.name for entry in ours()), *(f"of_{name}" for name in LIBRARIES)])
    assert len(ours()) == 42
    assert text.count("img-top") == 42


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_page_of_a_library_has_each_loss_and_parameter(library):
    """And the package to install."""
    text = libraries.page(library)
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^\(|\Z)", text, re.MULTILINE | re.DOTALL))
    assert sections.keys() == {entry.name for entry in of_library(library)}
    for entry in of_library(library):
        for name in entry.metadata["parameters"]["properties"]:
            assert f"\n`{name}`\n: " in sections[entry.name]
        assert f"({link(entry).partition('#')[2]})=" in text
    assert f"pip install lossreg-{library}" in text


def test_the_comparison_has_each_loss_twice_and_names_the_others():
    """A picture and a row of the table."""
    drawn = {entry.name: DRAWN for entry in ours()} | {"matched": UNDRAWN}
    text = comparison.part(ours(), drawn)
    pictures = re.findall(r"compare-(\w+)\.png", text)
    rows = re.findall(r"^\| \[(\w+)\]", text, re.MULTILINE)
    assert sorted(pictures) == sorted(rows) == sorted(entry.name for entry in ours() if entry.name != "matched")
    assert "| 0.123 | 0.123 |" in text
    assert text.endswith("Not shown, because they take other inputs than one mask: [matched](matched.md).\n")


def test_the_chooser_knows_each_loss_with_an_address_that_exists():
    """Its how-to links lead to pages that exist as well."""
    text = chooser.data(ROOT / "docs" / "howto")
    found = json.loads(text.removeprefix("window.LOSSREG = ").removesuffix(";\n"))
    assert [loss["name"] for loss in found["losses"]] == [*registered()]
    assert {loss["link"].partition("#")[0] for loss in found["losses"]} == {
        *(f"{entry.name}.html" for entry in ours()),
        *(f"of_{name}.html" for name in LIBRARIES),
    }
    pages = [problem["page"] for problem in found["problems"] if problem["page"]]
    assert "../howto/thin_structures.html" in pages
    assert all((ROOT / "docs" / "losses" / page).with_suffix(".md").is_file() for page in pages)


def test_advice_links_the_losses_that_it_names():
    """In the chooser and in the list below it; other code stays code."""
    text = chooser.data(Path("nowhere"))
    assert '<a href=\\"cldice.html\\"><code>cldice</code></a> with' in text
    assert "<code>skeleton=hard_skeleton(masks)</code>" in text
    assert "[`cldice`](cldice.md) with [`dice`](dice.md)" in chooser.part(Path("nowhere"))


def test_prose_shows_marks_as_they_are():
    """But for code in backticks."""
    assert prose("(N, *) of `a*b` and x_i, $5") == r"(N, \*) of `a*b` and x\_i, \$5"


def test_a_parameter_shows_its_range_and_default():
    """Or that it is required."""
    schema = {
        "properties": {
            "gamma": {"type": "number", "minimum": 0, "default": 2.0, "description": "focusing exponent."},
            "classes": {"type": "integer", "minimum": 1},
        },
        "required": ["classes"],
    }
    assert parameters(schema) == (
        "`gamma`\n: a number \\>= 0, default `2.0`\n\n  Focusing exponent.\n\n`classes`\n: an integer \\>= 1, required"
    )


@pytest.fixture
def dice():
    (entry,) = (each for each in ours() if each.name == "dice")
    return entry


def test_a_picture_depends_on_the_entry_the_code_and_the_drawing(dice, monkeypatch):
    """And on nothing else."""
    before = cache.key(dice)
    assert cache.key(dice) == before
    assert cache.key(dice._replace(metadata=dict(dice.metadata) | {"summary": "Other."})) != before
    assert cache.key(dice._replace(target="lossreg_segmentation.lovasz:Dice")) != before
    monkeypatch.setattr(cache, "_drawing", lambda: b"other code")
    assert cache.key(dice) != before


def test_the_drawing_code_is_all_there():
    """A file that was renamed would no longer count."""
    assert all(path.is_file() for path in cache.DRAWING)
    assert {"panels.py", "drawing.py", "scenes.py", "six_losses.py"} <= {path.name for path in cache.DRAWING}


@pytest.mark.tools
def test_only_what_changed_is_drawn(tmp_path, monkeypatch):
    """A second build draws nothing, a changed key one loss; a folder that is not finished is drawn again."""
    (tmp_path / "drawer.py").write_text(
        "def draw(name, folder):\n"
        "    with open(folder.parents[1] / 'log', 'a') as log:\n"
        "        log.write(name + '\\n')\n"
        "    assert not list(folder.iterdir())\n"
        "    (folder / 'picture').write_text(name)\n"
        "    return {'panels': [name]}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from drawer import draw

    out, log = tmp_path / "out", tmp_path / "out" / "log"

    def build(**keys):
        found = cache.refreshed(keys, out, draw)
        drawn = log.read_text().split()
        log.write_text("")
        return found, sorted(drawn)

    both = {"a": {"panels": ["a"]}, "b": {"panels": ["b"]}}
    assert build(a="1", b="1") == (both, ["a", "b"])
    assert build(a="1", b="1") == (both, [])
    assert build(a="2", b="1") == (both, ["a"])
    (out / "b" / cache.RESULT).unlink()
    assert build(a="2", b="1") == (both, ["b"])


@pytest.fixture(scope="module")
def bce(tmp_path_factory):
    """The pictures of bce, and the folder that they are in."""
    from gallery import pictures

    folder = tmp_path_factory.mktemp("bce")
    return pictures.draw("segmentation/bce", folder), folder


@pytest.mark.tools
def test_values_are_those_of_the_scenes(bce):
    """A sure prediction of nothing, logits of -5, costs log(1 + exp(-5)); each mistake costs more."""
    values = bce[0]["values"]
    assert values["nothing"] == pytest.approx(0.006715348, rel=1e-5)
    assert values["empty"] > 3 * values["nothing"]
    assert values["gap"] < values["thin"] < values["shift"]


@pytest.mark.tools
def test_pushes_have_the_colour_of_their_direction(bce):
    """In the first of five parts the gap is blue, in the second the blob is orange, in the last as well."""
    import numpy as np
    import six_losses
    from gallery import pictures, scenes
    from PIL import Image

    def pixel(column, place):
        pixels = np.asarray(Image.open(bce[1] / "compare-bce.png").convert("RGBA")).astype(int)
        row, across = (3 * each + 1 for each in place)
        return pixels[row, across + 3 * column * (112 + pictures.GAP)]

    missed = scenes.single_mistakes()["gap"]
    gap = next(zip(*np.nonzero((missed.logits < -4) & missed.target), strict=True))
    assert pixel(0, gap)[2] > pixel(0, gap)[0] + 50
    assert pixel(1, six_losses.BLOB)[0] > pixel(1, six_losses.BLOB)[2] + 50
    assert pixel(4, six_losses.BLOB)[0] > pixel(4, six_losses.BLOB)[2] + 50


@pytest.mark.tools
def test_curves_can_stand_in_a_page(bce):
    """Their text has the page's colour, no rule of theirs reaches the page, and each id occurs once in it."""
    drawn, folder = bce
    assert {"value", "gradient", "empty"} <= {*drawn["panels"]}
    assert {path.stem for path in folder.glob("*.svg")} == {*drawn["panels"]}
    texts = [(folder / f"{panel}.svg").read_text() for panel in drawn["panels"]]
    assert all("currentColor" in text and "<style" not in text for text in texts)
    assert all(re.match(r'<svg role="img" aria-label="[^"]+"[^>]*viewBox', text) for text in texts)
    assert not any(re.search(r'<svg[^>]* (width|height)="', text) for text in texts)
    ids = [each for text in texts for each in re.findall(r'\bid="([^"]+)"', text)]
    assert len(ids) == len({*ids})
    used = {each for text in texts for each in re.findall(r'(?:url\(#|href="#)([^")]+)', text)}
    assert used <= {*ids}
