"""asv's dashboard of the committed results, in headless Chromium: every tile and a graph draw, and nothing fails.

With FASTNN_SCREENSHOT=docs/dashboard.png in the environment, the graph page's picture is written there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("asv", reason="asv is missing: pip install 'fastnn-numba[test]'")
pytest.importorskip("selenium", reason="selenium is missing: pip install 'fastnn-numba[test]'")

from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.support.wait import WebDriverWait

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"

NPM_PACKAGES = (
    "jquery@3.3.1",
    "flot@0.8.3",
    "flot-orderbars@1.0.0",
    "stupid-table-plugin@1.1.3",
    "blueimp-md5@2.19.0",
    "bootstrap@3.1.1",
)
# The end of an address in asv's page, and npm's file with the same bytes: the page's integrity hashes fit this file.
SAME_BYTES = {
    "jquery-3.3.1.min.js": "jquery/dist/jquery.min.js",
    "flot-orderbars@1.0.0/js/jquery.flot.orderBars.js": "flot-orderbars/js/jquery.flot.orderBars.js",
    "blueimp-md5/2.19.0/js/md5.min.js": "blueimp-md5/js/md5.min.js",
    "bootstrap@3.1.1/dist/js/bootstrap.min.js": "bootstrap/dist/js/bootstrap.min.js",
    "bootstrap@3.1.1/dist/css/bootstrap.min.css": "bootstrap/dist/css/bootstrap.min.css",
}
# npm has flot 0.8.3 only unminified, and of stupidtable (it sorts tables, no graph uses it) only 1.1.3.
OTHER_BYTES = {
    "flot/0.8.3/jquery.flot.min.js": "flot/jquery.flot.js",
    "flot/0.8.3/jquery.flot.time.min.js": "flot/jquery.flot.time.js",
    "flot/0.8.3/jquery.flot.selection.min.js": "flot/jquery.flot.selection.js",
    "flot/0.8.3/jquery.flot.categories.min.js": "flot/jquery.flot.categories.js",
    "stupidtable/1.0.1/stupidtable.min.js": "stupid-table-plugin/stupidtable.min.js",
}

# The page draws inside its requests' callbacks; jQuery counts a request as active until they are done.
TILES_LOADED = "return window.$?.active === 0 && $('.benchmark-plot').length > 0"
GRAPH_LOADED = "return window.$?.active === 0 && $('#main-graph').data('plot') !== undefined"
# A tile asks for its data when it scrolls into view.
SHOW_ALL_TILES = "$('.benchmark-plot').each((_, tile) => { tile.scrollIntoView(); $(window).trigger('scroll'); })"
# Of each tile: the benchmark, and whether a value is plotted.
TILES = """
    const drawn = plot => plot !== undefined && plot.getData()[0].data.some(([_, value]) => value !== null);
    return $('.benchmark-plot').get().map(tile => [tile.id.replace('summarygrid-', ''), drawn($(tile).data('plot'))])
"""
# Of each curve: the commits of its points, and how many pixels of the canvas have its colour.
CURVES = """
    const plot = $('#main-graph').data('plot'), canvas = plot.getCanvas();
    const rgba = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return plot.getData().map(curve => {
        const points = curve.data.filter(([_, value]) => value !== null);
        const [r, g, b] = curve.color.match(/\\d+/g).map(Number);
        let pixels = 0;
        for (let i = 0; i < rgba.length; i += 4)
            pixels += rgba[i] === r && rgba[i + 1] === g && rgba[i + 2] === b && rgba[i + 3] > 127;
        return {commits: points.map(([revision, _]) => $.asv.main_json.revision_to_hash[revision]), pixels};
    })
