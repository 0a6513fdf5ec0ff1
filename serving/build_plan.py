"""Makes a plan from a model's spec and its feature views. Platform side; the router only reads plans."""

from pathlib import Path
from typing import TYPE_CHECKING

from ml.packed import Field
from ml.settings import Settings
from ml.spec import ModelSpec, RequestField, column_of
from ml.task import task_of
from serving.own_model import own_name
from serving.plan import Input, InputKind, JoinKey, Plan, RequestInput, TritonType, Version, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml.feature_views import FeatureView

_REQUEST_KINDS: dict[str, InputKind] = {
    "numeric": "numeric",
    "categorical": "categorical",
    "time": "time",
    "local_time": "time",
}
_KEY_TYPES: dict[str, TritonType] = {"string": "BYTES", "int": "FP64"}
_TIMES = ("time", "local_time")


def build_plan(
    spec: ModelSpec,
    views: "Sequence[FeatureView]",
    revision: int,
    version: str,
    onnx: Path,
    settings: Settings,
    threshold: float | None = None,
    defaults: Path | None = None,
) -> Plan:
    """Return the plan that serves `version` of the model, whose ONNX file is `onnx`, as `revision`.

    Of `views` those are kept that the spec names. `threshold` is the version's decision threshold, `defaults` its file
    of rows to answer with while features are not read. Raises LookupError if a view or a feature is missing and
    ValueError if a view is not online or a join key and a request field of one name differ in type.
    """
    chosen = tuple(plan_view(name, views) for name in spec.views)
    inputs = (*_feature_inputs(spec, chosen), *(_request_input(field) for field in spec.request))
    own = own_name(spec.name, version) if spec.serving.mode == "own" else ""
    return Plan(
        model=spec.name,
        revision=revision,
        champion=Version(version, str(onnx.absolute()), inputs, threshold, own, str(defaults) if defaults else ""),
        views=chosen,
        request=_request(spec, chosen),
        online_store=settings.online_store,
        clock_file=str(settings.clock_file),
        prediction_log=str(prediction_log(settings, spec.name)),
        deadline_ms=spec.serving.deadline_ms,
        output=task_of(spec).output,
        feature_cache_ms=spec.serving.feature_cache_ms,
        processes=spec.serving.processes,
        sticky_by=spec.serving.sticky_by or tuple(dict.fromkeys(key.name for view in chosen for key in view.join_keys)),
        sessions_mb=spec.serving.sessions_mb,
        max_queue=spec.serving.max_queue,
        max_wait_ms=spec.serving.max_wait_ms,
    )


def prediction_log(settings: Settings, model: str) -> Path:
    """Return the folder of the model's prediction log."""
    return settings.serving_home / "predictions" / model


def plan_view(name: str, views: "Sequence[FeatureView]") -> View:
    """Return the view as a router reads it. Raises LookupError if it is missing, ValueError if it is not online."""
    for view in views:
        if view.name == name:
            break
    else:
        raise LookupError(f"no feature view {name!r} among {sorted(v.name for v in views)}; build dbt's manifest again")
    if not view.online:
        raise ValueError(f"feature view {name!r} is not online; set `online: true` in its dbt model's config.meta")
    return View(name, _join_keys(view), view.ttl.total_seconds(), tuple(view.fields))


def _join_keys(view: "FeatureView") -> tuple[JoinKey, ...]:
    keys = []
    for name, kind in zip(view.join_keys, view.join_key_kinds, strict=True):
        if kind != "string" and kind != "int":
            raise ValueError(f"join key {name!r} of feature view {view.name!r} is a {kind}; it must be string or int")
        keys.append(JoinKey(name, kind))
    return tuple(keys)


def _feature_inputs(spec: ModelSpec, views: tuple[View, ...]) -> list[Input]:
    fields = {(view.name, field.name): field for view in views for field in view.fields}
    times = {elapsed.since for elapsed in spec.elapsed}
    inputs = []
    for reference in spec.features:
        view, name = reference.split(":")
        if (view, name) not in fields:
            raise LookupError(f"feature view {view!r} has no feature {name!r}, which model {spec.name!r} reads")
        kind = _feature_kind(fields[view, name], reference in times)
        inputs.append(Input(column_of(reference), kind, view, name))
    return inputs


def _feature_kind(field: Field, is_time: bool) -> InputKind:
    if field.kind == "string":
        return "categorical"
    return "time" if is_time else "numeric"


def _request_input(field: RequestField) -> Input:
    return Input(field.name, _REQUEST_KINDS[field.kind], None, field.name)


def _request(spec: ModelSpec, views: tuple[View, ...]) -> tuple[RequestInput, ...]:
    keys = [RequestInput(key.name, _KEY_TYPES[key.kind], key.kind) for view in views for key in view.join_keys]
    inputs: dict[str, RequestInput] = {}
    for given in [*keys, *(RequestInput(f.name, _request_type(f), f.kind) for f in spec.request)]:
        known = inputs.setdefault(given.name, given)
        if known.dtype != given.dtype:
            raise ValueError(
                f"{given.name!r} of model {spec.name!r} is both a string and a number as join key and request field"
            )
        if given.kind in _TIMES:  # also where it is a join key, a number: what it means decides what clients may send
            inputs[given.name] = given
    return tuple(inputs.values())


def _request_type(field: RequestField) -> TritonType:
    return _KEY_TYPES["string" if field.kind == "categorical" else "int"]
