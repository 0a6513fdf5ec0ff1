"""Traces of answers of the bus company: a small home with a real log, plan, lake and publications."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets.resources import Platform
from assets.trace import trace_prediction
from ml.clock import RealClock
from ml.history import CREATED, EVENT
from ml.lake import PARTITION_KEY
from ml.packed import Field
from ml.publication import Publications
from ml.rebuild import Cut, Made, RawTables, Rebuilder
from ml.settings import Settings
from ml.trace import Step
from ml.verdicts import Verdict
from serving.log_frames import Batch, encode
from serving.model_repository import ModelRepository
from serving.plan import Change, Input, JoinKey, Plan, RequestInput, Version, View
from serving.prediction_log import PredictionLog
from tests.checks.bus_world import TRIPS, World, bus_world

MONTH = "2013-07"
FIELDS = (Field("last_late", "int"), Field("last_held", "float"))
# Corrections are versions of the row, as in aircraft_state.
SQL = """
select
    bus, late as last_late, cast(held as double) as last_held,
    event_timestamp, created_timestamp, strftime(event_timestamp, '%Y-%m') as partition_key
from "w"."staging"."trips"
"""
PLAN = Plan(
    model="bus_delay",
    revision=1,
    champion=Version(
        "1",
        "/nowhere/model.onnx",
        tuple(Input(f"bus_state__{field.name}", "numeric", "bus_state", field.name) for field in FIELDS),
        0.5,
    ),
    views=(View("bus_state", (JoinKey("bus", "string"),), timedelta(days=3).total_seconds(), FIELDS),),
    request=(RequestInput("bus", "BYTES"),),
    online_store="nowhere",
    clock_file="",
    prediction_log="",
    deadline_ms=10,
    change=Change("promote", "ann", "better on hills", "2013-06-30T00:00:00+00:00"),
)


@dataclass
class Buses:
    """The home, and answers written into its log."""

    home: Path
    world: World
    made: Made
    asked: int = 0

    @property
    def platform(self) -> Platform:
        return Platform(Settings(home=self.home))

    def publish(self) -> None:
        columns = ["bus", EVENT, CREATED, "last_late", "last_held", PARTITION_KEY]
        rows = Rebuilder(RawTables(self.world.lake, [TRIPS]))._rows(self.made, columns, [MONTH], Cut())
        recipe = self.made.recipe.to_metadata()
        version = self.world.lake.replace("features/bus_state", rows, [MONTH], {"run": "run-1", **recipe})
        Publications(self.world.lake, RealClock()).publish("bus_state", {MONTH: version}, "run-2", keys=["bus"])

    def answer(self, bus: str, moment: datetime, event: datetime | None, values: tuple[int, float]) -> str:
        """Log an answer as the router does, and return its id."""
        self.asked += 1
        schema = PLAN.log_schema()
        log = PredictionLog(self.home / "serving" / "predictions" / "bus_delay", str(self.asked), [schema])
        batch = Batch(
            time_us=round(moment.timestamp() * 1e6),
            taken_us=900,
            ids=self.asked.to_bytes(16, "big"),
            value=np.array([0.75], np.float32),
            event_us=np.array([[round(event.timestamp() * 1e6)]]) if event else np.array([[np.iinfo(np.int64).min]]),
            status=np.array([[0 if event else 1]]),
            numbers=np.empty((0, 1)),
            features=np.array([[value] for value in values]),
            texts=[[bus]],
        )
        log.append(encode(schema, batch))
        log.close()
        return f"{self.asked:032x}"

    def trace(self, prediction_id: str) -> Step:
        return trace_prediction(self.platform, prediction_id, [TRIPS])


@pytest.fixture
def buses(tmp_path):
    world = bus_world(tmp_path / "lake", count=1500)
    made = Made((MONTH,), world.made(SQL).recipe)
    ModelRepository(tmp_path / "serving").write_plan(PLAN)
    home = Buses(tmp_path, world, made)
    home.publish()
    return home


@pytest.fixture
def corrected(buses) -> dict[str, Any]:
    """A correction that came a day late, of a trip after which its bus made no other one that day."""
    trips = buses.world.lake.read("raw/trips").filter(pl.col(PARTITION_KEY) == MONTH).collect()
    late = trips.filter(pl.col(CREATED) > pl.col(EVENT)).sort("trip")
    for row in late.iter_rows(named=True):
        hour = row[EVENT] + timedelta(minutes=1)
        others = trips.filter(pl.col(EVENT).is_between(hour, hour + timedelta(days=1)), bus=row["bus"])
        if others.is_empty():
            return row
    raise AssertionError("no such trip; draw more")


def view(step):
    (found,) = (part for part in step.below if part.kind == "feature")
    return found


def raw_rows(step):
    (found,) = (part for part in view(step).below if part.kind == "raw")
    return found.rows


def test_a_late_correction_is_not_behind_an_answer_that_was_given_before_it(buses, corrected):
    event, known, first = corrected[EVENT], corrected[CREATED], corrected["late"] - 40
    before = buses.answer(corrected["bus"], event + timedelta(hours=1), event, (first, corrected["held"]))
    step = buses.trace(before)
    assert view(step).gone == ()
    assert [cell["published"] for cell in view(step).rows] == [first, corrected["held"]]
    (row,) = raw_rows(step)
    assert (row["key"], row["known at"]) == ({"trip": corrected["trip"]}, event)
    assert row["row"]["late"] == first

    after = buses.answer(corrected["bus"], known + timedelta(minutes=1), event, (corrected["late"], corrected["held"]))
    step = buses.trace(after)
    assert view(step).gone == ()
    assert view(step).facts["corrected at"] == known
    assert raw_rows(step)[0]["known at"] == known
    assert raw_rows(step)[0]["row"]["late"] == corrected["late"]


def test_an_answer_by_the_uncorrected_value_after_the_correction_is_named(buses, corrected):
    event, late = corrected[EVENT], corrected["late"] - 40
    stale = buses.answer(corrected["bus"], corrected[CREATED] + timedelta(minutes=1), event, (late, corrected["held"]))
    (line,) = view(buses.trace(stale)).gone
    assert f"last_late was {late}, published is {corrected['late']}" in line


def test_what_serves_and_what_is_gone_are_both_told(buses, corrected):
    event = corrected[EVENT]
    wanted = buses.answer(corrected["bus"], event, event, (corrected["late"] - 40, corrected["held"]))
    step = buses.trace(wanted)
    assert step.facts["decision"] == "act (from 0.5 on)"
    serving, model = step.below[:2]
    assert serving.facts["changed by"] == "promote, by ann, at 2013-06-30T00:00:00+00:00, better on hills"
    assert "no version 1 of model 'bus_delay' in the registry" in model.gone[0]
    (source,) = (part for part in step.below if part.kind == "source")
    assert source.facts["read from"] == "nowhere"
    assert "check 'expectations' of raw/trips[2013-07] version 0 has no verdict" in step.missing()


def test_rows_that_were_published_anew_are_found_in_the_version_that_was_served(buses, corrected):
    event, values = corrected[EVENT], (corrected["late"] - 40, corrected["held"])
    wanted = buses.answer(corrected["bus"], event, event, values)
    shifted = SQL.replace("late as last_late", "late + 1 as last_late")
    buses.made = Made((MONTH,), buses.world.made(shifted).recipe)
    buses.publish()
    (line,) = view(buses.trace(wanted)).gone
    assert line.startswith("the row of bus_state that was served is of version 0; published/bus_state version 1")
    assert [cell["same"] for cell in view(buses.trace(wanted)).rows] == [True, True]


def test_a_removed_version_and_a_lost_plan_leave_the_rest(buses, corrected):
    event = corrected[EVENT]
    wanted = buses.answer(corrected["bus"], event, event, (corrected["late"] - 40, corrected["held"]))
    for path in (buses.home / "lake" / "raw" / "trips").rglob("*.parquet"):
        path.unlink()
    step = buses.trace(wanted)
    assert [cell["same"] for cell in view(step).rows] == [True, True]
    assert "table 'raw/trips' at version 0 lacks" in " / ".join(step.missing())
    (buses.home / "serving" / "plans" / "bus_delay" / "1.json").unlink()
    missing = " / ".join(buses.trace(wanted).missing())
    assert "plan revision 1 of bus_delay is gone" in missing
    assert "which views were read is not known: no dbt manifest" in missing


def test_a_bus_that_nobody_knew_is_told_as_such(buses):
    wanted = buses.answer("bus 99", datetime.fromisoformat("2013-07-20T00:00+00:00"), None, (np.nan, np.nan))
    found = view(buses.trace(wanted))
    assert found.facts["status"] == "nothing was known of this key"
    assert found.gone == ()


def test_a_damaged_log_is_named_beside_the_answer(buses, corrected):
    event = corrected[EVENT]
    values = (corrected["late"] - 40, corrected["held"])
    wanted = [buses.answer(corrected["bus"], event, event, values) for _ in range(2)]
    damaged = max(
        (buses.home / "serving" / "predictions" / "bus_delay").glob("*.frames"), key=lambda p: p.stat().st_mtime
    )
    damaged.write_bytes(b"\0" * damaged.stat().st_size)
    assert "holds no prediction at byte 0" in buses.trace(wanted[0]).gone[0]
    with pytest.raises(LookupError, match=r"no prediction 0+2 in the serving logs.*these could not be read: .*byte 0"):
        buses.trace(wanted[1])


def test_a_version_that_is_gone_from_the_registry_is_told_by_its_checks(buses, corrected):
    event = corrected[EVENT]
    wanted = buses.answer(corrected["bus"], event, event, (corrected["late"] - 40, corrected["held"]))
    drift = Verdict("bus_delay/model", 1, "serving_drift", True, evidence={"training_set_version": 0, "summary": "no"})
    buses.platform.verdicts.record([drift])
    buses.world.lake.replace("bus_delay/training_set", pl.DataFrame({"x": [1]}), None, {"content": "abc", "rows": 1})
    model = buses.trace(wanted).below[1]
    assert model.gone[0].startswith("no version 1 of model 'bus_delay' in the registry")
    assert "the run and the code of bus_delay version 1 are not known any more" in model.gone[1]
    (training_set,) = (part for part in model.below if part.kind == "data")
    assert (training_set.facts["hash"], training_set.facts["rows"]) == ("abc", 1)
