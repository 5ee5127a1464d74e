"""Which optimiser changes which parameters, and how."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mair_cli.networks import build_network
from mair_cli.training.optimizers import Muon, make_optimizers
from mair_cli.training.recipe import OPTIMIZERS, Optimizer, TrainingSettings


def _network() -> nn.Module:
    torch.manual_seed(0)
    return build_network({"upscale": 2, "embed_dim": 16, "depths": [1], "d_state": 1, "ssm_ratio": 1.5}).train()


def _step(network: nn.Module, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """How one step with a learning rate of 0.01 changes each parameter."""
    training = TrainingSettings(steps=1, optimizer=optimizer, learning_rate=0.01)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizers = make_optimizers(training, network)
    image = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    network(image).square().mean().backward()
    optimizers.step()
    return {name: parameter.detach() - before[name] for name, parameter in network.named_parameters()}


def _spread(matrix: torch.Tensor) -> float:
    """Largest singular value over the median one."""
    values = torch.linalg.svdvals(matrix.flatten(1))
    return float(values[0] / values.median())


@pytest.mark.parametrize("part", ["conv_blk.fc1.weight", "self_attention.in_proj.weight", "0.conv.weight"])
def test_muon_moves_inner_matrices_equally_in_all_their_directions(part: str) -> None:
    muon, adam = _step(_network(), "muon"), _step(_network(), "adam")
    (name,) = (name for name in muon if name.endswith(part))
    assert _spread(muon[name]) < 1.7
    assert _spread(adam[name]) > 2.5


def test_muon_leaves_scan_pixels_norms_and_biases_to_adam() -> None:
    muon, adam = _step(_network(), "muon"), _step(_network(), "adam")
    same = {name for name in muon if torch.equal(muon[name], adam[name])}
    matrices = {
        name
        for name in muon
        if name.endswith(
            ("in_proj.weight", "out_proj.weight", "fc1.weight", "fc2.weight", "conv.weight", "body.weight")
        )
    }
    assert set(muon) - same == matrices


def test_muon_steps_are_as_large_as_those_of_adam() -> None:
    muon, adam = _step(_network(), "muon"), _step(_network(), "adam")
    for name, change in muon.items():
        assert 0.1 < float(change.norm() / adam[name].norm()) <= 1.001, name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_parameter_moves(optimizer: Optimizer) -> None:
    assert [name for name, change in _step(_network(), optimizer).items() if not bool(change.any())] == []


@pytest.mark.parametrize("shape", [(12, 12), (12, 40), (40, 12)])
def test_our_muon_agrees_with_that_of_pytorch_within_its_bfloat16(shape: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(0)
    start = torch.randn(*shape, generator=random)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    muon = Muon([ours], lr=0.01, weight_decay=0.1)
    reference = torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        ours.grad = torch.randn(*shape, generator=random)
        theirs.grad = ours.grad.clone()
        muon.step()
        reference.step()
    change = theirs.detach() - start
    torch.testing.assert_close(ours.detach() - start, change, atol=0.05 * float(change.abs().max()), rtol=0)
