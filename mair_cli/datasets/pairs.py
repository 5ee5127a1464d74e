"""Finds ground truth and inputs in a folder of benchmark images, whatever its layout, and says what does not fit.

Layouts understood:

    image_SRF_4/img_001_SRF_4_HR.png, …_LR.png          pairs by name, one folder per scale (also that folder itself)
    HR/0801.png, LR_bicubic/X4/0801x4.png                ground truth and low resolution in folders of their own
    target/…, input/…                                    pairs for real noise, blur and haze, under several usual names
    ValidationNoisyBlocksSrgb.mat, ValidationGtBl…       SIDD's validation blocks
    *.png                                                a bare folder of ground truth: inputs are made from it

Nothing here opens an image: a broken file shows when it is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mair_cli.datasets.mat_files import SIDD_NOISY, SIDD_TRUTH, block_count, is_dnd
from mair_cli.errors import ImageError, UsageError
from mair_cli.tasks import TASKS

__all__ = ["Listing", "Sample", "find_samples"]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
_TRUTH_FOLDERS = ("hr", "gt", "gtmod12", "original", "target", "targets", "groundtruth", "sharp", "clear", "clean")
_INPUT_FOLDERS = ("input", "inputs", "noisy", "blur", "blurry", "hazy", "haze", "degraded", "lq")
_PAIR_NAME = re.compile(r"(?P<stem>.+)_SRF_(?P<scale>\d)_(?P<kind>HR|LR)", re.IGNORECASE)


@dataclass(frozen=True)
class Sample:
    """One benchmark image.

    Attributes:
        name: short name for tables, unique within its listing.
        truth: file of the ground truth.
        degraded: file of the input; None where it is made from the ground truth.
        block: which of the blocks that both files hold (`mat_files`); None for image files.
    """

    name: str
    truth: Path
    degraded: Path | None = None
    block: int | None = None


@dataclass
class Listing:
    """What a folder holds.

    Attributes:
        samples: the images that can be measured, in the order of their names.
        problems: one sentence for each file that can't be used, naming it.
        notes: what was assumed, one sentence each.
    """

    samples: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_samples(folder: Path, task: str, scale: int = 1) -> Listing:
    """List the images of a benchmark folder.

    Args:
        folder: see the layouts above.
        task: a name in `mair_cli.tasks.TASKS`: its `inputs` say whether pairs are looked for, or ground truth only.
        scale: enlargement, for tasks that enlarge.

    Returns:
        Samples, problems and notes. Hidden files are passed over without a word.

    Raises:
        UsageError: the folder is not there, or holds nothing that can be measured; the problems found are quoted.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder")
    listing = _list(folder, task, scale)
    if not listing.samples:
        shown = "; ".join(listing.problems[:3]) or "it holds no image"
        degree = f" x{scale}" if TASKS[task].enlarges else ""
        raise UsageError(f"{folder}: nothing to measure for {task}{degree}: {shown}")
    listing.samples.sort(key=lambda sample: _natural(sample.name))
    return listing


def _list(folder: Path, task: str, scale: int) -> Listing:
    named = _named_pair_folder(folder, task, scale)
    if named is not None:
        return _named_pairs(*named, task, scale)
    truths = _subfolder(folder, _TRUTH_FOLDERS) or _subfolder(folder, ("div2k_valid_hr",))
    if TASKS[task].inputs == "reduced":
        smalls = _low_resolution_folder(folder, scale)
        if truths is not None and smalls is not None:
            return _folder_pairs(truths, smalls, lambda path: _small_key(path, scale))
        listing = _bare(truths or folder)
        listing.notes.append(f"low-resolution inputs are made from the ground truth by MATLAB's bicubic, x{scale}")
        return listing
    if TASKS[task].inputs != "given":
        return _bare(truths or folder)
    return _given_pairs(folder, truths)


def _given_pairs(folder: Path, truths: Path | None) -> Listing:
    """Inputs that come with the set."""
    if (folder / SIDD_TRUTH).is_file() and (folder / SIDD_NOISY).is_file():
        return _blocks(folder / SIDD_TRUTH, folder / SIDD_NOISY)
    inputs = _subfolder(folder, _INPUT_FOLDERS)
    if truths is None or inputs is None:
        listing = Listing()
        only_server = "only DND's server has its ground truth: `dnd_bundle` writes what it takes"
        listing.problems.append(
            only_server if is_dnd(folder) else "pairs in two folders are needed, such as input/ and target/"
        )
        return listing
    return _folder_pairs(truths, inputs, _plain_key)


