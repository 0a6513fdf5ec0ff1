"""`make screenshots`: every picture in the documentation, from a home in which the demo ran, by a real browser.

The Dagster UI is the one that `make ui` shows; it is started unless it runs. The replayed year's picture is taken from
its page, where `make replay` has written one; otherwise the old picture stays, and that is said.
"""

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.reports import site
from ml.ports import taken
from ml.settings import Settings

IMAGES = Path(__file__).parent.parent / "docs" / "images"
REPLAY = "replay.png"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"]
_START_SECONDS, _SHOWN_MS, _DRAWN_MS = 120, 60_000, 7_000


def _nothing(page: Any) -> None:
    """Do nothing on a page."""


def _expanded(page: Any) -> None:
    page.mouse.click(1200, 800)
    page.keyboard.press("Alt+E")


def _newest_month(page: Any) -> None:
    page.get_by_text("2013-12").first.click()


@dataclass(frozen=True)
class Shot:
    """A picture: its file, the page's address, a text that shows that it is drawn, what is done on it, a part of it."""

    file: str
    address: str
    text: str
    do: Callable[[Any], None] = _nothing
    clip: tuple[int, int, int, int] | None = None  # x, y, width, height
    size: tuple[int, int] = (1500, 900)


_TO_DEPLOYMENT = "%2Bkey%3A%22flight_delay%2Fdeployment%22"  # +key:"flight_delay/deployment", as the search box has it

SHOTS = (
    Shot("groups.png", "{ui}/asset-groups", "flight_delay", clip=(545, 335, 955, 260)),
    Shot(
        "lineage.png",
        "{ui}/asset-groups~" + _TO_DEPLOYMENT + "/",
        "flight_delay",
        _expanded,
        clip=(545, 150, 955, 800),
        size=(1500, 1050),
    ),
    Shot("asset.png", "{ui}/assets/flight_delay/model", "column lineage"),
    Shot("months.png", "{ui}/assets/raw/flights?view=partitions", "2013-12", _newest_month),
    Shot("checks.png", "{ui}/assets/flight_delay/model?view=checks", "every rule holds", size=(1500, 620)),
    Shot("columns.png", "{site}/columns#raw/weather.visib", "A raw column", size=(1500, 420)),
)


def files() -> tuple[str, ...]:
    """Return the names of all pictures that this script makes."""
    return (*(shot.file for shot in SHOTS), REPLAY)


def main() -> int:
    """Take the pictures. Returns 1 after one line if the home has no demo in it, or a page does not show up."""
    settings = Settings()
    if not (settings.reports / "card").is_dir():
        print(f"headwater: no model was trained in {settings.home}; run make demo first", file=sys.stderr)
        return 1
    from playwright.sync_api import Error

    try:
        with ui(settings), browser() as page:
            for shot in SHOTS:
                take(page, shot, settings)
                print(f"docs/images/{shot.file}", flush=True)
    except (Error, TimeoutError) as error:
        print(f"headwater: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    print(
        f"docs/images/{REPLAY}" if replayed(settings) else f"docs/images/{REPLAY} stays: make replay has not run here"
    )
    return 0


@contextmanager
def ui(settings: Settings) -> Iterator[None]:
    """Have the Dagster UI answer. Raises TimeoutError if it does not."""
    if taken(settings.ui_port):
        yield
        return
    process = subprocess.Popen([sys.executable, "-m", "assets.ui"], start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        _wait(settings.ui_address)
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def _wait(address: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except OSError:
            time.sleep(1)
        else:
            return
    raise TimeoutError(f"no Dagster UI at {address} after {_START_SECONDS} s")


@contextmanager
def browser() -> Iterator[Any]:
    """Yield a page of Chromium, which `make test` installs."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield chromium.new_page()
        chromium.close()


def take(page: Any, shot: Shot, settings: Settings) -> None:
    """Write one picture."""
    page.set_viewport_size(dict(zip(("width", "height"), shot.size, strict=True)))
    page.goto(shot.address.format(ui=settings.ui_address, site=site(settings)))
    page.get_by_text(shot.text).first.wait_for(timeout=_SHOWN_MS)
    page.wait_for_timeout(_DRAWN_MS)
    shot.do(page)
    page.wait_for_timeout(_DRAWN_MS)
    clip = dict(zip(("x", "y", "width", "height"), shot.clip, strict=True)) if shot.clip else None
    page.screenshot(path=IMAGES / shot.file, clip=clip)


def replayed(settings: Settings) -> bool:
    """Write the picture of the replayed year from its page; return whether there is one."""
    page = settings.home / "replay" / "reports" / "replay.html"
    found = re.search(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page.read_text()) if page.exists() else None
    if found is not None:
        (IMAGES / REPLAY).write_bytes(base64.b64decode(found[1]))
    return found is not None


if __name__ == "__main__":
    sys.exit(main())
