"""From a training set to a registered candidate: split, fit, export, prove, measure, register.

Data, spec and registry in, Candidate out; the command line around it is ml/train.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from numpy.typing import NDArray

from ml.checkpoint import remove_checkpoint
from ml.device import hardware
from ml.export import export, verify
from ml.memory import room_for
from ml.recording import ONNX_FILE, Recording
from ml.registry import Registry
from ml.rows import SLICE_ROWS, Rows
from ml.running import PLAIN, Running
from ml.scoring import example_feed, score
from ml.spec import ModelSpec
from ml.split import Parts, split_rows, stream_rows, train_rows
from ml.task import Metrics, Task, task_of
from ml.training import Epoch, FittedModel, fit

TEST_PREDICTIONS = "test_predictions.parquet"

_PROVED_ROWS = 2000
_EXAMPLE_ROWS = 3
_SECONDS_AN_HOUR = 3600

Say = Callable[[str], None]


@dataclass(frozen=True)
class Candidate:
    """A registered version and what was measured on it; `onnx` is the registry's file."""

    name: str
    version: str
    run_id: str
    onnx: Path
    validation: Metrics
    test: Metrics
    best_epoch: int
    fit_seconds: float
    onnx_difference: float

    def as_dict(self) -> dict[str, Any]:
        """Return it flat and JSON-able; metrics as test_roc_auc, validation_log_loss and so on."""
        return {
            "model": self.name,
            "version": self.version,
            "run_id": self.run_id,
            "onnx": str(self.onnx),
            **self.validation.as_dict("validation_"),
            **self.test.as_dict("test_"),
            "best_epoch": self.best_epoch,
            "fit_seconds": round(self.fit_seconds, 2),
            "onnx_difference": self.onnx_difference,
        }


def make_candidate(
    spec: ModelSpec,
    rows: pl.LazyFrame,
    registry: Registry,
    provenance: Mapping[str, Any],
    device: torch.device,
    out: Path,
    say: Say = lambda line: None,
    running: Running = PLAIN,
) -> Candidate:
    """Fit `spec` on the training set `rows`, prove and measure its ONNX graph and register it.

    `provenance` becomes tags of run and version. Working files go to `out`. Raises what split, fit and
    verify raise; then the run is recorded as failed and no version exists. A checkpoint is removed once the version
    is registered.
    """
    running = replace(running, say=say)
    parts = _split(spec, rows, device, running)
    say(_describe(parts))
    with registry.recording(spec.name, provenance) as run:
        run.params({**_settings(spec), "seed": spec.training.seed, "device": str(device)})
        run.tags({"hardware": hardware(device)})
        report = _reporter(task_of(spec), run, say)
        model = fit(spec, parts.train, parts.validation, device, report, running=running)
        say(f"fitted in {model.seconds:.0f} s, ended by {model.stopped_by}; kept epoch {model.best.number}")
        candidate = _register(spec, parts, model, run, registry, provenance, out)
    if running.checkpoint is not None:
        remove_checkpoint(running.checkpoint)
    say(
        f"registered {spec.name} version {candidate.version}: test {model.task.score_title} "
        f"{candidate.test.score:.4f}, calibration error {candidate.test.calibration_error:.4f}"
    )
    return candidate


def assist(spec: ModelSpec, rows: pl.LazyFrame, device: torch.device, running: Running) -> None:
    """Fit as one of several processes of which another makes the candidate. Raises what split and fit raise."""
    parts = _split(spec, rows, device, running)
    fit(spec, parts.train, parts.validation, device, running=running)


def _split(spec: ModelSpec, table: pl.LazyFrame, device: torch.device, running: Running) -> Parts[Any]:
    """Return the parts in memory if they fit, else as rows that are read slice by slice."""
    schema, all_rows = table.collect_schema(), int(table.select(pl.len()).collect().item())
    room = room_for(spec, schema, train_rows(spec, table), all_rows, running.memory_mb, device)
    room = running.world.same(room)
    if room.fits:
        return split_rows(spec, table.collect())
    running.say(str(room))
    return stream_rows(spec, table)


