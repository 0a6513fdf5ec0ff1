"""What the benchmarks of serving ask: one Triton with the deployed version behind the router, and a bare model.

In a scratch home, on the online rows of the user's home; the user's Triton and prediction log are not touched.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from tritonclient.grpc import InferenceServerClient, InferInput, service_pb2
from tritonclient.utils import serialize_byte_tensor

from assets.resources import Platform
from benchmarks import _serving_bare
from ml.clock import ReplayClock
from ml.scoring import feed, open_session
from ml.settings import Settings
from ml.spec import ModelSpec
from ml.split import split_rows
from serving.control import Control
from serving.log_reader import log_schema, read_new
from serving.model_repository import ModelRepository
from serving.plan import MAX_BATCH, Plan
from serving.rollout import Newcomer, deploy
from serving.server import Server
from serving.triton_files import free_ports

_PORTS = ("triton_grpc_port", "triton_metrics_port")

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class World:
    """What the Triton at `url` serves: the router's plan, and the models of `others`.

    The same rows as the inputs [N, 1] of the router and of the graph behind it.
    """

    platform: Platform
    settings: Settings
    plan: Plan
    others: Sequence[Plan]
    url: str
    router: Tensors
    bare: Tensors


@contextmanager
def served(
    platform: Platform, spec: ModelSpec, home: Path, rows: int, others: Mapping[str, Any], graph: Path | None = None
) -> Iterator[World]:
    """Serve the deployed version of the model, or `graph`, and yield it with `rows` rows of the test window to ask for.

    Of `others` each is the same model once more, by what its name ends with, with other serving settings. The bare
    model is served, too. Raises LookupError if the model is not deployed, ValueError if the bare one answers otherwise.
    """
    deployed = ModelRepository(platform.settings.serving_home).deployed(spec.name)
    if deployed is None:
        raise LookupError(f"{spec.name} is not deployed in {platform.settings.home}; run make demo first")
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    settings = platform.settings.embedded_in(home, online_store=platform.settings.online_store, **ports)
    ReplayClock(settings.clock_file).set(platform.clock.now())
    server = Server(settings)
    try:
        server.start()
        onnx = graph or Path(deployed.champion.onnx)
        plan, *more = (
            deploy(Newcomer(one, deployed.champion.version, onnx, platform.feature_views), settings)
            for one in (spec, *(_with(spec, name, **serving) for name, serving in others.items()))
        )
        asked = split_rows(spec, platform.lake.read(f"{spec.name}/training_set").collect()).test
        asked = asked.sample(min(asked.height, rows), seed=7).select(field.name for field in plan.request)
        router = _request(plan, asked)
        bare = _logged_features(plan, server.url, router)
        _load_bare(settings, plan, bare)
        _require_same(plan, server.url, router, bare)
        yield World(platform, settings, plan, more, server.url, router, bare)
    finally:
        server.stop()


def _with(spec: ModelSpec, name: str, **settings: int) -> ModelSpec:
    serving = spec.serving.model_copy(update=settings)
    return spec.model_copy(update={"name": f"{spec.name}_{name}", "serving": serving})


def _request(plan: Plan, rows: pl.DataFrame) -> dict[str, NDArray[Any]]:
    types = {f.name: "tensor(string)" if f.dtype == "BYTES" else "tensor(double)" for f in plan.request}
    return _encoded(feed(types, rows))


def _logged_features(plan: Plan, url: str, router: Tensors) -> dict[str, NDArray[Any]]:
    """Return the graph's inputs as the router made them: asked once for every row, it logs what it read."""
    parts = [ask(url, plan.model, part, "prediction_id") for part in in_parts(router, MAX_BATCH)]
    asked = [identity.decode() for part in parts for identity in part.reshape(-1)]
    until = time.monotonic() + 30
    while time.monotonic() < until:
        logged, _ = read_new(Path(plan.prediction_log), log_schema(plan))
        found = pl.DataFrame({"prediction_id": asked}).join(logged, on="prediction_id", maintain_order="left")
        if found.height == len(asked):
            types = {name.name: name.type for name in open_session(Path(plan.champion.onnx)).get_inputs()}
            return _encoded(feed(types, found))
        time.sleep(0.1)
    raise LookupError(f"the router did not log {len(asked)} predictions within 30 s in {plan.prediction_log}")


def _load_bare(settings: Settings, plan: Plan, bare: Tensors) -> None:
    types = {name: triton_type(column) for name, column in bare.items()}
    _serving_bare.write(settings.serving_home / "models", Path(plan.champion.onnx), types, plan.output, MAX_BATCH)
    control = Control(settings)
    control.load(_serving_bare.NAME)
    control.close()


def _require_same(plan: Plan, url: str, router: Tensors, bare: Tensors) -> None:
    """Raise ValueError unless both models answer alike: otherwise their times would mean nothing."""
    for rows in (1, MAX_BATCH):
        ours = ask(url, plan.model, next(in_parts(router, rows)), plan.output)
        theirs = ask(url, _serving_bare.NAME, next(in_parts(bare, rows)), plan.output)
        if not np.array_equal(ours, theirs):
            raise ValueError(f"router and bare model differ by {np.abs(ours - theirs).max()}; nothing is measured")


def ask(url: str, model: str, tensors: Tensors, output: str) -> NDArray[Any]:
    """Return one output of one request."""
    inputs = []
    for name, column in tensors.items():
        inputs.append(InferInput(name, list(column.shape), triton_type(column)))
        inputs[-1].set_data_from_numpy(column)
    client = InferenceServerClient(url)
    try:
        found = client.infer(model, inputs).as_numpy(output)
    finally:
        client.close()
    if found is None:
        raise LookupError(f"{model} gave no {output}")
    return np.asarray(found)


def as_triton(model: str, tensors: Tensors) -> bytes:
    """Return a request as the bytes that a gRPC stub sends."""
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, column in tensors.items():
        request.inputs.add(name=name, shape=column.shape, datatype=triton_type(column))
        raw = serialize_byte_tensor(column).item() if column.dtype == object else column.tobytes()
        request.raw_input_contents.append(raw)
    return bytes(request.SerializeToString())


def in_parts(tensors: Tensors, rows: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield requests of `rows` rows each; what is left over is not asked."""
    height = len(next(iter(tensors.values())))
    for start in range(0, height - rows + 1, rows):
        yield {name: column[start : start + rows] for name, column in tensors.items()}


def triton_type(column: NDArray[Any]) -> str:
    """Return Triton's name of an array's type."""
    return {"object": "BYTES", "float32": "FP32", "float64": "FP64"}[str(column.dtype)]


def _encoded(tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {
        n: np.array([[v.encode()] for v in c[:, 0]], dtype=object) if c.dtype == object else c
        for n, c in tensors.items()
    }
