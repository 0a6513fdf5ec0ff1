"""From a training set to a registered candidate: split, fit, export, prove, measure, register.

Data, spec and registry in, Candidate out; the command line around it is ml/train.py.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from numpy.typing import NDArray

from ml.card import ModelCard, make_card
from ml.checkpoint import remove_checkpoint
from ml.device import hardware
from ml.evidence import gather
from ml.export import export, verify
from ml.held_out import TEST_PREDICTIONS, write_predictions
from ml.memory import room_for
from ml.model_version import THRESHOLD_TAG, TRAINING_SET_VERSION, ModelVersion
from ml.onnx_file import PROOF_FILE, PROOF_SHA256, file_hash
from ml.provenance import DIFF_FILE, uncommitted
from ml.recording import ONNX_FILE, Recording
from ml.registry import Registry
from ml.run_facts import SPEC_FILE, parameters, training_set
from ml.running import PLAIN, Running
from ml.scoring import example_feed, score
from ml.spec import ModelSpec
from ml.split import Cut, Parts, refit_cut, split_rows, stream_rows, train_rows
from ml.task import Metrics, Task, task_of
from ml.threshold import Decision
from ml.training import Epoch, FittedModel, fit

_PROVED_ROWS = 2000
_EXAMPLE_ROWS = 3

Say = Callable[[str], None]


@dataclass(frozen=True)
class Candidate:
    """A registered version and what was measured on it; `onnx` is where the registry keeps its file."""

    name: str
    version: str
    run_id: str
    onnx: str
    validation: Metrics
    test: Metrics
    best_epoch: int
    fit_seconds: float
    onnx_difference: float
    card: ModelCard
    decision: Decision | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it flat and JSON-able; metrics as test_roc_auc, validation_log_loss and so on."""
        return {
            "model": self.name,
            "version": self.version,
            "run_id": self.run_id,
            "onnx": self.onnx,
            **self.validation.as_dict("validation_"),
            **self.test.as_dict("test_"),
            "best_epoch": self.best_epoch,
            "fit_seconds": round(self.fit_seconds, 2),
            "onnx_difference": self.onnx_difference,
            **({} if self.decision is None else self.decision.as_metrics()),
        }


@dataclass(frozen=True)
class Measured:
    """A trained model that is not registered yet: what was measured, and its files, the ONNX file first."""

    validation: Metrics
    test: Metrics
    onnx_difference: float
    decision: Decision | None
    card: ModelCard
    files: tuple[Path, ...]


def make_candidate(
    spec: ModelSpec,
    rows: pl.LazyFrame,
    registry: Registry,
    provenance: Mapping[str, Any],
    device: torch.device,
    out: Path,
    say: Say = lambda line: None,
    running: Running = PLAIN,
    refit: bool = False,
) -> Candidate:
    """Fit `spec` on the training set `rows`, prove and measure its ONNX graph and register it.

    With `refit` what is registered has learned again, with the held-out rows; what was measured before is its proof.
    `provenance` becomes tags of run and version. Working files go to `out`. Raises what split, fit and verify raise,
    and LookupError or OSError that says where the trained model is if it cannot be registered; then the run is
    recorded as failed and no version exists. A checkpoint is removed once the version is registered.
    """
    running = replace(running, say=say)
    parts = _split(spec, rows, device, running)
    say(_describe(parts))
    made: list[Measured] = []
    with _telling_what_is_left(made, out), registry.recording(spec.name, provenance) as run:
        facts = {**provenance, "hardware": hardware(device)}
        run.params({**parameters(spec), "seed": spec.training.seed, "device": str(device)})
        run.tags({"hardware": facts["hardware"]})
        _keep_origin(spec, rows, run, provenance, out)
        model = fit(spec, parts.train, parts.validation, device, _reporter(task_of(spec), run, say), running=running)
        say(f"fitted in {model.seconds:.0f} s, ended by {model.stopped_by}; kept epoch {model.best.number}")
        made.append(_measure(spec, parts, model, {**facts, "run_id": run.run_id}, out))
        if refit:
            made[0] = _learned_again(spec, rows, device, running, made[0], out)
        number = _keep(made[0], model, run, provenance, example_feed(out / ONNX_FILE, parts.test, _EXAMPLE_ROWS))
    version = registry.version(spec.name, number)
    for folder in (running.checkpoint, _second(running).checkpoint):
        if folder is not None:
            remove_checkpoint(folder)
    candidate = _candidate(made[0], model, version, registry.onnx_address(version))
    say(
        f"registered {spec.name} version {candidate.version}: test {model.task.score_title} "
        f"{candidate.test.score:.4f}, calibration error {candidate.test.calibration_error:.4f}"
    )
    return candidate


def assist(spec: ModelSpec, rows: pl.LazyFrame, device: torch.device, running: Running, refit: bool = False) -> None:
    """Fit as one of several processes of which another makes the candidate. Raises what split and fit raise."""
    parts = _split(spec, rows, device, running)
    fit(spec, parts.train, parts.validation, device, running=running)
    if refit:
        parts = _split(spec, rows, device, running, refit_cut(spec))
        fit(spec, parts.train, parts.validation, device, running=_second(running))


