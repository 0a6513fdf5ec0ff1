"""What Triton's Python backend wants: the class `TritonPythonModel`, which a revision's model.py imports.

Tensors come in and go out here; answering is in `router`.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from serving.answer import Answer, Request
from serving.feeds import RequestError
from serving.metrics import Metrics
from serving.plan import PROBE, TRACEPARENT
from serving.plan_watch import PlanWatch
from serving.spans import Spans


class TritonPythonModel:
    """One process of one model's router."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the deployed plan and answer a row: a broken plan fails to load and the old one stays."""
        if int(np.__version__.split(".")[0]) > 1:
            raise RuntimeError(
                f"numpy {np.__version__} in the serving environment returns empty answers; run make setup"
            )
        folder = Path(args["model_repository"])  # models/<model> under the serving home
        self.watch = PlanWatch(folder.parents[1], folder.name)
        self.router = self.watch.router
        self.router.self_test()
        self.spans = None
        if endpoint := os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            self.spans = Spans(endpoint, folder.name)
            self.router.watchers.append(self.spans)
        self.metrics = Metrics(pb_utils, self.router, folder.parents[1], folder.name)
        self.watch.start()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of Triton requests, each with an answer or an error of its own."""
        asked = [_request(r) for r in requests]
        return [
            _response(answer, request.probe) for request, answer in zip(asked, self.router.answer(asked), strict=True)
        ]

    def finalize(self) -> None:
        """Write out the log."""
        self.metrics.close()
        self.watch.close()
        if self.spans is not None:
            self.spans.close()
        if self.router.log.dropped:
            pb_utils.Logger.log_warn(f"the prediction log had no room for {self.router.log.dropped} batches")


def _response(answer: Answer | Exception, probe: bool) -> Any:
    if isinstance(answer, Exception):
        code = pb_utils.TritonError.INVALID_ARG if isinstance(answer, RequestError) else pb_utils.TritonError.INTERNAL
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(answer), code))
    columns: dict[str, np.ndarray] = {
        answer.output: answer.value,
        "model_version": _column(answer.versions, object),
        "variant": _column(answer.variants, object),
        "prediction_id": _column(answer.prediction_ids, object),
        "degraded": _column(answer.degraded, bool),
        "feature_status": _column(answer.status, object),
    }
    if answer.decision is not None:
        columns["decision"] = _column(answer.decision, bool)
    if answer.ages.shape[1]:
        columns["feature_age_seconds"] = answer.ages
    if probe:
        columns["plan_revision"] = _column([answer.revision] * len(answer.versions), np.int64)
    return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor(name, c) for name, c in columns.items()])


def _request(request: Any) -> Request:
    tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
    text = request.parameters()
    told = json.loads(text) if text else {}
    probe = told.get(PROBE, False)
    return Request(tensors, bool(probe), probe if isinstance(probe, str) else "", str(told.get(TRACEPARENT, "")))


def _column(values: Sequence[Any] | np.ndarray, dtype: Any) -> np.ndarray:
    return np.array(values, dtype=dtype).reshape(-1, 1)