# ------------------------------------------------------------------------------------------ files and names


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sorts img_2 before img_10."""
    parts = re.findall(r"\d+|\D+", name.lower())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts], name


def _files(folder: Path, problems: list[str]) -> list[Path]:
    """Image files of a folder; anything else that is not hidden becomes a problem."""
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: _natural(path.name)):
        if path.name.startswith(".") or path.name.lower() in {"thumbs.db", "desktop.ini"} or path.is_dir():
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES:
            found.append(path)
        else:
            problems.append(f"{path.name}: not an image, left out")
    return found


def _subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    children = {child.name.lower(): child for child in sorted(folder.iterdir(), reverse=True) if child.is_dir()}
    return next((children[name] for name in names if name in children), None)


def _low_resolution_folder(folder: Path, scale: int) -> Path | None:
    for parent_name in ("lr_bicubic", "lr", "div2k_valid_lr_bicubic"):
        parent = _subfolder(folder, (parent_name,))
        if parent is not None:
            inner = _subfolder(parent, (f"x{scale}",))
            if inner is not None:
                return inner
    names = (f"lrbicx{scale}", f"lr_bicubic_x{scale}", f"lr_x{scale}", f"lrx{scale}", f"x{scale}")
    return _subfolder(folder, names)


def _plain_key(path: Path) -> str:
    return re.sub(r"[_-](hr|gt)$", "", path.stem.lower())


def _small_key(path: Path, scale: int) -> str:
    stem = re.sub(rf"[_-]?x{scale}$", "", path.stem.lower())
    stem = re.sub(r"[_-](lr|bicubic)$", "", stem)
    return re.sub(rf"[_-]?x{scale}$", "", stem)


def _keyed(paths: Iterable[Path], key: Callable[[Path], str], problems: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        first = found.setdefault(key(path), path)
        if first is not path:
            problems.append(f"{path.name}: a second file of the same name as {first.name}, left out")
    return found


# ------------------------------------------------------------------------------------------ layouts


def _bare(folder: Path) -> Listing:
    """Every image is ground truth."""
    listing = Listing()
    paths = _files(folder, listing.problems)
    stems = [path.stem for path in paths]
    listing.samples = [Sample(path.stem if stems.count(path.stem) == 1 else path.name, path) for path in paths]
    return listing


def _blocks(truth: Path, noisy: Path) -> Listing:
    """SIDD's validation blocks, numbered through; what cannot be read is a problem."""
    listing = Listing()
    try:
        count = block_count(truth)
        if block_count(noisy) != count:
            listing.problems.append(f"{noisy.name} and {truth.name} hold different numbers of blocks")
            return listing
    except ImageError as error:
        listing.problems.append(str(error))
        return listing
    listing.samples = [Sample(f"block {number + 1:04}", truth, noisy, number) for number in range(count)]
    return listing


def _folder_pairs(truths: Path, inputs: Path, input_key: Callable[[Path], str]) -> Listing:
    """Ground truth and inputs in two folders. Several inputs may share one ground truth.

    `1400_1` goes with `1400`, and SOTS-outdoor's `0001_0.8_0.2` with `0001`.
    """
    listing = Listing()
    truth_of = _keyed(_files(truths, listing.problems), _plain_key, listing.problems)
    input_of = _keyed(_files(inputs, listing.problems), input_key, listing.problems)
    used = set()
    for key, path in input_of.items():
        parts = key.split("_")
        names = ("_".join(parts[:length]) for length in range(len(parts), 0, -1))
        partner = next((name for name in names if name in truth_of), None)
        if partner is not None:
            used.add(partner)
            listing.samples.append(
                Sample(truth_of[partner].stem if partner == key else path.stem, truth_of[partner], path)
            )
        else:
            listing.problems.append(
                f"{inputs.name}/{path.name}: no ground truth of that name in {truths.name}, left out"
            )
    for key, path in truth_of.items():
        if key not in used:
            listing.problems.append(f"{truths.name}/{path.name}: no input of that name in {inputs.name}, left out")
    return listing


def _named_pair_folder(folder: Path, task: str, scale: int) -> tuple[Path, int] | None:
    """Folder and scale of `…_SRF_4_HR.png` files to use; the right scale if it is there, else the smallest."""
    if TASKS[task].inputs == "given":
        return None
    if any(_PAIR_NAME.fullmatch(path.stem) for path in folder.iterdir() if path.is_file()):
        scales = {int(match["scale"]) for path in folder.iterdir() if (match := _PAIR_NAME.fullmatch(path.stem))}
        return folder, scale if scale in scales else min(scales)
    found = {}
    for child in folder.iterdir():
        match = re.fullmatch(r"image_SRF_(\d)", child.name, re.IGNORECASE)
        if match and child.is_dir():
            found[int(match[1])] = child
    if not found:
        return None
    chosen = scale if scale in found else min(found)
    return found[chosen], chosen


def _named_pairs(folder: Path, named_scale: int, task: str, scale: int) -> Listing:
    """Pairs such as `img_001_SRF_4_HR.png` and `img_001_SRF_4_LR.png` in one folder."""
    listing = Listing()
    files: dict[str, dict[str, Path]] = {"HR": {}, "LR": {}}
    for path in _files(folder, listing.problems):
        match = _PAIR_NAME.fullmatch(path.stem)
        if match is None:
            listing.problems.append(f"{path.name}: not named like the others (…_SRF_{named_scale}_HR), left out")
        elif int(match["scale"]) == named_scale:
            files[match["kind"].upper()].setdefault(match["stem"], path)
    needs_input = TASKS[task].enlarges and named_scale == scale
    if TASKS[task].enlarges and not needs_input:
        listing.notes.append(
            f"no pairs for x{scale}: inputs are made from the ground truth in {folder.name} by MATLAB's bicubic"
        )
    for stem, truth in files["HR"].items():
        small = files["LR"].get(stem)
        if needs_input and small is None:
            listing.problems.append(
                f"{truth.name}: no low-resolution partner {truth.name.replace('_HR', '_LR')}, left out"
            )
        else:
            listing.samples.append(Sample(stem, truth, small if needs_input else None))
    for stem, small in files["LR"].items():
        if stem not in files["HR"]:
            listing.problems.append(f"{small.name}: no ground truth {small.name.replace('_LR', '_HR')}, left out")
    return listing
