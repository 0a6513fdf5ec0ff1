import polars as pl
import pytest

from ml.cost import row_microseconds
from tests.serving.example import RAW, write_graph


def test_a_row_costs_some_microseconds_and_few_rows_are_enough(tmp_path):
    graph = write_graph(tmp_path / "model.onnx", -1.0)
    rows = pl.DataFrame([{name: value if name != "runway__wet" else 1 for name, value in RAW.items()}] * 3)
    assert 0.01 < row_microseconds(graph, rows, repeats=20, rounds=3) < 1000


def test_what_cannot_be_measured_is_refused_by_name(tmp_path):
    graph = write_graph(tmp_path / "model.onnx", -1.0)
    with pytest.raises(ValueError, match=r"rows lack \['aircraft__last_arrived_at'"):
        row_microseconds(graph, pl.DataFrame({"origin": ["EWR"]}))
    with pytest.raises(ValueError, match="no rows to measure"):
        row_microseconds(graph, pl.DataFrame({"origin": []}))
    with pytest.raises(LookupError, match="cannot be opened"):
        row_microseconds(tmp_path / "gone.onnx", pl.DataFrame({"origin": ["EWR"]}))
