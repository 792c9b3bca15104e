"""The dashboard on 500 layers and 10,000 steps: seconds to its first paint and from page to page, and bytes it sends.

A real Chromium opens ``gnoise app`` as a reader would. First paint is when the verdict and the heat map stand on the
screen, counted from the opening once the server answers, by the browser's own clock, in one that has seen nothing yet.
A page switch is a click in the navigation until what the page is for is there, the first one after as long as it takes
to read the verdict: what draws charts is fetched meanwhile. Beside it stands an app of Streamlit that shows one heading
and no more. Bytes are all that came through the browser's network, the app's own JavaScript included, which a browser
keeps afterwards. A name in the heat map is a link that opens the app anew.
"""

import argparse
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from large_run import DRAWS, LAYERS, write_large_run
from playwright.sync_api import Page, sync_playwright
from report import publish

FIRST_PAINT_BAR, SWITCH_BAR, MEGABYTES_BAR = 2.0, 1.0, 15.0
FIRST = ".st-key-heat-map table"
BY_NAME = "a layer, by its name in the heat map"
FLOOR, FETCHED = "an empty app of Streamlit", "fetched ahead while it is read"
ADDRESS = "127.0.0.1"
PAGES = {
    "Layers": ".st-key-tail .main-svg",
    "Noise scale": ".st-key-noise-scales .main-svg",
    "Norms": ".st-key-norm-series .main-svg",
    "Remedies": ".st-key-ladder-chart .main-svg",
    "Trial": "text=No trial yet",
    "Compare": "text=Nothing to compare with",
    "About this run": "text=The command that made it",
    "Overview": FIRST,
}
"""Page to what a reader waits for on it, in the order visited."""
_CLOCK = "() => document.addEventListener('click', () => { window.clicked = performance.now() }, {capture: true})"
_SEEN = """wanted => {
    const seen = wanted.startsWith("text=") ? document.body.innerText.includes(wanted.slice(5))
        : document.querySelector(wanted)
    return seen ? performance.now() - (window.clicked || 0) : false
}"""
"""How long it has been, once there is an element or a text."""
_READING = 6_000.0
"""Milliseconds that a reader takes for the first page."""
_TIMEOUT = 60_000.0
_EMPTY = "import streamlit as st\nst.html('<h1 class=gn-headline>empty</h1>')\n"


@dataclass
class _Visit:
    """One reader's visit: seconds and megabytes a page."""

    seconds: dict[str, float] = field(default_factory=dict)
    megabytes: dict[str, float] = field(default_factory=dict)


class _Traffic:
    """Bytes that came into the browser, WebSocket messages included."""

    def __init__(self, page: Page) -> None:
        self.bytes = 0
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", lambda event: self._add(event["encodedDataLength"]))
        page.on("websocket", lambda socket: socket.on("framereceived", lambda payload: self._add(len(payload))))

    def _add(self, count: float) -> None:
        self.bytes += int(count)


def main() -> None:
    """Write the run, visit every page some times, publish medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="use this run file, made by large_run.py, instead of a new one")
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--no-save", action="store_true", help="print only")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = given.run or write_large_run(Path(folder) / "large.gnoise")
        empty = Path(folder) / "empty.py"
        empty.write_text(_EMPTY, encoding="utf-8")
        visits = [_visit(run, empty) for _ in range(given.visits)]
        _publish(visits, run.stat().st_size, save=not given.no_save)


def _visit(run: Path, empty: Path) -> _Visit:
    """Start a server and a browser of their own, and look at every page once."""
    visit = _Visit()
    ours = [sys.executable, "-m", "gnoise", "app", str(run), "--port"]
    plain = [sys.executable, "-m", "streamlit", "run", str(empty), "--server.headless=true"]
    with _opened([*plain, "--browser.gatherUsageStats=false", "--server.port"]) as (page, url, _):
        visit.seconds[FLOOR] = _seconds_until_headline(page, url)
    with _opened(ours) as (page, url, seconds):
        visit.seconds["server start"] = seconds
        _look(page, url, visit)
    return visit


@contextmanager
def _opened(command: list[str]) -> Iterator[tuple[Page, str, float]]:
    """Start a server and a browser; the page, the address and the seconds until the server answered."""
    executable = shutil.which("chromium")
    if executable is None:
        raise SystemExit("expected chromium, got none; try apt-get install chromium")
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port = probe.getsockname()[1]
    url = f"http://{ADDRESS}:{port}/"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        started = time.perf_counter()
        server = subprocess.Popen([*command, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(f"{url}_stcore/health", server)
            seconds = time.perf_counter() - started
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(_TIMEOUT)
            yield page, url, seconds
        finally:
            browser.close()
            server.terminate()
            server.wait()


def _seconds_until_headline(page: Page, url: str) -> float:
    page.goto(url, wait_until="commit")
    return _seconds_until(page, ".gn-headline")


def _seconds_until(page: Page, wanted: str) -> float:
    """Wait for what a reader waits for; seconds since the click, or the opening, by the browser's own clock."""
    return page.wait_for_function(_SEEN, arg=wanted, polling="raf").json_value() / 1e3


