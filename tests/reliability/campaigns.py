"""What attackers, full disks and sudden ends do to `mair`, at random: `python tests/reliability/campaigns.py --help`.

Each campaign makes a number of trials from a seed and tells what went wrong. `docs/reliability.md` has the counts.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from children import Ended, Kill, failing_disk, limit_memory, mair, start, wait
from PIL import Image

from mair_cli.errors import CheckpointError, ImageError
from mair_cli.images.io import read_picture
from mair_cli.restore.restorer import Restorer
from mair_cli.restore.settings import RunSettings
from mair_cli.training.state import load_state
from mair_cli.weights.checkpoint import load_checkpoint, save_checkpoint

REFERENCE = Path(__file__).parents[1] / "reference"
WEIGHTS = REFERENCE / "light_d1_x4.pth"
TINY = ("--weights", WEIGHTS, "--stripe", 8, "--threads", 1)
FORMATS = ("png", "jpg", "webp", "tiff", "gif", "bmp", "avif", "jp2", "ppm")
RECIPE = """name = "tiny"
task = "sr"
output = "run"
[network]
upscale = 2
embed_dim = 8
depths = [1]
ssm_ratio = 1.0
mlp_ratio = 1.0
scan_len = 4
[data]
images = ["images"]
patch = 8
batch = 2
[training]
steps = 30
save_every = 3
log_every = 2
warmup = 2
threads = 1
[validation]
holdout = 1
every = 10
"""

T = TypeVar("T")
Campaign = Callable[[int, int, Path], list[str]]
CAMPAIGNS: dict[str, Campaign] = {}


def campaign(name: str) -> Callable[[Campaign], Campaign]:
    """Enters a campaign: a function of seed, trials and an empty folder that returns failures, a line each."""

    def enter(function: Campaign) -> Campaign:
        CAMPAIGNS[name] = function
        return function

    return enter


# ------------------------------------------------------------------------------------------ material


def drawing(rng: np.random.Generator, height: int = 24, width: int = 32) -> Image.Image:
    """A soft picture with some grain."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 80 * np.sin(x / rng.uniform(2, 9)) * np.cos(y / rng.uniform(2, 9)) for _ in range(3)]
    values = np.stack(waves, axis=-1) + rng.normal(0, 6, (height, width, 3))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def pictures(folder: Path, rng: np.random.Generator, count: int = 6, side: int = 24) -> Path:
    """A folder of pictures of several formats."""
    folder.mkdir(parents=True)
    for index in range(count):
        drawing(rng, side + index, side + 8).save(folder / f"{index}.{FORMATS[index % 4]}")
    return folder


def contents(folder: Path, hidden: bool = False) -> dict[str, bytes]:
    """Files below a folder; with `hidden`, those of our temporary names too."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if hidden or not path.name.startswith(".mair-")}


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with a few changed, cut out, repeated, moved or lost."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at, length = int(rng.integers(0, len(changed) + 1)), int(rng.integers(1, 40))
        kind = int(rng.integers(0, 6))
        if kind == 0:
            changed[at : at + 1] = rng.bytes(1)
        elif kind == 1:
            changed[at : at + 4] = int(rng.integers(0, 2**32)).to_bytes(4, "little")
        elif kind == 2:
            del changed[at:]
        elif kind == 3:
            del changed[at : at + length]
        elif kind == 4:
            changed[at:at] = changed[max(0, at - length) : at] * int(rng.integers(1, 50))
        else:
            other = int(rng.integers(0, len(changed) + 1))
            changed[at : at + length] = changed[other : other + length]
    return bytes(changed)


@contextmanager
def small_disk(folder: Path, kibibytes: int, read_only: bool = False) -> Iterator[Path]:
    """A file system of that size; needs the right to mount."""
    folder.mkdir(exist_ok=True)
    options = f"size={kibibytes}k" + (",ro" if read_only else "")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fresh(folder: Path) -> Path:
    """The folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def ready_to_train(folder: Path, rng: np.random.Generator) -> Path:
    """The folder with nothing but pictures and a recipe, r.toml."""
    pictures(fresh(folder) / "images", rng, side=32)
    (folder / "r.toml").write_text(RECIPE)
    return folder


def some_signal(rng: np.random.Generator) -> int:
    """An end of one kind or another."""
    return int(rng.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM]))


def after_kill(ended: Ended, kill: Kill) -> list[str]:
    """What is wrong with a child that was killed, or was quicker."""
    return ended.faults(0, 128 + kill.number, -kill.number)


# ------------------------------------------------------------------------------------------ interruptions


