"""The look at pages in a browser: each planted fault is found, and a sound page has none."""

from .looking import LOOKS  # first, because it skips the file where the next ones are absent

# isort: split
import pytest

from docs.check.browser import browser, served
from docs.check.chooser import keyboard
from docs.check.sweep import sweep

pytestmark = LOOKS

HEAD = '<!doctype html><meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
PLANTED = {
    "sound": ("<p>Dark on white</p>", []),
    "wide": ("<pre style='width: 600px'>x</pre>", ["scrolls sideways at 390 px: pre, "]),
    "boxed": ("<div style='overflow-x: auto'><pre style='width: 600px'>x</pre></div>", []),
    "faint": ("<p style='color: #888; background: #fff'>Grey</p>", ["contrast 3.54 of 'Grey' (p, light, phone)"] * 4),
    "veiled": (
        "<div style='background: #fff; color: #000'><i style='opacity: .4'>Pale</i></div>",
        ["contrast 2.85 of 'Pale' (i, light, phone)"] * 4,
    ),
    "night": (
        "<style>@media (prefers-color-scheme: dark) {b {color: #333}}</style><b>Night</b>",
        ["of 'Night' (b, dark, phone)", "of 'Night' (b, dark)"],
    ),
    "hidden": ("<p style='color: #fff; background: #fff; visibility: hidden'>Nothing</p>", []),
    "fetch": ("<img src='http://127.0.0.1:9/a.png'>", ["requests http://127.0.0.1:9/a.png", "console: "]),
    "error": ("<script>null.x</script>", ["console: "]),
    "gone": ("<img src='gone.png'>", ["console: "]),
}


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """The faults of all planted pages, by page."""
    site = tmp_path_factory.mktemp("site")
    for name, (body, _) in PLANTED.items():
        (site / f"{name}.html").write_text(HEAD + f"<body>{body}</body>")
    with served(site) as address, browser() as opened:
        count, found = sweep(opened, address, site)
    assert count == len(PLANTED)
    return {name: [each for each in found if each.startswith(f"{name}.html: ")] for name in PLANTED}


@pytest.mark.parametrize("name", PLANTED)
def test_each_fault_is_found_and_nothing_else(faults, name):
    """What a page requests, reports and shows; text that is hidden, and a box that scrolls by itself, are no faults."""
    expected = PLANTED[name][1]
    assert len(faults[name]) == len(expected), faults[name]
    for fault, part in zip(faults[name], expected, strict=True):
        assert part.partition(" (")[0] in fault


CHOOSER = """<style>%s</style><div id="chooser"><input><button onclick="%s">thin</button><button>rare</button>
<p role="status">3 of 3</p></div>"""
NAMES = ("thin", "rare")
COUNTS = "document.querySelector('[role=status]').textContent = '1 of 3'"


@pytest.mark.parametrize(
    "style, script, fault",
    [
        ("", COUNTS, []),
        ("", "", ["p.html: Tab and Space leave the choice as it is (2 places were reached)"]),
        ("button { outline: none }", COUNTS, [f"p.html: nothing shows that '{each}' has the focus" for each in NAMES]),
    ],
)
def test_the_chooser_is_used_by_the_keyboard(tmp_path, style, script, fault):
    """Each button is reached and seen, and one changes the number of losses that fit."""
    (tmp_path / "p.html").write_text(HEAD + f"<body>{CHOOSER % (style, script)}</body>")
    with served(tmp_path) as address, browser() as opened:
        assert keyboard(opened, address, "p.html") == fault


def test_a_page_without_a_chooser_is_a_fault(tmp_path):
    """As when its script fails."""
    (tmp_path / "p.html").write_text(HEAD + "<body><p>Losses</p></body>")
    with served(tmp_path) as address, browser() as opened:
        assert keyboard(opened, address, "p.html") == ["p.html: there is no chooser"]
