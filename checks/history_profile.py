"""A partition's profile: its schema and statistics as JSON, small enough to keep for ever."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from checks.history_columns import Statistic, Statistics, texts, values, volume
from checks.history_exact import Exceptions
from checks.history_relations import Matrix, by_category, by_day, correlations, means, neighbours
from checks.history_views import Table, Views

EXACT = ("dependency", "order", "sum")


@dataclass(frozen=True)
class Profile:
    partition: str
    rows: int
    schema: Mapping[str, str]
    statistics: Statistics

    def to_json(self) -> str:
        compact = {
            rule: {s: [float(f"{x:.6g}") for x in (v.value, v.error, v.unit)] for s, v in found.items()}
            for rule, found in self.statistics.items()
        }
        return json.dumps({"partition": self.partition, "rows": self.rows, "schema": dict(self.schema), "statistics": compact})

    @staticmethod
    def from_json(text: str) -> "Profile":
        told = json.loads(text)
        s = {rule: {n: Statistic(*v) for n, v in found.items()} for rule, found in told["statistics"].items()}
        return Profile(told["partition"], told["rows"], told["schema"], s)


def build(views: Views, wanted: Iterable[str] = ()) -> Profile:
    matrix = Matrix(views)
    exact = Exceptions(views).found(wanted)
    statistics: Statistics = {
        **volume(views), **values(views), **texts(views),
        **means(views),
        "correlation": correlations(matrix),
        **neighbours(matrix),
        "by category": by_category(matrix),
        "by day": by_day(matrix),
        "dependency": exact.dependencies, "order": exact.orders, "sum": exact.sums,
        "constant of a sum": exact.constants,
    }
    return Profile(views.partition, views.height, {n: str(t) for n, t in views.frame.schema.items()}, statistics)
