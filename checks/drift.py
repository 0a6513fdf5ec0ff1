"""Drift between two windows of rows, with Evidently: distances a column, and its report as a page.

Used twice: a published month against the months before it (a breach starts retraining, never blocks),
and a model's training rows against the rows it would serve (a breach blocks promotion).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from checks.outcome import Outcome
from ml.fingerprint import content_hash

CHECK = "feature_drift"
SAMPLE_ROWS = 5_000
SEED = 20130101


@dataclass(frozen=True)
class Bounds:
    """A column has drifted from `distance` on; the whole has if at least `share` of its columns did."""

    distance: float
    share: float


def check_drift(
    reference: pl.DataFrame, current: pl.DataFrame, columns: Sequence[str], bounds: Bounds, report: Path
) -> Outcome:
    """Compare `columns` of two frames on a seeded sample of at most 5,000 rows each.

    Distances are Evidently's own for large samples: Wasserstein divided by the reference's standard
    deviation for numbers, Jensen-Shannon for categories. A column that is
    all null on one side only has drifted; one that is null on both sides has not. The Evidently page
    is written to `report`.
    """
    empty = [name for name, frame in (("reference", reference), ("current", current)) if frame.is_empty()]
    if empty:
        return Outcome(
            False, f"drift cannot be measured: the {' and '.join(empty)} window has no rows", {"content": "no rows"}
        )
    old, new = _sample(reference, columns), _sample(current, columns)
    full = [c for c in columns if old[c].null_count() < old.height and new[c].null_count() < new.height]
    one_sided = [c for c in columns if (old[c].null_count() == old.height) != (new[c].null_count() == new.height)]
    distances = {**_distances(old, new, full, bounds, report), **dict.fromkeys(one_sided, float("inf"))}
    drifted = sorted((c for c, d in distances.items() if d >= bounds.distance), key=lambda c: -distances[c])
    share = len(drifted) / max(len(columns), 1)
    summary = f"{len(drifted)} of {len(columns)} columns moved by {bounds.distance} or more (limit {bounds.share:.0%})"
    if drifted:
        summary += ": " + ", ".join(f"{c} {distances[c]:.2f}" for c in drifted[:5])
    evidence = {
        "share": share,
        "distances": distances,
        "rows": [old.height, new.height],
        "content": content_hash(current.select(columns).sort(columns)),
    }
    return Outcome(share < bounds.share, summary, evidence, _table(old, new, distances, bounds), report=report)


def _sample(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    return frame.select(columns).sample(min(SAMPLE_ROWS, frame.height), seed=SEED)


def _distances(
    old: pl.DataFrame, new: pl.DataFrame, columns: Sequence[str], bounds: Bounds, report: Path
) -> dict[str, float]:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    if not columns:
        return {}
    numeric = [c for c in columns if old.schema[c].is_numeric()]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=[c for c in columns if c not in numeric])
    preset = DataDriftPreset(
        drift_share=bounds.share,
        num_method="wasserstein",
        num_threshold=bounds.distance,
        cat_method="jensenshannon",
        cat_threshold=bounds.distance,
    )
    snapshot = Report([preset]).run(
        *(Dataset.from_pandas(f.select(columns).to_pandas(), data_definition=definition) for f in (new, old))
    )
    report.parent.mkdir(parents=True, exist_ok=True)
    snapshot.save_html(str(report))
    return {
        metric["config"]["column"]: float(metric["value"])
        for metric in snapshot.dict()["metrics"]
        if metric["config"]["type"].endswith("ValueDrift")
    }


def _table(
    old: pl.DataFrame, new: pl.DataFrame, distances: Mapping[str, float], bounds: Bounds
) -> tuple[Mapping[str, Any], ...]:
    return tuple(
        {
            "column": column,
            "distance": round(distance, 4),
            "drifted": distance >= bounds.distance,
            "reference": _describe(old[column]),
            "current": _describe(new[column]),
        }
        for column, distance in sorted(distances.items(), key=lambda item: -item[1])
    )


def _describe(values: pl.Series) -> str:
    nulls = f"{values.null_count() / max(len(values), 1):.1%} null"
    if values.dtype.is_numeric():
        mean = values.cast(pl.Float64).to_frame("v").select(pl.col("v").mean()).item()
        return nulls if mean is None else f"mean {mean:.4g}, {nulls}"
    top = values.drop_nulls().value_counts(sort=True).head(3)[values.name].to_list()
    return f"most often {', '.join(map(str, top))}; {nulls}"
