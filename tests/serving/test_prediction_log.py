import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from serving.log_frames import NEVER, Batch, LogSchema, encode
from serving.log_reader import find, log_schema, read_new
from serving.log_spool import LOG_SUFFIX, Spool
from serving.prediction_log import PredictionLog
from tests.serving.example import NOW, example_plan

MICROSECONDS = round(NOW.timestamp() * 1e6)


@pytest.fixture
def schema(tmp_path: Path) -> LogSchema:
    return example_plan(tmp_path).log_schema()


@pytest.fixture
def columns(tmp_path: Path) -> dict[str, Any]:
    return log_schema(example_plan(tmp_path))


def frame(schema: LogSchema, first: int = 0, rows: int = 1) -> bytes:
    """A batch of the example model, its rows numbered in `distance`."""
    assert [name for name, _ in schema.numbers] == ["runway", "distance", "departure"]
    assert schema.texts == ("tailnum", "origin")
    assert [name for name, _ in schema.features] == [
        "aircraft__last_arrived_at",
        "aircraft__last_delay",
        "runway__departures",
        "runway__wet",
    ]
    batch = Batch(
        time_us=MICROSECONDS + first,
        taken_us=1500,
        ids=b"".join(number.to_bytes(16, "big") for number in range(first, first + rows)),
        value=np.full(rows, 0.25, np.float32),
        event_us=np.array([[NEVER] * rows, [MICROSECONDS] * rows]),
        status=np.array([[1] * rows, [0] * rows]),
        numbers=np.array([[4.0] * rows, np.arange(first, first + rows), [np.nan] * rows]),
        features=np.array([[np.nan] * rows, [np.nan] * rows, [17.0] * rows, [1.0] * rows]),
        texts=[["N1"] * rows, [None] * rows, ["Ätna"] * rows],
    )
    return encode(schema, batch)


def numbers(found: pl.DataFrame) -> list[float]:
    return found["distance"].to_list()


def test_what_is_written_is_what_is_read(tmp_path: Path, schema: LogSchema, columns: dict[str, Any]) -> None:
    log = PredictionLog(tmp_path / "log", "1", [schema])
    for n in range(0, 2500, 5):
        log.append(frame(schema, n, 5))
    log.close()
    found, _ = read_new(tmp_path / "log", columns)
    assert numbers(found) == list(range(2500))
    assert found.schema == pl.Schema(columns)
    assert log.dropped == 0
    assert found.row(7, named=True) == {
        "prediction_id": f"{7:032x}",
        "time": found["time"][5],
        "model": "example",
        "model_version": "1",
        "variant": "champion",
        "answered": True,
        "revision": 1,
        "probability": 0.25,
        "degraded": False,
        "taken_ms": 1.5,
        "runway": 4,
        "distance": 7.0,
        "departure": None,
        "tailnum": "N1",
        "origin": None,
        "aircraft__last_arrived_at": None,
        "aircraft__last_delay": None,
        "runway__departures": 17,
        "runway__wet": True,
        "aircraft__last_dest": "Ätna",
        "aircraft__event_timestamp": None,
        "runway__event_timestamp": NOW,
        "aircraft__status": "not_found",
        "runway__status": "present",
    }


