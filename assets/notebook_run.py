"""Executing a notebook and rendering it, with Jupyter's own libraries: nbclient, nbconvert. Nothing of Dagster's.

The executed copy is always kept, half of it too where a cell failed; the notebook in the repository is not touched.
"""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ml.settings import Settings

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
PARAMETERS = "parameters"  # the tag of the cell whose values can be given from outside
CELL_SECONDS = 600
_PAGE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}{% block jupyter_widgets %}{% endblock %}"""  # loads nothing from afar


class NotebookFailed(Exception):
    """A cell of a notebook failed, or it could not be started."""


@dataclass(frozen=True)
class Executed:
    """An executed notebook: the copy with its outputs, the page, and the first picture in it (PNG), if there is one."""

    notebook: Path
    page: Path
    picture: bytes | None


def execute(name: str, given: Mapping[str, Any], settings: Settings, target: Path) -> Executed:
    """Execute notebooks/<name>.ipynb with `given` parameters on the home of `settings`; `target` names both files.

    Raises NotebookFailed naming notebook, cell and error; what was executed up to there is kept and rendered.
    LookupError if there is no such notebook or parameter.
    """
    source = NOTEBOOKS / f"{name}.ipynb"
    notebook = with_parameters(source, given)
    target.parent.mkdir(parents=True, exist_ok=True)
    executed = Executed(target.with_suffix(".ipynb"), target.with_suffix(".html"), None)
    try:
        _run(notebook, settings)
    except Exception as error:
        _keep(notebook, executed)
        raise NotebookFailed(f"{source.name}: {_told(notebook, error)}; half-executed: {executed.page}") from error
    _keep(notebook, executed)
    return Executed(executed.notebook, executed.page, _picture(notebook))


def with_parameters(source: Path, given: Mapping[str, Any]) -> "NotebookNode":
    """Return a notebook with a cell after its parameters that sets those `given`; the defaults stay to be read.

    Raises LookupError if there is no such notebook, or its parameters cell does not set one that is given.
    """
    import nbformat

    if not source.exists():
        known = ", ".join(sorted(path.stem for path in source.parent.glob("*.ipynb")))
        raise LookupError(f"no notebook {source.name} in {source.parent.name}/; there are: {known}")
    notebook = nbformat.read(source, as_version=4)
    for place, cell in enumerate(notebook.cells):
        if PARAMETERS in cell.metadata.get("tags", []):
            unknown = [key for key in given if f"{key} =" not in cell.source]
            if unknown:
                raise LookupError(f"{source.name} has no parameter {unknown[0]!r}; its parameters are:\n{cell.source}")
            lines = "\n".join(f"{key} = {value!r}" for key, value in given.items())
            new = nbformat.v4.new_code_cell(f"# given\n{lines}", metadata={"tags": ["injected-parameters"]})
            notebook.cells[place + 1 : place + 1] = [new] if given else []
            return notebook
    raise LookupError(f"{source.name} has no cell with the tag {PARAMETERS!r}; give one of its code cells that tag")


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the environment of a kernel that works on the same home, whoever made the settings."""
    set_here = {name: getattr(settings, name) for name in settings.model_fields_set}
    places = {n: str(value) for n, value in set_here.items() if isinstance(value, str | int | float | Path) and value}
    told = {f"HEADWATER_{name.upper()}": text for name, text in places.items()}
    return {**os.environ, **told, "HEADWATER_HOME": str(settings.home), "OMP_WAIT_POLICY": "PASSIVE"}


def _run(notebook: "NotebookNode", settings: Settings) -> None:
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    place = {"metadata": {"path": str(NOTEBOOKS)}}
    with TemporaryDirectory(prefix="headwater-kernel-") as folder:  # its sockets: no port, and nobody else's
        kernel = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),  # this very Python, whatever a user calls so
            transport="ipc",
            connection_file=f"{folder}/kernel.json",
        )
        client = NotebookClient(notebook, km=kernel, timeout=CELL_SECONDS, resources=place)
        client.execute(env=environment_of(settings), cleanup_kc=True)


def _told(notebook: "NotebookNode", error: Exception) -> str:
    """Return which cell failed, or was running when the kernel died or took too long, and of what."""
    told = f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no reason given')}"
    for number, cell in enumerate(notebook.cells, start=1):
        where = f"cell {number} ({next(iter(cell.source.strip().splitlines()), '')})"
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return f"{where} failed: {output.ename}: {output.evalue}"
        if cell.cell_type == "code" and "shell.execute_reply" not in cell.metadata.get("execution", {}):
            return f"{where}: {told}"
    return told


def _keep(notebook: "NotebookNode", executed: Executed) -> None:
    """Write the executed copy and its page, each in one step."""
    import nbformat
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="lab")
    exporter.raw_template = _PAGE
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": executed.page.stem}})
    for path, text in {executed.notebook: nbformat.writes(notebook), executed.page: page}.items():
        beside = path.with_name(f".{path.name}")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)


def _picture(notebook: "NotebookNode") -> bytes | None:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            png = output.get("data", {}).get("image/png")
            if png is not None:
                return base64.b64decode(png)
    return None
