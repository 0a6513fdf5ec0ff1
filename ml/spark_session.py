"""How Spark runs here unless the cluster's settings say otherwise. Imports no pyspark: it is installed apart."""

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from ml import remedies

_NO_PYSPARK = "needs pyspark, which is not installed; "
_NO_JAVA = "needs Java 17 or later: apt-get install default-jre-headless (as root), or set JAVA_HOME"


_EVERYWHERE = {
    "spark.app.name": "headwater",
    # Feast writes instants into its SQL without a zone: they are UTC.
    "spark.sql.session.timeZone": "UTC",
    # Feast's join multiplies rows after each exchange, so the little that was exchanged must not become one task.
    "spark.sql.adaptive.coalescePartitions.enabled": "false",
}


def spark_settings(
    home: Path, overlay: Mapping[str, str], wanted_by: str = "HEADWATER_OFFLINE_STORE=spark"
) -> dict[str, str]:
    """Return Spark's settings: local mode with all files under `home`, or what `overlay` says, which wins.

    With another `spark.master` than local mode's in `overlay`, nothing of local mode is set. `wanted_by` is the setting
    that asks for Spark. Raises LookupError with it and the remedy if pyspark or Java is missing.
    """
    _require_spark(wanted_by)
    local = overlay.get("spark.master", "local").startswith("local")
    return {**_EVERYWHERE, **(_local(home) if local else {}), **overlay}


def _local(home: Path) -> dict[str, str]:
    cores = os.cpu_count() or 1
    return {
        "spark.master": "local[*]",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "2g",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.local.dir": str(home / "local"),
        "spark.sql.warehouse.dir": str(home / "warehouse"),
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.shuffle.partitions": str(2 * cores),
    }


def _require_spark(wanted_by: str) -> None:
    if importlib.util.find_spec("pyspark") is None:
        raise LookupError(f"{wanted_by} {_NO_PYSPARK}{remedies.install('make spark')}")
    home = os.environ.get("JAVA_HOME")
    java = Path(home, "bin", "java") if home else shutil.which("java")
    if java is None or not Path(java).exists():
        raise LookupError(f"{wanted_by} {_NO_JAVA}")
