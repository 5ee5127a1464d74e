"""spandrel's own loader with its whole registry loads our networks from published-format files, and theirs as before.

spandrel imports torchvision for two functions that no network here calls; where it is missing, a stand-in has them.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors import safe_open

from mair_cli.errors import UsageError
from mair_cli.integrations.spandrel import recognises, register
from mair_cli.networks import NETWORKS, Network
from mair_cli.networks.levels import known_levels
from mair_cli.weights.catalog import MODELS
from mair_cli.weights.checkpoint import load_network
from mair_cli.weights.hashes import checked_file

if importlib.util.find_spec("torchvision") is None:
    functional = ModuleType("torchvision.transforms.functional")
    vars(functional).update(InterpolationMode=None, rotate=None, normalize=None)
    sys.modules.setdefault("torchvision", ModuleType("torchvision"))
    sys.modules.setdefault("torchvision.transforms", ModuleType("torchvision.transforms"))
    sys.modules.setdefault("torchvision.transforms.functional", functional)
spandrel = pytest.importorskip("spandrel")

REFERENCE = Path(__file__).parents[1] / "reference"
OURS = {"MaIR", "MaIRinSPAN", "MaIRinFFDNet", "MaIRU-Net", "MambaIR", "MambaIRv2"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "MMRRDBNet_test": {"num_in_ch": 3, "num_out_ch": 3, "num_block": 2},
    "SwinIR": {"window_size": 8},
    "Swin2SR": {"window_size": 8},
    "SPAN": {"num_in_ch": 3, "num_out_ch": 3},
    "SAFMN": {"dim": 36},
    "SAFMN_BCIE": {"dim": 36},
    "NAFNet": {"enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]},
    "UnetUpsampler": {
        "dim": 16,
        "image_size": 64,
        "input_image_size": 16,
        "style_network": {"dim_in": 16, "dim_out": 16},
    },
    "IPT": {"n_feats": 16, "patch_size": 12, "num_layers": 1, "num_heads": 4},
}
"""Of spandrel's networks that cannot be built, or mean nothing, without."""


@pytest.fixture(scope="module")
def registry() -> Any:
    found = spandrel.MAIN_REGISTRY.copy()
    register(found, stripe=8)
    return found


@cache
def theirs() -> list[tuple[str, str, dict[str, torch.Tensor]]]:
    """Architecture, class and state dict of spandrel's networks as they are built without any choice."""
    found = []
    for support in spandrel.MAIN_REGISTRY.architectures():
        module = sys.modules[type(support.architecture).__module__]
        for name, kind in vars(module).items():
            own = inspect.isclass(kind) and issubclass(kind, torch.nn.Module) and "hyperparameters" in vars(kind)
            if own and support.architecture.id not in OURS:
                found.append((str(support.architecture.id), name, state_of(kind, ARGUMENTS.get(kind.__name__, {}))))
    return found


def state_of(kind: type[torch.nn.Module], arguments: dict[str, Any]) -> dict[str, torch.Tensor]:
    try:
        with torch.device("meta"):
            return kind(**arguments).state_dict()
    except (RuntimeError, NotImplementedError):  # it computes with numbers while it is built
        return kind(**arguments).state_dict()


def load(registry: Any, path: Path) -> Any:
    return spandrel.ModelLoader(registry=registry).load_from_file(path)


def stored(name: str) -> tuple[dict[str, Any], torch.Tensor, torch.Tensor]:
    with safe_open(REFERENCE / f"{name}.io.safetensors", framework="pt") as file:
        config = json.loads((file.metadata() or {}).get("config", "{}"))
        return config, file.get_tensor("input"), file.get_tensor("output")