@campaign("folders restored, killed at a random moment, then gone on with")
def interrupted_restoring(seed: int, trials: int, folder: Path) -> list[str]:
    """No half-written picture, nothing left unless killed outright, and the second run completes the first."""
    rng = np.random.default_rng(seed)
    pictures(folder / "work" / "in", rng)
    command = ("upscale", "in", "-o", "out", *TINY, "-q")
    whole = mair(folder / "work", *command)
    failures, wanted = whole.faults(0), contents(folder / "work" / "out")
    for trial in range(trials):
        fresh(folder / "work" / "out")
        kill = Kill(some_signal(rng), rng.uniform(0, whole.seconds))
        ended = mair(folder / "work", *command, kill=kill)
        found = contents(folder / "work" / "out", hidden=kill.number != signal.SIGKILL)
        wrong = [name for name, data in found.items() if wanted.get(name) != data]
        failures += [f"{trial}: {fault}" for fault in after_kill(ended, kill)] + [f"{trial}: left {wrong}"] * bool(
            wrong
        )
        again = mair(folder / "work", *command, "--skip-existing")
        failures += [f"{trial}, again: {fault}" for fault in again.faults(0)]
        if contents(folder / "work" / "out") != wanted:
            failures.append(f"{trial}, again: other results")
    return failures


@campaign("trainings killed at a random moment, then resumed")
def interrupted_training(seed: int, trials: int, folder: Path) -> list[str]:
    """Resumed as often as it takes, a run ends with the very weights of one that nobody interrupted."""
    rng = np.random.default_rng(seed)
    work = ready_to_train(folder / "work", rng)
    whole = mair(work, "train", "r.toml", "-q", "-o", "whole")
    failures = whole.faults(0)
    wanted = load_state(work / "whole" / "state.pt").network
    for trial in range(trials):
        shutil.rmtree(work / "run", ignore_errors=True)
        for _ in range(int(rng.integers(1, 4))):
            kill = Kill(some_signal(rng), rng.uniform(0, whole.seconds))
            resume = ("--resume",) if (work / "run" / "state.pt").exists() else ()
            ended = mair(work, "train", "r.toml", "-q", *resume, kill=kill)
            failures += [f"{trial}: {fault}" for fault in after_kill(ended, kill)]
        resume = ("--resume",) if (work / "run" / "state.pt").exists() else ()
        failures += [f"{trial}, again: {fault}" for fault in mair(work, "train", "r.toml", "-q", *resume).faults(0)]
        found = load_state(work / "run" / "state.pt").network
        if not all(bool((found[name] == wanted[name]).all()) for name in wanted):
            failures.append(f"{trial}: other weights")
    return failures


@campaign("benchmarks killed at a random moment, then gone on with")
def interrupted_benchmarks(seed: int, trials: int, folder: Path) -> list[str]:
    """The second run has the figures of one that nobody interrupted."""
    rng = np.random.default_rng(seed)
    work = fresh(folder / "work")
    pictures(work / "set", rng, side=48)
    command = (
        "benchmark",
        "-d",
        "set",
        "-m",
        "bicubic",
        *TINY,
        "--json",
        "report.json",
        "--save-images",
        "saved",
        "-q",
    )
    whole = mair(work, *command)
    failures, wanted = whole.faults(0), _figures(work / "report.json")
    for trial in range(trials):
        kill = Kill(some_signal(rng), rng.uniform(0, whole.seconds))
        failures += [f"{trial}: {fault}" for fault in after_kill(mair(work, *command, kill=kill), kill)]
        failures += [f"{trial}, again: {fault}" for fault in mair(work, *command).faults(0)]
        if _figures(work / "report.json") != wanted:
            failures.append(f"{trial}: other figures")
    return failures


def _figures(report: Path) -> list[object]:
    rows = json.loads(report.read_text())["images"]
    return [[row["image"], row["method"], row["psnr_y"], row["ssim_rgb"]] for row in rows]


# ------------------------------------------------------------------------------------------ damaged and hostile files


def attempt(
    load: Callable[[], T], refusal: type[Exception], named: str, breaks: int | None = 1
) -> tuple[T | None, list[str]]:
    """What loading gives, or None, and what is wrong with how it was refused.

    A refusal is of one kind, names the file, and has at most so many line breaks (None: any number).
    """
    try:
        return load(), []
    except refusal as error:
        right = named in str(error) and (breaks is None or str(error).count("\n") <= breaks)
        return None, [] if right else [str(error)]
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return None, [f"{type(error).__name__}: {error}"]


