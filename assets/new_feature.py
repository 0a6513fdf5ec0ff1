"""A column more in a feature view: its line in the view's SQL and its entry in the YAML beside it.

Where a model in use reads the view, both go into a new version of it: the guard of definitions would refuse the
other. A new view is `assets/new_view.py`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from assets.new_files import FILL_IN, Draft, require_name
from assets.resources import Platform
from assets.views import view_guard
from ml.view_definitions import load_definitions

FOLDER = "dbt_project/models/features"
# The last columns of a view's own select, and of its declaration: a feature stands before them.
_LAST_IN_SQL = re.compile(r"^( +)(?:(?:\S.* as )?event_timestamp,|\{\{ times_of\(.*\) \}\})$", re.MULTILINE)
_LAST_IN_YAML = "      - name: event_timestamp\n"


@dataclass(frozen=True)
class Column:
    """A feature to add: its name, its SQL expression ("" if that is to be filled in) and the type it is cast to."""

    name: str
    sql: str = ""
    data_type: str = "double"

    @property
    def line(self) -> str:
        """Its line in a select."""
        if self.sql:
            return f"cast({self.sql} as {self.data_type}) as {self.name},\n"
        return f"cast(null as {self.data_type}) as {self.name}, -- {FILL_IN}: from what is known at event_timestamp\n"

    def entry(self, indent: int) -> str:
        """Its entry in a list of columns in YAML."""
        space = " " * indent
        return (
            f"{space}- name: {self.name}\n"
            f'{space}  description: "{FILL_IN}: what it is, with its unit, and when it is null."\n'
            f"{space}  data_type: {self.data_type}\n"
        )


def new_feature(platform: Platform, view: str, column: Column) -> tuple[Draft, str]:
    """Return the files of feature view `view` with one column more, and the name of the table that has it.

    Raises LookupError if there is no such view, ValueError if it has the column, or its files are not as ours are.
    """
    require_name(column.name, "feature")
    declared = load_definitions(platform.manifest)
    if view not in declared:
        known = sorted(declared)
        raise LookupError(f"no feature view {view!r}; there are {known}; a new one needs ENTITY= and FROM=")
    if column.name in dict(declared[view].columns):
        raise ValueError(f"feature view {view!r} has a column {column.name!r}; take another name")
    root, base = platform.dbt_project.parent, declared[view].view
    if [d.name for d in declared.values() if d.view == base] != [base]:
        raise ValueError(
            f"{FOLDER}/{base}.yml declares versions; add {column.name!r} to one of them, or to one more, by hand "
            "(docs/how-to.md, Change a feature)"
        )
    if view_guard(platform).readers(view):
        return _next_version(root, view, column), f"{view}_v2"
    return _in_place(root, view, column), view


def _in_place(root: Path, view: str, column: Column) -> Draft:
    sql, yml = f"{FOLDER}/{view}.sql", f"{FOLDER}/{view}.yml"
    text = (root / yml).read_text()
    if text.count(_LAST_IN_YAML) != 1:
        raise ValueError(f"{yml} does not end its columns with event_timestamp; add {column.name!r} there by hand")
    changed = text.replace(_LAST_IN_YAML, column.entry(6) + _LAST_IN_YAML)
    return Draft({}, {sql: _with_line(root, sql, column), yml: changed}, root)


def _next_version(root: Path, view: str, column: Column) -> Draft:
    """Declare version 2 of a view beside the one that a model in use reads."""
    yml = f"{FOLDER}/{view}.yml"
    versions = (
        f"    versions:\n      - v: 1\n        defined_in: {view}\n      - v: 2\n        columns:\n"
        f"          - include: all\n{column.entry(10)}"
    )
    new = {f"{FOLDER}/{view}_v2.sql": _with_line(root, f"{FOLDER}/{view}.sql", column)}
    return Draft(new, {yml: f"{(root / yml).read_text().rstrip()}\n{versions}"}, root)


def _with_line(root: Path, file: str, column: Column) -> str:
    text = (root / file).read_text()
    places = list(_LAST_IN_SQL.finditer(text))
    if not places:
        raise ValueError(f"{file} selects no event_timestamp on a line of its own; add the column there by hand")
    at = places[-1]
    return f"{text[: at.start()]}{at[1]}{column.line}{text[at.start() :]}"
