"""Description of a loss: summary, formula, also as TeX, shapes, source, contract and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossreg.parameters import docstring
from lossreg.registries import losses
from lossreg.registry.entry import Entry
from lossreg.registry.registry import Registry

# The key of a section's text in a manifest.
SECTIONS = {"summary": "summary", "formula": "formula", "math": "tex", "shapes": "shapes", "source": "source"}


def description(entry: Entry, registry: Registry[Any] = losses) -> dict[str, Any]:
    """Return the description in the entry's manifest, else that of its class, which is imported."""
    if "parameters" in entry.metadata:
        return dict(entry.metadata)
    return described_class(registry.get(entry.full_name), entry.metadata)


def described_class(cls: type, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a class: from its docstring, its signature and the metadata of its decorator."""
    from lossreg.parameters.from_signature import describe

    text = docstring.sections(cls.__doc__)
    kept = {SECTIONS[key]: text[key] for key in SECTIONS if key in text}
    return kept | dict(metadata) | {"parameters": describe(cls)}


def unchecked(name: str, cls: type) -> list[str]:
    """List the parameters of a class whose annotations cannot be evaluated, with the remedy."""
    from lossreg.parameters.from_signature import unreadable_annotations

    return [
        f"{name}: the annotation of {parameter} cannot be evaluated ({reason}), so its values are checked by the type"
        " of its default alone; import what it names outside `if TYPE_CHECKING`"
        for parameter, reason in unreadable_annotations(cls).items()
    ]
