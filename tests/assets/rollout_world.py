"""A home in which versions of the example model are registered and brought into service on a real Triton."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl

from assets.resources import Platform
from assets.rollout import Step, take
from ml.scoring import example_feed
from ml.serving_settings import CanaryBounds
from ml.verdicts import Verdict
from serving.client import HeadwaterClient
from serving.model_repository import ModelRepository
from serving.triton_files import free_ports
from tests.serving.example import RAW, ROW, SPEC, VIEWS, settings_at, write_graph, write_world

BOUNDS = CanaryBounds(min_rows=100, max_error_rate=0.05, max_latency_ratio=4.0, alpha=0.1)
EXAMPLE = SPEC.model_copy(update={"canary": BOUNDS})


@dataclass
class World:
    """A Triton, a registry and a lake; `register` gives the example model one more version."""

    platform: Platform
    instance: dg.DagsterInstance
    graphs: dict[str, Path] = field(default_factory=dict)

    def register(self, bias: float, scale: float = 1.0, passes: bool = True, spoil=lambda path: None) -> str:
        path = self.platform.settings.root / "trained" / f"{len(self.graphs)}.onnx"
        write_graph(path, bias, scale=scale)
        spoil(path)
        with self.platform.registry.recording(EXAMPLE.name) as run:
            version = run.register(path, example_feed(path, pl.DataFrame([RAW]), 1), {"training_set_version": 0})
        self.graphs[version] = path
        if passes:
            tags = self.platform.registry.version(EXAMPLE.name, version).tags
            evidence = {"onnx_sha256": tags["onnx_sha256"]}
            table = f"{EXAMPLE.name}/model"
            checks = ("promotion", "serving_drift")
            self.platform.verdicts.record(Verdict(table, int(version), c, True, evidence=evidence) for c in checks)
        return version

    def take(self, action, version="", share=0.1):
        return take(self.platform, EXAMPLE.name, Step(action, version, share, "tests", "why not"), EXAMPLE)

    def aliases(self):
        return self.platform.registry.aliases(EXAMPLE.name)

    def lineup(self):
        plan = ModelRepository(self.platform.settings.serving_home).deployed(EXAMPLE.name)
        return {arm.version.version: arm.variant for arm in plan.lineup}

    def ask(self, requests: int) -> None:
        client = HeadwaterClient(f"127.0.0.1:{self.platform.settings.triton_grpc_port}", 5.0)
        for number in range(requests):
            client.predict(EXAMPLE.name, [{**ROW, "tailnum": f"N{number}", "distance": number * 37 % 4000}])
        client.close()


def make_home(home: Path) -> Platform:
    """Make a home with online rows, a training set and free ports, and return its parts; nothing is registered."""
    grpc, metrics = free_ports(2)
    write_world(home)
    platform = open_home(home, grpc, metrics)
    platform.settings.clock_file.unlink()  # batches are told apart by their time, and a stopped clock has one
    platform.manifest.parent.mkdir(parents=True)
    platform.manifest.write_text(json.dumps({"nodes": {}, "macros": {}, "metadata": {"dbt_schema_version": "x"}}))
    instants = [datetime(2013, month, 2, tzinfo=UTC) for month in (1, 3)] * 10  # learned from, and held out
    asked = pl.Series(instants, dtype=pl.Datetime("us", "UTC"))
    rows = pl.DataFrame([{**ROW, **RAW, "aircraft__last_delay": 5.0}] * 20).with_columns(asked.alias("prediction_time"))
    platform.lake.replace(f"{EXAMPLE.name}/training_set", rows)
    return platform


def open_home(home: Path, grpc: int, metrics: int) -> Platform:
    """Return the parts of a home that was made."""
    platform = Platform(settings_at(home, triton_grpc_port=grpc, triton_metrics_port=metrics))
    platform.__dict__["feature_views"] = VIEWS
    return platform
