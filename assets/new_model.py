"""The file of a new model: `ml/models/<name>.py`, from another model or from the table with the outcomes.

Every guess and everything to fill in is marked. What a field means stands in `ml/spec.py`.
"""

import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import import_module
from inspect import getdoc
from typing import Any, get_args

from assets.new_files import FILL_IN, GUESS, Draft, formatted, held, require_name
from assets.partitions import table_months
from assets.resources import Platform
from assets.tags import TABLES as STAGES
from ml.dbt_manifest import read_manifest, table_of
from ml.feature_views import BOOKKEEPING, kind_of_type
from ml.frozen import Frozen
from ml.models import MODELS, model_named
from ml.months import month_before
from ml.sources import SOURCES
from ml.spec import ModelSpec

_OWN = ("name", "description", "owner")
_WRITTEN = (*_OWN, "task", "outcome", "features", "request", "split", "gates")  # for a model on a table with outcomes
_EPOCH = "seconds since"  # as descriptions of times say


def new_model(platform: Platform, name: str, like: str = "", table: str = "") -> tuple[Draft, ModelSpec]:
    """Return the file of a model called `name` and the spec in it: like another model, or on a table with outcomes.

    Raises ValueError if the name is taken or is none, LookupError if there is no such model or table.
    """
    require_name(name, "model")
    if name in {spec.name for spec in MODELS}:
        raise ValueError(f"a model {name!r} exists (ml/models/{name}.py); edit it, or take another name")
    _refuse_taken(platform, name)
    text = formatted(_like(name, model_named(like)) if like else _on_table(platform, name, table))
    return Draft({f"ml/models/{name}.py": text}), held(text, name, ModelSpec)


def _refuse_taken(platform: Platform, name: str) -> None:
    """Raise ValueError if a stage or a table has the name: a model's assets begin with it, so do a stage's."""
    nodes = [n for n in read_manifest(platform.manifest)["nodes"].values() if n["resource_type"] == "model"]
    tables = {
        **{source.name: source.table for source in SOURCES},
        **{table_of(n): f"table {table_of(n)}" for n in nodes},
    }
    what = "a stage" if name in STAGES else tables.get(name)
    if what:
        raise ValueError(f"{name!r} is the name of {what}; take another one for the model")


def _like(name: str, base: ModelSpec) -> str:
    """Take over each field of `base` that is not at its default."""
    constant = next(k for k, v in vars(import_module(f"ml.models.{base.name}")).items() if v is base)
    others = [field for field in ModelSpec.model_fields if field not in _OWN]
    taken = [field for field in others if getattr(base, field) != ModelSpec.model_fields[field].default]
    fields = [f"{_comment(_meaning(field))}    {field}={constant}.{field},\n" for field in taken]
    imports = f"from ml.models.{base.name} import {constant}\nfrom ml.spec import ModelSpec\n"
    return _file(name, imports, [*fields, _defaults([field for field in others if field not in taken])])


def _on_table(platform: Platform, name: str, table: str) -> str:
    node = _outcome_table(platform, table)
    meta, columns = node["config"]["meta"]["outcome"], node["columns"]
    views = [v for v in platform.feature_views if v.online and set(v.join_keys) <= set(columns)]
    if not views:
        raise LookupError(f"no feature view has its keys among the columns of {table_of(node)!r}; add a view first")
    keys = dict.fromkeys(
        k for v in views for k, kind in zip(v.join_keys, v.join_key_kinds, strict=True) if kind == "string"
    )
    label = _label(node, {meta["row_id"], *(k for v in views for k in v.join_keys)})
    numeric = kind_of_type(columns[label].get("data_type")) == "float"
    times = _times(platform)
    references = [f"{view.name}:{field.name}" for view in views for field in view.fields]
    told = {*keys, *(k for v in views for k in v.join_keys), *BOOKKEEPING, label, *map(str, meta.values())}
    more = ", ".join(f"{c} ({columns[c].get('data_type')})" for c in columns if c not in told)
    low, high = (0.05, 0.9) if numeric else (0.55, 0.95)
    parts = [
        f'    task="{"regression" if numeric else "binary"}",\n',
        _comment(f"{_meaning('outcome')} {GUESS}: the label; other columns of the table: {more or 'none'}."),
        f"    outcome=Outcome(table={table_of(node)!r}, "
        + "".join(f"{k}={v!r}, " for k, v in _named({**meta, "label": label}).items())
        + "),\n",
        _comment(
            f"{_meaning('features')} {GUESS}: all views that the table has the keys of. Take out what tells the answer."
        ),
        "    features=(" + "".join(f'"{r}",\n' for r in references if r not in times) + "),\n",
        _comment(f"{_meaning('request')} {GUESS}: the keys; add what else the caller knows when it asks."),
        "    request=(" + "".join(f'RequestField(name="{k}", kind="categorical"),\n' for k in keys) + "),\n",
        *_elapsed_hint([r for r in references if r in times]),
        _comment(
            f"{_meaning('split')} {GUESS}: all months of the table that are over, two thirds of them to learn from."
        ),
        f"    split={_split(platform, table_of(node))},\n",
        _comment(
            f"{_meaning('gates')} {FILL_IN}: both bounds; see what a simple model reaches, and what would be too good."
        ),
        f"    gates=Gates(min_score={low}, max_score={high}),\n",
        _defaults([field for field in ModelSpec.model_fields if field not in _WRITTEN]),
    ]
    return _file(name, "from ml.spec import Gates, ModelSpec, Outcome, RequestField, Split\n", parts)


