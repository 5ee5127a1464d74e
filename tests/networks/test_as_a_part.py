"""The networks as parts of other people's programs: number types, `torch.compile`, `torch.export`, checkpointing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from mair_cli.networks import (
    MaIRConfig,
    MaIRFFDNetConfig,
    MaIRSPANConfig,
    MaIRUNetConfig,
    MambaIRConfig,
    MambaIRv2Config,
    Network,
    NetworkConfig,
    build_network,
    set_backend,
)

CONFIGS: dict[str, NetworkConfig] = {
    "MaIR": MaIRConfig(embed_dim=8, depths=(2,), d_state=2, upscale=2, scan_len=4),
    "MaIR in SPAN": MaIRSPANConfig(embed_dim=8, depths=(1, 1), upscale=2, scan_len=4),
    "MaIR in FFDNet": MaIRFFDNetConfig(embed_dim=8, depths=(1, 1), scan_len=4),
    "MambaIR": MambaIRConfig(embed_dim=12, depths=(1,), d_state=2, upscale=2),
    "MambaIRv2": MambaIRv2Config(
        embed_dim=12, depths=(2,), num_heads=(2,), d_state=2, upscale=2, window_size=4, inner_rank=3, num_tokens=5
    ),
    "U-shaped": MaIRUNetConfig(dim=4, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1),
}
# Compiles like the real thing, gradients included, but runs PyTorch's own operators: no C++ compiler is needed.
COMPILER = "aot_eager"


def network_and_image(name: str, **settings: object) -> tuple[Network, Tensor]:
    torch.manual_seed(0)
    network = build_network({**CONFIGS[name].to_mapping(), **settings})
    return network, torch.rand(1, 3, 8, 16)


@pytest.fixture(autouse=True)
def _forget_compiled_code() -> Iterator[None]:
    yield
    torch.compiler.reset()


def gradients(network: nn.Module, output: Tensor) -> list[Tensor]:
    # What only training uses (the route of MambaIRv2) has a gradient of zeros.
    parameters = list(network.parameters())
    return list(torch.autograd.grad(output.square().mean(), parameters, materialize_grads=True))


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("name", CONFIGS)
def test_half_and_double_precision_stay_what_they_are(name: str, backend: str) -> None:
    network, image = network_and_image(name)
    set_backend(network, backend)
    with torch.no_grad():
        expected = network(image)
    for kind, bound in ((torch.float16, 2e-2), (torch.bfloat16, 1e-1), (torch.float64, 1e-5)):
        other = copy.deepcopy(network).to(kind)
        output = other(image.to(kind))
        assert output.dtype == kind
        # MambaIRv2 sorts pixels into kinds, of which some are about equally likely: rounding moves them.
        if name != "MambaIRv2" or kind == torch.float64:
            assert float((output.detach().float() - expected).abs().max()) < bound
        assert {gradient.dtype for gradient in gradients(other, output)} == {kind}


def test_the_reference_computes_doubles_as_doubles() -> None:
    network, image = network_and_image("MaIR")
    exact = copy.deepcopy(network).double()
    set_backend(exact, "reference")
    by_numba = copy.deepcopy(exact)
    set_backend(by_numba, "numba")
    with torch.no_grad():
        nudged = image.double() + 1e-9
        assert not torch.equal(exact(nudged), exact(image.double()))
        assert float((by_numba(nudged) - exact(nudged)).abs().max()) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_a_compiled_network_is_one_graph_and_computes_the_same(name: str) -> None:
    network, image = network_and_image(name)
    compiled = cast(Callable[[Tensor], Tensor], torch.compile(network, backend=COMPILER, fullgraph=True))
    output, expected = compiled(image), network(image)
    torch.testing.assert_close(output, expected)
    for found, wanted in zip(gradients(network, output), gradients(network, expected), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_a_network_may_be_compiled_where_nothing_is_recorded_and_sizes_may_change() -> None:
    network, image = network_and_image("MaIR")
    compiled = cast(Callable[[Tensor], Tensor], torch.compile(network, backend=COMPILER, fullgraph=True))
    with torch.inference_mode():
        for height, width in ((8, 16), (7, 11)):
            part = image[:, :, :height, :width]
            torch.testing.assert_close(compiled(part), network(part))
    torch.testing.assert_close(compiled(image), network(image))


@pytest.mark.parametrize("name", CONFIGS)
def test_an_exported_network_holds_each_scan_as_one_node(name: str) -> None:
    network, image = network_and_image(name)
    exported = torch.export.export(network, (image,))
    with torch.no_grad():
        torch.testing.assert_close(exported.module()(image), network(image))
    scans = [
        node
        for node in exported.graph.nodes
        if "merged_scan" in str(node.target) or "selective_scan" in str(node.target)
    ]
    assert len(scans) == sum(1 for module in network.modules() if hasattr(module, "A_logs"))


class _Kept:
    """Bytes that autograd keeps for gradients."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}

    def pack(self, tensor: Tensor) -> Any:
        self.sizes[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())


@pytest.mark.parametrize("name", CONFIGS)
def test_checkpointing_keeps_less_and_changes_no_gradient(name: str) -> None:
    kept, found = [], []
    for use_checkpoint in (False, True):
        rate = 0.0 if name == "MambaIRv2" else 0.5  # it draws kinds of pixels instead
        network, image = network_and_image(name, use_checkpoint=use_checkpoint, drop_path_rate=rate)
        network.train()
        torch.manual_seed(1)  # stochastic depth
        memory = _Kept()
        with torch.autograd.graph.saved_tensors_hooks(memory.pack, lambda tensor: tensor):
            output = network(image)
        kept.append(memory.bytes - sum(p.untyped_storage().nbytes() for p in network.parameters()))
        found.append(gradients(network, output))
    assert kept[1] < 0.6 * kept[0]
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
