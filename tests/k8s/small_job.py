"""A small lineage with our executor, for runs in a cluster: a table is landed, read by another step, and checked."""

import dagster as dg
import polars as pl

from assets.executor import executor_for
from ml.lake import Lake
from ml.settings import Settings

ROWS = 1000
TINY = {
    "container_config": {
        "resources": {
            "requests": {"cpu": "500m", "memory": "1Gi"},
            "limits": {"cpu": "500m", "memory": "1Gi"},
        }
    }
}
TAGS = {"dagster-k8s/config": TINY}


def _lake() -> Lake:
    return Lake(Settings().root / "lake")


@dg.asset(op_tags=TAGS)
def numbers() -> dg.MaterializeResult:
    """A table in the lake."""
    version = _lake().replace("raw/numbers", pl.DataFrame({"number": range(ROWS)}))
    return dg.MaterializeResult(metadata={"version": version})


@dg.asset(deps=[numbers], op_tags=TAGS)
def total() -> dg.MaterializeResult:
    """Their sum, read by another pod."""
    return dg.MaterializeResult(metadata={"total": _lake().read("raw/numbers").collect()["number"].sum()})


@dg.asset_check(asset=numbers, blocking=True, op_tags=TAGS)
def all_there() -> dg.AssetCheckResult:
    """As many rows as were written."""
    return dg.AssetCheckResult(passed=_lake().read("raw/numbers").collect().height == ROWS)


@dg.asset(op_tags=TAGS)
def broken() -> None:
    """A step that fails."""
    raise ValueError("this step fails on purpose")


@dg.asset(op_tags=TAGS)
def endless(context: dg.AssetExecutionContext) -> None:
    """A step that somebody has to cancel."""
    import time

    context.log.info("it waits for ever")
    time.sleep(3600)


defs = dg.Definitions(
    assets=[numbers, total, broken, endless],
    asset_checks=[all_there],
    jobs=[
        dg.define_asset_job("small", selection=["numbers", "total"]),
        dg.define_asset_job("failing", selection=["broken"]),
        dg.define_asset_job("waiting", selection=["endless"]),
    ],
    executor=executor_for(Settings(env="k8s")),
)
