"""Notebooks that fail, and what is kept of them; a home in which nothing has run. Those shipped: tests/line."""

import os
import subprocess
import sys

import dagster as dg
import nbformat
import pytest

from assets import notebook_run
from assets.notebook_run import NOTEBOOKS, NotebookFailed, environment_of, execute, with_parameters
from assets.notebooks import executed
from assets.resources import Platform
from ml.settings import Settings

PARAMETERS = 'WHO = "nobody"  # a name\nTIMES = 2'


def written(folder, *cells):
    first, *rest = (nbformat.v4.new_code_cell(cell) for cell in cells)
    first.metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=[first, *rest]), folder / "small.ipynb")
    return folder / "small.ipynb"


def printed(notebook):
    return "".join(o.get("text", "") for c in nbformat.read(notebook, 4).cells for o in c.get("outputs", []))


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The notebooks' folder is the test's own."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(notebook_run, "NOTEBOOKS", folder)
    return folder


def test_given_parameters_come_after_the_defaults_which_stay_to_be_read(tmp_path):
    notebook = with_parameters(written(tmp_path, PARAMETERS, "print(WHO)"), {"WHO": "some'body"})
    assert [cell.source for cell in notebook.cells] == [PARAMETERS, '# given\nWHO = "some\'body"', "print(WHO)"]
    assert len(with_parameters(tmp_path / "small.ipynb", {}).cells) == 2
    nbformat.validate(notebook)


def test_an_unknown_notebook_or_parameter_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(LookupError, match=r"no parameter 'WHAT'; its parameters are:\nWHO = "):
        with_parameters(written(tmp_path, PARAMETERS), {"WHAT": 1})
    with pytest.raises(LookupError, match=r"no notebook other\.ipynb in .*; there are: small"):
        with_parameters(tmp_path / "other.ipynb", {})
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "small.ipynb")
    with pytest.raises(LookupError, match="give one of its code cells that tag"):
        with_parameters(tmp_path / "small.ipynb", {})


def test_a_failing_cell_is_named_and_what_ran_before_it_is_kept(folder, settings, tmp_path):
    source = written(folder, PARAMETERS, "print(WHO * TIMES)", "# the bad one\n1 / 0", "print('never')")
    before = source.read_text()
    with pytest.raises(NotebookFailed, match=r"small\.ipynb: cell 4 \(# the bad one\) failed: ZeroDivisionError"):
        execute("small", {"WHO": "ab"}, settings, tmp_path / "out" / "small")
    assert printed(tmp_path / "out" / "small.ipynb") == "abab\n"
    page = (tmp_path / "out" / "small.html").read_text()
    assert "ZeroDivisionError" in page
    assert source.read_text() == before, "the notebook itself is never written"


def test_a_kernel_that_dies_fails_the_notebook_and_names_the_cell(folder, settings, tmp_path):
    written(folder, PARAMETERS, "print('alive', flush=True)", "import os; os._exit(3)")
    with pytest.raises(NotebookFailed, match=r"cell 3 \(import os; os\._exit\(3\)\): DeadKernelError"):
        execute("small", {}, settings, tmp_path / "small")
    assert printed(tmp_path / "small.ipynb") == "alive\n"


def test_the_asset_fails_with_the_message_and_a_link_to_the_half_executed_notebook(folder, settings):
    written(folder, PARAMETERS, "raise RuntimeError('no wind')")

    @dg.asset
    def small(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        return executed(context, platform, "small", "small-of-something", {})

    result = dg.materialize([small], resources={"platform": Platform(settings)}, raise_on_error=False)
    failure = result.get_step_failure_events()[0].step_failure_data.user_failure_data
    assert "small.ipynb: cell 2 (raise RuntimeError('no wind')) failed: RuntimeError: no wind" in failure.description
    kept = settings.reports / "notebooks" / "small-of-something.ipynb"
    assert failure.metadata["executed notebook"].value == str(kept)
    assert kept.exists()
    assert failure.metadata["page"].value.endswith(":3001/notebooks/small-of-something.html")


def test_the_ui_is_offered_only_notebooks_that_it_opens(folder, settings, tmp_path, monkeypatch):
    written(folder, PARAMETERS)

    @dg.asset
    def small(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        return executed(context, platform, "small", "small", {})

    def kind():
        result = dg.materialize([small], resources={"platform": Platform(settings)})
        return type(result.asset_materializations_for_node("small")[0].metadata["executed notebook"])

    assert kind() is dg.PathMetadataValue
    monkeypatch.setattr("assets.notebooks.ROOT", tmp_path)
    assert kind() is dg.NotebookMetadataValue


def test_a_page_loads_nothing_from_anywhere_else(folder, settings, tmp_path):
    written(folder, PARAMETERS, "print('hello')")
    page = execute("small", {}, settings, tmp_path / "small").page.read_text()
    assert "hello" in page
    assert [word for word in ("<script src", "import(", "cdnjs", "@import", "<link") if word in page] == []


def test_a_kernel_works_on_the_home_of_the_settings_not_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWATER_HOME", "/elsewhere")
    told = environment_of(Settings(home=tmp_path, mlflow_port=5123, spark_conf={}))
    assert (told["HEADWATER_HOME"], told["HEADWATER_MLFLOW_PORT"]) == (str(tmp_path), "5123")


def test_an_empty_home_is_refused_with_what_to_do(settings, tmp_path):
    with pytest.raises(NotebookFailed, match=r"LookupError: the lake .* is empty: run make demo"):
        execute("explore", {}, settings, tmp_path / "explore")


def test_the_import_finds_repository_and_home_from_any_folder(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = f"import sys; sys.path.insert(0, {str(NOTEBOOKS)!r}); import headwater"
    environment["HEADWATER_HOME"] = "not/there"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert f"the lake {NOTEBOOKS.parent}/not/there/lake is empty" in done.stderr
