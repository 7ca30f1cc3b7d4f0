"""The registry: classes by name, each known before it is imported. It knows nothing of losses."""

from lossreg.registry.entry import Entry
from lossreg.registry.registry import Registry

__all__ = ["Entry", "Registry"]
