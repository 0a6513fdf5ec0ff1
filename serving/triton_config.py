"""Triton's configuration of a router, as text: what goes in and out, how many processes, and who may wait.

Keeping it is `model_repository`'s business; that of a version which is a Triton model of its own is in `own_model`.
"""

import hashlib

from serving.plan import KIND, MAX_BATCH, Plan

_OUTPUTS = {
    "decision": "TYPE_BOOL",
    "model_version": "TYPE_STRING",
    "variant": "TYPE_STRING",
    "prediction_id": "TYPE_STRING",
    "degraded": "TYPE_BOOL",
    "feature_status": "TYPE_STRING",
    "explanation": "TYPE_STRING",
}


def config_pbtxt(plan: Plan) -> str:
    """Return Triton's configuration of the model: its processes, dynamic batching, the newest revision only."""
    types = {"BYTES": "TYPE_STRING", "FP64": "TYPE_FP64"}
    inputs = [_tensor(field.name, types[field.dtype]) for field in plan.request]
    outputs = [_tensor(name, dtype) for name, dtype in {plan.output: "TYPE_FP32", **_OUTPUTS}.items()]
    outputs.append(_tensor("plan_revision", "TYPE_INT64"))
    if not plan.decides:
        outputs.remove(_tensor("decision", _OUTPUTS["decision"]))
    if plan.views:
        outputs.append(_tensor("feature_age_seconds", "TYPE_FP32", -1))  # one a view of the plan at work
    return "\n".join(
        [
            f'name: "{plan.model}"',
            'backend: "python"',
            f"max_batch_size: {MAX_BATCH}",
            f"input [\n{_joined(inputs)}\n]",
            f"output [\n{_joined(outputs)}\n]",
            f"instance_group [ {{ count: {plan.processes}, kind: KIND_CPU }} ]",
            f"dynamic_batching {{ {_queue(plan)} }}",
            "version_policy { latest { num_versions: 1 } }",
            *(_meaning(field.name, field.kind) for field in plan.request if field.kind),
            "",
        ]
    )


def configuration_of(plan: Plan) -> str:
    """Return what tells the plan's configuration from others."""
    return hashlib.sha256(config_pbtxt(plan).encode()).hexdigest()[:16]


def _queue(plan: Plan) -> str:
    """Bound how many wait and for how long; a request may ask for less (`timeout`), as its caller does not wait on.

    Only where that is asked for: with any such policy the batcher of Triton 24.10 now and then sleeps half a second
    though a request waits, if the model has one process (measured; with two it was not seen).
    """
    if not plan.max_queue:
        return ""
    return (
        f"default_queue_policy {{ timeout_action: REJECT, default_timeout_microseconds: {plan.max_wait_ms * 1000}, "
        f"allow_timeout_override: true, max_queue_size: {plan.max_queue} }}"
    )


def _meaning(name: str, kind: str) -> str:
    return f'parameters {{ key: "{KIND}{name}" value: {{ string_value: "{kind}" }} }}'


def _tensor(name: str, dtype: str, size: int = 1) -> str:
    return f'  {{ name: "{name}", data_type: {dtype}, dims: [ {size} ] }}'


def _joined(tensors: list[str]) -> str:
    return ",\n".join(tensors)
