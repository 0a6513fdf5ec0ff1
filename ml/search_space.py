"""Which settings a search may change and between which bounds, as data: one table keyed by field.

Here: the table, and turning a trial's values into a spec. Not here: drawing the values (ml/search_study.py) and
training with them (ml/search_trial.py).
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import TypeAdapter, ValidationError, model_validator
from pydantic.fields import FieldInfo

from ml.frozen import Frozen
from ml.spec import ModelSpec, NetworkSettings, TrainingSettings

_PARTS: dict[str, type[Frozen]] = {"network": NetworkSettings, "training": TrainingSettings}
_REFUSED = {
    "training.seed": "the best of many seeds is luck",
    "training.shift_kept": "the validation loss is the one after full calibration and does not depend on it",
}
_DIGITS = 3  # of a drawn number: the rest is noise, and people are to read it


class Range(Frozen):
    """Numbers from `low` to `high`, both included; `log`: each order of magnitude is as likely as the next."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"range from {self.low} to {self.high} is empty, or logarithmic and not above 0")
        return self

    @property
    def limits(self) -> tuple[Any, ...]:
        """Values that the field must be able to take."""
        return (self.low, self.high)

    def holding(self, value: Any) -> "Range":
        """Return the range, widened to hold `value`; a logarithmic one that must hold 0 becomes a plain one."""
        low, high = min(self.low, value), max(self.high, value)
        return Range(low=low, high=high, log=self.log and low > 0)


class Choice(Frozen):
    """One of a few values."""

    values: tuple[Any, ...]

    @property
    def limits(self) -> tuple[Any, ...]:
        """Values that the field must be able to take."""
        return self.values

    def holding(self, value: Any) -> "Choice":
        """Return the choice, with `value` among its values."""
        return self if value in self.values else Choice(values=(value, *self.values))


class SearchSpace(Frozen):
    """What may change, by field: {"network.dropout": Range(...)}. Raises ValueError that names an unfit field."""

    entries: dict[str, Range | Choice]

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        for path, entry in self.entries.items():
            info = _field(path)
            kind: Any = Annotated[info.annotation, info]
            for value in entry.limits:
                try:
                    TypeAdapter(kind).validate_python(value)
                except ValidationError as error:
                    raise ValueError(f"search space: {path} cannot be {value!r}: {error.errors()[0]['msg']}") from error
        return self

    def around(self, spec: ModelSpec) -> "SearchSpace":
        """Return the space, widened where `spec`'s own values lie outside."""
        return SearchSpace(entries={path: entry.holding(_value(spec, path)) for path, entry in self.entries.items()})

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna draws from, by field."""
        return {path: _distribution(path, entry) for path, entry in self.entries.items()}

    def own(self, spec: ModelSpec) -> dict[str, Any]:
        """Return `spec`'s own values by field, as a trial holds them."""
        return {path: _as_drawn(entry, _value(spec, path)) for path, entry in self.entries.items()}

    def applied(self, drawn: Mapping[str, Any], spec: ModelSpec) -> ModelSpec:
        """Return `spec` with a trial's values; those that are its own stay as they are, to the last digit."""
        changes: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
        for path, entry in self.entries.items():
            part, field = path.split(".")
            changes[part][field] = _as_set(entry, drawn[path], _value(spec, path))
        parts = {
            part: model.model_validate({**dict(getattr(spec, part)), **changes[part]}) for part, model in _PARTS.items()
        }
        return spec.model_copy(update=parts)


def _field(path: str) -> FieldInfo:
    part, _, field = path.partition(".")
    if path in _REFUSED:
        raise ValueError(f"search space: {path} is not searched: {_REFUSED[path]}")
    if part not in _PARTS:
        raise ValueError(f"search space: {path!r} is not of the form part.field; parts are {list(_PARTS)}")
    fields = _PARTS[part].model_fields
    if field not in fields:
        raise ValueError(f"search space: no field {path!r}; {_PARTS[part].__name__} has {list(fields)}")
    return fields[field]


def _value(spec: ModelSpec, path: str) -> Any:
    part, field = path.split(".")
    return getattr(getattr(spec, part), field)


def _distribution(path: str, entry: Range | Choice) -> BaseDistribution:
    if isinstance(entry, Choice):
        return CategoricalDistribution([_as_drawn(entry, value) for value in entry.values])
    if _field(path).annotation is int:
        return IntDistribution(int(entry.low), int(entry.high), log=entry.log)
    return FloatDistribution(entry.low, entry.high, log=entry.log)


def _as_drawn(entry: Range | Choice, value: Any) -> Any:
    """Return a value as Optuna can keep it: tuples as JSON."""
    return json.dumps(value) if isinstance(entry, Choice) and isinstance(value, tuple | list) else value


def _as_set(entry: Range | Choice, drawn: Any, own: Any) -> Any:
    if isinstance(entry, Choice):
        return next(value for value in entry.values if _as_drawn(entry, value) == drawn)
    if drawn == own or isinstance(drawn, int):
        return drawn
    return min(max(float(f"{drawn:.{_DIGITS}g}"), entry.low), entry.high)


SPACE = SearchSpace(
    entries={
        "network.hidden": Choice(values=((128,), (256, 128), (512, 256), (256, 128, 64))),
        "network.dropout": Range(low=0.0, high=0.5),
        "network.embedding_size": Range(low=4, high=64, log=True),
        "network.min_category_count": Range(low=5, high=200, log=True),
        "network.bins": Range(low=4, high=64, log=True),
        "training.learning_rate": Range(low=1e-4, high=1e-2, log=True),
        "training.weight_decay": Range(low=1e-4, high=0.3, log=True),
        "training.batch_size": Choice(values=(256, 512, 1024, 2048, 4096)),
        "training.epochs": Range(low=2, high=12),
    }
)
