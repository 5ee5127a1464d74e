"""Every file of the corpus of odd images is read as what it is, or refused in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mair_cli.errors import ImageError
from mair_cli.images.io import Animation, Picture, probe, read_picture

REFUSED = {
    "16bit": {"icodecs_rgb.u2.jpg", "pillow_apng_mode_16bit.png"},
    "bomb_huge": {
        "imagers_bmp_images_Bad_reallybig.bad_bmp",
        "pillow_decompression_bomb.gif",
        "pillow_decompression_bomb.ico",
        "pillow_decompression_bomb_extents.gif",
        "pillow_oom-225817ca0f8c663be7ab4b9e717b02c661e66834.tif",
        "pillow_png_decompression_dos.png",
        "vips_17000x17000.avif",
    },
    "float_complex": {"icodecs_tiff_gray.c8.tif", "pillow_10ct_32bit_128.tiff", "pillow_hopper.pfm"},
    "icc_gamut": {"pillow_ultrahdr.jpg"},  # cut off
    "other_formats": {
        "exr_TestImages_GrayRampsDiagonal.exr",
        "icodecs_rgba.u1.jls",
    },
}
READ_THOUGH_CORRUPT = {
    "heif_heif_truncated_truncated.heic",  # the second of its pictures is cut off, the first is whole
    "pillow_background_outside_palette.gif",
    "pillow_jpeg_ff00_header.jpg",
    "pillow_junk_jpeg_header.jpg",
    "pngsuite_xcsn0g01.png",  # only the check sum of its pixels is wrong; Pillow looks at that of zlib
}
ANIMATED = {
    "avif_colors-animated-8bpc.avif": 5,
    "imagers_gif_anim_mixed-disposal.gif": 5,
    "imagers_webp_extended_images_anim.webp": 6,
    "pillow_apng_dispose_op_previous.png": 3,
    "pillow_avif_star.avifs": 5,
    "pillow_chi.gif": 31,
    "pillow_dispose_bgnd_transparency.gif": 10,
    "pillow_iss634.apng": 41,
    "pillow_iss634.webp": 42,
    "pillow_multipage.tiff": 3,
}


def _first(picture: Picture | Animation) -> Picture:
    return picture.frames[0] if isinstance(picture, Animation) else picture


def _read(corpus: Path, place: str) -> Picture:
    picture = read_picture(corpus / "odd" / place)
    assert isinstance(picture, Picture)
    return picture


def test_each_file_is_read_or_refused_in_one_line_and_the_header_told_the_same(
    corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("imagecodecs")
    pytest.importorskip("tifffile")
    pytest.importorskip("pillow_heif")
    wrong = []
    for path in sorted((corpus / "odd").rglob("*.*")):
        kind = path.parent.name
        corrupt = kind == "corrupt_truncated" and path.name not in READ_THOUGH_CORRUPT
        refused = corrupt or path.name in REFUSED.get(kind, ())
        try:
            picture = read_picture(path)
        except ImageError as error:
            lines = str(error).splitlines()
            if not refused or len(lines) != 1 or path.name not in lines[0] or len(lines[0]) > 400:
                wrong.append(f"{path.name}: {error}")
            continue
        if refused:
            wrong.append(f"{path.name}: was read")
            continue
        info, first = probe(path), _first(picture)
        frames = len(picture.frames) if isinstance(picture, Animation) else 1
        told = (info.width, info.height, info.dtype, info.format, info.lossless, info.frames, info.default_format)
        found = (first.width, first.height, str(first.color.dtype), first.format, first.lossless, frames)
        if told != (*found, picture.default_format):
            wrong.append(f"{path.name}: header {told}, pixels {found}")
        alpha = first.alpha
        if alpha is not None and (alpha.shape != first.color.shape[:2] or alpha.dtype != first.color.dtype):
            wrong.append(f"{path.name}: alpha does not fit")
    assert not wrong, "\n".join(wrong)
    assert capfd.readouterr() == ("", ""), "a decoder wrote to the terminal"


@pytest.mark.parametrize(("name", "frames"), ANIMATED.items())
def test_animations_yield_all_their_frames(corpus: Path, name: str, frames: int) -> None:
    animation = read_picture(corpus / "odd" / "animated" / name)
    assert isinstance(animation, Animation)
    assert len(animation.frames) == len(animation.durations) == frames
    if name.endswith("tiff"):  # its pages differ in size
        assert [frame.width for frame in animation.frames] == [10, 10, 20]
        return
    kinds = {(frame.gray, frame.alpha is None, frame.width, frame.height) for frame in animation.frames}
    assert len(kinds) == 1


@pytest.mark.parametrize(
    "name",
    ["heif_non_heif_RGB_16__128x128.png", "pngsuite_basi2c16.png", "pngsuite_basn4a16.png", "pngsuite_basn6a16.png"],
)
def test_deep_png_equals_another_decoder(corpus: Path, name: str) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    picture = _read(corpus, f"16bit/{name}")
    samples = picture.color if picture.color.ndim == 3 else picture.color[:, :, None]
    if picture.alpha is not None:
        samples = np.concatenate([samples, picture.alpha[:, :, None]], axis=2)
    expected = imagecodecs.png_decode((corpus / "odd" / "16bit" / name).read_bytes())
    np.testing.assert_array_equal(samples, expected)
    assert np.any(picture.color % 257), "only 8 bits of 16 arrived"


def test_deep_tiff_has_more_than_8_bits(corpus: Path) -> None:
    pytest.importorskip("imagecodecs")
    tifffile = pytest.importorskip("tifffile")
    picture = _read(corpus, "16bit/pillow_tiff_16bit_RGB.tiff")
    np.testing.assert_array_equal(picture.color, tifffile.imread(corpus / "odd/16bit/pillow_tiff_16bit_RGB.tiff"))


def test_the_eight_orientations_show_the_same_picture(corpus: Path) -> None:
    pictures = [_read(corpus, f"exif_orientation/exif_Portrait_{number}.jpg") for number in range(1, 9)]
    small = [np.asarray(Image.fromarray(p.color).resize((60, 90), Image.Resampling.BOX), np.int16) for p in pictures]
    for picture, view in zip(pictures, small, strict=True):
        assert (picture.width, picture.height) == (1200, 1800)
        # the files differ by a number drawn in the middle and by JPEG's losses
        assert np.median(abs(view - small[0])) <= 2
        assert picture.exif is not None
        exif = Image.Exif()
        exif.load(picture.exif)
        assert exif.get(274, 1) == 1


@pytest.mark.parametrize(
    ("place", "gray", "alpha"),
    [
        ("gray_alpha/pngsuite_basn4a08.png", True, True),
        ("gray_alpha/pillow_la.tga", True, True),
        ("onebit/vips_1bit.tif", True, False),
        ("onebit/pngsuite_basn0g01.png", True, False),
        ("onebit/pillow_bmp_g_pal1.bmp", True, False),
        ("progressive_subsampling/pillow_hopper_gray.jpg", True, False),
        ("palette_transparency/pillow_l_trns.png", True, True),
        ("palette_transparency/pillow_rgb_trns.png", False, True),
        ("palette_transparency/pngsuite_tbbn3p08.png", False, True),
        ("palette_transparency/pngsuite_basn3p08.png", False, False),
        ("palette_transparency/pillow_transparent.gif", False, True),
        ("palette_transparency/pillow_transparent.webp", False, True),
    ],
)
def test_gray_stays_gray_and_transparency_is_found(corpus: Path, place: str, gray: bool, alpha: bool) -> None:
    picture = _read(corpus, place)
    assert picture.gray is gray
    assert (picture.alpha is not None) is alpha
    with Image.open(corpus / "odd" / place) as image:
        rgba = np.asarray(image.convert("RGBA"))
    if alpha:
        np.testing.assert_array_equal(picture.alpha, rgba[:, :, 3])
    np.testing.assert_array_equal(
        picture.color if not gray else picture.color[:, :, None], rgba[:, :, : 1 if gray else 3]
    )


@pytest.mark.parametrize("name", ["jxl_jxl_flower_flower_small.cmyk.jpg", "pillow_pil_sample_cmyk.jpg"])
def test_inks_become_rgb_without_their_profile(corpus: Path, name: str) -> None:
    picture = _read(corpus, f"cmyk_lab/{name}")
    assert picture.color.shape[2] == 3
    assert picture.icc_profile is None


def test_lab_becomes_the_rgb_of_the_same_photograph(corpus: Path) -> None:
    lab = _read(corpus, "cmyk_lab/pillow_hopper.Lab.tif").color.astype(np.int16)
    rgb = _read(corpus, "icc_gamut/pillow_hopper.iccprofile.tif").color.astype(np.int16)
    assert abs(lab - rgb).mean() < 6


def test_profiles_and_exif_are_kept_byte_for_byte(corpus: Path) -> None:
    for place in ("icc_gamut/wgam_P3-sRGB-blue.png", "icc_gamut/pillow_hopper.iccprofile.tif"):
        with Image.open(corpus / "odd" / place) as image:
            assert _read(corpus, place).icc_profile == image.info["icc_profile"]
    place = "corrupt_truncated/pillow_jpeg_ff00_header.jpg"
    with Image.open(corpus / "odd" / place) as image:
        raw = image.info["exif"][6:]
    kept = _read(corpus, place).exif
    assert kept is not None
    assert len(kept) == len(raw)
    assert sum(a != b for a, b in zip(kept, raw, strict=True)) <= 5, "more changed than orientation and preview"


def test_bombs_need_neither_memory_nor_time(corpus: Path) -> None:
    """In a process that may have 1.5 GiB of addresses and 60 seconds (numpy and Pillow take most of the time)."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (3 << 29, 3 << 29))\n"
        "from pathlib import Path\nfrom mair_cli.images.io import read_picture\n"
        "from mair_cli.errors import ImageError\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try: read_picture(path)\n"
        "    except ImageError as error: assert 'enough memory' not in str(error), error\n"
    )
    command = [sys.executable, "-c", code, str(corpus / "odd" / "bomb_huge")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
