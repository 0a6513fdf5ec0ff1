"""The service that one would write oneself: FastAPI, Feast's SDK, onnxruntime. Started by `_serving_peers`."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI

from assets.resources import platform_for
from ml.feature_store import open_feature_store
from ml.settings import Settings
from serving.plan import Plan
from serving.plan_json import parse_plan

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}


def application(home: str, plan: Plan, registry: Path) -> FastAPI:
    """Return the service: POST /predict takes a list a field, and answers a list a row."""
    platform = platform_for(Settings(home=Path(home)))
    store = open_feature_store(
        platform.feature_views,
        lake=platform.settings.lake,
        registry=registry,
        online_store=plan.online_store,
        clock_file=Path(plan.clock_file),
        versions={},
    )
    references = [f"{i.view}:{i.source}" for i in plan.champion.inputs if i.view]
    keys = {key.name: key.kind for view in plan.views for key in view.join_keys}
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(plan.champion.onnx, options)
    types = {given.name: given.type for given in session.get_inputs()}
    app = FastAPI()

    @app.post("/predict")
    def predict(columns: dict[str, list[Any]]) -> dict[str, list[float]]:
        entities = {
            name: [None if v is None else int(v) for v in columns[name]] if kind == "int" else columns[name]
            for name, kind in keys.items()
        }
        found = store.get_online_features(references, entities, full_feature_names=True).to_dict()
        values = {**columns, **found}
        feeds = {name: _tensor(values[name], kind) for name, kind in types.items()}
        return {"value": session.run([plan.output], feeds)[0][:, 0].tolist()}

    return app


def _tensor(values: list[Any], kind: str) -> Any:
    if kind == "tensor(string)":
        return np.array([["" if value is None else value] for value in values], dtype=object)
    return np.array(values, dtype=_TYPES[kind]).reshape(-1, 1)


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        app = application(told["home"], parse_plan(told["plan"]), Path(folder) / "registry.db")
        uvicorn.run(app, host="127.0.0.1", port=told["port"], log_level="warning")
