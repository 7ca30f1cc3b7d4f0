"""All broken trainings."""

from __future__ import annotations

from zoo.broken_data import BROKEN_DATA
from zoo.broken_losses import BROKEN_LOSSES
from zoo.broken_trainings import BROKEN_TRAININGS
from zoo.training import Training
from zoo.undetectable import UNDETECTABLE

BROKEN: list[Training] = BROKEN_DATA + BROKEN_LOSSES + BROKEN_TRAININGS + UNDETECTABLE
