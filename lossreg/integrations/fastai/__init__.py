"""fastai: a Tracked loss with what fastai reads of a loss, and the callback that logs, watches and records it."""

from __future__ import annotations

from lossreg.integrations.fastai.callback import LossCallback
from lossreg.integrations.fastai.loss import FastaiLoss

__all__ = ["FastaiLoss", "LossCallback"]
