"""The two files of a new table with outcomes: the SQL that says what is asked and what happened, and its YAML.

When a question is asked, and when its answer is known, are guesses to be looked at: point-in-time truth rests on them.
"""

from collections.abc import Mapping, Sequence

from assets.new_feature import FOLDER
from assets.new_files import FILL_IN, GUESS, Draft, require_name
from assets.new_view import keys_of, readable
from assets.resources import Platform
from checks.suite import feature_tables
from ml.dbt_manifest import TIMES
from ml.source import Source

_INSTANT = "timestamp with time zone"


def new_outcome(
    platform: Platform, sources: Sequence[Source], name: str, entity: str, read: str, label: str = "", kind: str = ""
) -> Draft:
    """Return the files of a table with outcomes on `read`, a staging model or a raw table, of `entity`.

    `entity` is as a view's ("station:station_id"), `label` an SQL expression on the columns of `read`, "" if it is to
    be filled in; `kind` is the type it is cast to, bigint (0 or 1) if left out. Raises ValueError if the table exists
    or an entity is none of its columns, LookupError if there is nothing like `read`.
    """
    require_name(name, "table with outcomes")
    if name in feature_tables(platform.manifest):
        raise ValueError(f"a table {name!r} exists ({FOLDER}/{name}.sql); edit it, or take another name")
    relation, columns, monthly = readable(platform, sources, read)
    keys = {key: columns[key] for key in keys_of(entity, read, columns).values()}
    kind = kind or "bigint"
    return Draft(
        {
            f"{FOLDER}/{name}.sql": _sql(relation, keys, label, kind, monthly),
            f"{FOLDER}/{name}.yml": _yml(name, keys, kind, 1 if monthly else 0),
        },
        root=platform.dbt_project.parent,
    )


def _sql(relation: str, keys: Mapping[str, str], label: str, kind: str, monthly: bool) -> str:
    told = f"cast({label} as {kind}) as label," if label else f"cast(null as {kind}) as label, -- {FILL_IN}: the answer"
    months = "{{ in_raw_months() }} and " if monthly else ""
    return (
        f"-- {FILL_IN}: what is asked, and of whom. A row is one question with its answer.\n"
        f"select\n    -- {GUESS}: no two questions agree in these.\n"
        f"    concat_ws('/', {', '.join(keys)}, {{{{ seconds_of('event_timestamp') }}}}) as row_id,\n"
        + "".join(f"    cast({key} as {dtype}) as {key},\n" for key, dtype in keys.items())
        + f"    {told}\n"
        f"    -- {GUESS}: asked a day before what is told. Features are those known at this instant.\n"
        "    event_timestamp - interval 1 day as prediction_time,\n"
        f"    event_timestamp as label_timestamp, -- {GUESS}: when the label became known\n"
        "    {{ times_of('event_timestamp') }}\n"
        f"from {relation}\n-- {GUESS}: rows as they first came; a correction is no second question.\n"
        f"where {{{{ originals() }}}} and {months}{{{{ in_months(month_of('event_timestamp')) }}}}\n"
    )


def _yml(name: str, keys: Mapping[str, str], kind: str, months: int) -> str:
    columns = {
        "row_id": (f"{FILL_IN}: what names a question.", "varchar"),
        **{key: (f"{FILL_IN}: what it is.", dtype) for key, dtype in keys.items()},
        "label": (f"{FILL_IN}: what 0 and 1 mean, or its unit, and when it is null.", kind),
        "prediction_time": ("When the question is asked (UTC).", _INSTANT),
        "label_timestamp": ("When the label became known (UTC).", _INSTANT),
        **{column: (text, dtype) for column, (dtype, text) in TIMES.items()},
    }
    return f"""version: 2

models:
  - name: {name}
    description: "{FILL_IN}: what is asked, and what happened."
    config:
      meta:
        look_back_months: {months} # {GUESS}: raw months before its own that the SQL reads
        outcome:
          row_id: row_id
          label: label
          label_timestamp: label_timestamp
          prediction_time: prediction_time
          owner: "team:fill-in" # {FILL_IN}: an e-mail address, or team:<name>
    data_tests:
      - holds:
          name: {name}_conditions
          description: Conditions on each row, by name.
          arguments:
            conditions:
              known_after_event: "created_timestamp >= event_timestamp"
              label_known_after_prediction: "label_timestamp is null or label_timestamp > prediction_time"
    columns:
""" + "".join(
        f'      - name: {column}\n        description: "{text}"\n        data_type: {dtype}\n'
        for column, (text, dtype) in columns.items()
    )
