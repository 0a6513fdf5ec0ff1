"""The Dagster UI in a real browser, on the state that `make demo` left."""

import os
import shutil
import signal
import time
import urllib.request

import pytest

from assets.ui import LOOPBACK

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def ui(live):
    process = live.start("make", "ui")
    address = f"http://{LOOPBACK}:{live.ports['UI']}"
    try:
        _wait_for(address, process)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def page(ui):
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    assert chromium, "chromium is missing; make test installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser.new_page(viewport={"width": 1600, "height": 1000})
        browser.close()


def test_the_graph_is_grouped_by_stage(page, ui):
    page.goto(f"{ui}/asset-groups")
    for group in ("raw", "features", "publish", "training", "model", "deployment", "monitoring"):
        page.get_by_text(group, exact=True).first.wait_for(timeout=60_000)


def test_an_asset_is_materialized_and_its_check_seen(page, ui, live):
    before = live.platform.verdicts.rows("raw/airlines").height
    page.goto(f"{ui}/assets/raw/airlines")
    page.get_by_role("button", name="Materialize").first.click(timeout=60_000)
    deadline = time.monotonic() + 180
    while live.platform.verdicts.rows("raw/airlines").height == before:
        assert time.monotonic() < deadline, "the run did not reach its check"
        time.sleep(2)
    page.goto(f"{ui}/assets/raw/airlines?view=checks")
    page.get_by_text("expectations hold on 16 rows").first.wait_for(timeout=60_000)
    page.get_by_text("Passed").first.wait_for(timeout=60_000)


def _wait_for(address, process):
    for _ in range(120):
        assert process.poll() is None, process.stdout.read()
        try:
            return urllib.request.urlopen(address, timeout=2)
        except OSError:
            time.sleep(1)
    raise AssertionError(f"no UI at {address}")
