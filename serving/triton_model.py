"""What Triton's Python backend wants: the class `TritonPythonModel`, which a revision's model.py imports.

Tensors come in and go out here; answering is in `router`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from serving.feeds import RequestError
from serving.plan import PROBE, load_plan
from serving.router import Answer, Request, Router


class TritonPythonModel:
    """One revision of one model, in a process of its own."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the plan and answer a row: a broken revision fails to load and the old one stays."""
        if int(np.__version__.split(".")[0]) > 1:
            raise RuntimeError(
                f"numpy {np.__version__} in the serving environment returns empty answers; run make setup"
            )
        folder = Path(args["model_repository"]) / args["model_version"]
        self.router = Router(load_plan(folder / "plan.json"))
        self.router.self_test()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of Triton requests, each with an answer or an error of its own."""
        return [self._response(answer) for answer in self.router.answer([_request(r) for r in requests])]

    def finalize(self) -> None:
        """Write out the log."""
        self.router.close()
        if self.router.log.dropped:
            pb_utils.Logger.log_warn(f"the prediction log had no room for {self.router.log.dropped} batches")

    def _response(self, answer: Answer | Exception) -> Any:
        if isinstance(answer, Exception):
            code = (
                pb_utils.TritonError.INVALID_ARG if isinstance(answer, RequestError) else pb_utils.TritonError.INTERNAL
            )
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(answer), code))
        optional = []
        if answer.decision is not None:
            optional.append(pb_utils.Tensor("decision", _column(answer.decision, bool)))
        if self.router.plan.views:
            optional.append(pb_utils.Tensor("feature_age_seconds", answer.ages))
        versions = [self.router.plan.champion.version] * len(answer.prediction_ids)
        return pb_utils.InferenceResponse(
            output_tensors=[
                pb_utils.Tensor(self.router.plan.output, answer.value),
                pb_utils.Tensor("model_version", _column(versions, object)),
                pb_utils.Tensor("prediction_id", _column(answer.prediction_ids, object)),
                pb_utils.Tensor("degraded", _column(answer.degraded, bool)),
                pb_utils.Tensor("feature_status", _column(answer.status, object)),
                *optional,
            ]
        )


def _request(request: Any) -> Request:
    tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
    return Request(tensors, probe=PROBE in (request.parameters() or ""))


def _column(values: Sequence[Any] | np.ndarray, dtype: Any) -> np.ndarray:
    return np.array(values, dtype=dtype).reshape(-1, 1)
