"""The monitoring stage: what was answered returns to the lake, each line of the prediction log once."""

import dagster as dg
import polars as pl

from assets.metadata import column_schema, preview
from assets.resources import Platform
from ml import remedies
from ml.spec import ModelSpec


def predictions_asset(spec: ModelSpec) -> dg.AssetsDefinition:
    """Return the predictions of a spec's deployment as a table."""
    table = f"{spec.name}/predictions"

    @dg.asset(
        key=[spec.name, "predictions"],
        deps=[dg.AssetDep([spec.name, "deployment"])],
        kinds={"delta", "triton"},
        owners=[spec.owner],
        code_version="1",
        description=(
            f"Every answer of {spec.name}: prediction id, time, version, keys, request, features with the time "
            "of their rows, probability. Appended from the serving log, each line once."
        ),
    )
    def predictions(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        lines = _appended(platform, spec, table)
        rows = platform.lake.read(table)
        context.log.info(f"{table}: {lines.height} new answers")
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": rows.select(pl.len()).collect().item(),
                "dagster/column_schema": column_schema(lines.schema),
                "dagster/table_name": table,
                "new answers": lines.height,
                "preview": dg.MetadataValue.md(preview(rows.sort("time", descending=True))),
                **_trace(rows),
            }
        )

    return predictions


def _appended(platform: Platform, spec: ModelSpec, table: str) -> pl.DataFrame:
    """Append the lines of the log that the table does not have yet, and return them."""
    from serving.log_reader import log_schema, read_new
    from serving.model_repository import ModelRepository

    plans = ModelRepository(platform.settings.serving_home).history(spec.name)
    if not plans:
        raise dg.Failure(f"{spec.name} is not deployed; materialize {spec.name}/deployment first")
    commits = platform.lake.history(table)
    cursor = commits[0]["metadata"]["cursor"] if commits else None
    # Of all plans, not only the one that serves: what ended since may have read other features.
    wanted = {name: kind for plan in plans for name, kind in log_schema(plan).items()}
    lines, cursor = read_new(platform.settings.serving_home / "predictions" / spec.name, wanted, cursor)
    if lines.height or not commits:
        platform.lake.append(table, lines, {"cursor": cursor})
    return lines


def _trace(rows: pl.LazyFrame) -> dict[str, dg.MetadataValue]:
    """Return how to see what the newest answer stands on; nothing where there is none."""
    newest = rows.sort("time").select("prediction_id").last().collect()
    if newest.is_empty():
        return {}
    how = remedies.here(f"make trace ID={newest.item()}")
    return {"trace": dg.MetadataValue.md(f"What the newest answer stands on: `{how}`")}
