"""What served models take and answer, and the router's metrics, as tables of the reference page.

Inputs and outputs are read from the configuration that Triton gets. The page is put together in `reference`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assets.resources import Platform
from ml.markdown import table
from ml.models import MODELS
from ml.spec import ModelSpec, RequestField
from serving.build_plan import build_plan
from serving.metric_families import FAMILIES, HISTOGRAMS
from serving.plan import Plan
from serving.triton_config import config_pbtxt

_KINDS = {
    "numeric": "a number",
    "categorical": "a text",
    "time": "a moment: seconds since the epoch, UTC",
    "local_time": "a moment on the place's own wall clock: seconds since 1970-01-01T00:00 on that clock",
}
_TYPES = {"STRING": "BYTES"}
_OUTPUTS = {
    "probability": "the answer, calibrated, within 0 and 1",
    "value": "the answer, in the unit of the label",
    "decision": "whether the probability reaches the version's threshold of least cost",
    "model_version": "the version that answered",
    "variant": "as what it answered: `champion`, `canary` or `challenger`",
    "prediction_id": "32 hexadecimal digits that `make trace ID=` takes",
    "degraded": "whether the features of some view were not read",
    "feature_status": "a JSON object: of each view, whether its features were there, and why not",
    "explanation": "a JSON object: how far each of the N inputs that moved the answer most did so; with "
    "`headwater_explain` = N only",
    "feature_age_seconds": "how long ago the event of each view's row was, in the order of `feature_status`; NaN: none",
    "plan_revision": "the revision of the plan that answered",
}


def serving_tables(platform: Platform) -> str:
    """Return each model's inputs and the outputs of all.

    Raises KeyError for an output that nobody described here.
    """
    plans = {spec.name: _plan(spec, platform) for spec in MODELS}
    alike: dict[str, list[str]] = {}
    for spec in MODELS:
        alike.setdefault(_inputs(spec, plans[spec.name]), []).append(f"`{spec.name}`")
    parts = [f"### Inputs of {' and '.join(names)}\n{rows}" for rows, names in alike.items()]
    return "\n\n".join([*parts, f"### Outputs\n{_outputs(list(plans.values()))}"])


def metric_table() -> str:
    """Return a table of the router's metrics; a histogram in one row."""
    told = [(name, f"{family.kind}", family.labels, family.told) for name, family in _single()]
    told += [(name, "histogram", found.labels, found.told) for name, found in HISTOGRAMS.items()]
    rows = [(f"`{name}`", kind, ", ".join(labels), text) for name, kind, labels, text in sorted(told)]
    return table(("metric", "kind", "labels", "meaning"), rows)


def _single() -> Iterator[tuple[str, Any]]:
    parts = {f"{name}{part}" for name in HISTOGRAMS for part in ("_bucket", "_sum", "_count")}
    return ((name, family) for name, family in FAMILIES.items() if name not in parts)


def _plan(spec: ModelSpec, platform: Platform) -> Plan:
    threshold = 0.5 if spec.costs else None  # any: whether there is one decides what is answered
    return build_plan(spec, platform.feature_views, 1, "1", Path("model.onnx"), platform.settings, threshold)


def _configured(plan: Plan) -> Any:
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    return text_format.Parse(config_pbtxt(plan), model_config_pb2.ModelConfig())


def _type(tensor: Any) -> str:
    from tritonclient.grpc import model_config_pb2

    name = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
    return _TYPES.get(name, name)


def _inputs(spec: ModelSpec, plan: Plan) -> str:
    keys: dict[str, list[str]] = {}
    for view in plan.views:
        for key in view.join_keys:
            keys.setdefault(key.name, []).append(f"`{view.name}`")
    sent = {field.name: field for field in spec.request}
    rows = [
        (f"`{tensor.name}`", _type(tensor), _role(sent.get(tensor.name), keys.get(tensor.name, [])))
        for tensor in _configured(plan).input
    ]
    return table(("input", "type", "is"), rows)


def _role(field: RequestField | None, views: list[str]) -> str:
    parts = [f"join key of {', '.join(views)}"] if views else []
    if field is not None:
        parts.append(f"request field, {_KINDS[field.kind]}")
    return "; ".join(parts)


def _outputs(plans: list[Plan]) -> str:
    found: dict[str, tuple[str, str, list[str]]] = {}
    for plan in plans:
        for tensor in _configured(plan).output:
            shape = "[batch, views]" if tensor.dims[0] < 0 else "[batch, 1]"
            found.setdefault(tensor.name, (_type(tensor), shape, []))[2].append(plan.model)
    rows = [
        (f"`{name}`", kind, shape, "all" if len(of) == len(plans) else ", ".join(of), _OUTPUTS[name])
        for name, (kind, shape, of) in found.items()
    ]
    return table(("output", "type", "shape", "of", "is"), rows)
