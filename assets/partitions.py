"""The months. One partition is one calendar month; the shipped data hold the twelve of 2013."""

from datetime import UTC, datetime

from dagster import MonthlyPartitionsDefinition

MONTHS = MonthlyPartitionsDefinition(start_date="2013-01", end_date="2014-01", fmt="%Y-%m")


def with_look_back(months: list[str], look_back: int) -> list[str]:
    """Return `months` and the `look_back` months before the first, as far as partitions go back."""
    known = list(MONTHS.get_partition_keys())
    first = known.index(min(months))
    return known[max(0, first - look_back) : known.index(max(months)) + 1]


def end_of(month: str) -> datetime:
    """Return the instant (UTC) at which a month is over."""
    return MONTHS.time_window_for_partition_key(month).end.astimezone(UTC)
