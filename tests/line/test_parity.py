"""The real year, online and offline: what the served model reads are the numbers that it was trained on."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from assets.definitions import definitions_for
from assets.runs import materialize
from checks.guard import GateClosed
from checks.parity import check_parity
from checks.parity_sample import draw_entities
from ml.feature_store import published_versions
from ml.lake import WHOLE
from ml.models import model_named
from ml.verdicts import Verdict

pytestmark = pytest.mark.timeout(1200)

MOMENTS = [  # a storm in winter, the hour that spring skips, a summer storm, the hour that autumn has twice
    datetime(2013, 2, 9, 1, 30, tzinfo=UTC),
    datetime(2013, 3, 10, 7, 0, tzinfo=UTC),
    datetime(2013, 7, 8, 22, 15, tzinfo=UTC),
    datetime(2013, 11, 3, 6, 0, tzinfo=UTC),
]


def test_the_year_pushed_event_by_event_holds_the_bits_that_training_reads(line, tmp_path):
    platform = line.platform
    views = [view for view in platform.feature_views if view.online]
    versions = published_versions(platform.publications, views)
    histories = {name: platform.lake.read(f"published/{name}", version) for name, version in versions.items()}
    entities = draw_entities(views, histories, 10_000, seed=2013)
    online = str(tmp_path / "online.db")
    outcome = check_parity(views, histories, platform.feature_store(versions), online, MOMENTS, entities)
    assert outcome.passed, outcome.summary
    assert outcome.evidence["entities"] == 40_000
    assert outcome.evidence["cells"] == 40_000 * sum(len(view.fields) for view in views)
    counts = outcome.evidence["views"]
    assert set(counts) == {view.name for view in views}
    assert all(counts[name]["present"] > 1000 for name in counts)
    assert sum(found.get("outside_max_age", 0) for found in counts.values()) > 1000
    assert all(counts[name]["not_found"] > 100 for name in counts)


def test_every_training_set_has_been_judged_and_shows_what_was_compared(line):
    platform = line.platform
    version = platform.lake.version("flight_delay/training_set")
    verdict = platform.verdicts.newest("flight_delay/training_set", version, WHOLE, "parity")
    assert verdict.passed
    assert verdict.blocking
    assert verdict.evidence["mismatches"] == 0
    assert verdict.evidence["entities"] == 30_000
    assert set(verdict.evidence["views"]) == set(model_named("flight_delay").views)


def test_training_does_not_start_on_a_store_that_disagrees(copied):
    platform, table = copied.platform, "flight_delay/training_set"
    evidence = {"summary": "aircraft_state.last_dep_delay of tailnum='N564AA': online 1.0, offline 2.0"}
    platform.verdicts.record([Verdict(table, platform.lake.version(table), "parity", False, evidence=evidence)])
    with pytest.raises(GateClosed, match=r"flight_delay/model refuses.*'parity' failed.*last_dep_delay"):
        materialize(definitions_for(platform), copied.instance, [dg.AssetKey(["flight_delay", "model"])])
