"""What trainings in pods read, written from a pod into the home that they share: `python -m tests.k8s.prepare HOME`."""

import sys
from pathlib import Path

import polars as pl

from ml.lake import Lake
from ml.models.flight_delay import FLIGHT_DELAY
from tests.k8s.world import TABLE
from tests.ml.synthetic import training_rows


def main(home: Path) -> None:
    """Write the training set in three versions: a small one, one that cannot be learned from, a larger one."""
    rows, lake = training_rows(FLIGHT_DELAY, count=3000), Lake(home / "lake")
    label = FLIGHT_DELAY.outcome.label
    for version in (rows, rows.with_columns(pl.lit(0, dtype=pl.Int64).alias(label)), pl.concat([rows] * 30)):
        lake.replace(TABLE, version, None, {})
    (home / "mlflow").mkdir(exist_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
