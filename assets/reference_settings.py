"""The settings and the make targets, as tables of the reference page: what `ml.settings` and the Makefile say.

The page they stand on is put together in `reference`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from ml.alert_settings import AlertSettings
from ml.markdown import table
from ml.pod_settings import PodSettings
from ml.settings import Settings
from ml.store_settings import StoreSettings
from ml.triton_settings import TritonSettings

_PARTS: dict[type[BaseSettings], tuple[str, str]] = {
    StoreSettings: ("Where state is kept", "operations.md"),
    TritonSettings: ("Triton", "serving.md"),
    PodSettings: ("Pods", "kubernetes.md"),
    AlertSettings: ("Alerts", "alerts.md"),
}
_TAKES = {str: "text", Path: "path", int: "whole number", float: "number", bool: "`true` or `false`", dict: "JSON"}
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
_TARGET = re.compile(r"^([a-z0-9][a-z0-9 -]*):(?!=)([^\n]*)\n((?:\t[^\n]*\n)*)", re.MULTILINE)
_VARIABLE, _ASSIGNED = re.compile(r"\$\(([A-Z_]+)\)"), re.compile(r"^(?:export )?([A-Z_]+) *[:?]?=", re.MULTILINE)
_EXAMPLE = re.compile(r"make [a-z0-9-]+(?: [A-Z_]+=(?:\"[^\"]*\"|<[^>]*>|[^\s;,]+))+")
_OF_MAKE = {"CURDIR", "MAKE", "MAKEFILE_LIST"}


def settings_tables() -> str:
    """Return a table of settings for each part of them, the rest last."""
    told: set[str] = set()
    parts = []
    for part, (title, page) in _PARTS.items():
        names = [name for name in Settings.model_fields if name in part.model_fields]
        told.update(names)
        parts.append(f"### {title}\nMore in [{page.removesuffix('.md')}]({page}).\n\n{_settings(names)}")
    rest = [name for name in Settings.model_fields if name not in told]
    return "\n\n".join([*parts, f"### Everything else\n{_settings(rest)}"])


def make_table(makefile: Path) -> str:
    """Return a table of the targets that have a `##` comment."""
    rows = [
        (f"`make {name}`", " ".join(f"`{parameter}`" for parameter in parameters), _with_code(does))
        for name, parameters, does in targets(makefile.read_text())
    ]
    return table(("command", "parameters", "does"), rows)


def _with_code(comment: str) -> str:
    """Return a comment with its examples as code, which Markdown takes as they are."""
    parts = _EXAMPLE.sub(r"`\g<0>`", comment).split("`")
    return "`".join(part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(parts))


def targets(makefile: str) -> Iterator[tuple[str, list[str], str]]:
    """Yield each documented target, in the file's order: name, variables that it takes from its caller, comment."""
    own = {*_ASSIGNED.findall(makefile), *_OF_MAKE}
    comments: dict[str, str] = {}
    recipes: dict[str, str] = {}
    for names, told, recipe in _TARGET.findall(makefile):
        for name in names.split():
            recipes[name] = recipes.get(name, "") + recipe
            if " ## " in told:
                comments[name] = told.split(" ## ", 1)[1]
    for name, comment in comments.items():
        yield name, [found for found in dict.fromkeys(_VARIABLE.findall(recipes[name])) if found not in own], comment


def _settings(names: list[str]) -> str:
    fields = {name: Settings.model_fields[name] for name in names}
    rows = [
        (f"`HEADWATER_{name.upper()}`", _takes(field), _default(field), field.description or "")
        for name, field in fields.items()
    ]
    return table(("variable", "takes", "default", "meaning"), rows)


def _takes(field: FieldInfo) -> str:
    kind: Any = field.annotation
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    bounds = [
        f"{word} {getattr(limit, sign):g}"
        for limit in field.metadata
        for sign, word in _BOUNDS.items()
        if hasattr(limit, sign)
    ]
    secret = kind is SecretStr
    return ", ".join(["text, a secret" if secret else _TAKES[get_origin(kind) or kind], *bounds])


def _default(field: FieldInfo) -> str:
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if value is None or value == "":
        return "unset"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
