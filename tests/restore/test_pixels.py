"""Image arrays: what is accepted, what is refused and how, and that numbers survive the way through floats."""

from __future__ import annotations

import numpy as np
import pytest

from mair_cli.errors import UsageError
from mair_cli.restore.pixels import check_image, store_rounded, to_unit


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_integer_value_comes_back(dtype: type[np.generic]) -> None:
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(16, -1, 1)  # type: ignore[type-var]
    back = np.empty_like(values)
    store_rounded(back, to_unit(values))
    np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4, 4), np.uint8), "alpha"),
        (np.zeros((4, 4, 1), np.uint8), "shape"),
        (np.zeros((4,), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 4, 3), np.float64), "float64"),
        (np.zeros((4, 4, 3), np.int16), "int16"),
        (np.zeros((4, 4), bool), "bool"),
        (np.full((4, 4), 200, np.float32), r"\[0, 1\]"),
        (np.full((4, 4), np.nan, np.float32), r"\[0, 1\]"),
        (np.full((4, 4), -np.inf, np.float32), r"\[0, 1\]"),
    ],
)
def test_arrays_of_another_kind_are_refused_in_words(image: np.ndarray, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_image(image)


def test_something_else_than_an_array_is_refused() -> None:
    with pytest.raises(UsageError, match="NumPy array"):
        check_image([[1, 2], [3, 4]])  # type: ignore[arg-type]


def test_noise_may_carry_floats_beyond_black_and_white() -> None:
    check_image(np.array([[-1.2, 2.1]], np.float32))
