"""Pages that are made when they are asked for: the documentation, a name's reports, the way of a column.

Each has a link home; so has a written report as it is shown. Not here: serving them (`reports`), and writing reports.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from ml.column_page import column_page
from ml.markdown import first_heading, linked_page
from ml.settings import Settings

ROOT = Path(__file__).parent.parent
HTML = "text/html; charset=utf-8"
_HOME = "<nav style='font:13px system-ui,sans-serif'><a href='/'>Headwater</a></nav>"
_LINK = re.compile(r"\]\(([^)\s#:]+)[^)\s:]*\)")


@dataclass(frozen=True)
class Page:
    """What is sent: bytes and their media type."""

    content: bytes
    kind: str = HTML


def page_at(settings: Settings, path: str) -> Page | None:
    """Return the page at a path of the site, None if that is a file's under the reports.

    Raises LookupError that says what is missing if there is no such page.
    """
    if "\0" in path:
        raise LookupError("no page has a zero byte in its name")
    path = "/" + path.strip("/")
    folder, _, name = path[1:].rpartition("/")
    if path == "/":
        return _listed("Headwater", _front(settings))
    if path == "/columns":
        return Page(_columns(settings).encode())
    if folder == "of":
        return _listed(
            f"Reports of {name}", ((_when(page), _place(settings, page)) for page in reports_of(settings, name))
        )
    if path == "/README.md" or (folder == "docs" and name.endswith(".md")):
        return _with_home(linked_page(_text(path)))
    if folder == "docs/images" and name.endswith((".png", ".svg")):
        return Page(_file(path).read_bytes(), "image/png" if name.endswith(".png") else "image/svg+xml")
    if path[1:] in _named_in_documentation():
        return _shown(name, f"<pre>{escape(_text(path))}</pre>")
    return _report(settings, path)


def reports_of(settings: Settings, name: str) -> list[Path]:
    """Return the pages of a feature view or a model: <name>-*.html or *-<name>-*.html in any folder, newest first."""
    own = re.compile(rf"(^|-){re.escape(name)}-")
    found = [page for page in settings.reports.rglob("*.html") if own.search(page.name)]
    return sorted(found, key=lambda page: page.stat().st_mtime, reverse=True)


def _columns(settings: Settings) -> str:
    from assets.built_columns import line_columns
    from assets.resources import platform_for
    from ml.column_texts import column_texts
    from ml.models import MODELS
    from ml.sources import SOURCES

    platform = platform_for(settings)
    graph = line_columns(platform, SOURCES, MODELS)
    return column_page(graph, column_texts(platform.manifest, SOURCES), settings.ui_address)


def _report(settings: Settings, path: str) -> Page | None:
    """Return a report with a link home, or the list of a folder of reports; None for other files, or none."""
    root = settings.reports.resolve()
    found = (root / path[1:]).resolve()
    if not found.is_relative_to(root):
        return None
    if found.is_dir():
        return _listed(path[1:], ((page.name, _place(settings, page)) for page in sorted(found.iterdir())))
    return _with_home(found.read_text(encoding="utf-8")) if found.suffix == ".html" and found.is_file() else None


def _documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _named_in_documentation() -> set[str]:
    """Return the files of this repository, such as LICENSE, that the documentation links to beside its own."""
    linked = {
        (page.parent / link).resolve() for page in _documents() for link in _LINK.findall(page.read_text("utf-8"))
    }
    return {path.relative_to(ROOT).as_posix() for path in linked if path.is_relative_to(ROOT) and path.is_file()}


def _text(path: str) -> str:
    return _file(path).read_text(encoding="utf-8")


def _file(path: str) -> Path:
    """Return a file of the documentation. Raises LookupError if there is none; a path never leads out of its folder."""
    found = ROOT / path.strip("/")
    if found.name not in {other.name for other in found.parent.iterdir()}:
        raise LookupError(f"there is no {path.strip('/')} in this repository")
    return found


def _front(settings: Settings) -> Iterable[tuple[str, str]]:
    yield "column lineage, both ways", "columns"
    for page in _documents():
        place = page.relative_to(ROOT).as_posix()
        yield f"{'docs' if '/' in place else 'README'}: {first_heading(page.read_text('utf-8'))}", place
    folders = sorted(page for page in settings.reports.glob("*") if page.is_dir())
    yield from ((f"reports: {folder.name}", f"{quote(folder.name)}/") for folder in folders)


def _when(page: Path) -> str:
    return f"{page.parent.name}: {page.stem}"


def _place(settings: Settings, page: Path) -> str:
    return "/" + quote(page.relative_to(settings.reports).as_posix())


def _listed(title: str, links: Iterable[tuple[str, str]]) -> Page:
    items = "".join(f"<li><a href='{address}'>{escape(name)}</a></li>" for name, address in links)
    told = (
        f"<ul>{items}</ul>" if items else "<p>None yet: a page is written when a check or a model has one to show.</p>"
    )
    return _shown(title, f"<h1>{escape(title)}</h1>{told}")


def _shown(title: str, body: str) -> Page:
    style = "body{font:15px/1.6 system-ui,sans-serif;margin:32px auto;max-width:920px;color:#1f2328}"
    return _with_home(
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title><style>{style}"
        f"</style></head><body>{body}</body></html>"
    )


def _with_home(page: str) -> Page:
    return Page(page.replace("<body>", f"<body>{_HOME}", 1).encode())
