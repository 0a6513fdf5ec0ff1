"""Rows as a caller has them into the tensors of a request, by the fields that the model says it takes.

Client side; what the router makes of the tensors is in `feeds`.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np


def columns_of(model: str, fields: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return a tensor [N, 1] a field. Raises ValueError naming the row, or the field and what it takes."""
    for index, row in enumerate(rows):
        missing, unknown = sorted(fields.keys() - row.keys()), sorted(row.keys() - fields.keys())
        if missing or unknown:
            wrong = [f"{what} {names}" for what, names in (("lacks", missing), ("has unknown", unknown)) if names]
            raise ValueError(f"row {index} for model {model!r} {' and '.join(wrong)}; it takes {_listed(fields)}")
    return {name: _column(name, dtype, [row[name] for row in rows]) for name, dtype in fields.items()}


def _column(name: str, dtype: str, values: Sequence[Any]) -> np.ndarray:
    if dtype == "BYTES":
        return np.array([[_text(name, value)] for value in values], dtype=object)
    return np.array([[_number(name, value)] for value in values], dtype=np.float64)


def _text(name: str, value: Any) -> bytes:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"field {name!r} is {value!r}; it takes text")
    return (value or "").encode()


def _number(name: str, value: Any) -> float:
    if value is None or value == "":
        return math.nan
    try:
        return _seconds(value) if isinstance(value, datetime) else float(value)
    except (TypeError, ValueError):
        pass
    try:
        return _seconds(datetime.fromisoformat(value))
    except (TypeError, ValueError):
        raise ValueError(
            f"field {name!r} is {value!r}; it takes a number or a time such as 2013-10-03T17:15:00-04:00"
        ) from None


def _seconds(instant: datetime) -> float:
    """Return seconds since 1970-01-01T00:00, in UTC with a zone, on the instant's own wall clock without."""
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


def _listed(fields: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({'text' if dtype == 'BYTES' else 'number or time'})" for name, dtype in fields.items())
