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


def test_the_graph_reads_from_raw_tables_to_three_models(page, ui):
    page.goto(f"{ui}/asset-groups")
    for group in ("raw", "staging", "features", "published", "flight_delay", "arrival_delay", "cancellation"):
        page.get_by_text(group, exact=True).first.wait_for(timeout=60_000)


def test_an_asset_leads_to_its_documentation_and_to_the_way_of_its_columns(page, ui):
    page.goto(f"{ui}/assets/features/aircraft_state")
    page.get_by_role("link", name="docs", exact=True).first.wait_for(timeout=60_000)
    docs, way = (
        page.get_by_role("link", name=name, exact=True).first.get_attribute("href")
        for name in ("docs", "column lineage")
    )
    page.goto(docs)
    page.locator("#add-a-feature").wait_for()
    page.goto(way)
    page.get_by_role("link", name="legs_today", exact=True).first.click()
    page.get_by_text("Computed from the raw columns").wait_for()
    boxes = page.locator("svg text.name").all_text_contents()
    assert {"raw/flights", "published/aircraft_state", "flight_delay/model", "arrival_delay/model"} <= set(boxes)
    page.locator("svg a", has_text="tailnum").first.click()
    page.get_by_text("A raw column.").wait_for()


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
