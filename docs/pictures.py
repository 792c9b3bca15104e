"""Draw the pictures of the README from real runs: a terminal's, and pages of the dashboard as a browser shows them.

Run from the repository's root after ``make demo``:

    .venv/bin/python docs/pictures.py verdict runs/demo.gnoise docs/pictures/verdict.svg
    .venv/bin/python docs/pictures.py pages runs/demo.gnoise docs/pictures
"""

import io
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console

from gnoise.charts.summary import summary
from gnoise.cli.output import print_layers, print_summary
from gnoise.runfile import open_run

WIDTH = 112
SIZE = {"width": 1440, "height": 900}
PAGES = {
    "overview": ("", "light", ".st-key-heat-map table"),
    "layer": ("layers?layer=transformer.wte.weight", "dark", ".st-key-tail .main-svg"),
}
"""Picture to its page, the scheme of the reader, and what has to stand on it."""


def draw_verdict(source: Path, target: Path) -> None:
    """Print a run's verdict and layer table into an SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    with open_run(source) as run:
        estimates, recommendations = run.estimates, run.recommendations
        said = summary(run.info, estimates, run.verdicts, recommendations, run.evidence, run=source.name)
        print_summary(console, said)
        print_layers(console, run.layers, estimates, recommendations)
        title = f"gnoise profile {Path(run.info.source).name}"
    console.save_svg(str(target), title=title)


def draw_pages(source: Path, folder: Path) -> None:
    """Open the dashboard in chromium and take a picture of each page."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "gnoise", "app", str(source), "--port", str(port)])
    try:
        _wait_for(f"http://127.0.0.1:{port}/_stcore/health")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            for name in PAGES:
                _take(browser, f"http://127.0.0.1:{port}/", name, folder / f"{name}.png")
            browser.close()
    finally:
        server.terminate()
        server.wait()


def _take(browser: Browser, url: str, name: str, target: Path) -> None:
    address, scheme, wanted = PAGES[name]
    page = browser.new_page(viewport=SIZE, color_scheme="dark" if scheme == "dark" else "light")
    page.goto(url + address)
    page.wait_for_selector(wanted)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    page.wait_for_timeout(2_000)
    page.screenshot(path=target)
    _shrink(target)


def _shrink(target: Path) -> None:
    """Keep 128 colours: plenty for flat colours, at half the size."""
    from PIL import Image

    with Image.open(target) as picture:
        small = picture.convert("RGB").quantize(colors=128, dither=Image.Dither.NONE)
    small.save(target, optimize=True)


def _wait_for(url: str) -> None:
    while True:
        try:
            urllib.request.urlopen(url).close()
        except OSError:
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    draw = {"verdict": draw_verdict, "pages": draw_pages}[sys.argv[1]]
    draw(Path(sys.argv[2]), Path(sys.argv[3]))
