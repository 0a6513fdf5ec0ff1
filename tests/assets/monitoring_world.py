"""A small world of answers: a log, outcomes that become known later, a version with held-out answers, a clock."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from assets.outcomes import bring_outcomes
from assets.performance import bring_performance
from assets.resources import Platform
from ml.clock import ReplayClock
from ml.held_out import TEST_PREDICTIONS
from ml.scoring import example_feed
from ml.settings import Settings
from ml.upkeep import MonitoringSettings
from ml.verdicts import Verdict
from serving.log_reader import log_schema
from serving.model_repository import ModelRepository
from tests.serving.example import RAW, SPEC, example_plan, write_graph

BOUNDS = MonitoringSettings(min_rows=200, max_drifted_share=0.15)
MODEL = SPEC.model_copy(update={"slices": ("origin",), "monitoring": BOUNDS})
MONDAY = datetime(2013, 9, 30, tzinfo=UTC)
ROWS = 900
MONTH = "2013-10"
UTC_US = pl.Datetime("us", "UTC")


def sigmoid(raw):
    return 1 / (1 + np.exp(-raw))


class World:
    """One home. Weeks are numbered from that of MONDAY, 0; answers of week 1 are to flights N1-0, N1-1, ..."""

    def __init__(self, home: Path) -> None:
        self.platform = Platform(Settings(home=home))
        self.plan = example_plan(home)
        repository = ModelRepository(self.platform.settings.serving_home)
        repository.write_plan(self.plan)
        repository.point(self.plan, proven=True)
        self.outcomes: dict[str, dict] = {}
        self.move(MONDAY)

    def move(self, instant: datetime) -> None:
        ReplayClock(self.platform.settings.clock_file).set(instant)

    def answer(self, week: int, rows: int = ROWS, too_high: float = 0.0, moved: float = 0.0, **columns) -> pl.DataFrame:
        """Append a week of answers to the log, and what will happen after them, 3 hours later."""
        random = np.random.default_rng(week)
        raw = random.normal(-1, 1.3, rows)
        late = (random.random(rows) < sigmoid(raw)).astype(int)
        start = MONDAY + timedelta(days=7 * week)
        times = sorted(start + timedelta(seconds=int(s)) for s in random.integers(0, 7 * 86_400, rows))
        names = [f"N{week}-{n}" for n in range(rows)]
        told = {
            "prediction_id": names,
            "time": times,
            "model": SPEC.name,
            "model_version": "1",
            "variant": "champion",
            "answered": True,
            "revision": 1,
            "probability": sigmoid(raw + too_high),
            "degraded": False,
            "taken_ms": 2.0,
            "tailnum": names,
            "origin": random.choice(["EWR", "JFK"], rows),
            "runway": 4,
            "distance": random.normal(1000, 200, rows),
            "departure": [t.timestamp() + 7200 for t in times],
            "aircraft__last_delay": random.normal(10 + moved, 30, rows),
            "aircraft__last_dest": "MIA",
            "aircraft__event_timestamp": [t - timedelta(minutes=30) for t in times],
            "runway__departures": random.integers(0, 40, rows),
            "runway__wet": random.random(rows) < 0.3,
            **columns,
        }
        schema = log_schema(self.plan)
        frame = pl.DataFrame({name: told[name] for name in schema if name in told}, schema_overrides=schema)
        self.platform.lake.append(f"{SPEC.name}/predictions", frame, {"cursor": {}})
        kept = frame.select("tailnum", "origin", "runway", "distance", "departure", "time").to_dicts()
        for row, label in zip(kept, late.tolist(), strict=True):
            asked = row.pop("time")
            known = asked + timedelta(hours=3)
            more = {"id": row["tailnum"], "late": label, "label_timestamp": known, "prediction_time": asked}
            self.outcomes[row["tailnum"]] = row | more
        return frame

    def publish(self) -> None:
        """Publish what happened, labels of the future too, as a replay has them."""
        rows = pl.DataFrame(list(self.outcomes.values()), infer_schema_length=None)
        times = [pl.col(name).cast(UTC_US) for name in ("label_timestamp", "prediction_time")]
        rows = rows.with_columns(*times, partition_key=pl.lit(MONTH))
        version = self.platform.lake.replace("features/t", rows, [MONTH])
        checks = ("dbt_tests", "expectations", "history")
        self.platform.verdicts.record(Verdict("features/t", version, name, True, MONTH) for name in checks)
        self.platform.publications.publish("t", {MONTH: version}, "tests")

    def bring(self) -> tuple[list[str], list[str]]:
        """Bring both tables up to date; return the months and windows written."""
        return bring_outcomes(self.platform, MODEL), bring_performance(self.platform, MODEL)

    def read(self, part: str) -> pl.DataFrame:
        return self.platform.lake.read(f"{SPEC.name}/{part}").collect()

    def register(self) -> None:
        """Register version 1 with its held-out answers and what it learned from."""
        random = np.random.default_rng(77)
        columns = {
            "aircraft__last_delay": random.normal(10, 30, 3000),
            "aircraft__last_dest": ["MIA"] * 3000,
            "runway__departures": random.integers(0, 40, 3000),
            "runway__wet": random.random(3000) < 0.3,
            "origin": random.choice(["EWR", "JFK"], 3000),
            "distance": random.normal(1000, 200, 3000),
            "prediction_time": [datetime(2013, 1, 2, tzinfo=UTC)] * 3000,
        }
        learned = self.platform.lake.replace(f"{SPEC.name}/training_set", pl.DataFrame(columns))
        raw = random.normal(-1, 1.3, 3000)
        folder = self.platform.settings.root / "trained"
        onnx = write_graph(folder / "model.onnx", -3.0)
        held = {
            "prediction_time": [datetime(2013, 3, 1 + n % 28, tzinfo=UTC) for n in range(3000)],
            "label": (random.random(3000) < sigmoid(raw)).astype(int),
            "probability": pl.Series(sigmoid(raw), dtype=pl.Float32),
        }
        pl.DataFrame(held).write_parquet(folder / TEST_PREDICTIONS)
        with self.platform.registry.recording(SPEC.name) as run:
            run.artifact(folder / TEST_PREDICTIONS)
            feed = example_feed(onnx, pl.DataFrame([RAW]), 1)
            version = run.register(onnx, feed, {"training_set_version": learned})
        assert version == "1"


def week_is_final(week: int) -> datetime:
    """Return the first instant at which all labels of a week must have come."""
    return MONDAY + timedelta(days=7 * (week + 1), hours=SPEC.outcome.label_hours)
