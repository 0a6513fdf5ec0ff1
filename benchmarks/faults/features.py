"""SQL that goes wrong: a copy of the dbt project in which one feature table is computed otherwise.

These are faults of code, not of a batch: no source is spoiled.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

FEATURES = Path("models") / "features"


@dataclass(frozen=True)
class SqlFault:
    """One mistake in a feature table's SQL: `right`, which stands in it once, became `wrong`."""

    name: str
    table: str
    what: str
    right: str
    wrong: str
    uncatchable: str = ""
    missed: str = ""


def changed_project(project: Path, fault: SqlFault, folder: Path) -> Path:
    """Copy the dbt project with the fault in it, and return where it is.

    Raises LookupError if the table's SQL no longer has the passage that the fault replaces.
    """
    copy = folder / f"dbt-{fault.name}"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("target", "logs"), dirs_exist_ok=True)
    file = copy / FEATURES / f"{fault.table}.sql"
    sql = file.read_text()
    if sql.count(fault.right) != 1:
        raise LookupError(f"{fault.table}.sql has {fault.right!r} {sql.count(fault.right)} times; correct {fault.name}")
    file.write_text(sql.replace(fault.right, fault.wrong))
    return copy


_TIMES = "    {0},\n    {1},\n    {{{{ month_of('{0}') }}}} as partition_key\nfrom histories"

FAULTS = (
    SqlFault(
        "join_doubles_rows",
        "origin_congestion",
        "a join on the airport and the day, with many rows a day, multiplies the rows",
        "from windows\n",
        "from windows\n"
        "inner join (select origin as station, time_hour from {{ ref('stg_nycflights__weather') }}) as hours"
        " on station = origin and date_trunc('day', time_hour) = date_trunc('day', departed_at)\n",
    ),
    SqlFault(
        "wrong_leg",
        "aircraft_state",
        "the last delay is that of the leg to come: a join suffix mistaken",
        "cast(arr_delay as double) as last_arr_delay",
        "coalesce(cast(lead(arr_delay) over (partition by tailnum order by event_timestamp) as double), arr_delay)"
        " as last_arr_delay",
    ),
    SqlFault(
        "window_sees_the_future",
        "destination_congestion",
        "the three hours before a landing became the three hours after it",
        "range between interval 3 hours preceding and current row",
        "range between current row and interval 3 hours following",
    ),
    SqlFault(
        "known_too_early",
        "aircraft_state",
        "a landing counts as known when the aircraft leaves",
        _TIMES.format("event_timestamp", "created_timestamp"),
        _TIMES.format("departed_at", "departed_at")
        .replace("departed_at,", "departed_at as event_timestamp,", 1)
        .replace("departed_at,", "departed_at as created_timestamp,", 1),
    ),
    SqlFault(
        "label_in_feature_table",
        "route_performance",
        "the share of late flights holds only what lands at that moment: the answer itself",
        "    late_28d / nullif(arrivals_28d, 0) as late_share_28d,",
        "    cast(late_28d > 0 as double) as late_share_28d,",
    ),
    SqlFault(
        "filter_loses_rows",
        "weather_observation",
        "hours without pressure are left out",
        "where {{ in_raw_months() }} and",
        "where pressure is not null and {{ in_raw_months() }} and",
    ),
    SqlFault(
        "nulls_become_zero",
        "aircraft_state",
        "no turnaround became a turnaround of 0",
        "    end as last_turnaround,",
        "        else 0\n    end as last_turnaround,",
    ),
    SqlFault(
        "window_too_short",
        "carrier_performance",
        "seven days became one, in all sums",
        "partition by carrier order by event_timestamp range between interval 7 days preceding and current row",
        "partition by carrier order by event_timestamp range between interval 1 days preceding and current row",
    ),
)
