"""What drills share: a scratch copy of the demo's state, with a Triton of its own, and how a story is told.

Nothing of the user's is written to: not the lake, the stores or the records, nor the Triton that may be running.
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from assets.resources import Platform
from ml.lake import Lake
from ml.online_publish import rebuild
from ml.online_rows import open_online_rows
from ml.settings import Settings
from serving.client import HeadwaterClient
from serving.server import Server

FOLDER = "drills"  # in the home: the same disk, so that files nobody changes need no second copy
LEFT_OUT = shutil.ignore_patterns(
    FOLDER, "server", "predictions", "logs", "reports", "training", "benchmarks", ".locks", "online.db*"
)
PORTS = ("triton_http_port", "triton_grpc_port", "triton_metrics_port")
WIDTH = 110


@dataclass(frozen=True)
class Scratch:
    """A copy of a home: its settings, and what a client is answered there."""

    settings: Settings

    @property
    def platform(self) -> Platform:
        """The parts of the copy."""
        return Platform(self.settings)

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Open the copy's Dagster records."""
        with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(self.settings.dagster_home))) as instance:
            yield instance

    def ask(self, model: str, rows: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
        """Return what the copy's Triton answers: probability, version, what was known of each view."""
        client = HeadwaterClient(f"127.0.0.1:{self.settings.triton_grpc_port}", timeout=10)
        try:
            wanted = client.fields(model)
            answers = client.predict(model, [{name: row[name] for name in wanted} for row in rows])
        finally:
            client.close()
        return [(a.probability, a.model_version, sorted(a.feature_status.items())) for a in answers]


@contextmanager
def scratch_copy(settings: Settings) -> Iterator[Scratch]:
    """Copy the demo's state, start a Triton on the copy, and take both away at the end.

    Raises LookupError if there is nothing to copy, or if it cannot be served.
    """
    if not (settings.lake / "published").exists() or not (settings.serving_home / "models").exists():
        raise LookupError(f"{settings.home} holds nothing that is published and served; run make demo first")
    (settings.home / FOLDER).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.home / FOLDER) as folder:
        home = Path(folder) / "home"
        shutil.copytree(settings.home, home, ignore=LEFT_OUT, copy_function=_share_or_copy)
        ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        copy = settings.model_copy(update={"home": home, "online_store": str(home / "online.db"), **ports})
        _move_plans(settings, copy)
        platform = Platform(copy)
        online = open_online_rows(copy.online_store)
        rebuild(platform.feature_views, platform.publications, online, platform.clock.now())
        server = Server(copy)
        try:
            for model, reason in server.start().failing.items():
                raise LookupError(f"{model} cannot be served from the copy: {reason}")
            yield Scratch(copy)
        finally:
            server.stop()


@dataclass
class Story:
    """What a drill tells, step by step, and the promises that were not kept."""

    broken: list[str] = field(default_factory=list)
    steps: int = 0

    def step(self, text: str) -> None:
        """Begin a step."""
        self.steps += 1
        print(f"\n{self.steps}. {text}", flush=True)

    def tell(self, text: str) -> None:
        """Tell something that happened, shortened to a few lines."""
        shown = " ".join(text.split())
        print(f"   {shown if len(shown) <= 4 * WIDTH else shown[: 4 * WIDTH] + ' ...'}", flush=True)

    def promise(self, text: str, kept: bool) -> None:
        """Tell whether a promise was kept."""
        print(f"   {'as promised' if kept else 'BROKEN'}: {text}", flush=True)
        if not kept:
            self.broken.append(text)

    def end(self) -> int:
        """Tell the end; return the exit code."""
        print(f"\n{'Every promise was kept.' if not self.broken else 'Broken: ' + '; '.join(self.broken)}", flush=True)
        return 1 if self.broken else 0


def published_rows(platform: Platform) -> dict[str, Any]:
    """Return all that readers see: a hash of each published table's rows, and of the online store."""
    import sqlite3

    from ml.fingerprint import content_hash, json_hash

    lake: Lake = platform.lake
    seen: dict[str, Any] = {}
    for table in lake.tables():
        stage, _, name = table.partition("/")
        if stage == "published":
            rows = platform.publications.read(name).collect()
            seen[name] = content_hash(rows.sort(rows.columns))
    with sqlite3.connect(platform.settings.online_store) as store:
        seen["online store"] = json_hash(list(store.iterdump()))
    return seen


def _share_or_copy(source: str, target: str) -> None:
    os.link(source, target) if source.endswith(".parquet") else shutil.copy2(source, target)


def _move_plans(old: Settings, new: Settings) -> None:
    """Deployed plans name files and stores by their full address: let those of the copy name the copy's."""
    for plan in new.serving_home.rglob("*.json"):
        moved = plan.read_text().replace(old.online_store, new.online_store)
        plan.write_text(moved.replace(str(old.home), str(new.home)))


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