def test_a_full_ring_drops_and_counts_and_never_waits(
    tmp_path: Path, schema: LogSchema, columns: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, drain = threading.Event(), Spool.drain
    monkeypatch.setattr(Spool, "drain", lambda self: (gate.wait(10), drain(self))[1])
    size = len(frame(schema))
    log = PredictionLog(tmp_path / "log", "1", [schema], capacity=4 * size)
    start = time.perf_counter()
    for n in range(100):
        log.append(frame(schema, n))
    assert time.perf_counter() - start < 0.5
    assert log.dropped == 96
    gate.set()
    log.close()
    assert numbers(read_new(tmp_path / "log", columns)[0]) == [0, 1, 2, 3]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3000000", "tmpfs", folder], capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount a file system: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_while_the_disk_is_full_predictions_wait_and_are_written_when_it_has_room(
    disk: Path, schema: LogSchema, columns: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    log = PredictionLog(disk / "log", "1", [schema], capacity=1_000_000)
    ballast = disk / "ballast"
    ballast.write_bytes(b"\0" * (shutil.disk_usage(disk).free - 4096))
    for n in range(1000):
        log.append(frame(schema, n))
    time.sleep(0.3)
    assert log.dropped == 0
    ballast.unlink()
    log.close()
    found, _ = read_new(disk / "log", columns)
    assert numbers(found) == list(range(1000))
    assert "No space left" in capfd.readouterr().err


def test_without_room_for_a_ring_predictions_wait_in_memory_and_it_says_so(
    disk: Path, schema: LogSchema, columns: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(b"\0" * shutil.disk_usage(disk).free)
    log = PredictionLog(disk / "log", "1", [schema], capacity=1_000_000)
    log.append(frame(schema, 3))
    assert "wait in memory" in capfd.readouterr().err
    ballast.unlink()
    log.close()
    assert numbers(read_new(disk / "log", columns)[0]) == [3]


def test_a_file_that_is_full_is_followed_by_another(
    tmp_path: Path, schema: LogSchema, columns: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.prediction_log.ROTATE_BYTES", 2000)
    log = PredictionLog(tmp_path / "log", "1", [schema])
    for n in range(40):
        log.append(frame(schema, n))
        time.sleep(0.01)
    log.close()
    assert len(list((tmp_path / "log").glob(f"*{LOG_SUFFIX}"))) > 1
    assert numbers(read_new(tmp_path / "log", columns)[0]) == list(range(40))


def test_a_half_written_last_frame_waits_for_its_other_half(
    tmp_path: Path, schema: LogSchema, columns: dict[str, Any]
) -> None:
    (tmp_path / schema.file).write_text(schema.to_json())
    data, path = frame(schema, 0) + frame(schema, 1), tmp_path / f"1-x{LOG_SUFFIX}"
    for cut in (20, len(frame(schema)) - 10):
        path.write_bytes(data[:-cut])
        found, cursor = read_new(tmp_path, columns)
        assert numbers(found) == [0]
    path.write_bytes(data)
    found, cursor = read_new(tmp_path, columns, cursor)
    assert numbers(found) == [1]
    assert read_new(tmp_path, columns, cursor)[0].is_empty()


def test_versions_with_other_columns_are_read_together(
    tmp_path: Path, schema: LogSchema, columns: dict[str, Any]
) -> None:
    older = replace(schema, revision=9, model_version="8")
    for number, one in enumerate((older, schema)):
        log = PredictionLog(tmp_path / "log", f"{number}", [one])
        log.append(frame(one, number))
        log.close()
    wanted = {**{name: kind for name, kind in columns.items() if name != "runway"}, "new": pl.Float64}
    found, _ = read_new(tmp_path / "log", wanted)
    assert found["model_version"].to_list() == ["8", "1"]
    assert found.schema == pl.Schema(wanted)


def test_no_log_yet_is_an_empty_table_with_all_columns(tmp_path: Path, columns: dict[str, Any]) -> None:
    found, cursor = read_new(tmp_path / "none", columns)
    assert (found.height, cursor) == (0, {})
    assert found.schema == pl.Schema(columns)


@pytest.mark.parametrize("byte", [0, 7, 9, 60, -1])
def test_a_damaged_frame_is_named_with_file_and_byte(
    tmp_path: Path, schema: LogSchema, columns: dict[str, Any], byte: int
) -> None:
    (tmp_path / schema.file).write_text(schema.to_json())
    good, bad = frame(schema), bytearray(frame(schema))
    bad[byte] ^= 255
    (tmp_path / f"1-x{LOG_SUFFIX}").write_bytes(good + bad + good)
    with pytest.raises(ValueError, match=f"1-x{LOG_SUFFIX} holds .* at byte {len(good)}; move the file away"):
        read_new(tmp_path, columns)


def test_a_log_whose_schema_is_gone_names_it(tmp_path: Path, schema: LogSchema, columns: dict[str, Any]) -> None:
    (tmp_path / f"1-x{LOG_SUFFIX}").write_bytes(frame(schema))
    with pytest.raises(LookupError, match=f"{schema.digest.hex()}.schema.json, by which predictions are read"):
        read_new(tmp_path, columns)


def test_one_prediction_is_found_by_its_id_with_all_that_was_logged(tmp_path: Path, schema: LogSchema) -> None:
    log = PredictionLog(tmp_path / "log", "1", [schema])
    for n in range(0, 300, 3):
        log.append(frame(schema, n, 3))
    log.close()
    found, damage = find(tmp_path / "log", f"{151:032x}")
    assert numbers(found) == [151]
    assert found["runway__departures"].to_list() == [17]
    assert damage == []
    assert find(tmp_path / "log", f"{301:032x}")[0].is_empty()


def test_a_damaged_log_hides_no_prediction_of_another_and_is_named(tmp_path: Path, schema: LogSchema) -> None:
    for name, first in (("a", 0), ("b", 10)):
        log = PredictionLog(tmp_path / "log", name, [schema])
        log.append(frame(schema, first, 5))
        log.append(frame(schema, first + 5, 5))
        log.close()
    first_file, _ = sorted((tmp_path / "log").glob(f"*{LOG_SUFFIX}"))
    content = bytearray(first_file.read_bytes())
    content[len(content) // 2 + 100] ^= 1  # in its second frame
    first_file.write_bytes(content)
    for wanted in (3, 13):
        found, damage = find(tmp_path / "log", f"{wanted:032x}")
        assert numbers(found) == [wanted]
        assert [str(first_file) in line and "damaged prediction at byte" in line for line in damage] == [True]
    found, damage = find(tmp_path / "log", f"{7:032x}")
    assert found.is_empty()
    assert len(damage) == 1
