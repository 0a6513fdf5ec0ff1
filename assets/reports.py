"""Evidently's pages over HTTP on loopback, beside the Dagster UI, so that a check's link opens in the browser."""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ml.process import end_when_asked, end_with_parent
from ml.settings import Settings

LOOPBACK = "127.0.0.1"


def address_of(settings: Settings, page: Path) -> str:
    """Return where a page under the reports' folder is served while `make ui` runs."""
    return f"http://{LOOPBACK}:{settings.reports_port}/{quote(page.relative_to(settings.reports).as_posix())}"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is Dagster's."""


def main() -> int:
    """Serve the pages until the process that started this one ends."""
    end_with_parent()
    end_when_asked()
    settings = Settings()
    settings.reports.mkdir(parents=True, exist_ok=True)
    handler = partial(_Quiet, directory=str(settings.reports))
    with ThreadingHTTPServer((LOOPBACK, settings.reports_port), handler) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
