"""The gate on predictions, wired: which answers are new, and the offline side that they are compared with.

What it judges is in `checks/served_parity.py`. Nothing here knows a model.
"""

import dagster as dg
import polars as pl

from assets.gates import Batch, Gate, gate_checks
from assets.resources import Platform
from checks.outcome import Outcome
from checks.served_parity import CHECK, OfflineRows, check_served_parity
from ml.feature_store import published_versions
from ml.spec import ModelSpec

ANSWERS = 10_000


def served_parity_check(spec: ModelSpec) -> dg.AssetChecksDefinition:
    """Return the gate on <model>/predictions that compares what was served with what would be trained on."""
    gate = Gate(
        CHECK,
        "Every feature that the graph was given for a new answer, as logged, has the bits of the offline row of the "
        f"same keys at that moment, as published now; at most {ANSWERS:,} answers a run, drawn at random. Names the "
        "first column that differs, with both values and both event times: an older event served is a store that was "
        "behind, and fails. Views that were not read (degraded answers), or served an event that is not published "
        "yet, are counted apart. Passes where nothing could be compared, and says so.",
        lambda batch: _judge(batch, spec),
    )
    return gate_checks(f"{spec.name}/predictions", [gate])


def _judge(batch: Batch, spec: ModelSpec) -> Outcome:
    from serving.model_repository import ModelRepository

    sample, landed = new_answers(batch, ANSWERS)
    plans = ModelRepository(batch.platform.settings.serving_home)
    return check_served_parity(
        sample, lambda revision: plans.plan(spec.name, revision), offline_rows(batch.platform), landed
    )


def new_answers(batch: Batch, most: int) -> tuple[pl.DataFrame, int]:
    """Return what callers were answered since the version that was judged last, `most` drawn, and how many there are.

    All that there is, if nothing was judged before, or if the rows of then are gone. Columns are those that landed
    with all of them.
    """
    lake, before = batch.platform.lake, _judged_before(batch)
    rows = lake.read(batch.table, batch.version).filter("answered")
    if before is not None:
        try:
            seen = lake.read(batch.table, before).filter("answered").select("prediction_id")
            rows = rows.join(seen, on="prediction_id", how="anti")
        except LookupError:
            before = None
    since = -1 if before is None else before
    commits = [c for c in lake.history(batch.table) if since < c["version"] <= batch.version]
    # Landing leaves out what the deployed plan does not read: such a column is null, which is not what was served.
    landed = [name for name in rows.collect_schema().names() if all(name in c["columns"] for c in commits)]
    ids = rows.select("prediction_id").collect().sort("prediction_id")
    drawn = ids.sample(min(most, ids.height), seed=batch.version)  # before the other columns are read
    return rows.select(landed).join(drawn.lazy(), on="prediction_id", how="semi").collect(), ids.height


def _judged_before(batch: Batch) -> int | None:
    verdicts = batch.platform.verdicts.newest_verdicts(batch.table)
    judged = [v.version for v, _ in verdicts if v.check == CHECK and "compared" in v.evidence]  # a crash judges nothing
    return max((version for version in judged if version < batch.version), default=None)


def offline_rows(platform: Platform) -> OfflineRows:
    """Return the offline side of everything that is published now."""
    versions = published_versions(platform.publications, platform.feature_views)
    return OfflineRows(
        {view.name: view for view in platform.feature_views},
        {name: platform.lake.read(f"published/{name}", version) for name, version in versions.items()},
        platform.feature_store(versions),
    )
