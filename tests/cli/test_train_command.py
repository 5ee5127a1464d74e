"""`mair train` and `mair ablate` as users call them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from calling import files, mair, photo, settle
from PIL import Image

RECIPE = """
name = "tiny"
task = "sr"
[network]
upscale = 2
embed_dim = 8
depths = [1]
scan_len = 4
[data]
images = ["images"]
patch = 8
batch = 2
[training]
steps = 4
log_every = 2
[validation]
holdout = 1
every = 2
"""


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "here"
    place.mkdir()
    settle(place, monkeypatch)
    for name, width in (("a", 40), ("b", 44), ("c", 48)):
        photo(f"images/{name}.png", width, 36)
    Path("tiny.toml").write_text(RECIPE)


def test_a_run_leaves_logs_weights_and_state_and_the_weights_are_usable() -> None:
    ran = mair("train", "tiny.toml")
    assert ran.code == 0
    assert ran.out == b""
    assert "done: 4 of 4 steps" in ran.err
    assert files("runs/tiny") >= {
        "state.pt",
        "steps.csv",
        "validation.csv",
        "tiny-best.safetensors",
        "tiny-last.safetensors",
    }
    used = mair("upscale", "images/a.png", "--scale", 2, "--weights", "runs/tiny/tiny-last.safetensors", "-o", "a2.png")
    assert used.code == 0
    assert Image.open("a2.png").size == (80, 72)


def test_a_run_is_stopped_and_resumed() -> None:
    stopped = mair("train", "tiny.toml", "-o", "run", "--stop-after-seconds", 0)
    assert stopped.code == 0
    assert "stopped: 1 of 4 steps" in stopped.err
    assert "--resume" in stopped.err
    refused = mair("train", "tiny.toml", "-o", "run")
    assert refused.code == 2
    assert "--resume" in refused.err
    assert "done: 4 of 4" in mair("train", "tiny.toml", "-o", "run", "--resume").err


def test_options_win_over_the_recipe_and_a_dry_run_writes_nothing() -> None:
    photo("other/x.png", 60, 60)
    before = files()
    ran = mair(
        "train", "tiny.toml", "--images", "images", "--images", "other", "--set", "training.steps=9", "--dry-run"
    )
    assert ran.code == 0
    assert "9 steps" in ran.err
    assert "3 images to train on, 1 to measure on" in ran.err
    assert files() == before


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("none.toml",), 2, "none.toml"),
        (("tiny.toml", "--set", "training.stepz=3"), 2, "'stepz'; did you mean 'steps'"),
        (("tiny.toml", "--images", "nowhere"), 2, "nowhere"),
        (("tiny.toml", "--set", "data.patch=30"), 1, "smaller than a patch"),
        (("tiny.toml", "--device", "gpu"), 2, "--device gpu"),
        (("tiny.toml", "--set", "training.start_from=no.safetensors"), 2, "no.safetensors"),
        (("tiny.toml", "--backend", "mamba-ssm"), 2, "mamba-ssm"),
        (("tiny.toml", "--set", "training.learning_rate=nan"), 2, "training.learning_rate"),
        (("tiny.toml", "--set", "training.clip=-1"), 2, "training.clip"),
        (("tiny.toml", "--set", "data.workers=0"), 2, "data.workers"),
        (("tiny.toml", "--set", "name=.."), 2, "name = '..'"),
        (("tiny.toml", "--images", "-"), 2, "folder of images: -"),
        (("tiny.toml", "--images", "/dev/zero"), 2, "neither a file nor a folder: /dev/zero"),
        (("/dev/zero",), 2, "/dev/zero is no recipe"),
    ],
)
@pytest.mark.parametrize("dry", [False, True])
def test_what_cannot_work_ends_in_one_line(arguments: tuple[str, ...], code: int, says: str, dry: bool) -> None:
    ran = mair("train", *arguments, *(["--dry-run"] if dry else []))
    assert ran.code == code
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert "defect" not in ran.err
    assert not Path("runs/tiny/state.pt").exists()


PUBLISHED = sorted((Path(__file__).parents[2] / "recipes" / "published").glob("*.toml"))


@pytest.mark.parametrize("recipe", PUBLISHED, ids=lambda path: path.stem)
def test_published_recipes_are_accepted_once_they_have_images(recipe: Path) -> None:
    for folder in ("inputs", "targets"):
        photo(f"{folder}/large.png", 276, 260)
    photo("large.png", 276, 260)
    ran = mair("train", recipe, "--dry-run", "--images", "large.png", "--set", "training.start_from=''")
    if "[data]\npairs" in recipe.read_text("utf-8"):
        assert (ran.code, "exclude each other" in ran.err) == (2, True)
        ran = mair("train", recipe, "--dry-run", "--set", "data.pairs=['inputs', 'targets']")
    assert ran.code == 0, ran.err
    assert "1 images to train on" in ran.err
    assert not Path("runs").exists()


def test_damaged_files_are_named_and_left_out_unless_strict() -> None:
    Path("images/torn.png").write_bytes(Path("images/a.png").read_bytes()[:100])
    for dry in ([], ["--dry-run"]):
        strict = mair("train", "tiny.toml", "--set", "data.strict=true", *dry)
        assert strict.code == 1
        assert "torn.png" in strict.err
    ran = mair("train", "tiny.toml", "--set", "validation.holdout=0", "--dry-run")
    assert ran.code == 0
    assert "torn.png" in ran.err
    assert "3 images to train on" in ran.err


def test_images_shared_with_a_forbidden_folder_are_listed() -> None:
    rng = np.random.default_rng(0)
    spots = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize(
        (320, 240), Image.Resampling.BICUBIC
    )
    spots.save("images/taken.png")
    Path("bench").mkdir()
    spots.crop((40, 30, 300, 220)).resize((220, 160)).save("bench/original.png")
    ran = mair("train", "tiny.toml", "--check-against", "bench")
    assert ran.code == 1
    assert "taken.png" in ran.text
    assert "original.png" in ran.text
    assert "a.png" not in ran.text
    Path("images/taken.png").unlink()
    clean = mair("train", "tiny.toml", "--check-against", "bench")
    assert clean.code == 0
    assert "none of 1 images" in clean.err


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.skipif(signal.getsignal(signal.SIGINT) == signal.SIG_IGN, reason="this run ignores interruptions")
def test_ctrl_c_saves_and_returns_130() -> None:
    command = [sys.executable, "-m", "mair_cli", "train", "tiny.toml", "--set", "training.steps=100000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        log = Path("runs/tiny/steps.csv")
        patience = time.monotonic() + 120
        while time.monotonic() < patience and not (log.exists() and log.read_text().count("\n") > 2):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped" in err
    assert "Traceback" not in err
    assert Path("runs/tiny/state.pt").exists()
    assert Path("runs/tiny/tiny-last.safetensors").exists()


def test_an_ablation_compares_variants_and_goes_on_where_it_was() -> None:
    call = ("ablate", "tiny.toml", "--vary", "network.scan_pattern=nested,raster", "-o", "abl")
    ran = mair(*call)
    assert ran.code == 0
    assert "scan_pattern=raster" in ran.text
    assert {"ablation.csv", "ablation.json", "scan_pattern=nested/state.pt"} <= files("abl")
    table = Path("abl/ablation.csv").read_text()
    assert mair(*call).code == 0
    assert Path("abl/ablation.csv").read_text() == table


def test_scan_orders_are_drawn_without_a_recipe() -> None:
    assert mair("ablate", "--draw-orders", "pictures").code == 0
    assert "scan-nested.svg" in files("pictures")
    refused = mair("ablate")
    assert refused.code == 2
    assert "recipe" in refused.err
    assert mair("ablate", "tiny.toml", "--vary", "network.scan_pattern").code == 2
