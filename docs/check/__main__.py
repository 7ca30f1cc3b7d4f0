"""All checks of the site, `python -m docs.check`; some with `--only build links`. Exit code 1 if one finds a fault."""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from . import blocks, html_links, sweep
from .browser import CHROMIUM, DRIVER, browser, served
from .build import SITE, build
from .environments import ENVIRONMENTS

ROOT = Path(__file__).parents[2]
PACKAGES = (Path(sysconfig.get_path("purelib")), *sorted(ROOT.glob(".venv-trainers/lib/python3.*/site-packages")))


def check_build(cold: bool) -> list[str]:
    """Build the site."""
    try:
        seconds = build(cold=cold)
    except subprocess.CalledProcessError:
        return ["the build has warnings"]
    print(f"built in {seconds:.0f} s")
    return []


def check_links(cold: bool) -> list[str]:
    """Check links, anchors and resources."""
    from .addresses import REPOSITORY, published

    return [*html_links.problems(SITE.resolve(), REPOSITORY, ROOT), *published(SITE)]


def check_blocks(cold: bool) -> list[str]:
    """Run every block."""
    outcomes = blocks.run_all(blocks.pages(), ENVIRONMENTS, PACKAGES)
    ran = [each for each in outcomes if not each.missing]
    print(f"{sum(each.blocks for each in ran)} blocks of {len(ran)} pages; {len(outcomes) - len(ran)} pages not run")
    return [f"{each.page}: {each.problem}" for each in outcomes if each.problem]


def check_pages(cold: bool) -> list[str]:
    """Look at every page in a browser."""
    if not (CHROMIUM and DRIVER):
        return ["no page was looked at: install chromium and chromedriver"]
    from .chooser import keyboard

    with served(SITE) as address, browser() as opened:
        count, found = sweep.sweep(opened, address, SITE)
        found += keyboard(opened, address)
    print(f"{count} pages looked at, on a phone and a desk, light and dark")
    return found


CHECKS: dict[str, Callable[[bool], list[str]]] = {
    "build": check_build,
    "links": check_links,
    "blocks": check_blocks,
    "pages": check_pages,
}


def main() -> int:
    """Run the checks in their order and print their findings."""
    parser = argparse.ArgumentParser(description="Check the site.")
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=[*CHECKS])
    parser.add_argument("--cold", action="store_true", help="build every page anew")
    options = parser.parse_args()
    findings: list[str] = []
    for name in options.only:
        print(f"-- {name}", flush=True)
        found = CHECKS[name](options.cold)
        print(*found, sep="\n", end="\n" if found else "", flush=True)
        findings += found
    print(f"{len(findings)} findings" if findings else "the site is in order")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
