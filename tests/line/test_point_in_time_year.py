"""Every feature view of the real year, joined at the real questions' moments, against the obvious implementation."""

import random

import polars as pl
import pytest

from ml.feature_store import historical_features, published_versions
from tests.ml.pit_oracle import known_at

ASKED = 40  # of each kind of question, a view


@pytest.fixture(scope="module")
def opened(line):
    platform = line.platform
    return platform, platform.feature_store(published_versions(platform.publications, platform.feature_views))


def questions(platform, view, history, draw):
    """Join keys with moments: of real flights, of the view's own events, and of those when they expire."""
    outcomes = platform.publications.read("flight_outcomes").select(*view.join_keys, "prediction_time").collect()
    flights = (
        outcomes.drop_nulls().sample(ASKED, seed=draw.randrange(1000)).rename({"prediction_time": "event_timestamp"})
    )
    events = history.sample(ASKED, seed=draw.randrange(1000)).select(*view.join_keys, "event_timestamp")
    expiring = events.with_columns(pl.col("event_timestamp") + view.ttl)
    late = events.with_columns(pl.col("event_timestamp") + view.ttl + pl.duration(microseconds=1))
    return pl.concat([flights.select(events.columns), events, expiring, late])


def winner(versions, moment, ttl):
    known = [version for version in versions if known_at(version) <= moment]
    best = max(known, key=lambda v: (v["event_timestamp"], v["created_timestamp"]), default=None)
    return None if best is None or moment - best["event_timestamp"] > ttl else best


def test_every_view_gives_what_was_known_at_each_moment(opened):
    platform, store = opened
    draw = random.Random(7)
    for view in platform.feature_views:
        history = platform.publications.read(view.name).collect()
        rows = questions(platform, view, history, draw)
        names = [field.name for field in view.fields]
        found = historical_features(store, rows, [f"{view.name}:{name}" for name in names])
        wanted = history.join(rows.select(view.join_keys).unique(), on=list(view.join_keys), how="semi")
        versions = {key: part.to_dicts() for key, part in wanted.partition_by(view.join_keys, as_dict=True).items()}
        answered = 0
        for row in found.iter_rows(named=True):
            key = tuple(row[name] for name in view.join_keys)
            best = winner(versions.get(key, []), row["event_timestamp"], view.ttl)
            answered += best is not None
            assert {n: row[f"{view.name}__{n}"] for n in names} == {n: best and best[n] for n in names}, (
                view.name,
                row,
            )
        assert answered >= ASKED * 2, view.name  # the events themselves and those that expire at this very moment
