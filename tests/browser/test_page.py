"""The web page in Chromium; `make browser-test`. Screenshots go to $BLITZNET_SCREENSHOTS."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from blitznet.cpu import usable_cores

selenium = pytest.importorskip("selenium", reason="needs the extra `browser`")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"),
]

EXAMPLES = Path(__file__).parents[2] / "src/blitznet/service/page/examples"
CAT = EXAMPLES / "chelsea.jpg"
SECONDS = 60

# Same as Ctrl+V with an image in the clipboard.
PASTE = """
const done = arguments[arguments.length - 1];
fetch("/page/examples/astronaut.jpg").then((answer) => answer.blob()).then((blob) => {
  const data = new DataTransfer();
  data.items.add(new File([blob], "shot.png", {type: blob.type}));
  document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
  done();
});
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Address of a service with the bundled network."""
    command = [sys.executable, "-m", "blitznet", "serve", "--port", "0", "--engine", "onnxruntime"]
    process = subprocess.Popen(
        [*command, "--workers", str(min(2, usable_cores()))], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"http://[\d.:]+", line)
    assert found, line
    yield found[0]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def open_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """A browser, one for each set of flags."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    opened: dict[tuple[str, ...], Any] = {}

    def get(*flags: str) -> Any:
        if flags not in opened:
            options = webdriver.ChromeOptions()
            options.binary_location = CHROMIUM
            usual = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
            for flag in (*usual, *flags):
                options.add_argument(flag)
            folder = tmp_path_factory.mktemp("downloads")
            options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
            options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
            opened[flags] = webdriver.Chrome(options=options, service=Service(DRIVER))
            opened[flags].downloads = folder
        return opened[flags]

    yield get
    for browser in opened.values():
        browser.quit()


