"""What proves that a demo kept its state in real servers: rows and keys counted there, and the same answers.

Each count is asked of the server itself, past our own code. The answers are compared with those of the embedded demo.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from assets.resources import Platform
from assets.services import Services
from assets.stages import say
from ml.models import model_named
from ml.onnx_file import ONNX_SHA256
from ml.scoring import score
from ml.settings import Settings

SPEC = model_named("flight_delay")
DAGSTER = ("runs", "event_logs", "asset_keys", "asset_check_executions")
MLFLOW = ("runs", "metrics", "params", "registered_models", "model_versions")
_ONLINE = "headwater:online:"


class NotProven(Exception):
    """The demo ran, but not as it was to."""


def prove(settings: Settings, services: Services, embedded: Settings) -> None:
    """Print what is where, and how answers compare. Raises NotProven if a server holds nothing or answers differ."""
    print("\nWhat the servers hold")
    _counted("Dagster, rows", _rows(settings.dagster_db, DAGSTER))
    _counted("MLflow, rows", _rows(settings.tracking_uri, MLFLOW))
    _counted("Redis, rows of", _hashes(services))
    _counted("S3, of the lake", _objects(services, settings.lake))
    _no_files(settings)
    platform = Platform(settings)
    versions = platform.registry.versions(SPEC.name)
    told = ", ".join(f"{v.version} ({', '.join(v.aliases) or 'no alias'})" for v in versions)
    say("  versions", f"{SPEC.name} {told}")
    print("\nThe answers, beside those of make demo")
    say("  compared", str(compare(platform, Platform(embedded))))


@dataclass(frozen=True)
class Comparison:
    """Answers to the same questions from two homes. Raises nothing: what differs is told."""

    questions: int
    columns: int
    same_graph: bool
    gap: float

    def __str__(self) -> str:
        """Return it as a line."""
        graph = "the same graph" if self.same_graph else "the other home's graph, as the two homes trained their own"
        return (
            f"{self.questions} questions, {self.columns} features each: all equal; "
            f"probabilities of {graph} differ by at most {self.gap:.1e}"
        )


def compare(ours: Platform, other: Platform) -> "Comparison | str":
    """Compare the newest answers to the same questions. A string says why there is nothing to compare.

    Features must be equal to the last bit. Each home trains its own model, and where the graphs differ (training may be
    cut by time) the other home's graph scores what was read here. Raises NotProven at the first column that differs.
    """
    table = f"{SPEC.name}/predictions"
    if "://" in other.settings.lake:
        return f"nothing: the lake of {other.settings.home} is on another object store, whose keys are put aside here"
    if not other.lake.exists(table):
        return f"nothing: {other.settings.home} holds no answers; make demo gives some"
    asked = [field.name for field in SPEC.request]
    pair = [_newest(platform, table, asked) for platform in (ours, other)]
    both = pair[0].join(pair[1], on=asked, suffix="@other", nulls_equal=True).sort(asked)
    if not both.height:
        return f"nothing: {other.settings.home} was asked other questions"
    features = [name for name in pair[0].columns if "__" in name and name in pair[1].columns]
    for name in features:
        differ = both.filter(pl.col(name).ne_missing(pl.col(f"{name}@other")))
        if differ.height:
            raise NotProven(
                f"{differ.height} of {both.height} answers read another {name} than {other.settings.home}'s"
            )
    return _scored(ours, other, both, len(features))


def _scored(ours: Platform, other: Platform, both: pl.DataFrame, features: int) -> Comparison:
    champions = [platform.registry.champion(SPEC.name) for platform in (ours, other)]
    same = len({champion.tags.get(ONNX_SHA256) for champion in champions if champion is not None}) == 1
    answers = both["probability"]
    if not same:
        assert champions[1] is not None  # its home has answered
        answers = pl.Series(score(other.registry.onnx_path(champions[1]), both))
    gap = float((answers - both["probability@other"]).abs().max())  # type: ignore[arg-type]
    if not gap < 1e-5:
        raise NotProven(f"answers differ by {gap:.1e} from {other.settings.home}'s on the same features")
    return Comparison(both.height, features, same, gap)


def _newest(platform: Platform, table: str, asked: list[str]) -> pl.DataFrame:
    rows = platform.lake.read(table).filter(pl.col("answered")).collect()
    return rows.sort("time").unique(asked, keep="last", maintain_order=True)


def _counted(what: str, found: Mapping[str, int]) -> None:
    say(f"  {what}", ", ".join(f"{name} {count:,}" for name, count in found.items()))
    for name, count in found.items():
        if not count:
            raise NotProven(f"{what}: {name} holds nothing")


def _rows(address: str, tables: tuple[str, ...]) -> dict[str, int]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    with create_engine(address, poolclass=NullPool).connect() as database:
        return {name: int(database.execute(text(f"select count(*) from {name}")).scalar_one()) for name in tables}


def _hashes(services: Services) -> dict[str, int]:
    client = services.redis.client
    names = sorted(name.decode() for name in client.scan_iter(f"{_ONLINE}*"))
    if not names:
        raise NotProven("Redis holds no online rows")
    return {name.removeprefix(_ONLINE): int(client.hlen(name)) for name in names}


def _objects(services: Services, lake: str) -> dict[str, int]:
    """Count tables' commits and data files in the bucket."""
    prefix = lake.removeprefix(f"s3://{services.s3.bucket}/") + "/"
    pages = services.s3.client.get_paginator("list_objects_v2").paginate(Bucket=services.s3.bucket, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    commits = [key.partition("/_delta_log/")[0] for key in keys if re.search(r"/_delta_log/\d{20}\.json$", key)]
    files = sum(key.endswith(".parquet") and "/_delta_log/" not in key for key in keys)
    return {"tables": len(set(commits)), "commits": len(commits), "data files": files}


def _no_files(settings: Settings) -> None:
    """Refuse a store that is in a file all the same."""
    embedded = settings.embedded_in(settings.home)
    files = [Path(embedded.online_store), Path(embedded.tracking_uri.removeprefix("sqlite:///"))]
    files += settings.dagster_home.rglob("*.db")
    files += (settings.home / "lake").rglob("*.parquet")
    found = [str(file) for file in files if file.exists()]
    if found:
        raise NotProven(f"state is in files: {', '.join(found)}")
    say("  in files", "no database of Dagster, MLflow or online rows, no table")
