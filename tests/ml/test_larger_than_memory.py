"""A training set many times larger than the memory it may take trains from disk, to about the same score."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from ml import spill as spilling
from ml.batches import Batch, cut_blocks, encoded
from ml.encoding import learn_encoding
from ml.lake import Lake
from ml.memory import MIB, encoded_bytes, room_for
from ml.models.flight_delay import FLIGHT_DELAY
from ml.objective import objective_of
from ml.running import Running
from ml.spill import spill
from ml.split import split_rows, stream_rows, train_rows
from ml.training import fit
from ml.world import ALONE, World
from tests.ml.synthetic import SPEC, training_rows
from tests.ml.test_full_disk import mounted
from tests.ml.train_command import TABLE

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
ROWS = training_rows()
PARTS = split_rows(SPEC, ROWS)
ENCODING = learn_encoding(SPEC, PARTS.train)
OBJECTIVE = objective_of(SPEC, PARTS.train)

BUDGET_MB = 4
ALLOWANCE_MB = 200  # of libraries: a row group that is read, the allocator's left-overs
CHILD = """
import json, sys
from pathlib import Path
import torch, sklearn.metrics
from ml.lake import Lake
from ml.memory import encoded_bytes
from ml.models.flight_delay import FLIGHT_DELAY
from ml.running import Running
from ml.spec import NetworkSettings
from ml.split import split_rows, stream_rows, train_rows
from ml.training import fit
from tests.ml.synthetic import SPEC, training_rows

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

