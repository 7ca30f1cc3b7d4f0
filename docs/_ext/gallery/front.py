"""The front page of the gallery: a card for each loss, by family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gallery.cache import Drawn
from gallery.entries import LIBRARIES, TITLES, of_library
from gallery.loss_page import PICTURES
from gallery.markdown import prose
from lossreg.registry.entry import Entry

HEAD = """# All losses

lossreg's own losses, each with its formula, curves, parameters and a picture. The small picture shows where a loss
pushes one and the same prediction: blue up, orange down. [Choose](choose.md) one by your problem, or
[compare](compare.md) them."""

# A loss belongs to the first family whose tag it has.
FAMILIES = {
    "sam": "Segment Anything",
    "composite": "Made of other losses",
    "mixture": "Mixtures",
    "topology": "Thin structures",
    "boundary": "Outlines",
    "ranking": "Sorted pixels",
    "overlap": "Overlap of areas",
    "pixelwise": "Pixel by pixel",
    "calibration": "Sizes and qualities",
}
SHOWN = ("pixelwise", "overlap", "ranking", "topology", "boundary", "calibration", "mixture", "composite", "sam")


def page(entries: Sequence[Entry], drawn: Mapping[str, Drawn]) -> str:
    """Return the page as Markdown."""
    blocks = [HEAD]
    for tag in SHOWN:
        inside = [entry for entry in entries if family(entry) == tag]
        blocks += [f"## {FAMILIES[tag]}", _grid([_card(entry, drawn[entry.name]) for entry in inside])]
    blocks += ["## Of other libraries", _grid([_library(name) for name in LIBRARIES])]
    return "\n\n".join(blocks) + "\n"


def family(entry: Entry) -> str:
    """Return the tag of the family under which a loss is shown."""
    return next(tag for tag in FAMILIES if tag in (entry.tags or ()))


def _grid(cards: Sequence[str]) -> str:
    return "\n".join(["::::{grid} 2 2 3 3", ":gutter: 2", "", *cards, "::::"])


def _card(entry: Entry, drawn: Drawn) -> str:
    picture = f"{PICTURES}/{entry.full_name}/push-{entry.name}.png"
    lines = [f":::{{grid-item-card}} {entry.name}", f":link: {entry.name}", ":link-type: doc"]
    if "reason" not in drawn:
        lines += [f":img-top: {picture}", f":img-alt: where {entry.name} pushes"]
    return "\n".join([*lines, "", prose(entry.metadata["summary"]), ":::"])


def _library(name: str) -> str:
    return "\n".join(
        [
            f":::{{grid-item-card}} {TITLES[name]}",
            f":link: of_{name}",
            ":link-type: doc",
            "",
            f"{len(of_library(name))} losses",
            ":::",
        ]
    )
