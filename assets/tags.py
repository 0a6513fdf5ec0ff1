"""What assets are found by in the Dagster UI: the group, and as tags the stage, the model, what a feature view is.

A group is the first part of the key: a stage of all tables, or a model. So no two boxes of a group look alike.
"""

from collections.abc import Iterable

from ml.feature_views import FeatureView
from ml.spec import ModelSpec

TABLES = ("raw", "staging", "features", "published", "audit", "notebooks")  # all else is of one model


def group_of(asset: str) -> str:
    """Return the group of an asset such as raw/flights or flight_delay/training_set."""
    return asset.split("/")[0]


def stage_of(asset: str) -> str:
    """Return the stage of an asset: raw, training_set."""
    first, *_, last = asset.split("/")
    return first if first in TABLES else last


def tags_of(asset: str, models: Iterable[ModelSpec], views: Iterable[FeatureView]) -> dict[str, str]:
    """Return an asset's tags."""
    first, *_, last = asset.split("/")
    tags = {"stage": stage_of(asset)}
    if any(spec.name == first for spec in models):
        tags["model"] = first
    for view in views:
        if view.name == last and first in ("features", "published"):
            tags |= {"entity": "-".join(view.entities), "online": "yes" if view.online else "no"}
    return tags
