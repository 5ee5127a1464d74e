"""The page works in a real browser: sliders move, tables sort, nothing is fetched, nothing complains.

Skipped where there is no Chromium with its driver, or no selenium.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import MISSING, WHY_MISSING, chromium, requests_of
from drawn_benchmark import DrawnBenchmark
from PIL import Image

from mair_cli.benchmark.comparison import compare_images
from mair_cli.benchmark.environment import describe_environment
from mair_cli.benchmark.html import render_html
from mair_cli.benchmark.methods import BaselineMethod
from mair_cli.benchmark.published import published_figures
from mair_cli.benchmark.report import BenchmarkReport
from mair_cli.measure.protocol import MeasureProtocol

webdriver = pytest.importorskip("selenium.webdriver")
pytestmark = pytest.mark.skipif(MISSING, reason=WHY_MISSING)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def page(tmp_path: Path) -> Path:
    run = DrawnBenchmark.below(tmp_path)(keep_outputs=True)
    for name in ("nearest", "bicubic"):
        run.run(BaselineMethod(name, MeasureProtocol("sr", 2)))
    published = published_figures("Set5", MeasureProtocol("sr", 2))
    report = BenchmarkReport("Set5", run.outcome, {"cut up": "no"}, describe_environment(), published, full_set=3)
    path = tmp_path / "page.html"
    path.write_text(render_html(report), encoding="utf-8")
    return path


def _open(browser: Any, path: Path) -> None:
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())


def _at(browser: Any, viewer: int = 0) -> float:
    script = "return document.querySelectorAll('.stage')[arguments[0]].style.getPropertyValue('--at')"
    return float(browser.execute_script(script, viewer).rstrip("%"))


def _drag(browser: Any, share: float) -> None:
    stage = browser.find_element("css selector", ".stage")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", stage)
    width = stage.rect["width"]
    chain = webdriver.ActionChains(browser, duration=20)
    chain.move_to_element(stage).click_and_hold()
    chain.move_by_offset(round((share - 0.5) * width), 0).release().perform()


def _column(browser: Any, table: int, column: int) -> list[str]:
    script = (
        "return [...document.querySelectorAll('table.sortable')[arguments[0]].tBodies[0].rows]"
        ".map(row => row.cells[arguments[1]].textContent)"
    )
    return list(browser.execute_script(script, table, column))


def _head(browser: Any, table: int, column: int) -> Any:
    tables = browser.find_elements("css selector", "table.sortable")
    return tables[table].find_element("css selector", f"th[data-column='{column}'] button")


def test_page_opens_without_fetching_anything_and_without_a_complaint(browser: Any, page: Path) -> None:
    _open(browser, page)
    assert requests_of(browser, page.as_uri()) == [page.as_uri()]
    assert browser.get_log("browser") == []
    loaded = "return [...document.images].map(image => image.complete && image.naturalWidth > 0)"
    assert all(browser.execute_script(loaded))
    assert len(browser.find_elements("css selector", ".viewer")) == 3
    overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(overflow) <= 0


def test_slider_follows_the_pointer_and_the_keys(browser: Any, page: Path) -> None:
    _open(browser, page)
    _drag(browser, 0.8)
    assert _at(browser) == pytest.approx(80, abs=2)
    _drag(browser, 0.1)
    assert _at(browser) == pytest.approx(10, abs=2)
    browser.switch_to.active_element.send_keys(webdriver.Keys.ARROW_RIGHT * 4)
    assert _at(browser) == pytest.approx(12, abs=2)
    assert browser.get_log("browser") == []


def test_slider_shows_one_picture_on_each_side(browser: Any, page: Path, tmp_path: Path) -> None:
    left, right = np.zeros((60, 80, 3), np.uint8), np.full((60, 80, 3), 255, np.uint8)
    paths = [tmp_path / "left.png", tmp_path / "right.png"]
    for path, image in zip(paths, (left, right), strict=True):
        Image.fromarray(image).save(path)
    target = tmp_path / "compare.html"
    target.write_text(compare_images(paths).render_html(), encoding="utf-8")
    _open(browser, target)
    _drag(browser, 0.75)
    shot = tmp_path / "stage.png"
    browser.find_element("css selector", ".stage").screenshot(str(shot))
    row = np.asarray(Image.open(shot).convert("L"))[-4]
    assert (row[: int(0.7 * row.size)] < 30).all()
    assert (row[int(0.8 * row.size) :] > 225).all()


def test_each_side_can_show_every_picture(browser: Any, page: Path) -> None:
    _open(browser, page)
    viewer = browser.find_element("css selector", ".viewer")
    select = viewer.find_element("css selector", "select.right")
    names = [option.text for option in select.find_elements("css selector", "option")]
    assert names == ["input, bicubic", "nearest", "ground truth"]
    select.find_elements("css selector", "option")[2].click()
    assert viewer.find_element("css selector", ".tag.r").text == "ground truth"
    shown = viewer.find_element("css selector", "img.right").get_attribute("alt")
    assert shown.endswith("ground truth")


def test_zoom_enlarges_the_picture_pixel_by_pixel(browser: Any, page: Path) -> None:
    _open(browser, page)
    stage = browser.find_element("css selector", ".stage")
    width = int(stage.get_attribute("data-width"))
    browser.find_element("css selector", ".zoom button[data-zoom='4']").click()
    assert stage.rect["width"] == pytest.approx(4 * width, abs=1)
    assert stage.find_element("css selector", "img").value_of_css_property("image-rendering") == "pixelated"


def test_table_sorts_both_ways_by_number_and_by_name(browser: Any, page: Path) -> None:
    _open(browser, page)
    images = 2  # tables: summary, published, image by image
    assert _column(browser, images, 0) == ["p1", "p2", "p3"]
    values = [float(text) for text in _column(browser, images, 2)]
    _head(browser, images, 2).click()
    assert [float(text) for text in _column(browser, images, 2)] == sorted(values, reverse=True)
    _head(browser, images, 2).click()
    assert [float(text) for text in _column(browser, images, 2)] == sorted(values)
    _head(browser, images, 0).click()
    _head(browser, images, 0).click()
    assert _column(browser, images, 0) == ["p3", "p2", "p1"]
    foot = browser.find_element("css selector", "table.wide tfoot").text
    assert foot.startswith("mean")


def test_table_switches_between_the_kinds_of_channels(browser: Any, page: Path) -> None:
    _open(browser, page)
    before = _column(browser, 2, 2)
    browser.find_element("css selector", "select.channel option[value='rgb']").click()
    after = _column(browser, 2, 2)
    assert all(float(rgb) < float(y) for rgb, y in zip(after, before, strict=True))
    browser.find_element("css selector", "select.channel option[value='y']").click()
    assert _column(browser, 2, 2) == before


def test_page_says_what_was_measured_without_any_script(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "Set5, super-resolution ×2" in text
    assert "33.66" in text
    assert "http" not in text.replace("http-equiv", "")
