"""What README and docs point at is there: links, anchors, targets, modules, settings. No command runs here."""

import re

import pytest

from assets.reference_settings import targets
from ml.settings import Settings
from tests.docs import ROOT, anchors, commands, links, pages

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = {name: parameters for name, parameters, _ in targets(MAKEFILE)}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    broken = []
    for link in links(page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert broken == []


def test_every_page_of_docs_is_in_their_index():
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index.read_text())}
    assert [page.name for page in pages() if page.parent == index.parent and page not in {*listed, index}] == []


def test_every_picture_of_docs_is_shown_somewhere():
    shown = {(page.parent / link).resolve() for page in pages() for link in links(page.read_text())}
    assert [path.name for path in sorted((ROOT / "docs" / "images").iterdir()) if path not in shown] == []


def test_every_make_command_names_a_target_and_what_it_takes():
    wrong = []
    for command in commands():
        if re.match(r"make [a-z0-9-]+( |$)", command.text):
            _, target, *_ = command.text.split()
            said = set(re.findall(r"(?:^| )([A-Z][A-Z_]*)=", command.text))
            taken = {*TARGETS.get(target, ()), "PYTHON", "PIP_FIND_LINKS"}
            if target not in TARGETS or {name for name in said - taken if not name.startswith("HEADWATER_")}:
                wrong.append((command.page, command.text))
    assert wrong == []


def test_every_module_that_is_started_is_there():
    modules = {module for command in commands() for module in re.findall(r"-m ([\w.]+)", command.text)}
    own = {module for module in modules if module.split(".")[0] in ("ml", "serving", "checks", "assets", "benchmarks")}
    assert len(own) > 5
    assert [m for m in sorted(own) if not (ROOT / m.replace(".", "/")).with_suffix(".py").exists()] == []


def test_every_variable_of_ours_that_is_named_is_read_somewhere():
    known = {f"HEADWATER_{name.upper()}" for name in Settings.model_fields}
    ours = ("ml", "serving", "checks", "assets", "benchmarks", "tests", "deploy")
    code = [ROOT / "Makefile", *(path for folder in ours for path in sorted((ROOT / folder).rglob("*.py")))]
    text = "\n".join(path.read_text() for path in code)
    read = {*known, *re.findall(r"HEADWATER_[A-Z0-9_]+", text)}
    named = {
        (page.name, name)
        for page in pages()
        if page.name != "CHANGELOG.md"
        for name in re.findall(r"HEADWATER_[A-Z0-9_]*[A-Z0-9]", page.read_text())
    }
    unknown = sorted(
        (page, name)
        for page, name in named
        if not any(other.startswith(name) for other in read)
        and not name.startswith("HEADWATER_TEST_")  # tests/k8s/world.py
    )
    assert unknown == []
