"""Benchmark images among training images are found, however they were changed; strangers are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tiny_runs import texture

from mair_cli.training.patches import turned
from mair_cli.training.studies.contamination import find_contamination
from mair_cli.training.studies.keypoints import find_keypoints, turned_descriptions, turned_positions

Pixels = npt.NDArray[np.uint8]


def resized(image: Pixels, factor: float) -> Pixels:
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "same": lambda image: image,
    "crop": lambda image: image[20:160, 60:240],
    "shrunk crop": lambda image: resized(image[10:190, 30:250], 0.6),
    "enlarged crop": lambda image: resized(image[40:170, 50:200], 1.7),
    "mirrored": lambda image: image[:, ::-1],
    "turned crop": lambda image: np.rot90(image[:170, :200]),
    "transposed and shrunk": lambda image: resized(np.ascontiguousarray(image.transpose(1, 0, 2)), 0.7),
    "darker": lambda image: (image * 0.6 + 20).astype(np.uint8),
    "gray": lambda image: image.mean(axis=2).round().astype(np.uint8),
}


@pytest.fixture(scope="module")
def forbidden(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bench")
    for seed in (100, 101):
        Image.fromarray(texture(seed, 200, 260)).save(folder / f"{seed}.png")
    return sorted(folder.iterdir())


def test_planted_images_are_found_whatever_was_done_to_them_and_strangers_are_not(
    tmp_path: Path, forbidden: list[Path]
) -> None:
    training = []
    for seed, path in zip((100, 101), forbidden, strict=True):
        for name, change in CHANGES.items():
            training.append(tmp_path / f"{path.stem} {name}.jpg")
            Image.fromarray(np.ascontiguousarray(change(texture(seed, 200, 260)))).save(training[-1], quality=80)
    for seed in range(5):
        training.append(tmp_path / f"stranger {seed}.png")
        Image.fromarray(texture(seed, 200, 260)).save(training[-1])
    looked_at: list[None] = []
    matches = find_contamination(training, forbidden, on_image=lambda: looked_at.append(None))
    found = {(match.training.name, match.forbidden.stem) for match in matches}
    assert found == {(path.name, path.name[:3]) for path in training if not path.name.startswith("stranger")}
    assert all(0.65 <= match.similarity <= 1.0001 for match in matches)
    assert len(looked_at) == len(training) + len(forbidden)


def test_flat_and_tiny_images_match_nothing(tmp_path: Path, forbidden: list[Path]) -> None:
    paths = [tmp_path / "flat.png", tmp_path / "tiny.png", tmp_path / "line.png"]
    for path, size in zip(paths, ((64, 64), (3, 2), (300, 1)), strict=True):
        Image.new("RGB", size, (90, 120, 30)).save(path)
    assert find_contamination(paths, [*forbidden, *paths]) == []


@pytest.mark.parametrize("turn", range(8))
def test_spots_of_a_turned_image_are_the_turned_spots(turn: int) -> None:
    image = texture(7, 120, 150)
    plain, changed = find_keypoints(image), find_keypoints(np.ascontiguousarray(turned(image, turn)))
    expected = turned_positions(plain.position, plain.size, turn)
    distance = np.linalg.norm(expected[:, None] - changed.position[None], axis=2)
    nearest = distance.argmin(1)
    close = distance.min(1) < 1.5
    assert close.mean() > 0.8
    likeness = (turned_descriptions(plain.description, turn) * changed.description[nearest]).sum(1)
    assert np.median(likeness[close]) > 0.95


@pytest.mark.slow
def test_known_overlaps_of_real_benchmark_sets_are_found(corpus: Path) -> None:
    """Set14 holds larger pictures of two of the five of Set5: the head and the butterfly."""
    set5 = sorted((corpus / "bench" / "Set5" / "image_SRF_4").glob("*_HR.png"))
    set14 = sorted((corpus / "bench" / "Set14" / "image_SRF_4").glob("*_HR.png"))
    matches = find_contamination(set14, set5)
    assert {(match.training.stem[:7], match.forbidden.stem[:7]) for match in matches} == {
        ("img_006", "img_004"),
        ("img_011", "img_003"),
    }


@pytest.mark.slow
def test_no_benchmark_image_is_among_the_training_images(corpus: Path) -> None:
    bench = [path for path in sorted((corpus / "bench").rglob("*.png")) if not path.name.endswith("_LR.png")]
    assert find_contamination(sorted((corpus / "train").glob("*.webp")), bench) == []
