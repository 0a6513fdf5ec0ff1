"""What the Dagster UI's links open: documentation as it lies here, a name's reports, nothing outside of both."""

import os
import re
from pathlib import Path

import pytest

from assets.report_pages import ROOT, page_at, reports_of
from ml.settings import Settings
from tests.docs import links


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


def text(settings, path):
    return page_at(settings, path).content.decode()


def test_documentation_is_shown_with_its_headings_as_places(settings):
    assert '<h2 id="add-a-feature">' in text(settings, "/docs/how-to.md")
    assert 'href="how-to.md#read-a-failed-gate"' in text(settings, "/docs/ui.md")
    assert "<h1" in text(settings, "/README.md")
    assert page_at(settings, "/docs/images/lineage.png").kind == "image/png"
    assert page_at(settings, "/docs/images/line.svg").kind == "image/svg+xml"


@pytest.mark.parametrize("path", ["/docs/nothing.md", "/docs/images/nothing.png", "/nothing\0"])
def test_a_page_that_is_not_there_is_named(settings, path):
    with pytest.raises(LookupError, match=r"nothing|zero byte"):
        page_at(settings, path)


@pytest.mark.parametrize(
    "path", ["/docs/../pyproject.toml", "/docs/../../etc/x.md", "/ml/settings.py", "/assets.screenshots.py"]
)
def test_no_other_file_of_this_machine_is_made_a_page_of(settings, path):
    assert page_at(settings, path) is None


def test_the_reports_of_a_name_are_listed_newest_first_and_no_others(settings):
    written = [
        settings.reports / "drift" / f"{name}.html"
        for name in ("buses-2013-01-v0", "buses-2013-02-v0", "buses_old-2013-01-v0", "review-buses-v1")
    ]
    for age, page in enumerate(written):
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("<p>drift</p>")
        os.utime(page, (1000 + age, 1000 + age))
    assert [page.stem for page in reports_of(settings, "buses")] == [
        "review-buses-v1",
        "buses-2013-02-v0",
        "buses-2013-01-v0",
    ]
    shown = text(settings, "/of/buses")
    assert "/drift/buses-2013-02-v0.html" in shown
    assert "buses_old" not in shown
    assert "None yet" in text(settings, "/of/trams")


def test_the_front_page_leads_to_every_page_of_the_documentation(settings):
    shown = text(settings, "/")
    assert all(f"docs/{page.name}" in shown for page in (ROOT / "docs").glob("*.md"))
    assert "docs: A tour of the Dagster UI" in shown


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_every_link_of_the_documentation_leads_to_a_page_here_too(settings, page):
    places = {(page.parent / link.partition("#")[0]).resolve() for link in links(page.read_text()) if link[0] != "#"}
    assert [place for place in places if page_at(settings, f"/{place.relative_to(ROOT).as_posix()}") is None] == []


def test_every_page_leads_back_home(settings):
    report = settings.reports / "drift" / "buses-2013-01-v0.html"
    report.parent.mkdir(parents=True)
    report.write_text("<html><body><p>drift</p></body></html>")
    for path in ("/", "/docs/ui.md", "/LICENSE", "/of/buses", "/drift/", "/drift/buses-2013-01-v0.html"):
        assert "<a href='/'>" in text(settings, path), path
    assert '<a id="home" href="/">' in (ROOT / "ml" / "column_page.html").read_text()
    assert "Apache License" in text(settings, "/LICENSE")
    assert "/drift/buses-2013-01-v0.html" in text(settings, "/drift/")
    assert page_at(settings, "/../home/reports/../../etc/passwd") is None


def test_every_picture_in_the_documentation_is_made_by_the_script():
    from assets.screenshots import IMAGES, files

    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {
        Path(found).name for page in pages for found in re.findall(r"!\[[^\]]*\]\(([^)]+\.png)\)", page.read_text())
    }
    assert shown == set(files()) == {path.name for path in IMAGES.glob("*.png")}


def test_every_diagram_is_drawn_from_its_text_as_it_is_now():
    from assets.diagrams import SOURCES, drawn_from
    from assets.screenshots import IMAGES

    texts = {source.stem: source.read_text() for source in SOURCES.glob("*.mmd")}
    assert set(texts) == {path.stem for path in IMAGES.glob("*.svg")}
    stale = [
        name for name, text in texts.items() if not (IMAGES / f"{name}.svg").read_text().endswith(drawn_from(text))
    ]
    assert stale == [], "run make diagrams"
