"""Self-ensemble: all eight views, each undone, and their mean."""

from __future__ import annotations

import torch
from torch import Tensor

from mair_cli.restore.ensemble import ensemble


def test_the_network_sees_eight_different_views() -> None:
    seen: list[Tensor] = []

    def network(x: Tensor) -> Tensor:
        seen.append(x.clone())
        return x

    ensemble(network)(torch.rand(1, 3, 5, 5))
    assert len({tuple(view.flatten().tolist()) for view in seen}) == 8


def test_views_are_undone_before_they_are_averaged() -> None:
    x = torch.rand(2, 3, 4, 7)
    up = ensemble(lambda view: view.repeat_interleave(2, 2).repeat_interleave(2, 3))(x)
    torch.testing.assert_close(up, x.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_the_result_turns_with_the_image() -> None:
    weight = torch.rand(3, 3, 3, 3)
    restore = ensemble(lambda view: torch.nn.functional.conv2d(view, weight, padding=1))
    x = torch.rand(1, 3, 6, 9)
    torch.testing.assert_close(restore(x.rot90(1, (2, 3))), restore(x).rot90(1, (2, 3)))


def test_half_precision_results_are_added_up_in_float32() -> None:
    assert ensemble(lambda view: view.half())(torch.rand(1, 3, 4, 4)).dtype == torch.float32
