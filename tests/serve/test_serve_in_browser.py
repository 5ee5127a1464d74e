"""The page of `mair serve` in a real browser: drop, wait, slide, save; by keys alone; nothing leaves the machine.

Skipped where there is no Chromium with its driver, or no selenium.
"""

from __future__ import annotations

import base64
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from browsing import MISSING, WHY_MISSING, chromium, requests_of
from PIL import Image
from serving import serving

from mair_cli.serve.server import PageServer

pytest.importorskip("selenium")
pytestmark = pytest.mark.skipif(MISSING, reason=WHY_MISSING)

DROP = """
const data = new DataTransfer();
for (const [name, type, text] of arguments[0]) {
  data.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name, {type}));
}
for (const kind of ["dragenter", "dragover", "drop"]) {
  const event = new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: data});
  document.getElementById("drop").dispatchEvent(event);
}
"""
BUSY = "return document.querySelectorAll('.picture[aria-busy=true]').length"
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNNAMED = """
const named = (e) => e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length;
return [...document.querySelectorAll("button, a, input, select, progress")]
  .filter((e) => !e.closest("[hidden], template") && !named(e)).map((e) => e.outerHTML);
"""


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, downloads: Path) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile"), downloads) as driver:
        yield driver


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[str, PageServer]]:
    with serving() as server:
        yield server


@pytest.fixture
def pictures(tmp_path: Path, photograph: npt.NDArray[np.uint8]) -> list[Path]:
    """What people drop: a PNG, a JPEG, a TIFF that browsers cannot show, and a damaged file."""
    image = Image.fromarray(photograph[100:160, 40:120])
    paths = [tmp_path / name for name in ("house.png", "kitchen <b>.jpg", "scan.tif", "broken.png")]
    for path in paths[:3]:
        image.save(path)
    paths[3].write_bytes(paths[0].read_bytes()[:40])
    return paths


@pytest.fixture
def open_page(browser: Any, running: tuple[str, PageServer]) -> Callable[[], str]:
    def open_it() -> str:
        browser.get("about:blank")
        browser.get_log("browser")
        browser.get_log("performance")
        browser.get(running[0])
        return running[0]

    return open_it


def dropped(browser: Any, paths: list[Path]) -> None:
    kinds = {".png": "image/png", ".jpg": "image/jpeg", ".tif": "image/tiff"}
    files = [[p.name, kinds.get(p.suffix, ""), base64.b64encode(p.read_bytes()).decode()] for p in paths]
    browser.execute_script(DROP, files)


def waited(browser: Any) -> None:
    wait(lambda: not browser.execute_script(BUSY))


def wait(until: Callable[[], object]) -> None:
    for _ in range(600):
        if until():
            return
        time.sleep(0.05)
    raise AssertionError("it takes too long")


def text_of(browser: Any, selector: str) -> list[str]:
    return [element.text for element in browser.find_elements("css selector", selector)]


def test_drop_wait_slide_save(
    browser: Any,
    running: tuple[str, PageServer],
    open_page: Callable[[], str],
    pictures: list[Path],
    downloads: Path,
) -> None:
    from selenium import webdriver

    address = open_page()
    dropped(browser, pictures)
    waited(browser)
    assert text_of(browser, "#sum") == ["3 of 4 done, 1 failed"]
    assert text_of(browser, ".picture h2") == [path.name for path in pictures]
    assert "cannot be read" in text_of(browser, ".picture.failed .hint")[0]
    shown = "return [...document.querySelectorAll('.picture:not(.failed) .stage img')].map((i) => i.naturalWidth)"
    wait(lambda: browser.execute_script(shown) == [80, 320] * 3)

    stage = browser.find_element("css selector", ".picture:not(.failed) .stage")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", stage)
    chain = webdriver.ActionChains(browser, duration=20).move_to_element(stage).click_and_hold()
    chain.move_by_offset(round(0.3 * stage.rect["width"]), 0).release().perform()
    at = float(browser.execute_script("return arguments[0].style.getPropertyValue('--at')", stage).rstrip("%"))
    assert at == pytest.approx(80, abs=2)

    browser.find_element("css selector", ".picture:not(.failed) .save").click()
    wait((downloads / "house_mair_x4.png").exists)
    assert Image.open(downloads / "house_mair_x4.png").size == (320, 240)
    browser.find_element("id", "save-all").click()
    wait((downloads / "mair.zip").exists)
    names = zipfile.ZipFile(downloads / "mair.zip").namelist()
    assert names == ["house_mair_x4.png", "kitchen <b>_mair_x4.jpg", "scan_mair_x4.png"]

    assert {url for url in requests_of(browser, address) if not url.startswith(address)} == set()
    assert browser.get_log("browser") == []
    browser.find_element("id", "clear").click()
    wait(lambda: not list(running[1].book.root.iterdir()))


