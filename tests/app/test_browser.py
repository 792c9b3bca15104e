"""The dashboard as a reader has it: a real Chromium, a real server, names that try to be markup."""

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlparse

import jsonschema
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from playwright.sync_api import TimeoutError as NotInTime

from gnoise.export.report import write_report
from gnoise.runfile import RunWriter, open_run, write_findings
from tests.app.conftest import BLOCKS, write_blocks
from tests.charts.records import ESTIMATES, HOSTILE, INFO, LAYERS, RECOMMENDATIONS

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "gnoise" / "export" / "recommendations.schema.json"
SCREENS = ROOT / "runs" / "screens"
"""Every page in light and dark, for a person to look at; git ignores the folder."""
PAGES = {
    "overview": ".st-key-heat-map table",
    "layers": ".st-key-tail .main-svg",
    "noise-scale": ".st-key-noise-scales .main-svg",
    "norms": ".st-key-norm-series .main-svg",
    "remedies": "text=No remedy was judged",
    "trial": "text=No trial yet",
    "compare": "text=Nothing to compare with",
    "about-this-run": "text=The command that made it",
}
"""Address to what a reader waits for there."""
RTL = "\u202e\u05e9\u05dc\u05d5\u05dd\u202c"
LONG = f'"><img src=x onerror="window.hacked=1">{RTL}' + "x" * 460
"""A layer's name of 500 characters."""
TOKEN = "<script>window.hacked=1</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.fail("expected chromium, got none; try apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose names, tokens, data and own path would all like to be markup."""
    folder = tmp_path_factory.mktemp("hostile") / "a <b>folder<b> 'with' \"quotes\""
    path = folder / "full <i>run<i>.gnoise"
    names = {"h.0.mlp.weight": LONG}
    info = replace(INFO, data=HOSTILE, command=f"gnoise profile '{HOSTILE}'")
    with RunWriter(path, info=info, layers=LAYERS, tokens=[TOKEN] * 50) as writer:
        write_blocks(writer, range(BLOCKS))
    _rename(path, names)
    estimates = [replace(each, layer=names.get(each.layer or "", each.layer)) for each in ESTIMATES]
    write_findings(path, estimates, RECOMMENDATIONS)
    return path


def _rename(path: Path, names: dict[str, str]) -> None:
    connection = sqlite3.connect(path)
    for old, new in names.items():
        connection.execute("UPDATE layer SET name = ?, owners = ? WHERE name = ?", (new, json.dumps([new]), old))
    connection.execute("UPDATE run SET value = '\"complete\"' WHERE key = 'state'")
    connection.commit()
    connection.close()


@contextmanager
def _served(*runs: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gnoise", "app", *map(str, runs), "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        while server.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health").close()
            except OSError:
                time.sleep(0.1)
            else:
                break
        assert server.poll() is None
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait()


@contextmanager
def _reader(browser: Browser, *, scheme: str = "light") -> Iterator[Page]:
    """Open a window of its own, in which nothing may complain and no name may run."""
    complaints: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        # A deep link lets Streamlit ask for its server below the page first, which is answered by 404.
        looks_for_server = "_stcore/" in urlparse(message.location["url"]).path
        if message.type == "error" and not looks_for_server:
            complaints.append(f"{message.text} {message.location}")

    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("console", complain)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert complaints == []
    assert page.evaluate("window.hacked") is None
    context.close()


def _settle(page: Page) -> None:
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")


def test_a_reader_goes_from_the_verdict_to_a_layer_and_takes_the_remedies_away(
    browser: Browser, hostile_run: Path, tmp_path: Path
) -> None:
    with _served(hostile_run) as url, _reader(browser) as page:
        page.goto(url)
        page.wait_for_selector(".st-key-heat-map table")
        _settle(page)
        page.screenshot(path=tmp_path / "overview.png")
        fits = page.eval_on_selector("[data-testid=stMain]", "main => main.scrollHeight <= main.clientHeight")
        assert fits
        assert page.get_by_role("heading", level=1).inner_text()
        picture = page.locator(".st-key-heat-map [aria-label], .st-key-heat-map [alt]").first
        assert "layers" in str(picture.get_attribute("aria-label") or picture.get_attribute("alt"))
        with page.expect_download() as download:
            page.get_by_role("button", name="Download recommendations.json").click()
        told = json.loads(Path(download.value.path()).read_text("utf-8"))
        jsonschema.validate(told, json.loads(SCHEMA.read_text("utf-8")))
        assert told["recommendations"][1]["layer"] == HOSTILE
        page.get_by_role("link", name="Open this layer").click()
        page.wait_for_selector(".st-key-tail .main-svg")
        assert page.get_by_role("combobox").first.input_value() == HOSTILE
        _click_first_row(page, until="**layer=wte.weight**")
        page.get_by_role("tab", name="Quantiles").click()
        page.wait_for_selector(".st-key-quantiles .main-svg")
        assert "view=Quantiles" in page.url
        link = page.url
        page.screenshot(path=tmp_path / "layer.png")
        with _reader(browser, scheme="dark") as other:
            other.goto(link)
            other.wait_for_selector(".st-key-quantiles .main-svg")
            assert other.get_by_role("combobox").first.input_value() == "wte.weight"
            other.screenshot(path=tmp_path / "layer-dark.png")


def _click_first_row(page: Page, *, until: str) -> None:
    """Tick the first row of the table of layers; it is drawn on a canvas, and a click may come before it listens."""
    for seconds in (10, 15, 60):
        _settle(page)
        box = page.locator("[data-testid=stDataFrame]").first.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 17, box["y"] + 53)
        try:
            page.wait_for_url(until, timeout=1000 * seconds)
        except NotInTime:
            continue
        return
    raise AssertionError(f"three clicks did not lead to {until}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_opens_by_its_address_and_names_stay_text(browser: Browser, hostile_run: Path, scheme: str) -> None:
    SCREENS.mkdir(parents=True, exist_ok=True)
    with _served(hostile_run) as url, _reader(browser, scheme=scheme) as page:
        for address, wanted in PAGES.items():
            page.goto(url + address)
            page.wait_for_selector(wanted)
            _settle(page)
            assert page.get_by_text("Page not found").count() == 0
            assert page.get_by_text("Traceback").count() == 0
            assert _is_dark(page) is (scheme == "dark")
            page.screenshot(path=SCREENS / f"{address}-{scheme}.png")
        page.goto(f"{url}layers?layer={quote(LONG)}")
        page.wait_for_selector(".st-key-tail .main-svg")
        assert page.get_by_role("combobox").first.input_value() == LONG


def _is_dark(page: Page) -> bool:
    ground = page.eval_on_selector("[data-testid=stApp]", "app => getComputedStyle(app).backgroundColor")
    return int(ground.split("(")[1].split(",")[0]) < 128


SWITCHED = """([text, page, before]) => {
    const [fill, colour] = [text, page].map(each => getComputedStyle(document.querySelector(each)))
    return colour.color !== before && fill.fill === colour.color
}"""
"""The page has another colour of text than before, and so has the chart."""


def test_the_theme_can_be_switched_in_the_menu_and_text_stays_readable(browser: Browser, hostile_run: Path) -> None:
    with _served(hostile_run) as url, _reader(browser) as page:
        page.goto(url)
        for key, link in (("noise-scales", "Noise scale"), ("tail", "Layers")):
            page.get_by_role("link", name=link, exact=True).click()
            page.wait_for_selector(f".st-key-{key} .main-svg")
            for theme in ("Dark", "Light"):
                _settle(page)
                before = page.eval_on_selector("[data-testid=stApp]", "app => getComputedStyle(app).color")
                page.get_by_test_id("stMainMenu").click()
                page.get_by_role("menuitemradio", name=theme).click()
                page.keyboard.press("Escape")
                page.wait_for_function(SWITCHED, arg=[f".st-key-{key} .ytick text", "[data-testid=stApp]", before])
                assert _is_dark(page) is (theme == "Dark")


def test_two_readers_of_two_runs_do_not_disturb_each_other(browser: Browser, hostile_run: Path, bare_run: Path) -> None:
    with _served(hostile_run, bare_run) as url, _reader(browser) as one, _reader(browser) as other:
        one.goto(url)
        other.goto(f"{url}overview?run=bare.gnoise")
        one.get_by_text("412 sequences", exact=True).wait_for()
        other.get_by_text("Nothing was analysed yet").first.wait_for()
        one.get_by_role("link", name="Layers", exact=True).click()
        one.wait_for_selector(".st-key-tail .main-svg")
        other.get_by_role("link", name="About this run").click()
        other.get_by_text("The command that made it").wait_for()
        assert "run=bare.gnoise" in other.url
        one.get_by_role("link", name="Overview", exact=True).click()
        one.get_by_text("412 sequences", exact=True).wait_for()


def test_a_name_in_the_heat_map_leads_to_its_layer(browser: Browser, hostile_run: Path) -> None:
    with _served(hostile_run) as url, _reader(browser) as page:
        page.goto(url)
        page.locator(".st-key-heat-map").get_by_title(LONG, exact=True).click()
        page.wait_for_selector(".st-key-tail .main-svg")
        assert quote(LONG, safe="") in page.url.replace("+", "%20")
        assert page.evaluate("window.hacked") is None


def test_keys_alone_lead_to_another_page(browser: Browser, hostile_run: Path) -> None:
    with _served(hostile_run) as url, _reader(browser) as page:
        page.goto(url)
        page.wait_for_selector(".st-key-heat-map table")
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.innerText") == "Norms":
                break
        page.keyboard.press("Enter")
        page.wait_for_selector(".st-key-norm-series .main-svg")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_report_opens_from_disk_with_its_pictures(
    browser: Browser, hostile_run: Path, tmp_path: Path, *, scripts: bool
) -> None:
    target = tmp_path / "report.html"
    with open_run(hostile_run) as run:
        write_report(run, target, scripts=scripts)
    with _reader(browser) as page:
        page.goto(target.as_uri())
        page.wait_for_selector(".plot .main-svg" if scripts else ".still svg")
        page.screenshot(path=tmp_path / "report.png")
        assert page.get_by_text(HOSTILE).count() > 0
        assert page.get_by_text(LONG[:60]).count() > 0
