"""A file that ends early is refused, unless the caller wants what there is: then it says so."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mair_cli.errors import ImageError
from mair_cli.images.io import Picture, read_picture, write_picture


@pytest.fixture
def stored(photograph: npt.NDArray[np.uint8], request: pytest.FixtureRequest) -> bytes:
    """The photograph, 120×160, as the kind of file that the test names."""
    kind, part = request.param, photograph[:120, :160]
    out = io.BytesIO()
    if kind == "png16":
        write_picture(Picture(part.astype(np.uint16) * 257 + 3), out, "png")
    elif kind == "gray png":
        Image.fromarray(part[..., 1]).save(out, "PNG")
    elif kind == "turned jpeg":
        exif = Image.Exif()
        exif[274] = 6
        Image.fromarray(part).save(out, "JPEG", exif=exif)
    else:
        Image.fromarray(part).save(out, "JPEG" if kind == "jpeg" else "PNG")
    return out.getvalue()


kinds = pytest.mark.parametrize("stored", ["jpeg", "png", "png16", "gray png", "turned jpeg"], indirect=True)


@kinds
def test_the_readable_part_is_read_on_demand_and_the_rest_is_empty(
    stored: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    whole = read_picture(io.BytesIO(stored))
    part = read_picture(io.BytesIO(stored[: len(stored) * 4 // 5]), allow_truncated=True)
    assert isinstance(whole, Picture)
    assert isinstance(part, Picture)
    assert not whole.truncated
    assert part.truncated
    assert part.color.shape == whole.color.shape
    assert "ends early, after" in caplog.text
    color, expected = (part.color, whole.color) if whole.width > whole.height else (_unturned(part), _unturned(whole))
    np.testing.assert_array_equal(color[:60], expected[:60])
    assert (color[-6:] == color[-1, -1]).all()


def _unturned(picture: Picture) -> npt.NDArray[np.uint8]:
    """Rows as the file of orientation 6 stores them."""
    return np.rot90(picture.color)


@kinds
def test_without_demand_a_truncated_file_is_refused(stored: bytes) -> None:
    with pytest.raises(ImageError):
        read_picture(io.BytesIO(stored[: len(stored) * 4 // 5]))


@kinds
def test_too_little_is_refused_even_on_demand(stored: bytes) -> None:
    with pytest.raises(ImageError, match=r"after \d+ of 120 rows|damaged"):
        read_picture(io.BytesIO(stored[: len(stored) // 4]), allow_truncated=True)


@kinds
def test_whole_files_are_read_the_same_either_way(stored: bytes) -> None:
    strict, lenient = (read_picture(io.BytesIO(stored), allow_truncated=allowed) for allowed in (False, True))
    assert isinstance(strict, Picture)
    assert isinstance(lenient, Picture)
    np.testing.assert_array_equal(strict.color, lenient.color)
    assert not lenient.truncated


@pytest.mark.parametrize("stored", ["png"], indirect=True)
def test_damage_in_the_middle_is_not_taken_for_an_early_end(stored: bytes) -> None:
    at = len(stored) // 2
    damaged = stored[:at] + bytes(200) + stored[at + 200 :]
    with pytest.raises(ImageError):
        read_picture(io.BytesIO(damaged), allow_truncated=True)


def test_tiff_compressed_as_webp_is_read() -> None:
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("imagecodecs")
    color = np.random.default_rng(0).integers(0, 255, (40, 56, 3)).astype(np.uint8)
    out = io.BytesIO()
    tifffile.imwrite(out, color, photometric="rgb", compression="webp", compressionargs={"level": -1})
    found = read_picture(out)
    assert isinstance(found, Picture)
    np.testing.assert_array_equal(found.color, color)
