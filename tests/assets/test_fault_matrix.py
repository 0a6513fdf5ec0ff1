"""Faulty months do not get through, whatever starts the run: a third of the library lands, a path gets three.

`make bench NAME=fault_matrix` plays all of it on every path, with a clean month first.
"""

import pytest

from benchmarks._fault_outcome import Result
from benchmarks._fault_paths import IN_PROCESS
from benchmarks._fault_play import Play
from benchmarks._fault_pool import landed
from benchmarks._fault_server import serving
from benchmarks._fault_world import open_world
from benchmarks.faults import FAULTS, fault_named
from ml.models.flight_delay import FLIGHT_DELAY
from tests.assets.small_line import copy_repository, cut_down

MONTH = "2013-03"
VIEWS = ("aircraft_state", "aircraft", "weather_observation")  # of each source that a fault spoils
LANDED = FAULTS[::3]  # they are listed by kind, so of each kind some
# One a source, refused each in its own way: by a rule of values, by a rule of keys, by the source that does not fit.
THREE = [fault_named(name) for name in ("delays_in_seconds", "weather_duplicates", "renamed_seats")]


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    tree = tmp_path_factory.mktemp("tree")
    copy_repository(tree)
    cut_down(tree, VIEWS)
    models = (FLIGHT_DELAY.reading_only(VIEWS),)
    made = Play(open_world(tmp_path_factory.mktemp("fault_matrix"), MONTH, tree, models))
    assert made.before
    return made


@pytest.fixture(scope="module")
def fates(play):
    return {fault.name: (fault, result) for fault, result in landed(play.world, LANDED)}


def test_a_faulty_month_is_refused_where_it_lands_or_makes_no_difference(fates):
    crashed = {name: str(result) for name, (_, result) in fates.items() if result.state == "crashed"}
    assert not crashed, "refused by an error that does not say what is wrong"
    passed = [fault for fault, result in fates.values() if result.state == "passed on"]
    assert not [fault.name for fault in passed if not fault.uncatchable and not fault.missed]


@pytest.mark.parametrize("path", IN_PROCESS)
def test_a_path_of_this_process_publishes_nothing_of_a_faulty_month(play, path):
    refused_each_in_its_own_table(play.path(path, THREE))


@pytest.fixture(scope="module")
def server(play):
    play.world.restore()
    with serving(play.world) as started:
        yield started


def test_a_backfill_of_the_server_publishes_nothing_of_a_faulty_month(play, server):
    """The one of the server's paths that is many runs; a button or a sensor starts one, as the command line does."""
    refused_each_in_its_own_table(play.path("backfill", THREE, server))


def refused_each_in_its_own_table(result: Result):
    assert result.state == "caught", str(result)
    refused = {refusal.table for refusal in result.refusals}
    assert {f"raw/{fault.source}" for fault in THREE} <= refused, result.refusals
