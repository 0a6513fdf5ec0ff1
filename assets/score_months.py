"""`make scores`: a model's scores of one month, or of several, brought up to date with what serves and is published.

The asset is in assets/scores.py.
"""

import argparse

import dagster as dg
import polars as pl

from assets.command import require_given
from assets.partitions import table_months
from assets.quiet import leave
from assets.resources import Platform
from assets.score_inputs import champion
from assets.stages import Stages, run
from ml.batch_scores import DECISION, MODEL_VERSION
from ml.lake import PARTITION_KEY
from ml.models import MODEL_NAMES, model_named
from ml.months import Months, between
from ml.sources import SOURCES
from ml.task import task_of


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m assets.score_months",
        description="Score the rows of a month, labelled or not, by the version that serves: the table <model>/scores.",
    )
    parser.add_argument("name", nargs="?", default="", help="a file in ml/models")
    parser.add_argument("months", nargs="?", default="", help="a month (2013-10), or several (2013-07..2013-10)")
    arguments = parser.parse_args()
    months = (arguments.months, "a month, or several: 2013-07..2013-10")
    require_given("scores", NAME=(arguments.name, MODEL_NAMES), MONTH=months)
    return run("scores", lambda stages: _bring(stages, arguments.name, arguments.months))


def months_named(text: str, span: Months) -> list[str]:
    """Return the months that "2013-07" or "2013-07..2013-10" names. Raises LookupError if `span` lacks one."""
    first, _, last = text.partition("..")
    last = last or first
    strangers = [month for month in (first, last) if not span.has(month)]
    if strangers:
        raise LookupError(f"no month {strangers[0]!r}; there are {span}")
    if first > last:
        raise LookupError(f"{text!r} ends before it begins; give {last}..{first}")
    return [month for month in between(first, last) if span.has(month)]


def _bring(stages: Stages, name: str, text: str) -> None:
    spans = table_months(stages.platform.manifest, SOURCES)
    months = months_named(text, spans[model_named(name).outcome.table])
    version = champion(stages.platform, name).version
    key, many = dg.AssetKey([name, "scores"]), f", {len(months)} months" if len(months) > 1 else ""
    stages.months(key, months, f"every row asked about, scored by version {version}{many}")
    print(_told(stages.platform, name, months))


def _told(platform: Platform, name: str, months: list[str]) -> str:
    table, output = f"{name}/scores", task_of(model_named(name)).output
    rows = platform.lake.read(table, partitions=months)
    mean, decided = (pl.col(column).cast(pl.Float64).mean() for column in (output, DECISION))
    found = rows.group_by(PARTITION_KEY).agg(pl.len(), mean, decided, pl.col(MODEL_VERSION).first())
    lines = [f"{'month':<12}{'rows':>12}{'mean ' + output:>20}{'decided':>10}{'version':>10}"]
    for month, count, level, acted, version in found.sort(PARTITION_KEY).collect(engine="streaming").iter_rows():
        share = "-" if acted is None else f"{acted:.1%}"
        lines.append(f"{month:<12}{count:>12,}{level:>20.4f}{share:>10}{version:>10}")
    return "\n".join(["", *lines, "", f"read them       Delta table {platform.lake.path(table)}"])


if __name__ == "__main__":
    leave(main())
