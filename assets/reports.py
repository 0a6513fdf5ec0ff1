"""What the Dagster UI links to, over HTTP on loopback beside it: reports, documentation, the way of a column.

Reports are files that were written when something was judged; all else is made when it is asked for (`report_pages`).
"""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from assets.report_pages import Page, page_at
from ml.process import end_when_asked, end_with_parent
from ml.settings import Settings

LOOPBACK = "127.0.0.1"


def site(settings: Settings) -> str:
    """Return where all of it is served while `make ui` runs."""
    return f"http://{LOOPBACK}:{settings.reports_port}"


def address_of(settings: Settings, page: Path) -> str:
    """Return where a page under the reports' folder is served while `make ui` runs."""
    return f"{site(settings)}/{quote(page.relative_to(settings.reports).as_posix())}"


class _Pages(SimpleHTTPRequestHandler):
    def __init__(self, *args: Any, settings: Settings, **more: Any) -> None:
        self._settings = settings
        super().__init__(*args, directory=str(settings.reports), **more)

    def do_GET(self) -> None:
        """Answer with what is made when it is asked for, else with a report's file."""
        try:
            page = page_at(self._settings, unquote(urlsplit(self.path).path))
        except LookupError as error:
            return self._answer(Page(f"{error}\n".encode(), "text/plain; charset=utf-8"), 404)
        return super().do_GET() if page is None else self._answer(page, 200)

    def _answer(self, page: Page, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.content)))
        self.end_headers()
        self.wfile.write(page.content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is Dagster's."""


def main() -> int:
    """Serve the pages until the process that started this one ends."""
    end_with_parent()
    end_when_asked()
    settings = Settings()
    settings.reports.mkdir(parents=True, exist_ok=True)
    with ThreadingHTTPServer((LOOPBACK, settings.reports_port), partial(_Pages, settings=settings)) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
