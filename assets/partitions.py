"""Dagster's partitions: a calendar month each, of every table those that its sources declare (`ml.source`, `months`).

Several spans live side by side: a table made from several sources has every month that one of them has.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import dagster as dg

from ml.dbt_lineage import sources_behind
from ml.months import Months, start_of, union_of
from ml.source import Source


def partitions_of(months: Months) -> dg.MonthlyPartitionsDefinition:
    """Return the partitions of a span; those of one without an end grow by each month that is over."""
    empty = [start_of(name) for name in months.without]
    return dg.MonthlyPartitionsDefinition(months.first, months.ends_before, fmt="%Y-%m", exclusions=empty or None)


def table_months(manifest: Path, sources: Sequence[Source]) -> dict[str, Months]:
    """Return the months of every table that dbt makes, by its name: those of the sources that it is made from.

    Sources that land whole and declare no months add none; a table of such sources alone has the months of all sources.
    Raises LookupError if there is no manifest, ValueError if no source declares months.
    """
    declared = {source.name: source.months for source in sources if source.months is not None}
    return {
        table: union_of(_known(behind, declared) or declared.values())
        for table, behind in sources_behind(manifest).items()
    }


def _known(names: Iterable[str], declared: Mapping[str, Months]) -> list[Months]:
    return [declared[name] for name in names if name in declared]
