"""A look at every built page in a browser: requests, console, scrolling on a phone, contrast in both schemes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from .browser import Browser

PHONE, DESK = 390, 1280  # pixels
CONTRAST = 4.5
CONTRAST_SCRIPT = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")
SETTLE = """
const style = document.createElement("style");
style.textContent = "* { transition: none !important }";
document.head.append(style);
"""
WIDE = """
const page = document.scrollingElement, width = document.documentElement.clientWidth;
if (page.scrollWidth <= width) return [];
return [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > width + 1)
  .slice(0, 3).map((each) => each.tagName.toLowerCase() + [...each.classList].map((name) => "." + name).join(""))
  .concat([`${page.scrollWidth} px`]);
"""


def problems(browser: Browser, address: str, page: str) -> Iterator[str]:
    """Yield a line for each fault of a page: `page` below `address`."""
    browser.look(width=PHONE)
    browser.open(address + page)
    browser.run(SETTLE)
    if wide := browser.run(WIDE):
        yield f"{page}: scrolls sideways at {PHONE} px: {', '.join(wide)}"
    yield from _faint(browser, page, "light, phone")
    browser.look(width=PHONE, scheme="dark")
    yield from _faint(browser, page, "dark, phone")
    browser.look(width=DESK, scheme="dark")
    yield from _faint(browser, page, "dark")
    browser.look(width=DESK)
    yield from _faint(browser, page, "light")
    for request in browser.requests():
        if not request.startswith(address):
            yield f"{page}: requests {request}"
    for message in browser.messages():
        yield f"{page}: console: {message}"


def _faint(browser: Browser, page: str, how: str) -> Iterator[str]:
    found: Iterable[tuple[str, float, str]] = browser.run(CONTRAST_SCRIPT, CONTRAST)
    for text, value, place in found:
        yield f"{page}: contrast {value} of {text!r} ({place}, {how})"


def sweep(browser: Browser, address: str, site: Path) -> tuple[int, list[str]]:
    """Return the number of pages below a folder that is served at an address, and their faults."""
    pages = sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))
    return len(pages), [problem for page in pages for problem in problems(browser, address, page)]
