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

from ml import remedies
from serving.answer import Answer, Request
from serving.byte_tensors import install
from serving.feeds import RequestError
from serving.lanes import Lanes
from serving.metrics import Metrics
from serving.plan import EXPLAIN, MAX_BATCH, TRACEPARENT
from serving.plan_watch import PlanWatch
from serving.probing import PROBE, REFUSED, Gatekeeper
from serving.reader import Need
from serving.spans import Spans

Asked = tuple[Any, Request]  # Triton's request and ours
BUSY = "Exceeds maximum queue size: too many requests wait for the same views"  # begins as Triton's own refusal


class TritonPythonModel:
    """One process of one model's router."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the deployed plan and answer a row: a broken plan fails to load and the old one stays."""
        if int(np.__version__.split(".")[0]) > 1:
            raise RuntimeError(
                f"numpy {np.__version__} in the serving environment returns empty answers; {remedies.install()}"
            )
        folder = Path(args["model_repository"])  # models/<model> under the serving home
        self.watch = PlanWatch(folder.parents[1], folder.name, _call)
        self.router = self.watch.router
        self.gatekeeper = Gatekeeper(folder.parents[1])
        self.lanes = Lanes(self._send_answers)
        self.router.self_test()
        install(pb_utils)
        self.spans = None
        if endpoint := os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            self.spans = Spans(endpoint, folder.name)
            self.router.watchers.append(self.spans)
        self.metrics = Metrics(pb_utils, self.router, folder.parents[1], folder.name)
        self.watch.start()

    def execute(self, requests: list[Any]) -> list[Any] | None:
        """Answer a batch of Triton requests, each with an answer or an error of its own.

        Those that wait for other views than all others are answered apart.
        """
        asked = [self._request(request) for request in requests]
        apart: dict[frozenset[Need], list[Asked]] = {}
        for pair in zip(requests, asked, strict=True):
            apart.setdefault(self.router.waits_for(pair[1]), []).append(pair)
        at_once = apart.pop(frozenset(), [])
        if not apart:
            return self._responses(asked)
        self._put(apart)
        if at_once:
            self._send_answers(at_once)
        return None

    def finalize(self) -> None:
        """Answer what waits, and write out the log."""
        self.lanes.close()
        self.metrics.close()
        self.watch.close()
        if self.spans is not None:
            self.spans.close()
        if self.router.log.dropped:
            pb_utils.Logger.log_warn(f"the prediction log had no room for {self.router.log.dropped} batches")

    def _put(self, apart: dict[frozenset[Need], list[Asked]]) -> None:
        """Have requests answered in lanes of their own; refuse those for which there is no room."""
        for needs, pairs in apart.items():
            for pair in pairs:
                if not self.lanes.put(needs, pair):
                    busy = pb_utils.TritonError(BUSY, pb_utils.TritonError.UNAVAILABLE)
                    _send(pair[0], pb_utils.InferenceResponse(error=busy))

    def _send_answers(self, pairs: Sequence[Asked]) -> None:
        """Send each its answer, or why there is none: nobody else would tell those that wait in a lane."""
        try:
            responses = self._responses([asked for _, asked in pairs])
        except Exception as error:
            responses = [_failed(error) for _ in pairs]
        for (request, _), response in zip(pairs, responses, strict=True):
            _send(request, response)

    def _responses(self, asked: Sequence[Request]) -> list[Any]:
        answers = self.router.answer(asked)
        return [_response(answer, request.probe) for request, answer in zip(asked, answers, strict=True)]

    def _request(self, request: Any) -> Request:
        tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        text = request.parameters()
        told = json.loads(text) if text else {}
        probe, explain = told.get(PROBE, False), told.get(EXPLAIN, 0)
        refused = REFUSED if probe and not self.gatekeeper.admits(told) else ""
        top = min(explain, len(tensors) * 100) if isinstance(explain, int) and explain > 0 else 0
        version = probe if isinstance(probe, str) else ""
        return Request(tensors, bool(probe) and not refused, version, top, str(told.get(TRACEPARENT, "")), refused)


def _send(request: Any, response: Any) -> None:
    request.get_response_sender().send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def _response(answer: Answer | Exception, probe: bool) -> Any:
    if isinstance(answer, Exception):
        return _failed(answer)
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
    if answer.explanation is not None:
        columns["explanation"] = _column(answer.explanation, object)
    if probe:
        columns["plan_revision"] = _column([answer.revision] * len(answer.versions), np.int64)
    return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor(name, c) for name, c in columns.items()])


def _failed(error: Exception) -> Any:
    code = pb_utils.TritonError.INVALID_ARG if isinstance(error, RequestError) else pb_utils.TritonError.INTERNAL
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), code))


def _call(model: str, output: str, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """Have another model of this server score, in parts that it takes. Raises RuntimeError with what it says."""
    rows, parts = len(next(iter(feeds.values()))), []
    for start in range(0, rows, MAX_BATCH):
        tensors = [pb_utils.Tensor(name, column[start : start + MAX_BATCH]) for name, column in feeds.items()]
        asked = pb_utils.InferenceRequest(model_name=model, requested_output_names=[output], inputs=tensors)
        answer = asked.exec()
        if answer.has_error():
            raise RuntimeError(f"{model}: {answer.error().message()}")
        parts.append(pb_utils.get_output_tensor_by_name(answer, output).as_numpy())
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _column(values: Sequence[Any] | np.ndarray, dtype: Any) -> np.ndarray:
    return np.array(values, dtype=dtype).reshape(-1, 1)
