"""A thousand versions of one model, each with weights of its own, open in one process: memory, load time, answer time.

The network is a small one of the model's, a graph of at most 200 KB. One plan names them all; what is measured is the
router's process in a real Triton. Asked are single rows by one asker, each of another version in turn, against a router
with one version, in interleaved rounds. Beside it what one would do with Triton alone: a model a version, of which as
many are loaded as HEADWATER_MANY_PEERS says (default 20), and their memory and time a model. Needs what `make demo`
leaves.
"""

import dataclasses
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import grpc
import numpy as np
import torch
from tritonclient.grpc import service_pb2

from assets.resources import Platform, platform_for
from benchmarks import _serving_bare
from benchmarks._graph_versions import write_version
from benchmarks._serving_world import World, as_triton, in_parts, served
from benchmarks.report import conclude
from ml.export import export
from ml.models import model_named
from ml.settings import Settings
from ml.spec import NetworkSettings
from ml.split import split_rows
from ml.training import fit
from serving.compiled import compile_graph
from serving.control import Control
from serving.credentials import read_control_secret
from serving.plan import Arm, Plan, Version
from serving.plan_change import changing
from serving.probing import probing
from serving.process import recall
from serving.router_states import living
from serving.triton_config import configuration_of

SPEC = model_named("flight_delay")
VERSIONS = int(os.environ.get("HEADWATER_MANY_VERSIONS", "1000"))
PEERS = int(os.environ.get("HEADWATER_MANY_PEERS", "20"))
ROUNDS, ANSWERS = 5, 1000
MEMORY, P99 = 1024.0, 1.5
ROWS = 20_000  # that the small network learns from; how well does not matter here
SMALL = NetworkSettings(hidden=(32, 16), embedding_size=4, bins=6)


def main() -> None:
    """Measure and print. Raises LookupError if no model is deployed."""
    platform = platform_for(Settings())
    with (
        tempfile.TemporaryDirectory() as folder,
        served(platform, SPEC, Path(folder) / "home", ANSWERS, {"one": {}}, _small(platform, Path(folder))) as world,
    ):
        versions = _versions(world, Path(folder) / "graphs")
        size = Path(versions[0].onnx).stat().st_size
        started = time.perf_counter()
        plan = _load_all(world, versions)
        seconds = time.perf_counter() - started
        times = _rounds(world, plan)
        memory = _resident(world, plan)
        _conclude(size, memory, seconds, times, _peers(world, versions))


def _small(platform: Platform, folder: Path) -> Path:
    """Train a small network of the model for a moment, and return its graph."""
    spec = SPEC.model_copy(update={"network": SMALL, "training": SPEC.training.model_copy(update={"epochs": 1})})
    parts = split_rows(spec, platform.lake.read(f"{spec.name}/training_set").collect())
    export(fit(spec, parts.train.sample(ROWS, seed=7), parts.validation, torch.device("cpu")), folder / "small.onnx")
    return folder / "small.onnx"


def _versions(world: World, folder: Path) -> list[Version]:
    champion = world.plan.champion
    print(f"writing {VERSIONS} versions of {SPEC.name}, each with weights of its own", flush=True)
    return [
        dataclasses.replace(
            champion,
            version=str(1000 + number),
            onnx=str(_compiled(write_version(Path(champion.onnx), number, folder / f"{number}" / "model.onnx"))),
        )
        for number in range(VERSIONS)
    ]


def _compiled(graph: Path) -> Path:
    compile_graph(graph)  # as the model repository does with what is deployed
    return graph


def _load_all(world: World, versions: Sequence[Version]) -> Plan:
    """Have the router take over a plan that names every version, and wait until it has."""
    arms = tuple(Arm("candidate", version) for version in versions)
    with changing(SPEC.name, world.settings) as change:
        return change.make("begin many", dataclasses.replace(change.champion(), arms=arms))