@campaign("pictures with random damage, read")
def damaged_pictures(seed: int, trials: int, folder: Path) -> list[str]:
    """Read in part, or refused in one line that names the file; never slow, never another error."""
    rng = np.random.default_rng(seed)
    del folder
    files = []
    for form in FORMATS:
        out = io.BytesIO()
        exif = Image.Exif()
        exif[274], exif[271] = 6, "maker"
        more = {"exif": exif} if form in ("jpg", "webp", "png", "avif", "tiff") else {}
        name = {"jpg": "JPEG", "jp2": "JPEG2000", "ppm": "PPM", "tiff": "TIFF"}.get(form, form.upper())
        drawing(rng, 13, 17).save(out, name, **more)
        files.append(out.getvalue())
    failures = []
    for trial in range(trials):
        data = mutated(files[trial % len(files)], rng)
        began = time.monotonic()
        load = partial(read_picture, io.BytesIO(data), "NAME", 4_000_000, allow_truncated=bool(trial % 2))
        _, faults = attempt(load, ImageError, "NAME", breaks=0)
        failures += [f"{trial}: {fault}" for fault in faults]
        if time.monotonic() - began > 20:
            failures.append(f"{trial}: took {time.monotonic() - began:.0f} s")
    return failures


@campaign("checkpoints with random damage, loaded")
def damaged_checkpoints(seed: int, trials: int, folder: Path) -> list[str]:
    """Refused in one line, or harmless: files of ours, which carry a checksum, load only if they are what was saved."""
    rng = np.random.default_rng(seed)
    sound = load_checkpoint(WEIGHTS, stripe=8)
    save_checkpoint(folder / "ours.safetensors", sound.state_dict, sound.config, {"note": "x"})
    kinds = [WEIGHTS.read_bytes(), (folder / "ours.safetensors").read_bytes()]
    failures = []
    for trial in range(trials):
        path = folder / "damaged.pth"
        path.write_bytes(mutated(kinds[trial % 2], rng))
        found, faults = attempt(partial(load_checkpoint, path, stripe=8), CheckpointError, str(path))
        failures += [f"{trial}: {fault}" for fault in faults]
        if found is not None:
            same = all(bool((found.state_dict[name] == value).all()) for name, value in sound.state_dict.items())
            if trial % 2 and not same:
                failures.append(f"{trial}: loaded with other numbers")
    return failures


@campaign("training states with random damage, loaded")
def damaged_states(seed: int, trials: int, folder: Path) -> list[str]:
    """Refused in one line: a state carries a checksum."""
    rng = np.random.default_rng(seed)
    work = ready_to_train(folder / "work", rng)
    failures = mair(work, "train", "r.toml", "-q", "--set", "training.steps=3").faults(0)
    path = work / "run" / "state.pt"
    data = path.read_bytes()
    for trial in range(trials):
        changed = mutated(data, rng)
        path.write_bytes(changed)
        found, faults = attempt(partial(load_state, path), CheckpointError, str(path))
        failures += [f"{trial}: {fault}" for fault in faults]
        if found is not None and changed != data:
            failures.append(f"{trial}: loaded although changed")
    return failures


@campaign("hostile pickles of random instructions, loaded")
def hostile_pickles(seed: int, trials: int, folder: Path) -> list[str]:
    """No code runs, nothing is imported, no memory is filled, and the answer is one line."""
    rng = np.random.default_rng(seed)
    seen: list[str] = []
    sys.addaudithook(lambda event, _: seen.append(event) if event in _FORBIDDEN else None)
    failures = []
    for trial in range(trials):
        path = folder / "hostile.pth"
        _write_pickle(path, _random_pickle(rng, folder / "canary"), rng)
        seen.clear()
        began = time.monotonic()
        found, faults = attempt(partial(load_checkpoint, path), CheckpointError, str(path), breaks=None)
        failures += [f"{trial}: {fault}" for fault in faults] + [f"{trial}: loaded"] * (found is not None)
        if seen or (folder / "canary").exists() or time.monotonic() - began > 20:
            failures.append(f"{trial}: {seen or 'the canary'} after {time.monotonic() - began:.0f} s")
    return failures


