"""The blocking checks of batch scores: complete and sound, and what the training set's rows are answered with.

Here: rules on rows. Not here: which rows and versions belong together (assets/scores.py).
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from checks.outcome import RULE, Outcome
from ml.batch_scores import DECISION, MODEL_VERSION, ONNX_SHA256

COMPLETE, AGREE = "scores_complete", "scores_agree"
SAMPLE = 10_000  # rows of a training set that are scored again
_SHOWN = 20


def check_complete(scored: pl.LazyFrame, asked: pl.LazyFrame, output: str, threshold: float | None) -> Outcome:
    """Check scores [rows, ids + output + decision + version] against the ids [rows, 1] that were asked about.

    Rows are counted, never held: both frames may be larger than memory but for their ids.
    """
    row_id = asked.collect_schema().names()[0]
    rules = _rules(output, threshold)
    counted = scored.select(
        pl.len().alias("scores"),
        pl.col(row_id).n_unique().alias("different rows"),
        pl.struct(MODEL_VERSION, ONNX_SHA256).n_unique().alias("versions"),
        pl.col(output).cast(pl.Float64).mean().alias("mean"),
        *(rule.sum().alias(name) for name, rule in rules.items()),
    )
    found = counted.collect(engine="streaming").row(0, named=True)
    entities = asked.select(pl.len()).collect(engine="streaming").item()
    unscored = asked.join(scored, on=row_id, how="anti", nulls_equal=True).select(pl.len()).collect(engine="streaming")
    counts = {
        "scores too many or too few": abs(found["scores"] - entities),
        "rows without a score": unscored.item(),
        "rows scored more than once": found["scores"] - found["different rows"],
        "versions besides the first": max(found["versions"] - 1, 0),
        **{name: found[name] for name in rules},
    }
    problems = [f"{name}: {count:,}" for name, count in counts.items() if count]
    problems += [] if entities else ["no row was asked about"]
    mean = "" if found["mean"] is None else f", mean {found['mean']:.4g}"
    return Outcome(
        not problems,
        "; ".join([*problems, f"{found['scores']:,} scores of {entities:,} rows{mean}"]),
        {"rows": entities, **counts},
        tuple({"rule": n, "rows": c, "holds": not c} for n, c in sorted(counts.items(), key=lambda item: -item[1])),
        _failing(scored, {name: rule for name, rule in rules.items() if found[name]}),
    )


def check_agreement(
    scored: pl.LazyFrame, rows: pl.DataFrame, again: NDArray[np.float32], row_id: str, output: str
) -> Outcome:
    """Check that the scores of training-set `rows` [N] are those that the graph gives them `again` [N], to the bit."""
    if rows.is_empty():
        return Outcome(True, "no row of this month is in the version's training set: there is nothing to compare")
    learned = rows.select(row_id).with_columns(pl.Series("from the training set", again, dtype=pl.Float32))
    ours = scored.select(row_id, pl.col(output).alias("scored"))
    both = learned.join(ours.join(learned.lazy(), on=row_id, how="semi").collect(), on=row_id, how="left")
    differ = both.filter(pl.col("scored").ne_missing(pl.col("from the training set")))
    missing = differ["scored"].null_count()
    apart = both.select((pl.col("scored") - pl.col("from the training set")).abs().max()).item()
    summary = f"{both.height:,} rows of the training set scored again: {differ.height - missing:,} differ"
    summary += f" (by {apart:.1e} at most)" if differ.height > missing else ""
    summary += f"; {missing:,} have no score" if missing else ""
    failing = differ.head(_SHOWN).select(pl.lit("differs from the training set's row").alias(RULE), pl.all())
    evidence = {"rows": both.height, "differ": differ.height - missing, "without a score": missing, "apart": apart}
    return Outcome(differ.is_empty(), summary, evidence, failing=None if differ.is_empty() else failing)


def _rules(output: str, threshold: float | None) -> dict[str, pl.Expr]:
    """Return what is wrong with a score, by name; no rule is null."""
    value, decision = pl.col(output), pl.col(DECISION)
    wrong = ~value.is_between(0, 1) & value.is_not_nan() if output == "probability" else value.is_infinite()
    # In float32, as the router compares.
    decided = None if threshold is None else value >= pl.lit(threshold, dtype=pl.Float32)
    return {
        "score is null or NaN": value.is_null() | value.is_nan(),
        "score is outside 0 to 1" if output == "probability" else "score is infinite": wrong.fill_null(False),
        "decision is not the threshold's": decision.is_not_null() if decided is None else decision.ne_missing(decided),
    }


def _failing(scored: pl.LazyFrame, broken: Mapping[str, pl.Expr]) -> pl.DataFrame | None:
    shown = [
        scored.filter(rule).head(_SHOWN).select(pl.lit(name).alias(RULE), pl.all()).collect()
        for name, rule in broken.items()
    ]
    return pl.concat(shown) if shown else None
