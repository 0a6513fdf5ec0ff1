"""The parity check of a training set, wired: its model's online views, at moments of its own rows.

What it judges is in `checks/parity.py`. The served online store is never touched: the check fills one of its own.
"""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from assets.gates import Gate
from assets.resources import Platform
from checks.outcome import Outcome
from checks.parity import CHECK, check_parity
from checks.parity_sample import draw_entities, draw_moments
from ml.spec import ModelSpec

MOMENTS = 3
ENTITIES = 10_000
LEAD = timedelta(days=7)  # of events pushed before each moment; a whole year of them takes longer than it tells more


def parity_gate(spec: ModelSpec) -> Gate:
    """Return the gate on <model>/training_set that compares what would be served with what was joined."""
    return Gate(
        CHECK,
        f"{ENTITIES:,} entities at each of {MOMENTS} moments of the training set, read online and offline from the "
        "versions it was joined from: not one bit differs. Names the first column that does, with both values.",
        lambda batch: _parity(batch.platform, spec, batch.table, batch.version),
    )


def _parity(platform: Platform, spec: ModelSpec, table: str, version: int) -> Outcome:
    metadata = platform.lake.metadata(table, version)
    views = [view for view in platform.feature_views if view.name in spec.views and view.online]
    if not views:
        return Outcome(True, f"no view of {spec.name} is online: there is nothing to compare")
    sources, seed = metadata["sources"], int(metadata["content"][:8], 16)
    histories = {view.name: platform.lake.read(f"published/{view.name}", sources[view.name]) for view in views}
    asked = platform.lake.read(table, version).select(spec.outcome.prediction_time).collect().to_series()
    with TemporaryDirectory(prefix="headwater-parity-") as folder:
        return check_parity(
            views,
            histories,
            platform.feature_store(sources),
            str(Path(folder) / "online.db"),
            draw_moments(asked, MOMENTS, seed),
            draw_entities(views, histories, ENTITIES, seed),
            LEAD,
        )
