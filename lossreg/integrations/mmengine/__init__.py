"""MMEngine: a loss of a model's config, and a hook that logs, watches and records the losses of a model."""

from __future__ import annotations

from lossreg.integrations.mmengine.head_loss import HeadLoss
from lossreg.integrations.mmengine.hook import LossHook

__all__ = ["HeadLoss", "LossHook"]
