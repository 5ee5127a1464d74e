"""Long lists on disk, and the parts in which they are worked on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mair_cli.jobs.naming import Source, companion, place
from mair_cli.jobs.search import base_name
from mair_cli.jobs.spool import Filtered, Spool
from mair_cli.store.remote import Address

words = st.lists(st.text("ab/é\ud800", max_size=3), max_size=30)


@given(values=words, size=st.integers(1, 9))
def test_parts_hold_everything_in_order_and_never_split_what_belongs_together(values: list[str], size: int) -> None:
    spool = Spool(values, lambda value: value[:1])
    ordered = sorted(values, key=lambda value: value[:1].encode("utf-8", "surrogatepass"))
    parts = list(spool.parts(size))
    assert list(spool) == [value for _, _, part in parts for value in part] == ordered
    assert len(spool) == len(values)
    firsts = [{value[:1] for value in part} for _, _, part in parts]
    assert sum(map(len, firsts)) == len(set().union(*firsts))
    assert all(len(part) >= size for _, _, part in parts[:-1])
    for low, high, part in parts:
        assert sorted(spool.between(low, high)) == sorted(part)


def test_what_is_picked_is_looked_for_anew() -> None:
    picked = Filtered(Spool(range(9), str), lambda number: number % 3 == 0)
    assert (len(picked), list(picked), list(picked)) == (3, [0, 3, 6], [0, 3, 6])
    assert 3 in picked
    assert 4 not in picked


NAMES = st.from_regex(r"[a_]{1,2}(_jpg|_png|_compare|_mair_x4|_2024)?(_mair_s25|_PNG)?\.(jpg|png|bmp)", fullmatch=True)


@given(name=NAMES)
def test_an_input_and_its_results_have_one_base(name: str) -> None:
    folder = Address("s3://b/in")
    extension = "." + name.rpartition(".")[2]
    sources = [Source(folder / name, folder), Source(folder / f"{name.rpartition('.')[0]}.tif", folder)]
    for output in (None, Address("s3://b/out")):
        for result in place(sources, [extension, extension], suffix="_mair_x4", output=output):
            assert base_name(result) == base_name(companion(result)) == base_name(folder / name)
