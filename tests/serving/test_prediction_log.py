import json
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from serving.log_reader import log_schema, read_new
from serving.prediction_log import PredictionLog
from tests.serving.example import example_plan


def line(identity: str, distance: float | None = 100.0) -> dict[str, Any]:
    return {
        "prediction_id": identity,
        "time_us": 1_380_801_600_000_000,
        "model": "example",
        "model_version": "1",
        "revision": 1,
        "keys": {"tailnum": "N1", "origin": "EWR", "runway": 4},
        "request": {"distance": distance, "departure": 1380808800.0},
        "features": {"aircraft__last_delay": None, "runway__wet": True},
        "event_us": {"aircraft": None, "runway": 1_380_801_600_000_000},
        "probability": 0.25,
        "degraded": False,
    }


@pytest.fixture
def schema(tmp_path: Path) -> dict[str, Any]:
    return log_schema(example_plan(tmp_path))


def test_lines_written_are_lines_read(tmp_path: Path, schema: dict[str, Any]) -> None:
    log = PredictionLog(tmp_path / "log", "1")
    for n in range(2500):
        log.append(line(f"{n}"))
    log.close()
    frame, _ = read_new(tmp_path / "log", schema)
    assert frame["prediction_id"].to_list() == [f"{n}" for n in range(2500)]
    assert frame.schema == pl.Schema(schema)
    assert log.dropped == 0


def test_a_full_queue_drops_and_counts_and_never_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    write = PredictionLog._write
    monkeypatch.setattr(PredictionLog, "_write", lambda self, lines: (gate.wait(10), write(self, lines))[1])
    log = PredictionLog(tmp_path / "log", "1", capacity=3)
    log.append(line("first"))
    time.sleep(0.2)  # the writer has taken it and stands
    start = time.perf_counter()
    for n in range(100):
        log.append(line(f"{n}"))
    assert time.perf_counter() - start < 0.1
    assert log.dropped == 97
    gate.set()
    log.close()
    (file,) = (tmp_path / "log").iterdir()
    assert len(file.read_text().splitlines()) == 4


def test_a_disk_that_refuses_costs_lines_and_not_the_log(
    tmp_path: Path, schema: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").write_text("a file where the folder should be")
    log = PredictionLog(tmp_path / "log", "1")
    log.append(line("lost"))
    until = time.monotonic() + 5
    while not log.dropped and time.monotonic() < until:
        time.sleep(0.01)
    (tmp_path / "log").unlink()
    log.append(line("kept"))
    log.close()
    frame, _ = read_new(tmp_path / "log", schema)
    assert frame["prediction_id"].to_list() == ["kept"]
    assert log.dropped == 1
    assert "1 lines dropped" in capfd.readouterr().err


def test_a_half_written_last_line_waits_for_its_other_half(tmp_path: Path, schema: dict[str, Any]) -> None:
    text = json.dumps(line("a")) + "\n" + json.dumps(line("b")) + "\n"
    path = tmp_path / "1-x.jsonl"
    path.write_text(text[:-20])
    frame, cursor = read_new(tmp_path, schema)
    assert frame["prediction_id"].to_list() == ["a"]
    path.write_text(text)
    frame, cursor = read_new(tmp_path, schema, cursor)
    assert frame["prediction_id"].to_list() == ["b"]
    frame, _ = read_new(tmp_path, schema, cursor)
    assert frame.is_empty()


def test_no_log_yet_is_an_empty_table_with_all_columns(tmp_path: Path, schema: dict[str, Any]) -> None:
    frame, cursor = read_new(tmp_path / "none", schema)
    assert (frame.height, cursor) == (0, {})
    assert frame.schema == pl.Schema(schema)


def test_a_damaged_line_is_named_with_file_and_byte(tmp_path: Path, schema: dict[str, Any]) -> None:
    good = json.dumps(line("a")) + "\n"
    (tmp_path / "1-x.jsonl").write_text(good + "{noise\n" + good)
    with pytest.raises(ValueError, match=f"1-x.jsonl holds a damaged line at byte {len(good)}"):
        read_new(tmp_path, schema)
