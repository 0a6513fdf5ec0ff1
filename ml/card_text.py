"""A model card's sections as Markdown: one function a section, words and tables only.

The measuring is in ml/evidence.py; which sections go where is in ml/card.py.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from ml.bootstrap import Interval
from ml.card_pictures import BARS, CALIBRATION, IMPORTANCE, THRESHOLD
from ml.evidence import Evidence
from ml.markdown import number, plain, table
from ml.spec import ModelSpec
from ml.task import task_of
from ml.threshold import Decision, readable

_TITLES = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss (nats)",
    "brier": "Brier score",
    "calibration_error": "calibration error (ECE)",
    "r2": "R\N{SUPERSCRIPT TWO}",
    "rmse": "RMSE",
    "mae": "MAE",
}
_ENDS = 4  # best and worst parts shown
_MOST_MISSING = 5
_NO_LIMITS = "The model's file states none: `limits` in ml/models says what the data does not hold."


def question(spec: ModelSpec) -> str:
    """What it answers, for whom, and from what."""
    asked = ", ".join(f"`{field.name}`" for field in spec.request)
    answer = task_of(spec).output
    return (
        f"{plain(spec.description)}\n\nOwner: {plain(spec.owner)}. Task: {spec.task}; the answer is `{answer}`. It "
        f"reads {len(spec.features)} features of {len(spec.views)} views as known at the moment of asking, and from "
        f"the caller {asked}."
    )


def rows(evidence: Evidence) -> str:
    """The split's windows with their rows."""
    return table(evidence.windows.columns, evidence.windows.rows())


def quality(evidence: Evidence) -> str:
    """Metrics on validation and test with intervals."""
    found = (
        (_TITLES[name], _bounded(evidence.validation[name]), _bounded(test)) for name, test in evidence.test.items()
    )
    return (
        table(("metric", "validation", "test"), found)
        + "\n\nIn brackets: 95% of bootstrap resamples, whole days drawn. Validation rows chose when to stop, the "
        "calibration and the threshold; test rows only measure. Resampling adds to a calibration error: its interval "
        "leans upward."
    )


def months(spec: ModelSpec, evidence: Evidence) -> str:
    """The test window month by month."""
    score = task_of(spec).score
    if not evidence.months.height:
        return "No month of the test window has enough rows to be judged alone."
    chosen = evidence.months.select("value", "rows", score, "calibration_error")
    return table(("month", "rows", _TITLES[score], _TITLES["calibration_error"]), chosen.rows())


def parts(spec: ModelSpec, evidence: Evidence) -> str:
    """The parts of the test rows with the worst and the best score."""
    score, found = task_of(spec).score, evidence.parts
    if not found.height:
        return "No parts to judge: the model's `slices` are empty, or each part has too few rows."
    shown = found if found.height <= 2 * _ENDS else pl.concat([found.head(_ENDS), found.tail(_ENDS)])
    chosen = shown.select("column", "value", "rows", score, "calibration_error")
    named = [(plain(column), plain(value), *rest) for column, value, *rest in chosen.rows()]
    heads = ("input", "value", "rows", _TITLES[score], _TITLES["calibration_error"])
    lead = f"Worst and best of {found.height} parts of the test rows, worst first.\n\n"
    return lead + table(heads, named)


def calibration(evidence: Evidence) -> str:
    """What was answered and what happened, in equal parts of the test rows."""
    curve = evidence.calibration
    lead = f"![What was answered and what happened]({CALIBRATION})\n\n"
    return lead + table(("mean answer", "what happened", "share of rows"), ([float(v) for v in row] for row in curve))


def importance(evidence: Evidence) -> str:
    """Which inputs the score rests on."""
    top = evidence.importance.head(3)
    named = ", ".join(f"`{name}` ({loss:.3f})" for name, loss in top.select("feature", "loss").rows())
    return (
        f"By how much the score falls when one input is shuffled among the rows (the {BARS} largest). Most: {named}. "
        f"Inputs that tell the same share their weight.\n\n![What the score rests on]({IMPORTANCE})"
    )


