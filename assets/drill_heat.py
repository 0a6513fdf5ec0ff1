"""The heat wave of `make drill-drift`: a world that changed, for training rows and online rows alike."""

from datetime import datetime

import polars as pl

from assets.resources import Platform
from checks.required import required_checks
from ml.history import EVENT
from ml.lake import PARTITION_KEY
from ml.verdicts import Verdict

VIEW = "weather_observation"
HOTTER = {"temp": 60.0, "dewp": 50.0}  # degrees Fahrenheit that are added


def publish_heat(platform: Platform, start: datetime) -> int:
    """Publish weather that is hotter from an instant on, recorded as passed by its gates; return the rows changed.

    The online store is not written: who asks next brings it up to date.
    """
    table = f"features/{VIEW}"
    is_hot = pl.col(EVENT) >= start
    rows = platform.publications.read(VIEW).collect()
    months = sorted(rows.filter(is_hot)[PARTITION_KEY].unique())
    rows = rows.filter(pl.col(PARTITION_KEY).is_in(months))
    moved = [pl.when(is_hot).then(pl.col(c) + degrees).otherwise(c).alias(c) for c, degrees in HOTTER.items()]
    version = platform.lake.replace(table, rows.with_columns(moved), months)
    evidence = {"summary": "recorded by a drill"}
    checks = [(month, check) for month in months for check in required_checks(table)]
    platform.verdicts.record(Verdict(table, version, check, True, month, evidence=evidence) for month, check in checks)
    view = next(view for view in platform.feature_views if view.name == VIEW)
    staged = dict.fromkeys(months, version)
    platform.publications.publish(VIEW, staged, "drill", "a heat wave", keys=view.join_keys)
    return rows.filter(is_hot).height
