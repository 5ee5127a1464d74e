"""Geometry: every pixel is covered, by tiles of one size, with the overlap that was asked for."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mair_cli.restore.tiling import Region, Span, cut_axis, plan_tiles


def overlaps(spans: tuple[Span, ...]) -> list[int]:
    return [left.stop - right.start for left, right in pairwise(spans)]


@pytest.mark.parametrize("align", [1, 8, 16])
def test_spans_cover_every_length_with_at_least_the_overlap_asked_for(align: int) -> None:
    for length in range(1, 132):
        for tile in (1, 2, 3, 5, 8, 16, 17, 31, 32, 64, 130):
            for overlap in {0, 1, tile // 4, tile // 2, tile, 200}:
                spans = cut_axis(length, tile, overlap, align)
                assert spans[0].start == 0
                assert spans[-1].stop == length
                assert len({span.length for span in spans}) == 1
                assert spans[0].length <= tile
                assert all(shared >= min(overlap, tile // 2) for shared in overlaps(spans))
                assert all(a.start < b.start for a, b in pairwise(spans))


def test_a_tile_of_zero_or_of_the_whole_length_is_one_span() -> None:
    assert cut_axis(100, 0, 16) == cut_axis(100, 100, 16) == cut_axis(100, 200, 16) == (Span(0, 100),)


def test_one_pixel_more_than_a_tile_makes_two_halves_not_two_whole_tiles() -> None:
    assert cut_axis(65, 64, 8) == (Span(0, 37), Span(28, 65))


def test_no_fewer_tiles_would_do() -> None:
    for length in range(65, 400, 7):
        spans = cut_axis(length, 64, 16)
        assert (len(spans) - 1) * 64 - (len(spans) - 2) * 16 < length


def test_aligned_tiles_lie_on_the_stripes_of_the_whole_image_from_both_ends() -> None:
    spans = cut_axis(405, 160, 16, 16)
    assert len(spans) > 1
    assert all(span.start % 16 == 0 and (405 - span.stop) % 16 == 0 for span in spans)


def test_alignment_is_given_up_where_it_would_cost_much() -> None:
    assert cut_axis(100, 20, 4, 16) == cut_axis(100, 20, 4)


def test_a_grid_yields_its_regions_row_by_row() -> None:
    grid = plan_tiles(3, 4, 2, 0)
    assert [(row, column) for row, column, _ in grid] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len(grid) == 4
    assert grid.region(1, 1).slices == (slice(1, 3), slice(2, 4))
    assert Region(1, 2, 3, 5).scaled(4) == Region(4, 8, 12, 20)


@pytest.mark.parametrize("sizes", [(0, 5, 4, 1), (5, 0, 4, 1), (5, 5, -1, 1), (5, 5, 4, -1)])
def test_impossible_sizes_are_refused(sizes: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="no tiles"):
        plan_tiles(*sizes)
