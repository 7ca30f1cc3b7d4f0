"""Our own providers, and the distributions that they come in.

Nobody else may use a provider's name: decided by the installed distribution, never by what a manifest says of itself.
"""

from __future__ import annotations

# Their losses own their short names.
OWNERS = {"lossreg": "lossreg", "segmentation": "lossreg-segmentation", "sam": "lossreg-sam"}
# Described by lossreg-<name>. They share ties.
LIBRARIES = ("torch", "monai", "kornia", "smp", "toolbelt", "pml", "timm", "piq")

FIRST_PARTY = OWNERS | {name: f"lossreg-{name}" for name in LIBRARIES}