def _rounds(world: World, plan: Plan) -> dict[str, list[list[float]]]:
    """Ask both routers in turn; return the answer times in milliseconds of each round."""
    one, rows = world.others[0], list(in_parts(world.router, 1))
    names = [arm.version.version for arm in plan.arms]
    asked = {
        "many": [_request(world, plan.model, row, names[n % len(names)]) for n, row in enumerate(rows)],
        "one": [_request(world, one.model, row, one.champion.version) for row in rows],
    }
    times: dict[str, list[list[float]]] = {name: [] for name in asked}
    with grpc.insecure_channel(world.url) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for turn in range(ROUNDS + 1):
            for name, requests in asked.items():
                taken = [_milliseconds(call, request) for request in requests]
                if turn:
                    times[name].append(taken)
    return times


def _request(world: World, model: str, row: Any, version: str) -> bytes:
    request = service_pb2.ModelInferRequest.FromString(as_triton(model, row))
    for name, text in probing(read_control_secret(world.settings), version).items():
        request.parameters[name].string_param = text
    return bytes(request.SerializeToString())


def _milliseconds(call: Any, request: bytes) -> float:
    started = time.perf_counter()
    call(request, timeout=30)
    return (time.perf_counter() - started) * 1e3


def _resident(world: World, plan: Plan) -> float:
    """Return the MiB of memory that the router's process holds."""
    (state,) = living(world.settings.serving_home, plan.model, configuration_of(plan))
    return _mib(state.pid)


def _mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def _peers(world: World, versions: Sequence[Version]) -> tuple[float, float]:
    """Load versions as Triton models of their own; return MiB and seconds a model."""
    models, control = world.settings.serving_home / "models", Control(world.settings)
    before = _all_mib(world)
    started = time.perf_counter()
    for version in versions[:PEERS]:
        name = f"bare_{version.version}"
        _serving_bare.copy(models, name, Path(version.onnx))
        control.load(name)
    seconds = (time.perf_counter() - started) / PEERS
    control.close()
    return (_all_mib(world) - before) / PEERS, seconds


def _all_mib(world: World) -> float:
    """Return the MiB of the server and all of its models' processes."""
    process = recall(world.settings.serving_home / "server" / "triton.json")
    assert process is not None
    return sum(_mib(pid) for pid in process.members(world.settings.triton_root))


def _conclude(size: int, memory: float, seconds: float, times: dict[str, list[list[float]]], peer: Any) -> None:
    p50, p99 = (
        {name: median(float(np.percentile(one, q)) for one in rounds) for name, rounds in times.items()}
        for q in (50, 99)
    )
    ratio = p99["many"] / p99["one"]
    print(f"\n{VERSIONS} versions, {size / 1024:.0f} KiB a graph")
    print(f"{'memory of the process':<32}{memory:>10.0f} MiB (bar {MEMORY:.0f})")
    print(f"{'opened and taken over in':<32}{seconds:>10.1f} s")
    print(f"{'p50, one asker':<32}{p50['many']:>10.2f} ms, of one version {p50['one']:.2f}")
    print(
        f"{'p99, one asker':<32}{p99['many']:>10.2f} ms, of one version {p99['one']:.2f}: {ratio:.2f} times (bar {P99})"
    )
    print(f"{'Triton models of their own':<32}{peer[0]:>10.1f} MiB and {peer[1]:.2f} s a model ({PEERS} loaded)")
    conclude(
        "many_models",
        peer[0] * VERSIONS / memory,
        1.0,
        holds=memory < MEMORY and ratio <= P99,
        versions=VERSIONS,
        graph_kib=round(size / 1024),
        memory_mib=round(memory),
        memory_bar=MEMORY,
        load_seconds=round(seconds, 1),
        p99_ratio=round(ratio, 2),
        p99_bar=P99,
        peer_mib_a_model=round(peer[0], 1),
        peer_seconds_a_model=round(peer[1], 2),
    )


if __name__ == "__main__":
    main()
