"""What a request holds is text and numbers: nothing on its way can run it."""

import ast
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.feeds import MAX_TEXT_BYTES, RequestError, request_columns
from serving.plan import MAX_BATCH
from tests.serving.example import example_plan
from tests.serving.versions import REQUEST

ROOT = Path(__file__).parents[2]
ENTRY = ROOT / "serving" / "triton_model.py"
RUN_CODE = {"eval", "exec", "compile", "__import__", "import_module", "system", "popen", "register_custom_ops_library"}
RUN_DATA = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "torch", "subprocess", "runpy", "ctypes"}


def imported(module: ast.AST) -> Iterator[str]:
    """Yield what a module imports, at its top or inside a function: `a.b`, and `a.b.c` for `from a.b import c`."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)


def path_of(name: str) -> Path | None:
    """Return the file of one of our own modules."""
    path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    return path if name.startswith(("ml.", "serving.")) and path.is_file() else None


def on_the_way(entry: Path = ENTRY) -> dict[Path, ast.Module]:
    """Return all modules of ours that the router imports, directly or not."""
    found: dict[Path, ast.Module] = {}
    left = [entry]
    while left:
        path = left.pop()
        if path not in found:
            found[path] = ast.parse(path.read_text())
            left += [other for name in imported(found[path]) if (other := path_of(name)) is not None]
    return found


def fixed_script(module: ast.Module, call: ast.Call) -> bool:
    """Whether it is Redis' EVAL of a script that the module spells out; data only ever are its arguments."""
    texts = {
        ast.unparse(node.targets[0])
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    return ast.unparse(call.func) == "pipeline.eval" and ast.unparse(call.args[0]) in texts


def offences(module: ast.Module) -> Iterator[str]:
    yield from (f"import {name}" for name in imported(module) if name.split(".")[0] in RUN_DATA)
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {keyword.arg for keyword in node.keywords}
            runs = called.split(".")[-1] in RUN_CODE and called != "re.compile"
            if runs and (node.args or given) and not fixed_script(module, node):  # with nothing given no data are run
                yield called
            if called in ("yaml.load", "yaml.unsafe_load") or "allow_pickle" in given:
                yield called


def test_the_way_of_a_request_is_seen_whole() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in on_the_way()}
    assert {
        "serving/router.py",
        "serving/feeds.py",
        "serving/log_frames.py",
        "ml/online_rows.py",
        "ml/packed.py",
    } <= names


@pytest.mark.parametrize("path", sorted(on_the_way()), ids=lambda path: path.stem)
def test_nothing_on_the_way_of_a_request_runs_data(path: Path) -> None:
    assert not list(offences(ast.parse(path.read_text())))


@pytest.mark.parametrize(
    "code",
    [
        "eval(x)",
        "builtins.exec(x)",
        "pipeline.eval(x)",
        "import pickle",
        "from torch import load",
        "np.load(f, allow_pickle=True)",
        "yaml.load(x)",
        "os.system(x)",
        "import subprocess as s",
        "importlib.import_module(x)",
    ],
)
def test_the_search_finds_what_it_searches(code: str) -> None:
    assert list(offences(ast.parse(code)))


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def columns(home: Path, text: bytes) -> dict[str, list[str | None]]:
    tensors = {**REQUEST.tensors, "tailnum": np.array([[text]], dtype=object)}
    return request_columns(example_plan(home), tensors).texts


def test_bytes_become_text_or_an_error_and_never_an_object(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    assert columns(tmp_path, b"N1")["tailnum"] == ["N1"]
    texts = columns(tmp_path, pickle.dumps(Trap(sprung), protocol=0))["tailnum"]
    assert [type(text) for text in texts] == [str]
    with pytest.raises(RequestError, match="input 'tailnum' is not UTF-8"):
        columns(tmp_path, pickle.dumps(Trap(sprung)))
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists(), "the trap is none"


def test_a_text_that_is_too_long_is_an_error_that_names_the_input(tmp_path: Path) -> None:
    assert columns(tmp_path, b"N" * MAX_TEXT_BYTES)["tailnum"] == ["N" * MAX_TEXT_BYTES]
    with pytest.raises(RequestError, match="input 'tailnum' has 1025 bytes; a text has at most 1024"):
        columns(tmp_path, b"N" * (MAX_TEXT_BYTES + 1))


def test_a_full_batch_of_longest_texts_fits_into_a_message() -> None:
    from serving import channel

    assert 200 * MAX_BATCH * (MAX_TEXT_BYTES + 4) < channel._LARGEST
