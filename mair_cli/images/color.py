"""From Pillow's pixel modes to colour and alpha: gray stays gray, everything else becomes RGB by the proper path."""

from __future__ import annotations

import io
import logging
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from mair_cli.errors import ImageError
from mair_cli.images.deep_samples import check_unit_range
from mair_cli.images.picture import Samples, full_scale

_log = logging.getLogger(__name__)
_PROFILE_ERRORS: Final = (ImageCms.PyCMSError, OSError, ValueError, TypeError)
_ALPHA_MODES: Final = {"La": "LA", "RGBa": "RGBA"}


def split(
    image: Image.Image, profile: bytes | None, transparent: tuple[int, ...] | None, name: str
) -> tuple[Samples, Samples | None, bytes | None]:
    """Colour and alpha of a decoded picture, and the profile that its colour is to be read with.

    Args:
        image: decoded, of any mode that Pillow's readers yield.
        profile: its ICC profile.
        transparent: the one colour that stands for transparency, gray or RGB, in the range of the samples.
        name: the file's name, for messages.

    Returns:
        color (H, W) or (H, W, 3), alpha (H, W) or None, profile or None.

    Raises:
        ImageError: the samples are not those of a picture.
    """
    image, profile = _to_basic_mode(image, profile, name)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        color = _deep_gray(image, name)
        return color, _color_key_alpha(color, transparent), profile
    samples = np.array(image)
    if image.mode == "LA":
        return np.ascontiguousarray(samples[:, :, 0]), np.ascontiguousarray(samples[:, :, 1]), profile
    if image.mode == "RGBA":
        return np.ascontiguousarray(samples[:, :, :3]), np.ascontiguousarray(samples[:, :, 3]), profile
    return samples, _color_key_alpha(samples, transparent), profile


def _to_basic_mode(image: Image.Image, profile: bytes | None, name: str) -> tuple[Image.Image, bytes | None]:
    """The picture in one of the modes L, LA, RGB, RGBA, I, F, I;16."""
    mode = image.mode
    if mode == "1":
        return image.convert("L"), profile
    if mode in ("P", "PA"):
        return _from_palette(image, profile), profile
    if mode in _ALPHA_MODES:
        return image.convert(_ALPHA_MODES[mode]), profile
    if mode in ("CMYK", "LAB"):
        return _to_srgb(image, profile, name), None
    if mode in ("L", "LA", "RGB", "RGBA", "I", "F") or mode.startswith("I;16"):
        return image, profile
    return image.convert("RGB"), profile  # RGBX, YCbCr, HSV


def match_profile(color: Samples, profile: bytes | None, name: str) -> tuple[Samples, bytes | None]:
    """Samples and profile that go together: a profile for gray with (H, W), one for RGB with (H, W, 3).

    Three equal channels with a profile for gray are a gray picture. Gray samples with a profile for RGB are converted
    to sRGB's gray, and have none then. Any other mismatch leaves the profile out, with a warning in the log.
    """
    if profile is None or profile[16:20] == (b"GRAY" if color.ndim == 2 else b"RGB "):
        return color, profile
    if color.ndim == 2 and profile[16:20] == b"RGB ":
        return gray_to_srgb(color, profile, name), None
    if profile[16:20] == b"GRAY" and (color == color[:, :, :1]).all():
        return np.ascontiguousarray(color[:, :, 0]), profile
    _log.warning("%s: its colour profile is not one for its kind of colour and is left out", name)
    return color, None


def gray_to_srgb(color: Samples, profile: bytes, name: str) -> Samples:
    """Neutral samples (one channel, or equal ones) that `profile`, for gray or RGB, gives a meaning, as sRGB's."""
    mode = "L" if profile[16:20] == b"GRAY" else "RGB"
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None]).convert(mode)
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        made = _apply_profiles(ramp, source, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")))
    except _PROFILE_ERRORS:
        _log.warning("%s: its colour profile is damaged and is left out", name)
        return color
    levels = np.asarray(made)[0].mean(axis=1)
    if abs(levels - np.arange(256)).max() <= 1:  # the same curve, but for rounding
        return color
    top = full_scale(color)
    if color.dtype == np.uint8:
        result: Samples = np.rint(levels).astype(np.uint8)[color]
        return result
    converted = np.interp(color / (top / 255), np.arange(256), levels) * (top / 255)
    result = (converted if color.dtype == np.float32 else np.rint(converted)).astype(color.dtype)
    return result


def palette_is_gray(image: Image.Image, profile: bytes | None) -> bool:
    """Whether a picture with a palette is gray: all colours of the palette are, and it has no profile for RGB."""
    palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all()) and (profile is None or profile[16:20] == b"GRAY")


def _from_palette(image: Image.Image, profile: bytes | None) -> Image.Image:
    gray = palette_is_gray(image, profile)
    if image.mode == "PA" or "transparency" in image.info:
        return image.convert("RGBA").convert("LA" if gray else "RGBA")
    return image.convert("RGB").convert("L" if gray else "RGB")


def _to_srgb(image: Image.Image, profile: bytes | None, name: str) -> Image.Image:
    """Inks or Lab to sRGB: by the picture's profile, or plainly where inks have none that can be used."""
    srgb = ImageCms.createProfile("sRGB")
    try:
        if image.mode == "LAB":
            lab = ImageCms.createProfile("LAB")
            return _apply_profiles(image, ImageCms.ImageCmsProfile(lab), ImageCms.ImageCmsProfile(srgb))
        if profile is not None and profile[16:20] == b"CMYK":
            inks = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return _apply_profiles(image, inks, ImageCms.ImageCmsProfile(srgb))
    except _PROFILE_ERRORS as error:
        if image.mode == "LAB":
            raise ImageError(f"{name}: its Lab colours cannot be converted: {error}") from error
        _log.warning("%s: its colour profile is damaged; its inks are converted without it", name)
    return image.convert("RGB")


def _apply_profiles(
    image: Image.Image, source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile
) -> Image.Image:
    result = ImageCms.profileToProfile(
        image,
        source,
        target,
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if result is None:
        raise ValueError("no result")
    return result


def cmyk_to_rgb(inks: Samples, profile: bytes | None, name: str) -> Samples:
    """(H, W, 4) CMYK of any type to (H, W, 3) RGB, plainly; ImageError where a profile demands better than that."""
    if profile is not None and profile[16:20] == b"CMYK":
        raise ImageError(f"{name}: deep CMYK with a colour profile is not read; convert it to RGB, or to 8 bits, first")
    top = full_scale(inks)
    light = top - inks.astype(np.float32)
    color = light[:, :, :3] * (light[:, :, 3:] / top)
    return color if inks.dtype == np.float32 else np.rint(color).astype(inks.dtype)


def _deep_gray(image: Image.Image, name: str) -> Samples:
    samples = np.array(image)
    if image.mode == "F":
        return check_unit_range(samples.astype(np.float32), name)
    if samples.min() < 0 or samples.max() > 65535:
        raise ImageError(f"{name}: its samples do not fit in 16 bits; save it with 16 bits")
    return samples.astype(np.uint16)


def _color_key_alpha(color: Samples, transparent: tuple[int, ...] | None) -> Samples | None:
    """Alpha of a picture one of whose colours stands for transparency."""
    if transparent is None:
        return None
    same = color == np.array(transparent if color.ndim == 3 else transparent[0])
    hit = same.all(axis=2) if color.ndim == 3 else same
    return np.where(hit, 0, full_scale(color)).astype(color.dtype)
