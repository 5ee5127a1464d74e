"""Planning a run, and restoring one image of it, with a real (tiny, random) network."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mair_cli.errors import UsageError
from mair_cli.images.io import Picture
from mair_cli.jobs.batch import Outcome, Streams, Treatment, restore_job
from mair_cli.jobs.naming import Source
from mair_cli.jobs.plan import Job, Request, earlier_results, plan
from mair_cli.networks import MaIRConfig, build_network
from mair_cli.networks.settings import config_from_mapping
from mair_cli.restore.pictures import restore_picture
from mair_cli.restore.restorer import Restorer
from mair_cli.restore.settings import AlphaChoice
from mair_cli.weights.checkpoint import save_checkpoint

SMALL = {
    "embed_dim": 8,
    "depths": [1],
    "d_state": 1,
    "ssm_ratio": 1.0,
    "mlp_ratio": 1.0,
    "scan_len": 4,
    "img_range": 1.0,
    "resi_connection": "1conv",
}


@pytest.fixture(scope="module")
def enlarger(tmp_path_factory: pytest.TempPathFactory) -> Restorer:
    """Doubles pictures."""
    return _restorer(tmp_path_factory, "sr", {"upscale": 2, "upsampler": "pixelshuffledirect"})


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Restorer:
    """Is told the noise level, and estimates it."""
    return _restorer(tmp_path_factory, "denoise", {"upscale": 1, "upsampler": None, "noise_level_map": True})


def _restorer(factory: pytest.TempPathFactory, task: str, settings: dict[str, object]) -> Restorer:
    config = config_from_mapping({**SMALL, **settings})
    path = factory.mktemp(task) / "small.safetensors"
    save_checkpoint(path, build_network(config).state_dict(), config, {})
    return Restorer(task, weights=path, sigma="auto" if task == "denoise" else None)


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, int], Source]:
    monkeypatch.chdir(tmp_path)

    def write(name: str, width: int = 8, height: int = 6) -> Source:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(values).save(path)
        return Source(path)

    return write


def run(job: Job, restorer: Restorer, treatment: Treatment | None = None) -> Outcome:
    return restore_job(job, restorer, treatment or Treatment(), Streams(io.BytesIO(), lambda data: None))


# ------------------------------------------------------------------------------------------ planning


def test_the_content_decides_the_format_not_the_name(picture: Callable[[str], Source]) -> None:
    picture("a.jpg")
    Path("a.jpg").rename("really_jpeg.png")
    (job,) = plan([Source(Path("really_jpeg.png"))], Request("_mair_x2"))
    assert (job.format, job.destination) == ("JPEG", Path("really_jpeg_mair_x2.jpg"))


def test_a_slash_or_an_existing_folder_makes_the_output_a_folder(picture: Callable[[str], Source]) -> None:
    source = picture("a.png")
    Path("there").mkdir()
    for output in ("new/", "there"):
        (job,) = plan([source], Request("_mair_x2", output=output))
        assert job.destination == Path(output) / "a_mair_x2.png"


def test_ground_truth_is_found_by_place_name_or_stem(picture: Callable[[str], Source]) -> None:
    picture("low/sub/a.png")
    source = Source(Path("low/sub/a.png"), folder=Path("low"))
    for truth in ("t1/sub/a.png", "t2/a.png", "t3/a.bmp", "t4/sub/a.bmp"):
        picture(truth)
        (job,) = plan([source], Request("_mair_x2", ground_truth=Path(truth.split("/")[0])))
        assert job.ground_truth == Path(truth)


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "tiff"])
def test_a_renamed_result_is_known_by_what_it_carries(
    enlarger: Restorer, picture: Callable[..., Source], form: str
) -> None:
    source = picture("a.png", 32, 24)
    assert run(Job(source, Path(f"a_mair_x2.{form}"), form.upper().replace("JPG", "JPEG")), enlarger).error is None
    renamed = Source(Path(f"a_mair_x2.{form}").rename(f"holiday.{form}"))
    assert earlier_results([source, renamed], "sr") == [renamed]
    assert earlier_results([source, renamed], "denoise") == [], "another task may go on from it"
    assert earlier_results([renamed], "sr") == [], "alone it is meant"


@pytest.mark.parametrize("output", ["truth.png", "w.safetensors.png"])
def test_what_a_run_reads_is_not_overwritten(picture: Callable[[str], Source], output: str) -> None:
    source, other = picture("a.png"), picture(output)
    request = Request("_mair_x2", output=output, overwrite=True, ground_truth=Path("truth.png"))
    if output != "truth.png":
        picture("truth.png")
        request = Request("_mair_x2", output=output, overwrite=True, protected=(Path(str(other.path)),))
    with pytest.raises(UsageError, match="which this run reads"):
        plan([source], request)


# ------------------------------------------------------------------------------------------ restoring


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("choice", ["model", "resize", "drop"])
def test_alpha_has_the_size_and_type_of_the_colours(enlarger: Restorer, choice: AlphaChoice, dtype: type) -> None:
    largest = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    color: np.ndarray = (np.random.default_rng(0).random((6, 8, 3)) * largest).astype(dtype)
    before = Picture(color, color[..., 0].copy(), icc_profile=b"profile", exif=b"exif")
    after = restore_picture(before, enlarger, choice)
    assert (after.color.shape, after.color.dtype) == ((12, 16, 3), np.dtype(dtype))
    assert (after.icc_profile, after.exif) == (b"profile", b"exif")
    if choice == "drop":
        assert after.alpha is None
    else:
        assert after.alpha is not None
        assert (after.alpha.shape, after.alpha.dtype) == ((12, 16), np.dtype(dtype))


def test_an_opaque_picture_stays_exactly_opaque(enlarger: Restorer) -> None:
    before = Picture(np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 255, np.uint8))
    after = restore_picture(before, enlarger)
    assert after.alpha is not None
    assert after.alpha.shape == (8, 8)
    assert after.alpha.min() == 255


def test_the_noise_level_is_estimated_and_told(denoiser: Restorer, picture: Callable[..., Source]) -> None:
    outcome = run(Job(picture("a.png", 40, 40), Path("out.png"), "PNG"), denoiser, Treatment("denoise"))
    assert outcome.error is None
    assert outcome.levels.sigma is not None
    assert outcome.levels.sigma_origin == "estimated"
    assert 50 < outcome.levels.sigma <= 75  # uniform noise has a standard deviation of 74 of 255


def test_the_quality_that_a_file_tells_reaches_the_network_and_not_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = MaIRConfig(upscale=2, embed_dim=8, depths=(1,), noise_level_map=True, jpeg_level_map=True)
    save_checkpoint(tmp_path / "w.safetensors", build_network(config).state_dict(), config, {})
    restorer = Restorer("sr", weights=tmp_path / "w.safetensors", device="cpu")
    drawn = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8))
    drawn.save("a.jpg", quality=64)
    drawn.save("b.png")
    for name, quality in (("a.jpg", 64), ("b.png", None)):
        outcome = run(Job(Source(Path(name)), Path(f"out-{name}"), None), restorer, Treatment("sr"))
        assert outcome.error is None
        assert outcome.levels.jpeg == quality
    assert restore_picture(Picture(np.zeros((4, 4, 3), np.uint8)), restorer).jpeg_quality is None


def test_every_page_has_an_estimate_of_its_own_and_all_are_told(denoiser: Restorer, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = (np.full((40, 48, 3), 128.0), 128 + rng.normal(0, 25, (40, 48, 3)))
    blank, noisy = (Image.fromarray(page.clip(0, 255).astype(np.uint8)) for page in values)
    blank.save(tmp_path / "two.tif", save_all=True, append_images=[noisy])
    outcome = run(Job(Source(tmp_path / "two.tif"), tmp_path / "out.tif", "TIFF"), denoiser)
    assert outcome.error is None
    assert list(outcome.sigmas) == pytest.approx([0.5, 25], rel=0.2)


def test_an_image_too_small_to_estimate_from_fails_alone(denoiser: Restorer, picture: Callable[..., Source]) -> None:
    outcome = run(Job(picture("a.png", 8, 8), Path("out.png"), "PNG"), denoiser, Treatment("denoise"))
    assert outcome.error is not None
    assert "a.png" in outcome.error
    assert not Path("out.png").exists()


def test_a_place_that_vanished_is_an_error_of_that_image(enlarger: Restorer, picture: Callable[[str], Source]) -> None:
    source = picture("a.png")
    Path("file").touch()
    outcome = run(Job(source, Path("file/out.png"), "PNG"), enlarger)
    assert outcome.error is not None
    assert "a.png" in outcome.error


def test_one_outcome_tells_sizes_time_and_figures(enlarger: Restorer, picture: Callable[..., Source]) -> None:
    truth = picture("truth.png", 33, 24).path
    outcome = run(Job(picture("a.png", 16, 12), Path("o.png"), "PNG", Path("o_compare.png"), truth), enlarger)
    assert outcome.error is None
    assert (outcome.input_size, outcome.output_size) == ((16, 12), (32, 24))
    assert outcome.seconds > 0
    assert outcome.measurement is not None
    assert Path("o_compare.png").is_file()


def test_a_name_too_long_for_its_result_fails_alone(picture: Callable[..., Source]) -> None:
    long, short = picture("n" * 248 + ".png"), picture("a.png")
    jobs = list(plan([long, short], Request("_mair_x4", compare=True)))
    assert [job.problem is None for job in jobs] == [False, True]
    assert "too long" in str(jobs[0].problem)
    assert str(jobs[1].destination) == "a_mair_x4.png"


@pytest.mark.parametrize(
    "error", [MemoryError(), SystemError("f returned NULL without setting an exception"), RuntimeError("bad_alloc")]
)
def test_lack_of_memory_fails_that_picture_only(
    picture: Callable[[str], Source], enlarger: Restorer, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr("mair_cli.jobs.batch.read_picture", fail)
    outcome = run(Job(picture("a.png"), Path("out.png"), "PNG"), enlarger)
    assert outcome.error == "a.png: not enough memory"


def test_a_file_that_ends_early_is_restored_as_far_as_it_is(enlarger: Restorer, picture: Callable[..., Source]) -> None:
    source = picture("a.png", 40, 40)
    assert isinstance(source.path, Path)
    whole = source.path.read_bytes()
    source.path.write_bytes(whole[: len(whole) * 9 // 10])
    outcome = run(Job(source, Path("out.png"), "PNG"), enlarger, Treatment())
    assert outcome.error is None
    assert outcome.truncated
    assert Path("out.png").exists()


def test_colour_hidden_under_transparency_does_not_reach_the_visible_edge(enlarger: Restorer) -> None:
    color = np.full((16, 16, 3), 200, np.uint8)
    alpha = np.full((16, 16), 255, np.uint8)
    alpha[:, 8:] = 0
    plain = restore_picture(Picture(color.copy(), alpha), enlarger)
    color[:, 8:] = 0
    np.testing.assert_array_equal(restore_picture(Picture(color, alpha), enlarger).color, plain.color)