small, cpu, lines = split_rows(SPEC, training_rows(count=2000)), torch.device("cpu"), []
fit(SPEC, small.train, small.validation, cpu)  # all that torch and scikit-learn set up once
home, budget = Path(sys.argv[1]), float(sys.argv[2])
table = Lake(home / "lake").read("flight_delay/training_set")
before = peak()
spec = FLIGHT_DELAY.model_copy(update={
    "network": NetworkSettings(hidden=(32,)), "training": FLIGHT_DELAY.training.model_copy(update={"epochs": 2}),
})
parts = stream_rows(spec, table) if budget else split_rows(spec, table.collect())
running = Running(memory_mb=budget or None, work=home / "rows", say=lines.append)
model = fit(spec, parts.train, parts.validation, cpu, running=running)
encoded = train_rows(spec, table) * encoded_bytes(spec, table.collect_schema()) / 2**20
score = model.best.validation_score
print(json.dumps({"grown": peak() - before, "score": score, "lines": lines, "encoded": encoded}))
"""


def spilled(tmp_path, budget, shuffle=True, world=ALONE, say=lambda line: None):
    return spill(ENCODING, PARTS.train, OBJECTIVE, tmp_path / f"rows-{world.rank}", budget, CPU, 7, shuffle, world, say)


def sorted_rows(batch):
    columns = torch.cat([batch.times, batch.categorical.double(), batch.numeric.double(), batch.target.double()], dim=1)
    return np.array(sorted(map(tuple, columns.nan_to_num(nan=-1e9).tolist())))


def test_rows_on_disk_are_those_in_memory_and_no_partition_takes_more_than_its_share(tmp_path, monkeypatch):
    monkeypatch.setattr(spilling, "_LEAST_SLICE", 300)
    said, budget = [], 40_000
    source = spilled(tmp_path, budget, say=said.append)
    assert len(source) == PARTS.train.height
    assert len(source.paths) > 10
    assert max(path.stat().st_size for path in source.paths) <= budget * 0.25
    memory = encoded(ENCODING, PARTS.train, OBJECTIVE.targets(PARTS.train))
    epochs = [Batch.joined(list(source.shuffled(epoch))) for epoch in (0, 1)]
    for epoch in epochs:
        np.testing.assert_array_equal(sorted_rows(epoch), sorted_rows(memory))
    assert not torch.equal(epochs[0].target, epochs[1].target)
    rest = Batch.joined(list(source.shuffled(1, start=777)))
    np.testing.assert_array_equal(rest.times.nan_to_num(), epochs[1].times[777:].nan_to_num())
    assert said[-1] == f"encoded {len(source):,} of {len(source):,} rows to disk, 100%"


def test_rows_that_validate_keep_their_order(tmp_path):
    source = spilled(tmp_path, 40_000, shuffle=False)
    memory = encoded(ENCODING, PARTS.train, OBJECTIVE.targets(PARTS.train))
    found = Batch.joined(list(source.in_order()))
    assert torch.equal(found.categorical, memory.categorical)
    assert torch.equal(found.target, memory.target)


def test_each_process_writes_every_other_row(tmp_path):
    parts = [spilled(tmp_path, 40_000, shuffle=False, world=World(rank, 2)) for rank in range(2)]
    memory = encoded(ENCODING, PARTS.train, OBJECTIVE.targets(PARTS.train))
    for rank, part in enumerate(parts):
        assert torch.equal(Batch.joined(list(part.in_order())).target, memory.target[rank::2])


def test_batches_of_any_size_are_cut_across_blocks():
    def block(start, end):
        values = torch.arange(start, end)
        return Batch(values.unsqueeze(1), values.unsqueeze(1), values.unsqueeze(1), values)

    found = list(cut_blocks([block(0, 3), block(3, 4), block(4, 10)], [2, 0, 5, 1, 2]))
    assert [batch.target.tolist() for batch in found] == [[0, 1], [], [2, 3, 4, 5, 6], [7], [8, 9]]


def test_a_table_is_cut_into_the_same_parts_slice_by_slice():
    table = ROWS.sort("departure", "row_id").lazy()
    streamed = stream_rows(SPEC, table)
    assert streamed.late_labels == PARTS.late_labels
    for name in ("train", "validation", "test"):
        whole, part = getattr(PARTS, name), getattr(streamed, name)
        assert part.height == whole.height
        assert pl.concat(part.iter_slices(300)).sort("row_id").equals(whole.sort("row_id"))
        assert part["late"].len() == whole.height
        assert part.head(7).height == 7
    sample = streamed.train.sample(100)
    assert 90 <= sample.height <= 100
    assert sample["departure"].min() < sample["departure"].max()
    with pytest.raises(ValueError, match="has no labelled rows"):
        stream_rows(SPEC, table.filter(pl.col("prediction_time") < SPEC.split.validation.start))


def test_a_full_disk_is_said_with_the_numbers_before_anything_is_encoded(tmp_path):
    mounted(tmp_path, "size=100k")
    said = r"training needs 0\.\d MiB in .*rows-0 for encoded rows, 0\.1 MiB are free; free some room"
    try:
        with pytest.raises(OSError, match=said):
            spilled(tmp_path, 40_000)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_budget_decides_before_rows_are_read():
    table = ROWS.lazy()
    rows, schema = train_rows(SPEC, table), table.collect_schema()
    need = rows * encoded_bytes(SPEC, schema) / MIB
    assert room_for(SPEC, schema, rows, ROWS.height, need * 1.01, CPU).fits
    room = room_for(SPEC, schema, rows, ROWS.height, need * 0.99, CPU)
    assert not room.fits
    assert str(room).endswith("MiB are allowed: they do not fit and are read from disk")
    assert room_for(SPEC, schema, rows, ROWS.height, None, CPU).fits
    assert not room_for(SPEC, schema, 10**12, 10**12, None, CPU).fits


def test_a_training_from_disk_goes_on_from_its_checkpoint(tmp_path):
    class Stop(Exception):
        pass

    def stop(epoch):
        if epoch.number == 2:
            raise Stop

    parts, said = stream_rows(SPEC, ROWS.lazy()), []
    running = Running(memory_mb=0.02, work=tmp_path / "rows", say=said.append)
    whole = fit(SPEC, parts.train, parts.validation, CPU, running=running)
    assert not list((tmp_path / "rows").iterdir())
    running = Running(memory_mb=0.02, work=tmp_path / "rows", checkpoint=tmp_path / "checkpoint", say=said.append)
    with pytest.raises(Stop):
        fit(SPEC, parts.train, parts.validation, CPU, stop, running=running)
    found = fit(SPEC, parts.train, parts.validation, CPU, running=running)
    assert "goes on from a checkpoint: 2 epochs and 0 steps are done" in said
    np.testing.assert_array_equal(found.predict(PARTS.test), whole.predict(PARTS.test))


def test_ten_times_the_budget_trains_within_it_and_scores_as_in_memory(tmp_path):
    rows = training_rows(FLIGHT_DELAY, count=20_000)
    table = pl.concat([rows] * 16).sort("prediction_time")
    Lake(tmp_path / "lake").replace(TABLE, table, metadata={})

    def trained(budget):
        words = [sys.executable, "-c", CHILD, str(tmp_path), str(budget)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    bound, free = trained(BUDGET_MB), trained(0)
    print(bound["grown"], free["grown"], bound["encoded"], bound["score"], free["score"])
    assert bound["encoded"] > 10 * BUDGET_MB
    assert bound["grown"] < BUDGET_MB + ALLOWANCE_MB < free["grown"]
    assert bound["score"] == pytest.approx(free["score"], abs=0.01)
    assert any("encoding learned from" in line for line in bound["lines"])
    assert any("rows to disk, 100%" in line for line in bound["lines"])
