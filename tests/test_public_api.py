"""The public Python API: names, and that importing the package stays light."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, ImageCms

import mair_cli
from mair_cli import MairError


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, mair_cli; print(mair_cli.__version__); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_all_promised_names_are_there() -> None:
    for name in ("Restorer", "RunSettings", "Levels", "load_network", "build_network", "MairError", "__version__"):
        assert getattr(mair_cli, name)
        assert name in dir(mair_cli)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="restorer_"):
        mair_cli.restorer_  # noqa: B018


def public(owner: ModuleType) -> Iterator[tuple[str, Callable[..., object]]]:
    """Functions, classes and methods that a module defines under names without an underscore."""
    for name, value in vars(owner).items():
        if name.startswith("_") or getattr(value, "__module__", None) != owner.__name__:
            continue
        if inspect.isclass(value):
            yield f"{owner.__name__}.{name}", value
            for inner, method in vars(value).items():
                plain = method.fget if isinstance(method, property) else getattr(method, "__func__", method)
                if inspect.isfunction(plain) and (inner == "__init__" or not inner.startswith("_")):
                    yield f"{owner.__name__}.{name}.{inner}", plain
        elif inspect.isfunction(value):
            yield f"{owner.__name__}.{name}", value


MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(mair_cli.__path__, "mair_cli.")
    if not module.name.startswith(("mair_cli.cli", "mair_cli.__main__"))
    and module.name not in ("mair_cli.scan.gpu.triton_kernels", "mair_cli.scan.gpu.triton_scan")  # need Triton
)


@pytest.mark.parametrize("name", MODULES)
def test_the_types_of_everything_public_can_be_asked_for(name: str) -> None:
    for path, value in public(importlib.import_module(name)):
        try:
            typing.get_type_hints(value)
        except NameError as error:
            pytest.fail(f"{path}: {error}")


def test_the_signature_of_the_restorer_shows_all_settings() -> None:
    parameters = inspect.signature(mair_cli.Restorer).parameters
    assert list(parameters) == [field.name for field in fields(mair_cli.RunSettings)]
    assert parameters["tile"].default == "auto"
    assert parameters["ensemble"].annotation is bool
    assert parameters["task"].kind == inspect.Parameter.POSITIONAL_OR_KEYWORD


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"task": "deblur", "sigma": 25}, "`sigma` is for super-resolution and Gaussian denoising"),
        ({"task": "sr", "scene": "indoor"}, "`scene` is for dehazing: super-resolution takes none"),
        ({"task": "denoise", "sigma": 25, "scale": 4}, "`scale` is for super-resolution"),
        ({"task": "deblur", "jpeg": 50}, "`jpeg` is for"),
        ({"model": "mair-lite-denoise", "scene": "indoor"}, "`scene`"),
        ({"model": "mair-dh-its", "scene": "outdoor"}, "`scene` outdoor: mair-dh-its is made for dehazing, indoor"),
        ({"scael": 4}, "did you mean 'scale'"),
        ({"task": 4}, "`task` 4: give the name of a task"),
        ({"scale": "4"}, "`scale` '4': give 2, 3 or 4"),
        ({"scale": 2.0}, "`scale` 2.0"),
        ({"scale": True}, "`scale` True"),
        ({"model": None}, "`model` None"),
        ({"weights": 3}, "`weights` 3: give a file"),
        ({"device": 0}, "`device` 0: give auto, cpu"),
        ({"ensemble": "yes"}, "`ensemble` 'yes': give True or False"),
        ({"threads": 1.5}, "`threads` 1.5"),
        ({"tile": 64.0}, "`tile` 64.0"),
        ({"tile": 8}, "`tile` 8: give auto, 16 or more"),
        ({"overlap": "8"}, "`overlap` '8'"),
        ({"sigma": "high"}, "`sigma` high"),
        ({"backend": None}, "`backend` None"),
        ({"precision": 16}, "`precision` 16"),
    ],
)
def test_wrong_arguments_are_named_in_the_words_of_the_interface(settings: dict[str, object], says: str) -> None:
    with pytest.raises(MairError) as caught:
        mair_cli.Restorer(**settings)  # type: ignore[arg-type]
    assert says in str(caught.value)


def test_a_level_for_another_task_is_refused_at_the_call_too(golden: Path) -> None:
    restorer = mair_cli.Restorer("deblur", weights=golden / "unet_stripe4.pth", stripe=4, device="cpu")
    with pytest.raises(MairError, match="`sigma` is for"):
        restorer(np.zeros((8, 8, 3), np.uint8), sigma=5)


def test_networks_load_by_name_and_by_file(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIR_CACHE_DIR", str(tmp_path))
    assert mair_cli.load_network("mair-lite-x2").scale == 2
    assert mair_cli.load_network(str(golden / "light_d1_x4.pth"), stripe=8).scale == 4
    for source, options, says in (
        ("mair-lite-x5", {}, "no model called"),
        ("mair-t-x4", {}, "mair download mair-t-x4"),
        ("mair-lite-x2", {"stripe": 4}, "belong to a file"),
        ("gone.pth", {}, "gone.pth"),
        (7, {}, "`source` 7"),
        (golden / "light_d1_x4.pth", {"config": 3}, "`config` 3"),
        (golden / "light_d1_x4.pth", {"stripe": 8, "device": "tpu"}, "`device` tpu"),
    ):
        with pytest.raises(MairError) as caught:
            mair_cli.load_network(source, **options)  # type: ignore[arg-type]
        assert says in str(caught.value)


def test_a_file_is_restored_with_all_it_carries_and_nothing_is_lost(tmp_path: Path) -> None:
    restorer = mair_cli.Restorer(scale=2, device="cpu")
    source, target = tmp_path / "a.png", tmp_path / "new" / "b.png"
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 4), np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels).save(source, icc_profile=profile)
    assert restorer.file(source, str(target)) == restorer.levels(pixels[..., :3])
    with Image.open(target) as result:
        assert (result.size, result.mode) == ((16, 18), "RGBA")
        assert result.info["icc_profile"] == profile
    before = target.read_bytes()
    for arguments, options, says in (
        ((source, target), {}, "`overwrite` replaces it"),
        ((source, source), {"overwrite": True}, "is the source itself"),
        ((source, tmp_path / "c.docx"), {}, "docx"),
        ((tmp_path / "gone.png", tmp_path / "c.png"), {}, "gone.png"),
        ((source, tmp_path / "c.png"), {"alpha": "keep"}, "`alpha` 'keep'"),
        ((source, None), {}, "`target` None"),
        ((source, target / "below.png"), {}, "Cannot write"),
    ):
        with pytest.raises(MairError) as caught:
            restorer.file(*arguments, **options)
        assert says in str(caught.value)
    assert target.read_bytes() == before
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.png", "b.png", "new"]


def test_frames_are_all_restored_from_file_to_file(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 5), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=70)
    mair_cli.Restorer(scale=2, device="cpu").file(tmp_path / "a.gif", tmp_path / "b.webp")
    with Image.open(tmp_path / "b.webp") as result:
        assert (getattr(result, "n_frames", 1), result.size) == (3, (12, 10))