def _learned_again(
    spec: ModelSpec, rows: pl.LazyFrame, device: torch.device, running: Running, proof: Measured, out: Path
) -> Measured:
    """Fit once more, on rows up to the newest, and return the proof with this graph in the place of its own.

    What was measured stays that of the proof, whose graph is kept beside: nothing can measure a model that has seen
    every row. The gate asks that on the held-out rows, which calibrate this one, it answers as well.
    """
    running.say("refit: the held-out rows have measured it; now it learns from the newest days, too")
    parts = _split(spec, rows, device, running, refit_cut(spec))
    model = fit(spec, parts.train, parts.validation, device, running=_second(running))
    onnx, *others = proof.files
    kept = onnx.rename(out / PROOF_FILE)
    export(model, onnx)
    difference = verify(model, onnx, parts.test.head(_PROVED_ROWS))
    running.say(f"refit on {parts.train.height:,} rows in {model.seconds:.0f} s; kept epoch {model.best.number}")
    return replace(proof, onnx_difference=max(proof.onnx_difference, difference), files=(onnx, kept, *others))


def _second(running: Running) -> Running:
    """Return how a refit runs: as the first fit, with an unfinished state of its own."""
    place = running.checkpoint
    return replace(running, checkpoint=None if place is None else place.with_name(f"{place.name}-refit"))


def _split(
    spec: ModelSpec, table: pl.LazyFrame, device: torch.device, running: Running, cut: Cut | None = None
) -> Parts[Any]:
    """Return the parts in memory if they fit, else as rows that are read slice by slice."""
    schema, all_rows = table.collect_schema(), int(table.select(pl.len()).collect().item())
    room = room_for(spec, schema, train_rows(spec, table), all_rows, running.memory_mb, device)
    room = running.world.same(room)
    if room.fits:
        return split_rows(spec, table.collect(), cut)
    running.say(str(room))
    return stream_rows(spec, table, cut)


@contextmanager
def _telling_what_is_left(made: list[Measured], out: Path) -> Iterator[None]:
    try:
        yield
    except (LookupError, OSError) as error:
        if not made:
            raise
        raise LookupError(f"{error}; nothing is registered, the trained model and its card are in {out}") from error


def _keep_origin(spec: ModelSpec, rows: pl.LazyFrame, run: Recording, provenance: Mapping[str, Any], out: Path) -> None:
    """Record what the run learns from and the code as it is now, before anything can fail."""
    if provenance.get("training_set_hash") is not None:
        place, version = str(provenance["training_set"]), int(provenance[TRAINING_SET_VERSION])
        run.learns_from(training_set(place, version, str(provenance["training_set_hash"]), rows, spec))
    (out / SPEC_FILE).write_text(spec.model_dump_json(indent=2))
    run.artifact(out / SPEC_FILE)
    changes = uncommitted()
    if changes is not None:
        (out / DIFF_FILE).write_text(changes)
        run.artifact(out / DIFF_FILE)


def _measure(spec: ModelSpec, parts: Parts[Any], model: FittedModel, facts: Mapping[str, Any], out: Path) -> Measured:
    """Export, prove and measure the model; leave its file, its card and its test answers in `out`."""
    onnx = out / ONNX_FILE
    export(model, onnx)
    difference = verify(model, onnx, parts.test.head(_PROVED_ROWS))
    checked, held_out = (score(onnx, rows) for rows in (parts.validation, parts.test))
    write_predictions(spec, parts.test, held_out, out / TEST_PREDICTIONS)
    evidence = gather(spec, parts, model.encoding, onnx, checked, held_out)
    card = make_card(spec, evidence, facts)
    validation = model.task.evaluate(parts.validation[spec.outcome.label], checked)
    test = model.task.evaluate(parts.test[spec.outcome.label], held_out)
    files = (onnx, out / TEST_PREDICTIONS, *card.write(out))
    return Measured(validation, test, difference, evidence.decision, card, files)


def _keep(
    made: Measured,
    model: FittedModel,
    run: Recording,
    provenance: Mapping[str, Any],
    example: Mapping[str, NDArray[Any]],
) -> str:
    """Record what was measured, keep the files, register; return the version's number."""
    decided = {} if made.decision is None else made.decision.as_metrics()
    measured = {**made.validation.as_dict("validation_"), **made.test.as_dict("test_"), **decided}
    run.metrics({**measured, "onnx_difference": made.onnx_difference, "fit_seconds": model.seconds})
    onnx, *others = made.files
    for file in others:
        run.artifact(file)
    proof = next((file_hash(file) for file in others if file.name == PROOF_FILE), None)
    tags = {**provenance, THRESHOLD_TAG: decided.get("decision_threshold"), PROOF_SHA256: proof}
    return run.register(onnx, example, tags, model.task.output, made.card.description)


def _candidate(made: Measured, model: FittedModel, version: ModelVersion, onnx: str) -> Candidate:
    return Candidate(
        name=version.name,
        version=version.version,
        run_id=version.run_id,
        onnx=onnx,
        validation=made.validation,
        test=made.test,
        best_epoch=model.best.number,
        fit_seconds=model.seconds,
        onnx_difference=made.onnx_difference,
        card=made.card,
        decision=made.decision,
    )


def _describe(parts: Parts[Any]) -> str:
    counts = (parts.train.height, parts.validation.height, parts.test.height, parts.late_labels)
    return "{:,} train, {:,} validation, {:,} test rows; {} left out: label known too late".format(*counts)


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
