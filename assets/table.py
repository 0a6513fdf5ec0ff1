"""`make table`: one source, or one feature table with what it stands on, whatever of it is out of date.

Here: which tables and which of their months. How they are brought up to date is in `assets/stages.py`.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assets.command import REFUSALS, in_one_line
from assets.metadata import whole_table
from assets.partitions import table_months
from assets.quiet import leave
from assets.resources import Platform, platform_for
from assets.stages import Stages, run
from checks.suite import feature_tables
from ml import remedies
from ml.dbt_lineage import Tables, stands_on
from ml.look_back import raw_read
from ml.months import Months, end_of
from ml.settings import Settings
from ml.source import Source
from ml.sources import SOURCES


@dataclass(frozen=True)
class Wanted:
    """What is asked for: a source or a feature table by name, of one month if that is given, with what it stands on."""

    name: str
    month: str
    tables: Tables
    months: Mapping[str, Sequence[str]]

    def bring(self, stages: Stages) -> None:
        """Bring it up to date, and say what is there now."""
        stages.table(self.tables, self.months)
        lake, name = stages.platform.lake, self.name
        places = [f"published/{name}", f"features/{name}"] if self.tables.made else [f"raw/{name}"]
        table = next(place for place in places if lake.exists(place))
        rows = whole_table(lake.read(table, None, [self.month] if self.month else None))
        print(
            f"\n{table}{f'[{self.month}]' if self.month else ''} has {rows:,} rows, and no check holds them back.\n"
            f"  {remedies.here('make quarantine')}   what is held, and why; the UI shows each check with its evidence"
        )
        if table.startswith("features/"):
            print("  not published: no model asks about its rows yet")


def wanted(platform: Platform, name: str, month: str = "") -> Wanted:
    """Return what a name and a month stand for.

    Raises LookupError with the names there are or the months that the table has, ValueError if `month` is none.
    """
    tables = tables_of(platform, name)
    return Wanted(name, month, tables, months_of(platform, tables, name, month) if month else {})


def tables_of(platform: Platform, name: str) -> Tables:
    """Return what a source or a feature table consists of. Raises LookupError with the names there are."""
    made, sources = feature_tables(platform.manifest), [source.name for source in SOURCES]
    if name in made:
        return stands_on(platform.manifest, name)
    if name in sources:
        return Tables(frozenset([name]), frozenset())
    problem = f"no table {name!r}" if name else "say NAME=<a table>"
    raise LookupError(f"{problem}; there are the sources {', '.join(sources)} and the feature tables {', '.join(made)}")


def months_of(
    platform: Platform, tables: Tables, name: str, month: str, sources: Sequence[Source] = SOURCES
) -> Mapping[str, Sequence[str]]:
    """Return the months of each table that one month of `name` needs: of raw tables those that it looks back to, too.

    Raises LookupError if `name` has no such month, or it is not over by the platform's clock.
    """
    spans = {source.name: source.months for source in sources if source.months and source.partition is not None}
    has = table_months(platform.manifest, sources)[name] if tables.made else spans.get(name)
    _require(has, f"{'features' if tables.made else 'raw'}/{name}", month, platform)
    back = raw_read(platform.manifest, tables.made)
    raw = {n: span.with_look_back([month], back.get(n, 0)) for n, span in spans.items() if n in tables.raw}
    return {**raw, **{table: [month] for table in tables.made}}


def _require(has: Months | None, table: str, month: str, platform: Platform) -> None:
    if has is None:
        raise LookupError(f"{table} lands whole, in one partition; leave MONTH out")
    if not Months(month).has(month) or not has.has(month):
        raise LookupError(f"{table} has no month {month}; it has {has}")
    now = platform.clock.now()
    if end_of(month) > now:
        raise LookupError(
            f"{table}[{month}] is not over by the platform's clock, which stands at {now:%Y-%m-%d %H:%M} UTC; "
            "take one that is, or a home of its own (HEADWATER_HOME)"
        )


@in_one_line(*REFUSALS)
def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m assets.table", description=__doc__)
    parser.add_argument("name", nargs="?", default="", help="a source, a feature view or a table with outcomes")
    parser.add_argument("--month", default="", help="only this month of it, such as 2013-03")
    asked = parser.parse_args()
    return run("table", wanted(platform_for(Settings()), asked.name, asked.month).bring)


if __name__ == "__main__":
    leave(main())
