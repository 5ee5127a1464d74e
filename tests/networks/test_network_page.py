"""docs/network.md has what the code cites, and tells of the code what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "network.md").read_text("utf-8")
CITATIONS = [
    (str(path.relative_to(ROOT)), found.group(1) or "")
    for path in sorted((ROOT / "mair_cli").rglob("*.py"))
    for found in re.finditer(r"(?<!/)network\.md(?:, (\d+))?", path.read_text("utf-8"))
]


def test_the_code_cites_the_page() -> None:
    assert len(CITATIONS) > 15


@pytest.mark.parametrize(("file", "section"), CITATIONS)
def test_each_citation_names_a_section_that_is_there(file: str, section: str) -> None:
    assert re.search(rf"^## {section or '-'}\. ", PAGE, re.MULTILINE), f"{file} cites section {section!r}"


def test_files_and_folders_that_the_page_names_exist() -> None:
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py)?)`|\]\(([a-z_]+\.md)\)", PAGE)
    for code, page in named:
        places = [ROOT / "docs" / page] if page else [ROOT / "mair_cli" / code, ROOT / code]
        assert any(place.exists() for place in places), code or page
