"""Keras on torch: the loss of a compiled model, its callback, and loaders that name their examples."""

from __future__ import annotations

from lossreg.integrations.keras.batches import KerasBatches
from lossreg.integrations.keras.callback import LossCallback
from lossreg.integrations.keras.loss import KerasLoss

__all__ = ["KerasBatches", "KerasLoss", "LossCallback"]
