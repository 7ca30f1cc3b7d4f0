"""The losses of the gallery: lossreg's own, and those of the libraries that it describes."""

from __future__ import annotations

from functools import cache

from lossreg import losses
from lossreg.cli.docs import page_of
from lossreg.discovery.first_party import LIBRARIES, OWNERS
from lossreg.registry.entry import Entry

__all__ = ["LIBRARIES", "TITLES", "link", "of_library", "ours", "registered"]

TITLES = {
    "torch": "torch.nn",
    "monai": "MONAI",
    "kornia": "kornia",
    "smp": "segmentation-models-pytorch",
    "toolbelt": "pytorch-toolbelt",
    "pml": "pytorch-metric-learning",
    "timm": "timm",
    "piq": "PIQ",
}


@cache
def registered() -> dict[str, Entry]:
    """Return the entries of these packages, by the names under which they are listed, in alphabetical order."""
    found = {name: losses.entry(name) for name in losses.list()}
    known = {*OWNERS, *LIBRARIES}
    chosen = [(entry.name, name, entry) for name, entry in found.items() if entry.provider in known]
    return {name: entry for _, name, entry in sorted(chosen, key=lambda each: each[:2])}


def ours() -> list[Entry]:
    """Return the losses of lossreg's own packages."""
    return [entry for entry in registered().values() if entry.provider in OWNERS]


def of_library(name: str) -> list[Entry]:
    """Return the losses of a library."""
    return [entry for entry in registered().values() if entry.provider == name]


def link(entry: Entry) -> str:
    """Return the address of a loss in the folder of losses. `lossreg docs` opens the same."""
    return page_of(entry).removeprefix("losses/")