def _wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    while server.poll() is None:
        try:
            urllib.request.urlopen(url).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit(f"expected the server to start, but it ended with {server.returncode}")


def _look(page: Page, url: str, visit: _Visit) -> None:
    traffic = _Traffic(page)
    visit.seconds["first paint: verdict, numbers"] = _seconds_until_headline(page, url)
    visit.seconds["heat map as well"] = _seconds_until(page, FIRST)
    _settle(page)
    visit.megabytes["heat map as well"] = traffic.bytes / 1e6
    page.wait_for_timeout(_READING)
    visit.megabytes[FETCHED] = traffic.bytes / 1e6 - visit.megabytes["heat map as well"]
    for name, wanted in PAGES.items():
        before = traffic.bytes
        page.evaluate(_CLOCK)
        page.get_by_role("link", name=name, exact=True).click()
        visit.seconds[name] = _seconds_until(page, wanted)
        _settle(page)
        visit.megabytes[name] = (traffic.bytes - before) / 1e6
    page.locator(".st-key-heat-map tbody a").last.click()
    page.wait_for_url("**/layers?**")
    visit.seconds[BY_NAME] = _seconds_until(page, PAGES["Layers"])
    _settle(page)
    visit.megabytes["whole visit"] = traffic.bytes / 1e6


def _settle(page: Page) -> None:
    """Let what is still on its way arrive, so that it counts for the page that asked for it."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    page.wait_for_timeout(300)


def _publish(visits: list[_Visit], size: int, *, save: bool) -> None:
    bars = {
        "first paint: verdict, numbers": FIRST_PAINT_BAR,
        "heat map as well": FIRST_PAINT_BAR,
        **dict.fromkeys(PAGES, SWITCH_BAR),
        BY_NAME: FIRST_PAINT_BAR,
    }
    rows: list[list[str | float | None]] = []
    for name in (*visits[0].seconds, FETCHED, "whole visit"):
        seconds = [each.seconds[name] for each in visits if name in each.seconds]
        megabytes = [each.megabytes[name] for each in visits if name in each.megabytes]
        rows.append(
            [
                name,
                statistics.median(seconds) if seconds else None,
                max(seconds) if seconds else None,
                bars.get(name),
                statistics.median(megabytes) if megabytes else None,
                MEGABYTES_BAR if name in ("heat map as well", "whole visit") else None,
            ]
        )
    publish(
        "app_speed",
        notes=[
            "seconds: first paint after the server answers, in a browser that has kept nothing; then "
            f"{_READING / 1e3:.0f} s of reading,",
            "then a click a page. The empty app is one heading of Streamlit's.",
            "MB: through the network, JavaScript of the app included.",
        ],
        settings={"layers": LAYERS, "steps": DRAWS, "run file MB": round(size / 1e6), "visits": len(visits)},
        columns=["what", "seconds, median", "slowest", "bar", "MB, median", "bar, MB"],
        rows=rows,
        details={"visits": [{"seconds": each.seconds, "megabytes": each.megabytes} for each in visits]},
        save=save,
    )


if __name__ == "__main__":
    main()