"""


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command that must succeed; the failure shows what it said."""
    done = subprocess.run(
        command, check=False, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")


def read(file: Path) -> Any:
    """What a JSON file holds."""
    return json.loads(file.read_text("utf-8"))


def skip_without_tools_or_history() -> None:
    """Skip, naming what is missing and how to get it."""
    packages = {"git": "git", "npm": "npm", "chromium": "chromium", "chromedriver": "chromium-driver"}
    if missing := [tool for tool in packages if shutil.which(tool) is None]:
        pytest.skip(f"missing: {', '.join(missing)} (apt-get install {' '.join(packages[tool] for tool in missing)})")
    if not (ROOT / ".git").exists():
        pytest.skip(f"{ROOT} is no git checkout: asv places results by the history (git clone the repository)")
    command = ["git", "rev-parse", "--is-shallow-repository"]
    shallow = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    if shallow.stdout.strip() != "false":
        pytest.skip(f"the git history is cut off or unreadable (git fetch --unshallow) {shallow.stderr}".strip())


def publish(clone: Path) -> Path:
    """The folder that `asv publish` makes of the working tree's results, in a scratch clone of the repository."""
    run("git", "clone", "--quiet", "--no-checkout", ROOT, clone, cwd=ROOT)
    # asv publishes branch "main", which a checkout of another branch or of no branch may lack. `git branch -f` would
    # refuse when "main" is what HEAD names.
    run("git", "update-ref", "refs/heads/main", "HEAD", cwd=clone)
    shutil.copy(ROOT / "asv.conf.json", clone)
    shutil.copytree(ROOT / "benchmarks", clone / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "asv", "publish", cwd=clone)
    return clone / ".asv" / "html"


def make_self_contained(html: Path) -> None:
    """Put npm's copies in the place of what the page loads from elsewhere; anything left over fails the test."""
    options = ("--ignore-scripts", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--no-update-notifier")
    patience = ("--fetch-retries=1", "--fetch-retry-mintimeout=2000")  # the default is minutes without a network
    run("npm", "install", "--prefix", html, *options, *patience, *NPM_PACKAGES, cwd=html)

    def local(tag: re.Match[str]) -> str:
        text = tag[0]
        for ending, file in (SAME_BYTES | OTHER_BYTES).items():
            text, found = re.subn(rf'"https://[^"]*/{re.escape(ending)}"', f'"node_modules/{file}"', text)
            if found and ending in OTHER_BYTES:
                text = re.sub(r' integrity="[^"]*"', "", text)
        return text

    index = html / "index.html"
    page = re.sub(r"<(?:script|link)\b[^>]*>", local, index.read_text("utf-8"))
    index.write_text(page, "utf-8")
    outside = re.findall(r"""<(?:script|link)\b[^>]*?\b(?:src|href)\s*=\s*["']?((?:\w+:)?//[^"'\s>]+)""", page)
    assert not outside, f"asv's page loads these, which have no entry in {Path(__file__).name}: {outside}"


@contextmanager
def served(html: Path, refused: list[str]) -> Iterator[str]:
    """The address of the folder on a free local port; requests that can't be answered are added to `refused`."""

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            if int(code) >= 400:
                refused.append(f"{int(code)} {self.path}")

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=html)) as server:
        server.daemon_threads = False  # closing the server waits for its answers, and no socket stays open
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def chromium(profile: Path) -> webdriver.Chrome:
    """Chromium without a window, its page 1280 x 800."""
    options = webdriver.ChromeOptions()
    # This path and the driver's are given: otherwise selenium looks for programs to download.
    options.binary_location = shutil.which("chromium") or ""
    for argument in (
        "headless",
        "no-sandbox",  # Chromium has no sandbox for root, as in a container
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        f"user-data-dir={profile}",
        # Requests to any other host fail, even where there is a network.
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    # `--window-size` would count the frame of a window.
    size = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    return browser


@dataclass
class Dashboard:
    """The published page, open in a browser."""

    html: Path
    address: str
    browser: webdriver.Chrome
    refused: list[str]

    def open(self, route: str, loaded: str) -> None:
        """Load the page anew at one of its routes, and wait until the script `loaded` says that all is there."""
        self.browser.get("about:blank")  # or a new route would be the old page, scrolled as it was
        self.browser.get(self.address + route)
        self.wait(loaded)

    def wait(self, loaded: str) -> None:
        """Wait until the script `loaded` says that all is there."""
        try:
            WebDriverWait(self.browser, 30).until(lambda browser: browser.execute_script(loaded))
        except TimeoutException:
            pytest.fail(f"{self.browser.current_url} isn't drawn after 30 s; errors: {self.errors()}")

    def errors(self) -> list[str]:
        """The requests that failed, and the errors on the browser's console, since the last call."""
        refused = self.refused.copy()
        self.refused.clear()
        return refused + [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]

    def check(self) -> None:
        """No request failed, and the console holds no error, since the last call."""
        errors = self.errors()
        assert not errors, "\n".join(errors)


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """The dashboard of the working tree's results, open in a browser."""
    skip_without_tools_or_history()
    scratch = tmp_path_factory.mktemp("dashboard")
    html = publish(scratch / "clone")
    make_self_contained(html)
    refused: list[str] = []
    # The browser ends first: the server waits for its connections.
    with served(html, refused) as address, chromium(scratch / "profile") as browser:
        yield Dashboard(html, address, browser, refused)


def test_grid_draws_every_benchmark(dashboard: Dashboard) -> None:
    """The grid has a tile, with a curve in it, of each benchmark in benchmarks.json; no request and no script fails."""
    known = set(read(RESULTS / "benchmarks.json")) - {"version"}  # asv's number of the file's format
    dashboard.open("#/", TILES_LOADED)
    dashboard.browser.execute_script(SHOW_ALL_TILES)
    dashboard.wait(TILES_LOADED)
    tiles = dict(dashboard.browser.execute_script(TILES))
    assert set(tiles) == known
    blank = [name for name, drawn in tiles.items() if not drawn]
    assert not blank, f"without a valid committed result on branch main: {blank}"
    dashboard.check()


def test_graph_draws_several_commits(dashboard: Dashboard) -> None:
    """A graph, a ratio to NumPy if there is one, has curves over at least two measured commits and their pixels."""

    def preference(summary: Path) -> tuple[bool, int]:
        return "numpy" in summary.stem, sum(value is not None for _, value in read(summary))

    name = max(sorted((dashboard.html / "graphs" / "summary").glob("*.json")), key=preference).stem
    dashboard.open(f"#{name}?x-axis-scale=even", GRAPH_LOADED)
    curves = dashboard.browser.execute_script(CURVES)
    plotted = {commit for curve in curves for commit in curve["commits"]}
    measured = {read(file)["commit_hash"] for file in RESULTS.glob("*/*-*.json")}
    # asv only warns when the history hasn't got a result's commit, and leaves the result out.
    assert measured <= set(read(dashboard.html / "index.json")["revision_to_hash"].values())
    assert plotted <= measured
    assert len(plotted) >= 2, name
    assert all(curve["pixels"] for curve in curves if curve["commits"]), curves
    dashboard.check()
    if picture := os.environ.get("FASTNN_SCREENSHOT"):
        Path(picture).write_bytes(dashboard.browser.get_screenshot_as_png())