class Page:
    """The page in one browser."""

    def __init__(self, browser: Any, address: str, width: int = 1280, height: int = 900) -> None:
        self.browser = browser
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        browser.get(address)

    def __call__(self, identity: str) -> Any:
        return self.browser.find_element("id", identity)

    def wait(self, is_true: Callable[[], object]) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.browser, SECONDS).until(lambda _: is_true())

    def upload(self, path: Path) -> None:
        self("file").send_keys(str(path))
        self.wait(lambda: "in all" in self("summary").text or self("error").text)

    def set_range(self, identity: str, value: int) -> None:
        self.browser.execute_script(
            "arguments[0].value = arguments[1];"
            "arguments[0].dispatchEvent(new Event('input', {bubbles: true}))",
            self(identity), value,
        )  # fmt: skip

    def legend(self) -> list[str]:
        rows = self.browser.find_elements("css selector", "#legend button")
        return [" ".join(row.text.split()) for row in rows]

    def pixels(self) -> str:
        text: str = self.browser.execute_script(
            "return document.querySelector('canvas').toDataURL()"
        )
        return text

    def save(self, name: str) -> None:
        if folder := os.environ.get("BLITZNET_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.browser.save_screenshot(str(Path(folder) / f"{name}.png"))

    def complaints(self) -> list[str]:
        """Messages on the console, including violations of the content security policy."""
        lines = [entry["message"] for entry in self.browser.get_log("browser")]
        return [line for line in lines if "/predict" not in line]


@pytest.fixture
def page(open_browser: Callable[..., Any], address: str) -> Page:
    return Page(open_browser(), address)


def test_an_upload_is_drawn_and_described(page: Page) -> None:
    page.save("empty")
    page.upload(CAT)
    assert page("error").text == ""
    assert "1 \N{MULTIPLICATION SIGN} cat." in page("summary").text
    assert re.fullmatch("cat \N{MULTIPLICATION SIGN} 1 [0-9]+ %", page.legend()[0])
    assert "chelsea.jpg: 1 \N{MULTIPLICATION SIGN} cat" in page("canvas").get_attribute(
        "aria-label"
    )
    assert page.complaints() == []
    page.save("desktop")


def test_an_example_and_a_pasted_image_are_predicted(page: Page) -> None:
    page.browser.find_element("css selector", "[data-example='astronaut.jpg']").click()
    page.wait(lambda: "person" in page("summary").text)
    page.upload(CAT)
    page.browser.execute_async_script(PASTE)
    page.wait(lambda: "1 \N{MULTIPLICATION SIGN} person" in page("summary").text)


def test_the_slider_filters_without_asking_again(page: Page) -> None:
    page.upload(CAT)
    asked = "return performance.getEntriesByName(location.origin + '/predict?score=0.05').length"
    count = page.browser.execute_script(asked)
    page.set_range("score", 100)
    assert re.fullmatch(r"cat \d\d %", page.legend()[0])  # its pixels are still there
    page.set_range("score", 50)
    assert page.legend()[0].startswith("cat \N{MULTIPLICATION SIGN} 1")
    assert page.browser.execute_script(asked) == count


def test_switches_opacity_and_legend_change_the_drawing(page: Page) -> None:
    page.upload(CAT)
    drawn = [page.pixels()]
    for change in (
        page("boxes").click,
        page("map").click,
        page("map").click,
        lambda: page.set_range("opacity", 90),
    ):
        change()
        drawn.append(page.pixels())
    assert drawn[3] == drawn[1]  # the map is back
    assert len(set(drawn)) == 4
    page.upload(EXAMPLES / "astronaut.jpg")
    before = page.pixels()
    button = page.browser.find_elements("css selector", "#legend button")[-1]
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    if len(page.legend()) > 1:
        assert page.pixels() != before


def test_json_image_and_map_are_downloaded(page: Page) -> None:
    page.upload(CAT)
    folder = page.browser.downloads
    names = {"save-json": "chelsea.json", "save-png": "chelsea_drawn.png",
             "save-map": "chelsea_map.png"}  # fmt: skip
    for button, name in names.items():
        page(button).click()
        page.wait((folder / name).is_file)
        time.sleep(0.2)
    assert json.loads((folder / "chelsea.json").read_text())["detections"][0]["label"] == "cat"
    with Image.open(folder / "chelsea_drawn.png") as drawn:
        assert drawn.size == (451, 300)
    with Image.open(folder / "chelsea_map.png") as seg_map:
        assert seg_map.mode == "L"


def test_what_is_no_image_gets_the_line_of_predict(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("milk, bread")
    page.upload(tmp_path / "notes.jpg")
    assert page("error").text.startswith("notes.jpg: not an image; BlitzNet reads JPEG, PNG")
    page.save("error")
    (tmp_path / "scan.jpg").write_bytes(bytes(33_000_000))
    page("file").send_keys(str(tmp_path / "scan.jpg"))
    page.wait(lambda: "32 MB" in page("error").text)
    page.upload(CAT)
    assert page("error").text == ""


def test_the_keyboard_reaches_and_works_everything(page: Page) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page.upload(CAT)
    reached = set()
    for _ in range(20):
        active = page.browser.switch_to.active_element
        reached.add(active.get_attribute("id") or active.get_attribute("data-name") or "")
        ActionChains(page.browser).send_keys(Keys.TAB).perform()
    assert {"score", "opacity", "boxes", "map", "cat", "save-json"} <= reached
    page("boxes").send_keys(Keys.SPACE)
    assert not page("boxes").is_selected()


def test_a_phone_needs_no_sideways_scrolling(
    open_browser: Callable[..., Any], address: str
) -> None:
    page = Page(open_browser(), address, width=375, height=812)
    page.save("phone-empty")
    page.upload(CAT)
    overflow = "return document.documentElement.scrollWidth - window.innerWidth"
    assert page.browser.execute_script(overflow) <= 0
    page.save("phone")


def test_dark_mode_is_dark(open_browser: Callable[..., Any], address: str) -> None:
    page = Page(open_browser(), address)
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.upload(EXAMPLES / "astronaut.jpg")
    page.save("dark")
    ground = page.browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert max(int(part) for part in re.findall(r"\d+", ground)) < 40


def test_the_camera_is_live_with_frames_per_second(
    open_browser: Callable[..., Any], address: str
) -> None:
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    page = Page(open_browser(*flags), address)
    page("camera").click()
    page.wait(lambda: "frames per second" in page("summary").text or page("error").text)
    assert page("error").text == ""
    page("camera").click()
    assert page("camera").get_attribute("aria-pressed") == "false"


def test_the_documents_call_from_javascript_works(page: Page) -> None:
    code = (EXAMPLES.parents[4] / "docs/service.md").read_text()
    code = code.partition("```js\n")[2].partition("```")[0]
    images = page.browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "(async () => {"
        "const photo = await (await fetch('/page/examples/chelsea.jpg')).blob();"
        "const input = {files: [new File([photo], 'cat.jpg')]};"
        + code.replace("http://127.0.0.1:8000", "")
        + "done(images)})()"
    )
    assert images[0]["detections"][0]["label"] == "cat"


def test_the_page_of_the_interface_lists_every_route(page: Page, address: str) -> None:
    page.browser.get(f"{address}/docs")
    page.wait(lambda: page.browser.find_elements("css selector", "h3"))
    titles = [title.text for title in page.browser.find_elements("css selector", "h3")]
    assert {"POST /predict", "GET /health", "GET /ready", "GET /models", "GET /metrics"} <= {
        " ".join(re.findall(r"[A-Z]+|/.*", title)) for title in titles
    }
    assert page.complaints() == []
    page.save("docs")
