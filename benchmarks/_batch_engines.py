"""The ways to score a table that `batch_scores` compares, each from a Delta table of rows to a Delta table of scores.

Run as a process of its own, `python -m benchmarks._batch_engines ENGINE FOLDER RESULT`, so that processor time and peak
memory are the engine's. Imports and opening the model are not counted; joining features, scoring and writing are.
"""

import dataclasses
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from assets.resources import platform_for
from assets.score_inputs import admitted, questions
from ml.batch_scores import Questions, score_rows
from ml.feature_store import historical_features
from ml.lake import PARTITION_KEY, Lake
from ml.models.flight_delay import FLIGHT_DELAY
from ml.scoring import feed, open_session
from ml.settings import Settings

ROWS, SCORES = "rows/copies", "model/scores"  # tables of the benchmark's folder, and of a result's
MONTH = "2013-10"  # whose published versions and champion are taken; the tables hold the whole year

Feed = dict[str, Any]


class World:
    """The home's champion and feature tables, and the benchmark's rows."""

    def __init__(self, folder: Path) -> None:
        """Ask the gates as the asset does."""
        self.platform = platform_for(Settings())
        self.inputs = admitted(self.platform, FLIGHT_DELAY, MONTH)
        self.lake = Lake(folder)
        self.store = self.platform.feature_store(self.inputs.sources)
        self.example = questions(self.platform, FLIGHT_DELAY, self.inputs, MONTH)

    def asked(self, month: str) -> Questions:
        """Return the rows of a month."""
        columns = self.example.table.collect_schema().names()
        rows = self.lake.read(ROWS, partitions=[month]).select(columns)
        return dataclasses.replace(self.example, table=rows, asked=pl.lit(True))


def ours(world: World, result: Path) -> None:
    """Month by month, in slices, as the asset does."""
    for month in sorted(world.lake.partition_versions(ROWS)):
        asked, inputs = world.asked(month), world.inputs
        at_once = asked.at_once(world.platform.settings.score_memory_mb)
        with TemporaryDirectory(dir=result.parent) as work:
            made = score_rows(
                asked, inputs.graph, inputs.version, month, world.store, Path(work), at_once, lambda line: None
            )
            Lake(result).replace_streamed(SCORES, made.batches(), month)


def pyfunc(world: World, result: Path) -> None:
    """A month in one pandas frame, through Feast's API, to the model that MLflow loads."""
    import mlflow
    import onnx

    folder = result.with_suffix(".mlflow")
    mlflow.onnx.save_model(onnx.load(world.inputs.graph.onnx), folder, save_as_external_data=False)
    model = mlflow.pyfunc.load_model(str(folder))
    _in_one_go(world, result, lambda feeds: model.predict(feeds)[world.inputs.version.output])


def onnxruntime(world: World, result: Path) -> None:
    """A month in one pandas frame, through Feast's API, to a session with ONNX Runtime's defaults."""
    session = open_session(world.inputs.graph.onnx)
    _in_one_go(world, result, lambda feeds: session.run(None, feeds)[0])


def _in_one_go(world: World, result: Path, predict: Callable[[Feed], Any]) -> None:
    types = {entry.name: entry.type for entry in open_session(world.inputs.graph.onnx).get_inputs()}
    for month in sorted(world.lake.partition_versions(ROWS)):
        asked = world.asked(month)
        rows = asked.table.collect().to_pandas().rename(columns={asked.prediction_time: "event_timestamp"})
        job = world.store.get_historical_features(
            entity_df=rows, features=list(asked.features), full_feature_names=True, filter_by_created_timestamp=True
        )
        joined = job.to_df()
        scores = predict(feed(types, pl.from_pandas(joined[list(types)])))
        kept = joined[[asked.row_id, *asked.keys, "event_timestamp"]].assign(probability=scores.reshape(-1))
        kept["decision"] = kept["probability"] >= world.inputs.version.threshold
        kept[PARTITION_KEY] = month
        Lake(result).replace(SCORES, pl.from_pandas(kept), [month])


ENGINES: dict[str, Callable[[World, Path], None]] = {"ours": ours, "pyfunc": pyfunc, "onnxruntime": onnxruntime}


def main() -> None:
    """Run one engine; print seconds, processor seconds and peak memory in MiB as JSON."""
    engine, folder, result = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    world = World(folder)
    warm = world.asked(MONTH).rows.head(1_000)  # Feast and polars load what they need
    historical_features(
        world.store, warm.select(*world.example.keys, pl.col("prediction_time").alias("event_timestamp")),
        world.inputs.features,
    )  # fmt: skip
    started, before = time.perf_counter(), _cpu()
    ENGINES[engine](world, result)
    used = {"wall": time.perf_counter() - started, "cpu": _cpu() - before}
    print(json.dumps(used | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