def decision(spec: ModelSpec, evidence: Evidence) -> str | None:
    """From which probability to act, and what that costs; None for a model without costs."""
    found, costs = evidence.decision, spec.costs
    if found is None or costs is None:
        return None
    told = (
        f"To act is to {plain(costs.action)}. In vain it costs {costs.false_alarm:g} {plain(costs.unit)}, a miss "
        f"{costs.miss:g}.\n\n**{found.summary}** Chosen for the least cost on validation rows (95% of resampled days: "
        f"{readable(found.low)} to {readable(found.high)}); probabilities that hold exactly would put it at "
        f"{found.theory:.3f}."
    )
    return f"{told}\n\n{_costs(found, costs.unit)}\n\n![What each threshold costs]({THRESHOLD})"


def _costs(found: Decision, unit: str) -> str:
    both = (found.validation, found.test)
    lines = [
        ("at the threshold", *(part.cost for part in both)),
        ("never act", *(part.never for part in both)),
        ("always act", *(part.always for part in both)),
        (f"at {found.theory:.3f}", *(part.at_theory for part in both)),
        ("saved against the cheaper of never and always", *(_bounded(part.saving) for part in both)),
        ("rows acted on", *(f"{part.acted:.1%}" for part in both)),
        ("precision", *("-" if part.precision is None else part.precision for part in both)),
        ("recall", *(part.recall for part in both)),
    ]
    return table((f"{plain(unit)} a row", "validation", "test"), lines)


def limits(spec: ModelSpec, evidence: Evidence) -> str:
    """What the data does not hold, and what becomes of missing and unseen values."""
    stated = "\n".join(f"- {plain(limit)}" for limit in spec.limits) or _NO_LIMITS
    encoding = evidence.encoding
    known = ", ".join(f"`{entry.column}` ({len(entry.known)})" for entry in encoding.categorical)
    return f"{stated}\n\n{_treatment(spec, known)}\n\n{_missing(evidence)}"


def _treatment(spec: ModelSpec, known: str) -> str:
    told = (
        "A missing number or time is no error: the network sees a flag and no value. Numbers beyond the outermost "
        "half percent of training rows are clipped to it."
    )
    if not known:
        return told
    return (
        f"{told} Categories never seen in training, or on fewer than {spec.network.min_category_count} training rows, "
        f"share one entry; a missing category has its own. Known values: {known}."
    )


def _missing(evidence: Evidence) -> str:
    some = evidence.missing.filter((pl.col("test") > 0) | (pl.col("train") > 0)).head(_MOST_MISSING)
    if not some.height:
        return "No input is ever missing in these rows."
    named = "; ".join(f"`{name}` {train:.1%} and {test:.1%}" for name, train, test in some.rows())
    return f"Most often missing, in train and test rows: {named}."


def provenance(spec: ModelSpec, facts: Mapping[str, Any]) -> str:
    """Where it came from: training set, sources, code, packages, machine."""
    sources = {name: value for name, value in facts.items() if name.startswith("published/")}
    named = ", ".join(f"{name} {version}" for name, version in sources.items())
    dirty = " with uncommitted changes (`git.diff`)" if str(facts.get("git_dirty")) == "True" else ""
    versions = ", ".join(f"{name} {facts[name]}" for name in ("python", "torch", "onnxruntime") if name in facts)
    lines = [
        ("training set", _code(facts, "training_set") + f", version {facts.get('training_set_version', 'unknown')}"),
        ("its content hash", _code(facts, "training_set_hash")),
        ("made from", named or "not recorded"),
        ("dbt manifest", _code(facts, "dbt_manifest")),
        ("git commit", _code(facts, "git_commit") + dirty),
        ("lock", _code(facts, "lock_hash")),
        ("seed", str(spec.training.seed)),
        ("hardware", str(facts.get("hardware", "not recorded"))),
        ("versions", versions or "not recorded"),
        ("MLflow run", _code(facts, "run_id")),
    ]
    return table(("what", "which"), lines)


def _code(facts: Mapping[str, Any], name: str) -> str:
    found = facts.get(name)
    return "not recorded" if found is None else f"`{found}`"


def _bounded(found: Interval) -> str:
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"
