"""Registry: classes by name, each known before it is imported. It is not specific to losses."""

from lossreg.registry.entry import Entry
from lossreg.registry.registry import Registry

__all__ = ["Entry", "Registry"]
