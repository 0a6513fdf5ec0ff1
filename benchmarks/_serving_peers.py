"""What one would pick instead of a router: MLflow's own server, and FastAPI with onnxruntime and Feast's SDK.

Both serve the graph that is deployed, over HTTP, one process with one worker each. MLflow's server knows no online
features: it is sent them. The FastAPI service reads them through Feast's SDK, from the online rows that the router
reads (Feast's own stores are slower: `online_read`), and logs nothing.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._serving_world import Tensors, World
from serving.triton_files import free_ports

PATIENCE_SECONDS = 90.0
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Peer:
    """A server over HTTP: what it is called, where it answers, a request's body, and the answers [N] in a response."""

    name: str
    url: str
    tensors: Tensors
    body: Callable[[Tensors], bytes]
    answers: Callable[[Any], NDArray[np.float32]]

    def ask(self, tensors: Tensors) -> NDArray[np.float32]:
        """Return the answers to one request. Raises OSError."""
        request = urllib.request.Request(self.url, self.body(tensors), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            return self.answers(json.load(response))


@contextmanager
def mlflow_server(world: World, folder: Path) -> Iterator[Peer]:
    """Start `mlflow models serve` on the deployed graph."""
    import mlflow
    import onnx

    model = folder / "mlflow"
    mlflow.onnx.save_model(onnx.load(world.plan.champion.onnx), model, save_as_external_data=False)
    (port,) = free_ports(1)
    words = ["-m", "mlflow", "models", "serve", "-m", str(model), "--env-manager", "local", "-p", str(port), "-w", "1"]
    with _started([sys.executable, *words], folder / "mlflow.log"):
        url = f"http://127.0.0.1:{port}/invocations"
        peer = Peer("MLflow's server", url, world.bare, _named_tensors, lambda told: _flat(told["predictions"], world))
        yield _ready(peer, folder / "mlflow.log")


@contextmanager
def fastapi_service(world: World, folder: Path) -> Iterator[Peer]:
    """Start the FastAPI service on the deployed graph and the world's online store."""
    (port,) = free_ports(1)
    told = {"home": str(world.platform.settings.home), "plan": world.plan.to_json(), "port": port}
    with _started([sys.executable, "-m", "benchmarks._serving_fastapi", json.dumps(told)], folder / "fastapi.log"):
        url = f"http://127.0.0.1:{port}/predict"
        peer = Peer("FastAPI, Feast's SDK", url, world.router, _columns, lambda told: _flat(told["value"], world))
        yield _ready(peer, folder / "fastapi.log")


@contextmanager
def _started(words: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(words, cwd=ROOT, stdout=out, stderr=out, start_new_session=True, env=_environment())
    try:
        yield
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # MLflow starts uvicorn by its name
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "true"}


def _ready(peer: Peer, log: Path) -> Peer:
    """Wait until it answers. Raises LookupError with its last words if it does not."""
    one = {name: column[:1] for name, column in peer.tensors.items()}
    until, problem = time.monotonic() + PATIENCE_SECONDS, ""
    while time.monotonic() < until:
        try:
            peer.ask(one)
            return peer
        except urllib.error.HTTPError as error:
            problem = error.read().decode(errors="replace")[-500:]
        except OSError as error:
            problem = str(error)
        time.sleep(0.5)
    raise LookupError(f"{peer.name} does not answer: {problem}; {log.read_text(errors='replace')[-800:]}")


def _plain(tensors: Tensors) -> dict[str, list[Any]]:
    return {name: [_value(value) for value in column[:, 0].tolist()] for name, column in tensors.items()}


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return None if value != value else value


def _named_tensors(tensors: Tensors) -> bytes:
    """The one of MLflow's forms in which a graph's inputs keep their shape [N, 1]; Python's JSON has NaN."""
    inputs = {
        name: [[value.decode() if isinstance(value, bytes) else value] for value in column[:, 0].tolist()]
        for name, column in tensors.items()
    }
    return json.dumps({"inputs": inputs}).encode()


def _columns(tensors: Tensors) -> bytes:
    return json.dumps(_plain(tensors)).encode()


def _flat(told: Any, world: World) -> NDArray[np.float32]:
    values = told[world.plan.output] if isinstance(told, Mapping) else told
    if values and isinstance(values[0], Mapping):
        values = [next(iter(row.values())) for row in values]
    return np.asarray(values, dtype=np.float32).reshape(-1)
