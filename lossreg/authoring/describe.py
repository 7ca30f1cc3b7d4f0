"""What a loss says of itself: summary, formula, shapes, source, contract and parameters."""

from __future__ import annotations

from typing import Any

from lossreg.parameters import docstring
from lossreg.registries import losses
from lossreg.registry.entry import Entry

SECTIONS = ("summary", "formula", "shapes", "source")


def description(entry: Entry) -> dict[str, Any]:
    """From the manifest where there is one; from the class, which is loaded, where not."""
    if "parameters" in entry.metadata:
        return dict(entry.metadata)
    return described_class(losses.get(entry.full_name), entry.metadata)


def described_class(cls: type, metadata: Any) -> dict[str, Any]:
    """From a class and what its decorator declared."""
    from lossreg.parameters.from_signature import describe

    text = docstring.sections(cls.__doc__)
    kept = {key: text[key] for key in SECTIONS if key in text}
    return kept | dict(metadata) | {"parameters": describe(cls)}