def _file(name: str, imports: str, parts: Sequence[str]) -> str:
    return (
        f'"""{FILL_IN}: what is asked, and when."""\n\n{imports}\n'
        f"{_comment('What a field means: ml/spec.py, and docs/how-to.md, Add a model.', 0)}"
        f"{name.upper()} = ModelSpec(\n"
        f'    name="{name}",\n'
        f'    description="{FILL_IN}: what the answer is, in one sentence.",\n'
        f'    owner="team:fill-in",  # {FILL_IN}: an e-mail address, or team:<name>\n' + "".join(parts) + ")\n"
    )


def _outcome_table(platform: Platform, table: str) -> Mapping[str, Any]:
    nodes = [n for n in read_manifest(platform.manifest)["nodes"].values() if n["resource_type"] == "model"]
    found = {table_of(n): n for n in nodes if "outcome" in n["config"].get("meta", {})}
    if not table and len(found) == 1:
        return next(iter(found.values()))
    if table not in found:
        what = f"no table with outcomes {table!r}" if table else "which table has the outcomes?"
        raise LookupError(
            f"{what}; say TABLE=<one of {sorted(found)}>, or FROM=<a model like it>; a table has outcomes if its .yml "
            "says so in config.meta.outcome (docs/bring-your-own-data.md)"
        )
    return found[table]


def _times(platform: Platform) -> set[str]:
    """Return the features that are instants, by what their descriptions say."""
    nodes = [n for n in read_manifest(platform.manifest)["nodes"].values() if n["resource_type"] == "model"]
    return {f"{table_of(n)}:{c}" for n in nodes for c, d in n["columns"].items() if _EPOCH in d.get("description", "")}


def _elapsed_hint(times: Sequence[str]) -> Iterator[str]:
    if times:
        yield _comment(
            f"Instants mean nothing by themselves: to use one of {', '.join(times)}, name it in features and give "
            "elapsed an Elapsed(name=..., since=<it>, until=<a request field of kind time>)."
        )


def _split(platform: Platform, table: str) -> str:
    """The windows over the months that the table has, as far as they are over by the platform's clock."""
    months = table_months(platform.manifest, SOURCES)[table]
    found = months.over_by(platform.clock.now()) or [months.first]
    return f'Split.between("{found[0]}-01", "{month_before(found[-1], -1)}-01")'


def _label(node: Mapping[str, Any], keys: Collection[str]) -> str:
    """The label that dbt names; where it names none, the first number that is no key and no instant."""
    columns = node["columns"]
    numbers = [name for name, told in columns.items() if kind_of_type(told.get("data_type")) in ("int", "float")]
    left = [n for n in numbers if n not in (*keys, *BOOKKEEPING) and _EPOCH not in columns[n].get("description", "")]
    named = node["config"]["meta"]["outcome"].get("label")
    if not named and not left:
        raise LookupError(f"table {table_of(node)!r} has no column with numbers to be the label; add one")
    return named or left[0]


def _named(meta: Mapping[str, Any]) -> dict[str, str]:
    return {key: meta[key] for key in ("row_id", "label", "label_timestamp", "prediction_time") if key in meta}


def _meaning(field: str) -> str:
    """What a field is: its description, or the first sentence of its type's docstring."""
    info = ModelSpec.model_fields[field]
    kind = (get_args(info.annotation) or (info.annotation,))[0]
    of_type = getdoc(kind) if isinstance(kind, type) and issubclass(kind, Frozen) else ""
    return info.description or (of_type or "").split("\n\n")[0]


def _defaults(fields: Sequence[str]) -> str:
    return _comment(f"Left at their defaults: {', '.join(fields)}.")


def _comment(text: str, indent: int = 4) -> str:
    lines = textwrap.wrap(" ".join(text.split()), 112 - indent)
    return "".join(f"{' ' * indent}# {line}\n" for line in lines)
