"""The chooser of losses, used by the keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator

from .browser import Browser
from .sweep import DESK

PAGE = "losses/choose.html"


def keyboard(browser: Browser, address: str, page: str = PAGE) -> list[str]:
    """Return the faults of the chooser: Tab must reach each control, be seen there, and Space must change the list."""
    browser.look(width=DESK)
    browser.open(address + page)
    return [f"{page}: {fault}" for fault in _faults(browser)]


def _faults(browser: Browser) -> Iterator[str]:
    yield from ()
