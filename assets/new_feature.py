"""A column more in a feature view: its line in the view's SQL and its entry in the YAML beside it.

Where a model in use reads the view, both go into a new version of it, as the guard of definitions would ask. A new
view is `assets/new_view.py`.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from assets.new_files import FILL_IN, Draft, require_name
from assets.plan_manifest import with_files
from assets.resources import Platform
from assets.views import view_guard
from checks.guard import GateClosed
from ml.view_definitions import Definition, load_definitions

FOLDER = "dbt_project/models/features"
# The last columns of a view's own select, and of its declaration: a feature stands before them.
_LAST_IN_SQL = re.compile(r"^( +)(?:\S.* as )?event_timestamp,$", re.MULTILINE)
_LAST_IN_YAML = "      - name: event_timestamp\n"


def new_feature(
    platform: Platform, view: str, name: str, sql: str = "", data_type: str = "double"
) -> tuple[Draft, str]:
    """Return the files of feature view `view` with the column `name` (SQL expression `sql`), and the version's name.

    Raises LookupError if there is no such view, ValueError if it has the column, or is not written as ours are.
    """
    require_name(name, "feature")
    declared = load_definitions(platform.manifest)
    if view not in declared:
        raise LookupError(
            f"no feature view {view!r}; there are {sorted(declared)}: for a new one say ENTITY= and FROM="
        )
    definition = declared[view]
    if name in dict(definition.columns):
        raise ValueError(f"feature view {view!r} has a column {name!r}; take another name")
    expression = sql or f"cast(null as {data_type})"
    line = f"{expression} as {name}," + (
        "" if sql else f" -- {FILL_IN}: how it is computed, from what is known by then"
    )
    draft = _in_place(platform, definition, name, line, data_type)
    return (
        (draft, view)
        if _admitted(platform, draft, view)
        else _next_version(platform, declared, definition, name, line, data_type)
    )


def _in_place(platform: Platform, definition: Definition, name: str, line: str, data_type: str) -> Draft:
    root = platform.dbt_project.parent
    sql = _sql_of(root, definition)
    yml = f"{FOLDER}/{definition.view}.yml"
    text = (root / yml).read_text()
    if definition.version > 1 or text.count(_LAST_IN_YAML) != 1:
        raise ValueError(
            f"{yml} does not end its columns with event_timestamp, or declares versions; add {name!r} there by hand"
        )
    changed = text.replace(_LAST_IN_YAML, _entry(name, data_type, 6) + _LAST_IN_YAML)
    return Draft({}, {sql: _with_line(root, sql, line), yml: changed}, root)


def _next_version(
    platform: Platform, declared: Mapping[str, Definition], definition: Definition, name: str, line: str, data_type: str
) -> tuple[Draft, str]:
    """Declare version 2 of a view beside the one that a model in use reads."""
    root, view = platform.dbt_project.parent, definition.view
    yml = f"{FOLDER}/{view}.yml"
    text = (root / yml).read_text()
    if f"{view}_v2" in declared or "\n    versions:" in text:
        raise ValueError(
            f"a model in use reads {definition.name!r}, and {yml} declares versions already: add one more there by hand "
            "(docs/how-to.md, Change a feature)"
        )
    versions = (
        f"    versions:\n      - v: 1\n        defined_in: {view}\n      - v: 2\n        columns:\n"
        f"          - include: all\n{_entry(name, data_type, 10)}"
    )
    sql = f"{FOLDER}/{view}_v2.sql"
    files = {sql: _with_line(root, _sql_of(root, definition), line)}
    return Draft(files, {yml: f"{text.rstrip()}\n{versions}"}, root), f"{view}_v2"


def _admitted(platform: Platform, draft: Draft, view: str) -> bool:
    """Whether a build would take the view changed so: no model in use relies on it as it is."""
    with with_files(
        platform, {name.removeprefix("dbt_project/"): text for name, text in draft.files.items()}
    ) as changed:
        try:
            view_guard(changed).admit("dbt build", [view])
        except GateClosed:
            return False
    return True


def _sql_of(root: Path, definition: Definition) -> str:
    return next(
        name
        for name in (f"{FOLDER}/{definition.name}.sql", f"{FOLDER}/{definition.view}.sql")
        if (root / name).exists()
    )


def _with_line(root: Path, file: str, line: str) -> str:
    text = (root / file).read_text()
    places = list(_LAST_IN_SQL.finditer(text))
    if not places:
        raise ValueError(f"{file} selects no event_timestamp on a line of its own; add the column there by hand")
    at = places[-1]
    return f"{text[: at.start()]}{at[1]}{line}\n{text[at.start() :]}"


def _entry(name: str, data_type: str, indent: int) -> str:
    space = " " * indent
    return (
        f"{space}- name: {name}\n"
        f'{space}  description: "{FILL_IN}: what it is, with its unit, and when it is null."\n'
        f"{space}  data_type: {data_type}\n"
    )
