"""Learning rate, patch and batch over a run, and the losses."""

from __future__ import annotations

import math

import pytest
import torch

from mair_cli.training.losses import charbonnier_loss, make_loss
from mair_cli.training.recipe import DataSettings, TrainingSettings
from mair_cli.training.schedule import learning_rate, patch_and_batch


def test_the_published_schedule_halves_at_50_80_90_and_95_percent() -> None:
    training = TrainingSettings(steps=500_000, learning_rate=2e-4, schedule="multistep")
    rates = {step: learning_rate(training, step) for step in (0, 249_999, 250_000, 400_000, 450_000, 475_000, 499_999)}
    expected = dict(zip(rates, (1, 1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16), strict=True))
    assert rates == {step: pytest.approx(2e-4 * share) for step, share in expected.items()}


def test_cosine_rises_to_its_peak_and_falls_to_its_end() -> None:
    training = TrainingSettings(steps=1000, learning_rate=1e-3, warmup=100, final_learning_rate=1e-5)
    rates = [learning_rate(training, step) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-5)
    assert max(rates) == pytest.approx(1e-3) == rates[99] == rates[100]
    assert rates[:100] == sorted(rates[:100])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[550] == pytest.approx((1e-3 + 1e-5) / 2)
    assert rates[-1] == pytest.approx(1e-5, rel=1e-2)


def test_the_cosine_begins_where_the_constant_part_ends() -> None:
    training = TrainingSettings(steps=1000, learning_rate=1e-3, warmup=100, hold=400, final_learning_rate=1e-5)
    rates = [learning_rate(training, step) for step in range(1000)]
    assert rates[99:501] == [pytest.approx(1e-3)] * 402
    assert rates[501] < 1e-3
    assert rates[750] == pytest.approx((1e-3 + 1e-5) / 2)
    assert rates[-1] == pytest.approx(1e-5, rel=2e-2)


def test_a_constant_schedule_stays() -> None:
    training = TrainingSettings(steps=10, learning_rate=1e-3, schedule="constant")
    assert {learning_rate(training, step) for step in range(10)} == {1e-3}


def test_stages_change_patch_and_batch_where_they_begin() -> None:
    data = DataSettings(images=("x",), patch=16, batch=8)
    training = TrainingSettings(steps=100, stages=((0.5, 24, 4), (0.25, 32, 2)))
    assert [patch_and_batch(data, training, step) for step in (0, 24, 25, 49, 50, 99)] == [
        (16, 8),
        (16, 8),
        (32, 2),
        (32, 2),
        (24, 4),
        (24, 4),
    ]


def test_losses_are_the_articles() -> None:
    a, b = torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.0, 0.0, 0.0])
    assert float(make_loss("l1")(a, b)) == pytest.approx(0.5)
    expected = sum(math.sqrt(d * d + 1e-6) for d in (0.0, 0.5, 1.0)) / 3
    assert float(make_loss("charbonnier", 1e-3)(a, b)) == pytest.approx(expected)
    assert float(charbonnier_loss(b, b)) == pytest.approx(1e-3)
    assert float(make_loss("mse")(a, b)) == pytest.approx(1.25 / 3)


def test_total_variation_is_the_mean_step_down_plus_the_mean_step_across() -> None:
    image = torch.tensor([[0.0, 0.0, 1.0], [0.5, 0.5, 0.5]]).expand(2, 3, 2, 3)
    down, across = (0.5 + 0.5 + 0.5) / 3, (0 + 1 + 0 + 0) / 4
    assert float(make_loss("l1", tv=0.1)(image, image)) == pytest.approx(0.1 * (down + across))
