"""The training command on a home made for tests."""

import sys
from pathlib import Path

TABLE = "flight_delay/training_set"


def arguments(home: Path, version: int = 0, **flags: str | None) -> list[str]:
    """Return what comes after `python -m`; flags replace or join the usual ones, None leaves one out."""
    given = {
        "model": "flight_delay",
        "training-set": str(home / "lake" / TABLE),
        "version": str(version),
        "tracking-uri": f"sqlite:///{home}/mlflow/mlflow.db",
        "artifacts": str(home / "artifacts"),
        "out": str(home / "out"),
        **{name.replace("_", "-"): value for name, value in flags.items()},
    }
    return ["ml.train", *(word for name, value in given.items() if value is not None for word in (f"--{name}", value))]


def command(home: Path, version: int = 0, **flags: str | None) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", *arguments(home, version, **flags)]
