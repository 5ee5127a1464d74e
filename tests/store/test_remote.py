"""Files elsewhere: what is fetched goes to a file a piece at a time, and no more than is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mair_cli.store.remote import Address, kind_of, parse_place


@pytest.fixture
def address() -> Address:
    place = parse_place("memory://bucket/folder/ten")
    assert isinstance(place, Address)
    place.write(b"0123456789")
    return place


def test_a_file_is_fetched_unless_it_is_too_large(
    address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Address, "read", None)  # which would hold all of it
    address.fetch(tmp_path / "whole", 10)
    assert (tmp_path / "whole").read_bytes() == b"0123456789"
    with pytest.raises(OSError, match="larger than"):
        address.fetch(tmp_path / "part", 9)
    assert not (tmp_path / "part").exists()


def test_what_a_place_is_is_asked_alike_here_and_elsewhere(address: Address, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert [kind_of(place) for place in (tmp_path / "file", tmp_path, tmp_path / "gone")] == ["file", "folder", None]
    assert [kind_of(place) for place in (address, address.parent, address.with_name("gone"))] == [
        "file",
        "folder",
        None,
    ]