@pytest.mark.parametrize("name", sorted(path.stem for path in REFERENCE.glob("*.pth")))
def test_a_published_file_is_loaded_and_computes_what_the_published_network_does(name: str) -> None:
    config, image, output = stored(name)
    registry = spandrel.MAIN_REGISTRY.copy()
    register(registry, stripe=config.get("scan_len"))
    model = load(registry, REFERENCE / f"{name}.pth")
    assert model.architecture.id in OURS
    assert model.purpose == ("SR" if model.scale > 1 else "Restoration")
    assert model.tiling is spandrel.ModelTiling.SUPPORTED
    for each, expected in zip(image, output, strict=True):
        torch.testing.assert_close(model(each[None])[0], expected.clamp(0, 1), atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", [e.name for e in MODELS.values() if e.origin == "bundled"])
def test_a_bundled_file_is_loaded_without_being_told_its_stripe(name: str) -> None:
    registry = spandrel.MAIN_REGISTRY.copy()
    register(registry, sigma=15)
    path = checked_file(MODELS[name])
    model, ours = load(registry, path), load_network(path)
    image = torch.rand(1, 3, 21, 18)
    with torch.inference_mode():
        expected = ours(image, **known_levels(ours.config, 15 / 255, 0.0)).clamp(0, 1)
    torch.testing.assert_close(model(image), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", sorted(json.loads((REFERENCE / "state_dicts.json").read_text("utf-8"))))
def test_names_and_shapes_of_every_published_checkpoint_are_ours_and_of_nobody_else(registry: Any, name: str) -> None:
    listed = json.loads((REFERENCE / "state_dicts.json").read_text("utf-8"))
    shapes = listed[name]
    shapes = listed[shapes.removeprefix("as ")] if isinstance(shapes, str) else shapes
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    first = next(s for s in registry.architectures("detection") if s.detect(state))
    assert first.architecture.id in OURS
    assert sum(recognises(kind, state) for kind in NETWORKS) == 1


def test_none_of_spandrels_networks_is_taken_for_ours(registry: Any) -> None:
    before = spandrel.MAIN_REGISTRY.architectures("detection")
    after = registry.architectures("detection")
    for architecture, name, state in theirs():
        wanted = next((s.architecture.id for s in before if s.detect(state)), None)
        found = next((s.architecture.id for s in after if s.detect(state)), None)
        assert (found, wanted) == (architecture, architecture), name
        assert not any(recognises(kind, state) for kind in NETWORKS), name


def test_every_architecture_of_spandrel_was_tried() -> None:
    known = {str(s.architecture.id) for s in spandrel.MAIN_REGISTRY.architectures()} - OURS
    assert len(known) >= 42
    assert {architecture for architecture, _, _ in theirs()} == known


@pytest.mark.parametrize("name", ["light_d16_x3", "unet", "classic_x2", "mambairv2_light"])
def test_half_and_bfloat16_are_declared_where_they_hold(name: str) -> None:
    config, image, output = stored(name)
    registry = spandrel.MAIN_REGISTRY.copy()
    register(registry, stripe=config.get("scan_len"))
    for dtype, declared, bound in (("half", "supports_half", 0.01), ("bfloat16", "supports_bfloat16", 0.04)):
        model = load(registry, REFERENCE / f"{name}.pth")
        if not getattr(model, declared):
            with pytest.raises(spandrel.UnsupportedDtypeError):
                getattr(model, dtype)()
            continue
        getattr(model, dtype)()
        result = model(image[:1].to(model.dtype))
        assert result.dtype == model.dtype
        torch.testing.assert_close(result.float(), output[:1].clamp(0, 1), atol=bound, rtol=0)


def test_a_file_of_ours_with_a_parameter_too_few_or_too_many_is_not_recognised() -> None:
    state = torch.load(REFERENCE / "light_d1_x4.pth", weights_only=True)["params"]
    kind = next(network for network in NETWORKS if network.recognises(state))
    assert recognises(kind, state)
    assert not recognises(kind, {**state, "extra": torch.zeros(1)})
    assert not recognises(kind, dict(list(state.items())[:-1]))
    assert not recognises(kind, {})


def test_an_unknown_stripe_is_asked_for() -> None:
    registry = spandrel.MAIN_REGISTRY.copy()
    register(registry)
    with pytest.raises(Exception, match=r"register\(stripe=8\)"):
        load(registry, REFERENCE / "light_d1_x4.pth")


def test_registering_twice_is_once_and_reaches_every_loader() -> None:
    for _ in range(2):
        register()
    assert [str(s.architecture.id) for s in spandrel.MAIN_REGISTRY.architectures() if s.architecture.id in OURS] == [
        "MaIR",
        "MaIRinSPAN",
        "MaIRinFFDNet",
        "MaIRU-Net",
        "MambaIR",
        "MambaIRv2",
    ]
    model = spandrel.ModelLoader().load_from_file(checked_file(MODELS["mair-lite-x2"]))
    assert isinstance(model.model, Network)


@pytest.mark.parametrize(("name", "value"), [("sigma", 80), ("sigma", -1), ("jpeg", 0), ("jpeg", 101), ("stripe", 0)])
def test_values_out_of_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"`{name}` {value}"):
        register(spandrel.MAIN_REGISTRY.copy(), **{name: value})


def test_without_spandrel_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(UsageError, match=r"mair-cli\[spandrel\]"):
        register()
