"""Names of the files in a run folder."""

from __future__ import annotations

STATE_FILE = "state.pt"
STEPS_FILE = "steps.csv"
VALIDATION_FILE = "validation.csv"
IMAGES_FILE = "validation_images.csv"
BOARD_FOLDER = "tensorboard"
CURVE_FILE = "curve.png"
LOCK_FILE = ".lock"