def _register(
    spec: ModelSpec,
    parts: Parts[Any],
    model: FittedModel,
    run: Recording,
    registry: Registry,
    provenance: Mapping[str, Any],
    out: Path,
) -> Candidate:
    onnx = out / ONNX_FILE
    export(model, onnx)
    difference = verify(model, onnx, parts.test.head(_PROVED_ROWS))
    answers = score(onnx, parts.test)
    test = model.task.evaluate(parts.test[spec.outcome.label], answers)
    validation = model.task.evaluate(parts.validation[spec.outcome.label], score(onnx, parts.validation))
    measured = {**validation.as_dict("validation_"), **test.as_dict("test_")}
    run.metrics({**measured, "onnx_difference": difference, "fit_seconds": model.seconds})
    predictions = out / TEST_PREDICTIONS
    _write_predictions(spec, parts.test, answers, predictions)
    run.artifact(predictions)
    example = example_feed(onnx, parts.test, _EXAMPLE_ROWS)
    version = registry.version(spec.name, run.register(onnx, example, provenance, model.task.output))
    return Candidate(
        name=spec.name,
        version=version.version,
        run_id=run.run_id,
        onnx=registry.onnx_path(version),
        validation=validation,
        test=test,
        best_epoch=model.best.number,
        fit_seconds=model.seconds,
        onnx_difference=difference,
    )


def held_out_predictions(spec: ModelSpec, rows: pl.DataFrame, answers: NDArray[Any]) -> pl.DataFrame:
    """Return what a later comparison needs of N held-out rows.

    Columns: row_id, prediction_time, label, the answer under the task's name (probability or value), and to
    slice by: the categorical request fields and, for each local_time field, its hour of the day as <field>_hour.
    """
    outcome = spec.outcome
    return rows.select(
        pl.col(outcome.row_id).alias("row_id"),
        pl.col(outcome.prediction_time).alias("prediction_time"),
        pl.col(outcome.label).alias("label"),
        pl.Series(task_of(spec).output, answers, dtype=pl.Float32),
        *slice_columns(spec),
    )


def _write_predictions(spec: ModelSpec, rows: Rows, answers: NDArray[Any], path: Path) -> None:
    """Write `held_out_predictions` of all rows, slice by slice."""
    import pyarrow.parquet as pq

    first = held_out_predictions(spec, rows.head(0), answers[:0]).to_arrow()
    with pq.ParquetWriter(path, first.schema) as writer:
        done = 0
        for part in rows.iter_slices(SLICE_ROWS):
            found = held_out_predictions(spec, part, answers[done : done + part.height])
            writer.write_table(found.to_arrow().cast(first.schema))
            done += part.height


def slice_columns(spec: ModelSpec) -> list[pl.Expr]:
    """Return what the rows of a model can be judged in parts by: categories, and hours of local times."""
    categories = [pl.col(field.name) for field in spec.request if field.kind == "categorical"]
    hours = [
        (pl.col(field.name) % 86_400 // _SECONDS_AN_HOUR).cast(pl.Int8).alias(f"{field.name}_hour")
        for field in spec.request
        if field.kind == "local_time"
    ]
    return [*categories, *hours]


def _describe(parts: Parts[Any]) -> str:
    counts = (parts.train.height, parts.validation.height, parts.test.height, parts.late_labels)
    return "{:,} train, {:,} validation, {:,} test rows; {} left out: label known too late".format(*counts)


def _settings(spec: ModelSpec) -> dict[str, Any]:
    return {
        f"{part}.{name}": value
        for part in ("network", "training", "split")
        for name, value in getattr(spec, part).model_dump(mode="json").items()
    }


def _reporter(task: Task, run: Recording, say: Say) -> Callable[[Epoch], None]:
    def report(epoch: Epoch) -> None:
        run.metrics(
            {
                "epoch_train_loss": epoch.train_loss,
                "epoch_validation_loss": epoch.validation_loss,
                f"epoch_validation_{task.score}": epoch.validation_score,
            },
            step=epoch.number,
        )
        say(
            f"epoch {epoch.number}/{epoch.planned}: train loss {epoch.train_loss:.4f}, validation loss "
            f"{epoch.validation_loss:.4f}, {task.score_title} {epoch.validation_score:.4f}, {epoch.seconds:.1f} s"
            + (" (best)" if epoch.best else "")
        )

    return report