_FORBIDDEN = frozenset({"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "os.fork"})
_CALLS = ("os\nsystem", "posix\nsystem", "builtins\neval", "builtins\nexec", "subprocess\nPopen", "torch\nload")
_HARMLESS = ("collections\nOrderedDict", "torch._utils\n_rebuild_tensor_v2", "torch\nFloatStorage", "builtins\ngetattr")


def _random_pickle(rng: np.random.Generator, canary: Path) -> bytes:
    """A program of random instructions, now and then a call of what does harm."""
    command = f"touch {canary}".encode()
    parts = [b"\x80\x02"]
    for _ in range(int(rng.integers(1, 40))):
        kind = int(rng.integers(0, 12))
        if kind < 3:
            name = str(rng.choice(_CALLS if kind < 2 else _HARMLESS))
            parts.append(b"c" + name.encode() + b"\n")
        elif kind < 5:
            parts.append(b"X" + len(command).to_bytes(4, "little") + command)
        elif kind < 6:
            parts.append(b"\x85R")
        elif kind < 7:
            parts.append(bytes([int(rng.choice(list(b"()]}0123N.tRbsudaeqrhj\x81\x85\x86\x87\x88Q")))]))
        elif kind < 8:
            parts.append(pickle.dumps([[1.5] * int(rng.integers(9)), {"a": None}], int(rng.integers(0, 5)))[2:-1])
        elif kind < 9:
            parts.append(bytes([int(rng.integers(256))]) + rng.bytes(int(rng.integers(9))))
        elif kind < 10:
            parts.append(b"\x8d" + int(rng.integers(2**62)).to_bytes(8, "little"))
        else:
            parts.append(b"(" if kind == 10 else b"t")
    return b"".join(parts) + b"."


def _write_pickle(path: Path, program: bytes, rng: np.random.Generator) -> None:
    if rng.random() < 0.3:
        head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
        path.write_bytes(head + pickle.dumps({}, 2) + program + pickle.dumps([], 2))
        return
    method = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr(str(rng.choice(["a/data.pkl", "../data.pkl", "a/DATA.pkl"], p=[0.8, 0.1, 0.1])), program)
        file.writestr("a/version", b"3\n")
        if rng.random() < 0.1:
            file.writestr("a/constants.pkl", program)


# ------------------------------------------------------------------------------------------ disks and memory


@campaign("restoring, benchmark and training onto a full disk of 64 to 1024 KiB (tmpfs)")
def full_disks(seed: int, trials: int, folder: Path) -> list[str]:
    """Pictures that fit are whole, the others told in a line; inputs and earlier results stay as they were."""
    rng = np.random.default_rng(seed)
    failures = []
    for trial in range(trials):
        work = fresh(folder / "work")
        with small_disk(work / "disk", int(rng.integers(64, 1024))) as disk:
            failures += [f"{trial}: {fault}" for fault in _use_disk(work, disk, rng, trial % 3)]
    return failures


def _use_disk(work: Path, disk: Path, rng: np.random.Generator, kind: int) -> list[str]:
    pictures(work / "in", rng, side=64)
    before = contents(work / "in")
    if kind == 0:
        ended = mair(work, "upscale", "in", "-o", "disk/out", *TINY, "-q")
        failures = ended.faults(0, 1, 2)
        for path in disk.rglob("*.*"):
            try:
                read_picture(path)
            except ImageError as error:
                failures.append(f"half written: {error}")
    elif kind == 1:
        cache = {"MAIR_CACHE_DIR": str(disk / "cache")}
        ended = mair(
            work,
            "benchmark",
            "-d",
            "in",
            "-m",
            "bicubic",
            "--json",
            "r.json",
            "-q",
            before=lambda: os.environ.update(cache),
        )
        failures = ended.faults(0)
    else:
        (work / "r.toml").write_text(RECIPE)
        ended = mair(work, "train", "r.toml", "--images", "in", "-o", "disk/run", "-q")
        failures = ended.faults(0, 1)
        state = disk / "run" / "state.pt"
        if state.exists():
            load_state(state)
    return failures if contents(work / "in") == before else [*failures, "inputs were changed"]


@campaign("restoring and training onto a disk that may only be read")
def read_only_disks(seed: int, trials: int, folder: Path) -> list[str]:
    """One line, before anything else."""
    rng = np.random.default_rng(seed)
    failures = []
    for trial in range(trials):
        work = fresh(folder / "work")
        with small_disk(work / "disk", 1024, read_only=True) as disk:
            failures += [f"{trial}: {fault}" for fault in _use_disk(work, disk, rng, trial % 3)]
    return failures


@campaign("disk errors (EIO, ENOSPC, EDQUOT, EROFS, EFBIG) from a random call on")
def failing_disks(seed: int, trials: int, folder: Path) -> list[str]:
    """What is there under its name is whole; what is not is told in a line, and exit code 1."""
    rng = np.random.default_rng(seed)
    work = fresh(folder / "work")
    pictures(work / "in", rng, 4)
    wanted_run = mair(work, "upscale", "in", "-o", "whole", *TINY, "-q")
    failures, wanted = wanted_run.faults(0), contents(work / "whole")
    for trial in range(trials):
        fresh(work / "out")
        ended = mair(work, "upscale", "in", "-o", "out", *TINY, "-q", before=failing_disk(int(rng.integers(2**31))))
        found = contents(work / "out", hidden=True)
        failures += [f"{trial}: {fault}" for fault in ended.faults(0, 1)]
        if any(wanted.get(name) != data for name, data in found.items()):
            failures.append(f"{trial}: half-written {sorted(found)}")
        if (ended.code == 0) is not (found == wanted):
            failures.append(f"{trial}: exit code {ended.code} with {len(found)} of {len(wanted)} results")
    return failures


@campaign("restoring with 16 to 400 MiB of memory more than a first picture has taken (ulimit -v)")
def little_memory(seed: int, trials: int, folder: Path) -> list[str]:
    """Smaller tiles, or a line for each picture; never a crash, never a wrong result.

    A first picture is restored without a limit: LLVM aborts, and OpenBLAS waits for ever, when memory runs out while
    they are loaded, which no Python code can prevent.
    """
    rng = np.random.default_rng(seed)
    work = fresh(folder / "work")
    pictures(work / "in", rng, 2)
    command = ("upscale", "in", "-o", "out", *TINY, "-q")
    failures = mair(work, *command).faults(0)
    wanted = contents(work / "out")
    for trial in range(trials):
        fresh(work / "out")
        limit = limit_memory(int(rng.integers(16, 400)))

        def before(limit: Callable[[], None] = limit) -> None:
            first = Restorer(RunSettings(weights=WEIGHTS, stripe=8, threads=1))
            first(np.zeros((16, 16, 3), np.uint8))
            limit()

        ended = mair(work, *command, before=before)
        found = contents(work / "out", hidden=True)
        failures += [f"{trial}: {fault}" for fault in ended.faults(0, 1)]
        for name in found:
            largest = np.abs(_pixels(found[name]) - _pixels(wanted[name])).max()
            if largest > 8 and not name.endswith(("jpg", "webp")):  # smaller tiles differ a little
                failures.append(f"{trial}: {name} differs by {largest}")
    return failures


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


# ------------------------------------------------------------------------------------------ side by side


@campaign("three equal runs at once (restoring, benchmark, import of weights)")
def side_by_side(seed: int, trials: int, folder: Path) -> list[str]:
    """Each ends well, or says that another has the place; what is there afterwards is whole."""
    rng = np.random.default_rng(seed)
    work = fresh(folder / "work")
    pictures(work / "in", rng, 4)
    failures = mair(work, "upscale", "in", "-o", "whole", *TINY, "-q").faults(0)
    wanted = contents(work / "whole")
    commands = (
        ("upscale", "in", "-o", "out", *TINY, "-q", "--overwrite"),
        ("benchmark", "-d", "in", "-m", "bicubic", *TINY, "--json", "r.json", "--save-images", "saved", "-q"),
        ("train", "r.toml", "--images", "in", "-q", "--set", "training.steps=6"),
    )
    (work / "r.toml").write_text(RECIPE)
    for trial in range(trials):
        for name in ("out", "run", "saved"):
            shutil.rmtree(work / name, ignore_errors=True)
        kind = trial % 3
        children = []
        for _ in range(3):
            children.append(start(work, *commands[kind]))
            time.sleep(rng.uniform(0, 0.3))
        ends = [wait(*child) for child in children]
        # Of several trainings in a folder one goes on; the others are told so.
        codes = (0, 1, 2) if kind == 2 else (0,)
        failures += [f"{trial}: {fault}" for ended in ends for fault in ended.faults(*codes)]
        if kind == 0 and contents(work / "out", hidden=True) != wanted:
            failures.append(f"{trial}: other results")
        if kind == 2:
            failures += [] if [ended.code for ended in ends].count(0) == 1 else [f"{trial}: {ends}"]
            load_state(work / "run" / "state.pt")
    return failures


def main() -> None:
    """Run campaigns and print a row of a table for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("names", nargs="*", help="beginnings of campaigns' names; default: all")
    chosen = parser.parse_args()
    found = 0
    for name, run in CAMPAIGNS.items():
        if chosen.names and not name.startswith(tuple(chosen.names)):
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            os.environ["MAIR_CACHE_DIR"], os.environ["MAIR_OFFLINE"] = f"{folder}/cache", "1"
            failures = run(chosen.seed, chosen.trials, fresh(Path(folder) / "campaign"))
        line = f"| {name} | {chosen.trials} | {len(failures)} | {time.monotonic() - began:.0f} s |"
        found += len(failures)
        print("\n".join([line, *(f"    {failure}" for failure in failures[:20])]), flush=True)  # noqa: T201
    sys.exit(int(found > 0))


if __name__ == "__main__":
    main()
