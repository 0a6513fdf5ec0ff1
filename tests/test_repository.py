"""Promises about the repository itself."""

import ast
import json
import re
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("ml", "serving", "checks", "assets")


def sources(*folders):
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def test_no_installed_distribution_owns_one_of_our_names():
    owners = {
        name: d.metadata["Name"]
        for d in distributions()
        for name in (d.read_text("top_level.txt") or "").split() + [str(f).split("/")[0] for f in d.files or []]
        if name.removesuffix(".py") in OURS
    }
    assert not owners


@pytest.mark.parametrize("name", OURS)
def test_our_packages_are_the_ones_that_are_imported(name):
    module = __import__(name)
    assert Path(module.__file__).parent == ROOT / name


def test_no_module_of_ours_shadows_a_dependency():
    installed = {str(f).split("/")[0].removesuffix(".py") for d in distributions() for f in d.files or []}
    top_level = {path.stem for path in ROOT.glob("*.py")}
    assert not top_level & (installed | set(sys.stdlib_module_names))


def test_only_the_clock_asks_the_machine_for_the_time():
    asks = re.compile(r"\b(datetime\.(now|utcnow|today)|date\.today|time\.time(_ns)?)\(")
    offenders = [p for p in sources(*OURS) if p.name != "clock.py" and asks.search(p.read_text())]
    assert not offenders


def test_only_settings_reads_headwater_variables():
    reads = re.compile(r"(environ(\.get)?[\[(]|getenv\()\s*[\"']HEADWATER_")
    readers = ("settings.py", "remedies.py")  # remedies are told where no settings were read
    offenders = [p for p in sources(*OURS) if p.name not in readers and reads.search(p.read_text())]
    assert not offenders


@pytest.mark.parametrize("path", sources(*OURS), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_belongs_in_it(path):
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


LONG = 300  # lines


def test_a_long_file_says_why_it_is_one():
    long = [p for p in sources(*OURS, "deploy", "benchmarks", "tests") if len(p.read_text().splitlines()) > LONG]
    silent = [
        p for p in long if "One file, though a long one: " not in (ast.get_docstring(ast.parse(p.read_text())) or "")
    ]
    assert not silent, "split them by what they are about, or say in the first lines why not"


def test_every_make_target_that_people_may_call_says_what_it_does():
    makefile = (ROOT / "Makefile").read_text()
    phony = {name for line in re.findall(r"^\.PHONY:(.*)$", makefile, re.MULTILINE) for name in line.split()}
    told = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE))
    assert phony - told == {"always", "preflight"}
    assert told <= phony


def test_committed_notebooks_hold_no_outputs():
    """What was computed belongs to a home. `make test` fails here after a notebook was saved as it ran."""
    dirty = {
        path.name
        for path in (ROOT / "notebooks").glob("*.ipynb")
        for cell in json.loads(path.read_text())["cells"]
        if cell.get("outputs") or cell.get("execution_count") is not None
    }
    assert not dirty, ".venv/bin/jupyter nbconvert --clear-output --inplace notebooks/*.ipynb"
