"""All sound trainings: the monitor must be silent."""

from __future__ import annotations

from zoo.sound_courses import SOUND_COURSES
from zoo.sound_data import SOUND_DATA
from zoo.sound_losses import SOUND_LOSSES
from zoo.training import Training

SOUND: list[Training] = SOUND_LOSSES + SOUND_DATA + SOUND_COURSES
