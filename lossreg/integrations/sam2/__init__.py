"""SAM 2's trainer: any loss in its config, and objects that are merged into categories. Its own class is in trainer."""

from __future__ import annotations

from lossreg.integrations.sam2.categories import IOUS, MASKS, SCORES, merge_objects, merge_targets
from lossreg.integrations.sam2.loss import Sam2Loss, predicted_masks

__all__ = ["IOUS", "MASKS", "SCORES", "Sam2Loss", "merge_objects", "merge_targets", "predicted_masks"]
