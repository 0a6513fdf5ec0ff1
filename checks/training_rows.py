"""The blocking check on a training set: whole, labels to learn from, known after the question, features before it."""

import polars as pl

from checks.outcome import Outcome
from ml.spec import ModelSpec, column_of
from ml.task import task_of

CHECK = "training_rows"
WORST_ROWS = 5


def check_training_rows(spec: ModelSpec, rows: pl.DataFrame) -> Outcome:
    """Check a training set (one row a labelled outcome).

    Ids are unique, every window has labels that the task can learn from, labels became known only after the
    prediction time and feature times not after it (but for forecasts), and no feature is the same in every row.
    """
    label, asked = pl.col(spec.outcome.label), pl.col(spec.outcome.prediction_time)
    broken = {
        "row id is doubled": pl.col(spec.outcome.row_id).is_duplicated(),
        "label is missing": label.is_null(),
        "label was known before the question": pl.col(spec.outcome.label_timestamp) <= asked,
        **{
            f"{column_of(e.since)} is later than the question": pl.col(column_of(e.since)) > asked.dt.epoch("s")
            for e in spec.elapsed
            if not e.forecast
        },
    }
    counts = {name: rows.select(test.fill_null(False).sum()).item() for name, test in broken.items()}
    problems = [f"{name} in {count} rows" for name, count in counts.items() if count]
    problems += [f"feature {name} is {value} in every row" for name, value in _constant(spec, rows)]
    problems += _label_problems(spec, rows)
    if rows.is_empty():
        problems = ["no rows"]
    worst = [rows.filter(test).head(WORST_ROWS) for name, test in broken.items() if counts[name]]
    shown = tuple(pl.concat(worst).with_columns(pl.all().cast(pl.String)).to_dicts()) if worst else ()
    mean = rows.select(label.cast(pl.Float64).mean()).item()
    summary = "; ".join(problems) or f"{rows.height} rows, mean label {mean:.4g}"
    return Outcome(not problems, summary, {"rows": rows.height, **counts}, shown)


def _constant(spec: ModelSpec, rows: pl.DataFrame) -> list[tuple[str, str]]:
    """Return the features with one value, null included, and it: nothing can be learned from them."""
    columns = [column_of(reference) for reference in spec.features]
    found = [(name, rows[name].unique()) for name in columns if rows.height > 1]
    return [(name, "null" if values[0] is None else str(values[0])) for name, values in found if len(values) == 1]


def _label_problems(spec: ModelSpec, rows: pl.DataFrame) -> list[str]:
    windows = {"train": spec.split.train, "validation": spec.split.validation, "test": spec.split.test}
    asked = pl.col(spec.outcome.prediction_time)
    found = []
    for name, window in windows.items():
        labels = rows.filter((asked >= window.start) & (asked < window.end))[spec.outcome.label]
        problem = task_of(spec).label_problem(labels.drop_nulls()) if labels.drop_nulls().len() else "has no labels"
        if problem:
            found.append(f"{name} window with {len(labels)} rows {problem}")
    return found
