"""Gray networks learn from gray copies of the images; super-resolution may be eightfold; measured values are kept."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import mapping, run, saved, settings

from mair_cli.errors import UsageError
from mair_cli.training.files import IMAGES_FILE, VALIDATION_FILE
from mair_cli.training.recipe import settings_from_mapping
from mair_cli.training.sets import load_sets

GRAY = {"in_chans": 1, "upscale": 1, "upsampler": "", "jpeg_level_map": True}


def test_a_gray_network_learns_from_images_without_colour(tmp_path: Path) -> None:
    plain = mapping(tmp_path, network=GRAY, training={"steps": 4}, degradation={"jpeg": [10, 60]})
    recipe = settings_from_mapping(plain | {"task": "dejpeg"})
    for pair in load_sets(recipe).training:
        assert np.array_equal(pair.high[:, :, 0], pair.high[:, :, 2])
        assert pair.high.std() > 1
    outcome = run(recipe)
    assert outcome.finished
    assert outcome.best is not None
    assert outcome.best > 10
    assert saved(recipe).network["conv_first.weight"].shape[1] == 2  # gray and the level


@pytest.mark.parametrize("upsampler", ["pixelshuffle", "pixelshuffledirect"])
def test_eightfold_super_resolution_trains(tmp_path: Path, upsampler: str) -> None:
    network = {"upscale": 8, "upsampler": upsampler, "embed_dim": 4, "depths": [1]}
    recipe = settings(tmp_path, network=network, data={"patch": 4, "batch": 1}, training={"steps": 2})
    assert run(recipe).finished


def test_each_images_values_are_kept_and_their_mean_is_what_the_log_says(tmp_path: Path) -> None:
    recipe = settings(tmp_path, training={"steps": 4, "log_every": 2}, validation={"every": 2, "holdout": 2})
    run(recipe)
    rows = {}
    for name in (IMAGES_FILE, VALIDATION_FILE):
        with (recipe.folder / name).open(newline="") as stream:
            rows[name] = list(csv.DictReader(stream))
    assert len(rows[IMAGES_FILE]) == 2 * len(rows[VALIDATION_FILE]) == 4
    for row in rows[VALIDATION_FILE]:
        of_images = [float(image["psnr"]) for image in rows[IMAGES_FILE] if image["step"] == row["step"]]
        assert float(row["psnr"]) == pytest.approx(np.mean(of_images))


def test_tensorboard_without_its_package_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    recipe = settings(tmp_path, training={"tensorboard": True})
    with pytest.raises(UsageError, match=r"pip install 'mair-cli\[tensorboard\]'"):
        run(recipe)
    assert not recipe.folder.exists()
