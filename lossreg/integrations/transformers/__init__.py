"""The Trainer of transformers: `attach` gives it a loss, whose parts, records, reports and state it keeps."""

from __future__ import annotations

from lossreg.integrations.transformers.attaching import attach

__all__ = ["attach"]
