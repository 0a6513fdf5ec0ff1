"""The blocking check on a training set: whole, both classes, labels known after and features before the question."""

import polars as pl

from checks.outcome import Outcome
from ml.spec import ModelSpec, column_of

CHECK = "training_rows"
WORST_ROWS = 5


def check_training_rows(spec: ModelSpec, rows: pl.DataFrame) -> Outcome:
    """Check a training set (one row a labelled outcome): rows, unique ids, both classes in every window,
    labels known only after the prediction time, feature times not after it, and no feature that is all null.
    """
    label, asked = pl.col(spec.outcome.label), pl.col(spec.outcome.prediction_time)
    broken = {
        "row id is doubled": pl.col(spec.outcome.row_id).is_duplicated(),
        "label is not 0 or 1": label.is_null() | ~label.is_in([0, 1]),
        "label was known before the question": pl.col(spec.outcome.label_timestamp) <= asked,
        **{
            f"{column_of(e.since)} is later than the question": pl.col(column_of(e.since)) > asked.dt.epoch("s")
            for e in spec.elapsed
        },
    }
    counts = {name: rows.select(test.fill_null(False).sum()).item() for name, test in broken.items()}
    problems = [f"{name} in {count} rows" for name, count in counts.items() if count]
    problems += [f"feature {name} is null in every row" for name in _all_null(spec, rows)]
    problems += _class_problems(spec, rows)
    if rows.is_empty():
        problems = ["no rows"]
    worst = [rows.filter(test).head(WORST_ROWS) for name, test in broken.items() if counts[name]]
    shown = tuple(pl.concat(worst).with_columns(pl.all().cast(pl.String)).to_dicts()) if worst else ()
    share = rows.select(label.cast(pl.Float64).mean()).item()
    summary = "; ".join(problems) or f"{rows.height} rows, {share:.1%} positive"
    return Outcome(not problems, summary, {"rows": rows.height, **counts}, shown)


def _all_null(spec: ModelSpec, rows: pl.DataFrame) -> list[str]:
    columns = [column_of(reference) for reference in spec.features]
    return [name for name in columns if rows[name].null_count() == rows.height]


def _class_problems(spec: ModelSpec, rows: pl.DataFrame) -> list[str]:
    windows = {"train": spec.split.train, "validation": spec.split.validation, "test": spec.split.test}
    asked = pl.col(spec.outcome.prediction_time)
    found = []
    for name, window in windows.items():
        labels = rows.filter((asked >= window.start) & (asked < window.end))[spec.outcome.label]
        if labels.n_unique() < 2:
            found.append(f"{name} window has {len(labels)} rows and not both classes")
    return found
