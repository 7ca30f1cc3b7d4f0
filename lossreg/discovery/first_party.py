"""First-party providers, and their distributions.

No other distribution may use these names. This is decided by the installed distribution, not by its manifest.
"""

from __future__ import annotations

import re

from lossreg.registry.entry import LOCAL

# Their losses own their short names.
OWNERS = {"lossreg": "lossreg", "segmentation": "lossreg-segmentation", "sam": "lossreg-sam"}
# Described by lossreg-<name>. Their short names tie with those of other providers.
LIBRARIES = ("torch", "monai", "kornia", "smp", "toolbelt", "pml", "timm", "piq")

FIRST_PARTY = OWNERS | {name: f"lossreg-{name}" for name in LIBRARIES}


def owner_of(provider: str) -> str | None:
    """Return who alone may use the name of a provider, in any spelling that a reader takes for it; None if all may."""
    name = re.sub(r"[-_.]", "", provider).lower()
    return "losses that are registered in code" if name == LOCAL else FIRST_PARTY.get(name)
