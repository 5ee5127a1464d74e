"""Precision: names, and what autocast does with them."""

from __future__ import annotations

import pytest
import torch

from mair_cli.errors import UsageError
from mair_cli.runtime.precision import arithmetic, check_precision
from mair_cli.runtime.precision_names import PRECISIONS

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_products_are_computed_in_the_named_precision(name: str, dtype: torch.dtype) -> None:
    check_precision(name, CPU)
    with arithmetic(name, CPU):
        assert torch.nn.functional.linear(torch.ones(2, 2), torch.ones(2, 2)).dtype == dtype


def test_an_unknown_name_is_refused() -> None:
    assert PRECISIONS == ("fp32", "bf16", "fp16")
    with pytest.raises(UsageError, match="`precision` int8"):
        check_precision("int8", CPU)
