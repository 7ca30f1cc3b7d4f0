"""The chooser in a browser, from file://: problems, tasks, tags and words, by the keyboard alone."""

import shutil

from .looking import LOOKS, ROOT  # first, because it skips the file where the next ones are absent

# isort: split
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from docs.check.browser import browser
from lossreg.search.search import search

pytestmark = LOOKS

SEARCHES = (
    "crack", "vessels", "most masks are empty", "imbalanced", "boundaries", "monai dice", "hausdorff_dt", "SAM", "the",
    "rare classes", "zebra crack", "zebra", "mutual information", "self-supervised",
)  # fmt: skip
SCRIPTS = ("chooser_words.js", "chooser.js")
PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><link rel="stylesheet" href="gallery.css">
<script defer src="chooser_data.js"></script><script defer src="chooser_words.js"></script>
<script defer src="chooser.js"></script><div id="chooser"></div>"""

NAMES = "return [...document.querySelectorAll('#chooser li a')].map((each) => each.textContent)"
STATES = """return Object.fromEntries(
  [...document.querySelectorAll('#chooser [data-state=yes], #chooser [data-state=no]')]
  .map((each) => [each.dataset.value, each.getAttribute('aria-pressed')]))"""


@pytest.fixture(scope="module")
def chooser(tmp_path_factory):
    """A function that opens the page with a query, and the browser."""
    from gallery import chooser as data

    folder = tmp_path_factory.mktemp("chooser")
    for name in (*SCRIPTS, "gallery.css"):
        shutil.copy(ROOT / "docs" / "_static" / name, folder)
    (folder / "chooser_data.js").write_text(data.data(ROOT / "docs" / "howto"), encoding="utf-8")
    (folder / "choose.html").write_text(PAGE, encoding="utf-8")
    with browser() as opened:
        opened.look(width=390)

        def visit(query=""):
            opened.open(f"file://{folder}/choose.html{query}")
            return opened

        yield visit


def press(page, *keys):
    """Press keys one after the other."""
    ActionChains(page.driver).send_keys(*keys).perform()


def text(page, selector):
    return page.run("return document.querySelector(arguments[0])?.textContent", f"#chooser {selector}")


def query(page):
    return page.run("return location.search")


@pytest.mark.parametrize("words", SEARCHES)
def test_words_find_the_same_losses_as_in_the_terminal(chooser, words):
    """In the same order, and the same problems."""
    from gallery.entries import registered

    expected = search(words, registered())
    found = chooser().run(
        "const found = search(arguments[0], LOSSREG.losses, LOSSREG.problems, LOSSREG.empty);"
        "return [found.losses.map(({name}) => name), found.problems.map(({key}) => key)]",
        words,
    )
    assert found == [expected.names, [problem.key for problem in expected.problems]]


def test_a_problem_is_chosen_negated_and_left_by_the_keyboard(chooser):
    """Tab to the words, Tab to the problems, an arrow to the second, and Space three times."""
    page = chooser()
    press(page, Keys.TAB, Keys.TAB, Keys.ARROW_RIGHT)
    assert page.run("return document.activeElement.textContent") == "Thin structures break apart"
    everything = text(page, ".count")
    press(page, Keys.SPACE)
    assert page.run(STATES) == {"thin_structures": "true"}
    assert page.run(NAMES)[:2] == ["cldice", "targeted"]
    assert text(page, ".advice strong") == "Thin structures break apart"
    assert query(page) == "?problem=thin_structures"
    press(page, Keys.SPACE)
    assert page.run(STATES) == {"thin_structures": "mixed"}
    assert page.run("return document.activeElement.getAttribute('aria-label')") == "not Thin structures break apart"
    assert "cldice" not in page.run(NAMES)
    assert query(page) == "?problem=-thin_structures"
    press(page, Keys.SPACE)
    assert page.run(STATES) == {}
    assert text(page, ".count") == everything
    assert query(page) == ""


def test_arrows_and_ends_move_within_a_group_and_tab_leaves_it(chooser):
    """Each group is one stop of the Tab key: the first problem follows the last by an arrow."""
    page = chooser()
    press(page, Keys.TAB, Keys.TAB, Keys.ARROW_LEFT)
    last = page.run("return document.activeElement.dataset.value")
    press(page, Keys.HOME)
    assert page.run("return document.activeElement.dataset.value") == "start"
    press(page, Keys.END)
    assert page.run("return document.activeElement.dataset.value") == last != "start"
    press(page, Keys.TAB)
    assert page.run("return document.activeElement.dataset.value") == "binary"


def test_problems_widen_and_other_groups_narrow(chooser):
    """Losses for any of two problems; of those the ones of a task, without a tag, and of a package."""
    thin, outlines = ({*chooser(f"?problem={key}").run(NAMES)} for key in ("thin_structures", "outlines"))
    assert {*chooser("?problem=thin_structures&problem=outlines").run(NAMES)} == thin | outlines
    narrowed = {*chooser("?problem=thin_structures&problem=outlines&task=multiclass&tag=-boundary").run(NAMES)}
    assert narrowed == {"cldice", "monai/soft_cldice", "soft_dice_cldice"}
    page = chooser("?problem=thin_structures&task=multiclass&provider=monai")
    assert {*page.run(NAMES)} == {"monai/soft_cldice", "soft_dice_cldice"}


def test_an_address_can_be_shared(chooser):
    """It restores words and buttons, opens the groups that it uses, and keeps a tag that is a task's button."""
    page = chooser("?problem=metric&tag=-mixture&words=lovasz")
    assert page.run(STATES) == {"metric": "true", "mixture": "mixed"}
    assert page.run("return document.querySelector('#chooser details').open") is True
    assert page.run("return document.querySelector('#chooser input').value") == "lovasz"
    assert page.run(NAMES)[:2] == ["lovasz_hinge", "lovasz_softmax"]
    assert query(page) == "?problem=metric&tag=-mixture&words=lovasz"
    assert chooser("?tag=binary").run(STATES) == {"binary": "true"}


def test_words_narrow_and_clear_brings_all_back(chooser):
    """Typing shows the advice of the problem that the words mean."""
    page = chooser()
    everything = text(page, ".count")
    press(page, Keys.TAB, "vessels")
    assert page.run(NAMES)[0] == "cldice"
    assert text(page, ".advice strong") == "Thin structures break apart"
    page.run(
        "[...document.querySelectorAll('#chooser button')].find((each) => each.textContent == 'Clear all').click()"
    )
    assert text(page, ".count") == everything
    assert page.run("return document.activeElement.type") == "search"


def test_a_long_list_is_shown_in_two_steps(chooser):
    """The count is that of all."""
    page = chooser()
    count = int(text(page, ".count").split()[0])
    assert len(page.run(NAMES)) == 24 < count
    page.run("document.querySelector('#chooser > button:last-of-type').click()")
    assert len(page.run(NAMES)) == count


def test_it_is_readable_by_a_screen_reader_and_on_a_phone(chooser):
    """Groups and the count have roles and names; nothing is wider than the page; the console is empty."""
    page = chooser("?tag=overlap&provider=monai")
    roles = page.run("return [...document.querySelectorAll('#chooser [role=toolbar]')].map((each) => each.ariaLabel)")
    assert roles == ["What is the problem?", "Task", "Tags", "Packages"]
    assert page.run("return document.querySelector('#chooser .count').getAttribute('role')") == "status"
    assert page.run("return document.scrollingElement.scrollWidth <= innerWidth")
    assert page.messages() == []
