"""Reads a plan from JSON: every field is there, known and of its type, or the error names it.

Runs in the serving environment. What a plan is, and writing one, is in `plan`.
"""

import dataclasses
import json
import types
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ml.packed import Field
from serving.plan import Input, Plan


def parse_plan(text: str) -> Plan:
    """Read a plan from JSON text. Raises ValueError naming the missing, unknown or wrongly typed field."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ValueError(f"plan is not JSON: {error}") from error
    if isinstance(data, dict):
        _of_before(data)
    return _decode(Plan, data, "plan")


def load_plan(path: Path) -> Plan:
    """Read plan.json. Raises ValueError that names the file and the field."""
    try:
        return parse_plan(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} holds no valid plan: {error}; deploy the model again") from error


def _of_before(data: dict[str, Any]) -> None:
    """Read a plan of before: one could switch the log off, and there was one version, whose inputs were the plan's."""
    data.pop("log", None)
    champion = data.get("champion")
    if "inputs" in data and isinstance(champion, dict):
        champion.setdefault("inputs", data.pop("inputs"))


def _decode(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _decode_dataclass(hint, value, where)
    if hint is Field:
        pair = _decode(tuple[str, ...], value, where)
        if len(pair) != 2:
            raise ValueError(f"{where} is {value!r}; it must be a pair of name and kind")
        return Field(pair[0], _decode(get_type_hints(Field)["kind"], pair[1], where))
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} is {value!r}; it must be a list")
        if arguments[0] is Input and not where.startswith("inputs"):
            return _inputs(json.dumps(value), "inputs")
        return tuple(_decode(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is Literal:
        accepted = value in arguments
    elif origin in (Union, types.UnionType):
        accepted = isinstance(value, arguments)
    else:
        accepted = isinstance(value, (int, float) if hint is float else hint) and isinstance(value, bool) == (
            hint is bool
        )
    if not accepted:
        raise ValueError(
            f"{where} is {value!r}; it must be {getattr(hint, '__name__', None) if origin is None else hint}"
        )
    return value


@cache
def _fields(hint: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the types of a dataclass's fields, and the names of those that have no default."""
    needed = frozenset(f.name for f in dataclasses.fields(hint) if f.default is dataclasses.MISSING)
    return get_type_hints(hint), needed


@lru_cache(maxsize=256)
def _inputs(text: str, where: str) -> tuple[Input, ...]:
    """Decode a version's inputs; the versions of a plan mostly have the same."""
    found: tuple[Input, ...] = _decode(tuple[Input, ...], json.loads(text), where)
    return found


def _decode_dataclass(hint: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}; it must be an object")
    hints, needed = _fields(hint)
    missing, unknown = sorted(needed - value.keys()), sorted(value.keys() - hints.keys())
    if missing or unknown:
        raise ValueError(f"{where} lacks {missing} and has unknown {unknown}")
    return hint(
        **{name: _decode(kind, value[name], f"{where}.{name}") for name, kind in hints.items() if name in value}
    )
