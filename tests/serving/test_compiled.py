from pathlib import Path

import numpy as np
import pytest

from serving.compiled import compile_graph
from serving.sessions import open_session
from tests.serving.example import RAW, example_plan, write_graph


def feeds(path: Path, rows: int = 500) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    found = {}
    for field in example_plan(path.parent).champion.inputs:
        if field.kind == "categorical":
            found[field.column] = random.choice(np.array(["EWR", "MIA", "", "XXX"], dtype=object), (rows, 1))
        else:
            scale = 1e9 if field.kind == "time" else 100.0
            column = random.normal(scale, scale / 10, (rows, 1)).astype(
                np.float64 if field.kind == "time" else np.float32
            )
            column[random.random((rows, 1)) < 0.2] = np.nan
            found[field.column] = column
    assert found.keys() == RAW.keys()
    return found


def test_a_compiled_graph_answers_bit_for_bit_as_the_onnx_file(tmp_path: Path) -> None:
    graph = write_graph(tmp_path / "model.onnx", -2.5)
    (expected,) = open_session(str(graph)).run(None, feeds(graph))
    compiled = compile_graph(graph)
    assert compiled is not None
    graph.write_bytes(b"")  # so that it is surely the compiled one that answers
    (found,) = open_session(str(graph)).run(None, feeds(graph))
    assert np.array_equal(found, expected)


def test_one_that_cannot_be_read_gives_way_to_the_onnx_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    graph = write_graph(tmp_path / "model.onnx", -2.5)
    graph.with_suffix(".ort").write_bytes(b"of another release")
    assert open_session(str(graph)).run(None, feeds(graph))[0].shape == (500, 1)
    assert "model.ort cannot be opened" in capfd.readouterr().err


def test_what_is_no_graph_is_not_compiled(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    assert compile_graph(tmp_path / "model.onnx") is None
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
