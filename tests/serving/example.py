"""A small model with everything a model can have: its spec, views, online rows and ONNX graph."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ml.clock import ReplayClock
from ml.feature_views import FeatureView
from ml.online_rows import OnlineRow, open_online_rows
from ml.packed import Field, entity_key, pack
from ml.settings import Settings
from ml.spec import ModelSpec
from serving.build_plan import build_plan
from serving.plan import Input, Plan

NOW = datetime(2013, 10, 3, 12, tzinfo=UTC)

AIRCRAFT = FeatureView(
    name="aircraft",
    entities=("aircraft",),
    join_keys=("tailnum",),
    join_key_kinds=("string",),
    ttl=timedelta(days=3),
    owner="team:tests",
    online=True,
    description="The last leg.",
    fields=(Field("last_arrived_at", "int"), Field("last_delay", "float"), Field("last_dest", "string")),
)
RUNWAY = FeatureView(
    name="runway",
    entities=("origin_airport", "runway"),
    join_keys=("origin", "runway"),
    join_key_kinds=("string", "int"),
    ttl=timedelta(hours=6),
    owner="team:tests",
    online=True,
    description="Two join keys, one of them a number.",
    fields=(Field("departures", "int"), Field("wet", "bool")),
)
VIEWS = (AIRCRAFT, RUNWAY)

_WINDOWS = {
    name: {"start": datetime(2013, month, 1, tzinfo=UTC), "end": datetime(2013, month + 1, 1, tzinfo=UTC)}
    for name, month in (("train", 1), ("validation", 2), ("test", 3))
}
SPEC = ModelSpec.model_validate(
    {
        "name": "example",
        "description": "A model for tests.",
        "owner": "team:tests",
        "outcome": {"table": "t", "row_id": "id", "label": "late", "label_timestamp": "label_timestamp"},
        "features": (
            "aircraft:last_arrived_at",
            "aircraft:last_delay",
            "aircraft:last_dest",
            "runway:departures",
            "runway:wet",
        ),
        "request": (
            {"name": "origin", "kind": "categorical"},
            {"name": "distance", "kind": "numeric"},
            {"name": "departure", "kind": "time"},
        ),
        "elapsed": ({"name": "rest", "since": "aircraft:last_arrived_at", "until": "departure"},),
        "split": _WINDOWS,
        "gates": {"min_score": 0.5, "max_score": 0.9},
        "serving": {"deadline_ms": 500, "slo": {"p99_ms": 2000}},  # machines are noisy
    }
)

ROW: dict[str, Any] = {
    "tailnum": "N1",
    "origin": "EWR",
    "runway": 4,
    "distance": 1400,
    "departure": "2013-10-03T14:00:00+00:00",
}
# What the graph must be given for ROW: raw values by column.
RAW: dict[str, Any] = {
    "aircraft__last_arrived_at": (NOW - timedelta(hours=1)).timestamp(),
    "aircraft__last_delay": None,
    "aircraft__last_dest": "MIA",
    "runway__departures": 17,
    "runway__wet": True,
    "origin": "EWR",
    "distance": 1400,
    "departure": (NOW + timedelta(hours=2)).timestamp(),
}


def settings_at(home: Path, **more: Any) -> Settings:
    return Settings(home=home, **more)


def example_plan(home: Path, revision: int = 1, version: str = "1", **more: Any) -> Plan:
    settings = settings_at(home, **more)
    onnx_file = settings.serving_home / "artifacts" / SPEC.name / version / "model.onnx"
    return build_plan(SPEC, VIEWS, revision, version, onnx_file, settings)


def write_online_rows(
    address: str, view: FeatureView, rows: Sequence[tuple[dict[str, Any], tuple[Any, ...], datetime]]
) -> None:
    """Put rows of (join keys, values, event) next to what is there."""
    packed = []
    for keys, values, event in rows:
        instant = round(event.timestamp()) * 1_000_000
        packed.append(OnlineRow(entity_key(keys), pack(view.fields, values, instant, instant)))
    store = open_online_rows(address)
    store.upsert(view.name, packed)
    store.close()


def write_world(home: Path, **more: Any) -> None:
    """Online rows that give RAW for ROW, and a clock that stands at NOW."""
    settings = settings_at(home, **more)
    hour_ago = NOW - timedelta(hours=1)
    write_online_rows(
        settings.online_store,
        AIRCRAFT,
        [({"tailnum": "N1"}, (round(hour_ago.timestamp()), None, "MIA"), hour_ago)],
    )
    write_online_rows(settings.online_store, RUNWAY, [({"origin": "EWR", "runway": 4}, (17, True), hour_ago)])
    ReplayClock(settings.clock_file).set(NOW)


def write_graph(path: Path, bias: float, inputs: Sequence[Input] | None = None, scale: float = 1.0) -> Path:
    """Write a graph of the contract: every input moves the probability, `bias` tells versions apart.

    `scale` multiplies the probability: 2 gives values that are none.
    """
    inputs = example_plan(path.parent).champion.inputs if inputs is None else inputs
    nodes, constants, values = [], {"bias": [[bias]], "zero": [[0.0]], "scale": [[scale]]}, []
    types = {"numeric": TensorProto.FLOAT, "categorical": TensorProto.STRING, "time": TensorProto.DOUBLE}
    total = "bias"
    for index, field in enumerate(inputs):
        name, number = field.column, f"number_{index}"
        values.append(helper.make_tensor_value_info(name, types[field.kind], ["N", 1]))
        if field.kind == "categorical":
            nodes.append(
                helper.make_node(
                    "LabelEncoder",
                    [name],
                    [number],
                    domain="ai.onnx.ml",
                    keys_strings=["EWR", "MIA", ""],
                    values_floats=[0.3, 0.2, -0.4],
                    default_float=0.1,
                )
            )
        else:
            # 1e9 seconds become about one, hundreds of minutes too.
            constants[f"weight_{index}"] = [[1e-9 if field.kind == "time" else 1e-3]]
            nodes += [
                helper.make_node("Cast", [name], [f"float_{index}"], to=TensorProto.FLOAT),
                helper.make_node("IsNaN", [f"float_{index}"], [f"missing_{index}"]),
                helper.make_node("Where", [f"missing_{index}", "zero", f"float_{index}"], [f"known_{index}"]),
                helper.make_node("Mul", [f"known_{index}", f"weight_{index}"], [number]),
            ]
        nodes.append(helper.make_node("Add", [total, number], [f"total_{index}"]))
        total = f"total_{index}"
    nodes += [
        helper.make_node("Sigmoid", [total], ["sigmoid"]),
        helper.make_node("Mul", ["sigmoid", "scale"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "example",
        values,
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(np.array(value, dtype=np.float32), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def score_directly(path: Path, inputs: Sequence[Input], raw: Mapping[str, Any]) -> float:
    """Score one row with onnxruntime, its feeds made here and not by the code under test."""
    import onnxruntime

    feeds = {}
    for field in inputs:
        value = raw[field.column]
        if field.kind == "categorical":
            feeds[field.column] = np.array([[value or ""]], dtype=object)
        else:
            dtype = np.float64 if field.kind == "time" else np.float32
            feeds[field.column] = np.array([[np.nan if value is None else value]], dtype=dtype)
    return float(onnxruntime.InferenceSession(path).run(["probability"], feeds)[0][0, 0])
