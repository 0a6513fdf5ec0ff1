"""How Spark runs here unless the cluster's settings say otherwise. Imports no pyspark: it is installed apart."""

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

_NO_PYSPARK = "HEADWATER_OFFLINE_STORE=spark needs pyspark, which is not installed; run make spark"
_NO_JAVA = (
    "HEADWATER_OFFLINE_STORE=spark needs Java 17 or later: apt-get install default-jre-headless (as root), "
    "or set JAVA_HOME"
)


def spark_settings(home: Path, overlay: Mapping[str, str]) -> dict[str, str]:
    """Return Spark's settings for local mode, all files under `home`, with `overlay` (a cluster's) on top.

    Raises LookupError with the remedy if pyspark or Java is missing.
    """
    _require_spark()
    cores = os.cpu_count() or 1
    return {
        "spark.master": "local[*]",
        "spark.app.name": "headwater",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "2g",
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
        "spark.local.dir": str(home / "local"),
        "spark.sql.warehouse.dir": str(home / "warehouse"),
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.shuffle.partitions": str(2 * cores),
        # Feast writes instants into its SQL without a zone: they are UTC.
        "spark.sql.session.timeZone": "UTC",
        **overlay,
    }


def _require_spark() -> None:
    if importlib.util.find_spec("pyspark") is None:
        raise LookupError(_NO_PYSPARK)
    home = os.environ.get("JAVA_HOME")
    java = Path(home, "bin", "java") if home else shutil.which("java")
    if java is None or not Path(java).exists():
        raise LookupError(_NO_JAVA)
