"""What a model's score rests on: how much of it is lost when one input's values are shuffled among the rows.

Permutation importance: Breiman, Random Forests, Machine Learning 2001, section 10; of the ONNX file, as served.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.scoring import answers_fed, feed, open_session
from ml.spec import ModelSpec, column_of
from ml.task import task_of

SAMPLE = 20_000
SEED = 7


def permutation_importance(
    spec: ModelSpec, path: Path, rows: pl.DataFrame, sample: int = SAMPLE, seed: int = SEED
) -> pl.DataFrame:
    """Return one row an input of the ONNX file at `path`, what costs most first: feature, loss, share.

    `loss` is by how much the task's score on (at most `sample` of the) `rows` falls when the input is shuffled;
    `share` is that of all that the score is above no skill, 0 if it is not above it. An instant counts by the time
    from it to what its `elapsed` is measured to: that is shuffled, for an instant of another month would be like
    nothing that the model ever saw. What they are measured to is left out: without them it says nothing. Raises what
    `score` raises.
    """
    task, random = task_of(spec), np.random.default_rng(seed)
    asked = rows.sample(min(sample, rows.height), seed=seed) if rows.height > sample else rows
    labels, even = asked[spec.outcome.label].to_numpy(), np.ones(asked.height)
    session = open_session(path)
    types = {entry.name: entry.type for entry in session.get_inputs()}
    given = feed(types, asked)
    whole = task.scorer(labels, answers_fed(session, given))(even)
    until = {column_of(entry.since): entry.until for entry in spec.elapsed}
    found = []
    for name in types:
        if name in until.values():
            continue
        order = random.permutation(asked.height)
        fixed = asked[until[name]] if name in until else None
        changed = feed({name: types[name]}, _shuffled(asked[name], fixed, order).to_frame())
        loss = whole - task.scorer(labels, answers_fed(session, {**given, **changed}))(even)
        share = loss / (whole - task.no_skill) if whole > task.no_skill else 0.0
        found.append({"feature": name, "loss": loss, "share": share})
    return pl.DataFrame(found, schema={"feature": pl.String, "loss": pl.Float64, "share": pl.Float64}).sort(
        "loss", descending=True
    )


def _shuffled(values: pl.Series, fixed: pl.Series | None, order: NDArray[np.int64]) -> pl.Series:
    """Return values in another order; of instants, what lies between them and the `fixed` ones."""
    return values.gather(order) if fixed is None else (values - fixed).gather(order) + fixed
