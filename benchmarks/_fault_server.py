"""A real webserver and daemon on a world's home, asked over HTTP as the UI asks them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg

from assets.runs import FOR_PEOPLE
from benchmarks._fault_location import ARRIVED
from benchmarks._fault_world import World

LOCATION = "benchmarks._fault_location"
PATIENCE_S = 600.0
POLL_S = 0.5
OVER = {"SUCCESS", "FAILURE", "CANCELED"}
BACKFILL_OVER = {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}

_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
  __typename ... on PythonError { message } } } } } }"""
_LAUNCH = """
mutation ($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on InvalidSubsetError { message } ... on RunConfigValidationInvalid { errors { message } } } }"""
_BACKFILL = """
mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_STATUS = "query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"


class Server:
    """Webserver and daemon of one world. `start` waits until the lineage is loaded; `stop` ends all they started."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._port = _free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start both. Raises LookupError naming the log if the lineage is not loaded in time."""
        tools = Path(sys.executable).parent
        web = [str(tools / "dagster-webserver"), "-h", "127.0.0.1", "-p", str(self._port), "-m", LOCATION]
        daemon = [sys.executable, "-m", "benchmarks._fault_daemon", "run", "-m", LOCATION]
        self._processes = [self._spawn(command) for command in (web, daemon)]
        _wait(self._loaded, f"the lineage; see {self._log}")

    def stop(self) -> None:
        """Interrupt both and what they started; kill what does not end."""
        for number in (signal.SIGINT, signal.SIGKILL):
            for process in self._processes:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            for process in self._processes:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(15)
        self._processes = []

    def launch(self, keys: Sequence[dg.AssetKey], month: str) -> None:
        """Launch one run of `keys` for a month and wait for its end. Raises LookupError if it is not taken."""
        selector = {
            "repositoryLocationName": LOCATION,
            "repositoryName": "__repository__",
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": k.path} for k in keys],
        }
        tags = [{"key": "dagster/partition", "value": month}]
        params = {
            "selector": selector,
            "mode": "default",
            "runConfigData": FOR_PEOPLE,
            "executionMetadata": {"tags": tags},
        }
        taken = self._ask(_LAUNCH, params=params)["launchPipelineExecution"]
        if taken["__typename"] != "LaunchRunSuccess":
            raise LookupError(f"the webserver did not take the run: {taken}")
        run = taken["run"]["runId"]
        _wait(lambda: self._status(run) in OVER, f"run {run}")

    def backfill(self, keys: Sequence[dg.AssetKey], month: str) -> None:
        """Launch a backfill of `keys` for a month and wait for its end. Raises LookupError if it is not taken."""
        only = {"ranges": [{"start": month, "end": month}]}
        graph = self._world.definitions().resolve_asset_graph()
        by_asset = [
            {"assetKey": {"path": k.path}, "partitions": only if graph.get(k).partitions_def else None} for k in keys
        ]
        params = {"partitionsByAssets": by_asset}
        taken = self._ask(_BACKFILL, params=params)["launchPartitionBackfill"]
        if taken["__typename"] != "LaunchBackfillSuccess":
            raise LookupError(f"the webserver did not take the backfill: {taken}")
        wanted = taken["backfillId"]

        def over() -> bool:
            return self._ask(_STATUS, id=wanted)["partitionBackfillOrError"].get("status") in BACKFILL_OVER

        _wait(over, f"backfill {wanted}")

    def arrive(self, keys: Sequence[dg.AssetKey], month: str) -> None:
        """Tell of a delivery as its sender would, by a file, and wait for the run that the sensor asks for."""
        before = self._runs()
        note = self._world.home / ARRIVED
        note.write_text(json.dumps({"month": month, "assets": [k.path for k in keys], "at": time.time_ns()}))
        try:
            _wait(lambda: bool(self._runs() - before), "the sensor's run")
            _wait(lambda: all(self._status(run) in OVER for run in self._runs() - before), "the sensor's run")
        finally:
            note.unlink(missing_ok=True)

    def _spawn(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command, cwd=self._world.tree, env=self._world.env, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def _log(self) -> Path:
        return self._world.root / "server.log"

    def _loaded(self) -> bool:
        for process in self._processes:
            if process.poll() is not None:
                raise LookupError(f"{process.args!s} ended; see {self._log}")
        try:
            entries = self._ask(_LOCATIONS)["workspaceOrError"]["locationEntries"]
        except OSError:  # it does not listen yet
            return False
        found = [entry["locationOrLoadError"] or {} for entry in entries]
        for location in found:
            if location.get("__typename") == "PythonError":
                raise LookupError(f"the lineage cannot be loaded: {location['message'][:500]}; see {self._log}")
        return bool(found) and all(location.get("__typename") == "RepositoryLocation" for location in found)

    def _ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        address = f"http://127.0.0.1:{self._port}/graphql"
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        if "errors" in found:
            raise LookupError(f"the webserver answered {found['errors']}")
        return found["data"]

    def _status(self, run: str) -> str:
        with self._world.instance() as instance:
            found = instance.get_run_by_id(run)
            return found.status.value if found else ""

    def _runs(self) -> set[str]:
        with self._world.instance() as instance:
            return {record.dagster_run.run_id for record in instance.get_run_records()}


@contextmanager
def serving(world: World) -> Iterator[Server]:
    """A server on a world, stopped at the end."""
    server = Server(world)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _wait(done: Any, what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > until:
            raise LookupError(f"waited {PATIENCE_S:.0f} s in vain for {what}")
        time.sleep(POLL_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
