from dataclasses import replace
from datetime import UTC, datetime

import pytest

from checks.guard import GateClosed
from checks.view_guard import ViewGuard
from ml.clock import ReplayClock
from ml.lake import Lake
from ml.view_definitions import Definition, SqlPart
from ml.view_log import ViewLog, same_rows
from serving.view_readers import ViewReader

GAUGES = Definition(
    view="gauge_state",
    version=1,
    name="gauge_state",
    file="models/features/gauge_state.yml",
    join_keys=("gauge_id",),
    columns=(("gauge_id", "int"), ("level", "float")),
    ttl_seconds=3600.0,
    online=True,
    parts=(SqlPart("gauge_state", "models/features/gauge_state.sql", "a1"),),
)
OTHER_SQL = replace(GAUGES, parts=(SqlPart("gauge_state", "models/features/gauge_state.sql", "b2"),))
WIDER = replace(GAUGES, columns=(*GAUGES.columns, ("flow", "float")))
SECOND = replace(WIDER, version=2, name="gauge_state_v2")
CHAMPION = ViewReader("flood", "3", "champion", ("gauge_state",))
PREVIOUS = ViewReader("flood", "2", "previous", ("gauge_state",))
CHALLENGER = ViewReader("drought", "9", "challenger", ("gauge_state", "rainfall"))
ELSEWHERE = ViewReader("frost", "1", "champion", ("rainfall",))


@pytest.fixture
def log(tmp_path):
    clock = ReplayClock(tmp_path / "clock.json")
    clock.set(datetime(2013, 7, 1, tzinfo=UTC))
    log = ViewLog(Lake(tmp_path / "lake"), clock)
    log.record(GAUGES, "declared", "run 1")
    return log


def guard(log, *declared, readers=()):
    return ViewGuard(log.in_force(), {d.name: d for d in declared}, lambda: readers)


def test_what_is_as_recorded_is_admitted_without_looking_for_models(log):
    def in_use():
        raise AssertionError("the registry was asked")

    ViewGuard(log.in_force(), {"gauge_state": GAUGES}, in_use).admit("dbt build", ["gauge_state"])


def test_a_change_under_models_in_use_names_file_change_models_and_the_yaml_to_write(log):
    with pytest.raises(GateClosed) as refused:
        guard(log, WIDER, readers=(CHALLENGER, PREVIOUS, CHAMPION, ELSEWHERE)).admit("dbt build", ["gauge_state"])
    message = str(refused.value)
    assert message.startswith(
        "dbt build refuses: models/features/gauge_state.yml: view 'gauge_state' has changed (added column flow) while "
        "in use by drought version 9 (challenger), flood version 2 (previous), flood version 3 (champion); keep"
    )
    assert "frost" not in message
    assert "gauge_state_v2.sql" in message
    assert "    versions:\n      - v: 1\n        defined_in: gauge_state\n      - v: 2\n" in message
    assert "accept" not in message  # no word makes a table with another column the same


def test_a_third_version_is_the_remedy_where_there_are_two(log):
    log.record(SECOND, "declared", "run 2")
    reader = replace(CHAMPION, views=("gauge_state_v2",))
    changed = replace(SECOND, ttl_seconds=60.0)
    with pytest.raises(GateClosed, match=r"(?s)ttl 1m, was 1h.*- v: 2\n +- v: 3\n"):
        guard(log, GAUGES, changed, readers=[reader]).admit("dbt build", ["gauge_state_v2"])


def test_a_view_that_no_model_in_use_reads_may_change(log):
    guard(log, WIDER, readers=[ELSEWHERE]).admit("dbt build", ["gauge_state"])


def test_a_published_column_keeps_its_type_even_if_nothing_reads_it(log):
    """The tables would cast the new values to the old type without a word."""
    whole = replace(GAUGES, columns=(("gauge_id", "int"), ("level", "int")))
    with pytest.raises(GateClosed, match=r"column level is int, was float.*keeps its type.*version 2"):
        guard(log, whole).admit("dbt build", ["gauge_state"])


def test_only_what_is_built_is_asked_for(log):
    guard(log, WIDER, readers=[CHAMPION]).admit("dbt build", ["rainfall"])


def test_a_version_taken_away_under_models_in_use_is_refused_whatever_is_built(log):
    with pytest.raises(GateClosed, match=r"'gauge_state' \(version 1 .*no longer declared.*flood version 3.*retrain"):
        guard(log, SECOND, readers=[CHAMPION]).admit("dbt build", ["rainfall"])
    free = guard(log, SECOND, readers=[ELSEWHERE])
    free.admit("dbt build", ["rainfall"])
    assert free.retired() == [GAUGES]


def test_a_retired_version_is_no_longer_on_record_until_it_is_declared_again(log):
    log.record(GAUGES, "retired", "run 2")
    assert guard(log, SECOND).retired() == []
    log.record(WIDER, "declared", "run 3")
    (entry,) = log.in_force()["gauge_state"]
    assert entry.definition == WIDER


def test_rows_of_another_definition_are_not_published_beside_the_new_ones(log):
    months = {"2013-01": GAUGES.rows, "2013-02": OTHER_SQL.rows, "2013-03": None}
    with pytest.raises(GateClosed, match=r"another definition of the view in 2013-01, 2013-03; build them"):
        guard(log, OTHER_SQL).admit_rows("published/gauge_state", "gauge_state", months, "build them")
    guard(log, OTHER_SQL).admit_rows("published/gauge_state", "gauge_state", {"2013-02": OTHER_SQL.rows}, "-")


def test_sql_that_somebody_accepted_as_the_same_may_stand_beside_the_old(log):
    changed = guard(log, OTHER_SQL, readers=[CHAMPION])
    assert [d.text for d in changed.require_acceptable("gauge_state")] == ["its SQL (models/features/gauge_state.sql)"]
    log.record(OTHER_SQL, "accepted", "ann", reason="a join written another way")
    accepted = guard(log, OTHER_SQL, readers=[CHAMPION])
    accepted.admit("dbt build", ["gauge_state"])
    accepted.admit_rows("published/gauge_state", "gauge_state", {"1": GAUGES.rows, "2": OTHER_SQL.rows}, "-")
    assert same_rows(log.in_force()["gauge_state"]) == {GAUGES.rows, OTHER_SQL.rows}


def test_only_sql_can_be_accepted_as_the_same(log):
    with pytest.raises(GateClosed, match="added column flow"):
        guard(log, WIDER).require_acceptable("gauge_state")
    with pytest.raises(LookupError, match="nothing to accept"):
        guard(log, GAUGES).require_acceptable("gauge_state")
