"""`make new-source`, `new-feature`, `new-outcome`, `new-model`: the plan first, then the one or two files to fill in.

Nothing is run. With DRY=1 nothing is written either; after it, `make plan NAME=...` shows the plan again.
"""

import argparse
import warnings

from assets.command import REFUSALS, in_one_line
from assets.new_feature import Column, new_feature
from assets.new_files import FILL_IN, GUESS, Draft
from assets.new_model import new_model
from assets.new_outcome import new_outcome
from assets.new_source import months_told, new_source
from assets.new_view import new_view
from assets.plan import model_plan, printed, source_plan, table_plan
from assets.plan_manifest import with_files
from assets.quiet import leave
from assets.resources import Platform, platform_for
from ml.settings import Settings
from ml.sources import SOURCES


def scaffold(platform: Platform, asked: argparse.Namespace) -> None:
    """Print the plan of what is asked for and write its files, unless it is a dry run.

    Raises ValueError that says which variables are missing.
    """
    _require(asked)
    if asked.what == "model":
        draft, spec = new_model(platform, asked.name, asked.like, asked.table)
        print(printed(f"model {spec.name}", model_plan(platform, spec)))
        if not asked.like and not asked.table:
            print(f"outcomes: {spec.outcome.table}, the only table with outcomes; TABLE= names another")
        _finish(draft, asked.dry_run, f"make model NAME={spec.name}")
    elif asked.what == "source":
        draft, source = new_source(asked.name, asked.file)
        with with_files(platform, draft.of_dbt) as planned:
            print(printed(f"source {source.name}", source_plan(planned, source)))
        print(f"  {'months':<10}{months_told(source)}")
        _finish(draft, asked.dry_run, f"make table NAME={source.name}")
    else:
        draft, name = _table(platform, asked)
        with with_files(platform, draft.of_dbt) as planned:
            print(printed(f"feature table {name}", table_plan(planned, name)))
        after = {
            "outcome": f", and make new-model NAME=<a model> TABLE={name}",
            "feature": f", and name it in the features of a model: {name}:<feature>",
        }
        _finish(draft, asked.dry_run, f"make table NAME={name}{after[asked.what]}")


def _require(asked: argparse.Namespace) -> None:
    """Raise ValueError if variables are missing without which nothing can be written."""
    if asked.what == "model":
        missing = not asked.name
        words = "NAME=<the new model>, and TABLE=<its outcomes> or FROM=<a model like it>"
    elif asked.what == "source":
        missing, words = not (asked.name and asked.file), "NAME=<the new table> FILE=<a CSV or Parquet file>"
    elif asked.what == "outcome":
        missing = not (asked.name and asked.entity and asked.read)
        words = "NAME=<the new table> ENTITY=<entity:key column> FROM=<the table it reads>, and LABEL=<an expression>"
    else:
        missing = not asked.view or not (asked.name or asked.entity)
        words = (
            "VIEW=<a feature view> NAME=<the new column>, or "
            "VIEW=<a new view> ENTITY=<entity:key column> FROM=<the table it reads>"
        )
    if missing:
        raise ValueError(f"say {words}")


def _table(platform: Platform, asked: argparse.Namespace) -> tuple[Draft, str]:
    if asked.what == "outcome":
        draft = new_outcome(platform, SOURCES, asked.name, asked.entity, asked.read, asked.label, asked.type)
        return draft, asked.name
    if asked.entity:
        if not asked.read:
            raise ValueError("a new view reads a table: say FROM=<a staging model or a raw table>")
        return new_view(platform, SOURCES, asked.view, asked.entity, asked.read, asked.name), asked.view
    return new_feature(platform, asked.view, Column(asked.name, asked.sql, asked.type or "double"))


def _finish(draft: Draft, dry: bool, after: str) -> None:
    if not dry:
        draft.write()
    for name in draft.files:
        print(f"{'would write' if dry else 'wrote'} {name}" + (" (a part added)" if name in draft.changed else ""))
    print(f"look there for {FILL_IN} and {GUESS}; then {after}")
    if not dry:
        print(f"to undo it: {_undo(draft)}")


def _undo(draft: Draft) -> str:
    removed = [f"rm {' '.join(draft.new)}"] if draft.new else []
    return ", and ".join([*removed, *(f"take the added part out of {name}" for name in draft.changed)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m assets.scaffold", description=__doc__)
    kinds = parser.add_subparsers(dest="what", required=True)
    model, source, feature, outcome = (kinds.add_parser(kind) for kind in ("model", "source", "feature", "outcome"))
    model.add_argument("--name", default="")
    model.add_argument("--from", dest="like", default="", help="a model to take fields over from")
    model.add_argument("--table", default="", help="the table with the outcomes, if there are several")
    source.add_argument("--name", default="")
    source.add_argument("--file", default="", help="a CSV or Parquet file")
    feature.add_argument("--view", default="")
    feature.add_argument("--name", default="", help="the column")
    feature.add_argument("--sql", default="", help="the column's expression, in an existing view")
    feature.add_argument("--type", default="", help="the column's type, in an existing view; double by default")
    feature.add_argument("--entity", default="", help="of a new view: entity:key column, several apart by commas")
    feature.add_argument(
        "--from", dest="read", default="", help="of a new view: the staging model or raw table it reads"
    )
    outcome.add_argument("--name", default="")
    outcome.add_argument("--entity", default="", help="who is asked about: entity:key column, several apart by commas")
    outcome.add_argument("--from", dest="read", default="", help="the staging model or raw table it reads")
    outcome.add_argument("--label", default="", help="an SQL expression on the columns of that table")
    outcome.add_argument("--type", default="", help="the label's type; bigint (0 or 1) by default")
    for kind in (model, source, feature, outcome):
        kind.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
    return parser


@in_one_line(*REFUSALS)
def main() -> int:
    """Do what the command line asks for. Returns 1 after one line on what is wrong with it."""
    warnings.simplefilter("ignore")
    asked = _parser().parse_args()
    scaffold(platform_for(Settings()), asked)
    return 0


if __name__ == "__main__":
    leave(main())
