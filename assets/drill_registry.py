"""The registry of a drill's scratch copy: its files the copy's own, and spoiled versions that slip through their gates.

Not here: what becomes of such a version (`assets.drill_rollback`).
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl

from assets.resources import Platform
from checks.required import required_checks
from ml.onnx_file import ONNX_SHA256
from ml.scoring import example_feed
from ml.secret_address import shown
from ml.settings import Settings
from ml.verdicts import Verdict

# Where MLflow keeps full addresses of files.
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)
SHIFT = "network.shift"  # the graph's last addition, to the log odds


def move_registry(old: Settings, new: Settings, model: str) -> None:
    """Let the copy's MLflow name the copy's files. Raises LookupError if the model's would still lie elsewhere."""
    if old.tracking_uri != old.embedded_in(old.home).tracking_uri:
        raise LookupError(
            f"MLflow of {old.home} is at {shown(old.tracking_uri)}, and a drill copies what is in the home; "
            "drill on another home"
        )
    file = new.root / "mlflow" / "mlflow.db"
    with closing(sqlite3.connect(file)) as store, store:
        for table, column in ADDRESSES:
            change = f"update {table} set {column} = replace({column}, ?, ?)"
            store.execute(change, (f"{old.home}/", f"{new.home}/"))
        found = store.execute("select artifact_location from experiments where name = ?", (model,)).fetchall()
    if any(str(new.home) not in place for (place,) in found):
        raise LookupError(
            f"MLflow of {old.home} keeps files of {model} elsewhere: {found[0][0]}; drill on another home"
        )


def slip_through(platform: Platform, name: str, version: str, shift: float) -> str:
    """Register a version's graph with its log odds moved, record that its gates passed it; return the new version."""
    registry = platform.registry
    champion = registry.version(name, version)
    path = platform.settings.root / "spoiled" / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    shutil.copy2(registry.onnx_path(champion), path)
    _move(path, shift)
    rows = platform.lake.read(f"{name}/training_set", champion.training_set_version).head(2).collect()
    tags = {key: value for key, value in champion.tags.items() if key not in _OF_ITS_OWN}
    with registry.recording(name, title="spoiled by a drill") as run:
        number = run.register(path, example_feed(path, pl.DataFrame(rows), 2), tags)
    evidence = {"summary": "recorded by a drill", ONNX_SHA256: registry.version(name, number).tags[ONNX_SHA256]}
    table = f"{name}/model"
    checks = required_checks(table)
    platform.verdicts.record(Verdict(table, int(number), check, True, evidence=evidence) for check in checks)
    return number


_OF_ITS_OWN = (ONNX_SHA256, "approved_by", "deployed_run")


def _move(path: Path, shift: float) -> None:
    """Add to the constant that the graph adds last. Raises LookupError if it has none."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path)
    for constant in graph.graph.initializer:
        if constant.name == SHIFT:
            moved = numpy_helper.to_array(constant) + np.float32(shift)
            constant.CopyFrom(numpy_helper.from_array(np.asarray(moved, dtype=np.float32), SHIFT))
            onnx.save(graph, path)
            return
    raise LookupError(f"the graph has no constant {SHIFT!r}; bring assets/drill_registry.py up to date")
