"""What `make model-ci` concludes about a model: from two results of training to a verdict with its numbers.

Here: results in, Finding out. Not here: the statistics (ml/seed_comparison.py), the page (assets/model_ci_report.py).
"""

import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from assets.model_ci_side import PREDICTIONS_FILE, SAMPLE_FILE
from assets.model_ci_side import ROWS as ROWS_JSON
from assets.model_ci_work import Half, cut_by_time, read_result
from ml.seed_comparison import Comparison, compare_seeds
from ml.spec import ModelSpec
from ml.task import task_of

Verdict = Literal["better", "worse", "within noise", "new", "gone", "not comparable", "refused"]

FAILING: tuple[Verdict, ...] = ("worse", "refused")
LEAST_COMMON = 0.95  # share of held-out rows that both sides must have
_LOSSES = ("log_loss", "rmse")
_ROUNDS = 60


@dataclass(frozen=True)
class Finding:
    """A model's verdict. `base` and `change` are the sides' numbers (means over seeds), empty where there is none."""

    model: str
    verdict: Verdict
    score_title: str
    comparison: Comparison | None
    base: Mapping[str, Any]
    change: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-able."""
        return asdict(self)


def judge(name: str, base: Half, change: Half) -> Finding:
    """Compare a model's results. A change whose training set fails a gate that the base's passes is refused."""
    measured = {half.side.name: _measured(half, name) for half in (base, change) if name in half.results}
    _add_speed({half.side.name: half.results[name] for half in (base, change) if name in half.results}, measured)
    notes = [
        f"the {side} was cut short by the bound on fitting ({half.task.max_seconds:.0f} s a seed): "
        "its score says less; raise HEADWATER_TRAIN_SECONDS"
        for side, half in (("base", base), ("change", change))
        if name in half.results and cut_by_time(read_result(half.results[name]))
    ]
    failed = _failed_gates(change, name)
    notes += [f"gate {check} of the training set FAILED: {summary}" for check, summary in failed.items()]
    title = next(iter(measured.values()))["score_title"]
    ends = measured.get("base", {}), measured.get("change", {})
    if len(measured) < 2:
        return Finding(name, "new" if name in change.results else "gone", title, None, *ends, tuple(notes))
    from ml.models import model_named  # the sides have told by now if a model's file is broken

    spec = model_named(name)
    rows, problem, told = common_rows(base.results[name], change.results[name])
    notes += told
    comparison = None if problem else _compared(spec, rows)
    verdict: Verdict = "not comparable" if comparison is None else comparison.verdict
    if set(failed) - set(_failed_gates(base, name)):
        verdict = "refused"
    return Finding(name, verdict, title, comparison, *ends, (*([problem] if problem else []), *notes))


def common_rows(base: Path, change: Path) -> tuple[pl.DataFrame, str, list[str]]:
    """Return the held-out rows of both results, why they cannot be compared ("" if they can), and what to know.

    Columns: row_id, prediction_time, label, and the answers of each seed as base_<seed> and change_<seed>.
    """
    kinds = [read_result(folder)["task"] for folder in (base, change)]
    if kinds[0] != kinds[1]:
        return pl.DataFrame(), f"a {kinds[0]} model became a {kinds[1]} one", []
    old, new = (_predictions(folder, prefix) for folder, prefix in ((base, "base_"), (change, "change_")))
    both = old.join(new, on="row_id", suffix="_change", maintain_order="left")
    share = both.height / max(old.height, new.height)
    if share < LEAST_COMMON:
        return both, f"only {share:.1%} of the held-out rows are the same rows", []
    for column, what in (("label", "have another label"), ("prediction_time", "are asked at another moment")):
        other = both.filter(pl.col(column) != pl.col(f"{column}_change")).height
        if other:
            return both, f"{other:,} of {both.height:,} held-out rows {what}", []
    told = [] if share == 1 else [f"compared on the {both.height:,} held-out rows that both sides have ({share:.1%})"]
    return both, "", told


def _predictions(folder: Path, prefix: str) -> pl.DataFrame:
    rows = pl.read_parquet(folder / PREDICTIONS_FILE)
    seeds = [name for name in rows.columns if name.isdigit()]
    return rows.rename({seed: prefix + seed for seed in seeds})


def _compared(spec: ModelSpec, rows: pl.DataFrame) -> Comparison:
    label, task = rows["label"].to_numpy(), task_of(spec)
    base, change = (
        [task.scorer(label, rows[name].to_numpy()) for name in rows.columns if name.startswith(prefix)]
        for prefix in ("base_", "change_")
    )
    return compare_seeds(base, change, rows.height, rows["prediction_time"].dt.date().to_numpy())


def _measured(half: Half, name: str) -> dict[str, Any]:
    result = read_result(half.results[name])
    seeds = list(result["seeds"].values())
    numbers = {
        metric: statistics.fmean(seed[metric] for seed in seeds)
        for metric in seeds[0]
        if metric.startswith(("test_", "validation_")) or metric in ("fit_seconds", "epochs")
    }
    score = f"test_{result['score']}"
    loss = next((metric for metric in _LOSSES if f"test_{metric}" in numbers), None)
    return {
        "score_title": result["score_title"],
        "score": numbers[score],
        "score_of_seeds": {seed: found[score] for seed, found in result["seeds"].items()},
        "calibration_error": numbers["test_calibration_error"],
        "loss_title": (loss or "").replace("_", " "),
        "loss": numbers[f"test_{loss}"] if loss else None,
        **{f"{part}_rows": rows for part, rows in result["parts"].items()},
        **numbers,
        "stopped_by": [seed["stopped_by"] for seed in seeds],
        "provenance": result["provenance"],
        "training_set": json.loads((half.rows[name] / ROWS_JSON).read_text()),
    }


def _failed_gates(half: Half, name: str) -> dict[str, str]:
    if name not in half.rows:
        return {}
    gates = json.loads((half.rows[name] / ROWS_JSON).read_text())["gates"]
    return {check: found["summary"] for check, found in gates.items() if not found["passed"]}


def _add_speed(results: Mapping[str, Path], measured: Mapping[str, dict[str, Any]]) -> None:
    """Measure microseconds a row of each side's first graph in turns: the fastest run, as others only disturb it."""
    timers = {side: _timer(folder) for side, folder in results.items()}
    rounds = [{side: timer() for side, timer in timers.items()} for _ in range(_ROUNDS)]
    for side in timers:
        measured[side]["us_a_row"] = min(found[side] for found in rounds)


def _timer(folder: Path) -> Any:
    """Return what gives microseconds a row, of one run of a batch of 256 rows in ONNX Runtime with one thread."""
    import onnxruntime

    from ml.scoring import feed

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    graph = folder / next(iter(read_result(folder)["seeds"].values()))["onnx"]
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    rows = pl.read_parquet(folder / SAMPLE_FILE)
    inputs: dict[str, np.ndarray] = feed({entry.name: entry.type for entry in session.get_inputs()}, rows)
    session.run(None, inputs)

    def microseconds() -> float:
        started = time.perf_counter()
        session.run(None, inputs)
        return (time.perf_counter() - started) / rows.height * 1e6

    return microseconds
