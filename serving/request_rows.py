"""Rows as a caller has them into the tensors of a request, by the fields that the model says it takes.

Client side; what the router makes of the tensors is in `feeds`.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from tritonclient.grpc.model_config_pb2 import DataType

from serving.plan import KIND

_TYPES = {"TYPE_STRING": "BYTES", "TYPE_FP64": "FP64"}
_TAKES = {
    "int": "a whole number",
    "numeric": "a number",
    "time": "an instant with its zone such as 2013-10-03T17:15:00-04:00",
    "local_time": "what the clock at the place shows, without a zone, such as 2013-10-03T17:15:00",
}


class RequestField(NamedTuple):
    """What a field of a request takes: its Triton type, BYTES or FP64, and what it means (`serving.plan.FieldKind`).

    A deployment of before kinds were kept says "" of it: then a time is taken as it is written.
    """

    dtype: str
    kind: str = ""

    @property
    def takes(self) -> str:
        """Say it for people."""
        return "text" if self.dtype == "BYTES" else _TAKES.get(self.kind, "a number or a time")


def fields_of(config: Any) -> dict[str, RequestField]:
    """Return the fields, in order, that a model's configuration (Triton's ModelConfig) tells."""

    def kind(name: str) -> str:
        return config.parameters[KIND + name].string_value if KIND + name in config.parameters else ""

    return {
        field.name: RequestField(_TYPES[DataType.Name(field.data_type)], kind(field.name)) for field in config.input
    }


def columns_of(
    model: str, fields: Mapping[str, RequestField], rows: Sequence[Mapping[str, Any]]
) -> dict[str, np.ndarray]:
    """Return a tensor [N, 1] a field. Raises ValueError naming the row, or the field and what it takes."""
    for index, row in enumerate(rows):
        missing, unknown = sorted(fields.keys() - row.keys()), sorted(row.keys() - fields.keys())
        if missing or unknown:
            wrong = [f"{what} {names}" for what, names in (("lacks", missing), ("has unknown", unknown)) if names]
            raise ValueError(f"row {index} for model {model!r} {' and '.join(wrong)}; it takes {_listed(fields)}")
    return {name: _column(name, field, [row[name] for row in rows]) for name, field in fields.items()}


def _column(name: str, field: RequestField, values: Sequence[Any]) -> np.ndarray:
    if field.dtype == "BYTES":
        return np.array([[_text(name, value)] for value in values], dtype=object)
    return np.array([[_number(name, field, value)] for value in values], dtype=np.float64)


def _text(name: str, value: Any) -> bytes:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"field {name!r} is {value!r}; it takes text")
    return (value or "").encode()


def _number(name: str, field: RequestField, value: Any) -> float:
    if value is None or value == "":
        return math.nan
    try:
        if not isinstance(value, datetime):
            return float(value)
    except (TypeError, ValueError):
        pass
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or not _fits(field.kind, moment):
        raise ValueError(f"field {name!r} is {_shown(value)}; it takes {field.takes}")
    return _seconds(moment)


def _fits(kind: str, moment: datetime) -> bool:
    """Whether a time can be what a field means: an instant has a zone, a clock on the wall shows none."""
    return not kind or kind == ("local_time" if moment.tzinfo is None else "time")


def _shown(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def _seconds(moment: datetime) -> float:
    """Return seconds since 1970-01-01T00:00, in UTC with a zone, on the moment's own wall clock without."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _listed(fields: Mapping[str, RequestField]) -> str:
    return ", ".join(f"{name} ({field.takes})" for name, field in fields.items())
