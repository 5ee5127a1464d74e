"""The inference form of whole networks against the networks themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mair_cli.inference.form import InferenceForm, inference_form
from mair_cli.inference.kinds import computes_in_pairs
from mair_cli.networks import build_network
from mair_cli.networks.levels import known_levels
from mair_cli.networks.network import Network

TOLERANCE = 1e-5
LIGHT = {"upscale": 4, "upsampler": "pixelshuffledirect", "embed_dim": 20, "depths": [2, 1], "ssm_ratio": 1.3}
NETWORKS: dict[str, dict[str, object]] = {
    "levels": {**LIGHT, "noise_level_map": True, "jpeg_level_map": True},
    "states": {**LIGHT, "d_state": 5, "upscale": 3, "scan_len": 4, "mlp_ratio": 2.4},
    "classic": {"upscale": 4, "upsampler": "pixelshuffle", "embed_dim": 36, "depths": [1, 1], "d_state": 2},
    "classic x3": {"upscale": 3, "upsampler": "pixelshuffle", "embed_dim": 16, "depths": [1], "d_state": 1},
    "bottleneck": {**LIGHT, "resi_connection": "3conv", "img_range": 2.0},
    "denoising": {"upscale": 1, "upsampler": None, "embed_dim": 32, "depths": [2], "noise_level_map": True},
    "wide": {**LIGHT, "embed_dim": 130, "depths": [1]},
    "in span": {"trunk": "span", "embed_dim": 20, "depths": [1, 2, 1], "noise_level_map": True, "scan_len": 4},
    "in span, classic": {"trunk": "span", "embed_dim": 32, "depths": [1], "upsampler": "pixelshuffle"},
    "in span, denoising": {"trunk": "span", "upscale": 1, "upsampler": None, "depths": [1, 1]},
    "in ffdnet": {
        "trunk": "ffdnet",
        "embed_dim": 20,
        "depths": [1, 2],
        "noise_level_map": True,
        "jpeg_level_map": True,
    },
    "u-shaped": {"dim": 6, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "ssm_ratio": 1.5},
    "u-shaped, shifted": {"dim": 6, "num_blocks": [1, 2, 1, 1], "num_refinement_blocks": 1, "shift": True},
    "u-shaped, levels": {"dim": 8, "num_blocks": [1, 2, 1, 1], "num_refinement_blocks": 1, "jpeg_level_map": True},
}


def made(name: str, precision: str = "fp32") -> tuple[Network, InferenceForm]:
    """A network whose every parameter matters, and its form."""
    torch.manual_seed(0)
    network = build_network({**NETWORKS[name], "drop_path_rate": 0.0}).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    form = inference_form(network, precision)
    assert form is not None
    return network, form


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_form_of_a_network_equals_it(name: str) -> None:
    network, form = made(name)
    told = known_levels(network.config, 0.1, 0.3)
    for height, width in ((1, 1), (2, 9), (19, 5), (24, 40), (3, 70)):
        image = torch.rand(1, 3, height, width)
        with torch.inference_mode():
            expected = network(image, **told)
            difference = (form(image, **told) - expected).abs().max() / expected.abs().max().clamp(min=1)
        assert difference <= TOLERANCE, (height, width)


def test_images_of_a_batch_and_their_levels_are_told_apart() -> None:
    network, form = made("levels")
    images, noise, jpeg = torch.rand(3, 3, 11, 14), torch.tensor([0.0, 0.1, 0.3]), torch.tensor([0.5, 0.0, 0.2])
    with torch.inference_mode():
        torch.testing.assert_close(form(images, noise, jpeg), network(images, noise, jpeg), atol=TOLERANCE, rtol=0)
        turned = images.permute(0, 1, 3, 2)  # not contiguous
        torch.testing.assert_close(form(turned, noise, jpeg), network(turned, noise, jpeg), atol=TOLERANCE, rtol=0)


def test_what_a_network_refuses_its_form_refuses() -> None:
    _, form = made("denoising")
    with pytest.raises(ValueError, match="noise_level is missing"):
        form(torch.rand(1, 3, 8, 8))
    with pytest.raises(ValueError, match="jpeg_level is given"):
        form(torch.rand(1, 3, 8, 8), 0.1, 0.2)


@pytest.mark.parametrize("name", ["levels", "wide", "u-shaped"])
@pytest.mark.usefixtures("threads")
def test_results_are_the_same_for_any_number_of_threads(name: str) -> None:
    network, form = made(name)
    image, told = torch.rand(1, 3, 24, 40), known_levels(network.config, 0.1, 0.3)
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        results += [form(image, **told) for _ in range(5)]
    assert all(torch.equal(results[0], result) for result in results[1:])


@pytest.mark.skipif(not computes_in_pairs(), reason="the processor has no AVX512-BF16")
@pytest.mark.parametrize("name", ["levels", "states", "classic", "bottleneck", "in ffdnet", "u-shaped"])
@pytest.mark.usefixtures("threads")
def test_forms_in_bf16_are_near_their_network_and_the_same_for_any_number_of_threads(name: str) -> None:
    network, form = made(name, "bf16")
    told = known_levels(network.config, 0.1, 0.3)
    for height, width in ((1, 1), (19, 5), (24, 57)):
        image, results = torch.rand(1, 3, height, width), []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(form(image, **told))
        assert all(torch.equal(results[0], result) for result in results[1:])
        with torch.inference_mode():
            expected = network(image, **told)
        assert 0 < (results[0] - expected).norm() / expected.norm() < 0.03, (height, width)


def test_calls_at_the_same_time_and_of_other_sizes_do_not_disturb_each_other() -> None:
    _, form = made("levels")
    images = [torch.rand(1, 3, 8 + 3 * n % 29, 8 + 5 * n % 31) for n in range(24)]
    expected = [form(image, 0.0, 0.0) for image in images]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda image: form(image, 0.0, 0.0), images * 4))
    assert all(torch.equal(result, expected[n % len(images)]) for n, result in enumerate(results))


MANY_STATES: dict[str, object] = {
    "upscale": 4, "upsampler": "pixelshuffledirect", "embed_dim": 60, "depths": [2], "ssm_ratio": 1.4, "d_state": 16,
}  # fmt: skip
PEAK = """
import json, re, sys
import torch
from mair_cli.inference.form import inference_form
from mair_cli.networks import build_network

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

form = inference_form(build_network(json.loads(sys.argv[1])).eval())
with torch.inference_mode():
    form(torch.rand(1, 3, 32, 32))
    before = peak()
    form(torch.rand(1, 3, 256, 256))
print((peak() - before) / 256**2, form.memory_per_pixel)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_whole_image_takes_no_more_memory_than_the_tile_policy_counts_with_many_states_too() -> None:
    command = [sys.executable, "-c", PEAK, json.dumps(MANY_STATES)]
    taken, counted = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert 0.6 * counted < taken <= counted
    few = inference_form(build_network({**MANY_STATES, "d_state": 1}))
    assert few is not None
    assert counted < 1.2 * few.memory_per_pixel


def test_kinds_without_a_form_have_none() -> None:
    assert inference_form(build_network({"channel_attention": "light", "embed_dim": 16, "depths": [1]})) is None
    assert inference_form(build_network({**LIGHT, "aggregation": "sum"})) is None
