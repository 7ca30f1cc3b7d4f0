"""The chooser of losses, used by the keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from .browser import Browser
from .sweep import DESK, SETTLE

PAGE = "losses/choose.html"
STOPS = 100  # more than a chooser has
START = "document.querySelector('#chooser input').focus(); document.activeElement.dataset.reached = true"
FOCUSED = """
const each = document.activeElement, style = getComputedStyle(each);
if (!each.closest("#chooser") || each.dataset.reached) return null;
each.dataset.reached = true;
const seen = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
return [each.tagName.toLowerCase(), each.textContent.trim().slice(0, 40), seen];
"""
COUNT = "return document.querySelector('#chooser [role=status]').textContent"


def keyboard(browser: Browser, address: str, page: str = PAGE) -> list[str]:
    """Return the faults of the chooser: Tab reaches buttons, each is seen, and Space changes how many losses fit."""
    browser.look(width=DESK)
    browser.open(address + page)
    browser.run(SETTLE)
    return [f"{page}: {fault}" for fault in _faults(browser)]


def _faults(browser: Browser) -> Iterator[str]:
    if not browser.run("return Boolean(document.querySelector('#chooser input'))"):
        yield "there is no chooser"
        return
    before = browser.run(COUNT)
    browser.run(START)
    reached, changed = 0, False
    for _ in range(STOPS):
        _press(browser, Keys.TAB)
        focused = browser.run(FOCUSED)
        if focused is None:
            break
        tag, text, seen = focused
        reached += 1
        if not seen:
            yield f"nothing shows that {text!r} has the focus"
        if tag == "button" and not changed:
            _press(browser, Keys.SPACE)
            changed = browser.run(COUNT) != before
    if not changed:
        yield f"Tab and Space leave the choice as it is ({reached} places were reached)"


def _press(browser: Browser, key: str) -> None:
    ActionChains(browser.driver).send_keys(key).perform()
