import pytest

from ml.sql_lineage import created_table, sql_lineage

TRIPS = {"raw/trips": ("trip", "bus", "planned", "held", "late", "known")}


def lineage(sql, tables=TRIPS):
    return sql_lineage(sql, tables)


def names(columns):
    return {name for _, name in columns}


def test_a_value_is_traced_through_stars_renames_and_common_tables():
    found = lineage(
        'with all_trips as (select *, planned + to_minutes(held) as left_at from "w"."raw"."trips"), '
        "named as (select bus as vehicle, left_at from all_trips) select vehicle, left_at, 1 as one from named"
    )
    assert list(found.values) == ["vehicle", "left_at", "one"]
    assert found.values["vehicle"] == {("raw/trips", "bus")}
    assert names(found.values["left_at"]) == {"planned", "held"}
    assert found.values["one"] == frozenset()


def test_what_chooses_rows_is_told_apart_from_what_gives_values():
    found = lineage("select late from raw.trips where held > 3 and bus is not null")
    assert names(found.values["late"]) == {"late"}
    assert names(found.rows) == {"held", "bus"}


def test_named_windows_joins_and_qualify_choose_rows():
    found = lineage(
        "with sums as (select bus, known, sum(late) over last_day as late_sum from raw.trips "
        "window last_day as (partition by bus order by known range between interval 1 day preceding and current row)) "
        "select late_sum from sums join raw.trips using (bus) qualify row_number() over (partition by trip) = 1"
    )
    assert names(found.values["late_sum"]) == {"late"}
    assert names(found.rows) == {"bus", "known", "trip"}


def test_both_sides_of_a_union_give_the_value():
    found = lineage("select held as minutes from raw.trips union all select late from raw.trips")
    assert names(found.values["minutes"]) == {"held", "late"}


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("select nothing from raw.trips", "nothing"),
        ("select bus from raw.buses", "reads raw/buses, whose columns are not known"),
        ("select from where", "cannot say"),
        ("drop table raw.trips", "cannot say"),
    ],
)
def test_what_cannot_be_read_is_said_and_not_guessed(sql, why):
    with pytest.raises(ValueError, match=why):
        lineage(sql)


def test_a_view_is_read_as_duckdb_and_as_dbt_write_it():
    assert created_table('create or replace view "w"."staging"."stg_trips" as\nselect 1') == "staging/stg_trips"
    assert created_table("CREATE VIEW staging.stg_trips AS SELECT bus FROM w.raw.trips;") == "staging/stg_trips"
    assert names(lineage("CREATE VIEW staging.s AS SELECT bus FROM w.raw.trips;").values["bus"]) == {"bus"}
    with pytest.raises(ValueError, match="creates nothing"):
        created_table("select 1")