def test_everything_can_be_done_by_keys_and_has_a_name(
    browser: Any, open_page: Callable[[], str], pictures: list[Path]
) -> None:
    from selenium.webdriver import Keys

    open_page()
    assert browser.execute_script(UNNAMED) == []
    body = browser.find_element("css selector", "body")
    body.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert browser.switch_to.active_element.get_attribute("value") == "denoise"
    assert [e.get_attribute("name") for e in browser.find_elements("css selector", ".field:not([hidden]) select")] == [
        "sigma",
        "format",
    ]
    browser.find_element("id", "files").send_keys(str(pictures[0]))
    waited(browser)
    assert "σ" in text_of(browser, ".picture .hint")[0]
    assert text_of(browser, "#said") == ["house.png is done."]
    assert browser.execute_script(UNNAMED) == []
    slider = browser.find_element("css selector", ".stage input")
    assert slider.get_attribute("aria-label") == "house.png: divide at"
    browser.execute_script("arguments[0].focus()", slider)
    slider.send_keys(Keys.ARROW_LEFT * 10)
    assert float(slider.get_attribute("value")) == pytest.approx(45, abs=1)
    browser.find_element("css selector", ".remove").send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "choose"
    assert browser.get_log("browser") == []


def test_other_wishes_are_applied_to_what_is_done_when_asked(
    browser: Any, open_page: Callable[[], str], pictures: list[Path]
) -> None:
    open_page()
    dropped(browser, pictures[:2])
    waited(browser)
    assert not browser.find_element("id", "again").is_displayed()
    browser.find_element("css selector", "input[name=scale][value='2']").click()
    assert all("→ 320 × 240" in text for text in text_of(browser, ".picture .hint"))
    browser.find_element("id", "again").click()
    waited(browser)
    assert all("→ 160 × 120" in text for text in text_of(browser, ".picture .hint"))
    browser.find_element("name", "size").send_keys("100x\t")
    browser.find_element("id", "again").click()
    waited(browser)
    assert all("→ 100 × 75" in text for text in text_of(browser, ".picture .hint"))
    assert not browser.find_element("id", "again").is_displayed()
    browser.find_element("id", "clear").click()


def test_leaving_the_page_forgets_its_pictures(
    browser: Any, running: tuple[str, PageServer], open_page: Callable[[], str], pictures: list[Path]
) -> None:
    open_page()
    dropped(browser, pictures[:1])
    waited(browser)
    assert list(running[1].book.root.iterdir())
    browser.get("about:blank")
    wait(lambda: not list(running[1].book.root.iterdir()))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_can_be_read_by_day_and_by_night(
    browser: Any, open_page: Callable[[], str], pictures: list[Path], scheme: str
) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    screen = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        open_page()
        dropped(browser, pictures[2:])
        waited(browser)
        assert browser.execute_script(OVERFLOW) <= 0
        for selector in ("b", ".lead", ".hint", ".failed .hint", ".choices small", "button.main"):
            assert contrast(browser, selector) >= 4.5, selector
        browser.find_element("id", "clear").click()
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def contrast(browser: Any, selector: str) -> float:
    """Of a text with what lies behind it, as WCAG 2 defines it."""
    script = """
    let e = document.querySelector(arguments[0]);
    const ink = getComputedStyle(e).color;
    while (getComputedStyle(e).backgroundColor === "rgba(0, 0, 0, 0)") e = e.parentElement;
    return [ink, getComputedStyle(e).backgroundColor].map((c) => c.match(/[0-9.]+/g).slice(0, 3).map(Number));
    """
    lights = []
    for color in browser.execute_script(script, selector):
        parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
        lights.append(float(np.dot((0.2126, 0.7152, 0.0722), parts)))
    return (max(lights) + 0.05) / (min(lights) + 0.05)
