"""Published figures are found for what was measured, and claimed as the same only where weights are the same."""

from __future__ import annotations

import pytest

from mair_cli.benchmark.methods import MethodInfo
from mair_cli.benchmark.published import _all_figures, counterpart, published_figures, published_images
from mair_cli.datasets.benchmark_sets import catalogue
from mair_cli.measure.protocol import MeasureProtocol


@pytest.mark.parametrize(("scale", "psnr"), [(2, 33.66), (3, 30.39), (4, 28.42)])
def test_bicubic_stands_with_its_published_figure(scale: int, psnr: float) -> None:
    figures = published_figures("Set5", MeasureProtocol("sr", scale))
    found = counterpart(MethodInfo("bicubic", "baseline", ""), figures)
    assert found is not None
    assert found.psnr == psnr
    assert [figure.psnr for figure in figures] == sorted(figure.psnr for figure in figures)


def test_figures_are_those_of_the_set_the_task_and_the_degree() -> None:
    for figure in published_figures("CBSD68", MeasureProtocol("denoise", sigma=25)):
        assert (figure.dataset, figure.task, figure.setting) == ("CBSD68", "denoise", 25)
    assert {figure.method for figure in published_figures("CBSD68", MeasureProtocol("denoise", sigma=25))} >= {
        "DnCNN",
        "MambaIR",
    }
    assert published_figures("CBSD68", MeasureProtocol("denoise", sigma=20)) == []
    assert published_figures("holiday", MeasureProtocol("sr", 4)) == []


def test_every_method_stands_once_per_table_and_has_a_source() -> None:
    for name in catalogue():
        for protocol in (MeasureProtocol("sr", 4), MeasureProtocol("sr", 2), MeasureProtocol("denoise", sigma=15)):
            figures = published_figures(name, protocol)
            assert len({figure.method for figure in figures}) == len(figures)
            assert all(len(figure.source) > 10 and 15 < figure.psnr < 60 for figure in figures)


@pytest.mark.parametrize(
    ("model", "ensemble", "method"),
    [
        ("mair-s-x4", False, "MaIR-S"),
        ("mair-sr-x4", True, "MaIR+"),
        ("mair-lite-x4", False, None),
        ("", False, None),
    ],
)
def test_only_the_very_same_weights_are_claimed_to_be_a_published_row(
    model: str, ensemble: bool, method: str | None
) -> None:
    figures = published_figures("Set5", MeasureProtocol("sr", 4))
    found = counterpart(MethodInfo("any", "model", "", model=model), figures, ensemble)
    assert (found.method if found else None) == method


def test_it_is_known_for_every_set_how_many_images_its_published_means_cover() -> None:
    for name in {figure.dataset for figure in _all_figures()}:
        known = catalogue().get(name)
        assert (known.images if known else published_images(name) or 0) >= 5, name
    assert published_images("holiday") is None


@pytest.mark.parametrize(("quality", "psnr"), [(10, (30.27, 30.37)), (30, (33.74, 33.81)), (40, (34.53, 34.64))])
def test_jpeg_removal_has_its_methods_own_figures(quality: int, psnr: tuple[float, float]) -> None:
    figures = [figure for figure in _all_figures() if (figure.task, figure.setting) == ("dejpeg", quality)]
    assert [(figure.method, figure.psnr) for figure in figures] == list(
        zip(("MambaIR", "MambaIRv2"), psnr, strict=True)
    )
    assert all(figure.primary and figure.dataset == "Classic5" for figure in figures)


def test_nothing_is_published_for_inputs_degraded_further() -> None:
    assert published_figures("Set5", MeasureProtocol("sr", 4))
    assert published_figures("CBSD68", MeasureProtocol("denoise", sigma=25))
    assert published_figures("Set5", MeasureProtocol("sr", 4, quality=75)) == []
    assert published_figures("Set5", MeasureProtocol("sr", 4, sigma=10)) == []
    assert published_figures("CBSD68", MeasureProtocol("denoise", sigma=25, quality=50)) == []
